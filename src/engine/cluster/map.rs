//! The cluster map in group 0: agreed on once, and checked against the configuration ever after.
//!
//! A cluster is first described by its nodes' configuration. The first leader of group 0 puts that map into the
//! group's log. From then on a node whose configuration describes another one is stopped, before keys are sought where
//! they are not.

use meta::ClusterMap;
use types::{GroupId, Term};

use crate::error::Error;

/// The group that holds the cluster map.
pub(crate) const MAP_GROUP: GroupId = GroupId(0);

/// How far the agreement has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MapAgreement {
    /// Epoch of the map that the cluster has agreed on, once this core has seen it.
    agreed_epoch: Option<u64>,
    /// The term in which this core last proposed one; 0 if it never did.
    proposed_in: Term,
}

impl MapAgreement {
    /// Whether a leader of group 0 should propose its map now.
    pub(crate) fn wants_to_propose(&self, is_settled_leader: bool, term: Term) -> bool {
        is_settled_leader && self.agreed_epoch.is_none() && self.proposed_in != term
    }

    /// A proposal was taken in `term`. It is either committed in it, or another term begins.
    pub(crate) fn proposed(&mut self, term: Term) {
        self.proposed_in = term;
    }

    /// The cluster lives by this map: it must be the configured one.
    pub(crate) fn agree_on(&mut self, map: &[u8], configured: &ClusterMap) -> Result<(), Error> {
        let map = ClusterMap::from_bytes(map).map_err(Error::MapEntry)?;
        if map.fingerprint() != configured.fingerprint() {
            return Err(Error::OtherMap { agreed: map.epoch });
        }
        self.agreed_epoch = Some(map.epoch);
        Ok(())
    }

    /// Whether there is an agreement.
    pub(crate) fn is_agreed(&self) -> bool {
        self.agreed_epoch.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_settled_leader_proposes_once_per_term_until_there_is_an_agreement() {
        let map = Config::of_test(3, 1, 2).map;
        let mut agreement = MapAgreement::default();
        assert!(!agreement.wants_to_propose(false, 1), "entries of earlier leaders may hold a map");
        assert!(agreement.wants_to_propose(true, 1));
        assert!(agreement.wants_to_propose(true, 1), "a proposal that was not taken is made again");
        agreement.proposed(1);
        assert!(!agreement.wants_to_propose(true, 1));
        assert!(agreement.wants_to_propose(true, 2), "what another term may have cut off is proposed again");
        agreement.agree_on(&map.to_bytes(), &map).expect("it is the same map");
        assert!(agreement.is_agreed() && !agreement.wants_to_propose(true, 3));
    }

    #[test]
    fn another_map_than_the_configured_one_is_an_error() {
        let (mine, agreed) = (Config::of_test(3, 1, 2).map, Config::of_test(3, 1, 3).map);
        let mut agreement = MapAgreement::default();
        let error = agreement.agree_on(&agreed.to_bytes(), &mine).expect_err("it has other groups");
        assert!(matches!(error, Error::OtherMap { agreed: 1 }), "{error}");
        assert!(!agreement.is_agreed());
        let error = agreement.agree_on(b"no map", &mine).expect_err("it is no map at all");
        assert!(matches!(error, Error::MapEntry(_)), "{error}");
    }
}
