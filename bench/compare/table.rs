//! Medians over the rounds, and the table of results.

use std::fmt::Write;

use crate::compare::measure::Sample;

/// The median of each figure of each measurement, over the rounds. Errors add up.
pub fn medians(rounds: &[Vec<Sample>]) -> Vec<Sample> {
    let Some(first) = rounds.first() else { return Vec::new() };
    first
        .iter()
        .map(|sample| {
            let same: Vec<&Sample> = rounds
                .iter()
                .flatten()
                .filter(|other| other.system == sample.system && other.test == sample.test)
                .collect();
            let figure = |read: &dyn Fn(&Sample) -> Option<f64>| median(same.iter().filter_map(|one| read(one)));
            Sample {
                system: sample.system.clone(),
                test: sample.test.clone(),
                ops_per_s: figure(&|one| Some(one.ops_per_s)).unwrap_or(0.0),
                p50_us: figure(&|one| Some(one.p50_us)).unwrap_or(0.0),
                p99_us: figure(&|one| Some(one.p99_us)).unwrap_or(0.0),
                user_us_per_op: figure(&|one| one.user_us_per_op),
                system_us_per_op: figure(&|one| one.system_us_per_op),
                ops_per_sync: figure(&|one| one.ops_per_sync),
                ops_per_flush: figure(&|one| one.ops_per_flush),
                unsent: same.iter().map(|one| one.unsent).sum(),
                errors_count: same.iter().map(|one| one.errors_count).sum(),
                error_text: same.iter().find_map(|one| one.error_text.clone()),
            }
        })
        .collect()
}

/// The median, of an even number the mean of the middle two.
fn median(figures: impl Iterator<Item = f64>) -> Option<f64> {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let upper = *figures.get(figures.len() / 2)?;
    let lower = *figures.get((figures.len() - 1) / 2)?;
    Some((lower + upper) / 2.0)
}

/// The table of all measurements.
pub fn render(samples: &[Sample]) -> String {
    let heads =
        ["system", "test", "ops/s", "p50 us", "p99 us", "user us/op", "sys us/op", "ops/sync", "ops/flush", "errors"];
    let mut rows = vec![heads.map(str::to_owned)];
    let optional =
        |figure: Option<f64>, digits: usize| figure.map_or("-".to_owned(), |value| format!("{value:.digits$}"));
    for sample in samples {
        rows.push([
            sample.system.clone(),
            sample.test.clone(),
            format!("{:.0}", sample.ops_per_s),
            format!("{:.1}", sample.p50_us),
            format!("{:.1}", sample.p99_us),
            optional(sample.user_us_per_op, 2),
            optional(sample.system_us_per_op, 2),
            optional(sample.ops_per_sync, 1),
            optional(sample.ops_per_flush, 1),
            sample.errors_count.to_string(),
        ]);
    }
    let mut text = align(&rows, 2);
    for sample in samples.iter().filter(|sample| sample.errors_count > 0) {
        let Sample { system, test, errors_count, error_text, .. } = sample;
        let example = error_text.as_deref().unwrap_or_default();
        writeln!(text, "{system}, {test}: {errors_count} errors, such as: {example}").expect("a String takes all");
    }
    for Sample { system, test, unsent, .. } in samples.iter().filter(|sample| sample.unsent > 0) {
        writeln!(text, "{system}, {test}: {unsent} commands found no room in time").expect("a String takes all");
    }
    text
}

/// Columns of equal width; the first `left_count` are aligned to the left, the others to the right.
pub fn align<const N: usize>(rows: &[[String; N]], left_count: usize) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (idx, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = if idx < left_count { format!("{cell:<width$}") } else { format!("{cell:>width$}") };
            line.push_str(&cell);
            line.push_str("  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(test: &str, ops_per_s: f64, ops_per_sync: Option<f64>) -> Sample {
        Sample {
            system: "s".into(),
            test: test.into(),
            ops_per_s,
            ops_per_sync,
            errors_count: 1,
            ..Sample::default()
        }
    }

    #[test]
    fn medians_are_taken_figure_by_figure() {
        let rounds = [
            vec![sample("a", 1.0, None), sample("b", 5.0, None)],
            vec![sample("a", 9.0, Some(4.0)), sample("b", 7.0, None)],
            vec![sample("a", 2.0, Some(2.0))],
        ];
        let medians = medians(&rounds);
        assert_eq!((medians[0].ops_per_s, medians[0].ops_per_sync, medians[0].errors_count), (2.0, Some(3.0), 3));
        assert_eq!((medians[1].ops_per_s, medians[1].ops_per_sync), (6.0, None));
    }

    #[test]
    fn columns_line_up() {
        let rows = [["a", "1"], ["long", "200"]].map(|row| row.map(str::to_owned));
        assert_eq!(align(&rows, 1), "a       1\nlong  200\n");
    }
}
