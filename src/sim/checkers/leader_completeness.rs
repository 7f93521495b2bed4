//! Leader completeness (Raft paper, §5.4): what was committed in a term is in the logs of the leaders of all later ones.

use std::collections::{BTreeMap, HashMap};

use raft::Role;
use types::{GroupId, Index, ReplicaId, Term};

use super::log_matching::entry_name;
use super::{Logs, Violation};
use crate::observation::{EntryHash, Observation, ObservationKind};

/// A committed entry.
#[derive(Clone, Copy, Debug)]
struct Committed {
    entry: EntryHash,
    /// A term in which it was committed at the latest.
    by_term: Term,
}

/// Objects to a leader whose log lacks a committed entry, and to a log that drops one. An entry counts as committed once
/// somebody applies it.
#[derive(Debug, Default)]
pub struct LeaderCompleteness {
    committed: HashMap<GroupId, BTreeMap<Index, Committed>>,
    terms: HashMap<(GroupId, ReplicaId), Term>,
    leaders: BTreeMap<(GroupId, ReplicaId), Term>,
}

const NAME: &str = "leader-completeness";

impl LeaderCompleteness {
    /// Looks at what is about to be logged, while `logs` are still as they were before.
    ///
    /// # Errors
    /// A committed entry is about to be dropped.
    pub fn before(&mut self, seen: &Observation, logs: &Logs) -> Result<(), Violation> {
        let ObservationKind::Logged { first, entries, hard_state } = &seen.kind else { return Ok(()) };
        let Some(log) = logs.get(seen.group, seen.replica).filter(|_| !entries.is_empty()) else { return Ok(()) };
        let Some(committed) = self.committed.get(&seen.group) else { return Ok(()) };
        if *first > log.last_index() {
            return Ok(());
        }
        let known_term = self.terms.get(&(seen.group, seen.replica)).copied();
        let terms = [known_term, hard_state.map(|state| state.term), entries.last().map(|entry| entry.term)];
        let term = terms.into_iter().flatten().max().unwrap_or(0);
        // Leaders of terms before that of the commit may lack the entry.
        for (index, known) in committed.range(*first..=log.last_index()).filter(|(_, known)| known.by_term <= term) {
            let now = entries.get((index - first) as usize).copied();
            if log.get(*index) == Some(known.entry) && now != Some(known.entry) {
                let name = entry_name(seen.group, *index, known.entry);
                let what = format!("replaces its log from {first} on and so drops the committed {name}");
                return Err(Violation::of_replica(NAME, seen, &what));
            }
        }
        Ok(())
    }

    /// Looks at what has happened; `logs` are as they are behind it.
    ///
    /// # Errors
    /// A leader lacks a committed entry.
    pub fn observe(&mut self, seen: &Observation, logs: &Logs) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        match &seen.kind {
            ObservationKind::Started { hard_state, .. } => {
                self.terms.insert(key, hard_state.term);
                self.leaders.remove(&key);
                Ok(())
            }
            ObservationKind::Stopped
            | ObservationKind::Destroyed
            | ObservationKind::Quarantined { .. }
            | ObservationKind::Damaged => {
                self.leaders.remove(&key);
                Ok(())
            }
            ObservationKind::Role { role, term, .. } => {
                self.terms.insert(key, *term);
                if *role == Role::Leader && self.leaders.insert(key, *term) != Some(*term) {
                    return self.elected(seen, *term, logs);
                }
                if *role != Role::Leader {
                    self.leaders.remove(&key);
                }
                Ok(())
            }
            ObservationKind::Applied { index, entry } => self.applied(seen, *index, *entry, logs),
            _ => Ok(()),
        }
    }

    fn elected(&mut self, seen: &Observation, term: Term, logs: &Logs) -> Result<(), Violation> {
        let Some(committed) = self.committed.get(&seen.group) else { return Ok(()) };
        let log = logs.get(seen.group, seen.replica);
        // Equal at one index means equal before it, so the last one decides; the others are coverage at all the same.
        for (index, known) in committed.iter().rev().filter(|(_, known)| known.by_term < term) {
            if !log.is_some_and(|log| log.holds(*index, known.entry.term)) {
                let name = entry_name(seen.group, *index, known.entry);
                let what = format!("leads in term {term} without {name}, committed in term {}", known.by_term);
                return Err(Violation::of_replica(NAME, seen, &what));
            }
        }
        Ok(())
    }

    fn applied(&mut self, seen: &Observation, index: Index, entry: EntryHash, logs: &Logs) -> Result<(), Violation> {
        let by_term = self.terms.get(&(seen.group, seen.replica)).copied().unwrap_or(entry.term).max(entry.term);
        let committed = self.committed.entry(seen.group).or_default();
        let is_new = !committed.contains_key(&index);
        let known = committed.entry(index).or_insert(Committed { entry, by_term });
        known.by_term = known.by_term.min(by_term);
        if !is_new {
            return Ok(());
        }
        for ((_, leader), term) in self.leaders.range((seen.group, ReplicaId(0))..=(seen.group, ReplicaId(u64::MAX)))
        {
            let holds = || logs.get(seen.group, *leader).is_some_and(|log| log.holds(index, entry.term));
            if *term > by_term && !holds() {
                let name = entry_name(seen.group, index, entry);
                let what = format!("applies {name} in term {by_term}, which leader {leader} of term {term} lacks");
                return Err(Violation::of_replica(NAME, seen, &what));
            }
        }
        Ok(())
    }
}
