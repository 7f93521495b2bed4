//! State machine safety (Raft paper, §5.4.3): replicas apply the same entries, each once and in order, and only what a
//! majority holds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use types::{GroupId, Index, ReplicaId};

use super::log_matching::entry_name;
use super::{Logs, Memberships, Violation};
use crate::observation::{Electorate, EntryHash, Observation, ObservationKind};

/// An applied entry.
#[derive(Clone, Debug)]
struct Applied {
    entry: EntryHash,
    by: ReplicaId,
    /// Whose logs had it when it was first applied, without those that have started without it since: these had it not on
    /// stable storage when it was committed. A majority must remain.
    holders: Vec<ReplicaId>,
    /// Whose majority that was. More than one may be in effect: the entry that ends a joint change is committed by the new voters alone.
    electorates: Vec<Electorate>,
}

/// Objects to two entries applied at one index, to gaps and repetitions, to an entry applied that no majority has in its
/// logs, and to replicas that start without the entry if that leaves no majority that can have had it.
#[derive(Debug, Default)]
pub struct StateMachineSafety {
    applied: HashMap<GroupId, BTreeMap<Index, Applied>>,
    /// The last entry each replica has applied since it started.
    last: HashMap<(GroupId, ReplicaId), Index>,
    damaged: Vec<(GroupId, ReplicaId)>,
}

const NAME: &str = "state-machine-safety";

impl StateMachineSafety {
    /// How many entries were applied, each counted once.
    pub fn committed_count(&self) -> u64 {
        self.applied.values().map(|applied| applied.len() as u64).sum()
    }

    /// Takes in what a replica did; `logs` are as they are behind it, and `memberships` as they were before.
    ///
    /// # Errors
    /// State machine safety is broken.
    pub fn observe(&mut self, seen: &Observation, logs: &Logs, memberships: &Memberships) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        match &seen.kind {
            ObservationKind::Started { last, applied, .. } => self.started(seen, last.0, *applied),
            ObservationKind::Restored { last } => {
                self.check_reach(seen, last.0)?;
                self.last.insert(key, last.0);
                Ok(())
            }
            ObservationKind::Applied { index, entry } => self.apply(seen, *index, *entry, logs, memberships),
            ObservationKind::Damaged | ObservationKind::Quarantined { .. } => {
                self.damaged.push(key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn started(&mut self, seen: &Observation, log_last: Index, applied: Index) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        self.check_reach(seen, applied)?;
        self.last.insert(key, applied);
        if self.damaged.contains(&key) {
            return Ok(());
        }
        let Some(all) = self.applied.get_mut(&seen.group) else { return Ok(()) };
        for (index, known) in all.range_mut(log_last.max(applied) + 1..) {
            let count_before = known.holders.len();
            known.holders.retain(|holder| *holder != seen.replica);
            let holds = |id| known.holders.contains(&id);
            let is_majority = known.electorates.iter().any(|electorate| electorate.is_majority(holds));
            if known.holders.len() < count_before && !is_majority {
                let name = entry_name(seen.group, *index, known.entry);
                let what = format!(
                    "starts on a log that ends at {log_last}, but {name} was committed because its log had it, and only \
                     {:?} of {} can have had it besides",
                    known.holders,
                    names(&known.electorates)
                );
                return Err(Violation::of_replica(NAME, seen, &what));
            }
        }
        Ok(())
    }

    /// A state cannot hold what nobody has applied.
    fn check_reach(&self, seen: &Observation, applied: Index) -> Result<(), Violation> {
        let known = self.applied.get(&seen.group).and_then(|all| all.keys().next_back()).copied().unwrap_or(0);
        if applied > known {
            let what = format!("has a state that holds entry {applied}, but nobody has applied more than {known}");
            return Err(Violation::of_replica(NAME, seen, &what));
        }
        Ok(())
    }

    fn apply(
        &mut self,
        seen: &Observation,
        index: Index,
        entry: EntryHash,
        logs: &Logs,
        memberships: &Memberships,
    ) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        let before = self.last.insert(key, index).unwrap_or(0);
        if index != before + 1 {
            return Err(Violation::of_replica(NAME, seen, format!("applies entry {index} behind entry {before}")));
        }
        let name = || entry_name(seen.group, index, entry);
        let own = logs.get(seen.group, seen.replica);
        if !own.is_some_and(|log| log.holds(index, entry.term)) {
            return Err(Violation::of_replica(
                NAME,
                seen,
                format!("applies {}, which its own log does not have", name()),
            ));
        }
        let all = self.applied.entry(seen.group).or_default();
        if let Some(known) = all.get(&index) {
            if known.entry != entry {
                let other = entry_name(seen.group, index, known.entry);
                let what = format!("applies {}, where replica {} has applied {other}", name(), known.by);
                return Err(Violation::of_replica(NAME, seen, &what));
            }
            return Ok(());
        }
        let holds = |voter: ReplicaId| logs.has_held(seen.group, voter, index, entry.term);
        let in_effect: Vec<_> = memberships.in_effect(seen.group).cloned().collect();
        let all_voters: BTreeSet<_> = in_effect.iter().flat_map(Electorate::all).collect();
        let holders: Vec<_> = all_voters.into_iter().filter(|id| holds(*id)).collect();
        let (electorates, others): (Vec<_>, Vec<_>) =
            in_effect.into_iter().partition(|electorate| electorate.is_majority(holds));
        if electorates.is_empty() {
            let what = format!("applies {}, which only {holders:?} of {} have in their logs", name(), names(&others));
            return Err(Violation::of_replica(NAME, seen, &what));
        }
        all.insert(index, Applied { entry, by: seen.replica, holders, electorates });
        Ok(())
    }
}

fn names(electorates: &[Electorate]) -> String {
    electorates.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}
