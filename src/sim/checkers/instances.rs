//! A replica lives once, and dies once: no two instances of it run at a time, no core has two replicas of a group, and one that was
//! destroyed is never seen again, whatever its disk and its messages bring back.

use std::collections::{BTreeMap, BTreeSet};

use types::{CoreAddr, GroupId, ReplicaId};

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Objects to replicas that run twice, and to destroyed ones that are seen again.
#[derive(Debug, Default)]
pub struct Instances {
    /// Where each replica runs.
    running: BTreeMap<(GroupId, ReplicaId), CoreAddr>,
    destroyed: BTreeSet<(GroupId, ReplicaId)>,
}

const NAME: &str = "instances";

impl Instances {
    /// Takes in what a replica did.
    ///
    /// # Errors
    /// It runs elsewhere, or was destroyed.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        match &seen.kind {
            // Told of whatever may live on a node, by the node.
            ObservationKind::Stopped | ObservationKind::Damaged => drop(self.running.remove(&key)),
            // These concern cores and nodes.
            ObservationKind::Ended { .. }
            | ObservationKind::TimeBatches(_)
            | ObservationKind::Clocks(_)
            | ObservationKind::Budget { .. }
            | ObservationKind::Queue { .. } => {}
            // A disk that has lost a write may have lost that one. The log misses it, and the replica takes part in nothing.
            ObservationKind::Quarantined { is_provoked: true } => drop(self.running.remove(&key)),
            _ if self.destroyed.contains(&key) => {
                return Err(Violation::of_replica(
                    NAME,
                    seen,
                    format_args!("was destroyed, and yet: {:?}", seen.kind),
                ));
            }
            ObservationKind::Destroyed => {
                self.running.remove(&key);
                self.destroyed.insert(key);
            }
            ObservationKind::Quarantined { .. } => drop(self.running.remove(&key)),
            ObservationKind::Started { .. } => return self.started(seen),
            _ => {}
        }
        Ok(())
    }

    fn started(&mut self, seen: &Observation) -> Result<(), Violation> {
        if let Some(place) =
            self.running.insert((seen.group, seen.replica), seen.place).filter(|at| *at != seen.place)
        {
            return Err(Violation::of_replica(NAME, seen, format_args!("starts, and runs on {place}")));
        }
        let of_group = (seen.group, ReplicaId(0))..=(seen.group, ReplicaId(u64::MAX));
        let other = self.running.range(of_group).find(|((_, id), at)| *id != seen.replica && **at == seen.place);
        match other {
            Some(((_, id), _)) => {
                Err(Violation::of_replica(NAME, seen, format_args!("starts beside replica {id} of the same group")))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use types::{CoreId, Instant, NodeId};
    use wire::HardState;

    use super::*;

    const STARTED: ObservationKind = ObservationKind::Started {
        hard_state: HardState { term: 0, vote: None, commit: 0 },
        base: (0, 0),
        last: (0, 0),
        applied: 0,
    };

    fn see(instances: &mut Instances, node: u32, replica: u64, kind: ObservationKind) -> Result<(), String> {
        let place = CoreAddr { node: NodeId(node), core: CoreId(0) };
        let (at, group, replica) = (Instant::ZERO, GroupId(1), ReplicaId(replica));
        let seen = Observation { at, place, group, replica, kind };
        instances.observe(&seen).map_err(|said| said.message)
    }

    #[test]
    fn a_replica_runs_once_at_a_time() {
        let mut instances = Instances::default();
        assert_eq!(see(&mut instances, 1, 4, STARTED), Ok(()));
        assert_eq!(see(&mut instances, 1, 4, STARTED), Ok(()), "it takes over a state and goes on");
        assert!(see(&mut instances, 2, 4, STARTED).unwrap_err().contains("runs on"));
        let mut instances = Instances::default();
        assert_eq!(see(&mut instances, 1, 4, STARTED), Ok(()));
        assert!(see(&mut instances, 1, 5, STARTED).unwrap_err().contains("beside replica"));
        let mut instances = Instances::default();
        for kind in [STARTED, ObservationKind::Stopped, STARTED] {
            assert_eq!(see(&mut instances, 1, 4, kind), Ok(()));
        }
    }

    #[test]
    fn whatever_was_destroyed_is_never_seen_again() {
        let mut instances = Instances::default();
        for kind in [STARTED, ObservationKind::Destroyed, ObservationKind::Stopped] {
            assert_eq!(see(&mut instances, 1, 4, kind), Ok(()));
        }
        assert_eq!(see(&mut instances, 1, 5, STARTED), Ok(()), "another one of the group");
        let vote = ObservationKind::Voted { term: 3, candidate: ReplicaId(1) };
        for kind in [STARTED, vote, ObservationKind::Destroyed] {
            assert!(see(&mut instances, 1, 4, kind).unwrap_err().contains("was destroyed"));
        }
    }
}
