//! Log matching (Raft paper, §5.3): logs that have an entry of one index and term are equal up to it.

use types::{GroupId, Index, Term};

use super::{Logs, Violation};
use crate::observation::{EntryHash, Observation, ObservationKind};

/// Objects to two entries of one index and term that differ or follow different ones, to gaps, to terms that fall, and
/// to logs that a restart finds and nobody wrote.
#[derive(Debug, Default)]
pub struct LogMatching;

const NAME: &str = "log-matching";

impl LogMatching {
    /// Compares with what the logs held before.
    ///
    /// # Errors
    /// Log matching is broken.
    pub fn observe(&mut self, seen: &Observation, logs: &Logs) -> Result<(), Violation> {
        match &seen.kind {
            ObservationKind::Started { base, last, .. } => found(seen, *base, *last, logs),
            ObservationKind::Logged { first, entries, .. } if !entries.is_empty() => {
                logged(seen, *first, entries, logs)
            }
            _ => Ok(()),
        }
    }
}

fn logged(seen: &Observation, first: Index, entries: &[EntryHash], logs: &Logs) -> Result<(), Violation> {
    let log = logs.get(seen.group, seen.replica);
    let (base, last) = log.map_or((0, 0), |log| (log.base_index(), log.last_index()));
    if first <= base || first > last + 1 {
        return Err(Violation::of_replica(
            NAME,
            seen,
            format!("logs entries from {first} on, where its log spans {base} to {last}"),
        ));
    }
    let mut term_before = log.and_then(|log| log.term(first - 1)).unwrap_or(0);
    for (index, entry) in (first..).zip(entries) {
        if entry.term < term_before {
            let term = entry.term;
            return Err(Violation::of_replica(
                NAME,
                seen,
                format!("logs entry {index} of term {term} behind one of term {term_before}"),
            ));
        }
        compare(seen, index, *entry, term_before, logs)?;
        term_before = entry.term;
    }
    Ok(())
}

fn compare(
    seen: &Observation,
    index: Index,
    entry: EntryHash,
    term_before: Term,
    logs: &Logs,
) -> Result<(), Violation> {
    let Some(known) = logs.linked(seen.group, index, entry.term) else { return Ok(()) };
    let term = entry.term;
    if known.entry.hash != entry.hash {
        let (theirs, ours) = (known.entry.hash, entry.hash);
        let what = format!(
            "logs entry {index} of term {term} with content {ours:016x}, which elsewhere has content {theirs:016x}"
        );
        return Err(Violation::of_replica(NAME, seen, what));
    }
    if known.term_before != term_before {
        let theirs = known.term_before;
        let what = format!(
            "has entry {index} of term {term} behind one of term {term_before}, where another has one of term {theirs}"
        );
        return Err(Violation::of_replica(NAME, seen, what));
    }
    Ok(())
}

fn found(seen: &Observation, base: (Index, Term), last: (Index, Term), logs: &Logs) -> Result<(), Violation> {
    if last.0 < base.0 {
        return Err(Violation::of_replica(
            NAME,
            seen,
            format!("starts on a log that ends at {} before its base {}", last.0, base.0),
        ));
    }
    let (mut index, mut term) = last;
    while index > base.0 {
        let Some(linked) = logs.linked(seen.group, index, term) else {
            return Err(Violation::of_replica(
                NAME,
                seen,
                format!("finds entry {index} of term {term} in its log, which nobody logged"),
            ));
        };
        index -= 1;
        term = linked.term_before;
    }
    if term != base.1 {
        let what = format!("starts on a log whose base {} has term {}, elsewhere {term}", base.0, base.1);
        return Err(Violation::of_replica(NAME, seen, what));
    }
    Ok(())
}

/// Names an entry for a message.
pub(super) fn entry_name(group: GroupId, index: Index, entry: EntryHash) -> String {
    format!("entry {index} of group {group} (term {}, content {:016x})", entry.term, entry.hash)
}
