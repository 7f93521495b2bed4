//! The cluster map in group 0: agreed on once, and checked against the configuration ever after.
//!
//! A cluster is first described by its nodes' configuration. The first leader of group 0 puts that map into the
//! group's log. From then on a node whose configuration describes another one is stopped, before keys are sought where
//! they are not.

use meta::ClusterMap;
use types::GroupId;
use wire::{Entry, EntryKind};

use crate::core::{Core, CoreHost};
use crate::error::Error;

/// The group that holds the cluster map.
pub(crate) const MAP_GROUP: GroupId = GroupId(0);

impl<H: CoreHost> Core<H> {
    /// Proposes the map of the configuration, if this core leads group 0 and nothing is agreed on yet.
    pub(crate) fn propose_map(&mut self) {
        let Some(idx) = self.routes.local_of(MAP_GROUP) else { return };
        let raft = &mut self.groups[idx].raft;
        // Everything committed earlier is applied once an entry of the leader's own term is.
        let is_settled = raft.is_leader() && raft.term_at(raft.applied_index()) == Some(raft.term());
        if self.agreed_map_epoch.is_some() || self.map_proposed_in == raft.term() || !is_settled {
            return;
        }
        let payload = self.config.map.to_bytes().into();
        // Refused during a transfer, for example: the next leader, or the next tick, tries again.
        if raft.propose_kind(EntryKind::ClusterMap, payload, self.now).is_ok() {
            self.map_proposed_in = raft.term();
            self.mark_dirty(idx);
        }
    }

    /// Takes in the map that the cluster has agreed on.
    pub(crate) fn apply_map(&mut self, entry: &Entry) -> Result<(), Error> {
        self.agree_on(&entry.payload)
    }

    /// Takes in the map that a checkpoint of a group holds, if it holds one.
    pub(crate) fn take_map(&mut self, idx: usize, map: &[u8]) -> Result<(), Error> {
        if self.groups[idx].id == MAP_GROUP && !map.is_empty() { self.agree_on(map) } else { Ok(()) }
    }

    fn agree_on(&mut self, map: &[u8]) -> Result<(), Error> {
        let map = ClusterMap::from_bytes(map).map_err(Error::MapEntry)?;
        if map.fingerprint() != self.config.map.fingerprint() {
            return Err(Error::OtherMap { agreed: map.epoch });
        }
        self.agreed_map_epoch = Some(map.epoch);
        Ok(())
    }
}
