//! What others see of the groups: INFO, the simulator's checkers, and storage.

use data::Keyspace;
use resp::{ArgRange, Args, CommandId};
use types::{Index, Instant, Slot};
use wire::{Batch, Entry, EntryKind};

use crate::context::Context;
use crate::groups::replica::{Life, Replica};
use crate::groups::{ENTRY_OVERHEAD_BYTES, Groups};
use crate::observe::{CoreReport, Event, Field, QueueLen, ReplicaReport, fullest};
use crate::replicas::{ReplicaView, Replicas, SealedState};

impl Groups {
    /// Adds what is known here to a report. `snapshot_index` tells the last entry of a group's snapshot.
    pub(crate) fn report(&self, now: Instant, report: &mut CoreReport, snapshot_index: impl Fn(usize) -> Index) {
        let there = || self.list.iter().enumerate().filter(|(_, replica)| replica.life != Life::Gone);
        report.groups_count = there().count();
        let on_disk = self.list.iter().filter(|replica| !replica.keyspace.is_resident()).count();
        report.fields.push(Field::sum(
            "groups_with_rows_on_disk_only",
            "Groups of which not all rows are in memory.",
            on_disk as u64,
        ));
        report.fields.push(Field::sum(
            "replicas_differing",
            "Replicas of groups that are led here which hold other rows than most, and are not rebuilt yet.",
            self.comparing.differing_count() as u64,
        ));
        report.groups_quarantined_count += self.divergent.len();
        report.comparisons.extend(self.comparing.results().cloned());
        for (group, replica) in there() {
            let raft = &replica.raft;
            report.commit_index_sum += raft.commit_index();
            report.raft.merge(raft.counters());
            if raft.is_leader() {
                report.groups_led_count += 1;
                report.keys_count += replica.keyspace.keys_count();
                report.groups_inexact_count += usize::from(!replica.keyspace.is_resident());
                let expiring_count = replica.keyspace.expiring_count();
                report.expiring_count += expiring_count;
                let ttl_ms_sum = replica.ttl_ms.saturating_mul(expiring_count as u64);
                report.ttl_ms_sum = report.ttl_ms_sum.saturating_add(ttl_ms_sum);
            }
            report.replicas.push(ReplicaReport {
                group: replica.id,
                role: raft.role(),
                term: raft.term(),
                commit: raft.commit_index(),
                applied: raft.applied_index(),
                last: raft.last_index(),
                durable: raft.durable_index(),
                keys_count: replica.keyspace.keys_count(),
                backlog_bytes: replica.backlog_bytes(),
                snapshot: snapshot_index(group),
                stalls: replica.stalls.report(now),
                members: raft.is_leader().then(|| Box::new(raft.membership().clone())),
            });
        }
    }

    /// Bytes of commands and reads that wait in all groups, added up anew.
    pub(crate) fn requests_held_bytes(&self) -> usize {
        let of = |replica: &Replica| {
            let of_batches = replica.batches.held_bytes() + replica.proposed.held_bytes();
            let waiting = of_batches + replica.failed.held_bytes() + replica.applying.waiters_bytes();
            waiting + replica.reads.held_bytes() + replica.leaving.held_bytes() + replica.forwarded.held_bytes()
        };
        self.list.iter().map(of).sum()
    }

    /// Bytes of entries that are kept for followers or not committed, of all groups.
    pub(crate) fn entries_held_bytes(&self) -> usize {
        self.list.iter().map(|replica| replica.raft.cache_bytes() + replica.raft.uncommitted_bytes()).sum()
    }

    /// How full the queues of the groups are, the fullest of each kind, for an observer.
    pub(crate) fn queues(&self, ctx: &Context, queue: &mut impl FnMut(QueueLen)) {
        let limits = &ctx.config.limits;
        let entry_max = ctx.config.batch_bytes_max + limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES;
        // A group that is full takes no more; one command, or what forwarded it, may have made it so.
        let waiting_max = limits.batches_bytes_max + limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES;
        let held_max = limits.forwarded_bytes_max + limits.commands.command_bytes_max + ENTRY_OVERHEAD_BYTES;
        let uncommitted_max = ctx.config.uncommitted_bytes_max.max(entry_max) + ENTRY_OVERHEAD_BYTES;
        let mut one = |name, len: usize, max: usize| queue(QueueLen { name, len: len as u64, max: max as u64 });
        let [waiting, batch, held, uncommitted] = fullest(self.list.iter(), |replica| {
            let (batch, held) = (replica.batches.oldest_bytes(), replica.forwarded.bytes());
            [replica.waiting_bytes(), batch, held, replica.raft.uncommitted_bytes()]
        });
        one("commands that wait in a group, bytes", waiting, waiting_max);
        one("commands of a batch, bytes", batch, entry_max);
        one("commands of other cores held by a group, bytes", held, held_max);
        one("what a group has not committed, bytes", uncommitted, uncommitted_max);
    }

    pub(super) fn observe(&self, ctx: &Context, group: usize, observation: Event<'_>) {
        if let Some(observer) = &ctx.observer {
            let replica = &self.list[group];
            observer.observe(ctx.addr(), replica.id, replica.raft.id(), observation);
        }
    }

    /// Tells the observer, if there is one, the digest of a group's state, which takes a walk over all keys.
    pub(crate) fn observe_digest(&self, ctx: &Context, group: usize) {
        // What is not in memory has no part in it.
        if ctx.observer.is_some() && self.list[group].keyspace.is_resident() {
            let replica = &self.list[group];
            let applied = replica.raft.applied_index();
            self.observe(ctx, group, Event::Digest { applied, digest: replica.digest() });
        }
    }

    /// All rows of a group are in memory again: tells the observer what they are, unless an entry is applied in part.
    pub(crate) fn observe_residency(&self, ctx: &Context, group: usize) {
        if !self.list[group].applying.is_within_entry() {
            self.observe_digest(ctx, group);
        }
    }

    pub(super) fn observe_digest_if_wanted(&self, ctx: &Context, group: usize) {
        let Some(observer) = &ctx.observer else { return };
        let replica = &self.list[group];
        if !replica.applying.is_within_entry()
            && observer.wants_digest(ctx.addr(), replica.id, replica.raft.applied_index())
        {
            self.observe_digest(ctx, group);
        }
    }

    /// Alters a row that an entry has just written, if an observer wants that.
    pub(super) fn alter_row_if_wanted(&mut self, ctx: &Context, group: usize, entry: &Entry) {
        let Some(observer) = &ctx.observer else { return };
        let replica = &mut self.list[group];
        if entry.kind != EntryKind::Batch || !observer.alters_row(ctx.addr(), replica.id, entry.index) {
            return;
        }
        let Ok(batch) = Batch::access(&entry.payload) else { return };
        let Some((slot, key)) = batch.first_arguments().find(|(_, key)| !key.is_empty()) else { return };
        let line = [key, b"!"].concat();
        let range = |start: usize, end: usize| ArgRange { start: start as u32, end: end as u32 };
        let ranges = [range(0, 0), range(0, key.len()), range(key.len(), line.len())];
        replica.keyspace.apply(CommandId::Append, Slot::new(slot).unwrap_or_default(), Args::new(&line, &ranges));
    }

    pub(super) fn observe_counters(&self, ctx: &Context, group: usize) {
        let Some(observer) = &ctx.observer else { return };
        let replica = &self.list[group];
        observer.raft_counted(ctx.addr(), replica.id, replica.raft.counters());
    }
}

impl Replicas for Groups {
    fn view(&self, group: usize) -> ReplicaView {
        let replica = &self.list[group];
        let raft = &replica.raft;
        ReplicaView {
            id: replica.id,
            replica: raft.id(),
            applied: raft.applied_index(),
            applied_term: raft.term_at(raft.applied_index()),
            durable: raft.durable_index(),
            base: raft.base_index(),
            offered: raft.snapshot().map_or(0, |snapshot| snapshot.last_index),
            is_within_entry: replica.applying.is_within_entry(),
            leads: replica.raft.is_leader() || replica.has_unsettled(),
        }
    }

    fn keyspace(&self, group: usize) -> &Keyspace {
        &self.list[group].keyspace
    }

    fn keyspace_mut(&mut self, group: usize) -> &mut Keyspace {
        &mut self.list[group].keyspace
    }

    fn end_flush(&mut self, group: usize) {
        self.list[group].keyspace.end_flush();
        self.release_later(group);
    }

    fn settle(&mut self, group: usize) {
        self.list[group].settle_permits();
        self.expire_later(group);
    }

    fn sealed_state(&self, group: usize) -> SealedState {
        let replica = &self.list[group];
        SealedState { time_ms: replica.keyspace.time_ms(), membership: replica.membership.clone() }
    }
}
