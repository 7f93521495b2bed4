//! Sending snapshots to replicas that have been away for too long: the side that has one.
//!
//! A snapshot is the version as of the last flush, as one stream of bytes. The other side asks for chunk after chunk, one at a time per
//! link, at a pace that it sets. A version that is being sent keeps its files when newer ones take their place; and the log behind it
//! stays until the other side has had the time to load it, and then for as long as it reads on in it.
//!
//! Nobody reads all of a snapshot before it is sent; the other side checks it whole, and asks for the same one again only if it was of
//! no use. Then it is read from beginning to end here, and if it is damaged all rows are written anew.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use host::{ALIGNMENT, IoClass, TaskClass};
use lsm::read::verify;
use lsm::snapshot::OutgoingSnapshot;
use lsm::version::Version;
use types::{CoreAddr, GroupId, Index};
use wire::{Chunk, ChunkReply, ChunkRequest};

use super::pace::BackgroundPace;
use super::sending::{Checked, ChunkRead, OpenSnapshot, SnapshotId};
use super::{Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::limits::RECHECK_BYTES_PER_SECOND_MAX;
use crate::origin::LinkId;
use crate::replicas::Replicas;

/// A snapshot that nobody has asked for in this time is given up.
const CLOSE_AFTER: Duration = Duration::from_secs(30);
/// For so long after a chunk was asked for the log behind its snapshot is kept: the other side asks again sooner, or has
/// given up.
const WANTED_FOR: Duration = Duration::from_secs(15);
/// How fast the other side is taken to load a snapshot that it has received, in bytes per second, before it can go on with
/// the log. Most are several times faster.
const LOAD_BYTES_PER_SECOND_MIN: u64 = 16 << 20;

impl<H: StorageHost> Storage<H> {
    /// Another core wants a chunk of a snapshot.
    pub(crate) fn on_chunk_request(
        &mut self,
        ctx: &mut Context,
        link: LinkId,
        request: ChunkRequest,
        effects: &mut Vec<StorageEffect>,
    ) {
        let ChunkRequest { group, offset, .. } = request;
        if self.sending.reading.contains(&link) {
            // Whoever asks does so again if there is no answer.
            return;
        }
        let newest = self.records.index_of(group).map_or(0, |idx| self.records.covered(idx));
        if request.last_index > newest
            && let Some(idx) = self.records.index_of(group)
        {
            // Who has lost its state can use none that is as old as ours.
            self.flushing.wanted.insert(idx, request.last_index);
        }
        let last_index = if request.last_index == 0 { newest } else { request.last_index };
        let wanted = SnapshotId { group, last_index };
        let is_sound = last_index > 0 && offset.is_multiple_of(ALIGNMENT as u64);
        if !is_sound || self.sending.find(wanted).is_none() && !self.open_snapshot(ctx, wanted) {
            let reply = ChunkReply { group, last_index: newest, chunk: None };
            effects.push(StorageEffect::SendChunk { link, reply });
            return;
        }
        self.sending.receives(link, wanted, ctx.now + WANTED_FOR);
        let open = self.sending.find(wanted).expect("it was just opened if it was not");
        open.used_at = ctx.now;
        let is_asked_again = offset == 0 && std::mem::take(&mut open.was_sent);
        let (snapshot, version) = (Rc::clone(&open.snapshot), Rc::clone(&open.version));
        if is_asked_again {
            self.check_sent(wanted, version);
        }
        self.read_chunk(link, wanted, offset, snapshot);
    }

    /// Opens the newest snapshot of a group, if that is the one that is wanted.
    fn open_snapshot(&mut self, ctx: &Context, wanted: SnapshotId) -> bool {
        let is_damaged =
            self.records.index_of(wanted.group).is_none_or(|group| self.records.is_damaged_or_lost(group));
        let state = self.store.group(wanted.group).filter(|state| state.seal.index == wanted.last_index);
        let Some(state) = state.filter(|_| !is_damaged) else { return false };
        let version = Rc::clone(&state.version);
        let snapshot = match OutgoingSnapshot::new(wanted.group, &state.seal, Rc::clone(&version)) {
            Ok(snapshot) => Rc::new(snapshot),
            Err(error) => {
                tracing::error!(group = %wanted.group, %error, "a snapshot cannot be sent");
                return false;
            }
        };
        let open = OpenSnapshot { id: wanted, snapshot, version, used_at: ctx.now, was_sent: false };
        self.sending.keep_open(open, self.config.limits.snapshot_sends_count_max);
        true
    }

    /// Raft reads log back for a follower that lives there.
    pub(super) fn follower_reads(&mut self, ctx: &Context, group: GroupId, place: CoreAddr, first: Index) {
        if self.sending.receivers.is_empty() {
            return;
        }
        if let Some(link) = self.links.up_to(place) {
            self.sending.follower_reads(group, link, first, ctx.now + WANTED_FOR);
        }
    }

    fn read_chunk(&mut self, link: LinkId, wanted: SnapshotId, offset: u64, snapshot: Rc<OutgoingSnapshot>) {
        self.sending.reading.push(link);
        let chunk_bytes_max = self.config.limits.chunk_bytes_max;
        let mut permit = self.sending.budget.permit(Pool::Snapshots);
        permit.set(chunk_bytes_max);
        let (done, host, files) =
            (Rc::clone(&self.sending.done), self.host.clone(), Rc::clone(self.store.reader().files()));
        self.host.spawn(TaskClass::Background, async move {
            let result = snapshot.read(&files, offset, chunk_bytes_max, IoClass::Flush).await;
            done.borrow_mut().push(ChunkRead { link, wanted, offset, result, permit });
            host.notify();
        });
    }

    /// Reads a snapshot from beginning to end that was of no use to somebody, or was lost there.
    fn check_sent(&mut self, id: SnapshotId, version: Rc<Version>) {
        self.sending.checking.push(id.group);
        let (checked, host, reader) =
            (Rc::clone(&self.sending.checked), self.host.clone(), Rc::clone(self.store.reader()));
        let pace = BackgroundPace::new(self.host.clone(), RECHECK_BYTES_PER_SECOND_MAX);
        self.host.spawn(TaskClass::Background, async move {
            let result = verify(&reader, &version, IoClass::Scrub, &pace).await;
            checked.borrow_mut().push(Checked { id, result: result.map(drop) });
            host.notify();
        });
    }

    /// Sends the chunks that were read.
    pub(super) fn poll_sending(&mut self, ctx: &mut Context, effects: &mut Vec<StorageEffect>) {
        for ChunkRead { link, wanted, offset, result, permit } in self.sending.done.take() {
            let group = wanted.group;
            self.sending.reading.retain(|reading| *reading != link);
            let bytes = match result {
                Ok(bytes) => Bytes::from_owner(bytes),
                Err(error) => {
                    tracing::warn!(%group, %error, "a snapshot cannot be read to be sent");
                    let reply = ChunkReply { group, last_index: 0, chunk: None };
                    effects.push(StorageEffect::SendChunk { link, reply });
                    self.distrust(ctx, wanted, &error);
                    continue;
                }
            };
            // It may have been distrusted, or had to make room, while this chunk of it was read.
            let Some(open) = self.sending.find(wanted) else { continue };
            let total_bytes = open.snapshot.total_bytes();
            ctx.counters.snapshot_bytes_sent += bytes.len() as u64;
            let is_last = offset + bytes.len() as u64 == total_bytes;
            open.was_sent |= is_last;
            if is_last {
                ctx.counters.snapshots_sent += 1;
                // The last that is heard of the other side before it has loaded all of it.
                let loads_for = Duration::from_secs(total_bytes / LOAD_BYTES_PER_SECOND_MIN);
                self.sending.receives(link, wanted, ctx.now + WANTED_FOR + loads_for);
            }
            let chunk = (!bytes.is_empty()).then_some(Chunk { offset, total_bytes, bytes });
            let reply = ChunkReply { group, last_index: wanted.last_index, chunk };
            effects.push(StorageEffect::SendChunk { link, reply });
            drop(permit);
        }
        for Checked { id, result } in self.sending.checked.take() {
            let at = self.sending.checking.iter().position(|group| *group == id.group);
            self.sending.checking.swap_remove(at.expect("what was checked was begun"));
            if let Err(error) = result {
                self.distrust(ctx, id, &error);
            }
        }
    }

    /// If a snapshot is damaged, it is sent no more, and another one is due in its place.
    fn distrust(&mut self, ctx: &mut Context, id: SnapshotId, error: &lsm::Error) {
        if !error.is_damage() {
            return;
        }
        self.sending.open.retain(|open| open.id != id);
        self.sending.receivers.retain(|one| (one.group, one.last_index) != (id.group, id.last_index));
        // Newer versions may consist of the same tables.
        self.tables_are_damaged(ctx, id.group, error);
    }

    /// Gives snapshots up that nobody wants any more, and forgets who received them.
    pub(super) fn tick_sending(&mut self, ctx: &Context, replicas: &impl Replicas) {
        let now = ctx.now;
        self.sending.open.retain(|open| now.since(open.used_at) < CLOSE_AFTER);
        let gone = self.sending.receivers.extract_if(.., |one| now >= one.until).map(|one| one.group);
        for group in gone.collect::<Vec<_>>() {
            // Its tables have been left alone meanwhile.
            self.tables_changed(replicas, group);
        }
    }

    /// Slows writers down while a replica without which too few would be left catches up here and the log that is kept for it gets long:
    /// else it would be let go in the end, and the replica would have to begin again, for as long as writers are fast.
    pub(super) fn slow_for_receivers(&mut self, ctx: &Context) {
        let is_needed =
            self.sending.receivers.iter().any(|one| ctx.now < one.until && self.is_needed(ctx, one.group));
        let share = if is_needed { self.pressure.length.share_for_receivers(&self.log.stats()) } else { 0 };
        self.slowing.set_all(share);
    }

    /// Whether a group has no replica to lose beside those that receive a snapshot.
    fn is_needed(&self, ctx: &Context, group: GroupId) -> bool {
        let Some(spec) = self.config.map.group(group) else { return false };
        let receiving = self.sending.receivers.iter().filter(|one| one.group == group && ctx.now < one.until).count();
        let voters_count = spec.replicas.len();
        voters_count.saturating_sub(receiving) <= voters_count / 2 + 1
    }
}
