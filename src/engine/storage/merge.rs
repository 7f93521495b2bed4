//! Merges: tables of a group become fewer, and what nobody will read any more goes.
//!
//! One is under way at a time per core, in a task. It changes nothing until the manifest is told, so that a crash, a full disk or
//! damage in what it reads leaves everything as it was.

use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use host::TaskClass;
use lsm::manifest::EditKind;
use lsm::merge::{MergeSettings, MergeTask, RowPolicy, execute, pick};
use types::GroupId;

use super::merging::{Done, Merge};
use super::pace::BackgroundPace;
use super::slowing::share;
use super::store::Ticket;
use super::{Storage, StorageHost};
use crate::context::Context;
use crate::limits::{MERGE_BYTES_PER_SECOND_MAX, SENT_RUNS_COUNT_MAX};
use crate::replicas::Replicas;

/// How long to wait after a merge has failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// So many times as many runs of a level as else are merged into one in a group whose tables are written anew from memory.
const REWRITTEN_FAN_OUT_FACTOR: usize = 4;
/// Writers of a group are slowed down when it has so many times as many runs as make a level full, and wait nearly all the time at so
/// many times as many. A group that is merged in time has fewer.
const SLOW_LEVELS: usize = 5;
const STOP_LEVELS: usize = 10;
/// How long between two looks for groups in which so many rows have expired by now that a merge is worth it.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same while the disk is full: little is worth it then.
const LOOK_EVERY_ON_FULL_DISK: Duration = Duration::from_millis(100);

impl<H: StorageHost> Storage<H> {
    /// Begins a merge if a group needs one, and goes on with the one under way.
    pub(super) fn tick_merge(&mut self, ctx: &mut Context, replicas: &impl Replicas) {
        self.end_merge_task(ctx, replicas);
        if self.merging.running.is_some() || ctx.now < self.merging.not_before || ctx.is_stopping {
            return;
        }
        let candidate = self.merging.candidates.pop().or_else(|| self.next_to_look_at(ctx));
        if let Some(group) = candidate {
            self.begin_merge(ctx, replicas, group);
        }
    }

    /// Groups in which nothing is flushed any more are looked at in turn: what they hold expires all the same.
    fn next_to_look_at(&mut self, ctx: &Context) -> Option<GroupId> {
        if ctx.now < self.merging.look_at {
            return None;
        }
        self.merging.look_at = ctx.now + if self.is_disk_full() { LOOK_EVERY_ON_FULL_DISK } else { LOOK_EVERY };
        self.merging.looked_at =
            self.store.next_group(self.merging.looked_at.map_or(Bound::Unbounded, Bound::Excluded));
        self.merging.looked_at
    }

    fn begin_merge(&mut self, ctx: &Context, replicas: &impl Replicas, id: GroupId) {
        let Some(state) = self.store.group(id) else { return };
        // Damaged tables are written anew from memory or replaced, and an edit under way may change them all.
        let is_damaged = self.records.index_of(id).is_some_and(|group| self.records.is_damaged_or_lost(group));
        if is_damaged || self.store.is_editing(id) || self.destroying.has(id) {
            return;
        }
        // What is merged would have to be sent again. Who is sent it is looked at again when that has ended.
        let is_sent = self.sending.is_receiver_of(id, ctx.now);
        if is_sent && state.version.runs().len() < SENT_RUNS_COUNT_MAX {
            return;
        }
        let time_ms = state.seal.time_ms;
        let settings = self.merge_settings(replicas, id);
        let Some(task) = pick(&state.version, &settings, time_ms) else { return };
        let version = Rc::clone(&state.version);
        let number = self.merging.next_number;
        self.merging.next_number += 1;
        self.merging.running = Some(Merge { number, group: id, committing: None, begun_at: ctx.now });
        let (reader, output) = (Rc::clone(self.store.reader()), Rc::clone(self.store.output()));
        let (done, host) = (Rc::clone(&self.merging.done), self.host.clone());
        let pace = BackgroundPace::new(self.host.clone(), MERGE_BYTES_PER_SECOND_MAX);
        self.host.spawn(TaskClass::Background, async move {
            let result = execute(&reader, &output, &version, &task, policy(&task, time_ms), &pace).await;
            *done.borrow_mut() = Some(Done { number, result });
            host.notify();
        });
    }

    /// A merge's task has ended: tells the manifest.
    fn end_merge_task(&mut self, ctx: &mut Context, replicas: &impl Replicas) {
        let Some(Done { number, result }) = self.merging.done.take() else { return };
        // One that was given up since concerns nobody.
        let Some(mut merge) = self.merging.running.take_if(|merge| merge.number == number) else { return };
        let merged = match result {
            Ok(merged) => merged,
            Err(error) => return self.merge_failed(ctx, replicas, merge.group, &error),
        };
        let Some(state) = self.store.group(merge.group) else { return };
        ctx.counters.merge_bytes_written += merged.bytes();
        let kinds = vec![EditKind::Merge { change: merged.change.clone() }];
        let (id, replica) = (merge.group, state.replica);
        merge.committing = Some(merged);
        self.merging.running = Some(merge);
        self.store.commit(Ticket::Merge, id, replica, kinds);
    }

    /// The manifest was told, or could not be.
    pub(super) fn merge_committed(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        result: Result<(), lsm::Error>,
    ) {
        let Some(merge) = self.merging.running.take() else { return };
        if let Err(error) = result {
            return self.merge_failed(ctx, replicas, merge.group, &error);
        }
        let (read, written) = merge.committing.map_or((0, 0), |merged| merged.rows);
        let elapsed = ctx.now.since(merge.begun_at);
        ctx.counters.merges += 1;
        tracing::debug!(group = %merge.group, rows_read = read, rows_written = written, ?elapsed, "merged");
        self.tables_changed(replicas, merge.group);
    }

    /// A group consists of other tables than before: it may need a merge, and if there are many its writers wait for it.
    pub(super) fn tables_changed(&mut self, replicas: &impl Replicas, id: GroupId) {
        let runs_count = self.store.group(id).map_or(0, |state| state.version.runs().len());
        self.merging.candidates.insert(id, runs_count);
        if let Some(group) = self.records.index_of(id) {
            let fan_out = self.merge_settings(replicas, id).fan_out;
            let share = share(runs_count as u64, (SLOW_LEVELS * fan_out) as u64, (STOP_LEVELS * fan_out) as u64);
            self.slowing.set(group, share);
        }
    }

    fn merge_settings(&self, replicas: &impl Replicas, id: GroupId) -> MergeSettings {
        let settings = self.config.store.merges;
        if self.is_disk_full() {
            return self.merges_on_full_disk(settings);
        }
        let is_rewritten = self.records.index_of(id).is_some_and(|group| self.is_rewritten(replicas, group));
        if !is_rewritten {
            return settings;
        }
        // Only small tables are merged of a group that is written anew from memory, before there are very many.
        MergeSettings { fan_out: REWRITTEN_FAN_OUT_FACTOR * settings.fan_out, oldest_ratio: 0, ..settings }
    }

    fn merge_failed(&mut self, ctx: &mut Context, replicas: &impl Replicas, id: GroupId, error: &lsm::Error) {
        ctx.counters.merges_failed += 1;
        self.merging.not_before = ctx.now + RETRY_AFTER;
        self.note_fault(ctx, error);
        if error.is_damage() {
            return self.tables_are_damaged(ctx, id, error);
        }
        tracing::warn!(group = %id, %error, "a merge has failed; it is tried again");
        self.tables_changed(replicas, id);
    }
}

/// What becomes of rows: all types are single rows for now.
fn policy(task: &MergeTask, time_ms: u64) -> RowPolicy {
    RowPolicy { time_ms, is_oldest: task.is_oldest, is_single_row: |_| true }
}
