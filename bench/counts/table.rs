//! What was counted beside what was accepted, and what follows from it.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::Serialize;

use crate::counts::accepted::{Accepted, Environment};
use crate::counts::workloads::Listed;

/// How a figure stands to the accepted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As accepted, within the tolerance.
    Same,
    /// More instructions than may be.
    Worse,
    /// So many fewer that the accepted figure should be lowered.
    Better,
    /// Nothing was accepted yet.
    New,
}

/// One workload.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    name: &'static str,
    per: &'static str,
    accepted: Option<f64>,
    counted: f64,
    /// Percent of the accepted figure.
    change_percent: Option<f64>,
    verdict: Verdict,
}

/// All workloads that were counted.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    environment: Environment,
    /// In what the accepted figures' environment differs: the part, there and here.
    differences: Vec<(&'static str, String, String)>,
    tolerance_percent: f64,
    rows: Vec<Row>,
}

impl Comparison {
    /// Compares what was counted with what was accepted.
    pub(super) fn new(
        chosen: &[&Listed],
        counted: &BTreeMap<String, f64>,
        accepted: &Accepted,
        environment: &Environment,
        tolerance_percent: f64,
    ) -> Comparison {
        let row = |listed: &&Listed| {
            let counted = *counted.get(listed.name)?;
            let accepted =
                accepted.instructions_per_operation.get(listed.name).copied().filter(|figure| *figure > 0.0);
            let change_percent = accepted.map(|accepted| (counted / accepted - 1.0) * 100.0);
            let verdict = match change_percent {
                None => Verdict::New,
                Some(change) if change > tolerance_percent => Verdict::Worse,
                Some(change) if change < -tolerance_percent => Verdict::Better,
                Some(_) => Verdict::Same,
            };
            Some(Row { name: listed.name, per: listed.per, accepted, counted, change_percent, verdict })
        };
        let is_first = accepted.instructions_per_operation.is_empty();
        Comparison {
            environment: environment.clone(),
            differences: if is_first { Vec::new() } else { accepted.environment.differences(environment) },
            tolerance_percent,
            rows: chosen.iter().filter_map(row).collect(),
        }
    }

    /// How many figures are worse than they may be. None where they cannot be compared.
    pub(super) fn failures_count(&self) -> u64 {
        if self.differences.is_empty() { self.count(Verdict::Worse) as u64 } else { 0 }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict == verdict).count()
    }

    /// The table as a person reads it.
    pub(super) fn render(&self) -> String {
        let Environment { rustc, libc, valgrind, .. } = &self.environment;
        let compiler = rustc.split(" (").next().unwrap_or(rustc);
        let mut text = format!("instructions per operation under {valgrind}, {compiler}, {libc}\n\n");
        let header = format!("{:<22} {:<32} {:>11} {:>11} {:>9}", "workload", "operation", "accepted", "now", "");
        writeln!(text, "{}", header.trim_end()).expect("a String takes all");
        let mut part = "";
        for row in &self.rows {
            let own = row.name.split('/').next().unwrap_or(row.name);
            if part != own && !part.is_empty() {
                text.push('\n');
            }
            part = own;
            let accepted = row.accepted.map_or("-".to_owned(), figure);
            let change = match row.change_percent {
                None => String::new(),
                Some(change) if change.abs() < 0.05 => "=".to_owned(),
                Some(change) => format!("{change:+.1} %"),
            };
            let word = match row.verdict {
                Verdict::Same => "",
                Verdict::Worse => "  WORSE",
                Verdict::Better => "  better",
                Verdict::New => "  new",
            };
            let now = figure(row.counted);
            let line = format!("{:<22} {:<32} {accepted:>11} {now:>11} {change:>9}{word}", row.name, row.per);
            writeln!(text, "{}", line.trim_end()).expect("a String takes all");
        }
        text.push('\n');
        text.push_str(&self.summary());
        text
    }

    fn summary(&self) -> String {
        let [worse, better, new] = [Verdict::Worse, Verdict::Better, Verdict::New].map(|verdict| self.count(verdict));
        let (all, tolerance) = (self.rows.len(), self.tolerance_percent);
        let mut text =
            format!("{all} workloads, {} within {tolerance} % of what was accepted\n", all - worse - better - new);
        if !self.differences.is_empty() {
            text.push_str("the accepted figures are from another environment, so nothing of this is a failure:\n");
            for (part, there, here) in &self.differences {
                writeln!(text, "  {part}: accepted with \"{there}\", here \"{here}\"").expect("a String takes all");
            }
            text.push_str("if this one is to stay, take them anew with: tools/counts --accept\n");
            return text;
        }
        if worse > 0 {
            text.push_str(
                "WORSE: find out why (`valgrind --tool=callgrind` and `callgrind_annotate` show where), or, if it\n\
                 buys something, say what in the commit and accept it with: tools/counts --accept\n",
            );
        }
        if better > 0 {
            text.push_str("better: keep it so, accept it with: tools/counts --accept\n");
        }
        if new > 0 {
            text.push_str("new: accept it with: tools/counts --accept\n");
        }
        text
    }
}

/// A number of at least three digits.
fn figure(number: f64) -> String {
    if number < 1_000.0 { format!("{number:.1}") } else { crate::text::whole(number) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::workloads::ALL;

    fn comparison(counted: &[f64], rustc: &str) -> Comparison {
        let chosen: Vec<&Listed> = ALL.iter().take(counted.len()).collect();
        let environment = |rustc: &str| Environment { rustc: rustc.to_owned(), ..Environment::default() };
        let accepted = Accepted {
            environment: environment("rustc 1.95.0 (x)"),
            instructions_per_operation: chosen.iter().take(3).map(|one| (one.name.to_owned(), 100.0)).collect(),
        };
        let counted = chosen.iter().zip(counted).map(|(one, figure)| (one.name.to_owned(), *figure)).collect();
        Comparison::new(&chosen, &counted, &accepted, &environment(rustc), 2.0)
    }

    #[test]
    fn figures_beyond_the_tolerance_are_worse_or_better() {
        let same = comparison(&[100.0, 101.9, 98.1], "rustc 1.95.0 (x)");
        assert_eq!((same.failures_count(), same.count(Verdict::Same)), (0, 3));
        let mixed = comparison(&[102.1, 97.9, 100.0, 5_000.0], "rustc 1.95.0 (x)");
        let verdicts: Vec<_> = mixed.rows.iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, [Verdict::Worse, Verdict::Better, Verdict::Same, Verdict::New]);
        assert_eq!(mixed.failures_count(), 1);
        let text = mixed.render();
        assert!(
            text.contains("+2.1 %  WORSE") && text.contains("-2.1 %  better") && text.contains("5,000"),
            "{text}"
        );
        assert!(
            text.contains("tools/counts --accept") && text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }

    #[test]
    fn another_compiler_is_told_and_fails_nothing() {
        let other = comparison(&[200.0, 100.0, 100.0], "rustc 1.96.0 (y)");
        assert_eq!((other.failures_count(), other.count(Verdict::Worse)), (0, 1));
        assert!(other.render().contains("rustc: accepted with \"rustc 1.95.0 (x)\", here \"rustc 1.96.0 (y)\""));
    }
}
