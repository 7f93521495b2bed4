//! Effects: what a part has returned is carried to the part that it concerns.

use std::time::Duration;

use super::sink::out;
use super::{Core, CoreHost};
use crate::cluster::MAP_GROUP;
use crate::error::Error;
use crate::groups::{GroupEffect, InstalledState, NewReplica};
use crate::row_read::ReadRows;
use crate::storage::{Loaded, StartedReplica, StorageEffect};

impl<H: CoreHost> Core<H> {
    /// Carries what followed from what happened to groups.
    pub(super) fn carry_group_effects(&mut self) -> Result<(), Error> {
        if self.group_effects.is_empty() {
            return Ok(());
        }
        let mut effects = std::mem::take(&mut self.group_effects);
        for effect in effects.drain(..) {
            match effect {
                GroupEffect::Send { to, message } => {
                    if let Some(link) = self.peers.link_to(to) {
                        self.peers.message(&mut self.ctx, link, message);
                    }
                }
                GroupEffect::Persist { group, persist } => {
                    self.storage.persist(&mut self.ctx, group, self.groups.id(group), &persist)?;
                }
                GroupEffect::ReadLog { group, read } => {
                    let place = self.groups.place_of(group, read.purpose);
                    self.storage.read_log(&mut self.ctx, group, self.groups.id(group), place, read);
                }
                GroupEffect::WantSnapshot { group, from, last_index } => {
                    if let Some(link) = self.peers.link_to(from) {
                        self.storage.want_snapshot(self.groups.id(group), link, last_index);
                    }
                }
                GroupEffect::Map { payload } => self.take_map_entry(&payload)?,
                GroupEffect::MapChange { payload } => self.take_map_change(&payload)?,
                GroupEffect::Applied { group, index, payload_bytes } => {
                    self.storage.applied(group, index, payload_bytes);
                }
                GroupEffect::Compare { group, point } => {
                    self.storage.compare(&self.ctx, &mut self.groups, group, point, &mut self.storage_effects);
                    self.carry_storage_effects()?;
                }
                GroupEffect::ComparisonNote { to, note } => {
                    if let Some(link) = self.peers.link_to(to) {
                        self.peers.comparison_note(link, note);
                    }
                }
                GroupEffect::AskChange { change } => self.ask_changes(&[change]),
                GroupEffect::AskPlanner { origin, question } => self.ask_planner(origin, question),
                GroupEffect::Gone { to, note, leader } => self.tell_gone(to, note, leader),
                GroupEffect::Retired { group } => self.on_retired(group),
                GroupEffect::Committed { took } => self.storage.committed(took, self.ctx.now),
                routing => self.carry_routing_effect(routing),
            }
        }
        self.group_effects = effects;
        Ok(())
    }

    /// Carries effects among which there are none but about the way of commands.
    pub(super) fn carry_routing_effects(&mut self) {
        for effect in std::mem::take(&mut self.group_effects) {
            self.carry_routing_effect(effect);
        }
    }

    pub(super) fn carry_routing_effect(&mut self, effect: GroupEffect) {
        match effect {
            GroupEffect::Leader { note, is_elected } => {
                self.router.learn_leader(&mut self.ctx, note);
                if is_elected {
                    self.peers.announce(note);
                }
                if let Some(route) = self.router.of_group(note.group) {
                    self.router.want_drain(route);
                }
            }
            GroupEffect::NoLeader { group, term } => self.router.forget_leader(group, term),
            GroupEffect::Requeue { group, requests } => self.router.requeue(&self.ctx, group, requests),
            GroupEffect::Unblocked { group } => {
                if let Some(route) = self.router.of_group(group) {
                    self.router.want_drain(route);
                    self.clients.unblock_route(route);
                }
            }
            other => panic!("an effect that the way of commands has nothing to do with: {other:?}"),
        }
    }

    /// Carries what followed from what happened on the disk.
    pub(super) fn carry_storage_effects(&mut self) -> Result<(), Error> {
        if self.storage_effects.is_empty() {
            return Ok(());
        }
        let mut effects = std::mem::take(&mut self.storage_effects);
        for effect in effects.drain(..) {
            // What comes back late is for nobody.
            if effect.index().is_some_and(|group| !self.groups.is_running(group)) {
                continue;
            }
            match effect {
                StorageEffect::Persisted { group, seq } => self.groups.persisted(&mut self.ctx, group, seq),
                StorageEffect::LogRead { group, purpose, entries } => {
                    self.groups.log_read(&self.ctx, group, purpose, entries);
                }
                StorageEffect::LogReadFailed { group, purpose } => {
                    self.groups.log_read_failed(&self.ctx, group, purpose);
                }
                StorageEffect::FlushBegun { group } => self.groups.observe_digest(&self.ctx, group),
                StorageEffect::TidyRows { group } => self.groups.release_later(group),
                StorageEffect::TablesChanged { group, replica } => self.observe_tables(group, replica),
                StorageEffect::OfferSnapshot { group, meta } => self.groups.offer_snapshot(group, meta),
                StorageEffect::CompactRaft { group, index } => self.groups.compact(&self.ctx, group, index),
                StorageEffect::HoldApplying { group, is_held } => self.groups.hold_applying(group, is_held),
                StorageEffect::Digested { group, point, answer } => {
                    self.groups.digested(&mut self.ctx, &mut self.group_effects, group, point, answer);
                }
                StorageEffect::RowsRead { number, group, result } => self.rows_read(number, group, result),
                StorageEffect::AskChunk { link, request } => self.peers.chunk_request(link, request),
                StorageEffect::SendChunk { link, reply } => self.peers.chunk(link, reply),
                StorageEffect::Install { group, loaded, took } => self.install(group, *loaded, took)?,
                StorageEffect::StateLost { group } => self.groups.lose_state(&self.ctx, group),
                StorageEffect::Resident { group } => self.groups.observe_residency(&self.ctx, group),
                StorageEffect::Rejoin { replica } => self.rejoin(*replica)?,
                StorageEffect::Begun { replica } => self.begun(*replica)?,
                StorageEffect::Destroyed { group, replica } => self.on_destroyed(group, replica)?,
            }
        }
        self.storage_effects = effects;
        Ok(())
    }

    /// Rows were read from tables, or not. What becomes of a group whose tables are damaged is for storage to say.
    fn rows_read(&mut self, number: u64, group: types::GroupId, result: Result<ReadRows, lsm::Error>) {
        match result {
            Ok(rows) => self.groups.rows_read(&mut self.ctx, out!(self), number, &rows),
            Err(error) if error.is_damage() => {
                self.storage.tables_are_damaged(&mut self.ctx, group, &error);
                self.groups.rows_lost(&mut self.ctx, out!(self), number);
            }
            Err(error) => {
                tracing::warn!(%group, %error, "rows cannot be read");
                self.groups.rows_not_read(&mut self.ctx, out!(self), number);
            }
        }
    }

    /// Hands over which rows are to be read. Called before storage takes anything in, so that they are read as of the tables of now.
    pub(super) fn carry_row_reads(&mut self) {
        for read in self.groups.take_row_reads() {
            self.storage.read_rows(read);
        }
    }

    /// Takes a state into use that was received from another replica.
    pub(super) fn install(&mut self, group: usize, loaded: Loaded, took: Duration) -> Result<(), Error> {
        let Loaded { group: id, last_index, last_term, membership, map, bytes, keyspace } = loaded;
        let state = InstalledState { last_index, last_term, membership, keyspace };
        let is_restored = self.groups.install(&mut self.ctx, out!(self), group, state);
        if is_restored {
            tracing::info!(group = %id, last_index, bytes, elapsed = ?took, "a snapshot was installed");
            if id == MAP_GROUP {
                self.take_map_of_state(&map)?;
            }
        }
        let mut effects = Vec::new();
        self.storage.installed(&mut self.ctx, &self.groups, group, is_restored, &mut effects);
        for effect in effects {
            let StorageEffect::StateLost { group } = effect else { panic!("nothing else follows from that") };
            self.groups.lose_state(&self.ctx, group);
        }
        Ok(())
    }

    /// A replica that stayed away starts, on the snapshot of another one.
    pub(super) fn rejoin(&mut self, started: StartedReplica) -> Result<(), Error> {
        let id = started.group;
        let map = self.add_replica(started)?.map_err(|reason| Error::LostAlone { group: id, reason })?;
        tracing::info!(group = %id, "the replica is back, with the snapshot of another one");
        self.ctx.counters.snapshots_received += 1;
        if id == MAP_GROUP { self.take_map_of_state(&map) } else { Ok(()) }
    }

    /// A replica that never was here starts with nothing.
    pub(super) fn begun(&mut self, started: StartedReplica) -> Result<(), Error> {
        let id = started.group;
        self.add_replica(started)?.map(drop).map_err(|reason| Error::LostAlone { group: id, reason })
    }

    /// Adds a replica to the groups and the router. Returns the cluster map that its snapshot holds, or what Raft has
    /// against what was recovered.
    pub(crate) fn add_replica(&mut self, started: StartedReplica) -> Result<Result<Vec<u8>, String>, Error> {
        let StartedReplica { group: id, replica, recovered, membership, keyspace, map } = started;
        let seed = self.host.random_u64();
        let new = NewReplica { group: id, id: replica, recovered, membership, keyspace, seed };
        match self.groups.add(&self.ctx, new) {
            Ok(group) => {
                self.router.set_local(id, group);
                Ok(Ok(map))
            }
            Err(raft::StartError::Recovered(reason)) => {
                Ok(Err(format!("what its log holds contradicts itself: {reason}")))
            }
            Err(source) => Err(Error::Start { group: id, source }),
        }
    }
}
