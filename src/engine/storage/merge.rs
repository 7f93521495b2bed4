//! Merges: tables of a group become fewer, and what nobody will read any more goes.
//!
//! One is under way at a time per core, in a task. It changes nothing until the manifest is told, so that a crash, a full disk or
//! damage in what it reads leaves everything as it was.

use std::ops::Bound;
use std::rc::Rc;
use std::time::Duration;

use host::TaskClass;
use lsm::manifest::EditKind;
use lsm::merge::{MergeTask, RowPolicy, execute, pick};
use types::GroupId;

use super::merging::{Done, Merge};
use super::pace::BackgroundPace;
use super::store::Ticket;
use super::{Storage, StorageHost};
use crate::context::Context;
use crate::limits::{MERGE_BYTES_PER_SECOND_MAX, SENT_RUNS_COUNT_MAX};

/// How long to wait after a merge has failed.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long between two looks for groups in which so many rows have expired by now that a merge is worth it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl<H: StorageHost> Storage<H> {
    /// Begins a merge if a group needs one, and goes on with the one under way.
    pub(super) fn tick_merge(&mut self, ctx: &mut Context) {
        self.end_merge_task(ctx);
        if self.merging.running.is_some() || ctx.now < self.merging.not_before || ctx.is_stopping {
            return;
        }
        let candidate = self.merging.candidates.pop_first().or_else(|| self.next_to_look_at(ctx));
        if let Some(group) = candidate {
            self.begin_merge(ctx, group);
        }
    }

    /// Groups in which nothing is flushed any more are looked at in turn: what they hold expires all the same.
    fn next_to_look_at(&mut self, ctx: &Context) -> Option<GroupId> {
        if ctx.now < self.merging.look_at {
            return None;
        }
        self.merging.look_at = ctx.now + LOOK_EVERY;
        self.merging.looked_at =
            self.store.next_group(self.merging.looked_at.map_or(Bound::Unbounded, Bound::Excluded));
        self.merging.looked_at
    }

    fn begin_merge(&mut self, ctx: &Context, id: GroupId) {
        let Some(state) = self.store.group(id) else { return };
        // Damaged tables are written anew from memory or replaced, and an edit under way may change them all.
        let is_damaged = self.records.index_of(id).is_some_and(|group| self.records.is_damaged_or_lost(group));
        if is_damaged || self.store.is_editing(id) {
            return;
        }
        // What is merged would have to be sent again. Who is sent it is looked at again when that has ended.
        let is_sent = self.sending.is_receiver_of(id, ctx.now);
        if is_sent && state.version.runs().len() < SENT_RUNS_COUNT_MAX {
            return;
        }
        let time_ms = state.seal.time_ms;
        let Some(task) = pick(&state.version, &self.config.store.merges, time_ms) else { return };
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
    fn end_merge_task(&mut self, ctx: &mut Context) {
        let Some(Done { number, result }) = self.merging.done.take() else { return };
        // One that was given up since concerns nobody.
        let Some(mut merge) = self.merging.running.take_if(|merge| merge.number == number) else { return };
        let merged = match result {
            Ok(merged) => merged,
            Err(error) => return self.merge_failed(ctx, merge.group, &error),
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
    pub(super) fn merge_committed(&mut self, ctx: &mut Context, result: Result<(), lsm::Error>) {
        let Some(merge) = self.merging.running.take() else { return };
        if let Err(error) = result {
            return self.merge_failed(ctx, merge.group, &error);
        }
        let (read, written) = merge.committing.map_or((0, 0), |merged| merged.rows);
        let elapsed = ctx.now.since(merge.begun_at);
        ctx.counters.merges += 1;
        tracing::debug!(group = %merge.group, rows_read = read, rows_written = written, ?elapsed, "merged");
        self.merging.look_at(merge.group);
    }

    fn merge_failed(&mut self, ctx: &mut Context, id: GroupId, error: &lsm::Error) {
        ctx.counters.merges_failed += 1;
        self.merging.not_before = ctx.now + RETRY_AFTER;
        if error.is_damage() {
            return self.tables_are_damaged(ctx, id, error);
        }
        tracing::warn!(group = %id, %error, "a merge has failed; it is tried again");
        self.merging.look_at(id);
    }
}

/// What becomes of rows: all types are single rows for now.
fn policy(task: &MergeTask, time_ms: u64) -> RowPolicy {
    RowPolicy { time_ms, is_oldest: task.is_oldest, is_single_row: |_| true }
}
