//! The cluster map as a core knows it: what group 0 has agreed on, and the latest that any core has told.
//!
//! A cluster is first described by the configuration of the nodes that form it. The first leader of group 0 puts that map into the
//! group's log; a node that was formed with another one is stopped, before keys are sought where
//! they are not. Behind it the log holds changes. Cores without a replica of group 0 learn the map from others: every frame tells
//! the epoch that its sender knows, and whoever knows an older one asks. Each node keeps the latest one for its next start.

use std::sync::Arc;

use meta::{ClusterMap, MapChange};
use types::{GroupId, Term};

use crate::error::Error;

/// The group that holds the cluster map.
pub(crate) const MAP_GROUP: GroupId = GroupId(0);

/// What is known of the map.
#[derive(Clone, Debug)]
pub(crate) struct KnownMap {
    /// As the cluster was formed.
    first: Arc<ClusterMap>,
    /// The latest one known. Invariant: its epoch never falls.
    latest: Arc<ClusterMap>,
    /// As of the last entry that the replica of group 0 here has applied; `None` if there is none, or no map in its log yet.
    applied: Option<Arc<ClusterMap>>,
    /// The term in which this core last proposed the first map; 0 if it never did.
    proposed_in: Term,
}

impl KnownMap {
    /// The first map, and the latest one that this node has kept.
    pub(crate) fn new(first: ClusterMap, latest: ClusterMap) -> KnownMap {
        KnownMap { first: Arc::new(first), latest: Arc::new(latest), applied: None, proposed_in: 0 }
    }

    /// As the cluster was formed.
    pub(crate) fn first(&self) -> &Arc<ClusterMap> {
        &self.first
    }

    /// The latest one known.
    pub(crate) fn latest(&self) -> &Arc<ClusterMap> {
        &self.latest
    }

    /// As of the last entry of group 0 that was applied here.
    pub(crate) fn applied(&self) -> Option<&Arc<ClusterMap>> {
        self.applied.as_ref()
    }

    /// Whether a leader of group 0 should propose its map now.
    pub(crate) fn wants_to_propose(&self, is_settled_leader: bool, term: Term) -> bool {
        is_settled_leader && self.applied.is_none() && self.proposed_in != term
    }

    /// A proposal was taken in `term`. It is either committed in it, or another term begins.
    pub(crate) fn proposed(&mut self, term: Term) {
        self.proposed_in = term;
    }

    /// An entry of group 0 holds the first map. A later one that does was proposed by a leader that did not know of it.
    pub(crate) fn on_entry(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let map = self.decode(bytes)?;
        if self.applied.is_none() {
            self.apply(map);
        }
        Ok(())
    }

    /// An entry of group 0 holds a change. Returns whether it was made.
    pub(crate) fn on_change(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let change = MapChange::from_bytes(bytes).map_err(Error::MapEntry)?;
        let Some(applied) = &self.applied else { return Ok(false) };
        let mut map = ClusterMap::clone(applied);
        let is_made = map.change(&change);
        if is_made {
            self.apply(map);
        }
        Ok(is_made)
    }

    /// The replica of group 0 here goes on with another state, of which this map is a part. Empty bytes come from a state before there
    /// was any.
    pub(crate) fn on_state(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            self.applied = None;
            return Ok(());
        }
        let map = self.decode(bytes)?;
        self.apply(map);
        Ok(())
    }

    /// Another core has told its map. Returns whether it is a later one.
    pub(crate) fn on_told(&mut self, bytes: &[u8]) -> Result<bool, Error> {
        let map = self.decode(bytes)?;
        Ok(self.note_latest(&Arc::new(map)))
    }

    fn apply(&mut self, map: ClusterMap) {
        let map = Arc::new(map);
        self.note_latest(&map);
        self.applied = Some(map);
    }

    fn note_latest(&mut self, map: &Arc<ClusterMap>) -> bool {
        let is_later = map.epoch > self.latest.epoch;
        if is_later {
            self.latest = Arc::clone(map);
        }
        is_later
    }

    /// A map of this cluster.
    fn decode(&self, bytes: &[u8]) -> Result<ClusterMap, Error> {
        let map = ClusterMap::from_bytes(bytes).map_err(Error::MapEntry)?;
        let is_of_another = !map.is_same_cluster(&self.first) || map.epoch == self.first.epoch && map != *self.first;
        if is_of_another { Err(Error::OtherMap { agreed: map.epoch }) } else { Ok(map) }
    }
}

#[cfg(test)]
mod tests {
    use meta::Replace;

    use super::*;
    use crate::config::Config;

    fn replace(map: &ClusterMap, group: usize) -> Vec<u8> {
        let old = map.groups[group].replicas[0];
        MapChange::Replace(Replace { group: map.groups[group].id, replica: old.id, place: old.place }).to_bytes()
    }

    #[test]
    fn a_settled_leader_proposes_once_per_term_until_there_is_a_map() {
        let map = Config::of_test(3, 1, 2).map;
        let mut known = KnownMap::new(map.clone(), map.clone());
        assert!(!known.wants_to_propose(false, 1), "entries of earlier leaders may hold a map");
        assert!(known.wants_to_propose(true, 1));
        assert!(known.wants_to_propose(true, 1), "a proposal that was not taken is made again");
        known.proposed(1);
        assert!(!known.wants_to_propose(true, 1));
        assert!(known.wants_to_propose(true, 2), "what another term may have cut off is proposed again");
        known.on_entry(&map.to_bytes()).expect("it is the same map");
        assert!(known.applied().is_some() && !known.wants_to_propose(true, 3));
    }

    #[test]
    fn the_map_of_another_cluster_is_an_error() {
        let (mine, agreed) = (Config::of_test(3, 1, 2).map, Config::of_test(3, 1, 3).map);
        let mut known = KnownMap::new(mine.clone(), mine);
        let error = known.on_entry(&agreed.to_bytes()).expect_err("it has other groups");
        assert!(matches!(error, Error::OtherMap { agreed: 1 }), "{error}");
        assert!(known.applied().is_none());
        let error = known.on_told(b"no map").expect_err("it is no map at all");
        assert!(matches!(error, Error::MapEntry(_)), "{error}");
    }

    #[test]
    fn changes_are_made_in_the_order_of_the_log_and_the_latest_map_never_goes_back() {
        let first = Config::of_test(3, 1, 2).map;
        let mut known = KnownMap::new(first.clone(), first.clone());
        assert_eq!(known.on_change(&replace(&first, 1)).ok(), Some(false), "there is no map yet that could change");
        known.on_entry(&first.to_bytes()).unwrap();
        assert_eq!(known.on_change(&replace(&first, 1)).ok(), Some(true));
        assert_eq!(known.on_change(&replace(&first, 1)).ok(), Some(false), "the replica is gone already");
        known.on_entry(&first.to_bytes()).unwrap();
        assert_eq!((known.latest().epoch, known.applied().unwrap().epoch), (2, 2), "a map that comes twice");
        known.on_state(&first.to_bytes()).unwrap();
        assert_eq!((known.latest().epoch, known.applied().unwrap().epoch), (2, 1), "an older state");
        assert_eq!(known.on_change(&replace(&first, 1)).ok(), Some(true), "what is applied again");
    }

    #[test]
    fn a_map_that_is_told_counts_if_it_is_later() {
        let first = Config::of_test(3, 1, 2).map;
        let mut known = KnownMap::new(first.clone(), first.clone());
        let mut later = first.clone();
        assert!(later.change(&MapChange::from_bytes(&replace(&first, 2)).unwrap()));
        assert_eq!(known.on_told(&first.to_bytes()).ok(), Some(false));
        assert_eq!(known.on_told(&later.to_bytes()).ok(), Some(true));
        assert_eq!(**known.latest(), later);
        assert!(known.applied().is_none(), "what others tell is not what group 0 has applied here");
    }
}
