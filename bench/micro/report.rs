//! Medians over the rounds, and how they are printed.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::micro::scan::Scanned;
use crate::micro::{Load, Options};

/// What a figure tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Quantity {
    /// Nanoseconds per command of this kind.
    Load(Load),
    /// Bytes by which the process has grown in memory, per key.
    ResidentPerKey,
    /// Bytes that the table counts, per key.
    CountedPerKey,
    /// Megabytes of tables per second that are scanned.
    Scan(Scanned),
}

/// What one round has measured of one table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The table's name.
    pub table: String,
    /// What was measured.
    pub quantity: Quantity,
    /// How much it was, in the unit of `quantity`.
    pub value: f64,
}

/// One figure of one table over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The table's name.
    pub table: String,
    /// What was measured.
    pub quantity: Quantity,
    /// The median of the rounds.
    pub median: f64,
    /// The lowest of them.
    pub lowest: f64,
    /// The highest of them.
    pub highest: f64,
}

/// One row for each table and each thing measured, in the order in which they first come.
pub fn medians(figures: &[Figure]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for figure in figures {
        if rows.iter().any(|row| row.table == figure.table && row.quantity == figure.quantity) {
            continue;
        }
        let same = figures.iter().filter(|other| other.table == figure.table && other.quantity == figure.quantity);
        let mut values: Vec<f64> = same.map(|other| other.value).collect();
        values.sort_by(f64::total_cmp);
        rows.push(Row {
            table: figure.table.clone(),
            quantity: figure.quantity,
            median: values[values.len() / 2],
            lowest: values[0],
            highest: values[values.len() - 1],
        });
    }
    rows
}

/// The rows as a person reads them.
pub fn render(options: &Options, rows: &[Row]) -> String {
    let mut text = format!(
        "{} keys of 16 bytes with values of {} bytes, one core; medians of {} rounds, lowest and highest\n\n",
        options.keys_count, options.value_bytes, options.rounds
    );
    writeln!(text, "{:<12} {:<28} {:>9}   {:>17}", "table", "", "median", "range").expect("a String takes all");
    for row in rows {
        let (what, unit) = match row.quantity {
            Quantity::Load(Load::Insert) => ("SET of new keys", "ns"),
            Quantity::Load(Load::Overwrite) => ("SET of keys that exist", "ns"),
            Quantity::Load(Load::Hit) => ("GET of keys that exist", "ns"),
            Quantity::Load(Load::Miss) => ("GET of keys that do not", "ns"),
            Quantity::Load(Load::Increment) => ("INCR", "ns"),
            Quantity::Load(Load::Delete) => ("DEL", "ns"),
            Quantity::ResidentPerKey => ("memory per key, resident", "B"),
            Quantity::CountedPerKey => ("memory per key, counted", "B"),
            Quantity::Scan(Scanned::OneRun) => ("one run", "MB/s"),
            Quantity::Scan(Scanned::OneRunCompressed) => ("one run, compressed", "MB/s"),
            Quantity::Scan(Scanned::SeveralRuns) => ("several runs", "MB/s"),
        };
        let range = format!("{:.0} .. {:.0}", row.lowest, row.highest);
        writeln!(text, "{:<12} {what:<28} {:>6.0} {unit:<4} {range:>17}", row.table, row.median)
            .expect("a String takes all");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_is_the_median_of_its_own_rounds() {
        let figure = |table: &str, quantity, value| Figure { table: table.to_owned(), quantity, value };
        let (hit, miss) = (Quantity::Load(Load::Hit), Quantity::Load(Load::Miss));
        let figures = [
            figure("a", hit, 3.0),
            figure("a", miss, 50.0),
            figure("b", hit, 9.0),
            figure("a", hit, 1.0),
            figure("a", hit, 2.0),
        ];
        let rows = medians(&figures);
        let seen: Vec<_> = rows.iter().map(|row| (row.table.as_str(), row.median, row.lowest, row.highest)).collect();
        assert_eq!(seen, [("a", 2.0, 1.0, 3.0), ("a", 50.0, 50.0, 50.0), ("b", 9.0, 9.0, 9.0)]);
    }
}
