//! Warming: the rows of a group come back into memory behind a start.
//!
//! A start reads no table: each group begins with no row in memory, serves at once, and reads what commands need as it does of any row
//! that is not in memory. Meanwhile a task reads the group's version from the first row to the last, and each turn takes in a few of the
//! rows it has read. One group of a core is warmed at a time; of a few that wait, the one of which most was needed meanwhile. When a
//! version has come to its end and nothing has left memory since, all keys of the group are in memory, and nothing needs to be looked
//! for on the disk any more. What must hold for that claim stands in `lsm`'s `rows/warming.rs`; what this page adds is that the version is
//! taken in the same turn in which the keyspace begins to be warmed, and that whatever replaces a keyspace ends its warming here, too.
//!
//! It ends early where memory has no more room for rows: then what was needed is there, and a part of the rest. Tables that turn out to be
//! damaged are met as they are wherever they are read. It changes nothing on the disk, so that a crash leaves nothing behind.

use std::rc::Rc;
use std::time::Duration;

use data::Keyspace;
use host::{IoClass, TaskClass};
use lsm::Warmed;
use lsm::read::{Reader, Scan, ScanSettings};
use lsm::version::Version;
use lsm::write::Pace;
use types::GroupId;

use super::pace::BackgroundPace;
use super::warming::{Chunk, Feed, Running};
use super::{Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::limits::WARM_BYTES_PER_SECOND_MAX;
use crate::load_error::LoadError;
use crate::observe::Field;
use crate::replicas::Replicas;

/// How long to wait after tables could not be read.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// How long the task waits for turns to take in what it has read before it looks again.
const LOOK_EVERY: Duration = Duration::from_micros(200);
/// Groups of which the one is chosen that is warmed next.
const CHOICES_COUNT: usize = 32;

impl<H: StorageHost> Storage<H> {
    /// Begins to warm a group, if one waits.
    fn begin_to_warm(&mut self, ctx: &mut Context, replicas: &mut impl Replicas) {
        if self.warming.waiting.is_empty() || ctx.now < self.warming.not_before || ctx.is_stopping {
            return;
        }
        if self.room_for_rows() == 0 {
            ctx.counters.warmings_cut_short += self.warming.waiting.len() as u64;
            return self.warming.waiting.clear();
        }
        let Some(id) = self.next_to_warm(replicas) else { return };
        let Some(group) = self.records.index_of(id).filter(|group| !self.records.is_damaged_or_lost(*group)) else {
            return;
        };
        let keyspace = replicas.keyspace_mut(group);
        if keyspace.is_resident() {
            return;
        }
        let version = self.store.version(id);
        keyspace.begin_warming();
        let time_ms = self.store.group(id).map_or(0, |state| state.seal.time_ms);
        let total_bytes = bytes_of(&version);
        let feed = Rc::new(Feed::default());
        let rows_count = 0;
        let running = Running { group, id, feed: Rc::clone(&feed), total_bytes, rows_count, begun_at: ctx.now };
        self.warming.running = Some(running);
        let (host, reader) = (self.host.clone(), Rc::clone(self.store.reader()));
        let pace = BackgroundPace::new(self.host.clone(), WARM_BYTES_PER_SECOND_MAX);
        self.host.spawn(TaskClass::Background, async move {
            let counted = Counted { pace: &pace, feed: &feed };
            let result = read_rows(&host, &reader, version, time_ms, &feed, &counted).await;
            *feed.result.borrow_mut() = Some(result);
            host.notify();
        });
    }

    /// Takes out the group that is warmed next: of those that wait longest, the one with most rows in memory, which commands have
    /// needed.
    fn next_to_warm(&mut self, replicas: &impl Replicas) -> Option<GroupId> {
        let rows_count =
            |id: &GroupId| self.records.index_of(*id).map_or(0, |group| replicas.keyspace(group).rows_count());
        let choices = self.warming.waiting.iter().take(CHOICES_COUNT).enumerate();
        // Of several with as many, the first.
        let (at, _) = choices.rev().max_by_key(|(_, id)| rows_count(id))?;
        self.warming.waiting.remove(at)
    }

    /// Takes in some of the rows that were read. Once per turn, behind what clients and peers wait for. Returns whether there is more to do
    /// at once.
    pub(super) fn go_on_warming(&mut self, ctx: &mut Context, replicas: &mut impl Replicas) -> bool {
        let Some(mut running) = self.warming.running.take() else {
            self.begin_to_warm(ctx, replicas);
            return false;
        };
        let chunk = running.feed.chunks.borrow_mut().pop_front();
        let Some(chunk) = chunk else {
            let result = running.feed.result.borrow_mut().take();
            match result {
                None => self.warming.running = Some(running),
                Some(result) => self.end_warming(ctx, replicas, &running, result),
            }
            return false;
        };
        let is_over = !take_in(ctx, replicas.keyspace_mut(running.group), &chunk, &mut running.rows_count);
        replicas.settle(running.group);
        if is_over {
            ctx.counters.warmings_overtaken += 1;
            tracing::debug!(group = %running.id, "rows have left memory, or all were removed or replaced: not all come back");
        } else if self.room_for_rows() == 0 {
            replicas.keyspace_mut(running.group).give_up_warming();
            ctx.counters.warmings_cut_short += 1;
            tracing::info!(group = %running.id, rows = running.rows_count, "memory has no room for more rows: the others stay on the disk");
        } else {
            self.warming.running = Some(running);
        }
        self.count_chunks();
        self.warming.running.as_ref().is_some_and(|running| !running.feed.chunks.borrow().is_empty())
    }

    fn count_chunks(&mut self) {
        let bytes = self.warming.running.as_ref().map_or(0, |running| running.feed.bytes());
        self.warming.permit.set(bytes);
    }

    /// The task has ended, and all that it has read is taken in.
    fn end_warming(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        running: &Running,
        result: Result<(), LoadError>,
    ) {
        self.warming.permit.set(0);
        let keyspace = replicas.keyspace_mut(running.group);
        let Err(error) = result else {
            if keyspace.end_warming() {
                let elapsed = ctx.now.since(running.begun_at);
                tracing::debug!(group = %running.id, rows = running.rows_count, ?elapsed, "all rows are in memory");
                ctx.counters.groups_warmed += 1;
                self.warming.resident.push(running.group);
            } else {
                ctx.counters.warmings_overtaken += 1;
            }
            return;
        };
        keyspace.give_up_warming();
        self.warming.not_before = ctx.now + RETRY_AFTER;
        if error.is_damage() {
            return self.tables_are_damaged(ctx, running.id, &error);
        }
        tracing::warn!(group = %running.id, %error, "rows cannot be read to be kept in memory; it is tried again");
        self.warming.push(running.id);
    }

    /// Tells of groups that have become resident.
    pub(super) fn poll_warming(&mut self, effects: &mut Vec<StorageEffect>) {
        self.count_chunks();
        effects.extend(self.warming.resident.drain(..).map(|group| StorageEffect::Resident { group }));
    }

    /// Bytes that rows may take up in memory beside those that are there.
    pub(super) fn room_for_rows(&self) -> usize {
        let of_rows = self.config.limits.rows_bytes_max.saturating_sub(self.budget.used_by(Pool::Keys));
        of_rows.min(self.budget.room_for_rows())
    }

    /// The figures of warming for INFO.
    pub(super) fn report_warming(&self, tell: &mut impl FnMut(Field)) {
        let running = self.warming.running.as_ref();
        let groups = self.warming.waiting.len() + running.iter().len();
        let left = |running: &Running| running.total_bytes.saturating_sub(running.feed.read_bytes.get());
        let waiting = self.warming.waiting.iter().map(|id| bytes_of(&self.store.version(*id)));
        let bytes = waiting.chain(running.map(left)).sum();
        tell(Field::sum(
            "groups_to_warm",
            "Groups whose rows are coming back into memory behind a start, or are to.",
            groups as u64,
        ));
        tell(Field::sum("bytes_to_warm", "Bytes of tables that are to be read for that.", bytes));
    }
}

/// Bytes of the tables and blob files of a version.
fn bytes_of(version: &Version) -> u64 {
    version.table_bytes() + version.blobs().map(|live| live.bytes).sum::<u64>()
}

/// Takes in the rows of a chunk. `false` if none are taken in any more.
fn take_in(ctx: &mut Context, keyspace: &mut Keyspace, chunk: &Chunk, rows_count: &mut u64) -> bool {
    for (slot, key, content) in chunk.rows() {
        match keyspace.warm(slot, key, &content) {
            Warmed::Added => {
                ctx.counters.rows_warmed += 1;
                *rows_count += 1;
            }
            Warmed::Known => ctx.counters.rows_warmed_known += 1,
            Warmed::Over => return false,
        }
    }
    true
}

/// Works at the pace of another, and counts what it has worked on.
struct Counted<'a, P> {
    pace: &'a P,
    feed: &'a Feed,
}

impl<P: Pace> Pace for Counted<'_, P> {
    async fn pause(&self, bytes: usize) {
        self.feed.read_bytes.set(self.feed.read_bytes.get() + bytes as u64);
        self.pace.pause(bytes).await;
    }
}

/// Reads a version from the first row to the last, no faster than turns take in what it reads.
async fn read_rows<H: StorageHost>(
    host: &H,
    reader: &Reader<H>,
    version: Rc<Version>,
    time_ms: u64,
    feed: &Feed,
    pace: &impl Pace,
) -> Result<(), LoadError> {
    // All types are single rows for now.
    let settings = ScanSettings { class: IoClass::BottomMerge, time_ms, is_single_row: |_| true };
    let mut scan = Scan::new(reader, version, settings);
    let mut chunk = Chunk::default();
    while let Some(row) = scan.next(pace).await? {
        chunk.push(&row)?;
        if chunk.is_full() {
            hand_over(host, feed, &mut chunk).await;
        }
        if feed.is_given_up.get() {
            return Ok(());
        }
    }
    if !chunk.is_empty() {
        hand_over(host, feed, &mut chunk).await;
    }
    Ok(())
}

async fn hand_over<H: StorageHost>(host: &H, feed: &Feed, chunk: &mut Chunk) {
    while !feed.has_room() && !feed.is_given_up.get() {
        host.sleep_until(host.now() + LOOK_EVERY).await;
    }
    feed.chunks.borrow_mut().push_back(std::mem::take(chunk));
    host.notify();
}
