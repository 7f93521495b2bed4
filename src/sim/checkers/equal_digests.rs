//! Replicas that have applied the same entries hold the same state: at any time, across restarts and states that were
//! taken over, and in the end, when nothing happens any more, all of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use types::{CoreAddr, GroupId, Index, ReplicaId};

use super::Violation;
use crate::observation::{Observation, ObservationKind};

const NAME: &str = "equal-digests";

/// Objects to two digests of one group at one index that differ, and to replicas at rest that have not applied the same
/// entries.
#[derive(Debug, Default)]
pub struct EqualDigests {
    known: HashMap<(GroupId, Index), (u128, CoreAddr)>,
    /// How far each replica that runs had come at its last digest.
    reached: BTreeMap<(GroupId, ReplicaId), (Index, CoreAddr)>,
    /// Entries at which replicas are compared: they change nothing, and come also when everything else is at rest.
    compare_entries: BTreeSet<(GroupId, Index)>,
    compared_count: u64,
}

impl EqualDigests {
    /// How many digests could be compared with an earlier one, of another replica or of another life of the same.
    pub fn compared_count(&self) -> u64 {
        self.compared_count
    }

    /// Takes in what a replica did.
    ///
    /// # Errors
    /// Two states differ.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        let replica = (seen.group, seen.replica);
        match seen.kind {
            ObservationKind::Digest { index, digest } => {
                self.reached.insert(replica, (index, seen.place));
                self.compare(seen, index, digest)
            }
            // What is not in memory has no digest, and goes on all the same.
            ObservationKind::Started { applied: index, .. } | ObservationKind::Applied { index, .. } => {
                self.reached.insert(replica, (index, seen.place));
                Ok(())
            }
            ObservationKind::Restored { last: (index, _) } => {
                self.reached.insert(replica, (index, seen.place));
                Ok(())
            }
            ObservationKind::Compare { index } => {
                self.compare_entries.insert((seen.group, index));
                Ok(())
            }
            ObservationKind::Tables { index, digest } => self.compare(seen, index, digest),
            ObservationKind::Stopped
            | ObservationKind::Destroyed
            | ObservationKind::Quarantined { .. }
            | ObservationKind::StateLost { .. } => {
                self.reached.remove(&replica);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn compare(&mut self, seen: &Observation, index: Index, digest: u128) -> Result<(), Violation> {
        let mut is_new = false;
        let (known, place) = *self.known.entry((seen.group, index)).or_insert_with(|| {
            is_new = true;
            (digest, seen.place)
        });
        self.compared_count += u64::from(!is_new);
        if known == digest {
            return Ok(());
        }
        let (group, here) = (seen.group, seen.place);
        Err(Violation::new(
            NAME,
            format_args!(
                "behind entry {index} of group {group} the state on {here} has digest {digest:032x}, that on {place} \
                 {known:032x}"
            ),
        ))
    }

    /// Judges replicas of which nothing was asked for long, and which have told their last digests since.
    ///
    /// # Errors
    /// Replicas of one group have come differently far.
    pub fn at_rest(&self) -> Result<(), Violation> {
        for ((group, _), (index, place)) in &self.reached {
            let others = self.reached.range((*group, ReplicaId(0))..=(*group, ReplicaId(u64::MAX)));
            let furthest = others.map(|(_, reached)| *reached).max_by_key(|(reached, _)| *reached);
            let is_behind =
                |most: &Index| (index + 1..=*most).any(|next| !self.compare_entries.contains(&(*group, next)));
            if let Some((most, other)) = furthest.filter(|(most, _)| is_behind(most)) {
                return Err(Violation::new(
                    NAME,
                    format_args!(
                        "with everything at rest the replica of group {group} on {place} has applied {index} entries, \
                         that on {other} {most}"
                    ),
                ));
            }
        }
        Ok(())
    }
}
