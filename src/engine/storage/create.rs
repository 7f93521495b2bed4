//! Snapshots: when one is due, and writing it beside the turns.
//!
//! One is written at a time per core. Its keys are copied in the turns, a little in each; tasks write them. It counts
//! once the file has its name and its log entries are durable here, and only then may the log shrink.

use std::rc::Rc;
use std::time::Duration;

use host::{AlignedBuf, IoClass, TaskClass};
use types::Instant;

use super::snapshot::{self, FileHeader, FileId, Paths, Sealer};
use super::writing::{Done, Stage, Step, Writing};
use super::{SnapshotInfo, Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::error::Error;
use crate::limits::{
    SNAPSHOT_COPIES_BYTES_MAX, SNAPSHOT_PAYLOADS_MAX, SNAPSHOT_TURN_BYTES, SNAPSHOT_WRITE_BYTES_PER_SECOND_MAX,
};
use crate::observe::QueueLen;
use crate::replicas::Replicas;

/// How long to wait after a snapshot could not be written (a full disk, most likely).
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl<H: StorageHost> Storage<H> {
    /// Begins a snapshot if one is due.
    pub(super) fn begin_due_snapshot(
        &mut self,
        ctx: &Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) {
        if self.creation.writing.is_some() || ctx.now < self.creation.not_before || ctx.is_stopping {
            return;
        }
        if let Some(group) = self.due_group(replicas) {
            self.begin_snapshot(ctx, replicas, group, effects);
        }
    }

    /// The group of which a snapshot is due, by urgency.
    fn due_group(&self, replicas: &impl Replicas) -> Option<usize> {
        // It has none any more, as the one on disk is damaged.
        let mut damaged = self.records.damaged();
        let damaged = damaged.find(|group| self.can_snapshot(replicas, *group));
        // Its log cannot be read as far as its snapshot should reach.
        let unreadable = || {
            let mut unreadable = self.log.reads.unreadable().into_iter();
            unreadable.find_map(|(group, index)| {
                let is_due = index > self.records.snapshot_index(group) && replicas.view(group).applied >= index;
                (is_due && self.can_snapshot(replicas, group)).then_some(group)
            })
        };
        // It keeps the oldest segment of a log that is long.
        let pinning = || {
            let mut pinning = self.pressure.pinning().iter().copied();
            pinning.find(|group| self.can_snapshot(replicas, *group))
        };
        damaged.or_else(unreadable).or_else(pinning).or_else(|| self.longest_group(replicas))
    }

    /// The group with the longest log behind its snapshot, if that is longer than it should be: than its limit, and
    /// than the state itself, which would be written more often than the log otherwise.
    fn longest_group(&self, replicas: &impl Replicas) -> Option<usize> {
        let is_due = |group: &usize| {
            self.records.behind_snapshot(*group) > replicas.view(*group).state_bytes
                && self.can_snapshot(replicas, *group)
        };
        self.records.long().filter(is_due).max_by_key(|group| self.records.behind_snapshot(*group))
    }

    fn can_snapshot(&self, replicas: &impl Replicas, group: usize) -> bool {
        let view = replicas.view(group);
        view.applied > self.records.covered(group) && !self.receiving.is_receiving(view.id)
    }

    fn begin_snapshot(
        &mut self,
        ctx: &Context,
        replicas: &mut impl Replicas,
        group: usize,
        effects: &mut Vec<StorageEffect>,
    ) {
        let view = replicas.view(group);
        let (last_index, Some(last_term)) = (view.applied, view.applied_term) else { return };
        if !replicas.keyspace_mut(group).begin_walk() {
            return;
        }
        effects.push(StorageEffect::SnapshotBegun { group });
        let file_id = FileId { group: view.id, last_index };
        let of_state = replicas.snapshot_header(group);
        let map = self.cluster_map.as_ref().filter(|(id, _)| *id == view.id).map(|(_, map)| map.clone());
        let header = FileHeader {
            last_term,
            time_ms: of_state.time_ms,
            keys_count: of_state.keys_count,
            membership: of_state.membership.encode().to_vec(),
            map: map.unwrap_or_default(),
        };
        let paths = Paths::new(&self.config.data_dir, view.id);
        let number = self.creation.next_number;
        self.creation.next_number += 1;
        self.creation.writing = Some(Writing {
            number,
            group,
            paths: paths.clone(),
            file_id,
            last_term,
            membership: of_state.membership,
            stage: Stage::Begun,
            covers_bytes: self.records.applied_bytes(group),
            begun_at: ctx.now,
            bytes: 0,
        });
        let host = self.host.clone();
        self.creation_task(number, async move {
            host.create_dir_all(&paths.dir).await?;
            let file = snapshot::create(&host, &paths.new).await?;
            let (sealer, block) = Sealer::begin(file_id, &header);
            host.write(&file, 0, block, IoClass::Log).await?;
            Ok(Step::Begun { file, sealer })
        });
    }

    fn creation_task(&self, number: u64, task: impl Future<Output = std::io::Result<Step<H::File>>> + 'static) {
        let (done, host) = (Rc::clone(&self.creation.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let result = task.await;
            done.borrow_mut().push(Done { number, result });
            host.notify();
        });
    }

    /// Takes in what tasks have done for the snapshot that is being written.
    pub(super) fn poll_creation(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let all_done = self.creation.done.take();
        for Done { number, result } in all_done {
            // What was begun for a snapshot that was dropped since concerns nobody.
            if self.creation.writing.as_ref().is_none_or(|writing| writing.number != number) {
                continue;
            }
            match result {
                Ok(step) => self.creation_step(ctx, replicas, step, effects)?,
                Err(error) => self.creation_failed(ctx, replicas, &error),
            }
        }
        Ok(())
    }

    fn creation_step(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        step: Step<H::File>,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let Some(writing) = &mut self.creation.writing else { return Ok(()) };
        match (step, &mut writing.stage) {
            (Step::Begun { file, sealer }, Stage::Begun) => {
                writing.stage = Stage::Keys { file, sealer: Some(sealer), is_walked: false };
            }
            (Step::Written { sealer: back }, Stage::Keys { sealer, .. }) => *sealer = Some(back),
            (Step::Ended { bytes }, Stage::Ending) => {
                writing.bytes = bytes;
                writing.stage = Stage::Waiting;
            }
            (Step::Named, Stage::Naming) => return self.snapshot_named(ctx, replicas, effects),
            _ => panic!("a snapshot's task has done what was not asked of it"),
        }
        Ok(())
    }

    /// Goes on with the snapshot under way. Returns whether there is more to do at once.
    pub(super) fn copy_keys(&mut self, ctx: &mut Context, replicas: &mut impl Replicas) -> bool {
        let Some(mut writing) = self.creation.writing.take() else { return false };
        let (number, group) = (writing.number, writing.group);
        let mut is_busy = false;
        match &mut writing.stage {
            Stage::Begun | Stage::Ending | Stage::Naming => {}
            Stage::Keys { file, sealer, is_walked } => {
                let keyspace = replicas.keyspace_mut(group);
                let waiting = keyspace.walked().map_or(0, |former| former.closed_count());
                if !*is_walked && waiting < SNAPSHOT_PAYLOADS_MAX {
                    *is_walked = keyspace.go_on_walking(SNAPSHOT_TURN_BYTES);
                    is_busy = !*is_walked;
                }
                let former = keyspace.walked().expect("a walk lasts until its footer is written");
                if let Some(sealing) = sealer.take() {
                    if let Some(payload) = former.take_closed() {
                        self.write_keys(number, file.clone(), sealing, payload, writing.begun_at);
                    } else if *is_walked {
                        let keys_count = former.keys_count();
                        let file = file.clone();
                        replicas.end_walk(group);
                        writing.stage = Stage::Ending;
                        self.write_end_of(number, file, sealing, keys_count);
                    } else {
                        *sealer = Some(sealing);
                    }
                }
            }
            Stage::Waiting => {
                // A snapshot counts only if the log here would have brought this replica as far: else a start behind a
                // crash would find a state that the log, with what it has voted and acknowledged, does not reach.
                if replicas.view(group).durable >= writing.file_id.last_index {
                    writing.stage = Stage::Naming;
                    let (host, paths) = (self.host.clone(), writing.paths.clone());
                    self.creation_task(number, async move {
                        host.rename(&paths.new, &paths.snapshot).await?;
                        Ok(Step::Named)
                    });
                }
            }
            Stage::GivenUp => {
                let keyspace = replicas.keyspace_mut(group);
                if keyspace.go_on_walking(SNAPSHOT_TURN_BYTES) {
                    replicas.end_walk(group);
                    self.creation.permit.set(0);
                    return false;
                }
                is_busy = true;
            }
        }
        self.creation.permit.set(replicas.keyspace(group).walked_bytes());
        self.creation.writing = Some(writing);
        let _ = ctx;
        is_busy
    }

    fn write_keys(&self, number: u64, file: H::File, mut sealer: Sealer, payload: AlignedBuf, begun_at: Instant) {
        let host = self.host.clone();
        let mut permit = self.creation.budget.permit(Pool::Snapshots);
        permit.set(payload.len());
        self.creation_task(number, async move {
            let offset = sealer.offset();
            let block = sealer.seal_keys(payload);
            host.write(&file, offset, block, IoClass::Log).await?;
            drop(permit);
            // The disk is the log's in the first place.
            let due = Duration::from_micros(sealer.offset() * 1_000_000 / SNAPSHOT_WRITE_BYTES_PER_SECOND_MAX);
            if host.now() < begun_at + due {
                host.sleep_until(begun_at + due).await;
            }
            Ok(Step::Written { sealer })
        });
    }

    fn write_end_of(&self, number: u64, file: H::File, sealer: Sealer, keys_count: u64) {
        let host = self.host.clone();
        self.creation_task(number, async move {
            let offset = sealer.offset();
            let block = sealer.end(keys_count);
            let bytes = offset + block.len() as u64;
            host.write(&file, offset, block, IoClass::Log).await?;
            Ok(Step::Ended { bytes })
        });
    }

    /// The snapshot stands: the log before it may go.
    fn snapshot_named(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let Some(writing) = self.creation.writing.take() else { return Ok(()) };
        let (group, last_index) = (writing.group, writing.file_id.last_index);
        let elapsed = ctx.now.since(writing.begun_at);
        ctx.counters.snapshots_written += 1;
        ctx.counters.snapshot_bytes_written += writing.bytes;
        ctx.counters.snapshot_last_ms = elapsed.as_millis() as u64;
        tracing::debug!(group = %writing.file_id.group, last_index, bytes = writing.bytes, ?elapsed, "snapshot");
        self.creation.permit.set(0);
        self.records.covers(group, writing.covers_bytes);
        let info = SnapshotInfo::new(last_index, writing.last_term, writing.membership);
        self.records.set_snapshot(group, info, replicas.view(group).applied, effects);
        self.cut_behind_snapshot(ctx, replicas, group, effects)?;
        if !self.pressure.pinning().is_empty() {
            // Clients may wait for the log to get shorter: hundreds of small groups that keep it long do not wait for a tick each.
            self.begin_due_snapshot(ctx, replicas, effects);
        }
        Ok(())
    }

    /// Writing has failed: everything stays as it was, and another attempt is made later.
    fn creation_failed(&mut self, ctx: &mut Context, replicas: &mut impl Replicas, error: &std::io::Error) {
        let Some(writing) = &mut self.creation.writing else { return };
        let id = writing.file_id.group;
        tracing::warn!(group = %id, %error, "a snapshot could not be written; it is tried again");
        writing.stage = Stage::GivenUp;
        self.creation.not_before = ctx.now + RETRY_AFTER;
        ctx.counters.snapshots_write_failed += 1;
        let (host, path) = (self.host.clone(), writing.paths.new.clone());
        replicas.keyspace_mut(writing.group).give_up_walk();
        self.host.spawn(TaskClass::Background, async move {
            // It would only keep the disk full. The next attempt begins by removing it too.
            let _ = host.remove(&path).await;
        });
    }

    /// Whether copies for a snapshot pile up because the disk does not take them: then clients are not read.
    pub(crate) fn is_copying_behind(&self, replicas: &impl Replicas) -> bool {
        let writing = self.creation.writing.as_ref();
        writing.is_some_and(|one| replicas.keyspace(one.group).walked_bytes() > SNAPSHOT_COPIES_BYTES_MAX)
    }

    pub(super) fn queue_of_copies(&self, replicas: &impl Replicas, queue: &mut impl FnMut(QueueLen)) {
        let writing = self.creation.writing.as_ref();
        let len = writing.map_or(0, |one| replicas.keyspace(one.group).walked_bytes()) as u64;
        // What clients do until they are throttled, in one turn: much less than once more as much.
        let max = (2 * SNAPSHOT_COPIES_BYTES_MAX + SNAPSHOT_TURN_BYTES) as u64;
        queue(QueueLen { name: "copies of keys for a snapshot, bytes", len, max });
    }
}
