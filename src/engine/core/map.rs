//! The cluster map on its way: from the log of group 0 to all cores, and from what cores report to the next change.
//!
//! A core that has lost a replica asks whoever leads group 0 for a successor, again and again until the map names one; the
//! change is an entry of group 0. Each core begins the replicas that the map wants on it, and the leader of the group concerned
//! makes them members.

use std::time::Duration;

use bytes::Bytes;
use meta::{Keep, MapChange, Replace};
use types::Instant;
use wire::{EntryKind, MapNote};

use super::{Core, CoreHost};
use crate::cluster::MAP_GROUP;
use crate::error::Error;
use crate::origin::LinkId;
use crate::topology_view::LeaderTable;

/// Most changes that a core asks for at once: each takes a part of a frame. The others come with the next look.
const CHANGES_COUNT_MAX: usize = 64;
/// How often a core looks at what the map wants of it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl<H: CoreHost> Core<H> {
    /// Takes in the map of a state that the replica of group 0 here begins or goes on with.
    pub(super) fn take_map_of_state(&mut self, map: &[u8]) -> Result<(), Error> {
        self.cluster.on_state(map)?;
        self.map_applied();
        Ok(())
    }

    /// Takes in an entry of group 0 with the first map.
    pub(super) fn take_map_entry(&mut self, map: &[u8]) -> Result<(), Error> {
        self.cluster.on_entry(map)?;
        self.map_applied();
        Ok(())
    }

    /// Takes in an entry of group 0 with a change of the map.
    pub(super) fn take_map_change(&mut self, change: &[u8]) -> Result<(), Error> {
        self.cluster.on_change(change)?;
        self.map_applied();
        Ok(())
    }

    /// Group 0 here has applied something that concerns the map.
    fn map_applied(&mut self) {
        self.storage.set_cluster_map(MAP_GROUP, self.cluster.agreed_map());
        self.note_map();
    }

    /// The latest map known here may be another one than before.
    fn note_map(&mut self) {
        if self.peers.map_epoch() < self.cluster.map().epoch {
            self.storage.set_map(self.cluster.map());
            self.follow_map();
            self.groups.fit_all_members_later();
            self.next_map_look = Instant::ZERO;
            if let Some(keep_map) = &self.ctx.config.keep_map {
                keep_map.keep(self.cluster.map());
            }
        }
    }

    /// Takes in what another core says of the map.
    pub(super) fn on_map_note(&mut self, link: LinkId, note: MapNote) {
        if !note.map.is_empty() {
            match self.cluster.on_told(&note.map) {
                Ok(_) => self.note_map(),
                Err(error) => {
                    let from = self.peers.addr_of(link);
                    tracing::error!(%from, %error, "the cluster map of another core is refused");
                }
            }
        }
        if self.cluster.wants_map(note.epoch, self.ctx.now) {
            self.peers.want_map(link);
        }
        if note.is_wanted {
            self.peers.send_map(link, Bytes::from(self.cluster.map().to_bytes()));
        }
    }

    /// Proposes the map of the configuration, if this core leads group 0 and it holds none yet.
    pub(super) fn propose_map(&mut self) {
        let Some(group) = self.router.local_of(MAP_GROUP) else { return };
        let Some(term) = self.groups.settled_leader_term(group) else { return };
        if let Some(map) = self.cluster.wants_to_propose(true, term)
            && let Some(term) = self.groups.propose_map(&self.ctx, group, EntryKind::ClusterMap, map)
        {
            self.cluster.map_proposed(term);
        }
    }

    /// Begins the replicas that the map wants here, looks at those that it does not want, and asks for changes of the map where it does not say what
    /// is to become of the replicas here.
    ///
    /// # Errors
    /// [`Error::Replaced`] and [`Error::Removed`].
    pub(super) fn tick_map(&mut self) -> Result<(), Error> {
        if self.ctx.now < self.next_map_look {
            return Ok(());
        }
        self.next_map_look = self.ctx.now + LOOK_EVERY;
        let (map, me) = (self.cluster.map().clone(), self.ctx.addr());
        if map.node(me.node).is_none() || self.peers.is_told_removed() {
            return Err(Error::Removed { node: me.node });
        }
        let in_force = map.admitted(me.node).map_or(0, |node| node.incarnation);
        if in_force != 0 && in_force != self.ctx.config.incarnation {
            return Err(Error::Replaced { node: me.node });
        }
        let mut changes = self.operators_changes();
        changes.extend(self.vacated());
        for (group, replica) in self.storage.spent() {
            let wanted = map.group(group).and_then(|spec| spec.replicas.iter().find(|one| one.place == me));
            if let Some(wanted) = wanted
                && wanted.id <= replica
            {
                changes.push(MapChange::Replace(Replace { group, replica: wanted.id, place: me }));
            }
        }
        for (spec, wanted) in map.replicas_at(me) {
            self.storage.begin_successor(&self.ctx, spec.id, wanted.id);
            // It could not be read for a while, and is back.
            let here = self.router.local_of(spec.id).filter(|group| self.groups.is_running(*group));
            // One that nobody leads may have been removed, and not know it yet.
            let here = here.filter(|group| self.groups.is_led(*group)).map(|group| self.groups.replica_id(group));
            if let Some(replica) = here.filter(|replica| *replica < wanted.id) {
                changes.push(MapChange::Keep(Keep { group: spec.id, replica, place: me, successor: wanted.id }));
            }
        }
        self.ask_changes(&changes);
        self.look_at_unwanted();
        Ok(())
    }

    /// Asks whoever leads group 0 for changes of the map.
    pub(super) fn ask_changes(&mut self, changes: &[MapChange]) {
        let Some(leader) = self.router.leader_of(MAP_GROUP).filter(|leader| leader.is_known) else { return };
        if changes.is_empty() {
            return;
        }
        let changes: Vec<_> =
            changes.iter().take(CHANGES_COUNT_MAX).map(|change| Bytes::from(change.to_bytes())).collect();
        match self.peers.link_to(leader.addr) {
            Some(link) => self.peers.ask_changes(link, changes),
            None => {
                let _ = self.propose_changes(&changes);
            }
        }
    }

    /// Proposes the changes of the map that would change something, if this core leads group 0. Returns how many were.
    pub(super) fn propose_changes(&mut self, changes: &[Bytes]) -> usize {
        let Some(group) = self.router.local_of(MAP_GROUP) else { return 0 };
        if self.groups.settled_leader_term(group).is_none() || !self.cluster.is_agreed() {
            return 0;
        }
        let mut proposed_count = 0;
        for bytes in changes {
            let Ok(change) = MapChange::from_bytes(bytes) else { continue };
            // Until the entry is applied the same may be proposed again, and changes nothing then.
            if meta::ClusterMap::clone(self.cluster.map()).change(&change)
                && self.groups.propose_map(&self.ctx, group, EntryKind::MapChange, bytes.clone()).is_some()
            {
                tracing::info!(?change, "the cluster map is to change");
                proposed_count += 1;
            }
        }
        proposed_count
    }
}
