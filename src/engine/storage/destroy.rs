//! A replica is destroyed: the log says so for ever, then the manifest forgets it, and its files are deleted.
//!
//! The log comes first. A crash before that is durable leaves a replica that is whole; one behind it leaves none, and the next start drops
//! what the manifest still names. Neither it nor one with a smaller id ever begins here again, so no vote and no acknowledgement
//! is forgotten. Before the log is told, whatever was begun for the replica has ended: what comes back late is for nobody.

use std::time::Duration;

use lsm::manifest::EditKind;
use types::{GroupId, ReplicaId};

use super::destroying::{Destroying, Stage};
use super::receiving::Stage as TransferStage;
use super::store::Ticket;
use super::{Storage, StorageEffect, StorageHost};
use crate::context::Context;
use crate::error::Error;
use crate::replicas::Replicas;

/// How long to wait after the manifest could not be told.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl<H: StorageHost> Storage<H> {
    /// Destroys a replica of this core that belongs to its group no more. It takes part in nothing: it has retired, or cannot go on. What
    /// is under way for it ends. Told by a [`StorageEffect::Destroyed`] once that is certain.
    pub(crate) fn destroy(&mut self, replicas: &mut impl Replicas, group: GroupId, replica: ReplicaId) {
        let is_beginning = self.succeeding.beginning.iter().any(|(begun, _)| *begun == group);
        if is_beginning || self.destroying.has(group) {
            return;
        }
        tracing::info!(%group, %replica, "the replica here is no member of its group any more: it is destroyed");
        if let Some(idx) = self.records.index_of(group) {
            self.end_of_replica(replicas, idx);
        }
        self.receiving.waiting.retain(|(other, ..)| *other != group);
        let is_committing = |stage: &TransferStage<H>| matches!(stage, TransferStage::Committing { .. });
        self.receiving.active.retain(|transfer| transfer.group != group || is_committing(&transfer.stage));
        self.sending.forget(group);
        self.comparing.undigested.retain(|one| one.point.group != group);
        self.merging.candidates.remove(group);
        self.merging.give_up(group);
        self.warming.remove(group);
        self.rebuilding.retain(|one| one.group != group);
        self.destroying.list.push(Destroying { group, replica, stage: Stage::Ending });
    }

    /// What belongs to the replica of this index ends.
    fn end_of_replica(&mut self, replicas: &mut impl Replicas, idx: usize) {
        if self.flushing.group() == Some(idx) && self.flushing.give_up() {
            replicas.keyspace_mut(idx).give_up_flush();
        }
        self.flushing.wanted.remove(&idx);
        self.freeing.groups.remove(&idx);
        self.slowing.set(idx, 0);
        self.newly_damaged.retain(|damaged| *damaged != idx);
        self.pressure.pinning.retain(|pinning| *pinning != idx);
        self.comparing.unsealed.retain(|one| one.group != idx);
        self.warming.resident.retain(|resident| *resident != idx);
        self.log.reads.forget(idx);
        self.records.is_gone(idx);
    }

    /// Whether something that was begun for a replica has not ended.
    fn is_busy_with(&self, group: GroupId) -> bool {
        let of_index = self.records.last_index_of(group).is_some_and(|idx| {
            self.flushing.group() == Some(idx) || self.log.is_pending(idx) || self.log.reads.is_reading(idx)
        });
        let of_merge = self.merging.running.as_ref().is_some_and(|merge| merge.group == group);
        let of_tasks = self.sending.is_checking(group) || self.comparing.digesting == Some(group);
        of_index
            || of_merge
            || of_tasks
            || self.rewriting.is_reading
            || self.store.is_editing(group)
            || self.receiving.is_receiving(group)
    }

    /// Goes on with those that are being destroyed. Once per turn.
    ///
    /// # Errors
    /// The log's.
    pub(super) fn poll_destroying(
        &mut self,
        ctx: &mut Context,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        for at in 0..self.destroying.list.len() {
            let Destroying { group, replica, stage } = self.destroying.list[at];
            let next = match stage {
                Stage::Ending if self.is_busy_with(group) => Stage::Ending,
                Stage::Ending => Stage::Logged { seq: self.log.destroy(group, replica)? },
                Stage::Logged { seq } if self.log.is_durable(seq) => {
                    self.succeeding.destroyed(group, replica);
                    ctx.counters.replicas_destroyed += 1;
                    effects.push(StorageEffect::Destroyed { group, replica });
                    Stage::Logless
                }
                Stage::Logless if ctx.now >= self.destroying.not_before => self.drop_state(group, replica),
                stage => stage,
            };
            self.destroying.list[at].stage = next;
        }
        self.destroying.list.retain(|one| one.stage != Stage::Dropping || self.store.is_editing(one.group));
        Ok(())
    }

    /// Has the manifest forget a replica that is destroyed.
    fn drop_state(&mut self, group: GroupId, replica: ReplicaId) -> Stage {
        let known = self.store.group(group).map(|state| state.replica).filter(|known| *known <= replica);
        let Some(known) = known else { return Stage::Dropping };
        // What another replica has left is dropped by whatever else is told.
        let kinds = if known == replica { vec![EditKind::Drop] } else { Vec::new() };
        self.store.commit(Ticket::Destroy, group, replica, kinds);
        Stage::Dropping
    }

    /// The manifest has forgotten a replica, or could not be told.
    pub(super) fn drop_committed(&mut self, ctx: &mut Context, group: GroupId, result: Result<(), lsm::Error>) {
        let Err(error) = result else { return };
        tracing::warn!(%group, %error, "the tables of a replica that is destroyed stay; they are dropped later");
        self.note_fault(ctx, &error);
        self.destroying.not_before = ctx.now + RETRY_AFTER;
        let one = self.destroying.list.iter_mut().find(|one| one.group == group);
        one.expect("the manifest was told of it").stage = Stage::Logless;
    }
}
