//! A replica begins here: in the place of one that cannot go on, or where none of its group was before, or is any more.
//!
//! What the log holds of a replica may be damaged, and with it what the replica has voted and acknowledged. It must not take part any
//! more, under its id: it could take back a promise. So it is given up for good, and another one, with an id that was never used,
//! begins here with nothing, as one that joins its group.
//!
//! The manifest names the successor before the log does. So if the log is damaged once more, and its records of the successor are among
//! what is lost, the next start still knows that there was one.

use std::time::Duration;

use lsm::manifest::{EditKind, Seal};
use types::{GroupId, ReplicaId};

use super::recovery::{self, Found};
use super::sealed::Sealed;
use super::store::Ticket;
use super::{Storage, StorageEffect, StorageHost};
use crate::context::Context;
use crate::error::Error;

/// How long to wait after the manifest could not be told.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl<H: StorageHost> Storage<H> {
    /// A replica of this core cannot go on.
    pub(super) fn give_up(&mut self, group: GroupId, replica: ReplicaId) {
        let of_manifest = self.store.group(group).map_or(ReplicaId(0), |state| state.replica);
        self.succeeding.lose(group, replica.max(of_manifest));
    }

    /// The replicas here that cannot go on and have no successor.
    pub(crate) fn lost(&self) -> impl Iterator<Item = (GroupId, ReplicaId)> + '_ {
        self.succeeding.lost().iter().copied()
    }

    /// Each group with the greatest id of a replica of it that was here and will not go on: one that is wanted here must have a greater one.
    pub(crate) fn spent(&self) -> impl Iterator<Item = (GroupId, ReplicaId)> + '_ {
        self.succeeding.spent()
    }

    /// The replicas here that do not run, or not yet: those that cannot go on, and those that wait for a state.
    pub(crate) fn away(&self) -> impl Iterator<Item = (GroupId, ReplicaId)> + '_ {
        let waiting = self.rebuilding.iter().filter(|one| one.log.is_some());
        self.lost().chain(waiting.map(|one| (one.group, one.replica)))
    }

    /// How many replicas of this core take no part for now, or never will.
    pub(crate) fn away_count(&self) -> usize {
        self.away().count()
    }

    /// A replica of a group is wanted here: it begins, unless another one is here that goes on or may. Answered by a
    /// [`StorageEffect::Begun`].
    pub(crate) fn begin_successor(&mut self, ctx: &Context, group: GroupId, replica: ReplicaId) {
        let is_beginning = self.succeeding.beginning.iter().any(|(begun, _)| *begun == group);
        if !self.may_begin(group, replica) || is_beginning || ctx.now < self.succeeding.not_before {
            return;
        }
        self.succeeding.beginning.push((group, replica));
        let spec = self.config.map.group(group).expect("replicas here are of the map");
        let first = Sealed { membership: recovery::initial_membership(spec), map: Vec::new() };
        let seal = Seal { membership: first.encode(), ..Seal::default() };
        let mut kinds = Vec::new();
        if self.store.group(group).is_some_and(|state| state.replica == replica) {
            kinds.push(EditKind::Drop);
        }
        kinds.push(EditKind::Group { seal, installed: 0 });
        self.store.commit(Ticket::Begin, group, replica, kinds);
    }

    fn may_begin(&self, group: GroupId, replica: ReplicaId) -> bool {
        let is_here = self.records.index_of(group).is_some()
            || self.rebuilding.iter().any(|one| one.group == group)
            || self.destroying.has(group);
        match self.spent().find(|(spent, _)| *spent == group) {
            _ if is_here => false,
            Some((_, spent)) => spent < replica,
            // Nothing was ever here; but those that the cluster began with begin when it does.
            None => replica >= self.config.map.next_replica,
        }
    }

    /// The manifest names a successor, or could not.
    ///
    /// # Errors
    /// The log's.
    pub(super) fn begin_committed(
        &mut self,
        ctx: &mut Context,
        group: GroupId,
        replica: ReplicaId,
        result: Result<(), lsm::Error>,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        self.succeeding.beginning.retain(|(begun, _)| *begun != group);
        if let Err(error) = result {
            tracing::warn!(%group, %replica, %error, "a new replica of the group cannot begin here; it is tried again");
            self.succeeding.not_before = ctx.now + RETRY_AFTER;
            return Ok(());
        }
        let begun = self.log.wal_mut().begin(group, replica);
        begun.map_err(|source| Error::Wal { place: self.config.place, source })?;
        self.succeeding.begun(group);
        self.rebuilding.retain(|one| one.group != group);
        ctx.counters.replicas_begun += 1;
        tracing::info!(%group, %replica, "a new replica of the group begins here");
        let config = self.config.clone();
        let spec = config.map.group(group).expect("replicas here are of the map");
        let started = self.start(spec, replica, Found { log: None, state: None });
        let started = started.map_err(|lost| Error::LostAlone { group, reason: lost.reason })?;
        effects.push(StorageEffect::Begun { replica: Box::new(started) });
        Ok(())
    }
}
