//! What a campaign has to say, as text for people.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::summary::{Summary, UNDECIDED_PPM_MAX};
use super::{Campaign, coverage};
use crate::faults::FAULTS;

/// Longest name of a count, in characters, for the columns behind it.
const NAME_WIDTH: usize = 52;
/// Longest name of a fault.
const FAULT_WIDTH: usize = 24;
/// Room for a count.
const COUNT_WIDTH: usize = 15;

/// Everything but the failing seeds.
pub(super) fn describe(campaign: &Campaign, summary: &Summary) -> String {
    let mut text = String::new();
    let simulated = Duration::from_millis(summary.simulated_ms).as_secs_f64();
    let took = summary.took.as_secs_f64().max(1e-9);
    let _ = writeln!(
        text,
        "{} seeds ({}..{}): {} failed\n{:.2} h simulated in {took:.0} s by {} jobs, {:.0} simulated s per s and job",
        number(summary.seeds),
        campaign.first,
        campaign.first + campaign.count - 1,
        summary.failed.len(),
        simulated / 3600.0,
        campaign.jobs,
        simulated / took / campaign.jobs as f64,
    );
    let [answered, refused, unknown] = summary.operations;
    title(&mut text, "operations of clients");
    row(&mut text, "answered", answered);
    row(&mut text, "refused: not carried out", refused);
    row(&mut text, "of unknown outcome", unknown);
    seen(&mut text, summary);
    faults(&mut text, summary);
    queues(&mut text, &summary.queues);
    required(&mut text, summary);
    title(&mut text, "other counts");
    let is_other = |name: &str| !coverage::is_required(name) && !coverage::is_absent(name);
    let others = summary.counters.iter().filter(|(name, _)| is_other(name));
    others.for_each(|(name, count)| row(&mut text, name, *count));
    text.push('\n');
    text
}

/// What the checkers had to look at in the runs that kept every promise.
fn seen(text: &mut String, summary: &Summary) {
    let saw = &summary.coverage;
    let judged = &saw.linearizability;
    title(text, "what the checkers saw");
    row(text, "leaders elected", saw.leaders);
    row(text, "entries committed", saw.committed);
    row(text, "digests of states compared", saw.digests_compared);
    row(text, "objects judged for linearizability", judged.objects);
    row(text, "operations on them", judged.operations);
    row(text, "objects left undecided", judged.undecided);
    row(text, "operations on those", judged.undecided_operations);
    row(text, "tokens seen once each", saw.tokens);
    row(text, "keys read back", saw.keys_read_back);
    row(text, "operations on keys that expire", saw.expiring);
    let _ = writeln!(
        text,
        "  undecided: {} of the operations, of at most {}",
        percent(judged.undecided_ppm()),
        percent(UNDECIDED_PPM_MAX)
    );
}

/// How often each kind of fault took effect.
fn faults(text: &mut String, summary: &Summary) {
    let missing = coverage::missing_faults(&summary.faults).len();
    title(text, &format!("faults: {}", verdict(missing)));
    for row in FAULTS {
        let count = summary.faults.get(&row.kind).copied().unwrap_or(0);
        let mark = if count == 0 { "!" } else { " " };
        let _ = writeln!(text, "{mark} {:<FAULT_WIDTH$}{:>COUNT_WIDTH$}  {}", row.name, number(count), row.help);
    }
}

fn verdict(missing_count: usize) -> String {
    if missing_count == 0 { "all were reached".to_owned() } else { format!("{missing_count} were NOT reached") }
}

/// The fullest that queues have been.
fn queues(text: &mut String, queues: &BTreeMap<String, (u64, u64)>) {
    title(text, "queues, the fullest of each kind, and its bound");
    for (name, (len, max)) in queues {
        let _ = writeln!(text, "  {name:<NAME_WIDTH$}{:>COUNT_WIDTH$} of {:>13}", number(*len), number(*max));
    }
}

/// The rare paths that must be reached.
fn required(text: &mut String, summary: &Summary) {
    let missing = coverage::missing(&summary.counters).len();
    title(text, &format!("rare paths that must be reached: {}", verdict(missing)));
    for (name, meaning) in coverage::REQUIRED {
        let get = |counts: &BTreeMap<String, u64>| counts.get(*name).copied().unwrap_or(0);
        let (count, seeds) = (get(&summary.counters), get(&summary.reached_by));
        let mark = if count == 0 { "!" } else { " " };
        let count = number(count);
        let _ = writeln!(text, "{mark} {name:<NAME_WIDTH$}{count:>COUNT_WIDTH$} in {seeds:>4} seeds  {meaning}");
    }
}

fn title(text: &mut String, title: &str) {
    let _ = writeln!(text, "\n{title}");
}

fn row(text: &mut String, name: &str, count: u64) {
    let _ = writeln!(text, "  {name:<NAME_WIDTH$}{:>COUNT_WIDTH$}", number(count));
}

fn percent(ppm: u64) -> String {
    format!("{:.2} %", ppm as f64 / 1e4)
}

/// A number with its thousands set apart.
pub(super) fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (idx, digit) in digits.chars().enumerate() {
        if idx > 0 && (digits.len() - idx).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::faults::FaultKind;

    #[test]
    fn thousands_are_set_apart() {
        let shown = [0, 7, 999, 1_000, 12_345, 123_456, 1_000_000].map(number);
        assert_eq!(shown, ["0", "7", "999", "1,000", "12,345", "123,456", "1,000,000"]);
    }

    #[test]
    fn what_was_not_reached_is_marked() {
        let campaign = Campaign {
            first: 1,
            count: 2,
            jobs: 1,
            busy: Duration::from_secs(1),
            broken: None,
            limit: Duration::from_secs(1),
            out: PathBuf::new(),
        };
        let mut summary = Summary::default();
        let (first, second) = (coverage::REQUIRED[0].0, coverage::REQUIRED[1].0);
        summary.counters.insert(first.to_owned(), 1_234);
        summary.counters.insert("something else".to_owned(), 5);
        summary.counters.insert(coverage::ABSENT[0].0.to_owned(), 0);
        summary.faults.insert(FaultKind::CrashAll, 3);
        let text = describe(&campaign, &summary);
        let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_default().to_owned();
        assert!(line(first).starts_with("  ") && line(first).contains("1,234"), "{text}");
        assert!(line(second).starts_with("! "), "{text}");
        assert!(text.contains(&format!("reached: {} were NOT reached", coverage::REQUIRED.len() - 1)), "{text}");
        assert!(line("something else").ends_with(" 5"), "{text}");
        assert!(text.contains(&format!("faults: {} were NOT reached", FAULTS.len() - 1)), "{text}");
        assert!(line("crash of all").starts_with("  crash of all") && line("full disk").starts_with("! "), "{text}");
        assert_eq!(line(coverage::ABSENT[0].0), "", "what cannot happen is not told");
    }
}
