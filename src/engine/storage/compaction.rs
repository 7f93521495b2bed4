//! Letting log go that a snapshot stands in for.
//!
//! As a rule a group's log is cut when a snapshot of it gets its name, so that a tail remains for followers that are a
//! little behind. While a replica receives a snapshot the log behind that one stays, or it would be offered the next
//! snapshot when it has this one, and so for ever if writing is quick and the state is large. The bound on that is the
//! length of the core's log: from [`LogLevel::TooLong`] on nobody is waited for.

use types::Index;

use super::log_length::LogLevel;
use super::{Storage, StorageEffect, StorageHost};
use crate::context::Context;
use crate::error::Error;
use crate::replicas::Replicas;

/// While the log is long and nothing is written, how many ticks pass between two looks at who keeps it so.
const LOOK_EVERY_TICKS: u32 = 40;

impl<H: StorageHost> Storage<H> {
    /// Cuts what can be cut.
    pub(super) fn tick_compaction(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        self.drop_unreadable(replicas, effects)?;
        self.cut_postponed(ctx, replicas, effects)?;
        self.end_rewrite(ctx)?;
        self.relieve_log(ctx, replicas, effects)
    }

    /// The snapshot of a group has its name: cuts the log behind which the state could start again, but for a tail.
    pub(super) fn cut_behind_snapshot(
        &mut self,
        ctx: &Context,
        replicas: &impl Replicas,
        group: usize,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let view = replicas.view(group);
        // What is still ahead of the state here is not offered by Raft: then the log stays as it is.
        let covered = self.records.covered(group).min(view.applied);
        let Some(index) = self.records.cut(group, covered, self.config.log_tail_bytes_max) else { return Ok(()) };
        let wanted = self.sending.oldest_wanted(view.id, ctx.now).unwrap_or(Index::MAX);
        if wanted < index {
            self.records.postpone_cut(group, index);
        }
        self.compact(replicas, group, index.min(wanted), effects)
    }

    /// Cuts logs that were kept for replicas that received a snapshot, once none does any more.
    fn cut_postponed(
        &mut self,
        ctx: &Context,
        replicas: &impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let mut due = Vec::new();
        for (group, index) in self.records.postponed_cuts() {
            let wanted = self.sending.oldest_wanted(self.records.get(group).group, ctx.now).unwrap_or(Index::MAX);
            due.push((group, index.min(wanted)));
        }
        for (group, index) in due {
            self.compact(replicas, group, index, effects)?;
        }
        Ok(())
    }

    /// While the log is too long: cuts it as far as snapshots allow, whatever slow followers may want, looks who must
    /// write a snapshot for the rest to go, and has written again what no snapshot can hold.
    fn relieve_log(
        &mut self,
        ctx: &Context,
        replicas: &impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let stats = self.log.stats();
        self.pressure.length.look(&stats);
        let mut level = self.pressure.length.level(&stats);
        if self.is_disk_full() && stats.segments_used > 1 {
            // What it takes to let its oldest segment go is done, so that this can be used again.
            level = level.max(LogLevel::Long);
        }
        let before = std::mem::replace(&mut self.pressure.level, level);
        if level == LogLevel::Fine {
            if before > LogLevel::Fine {
                self.pressure.pinning.clear();
                self.records.set_full(std::iter::empty());
            }
            return Ok(());
        }
        // Who pins the log is asked of all groups at once: not at each tick of a core on which nothing happens.
        self.pressure.ticks_since_look += 1;
        let stands_still = stats.blocks == self.pressure.blocks_at_look;
        if stands_still && before == level && self.pressure.ticks_since_look < LOOK_EVERY_TICKS {
            return Ok(());
        }
        self.pressure.blocks_at_look = stats.blocks;
        self.pressure.ticks_since_look = 0;
        let (mut pinning, mut full) = (Vec::new(), Vec::new());
        for (id, pinned) in self.log.pins() {
            let Some(group) = self.records.index_of(id) else { continue };
            let wanted = self.sending.oldest_wanted(id, ctx.now).filter(|_| level < LogLevel::TooLong);
            let view = replicas.view(group);
            if view.offered < pinned {
                pinning.push(group);
                full.push(group);
                if view.offered == view.applied {
                    // What it has applied is in a snapshot. The rest waits for a majority, maybe for long.
                    self.compact(replicas, group, view.offered, effects)?;
                    self.begin_rewrite(ctx, id, view.offered + 1);
                }
            } else if wanted.is_none_or(|wanted| wanted >= pinned) {
                self.compact(replicas, group, pinned, effects)?;
            }
        }
        if level < LogLevel::Full {
            full.clear();
        } else if before < LogLevel::Full {
            tracing::warn!(
                groups = full.len(),
                "the log is as long as it may be: writers to the groups that keep it wait"
            );
        }
        self.pressure.pinning = pinning;
        self.records.set_full(full.into_iter());
        Ok(())
    }

    /// Lets log go that cannot be read, where a snapshot stands in for it: whoever needs it is handed that.
    fn drop_unreadable(&mut self, replicas: &impl Replicas, effects: &mut Vec<StorageEffect>) -> Result<(), Error> {
        for (group, index) in self.log.reads.unreadable() {
            if replicas.view(group).offered >= index {
                self.log.reads.is_dropped(group);
                let id = self.records.get(group).group;
                tracing::warn!(group = %id, index, "log that cannot be read is let go: the snapshot holds it");
                self.compact(replicas, group, index, effects)?;
            }
        }
        Ok(())
    }

    /// Lets a group's log up to `index` go, which a snapshot that Raft offers covers.
    fn compact(
        &mut self,
        replicas: &impl Replicas,
        group: usize,
        index: Index,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let view = replicas.view(group);
        if index > view.durable && index > view.base {
            // The snapshot is another replica's, and holds entries that are on their way into the log here.
            self.records.postpone_cut(group, index);
            return Ok(());
        }
        self.records.was_cut(group, index);
        if index <= view.base {
            return Ok(());
        }
        self.log.compact(view.id, index)?;
        effects.push(StorageEffect::CompactRaft { group, index });
        Ok(())
    }
}
