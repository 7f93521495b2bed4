//! Flushes: when one is due, and writing it beside the turns.
//!
//! A flush writes what has changed of a group's rows since the last one into tables. One is under way at a time per core. At an
//! entry's boundary (a) the state is sealed: from then on its rows are copied before they change, and a little more of them in each turn.
//! Tasks write the copies to tables, which (b) are synced, and their names. Once (c) the log *here* is durable as far, (d) the
//! manifest is told, durably; then (e) the rows count as clean, and (f) the log before the seal may go. (g) What no group consists of
//! any more is deleted.
//!
//! What a start finds behind a crash: before (d) the old tables and the log behind the old seal, and files that nothing names, which
//! it deletes; from (d) on the new tables, and a log that may still begin before their seal.

use std::rc::Rc;
use std::time::Duration;

use host::{IoClass, TaskClass};
use lsm::Records;
use lsm::manifest::{EditKind, Seal};
use lsm::version::{Change, NewRun};
use lsm::write::{RunWriter, WrittenRun};

use super::flushing::{Done, Flush, FlushKind, Stage, Step, Writer};
use super::pace::BackgroundPace;
use super::sealed::Sealed;
use super::store::Ticket;
use super::{SnapshotInfo, Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::error::Error;
use crate::limits::{FLUSH_BYTES_PER_SECOND_MAX, FLUSH_COPIES_BYTES_MAX, FLUSH_PAYLOADS_MAX, FLUSH_TURN_BYTES};
use crate::observe::QueueLen;
use crate::replicas::Replicas;

/// How long to wait after a flush has failed (on a full disk, most likely).
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl<H: StorageHost> Storage<H> {
    /// Begins a flush if one is due.
    pub(super) fn begin_due_flush(
        &mut self,
        ctx: &Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) {
        if self.flushing.running.is_some() || ctx.now < self.flushing.not_before || ctx.is_stopping {
            return;
        }
        let due = self.freed_group(ctx, replicas).or_else(|| self.due_group(replicas));
        if let Some(group) = due.or_else(|| if ctx.wants_flush { self.dirtiest_group(replicas) } else { None }) {
            let _ = self.begin_flush(ctx, replicas, group, effects);
        }
    }

    /// The group with the most dirty rows: memory is short of what tables hold, too.
    fn dirtiest_group(&self, replicas: &impl Replicas) -> Option<usize> {
        let dirty = self.records.indexes().filter(|group| self.can_flush(replicas, *group));
        let dirtiest = dirty.max_by_key(|group| replicas.keyspace(*group).dirty_bytes())?;
        (replicas.keyspace(dirtiest).dirty_bytes() > 0).then_some(dirtiest)
    }

    /// The group that is to be flushed, by urgency.
    fn due_group(&self, replicas: &impl Replicas) -> Option<usize> {
        // Its tables are damaged, and no use to anybody.
        let mut damaged = self.records.damaged();
        let damaged = damaged.find(|group| self.can_flush(replicas, *group));
        // Its log cannot be read as far as its tables should reach.
        let unreadable = || {
            let mut unreadable = self.log.reads.unreadable().into_iter();
            unreadable.find_map(|(group, index)| {
                let is_due = index > self.records.snapshot_index(group) && replicas.view(group).applied >= index;
                (is_due && self.can_flush(replicas, group)).then_some(group)
            })
        };
        // It keeps the oldest segment of a log that is long.
        let pinning = || {
            let mut pinning = self.pressure.pinning().iter().copied();
            pinning.find(|group| self.can_flush(replicas, *group))
        };
        // Another replica has lost its state, and can use no older one.
        let wanted = || {
            let mut wanted = self.flushing.wanted.iter();
            wanted
                .find(|(group, index)| replicas.view(**group).applied >= **index && self.can_flush(replicas, **group))
        };
        let wanted = || wanted().map(|(group, _)| *group);
        let for_log = damaged.or_else(unreadable).or_else(pinning);
        for_log.or_else(wanted).or_else(|| self.longest_group(replicas))
    }

    /// The group with the longest log behind its tables, if that is longer than it should be.
    fn longest_group(&self, replicas: &impl Replicas) -> Option<usize> {
        let long = self.records.long().filter(|group| self.can_flush(replicas, *group));
        long.max_by_key(|group| self.records.behind_snapshot(*group))
    }

    pub(super) fn can_flush(&self, replicas: &impl Replicas, group: usize) -> bool {
        let view = replicas.view(group);
        let is_busy = view.is_within_entry || self.receiving.is_receiving(view.id);
        view.applied > self.records.covered(group) && !is_busy && self.has_state(group)
    }

    /// Whether a group has a state to be flushed. What becomes of one whose tables were just found damaged is not decided before the next
    /// tick.
    fn has_state(&self, group: usize) -> bool {
        !self.newly_damaged.contains(&group) && !self.records.is_lost(group) && self.records.is_here(group)
    }

    /// Begins to flush a group, of which there is no flush under way on the core. Returns the number of the flush, if it could begin now.
    pub(super) fn begin_flush(
        &mut self,
        ctx: &Context,
        replicas: &mut impl Replicas,
        group: usize,
        effects: &mut Vec<StorageEffect>,
    ) -> Option<u64> {
        let view = replicas.view(group);
        let term = view.applied_term.filter(|_| self.has_state(group))?;
        let clears_count = replicas.keyspace(group).clears_count();
        let kind = self.flush_kind(ctx, replicas, group);
        let keyspace = replicas.keyspace_mut(group);
        if kind == FlushKind::Everything && self.records.begin_to_write_anew(group) {
            keyspace.write_anew();
            effects.push(StorageEffect::TidyRows { group });
        }
        if !keyspace.begin_flush() {
            return None;
        }
        self.flushing.wanted.remove(&group);
        self.flushes_freed(ctx, group);
        effects.push(StorageEffect::FlushBegun { group });
        let of_state = replicas.sealed_state(group);
        let map = self.cluster_map.as_ref().filter(|(id, _)| *id == view.id).map(|(_, map)| map.clone());
        let sealed = Sealed { membership: of_state.membership, map: map.unwrap_or_default() };
        let generation = self.store.group(view.id).map_or(0, |state| state.seal.generation);
        let seal = Seal {
            index: view.applied,
            term,
            time_ms: of_state.time_ms,
            generation: generation + u64::from(kind == FlushKind::NewGeneration),
            id_counter: 0,
            membership: sealed.encode(),
        };
        let number = self.flushing.next_number;
        self.flushing.next_number += 1;
        let pace = BackgroundPace::new(self.host.clone(), FLUSH_BYTES_PER_SECOND_MAX);
        let mut writer = RunWriter::new(Rc::clone(self.store.output()), pace, IoClass::Flush, None);
        writer.expect(replicas.keyspace(group).dirty_bytes() as u64);
        self.flushing.running = Some(Flush {
            number,
            group,
            id: view.id,
            replica: view.replica,
            seal,
            membership: sealed.membership,
            kind,
            stage: Stage::Rows { writer: Some(Box::new(writer)), is_copied: false },
            clears_count,
            covers_bytes: self.records.applied_bytes(group),
            begun_at: ctx.now,
        });
        Some(number)
    }

    /// What the tables of a group are to hold behind its next flush.
    fn flush_kind(&self, ctx: &Context, replicas: &impl Replicas, group: usize) -> FlushKind {
        let id = replicas.view(group).id;
        let is_cleared = self.records.clears_flushed(group) != replicas.keyspace(group).clears_count();
        if is_cleared {
            FlushKind::NewGeneration
        } else if self.records.is_damaged(group) || self.is_being_rewritten(replicas, group) {
            FlushKind::Everything
        } else if ctx.wants_flush || self.is_disk_full() || self.sending.is_receiver_of(id, ctx.now) {
            // Memory is short of what may go from it, or the disk of room, or all of it would have to be sent again.
            FlushKind::Changes
        } else if self.is_overgrown(replicas, group) {
            FlushKind::Everything
        } else {
            FlushKind::Changes
        }
    }

    /// Whether all rows of a group have been made dirty, or are on the way to be, to be written anew: that many dirty rows may be what
    /// memory is short of.
    fn is_being_rewritten(&self, replicas: &impl Replicas, group: usize) -> bool {
        self.records.is_written_anew(group) && replicas.keyspace(group).is_resident()
    }

    /// Whether the tables of a group that is rewritten from memory take more than twice the room that its rows do.
    fn is_overgrown(&self, replicas: &impl Replicas, group: usize) -> bool {
        let id = replicas.view(group).id;
        let files_bytes = self.store.group(id).map_or(0, |state| state.version.file_bytes());
        let rows_bytes = replicas.keyspace(group).used_bytes() as u64;
        files_bytes > rows_bytes.saturating_mul(2) && self.is_rewritten(replicas, group)
    }

    /// Whether a group's tables are written anew from memory now and then, instead of being merged: nothing is read for that, and
    /// what has changed would have to be written anyway. Memory must hold all of its rows, and they must be written before what the
    /// others write meanwhile makes the log too long.
    pub(super) fn is_rewritten(&self, replicas: &impl Replicas, group: usize) -> bool {
        let keyspace = replicas.keyspace(group);
        keyspace.is_resident() && keyspace.used_bytes() as u64 <= self.config.log_bytes_max / 2
    }

    fn flush_task(&self, number: u64, task: impl Future<Output = Result<Step<H>, lsm::Error>> + 'static) {
        let (done, host) = (Rc::clone(&self.flushing.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let result = task.await;
            done.borrow_mut().push(Done { number, result });
            host.notify();
        });
    }

    /// Takes in what tasks have done for the flush under way.
    pub(super) fn poll_flush(&mut self, ctx: &mut Context, replicas: &mut impl Replicas) {
        let all_done = self.flushing.done.take();
        for Done { number, result } in all_done {
            // What was begun for a flush that was given up since concerns nobody.
            let Some(flush) = self.flushing.running.as_mut().filter(|flush| flush.number == number) else { continue };
            match (result, &mut flush.stage) {
                (Ok(Step::Written { writer: back }), Stage::Rows { writer, .. }) => *writer = Some(back),
                (Ok(Step::Ended { written }), Stage::Ending) => flush.stage = Stage::Waiting { written },
                (Err(error), _) => self.flush_failed(ctx, replicas, &error),
                (Ok(_), _) => panic!("a flush's task has done what was not asked of it"),
            }
        }
    }

    /// Goes on with the flush under way. Returns whether there is more to do at once.
    pub(super) fn go_on_flushing(&mut self, replicas: &mut impl Replicas) -> bool {
        let Some(mut flush) = self.flushing.running.take() else { return false };
        let (number, group) = (flush.number, flush.group);
        if replicas.keyspace(group).clears_count() != flush.clears_count && !flush.is_committing() {
            // Nothing of what was sealed is there any more; the next flush says so.
            tracing::debug!(group = %flush.id, "all rows were removed: the flush is given up");
            self.flushing.permit.set(0);
            return false;
        }
        let mut is_busy = false;
        match &mut flush.stage {
            Stage::Rows { writer, is_copied } => {
                let keyspace = replicas.keyspace_mut(group);
                let waiting = keyspace.flushed().map_or(0, |former| former.closed_count());
                if !*is_copied && waiting < FLUSH_PAYLOADS_MAX {
                    *is_copied = keyspace.go_on_flushing(FLUSH_TURN_BYTES);
                    is_busy = !*is_copied;
                }
                let former = keyspace.flushed().expect("a flush lasts until it is ended");
                if let Some(free) = writer.take() {
                    if let Some(payload) = former.take_closed() {
                        self.write_rows(number, free, payload);
                    } else if *is_copied {
                        flush.stage = Stage::Ending;
                        self.end_run(number, free);
                    } else {
                        *writer = Some(free);
                    }
                }
            }
            Stage::Waiting { .. } => {
                // Tables count only if the log here would have brought this replica as far: else a start behind a crash would
                // find a state that the log, with what it has voted and acknowledged, does not reach.
                let is_durable = replicas.view(group).durable >= flush.seal.index;
                if is_durable && !self.store.is_editing(flush.id) {
                    flush = self.commit_flush(flush);
                }
            }
            Stage::Ending | Stage::Committing { .. } => {}
        }
        self.flushing.permit.set(replicas.keyspace(group).copied_bytes());
        self.flushing.running = Some(flush);
        is_busy
    }

    fn write_rows(&self, number: u64, mut writer: Writer<H>, payload: Vec<u8>) {
        let mut permit = self.flushing.budget.permit(Pool::Snapshots);
        permit.set(payload.len());
        self.flush_task(number, async move {
            for row in Records::new(&payload) {
                writer.push(row).await?;
            }
            drop(permit);
            Ok(Step::Written { writer })
        });
    }

    fn end_run(&self, number: u64, writer: Writer<H>) {
        let output = Rc::clone(self.store.output());
        self.flush_task(number, async move {
            let (written, file) = writer.finish().await?;
            if let Some(file) = file {
                file.finish().await?;
            }
            if !written.named().is_empty() {
                output.sync_names().await?;
            }
            Ok(Step::Ended { written })
        });
    }

    /// Tells the manifest.
    fn commit_flush(&mut self, flush: Flush<H>) -> Flush<H> {
        let Stage::Waiting { written } = flush.stage else { panic!("only what is written is told to the manifest") };
        let version = self.store.version(flush.id);
        if flush.kind != FlushKind::Changes {
            self.merging.give_up(flush.id);
        }
        let seal = flush.seal.clone();
        let mut kinds = Vec::new();
        let removed = match flush.kind {
            FlushKind::Changes => Vec::new(),
            FlushKind::NewGeneration => {
                kinds.push(EditKind::NewGeneration { seal: seal.clone() });
                Vec::new()
            }
            FlushKind::Everything => version.tables().map(|table| table.info.id).collect(),
        };
        let mut change = Change { removed, added: Vec::new(), blobs: written.blobs.clone() };
        if !written.tables.is_empty() {
            let tables = written.tables.clone();
            change.added.push(NewRun { age: version.next_age(), level: 0, tables });
        }
        kinds.push(EditKind::Flush { seal, change });
        self.store.commit(Ticket::Flush, flush.id, flush.replica, kinds);
        Flush { stage: Stage::Committing { written }, ..flush }
    }

    /// The manifest was told, or could not be.
    pub(super) fn flush_committed(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        result: Result<(), lsm::Error>,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        if let Err(error) = result {
            self.flush_failed(ctx, replicas, &error);
            return Ok(());
        }
        let Some(flush) = self.flushing.running.take() else { return Ok(()) };
        self.flushing.permit.set(0);
        if !self.records.is_here(flush.group) {
            // The replica is being destroyed.
            return Ok(());
        }
        self.flush_to_digest(&flush);
        let Stage::Committing { written } = flush.stage else { panic!("the manifest was told of a flush") };
        let group = flush.group;
        let bytes = bytes_of(&written);
        if replicas.keyspace(group).clears_count() == flush.clears_count {
            replicas.end_flush(group);
        }
        let elapsed = ctx.now.since(flush.begun_at);
        ctx.counters.flushes += 1;
        self.freeing.flushed();
        ctx.counters.flush_bytes_written += bytes;
        ctx.counters.flush_last_ms = elapsed.as_millis() as u64;
        tracing::debug!(group = %flush.id, index = flush.seal.index, bytes, ?elapsed, "flushed");
        self.records.covers(group, flush.covers_bytes);
        self.records.set_clears_flushed(group, flush.clears_count);
        let info = SnapshotInfo::new(flush.seal.index, flush.seal.term, flush.membership);
        self.records.set_snapshot(group, info, replicas.view(group).applied, effects);
        self.tables_changed(replicas, flush.id);
        self.cut_behind_snapshot(ctx, replicas, group, effects)?;
        self.seal_next(ctx, replicas, effects);
        if !self.pressure.pinning().is_empty() {
            // Clients may wait for the log to get shorter: hundreds of small groups that keep it long do not wait for a tick each.
            self.begin_due_flush(ctx, replicas, effects);
        }
        Ok(())
    }

    /// A flush has failed: everything stays as it was, and another attempt is made later. Its files are named by nobody any more.
    fn flush_failed(&mut self, ctx: &mut Context, replicas: &mut impl Replicas, error: &lsm::Error) {
        let Some(flush) = self.flushing.running.take() else { return };
        tracing::warn!(group = %flush.id, %error, "a flush has failed; it is tried again");
        self.flushing.not_before = ctx.now + RETRY_AFTER;
        self.flushing.permit.set(0);
        ctx.counters.flushes_failed += 1;
        self.note_fault(ctx, error);
        if self.is_disk_full() && self.records.is_here(flush.group) {
            self.freeing.groups.insert(flush.group);
        }
        if replicas.keyspace(flush.group).clears_count() == flush.clears_count {
            replicas.keyspace_mut(flush.group).give_up_flush();
        }
    }

    /// Whether rows are being flushed.
    pub(crate) fn is_flushing(&self) -> bool {
        self.flushing.group().is_some()
    }

    /// Whether copies for a flush pile up because the disk does not take them: then clients are not read.
    pub(crate) fn is_copying_behind(&self, replicas: &impl Replicas) -> bool {
        let group = self.flushing.group();
        group.is_some_and(|group| replicas.keyspace(group).copied_bytes() > FLUSH_COPIES_BYTES_MAX)
    }

    pub(super) fn queue_of_copies(&self, replicas: &impl Replicas, queue: &mut impl FnMut(QueueLen)) {
        let len = self.flushing.group().map_or(0, |group| replicas.keyspace(group).copied_bytes()) as u64;
        // What clients do until they are throttled, in one turn: much less than once more as much.
        let max = (2 * FLUSH_COPIES_BYTES_MAX + FLUSH_TURN_BYTES) as u64;
        queue(QueueLen { name: "copies of rows for a flush, bytes", len, max });
    }
}

impl<H: StorageHost> Flush<H> {
    fn is_committing(&self) -> bool {
        matches!(self.stage, Stage::Committing { .. })
    }
}

/// Bytes of the files of a run.
pub(super) fn bytes_of(written: &WrittenRun) -> u64 {
    let tables: u64 = written.tables.iter().map(|table| table.info.len).sum();
    tables + written.blobs.iter().map(|blob| blob.info.len).sum::<u64>()
}
