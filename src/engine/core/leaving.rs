//! Replicas that the map does not want here any more: they find out that they are no members, and are destroyed.
//!
//! A cached map that does not want a replica is a reason to ask, and no more. Only what the group itself says counts: the entry that
//! removed the replica, applied here, or the word of whoever leads the group now (`standing` of the groups).

use types::{CoreAddr, GroupId, ReplicaId, Term};
use wire::{LeaderNote, ReplicaNote, ReplicaNoteKind};

use super::{Core, CoreHost};
use crate::cluster::MAP_GROUP;
use crate::error::Error;
use crate::groups::is_unwanted;
use crate::origin::LinkId;

impl<H: CoreHost> Core<H> {
    /// Looks at the replicas here that the map does not want: those that know that they are removed retire, and the others ask.
    pub(super) fn look_at_unwanted(&mut self) {
        let map = self.cluster.map().clone();
        let running = self.groups.residents().filter(|(_, id, replica)| is_unwanted(&map, *id, *replica));
        for (group, id, replica) in running.collect::<Vec<_>>() {
            if self.groups.has_left_group(group) && !self.groups.is_leader(group) {
                self.groups.retire(&mut self.ctx, group);
            } else {
                self.ask_standing(id, replica, self.groups.term(group));
            }
        }
        let away = self.storage.away().filter(|(id, replica)| is_unwanted(&map, *id, *replica));
        for (id, replica) in away.collect::<Vec<_>>() {
            self.ask_standing(id, replica, 0);
        }
    }

    /// Asks the cores where replicas of the group are to live whether one that lives here is a member. Whoever leads answers.
    fn ask_standing(&mut self, group: GroupId, replica: ReplicaId, term: Term) {
        let note = ReplicaNote { group, replica, term, says: ReplicaNoteKind::IsMember };
        let map = self.cluster.map().clone();
        for wanted in map.group(group).into_iter().flat_map(|spec| &spec.replicas) {
            if let Some(link) = self.peers.link_to(wanted.place) {
                self.peers.replica_note(link, note);
            }
        }
    }

    /// Tells a core that the replica there is no member, and who leads.
    pub(super) fn tell_gone(&mut self, to: CoreAddr, note: ReplicaNote, leader: LeaderNote) {
        if let Some(link) = self.peers.link_to(to) {
            self.peers.replica_note(link, note);
            self.peers.send_leaders(link, std::iter::once(leader));
        }
    }

    /// Takes in what another core says about a replica.
    pub(super) fn on_replica_note(&mut self, link: LinkId, note: ReplicaNote) {
        let local = self.router.local_of(note.group);
        match (note.says, local) {
            (ReplicaNoteKind::IsMember, Some(group)) => {
                let from = self.peers.addr_of(link);
                self.groups.take_question(&self.ctx, self.cluster.map(), group, from, note);
            }
            (ReplicaNoteKind::IsMember, None) => {}
            (ReplicaNoteKind::Gone, local) => self.on_gone(local, note),
            // Whoever leads group 0 plans so.
            (ReplicaNoteKind::Lead, _) => {
                let _ = self.hand_over_as_told(note);
            }
        }
    }

    /// A replica that lives here was asked about, and is no member. What was asked before it has come to another term says nothing.
    fn on_gone(&mut self, local: Option<usize>, note: ReplicaNote) {
        let ReplicaNote { group, replica, term, .. } = note;
        if !is_unwanted(self.cluster.map(), group, replica) {
            return;
        }
        match local.filter(|local| self.groups.is_running(*local)) {
            Some(local) => {
                let is_meant = self.groups.replica_id(local) == replica && self.groups.term(local) == term;
                if is_meant && !self.groups.is_leader(local) {
                    self.groups.retire(&mut self.ctx, local);
                }
            }
            None if self.storage.away().any(|away| away == (group, replica)) => {
                self.storage.destroy(&mut self.groups, group, replica);
            }
            None => {}
        }
    }

    /// A replica has retired, and nobody waits for it any more: commands for its group go elsewhere from here on.
    pub(super) fn on_retired(&mut self, group: usize) {
        let (id, replica) = (self.groups.id(group), self.groups.replica_id(group));
        self.router.clear_local(id);
        if let Some(route) = self.router.of_group(id) {
            self.router.want_drain(route);
            self.clients.unblock_route(route);
        }
        self.storage.destroy(&mut self.groups, id, replica);
    }

    /// A replica is destroyed for ever.
    pub(super) fn on_destroyed(&mut self, group: GroupId, replica: ReplicaId) -> Result<(), Error> {
        self.observe_destroyed(group, replica);
        if let Some(retired) = self.groups.retired_of(group) {
            self.groups.erase(&self.ctx, retired);
        }
        // Another one begins without a map.
        if group == MAP_GROUP { self.take_map_of_state(&[]) } else { Ok(()) }
    }
}
