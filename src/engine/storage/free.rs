//! A full disk: what it is noticed by, and what is done so that it does not stay full.
//!
//! The log has found no room for a segment, or a flush, a merge or a snapshot none for its files: the reserve is given up
//! ([`super::disk_reserve`]), and the log makes no segments ahead of their use. What has changed is flushed, those groups first in which
//! commands have freed something, so that log can go; their tables are merged for whatever little that frees, in small windows, as the
//! room for them is small. Then the reserve is made again, and writes resume.

use std::time::Duration;

use lsm::merge::MergeSettings;

use super::disk_reserve::ReserveNews;
use super::{Storage, StorageHost};
use crate::context::Context;
use crate::replicas::Replicas;

/// How long between two flushes of groups in which commands go on to free something.
const FLUSH_PAUSE: Duration = Duration::from_secs(1);
/// A merge on a full disk writes so much of the reserve before it lets go what it has read.
const WINDOW_SHARE: u64 = 4;
/// And gives blob files up whose live values take this part of it at most.
const RELOCATE_SHARE: u64 = 2;
/// But no less than this, in bytes.
const WINDOW_BYTES_MIN: u64 = 4 << 20;
/// On a full disk, tables are merged if so many percent of their rows are gone.
const GARBAGE_PERCENT_MAX: u64 = 1;
/// And blob files written anew of which less than so many percent are live.
const BLOB_LIVE_PERCENT_MIN: u64 = 90;

impl<H: StorageHost> Storage<H> {
    /// Looks whether the disk is full, and takes in what has become of the reserve. Once per turn.
    pub(super) fn poll_room(&mut self, ctx: &mut Context) {
        match self.reserve.poll(ctx.now) {
            Some(ReserveNews::Removed) => {
                // What has failed for want of room has some now.
                self.flushing.not_before = ctx.now;
                self.merging.not_before = ctx.now;
            }
            Some(ReserveNews::Made) => {
                ctx.counters.disk_reserves_made += 1;
                self.freeing.groups.clear();
                self.log.hold_segments(false);
            }
            None => {}
        }
        if let Some(fault) = self.log.full_disk() {
            self.found_full(ctx, &fault);
        }
    }

    /// Something has failed: if that is for want of room, the reserve is given up.
    pub(super) fn note_fault(&mut self, ctx: &mut Context, error: &lsm::Error) {
        if let Some(fault) = error.disk_full() {
            self.found_full(ctx, &fault.to_string());
        }
    }

    fn found_full(&mut self, ctx: &mut Context, fault: &str) {
        if self.reserve.give_up(fault) {
            ctx.counters.disk_reserves_given_up += 1;
            self.log.hold_segments(true);
        }
    }

    /// Whether there is no room for writes.
    pub(super) fn is_disk_full(&self) -> bool {
        self.reserve.is_given_up() || !self.log.has_room()
    }

    /// Makes the reserve again, if there is room. What is under way comes first.
    pub(super) fn tick_room(&mut self, ctx: &Context) {
        if std::mem::take(&mut self.freeing.is_new) && std::mem::take(&mut self.freeing.may_hurry) {
            // What has failed may need less room by now.
            let soon = ctx.now + FLUSH_PAUSE;
            self.flushing.not_before = self.flushing.not_before.min(soon);
            self.merging.not_before = self.merging.not_before.min(soon);
        }
        let is_idle = self.flushing.running.is_none() && self.merging.running.is_none() && self.receiving.is_idle();
        self.reserve.tick(ctx.now, is_idle);
    }

    /// A replica that is to be flushed on a full disk, since commands have freed something in it or it keeps the oldest log: of those
    /// the one that takes the least room.
    pub(super) fn freed_group(&self, ctx: &Context, replicas: &impl Replicas) -> Option<usize> {
        if !self.is_disk_full() {
            return None;
        }
        let freed = self.freeing.groups.iter().filter(|_| ctx.now >= self.freeing.not_before);
        let groups = freed.chain(self.pressure.pinning()).copied().filter(|group| self.can_flush(replicas, *group));
        groups.min_by_key(|group| replicas.keyspace(*group).dirty_bytes())
    }

    /// A flush of a replica has begun: what it has freed is on its way to its tables.
    pub(super) fn flushes_freed(&mut self, ctx: &Context, group: usize) {
        if self.freeing.groups.remove(&group) {
            self.freeing.not_before = ctx.now + FLUSH_PAUSE;
        }
    }

    /// When tables are merged while the disk is full.
    pub(super) fn merges_on_full_disk(&self, usual: MergeSettings) -> MergeSettings {
        let window_bytes = (self.config.disk_reserve_bytes / WINDOW_SHARE).max(WINDOW_BYTES_MIN);
        MergeSettings {
            garbage_percent_max: GARBAGE_PERCENT_MAX,
            window_bytes: usual.window_bytes.min(window_bytes),
            blob_live_percent_min: BLOB_LIVE_PERCENT_MIN,
            relocate_bytes_max: (self.config.disk_reserve_bytes / RELOCATE_SHARE).max(WINDOW_BYTES_MIN),
            ..usual
        }
    }
}
