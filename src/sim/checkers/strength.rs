//! Once faults are over every group comes back to full strength by itself: as many voters as it began with, outside of any change, and
//! all of them take part. A replica that its disk has failed for good has been replaced by then.

use std::collections::{BTreeMap, BTreeSet};

use types::{CoreAddr, GroupId, NodeId, ReplicaId};

use super::{Memberships, Violation, Voters};
use crate::observation::{Observation, ObservationKind};

/// Objects to groups that lack a voter when all has been at rest for long.
#[derive(Debug)]
pub struct Strength {
    /// The voters that each group began with.
    first: Voters,
    /// Where replicas take part.
    live: BTreeMap<(GroupId, ReplicaId), CoreAddr>,
    /// Nodes that end whenever they are started, as their disks are damaged: nothing but a new node can help.
    ended: BTreeSet<NodeId>,
    /// Where each replica was last seen.
    places: BTreeMap<(GroupId, ReplicaId), CoreAddr>,
}

const NAME: &str = "strength";

impl Strength {
    /// Groups that begin with these voters.
    pub fn new(first: Voters) -> Strength {
        Strength { first, live: BTreeMap::new(), ended: BTreeSet::new(), places: BTreeMap::new() }
    }

    /// Takes in what a replica did.
    pub fn observe(&mut self, seen: &Observation) {
        let replica = (seen.group, seen.replica);
        match &seen.kind {
            ObservationKind::Started { .. } => {
                self.ended.remove(&seen.place.node);
                self.live.insert(replica, seen.place);
                self.places.insert(replica, seen.place);
            }
            ObservationKind::Quarantined { .. } => {
                self.live.remove(&replica);
                self.places.insert(replica, seen.place);
            }
            ObservationKind::Stopped | ObservationKind::Destroyed => drop(self.live.remove(&replica)),
            ObservationKind::Ended { .. } => drop(self.ended.insert(seen.place.node)),
            _ => {}
        }
    }

    /// Whether a node cannot be started any more.
    pub fn has_lost_nodes(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Judges groups that were left alone for long.
    ///
    /// # Errors
    /// A group is not at full strength.
    pub fn at_rest(&self, memberships: &Memberships) -> Result<(), Violation> {
        for (group, first) in &self.first {
            let Some(electorate) = memberships.in_effect(*group).last() else { continue };
            let on_dead_node = |id: &ReplicaId| {
                self.places.get(&(*group, *id)).is_some_and(|place| self.ended.contains(&place.node))
            };
            if electorate.voters.iter().chain(first).any(on_dead_node) {
                continue;
            }
            let missing: Vec<_> =
                electorate.voters.iter().filter(|id| !self.live.contains_key(&(*group, **id))).collect();
            if !missing.is_empty() || !electorate.outgoing.is_empty() || electorate.voters.len() != first.len() {
                let what = format!(
                    "with everything at rest group {group} has the voters {electorate}, of which {missing:?} take no part; \
                     it began with {first:?}"
                );
                return Err(Violation::new(NAME, what));
            }
        }
        Ok(())
    }
}
