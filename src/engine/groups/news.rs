//! What the groups are told: messages of other replicas, what has become of the log, which cores can be reached.

use std::ops::ControlFlow;

use raft::Purpose;
use resp::{CommandId, FreesRoom};
use types::{CoreAddr, Index, ReplicaId};
use wire::{Entry, Message};

use crate::context::Context;
use crate::groups::Groups;
use crate::groups::writes::ENTRY_OVERHEAD_BYTES_MAX;
use crate::observe::{Event, Stage};

impl Groups {
    /// A Raft message of another replica, which lives at `from`.
    pub(crate) fn step(&mut self, ctx: &mut Context, group: usize, from: CoreAddr, message: Message) {
        // The leader sends it again, for as long as it takes.
        if brings_commands(&message) && !takes_commands(ctx, &message) {
            ctx.counters.appends_refused += 1;
            return;
        }
        let replica = &mut self.list[group];
        if replica.is_mute() {
            return;
        }
        let (sender, contradictions) = (message.from, replica.raft.counters().contradictions());
        if replica.raft.step(message, ctx.now) {
            let raft = &replica.raft;
            replica.addrs.heard(sender, from, raft.has_peer(sender), raft.leader());
        }
        if replica.raft.counters().contradictions() > contradictions {
            self.contradicted(ctx, group, from, sender);
        }
        self.mark(group);
    }

    /// A replica has dropped a message that cannot be true if this one is right. Whoever has sent it is broken, or somebody
    /// forges; or the group has lost its safety, and then no replica alone could mend that. This one keeps what it holds,
    /// and the other groups of the core have nothing to do with it.
    #[cold]
    fn contradicted(&self, ctx: &Context, group: usize, from: CoreAddr, sender: ReplicaId) {
        let replica = &self.list[group];
        let count = replica.raft.counters().contradictions();
        // Whoever floods us must not fill the log.
        if count.is_power_of_two() {
            let id = replica.id;
            tracing::error!(group = %id, %from, %sender, count, "a message contradicts what is committed here, or who leads here: it is dropped");
        }
        self.observe(ctx, group, Event::Contradicted);
    }

    /// Writes up to `seq` of this group are durable in the log here.
    pub(crate) fn persisted(&mut self, ctx: &mut Context, group: usize, seq: u64) {
        let replica = &mut self.list[group];
        replica.raft.persisted(seq, ctx.now);
        let (durable, now) = (replica.raft.durable_index(), ctx.latest());
        replica.proposed.durable_up_to(durable, now, |took| ctx.stages.record(Stage::Durable, took));
        self.mark(group);
    }

    /// Entries that were wanted from the log.
    pub(crate) fn log_read(&mut self, ctx: &Context, group: usize, purpose: Purpose, entries: Vec<Entry>) {
        self.list[group].raft.log_read(purpose, entries, ctx.now);
        self.mark(group);
    }

    /// Entries that were wanted from the log cannot be read now.
    pub(crate) fn log_read_failed(&mut self, ctx: &Context, group: usize, purpose: Purpose) {
        let raft = &mut self.list[group].raft;
        raft.wake(ctx.now);
        raft.log_read_failed(purpose);
        self.mark(group);
    }

    /// The core at `addr` cannot be reached any more: its replicas cannot, and those that follow it look whether it lives.
    pub(crate) fn peer_lost(&mut self, ctx: &Context, addr: CoreAddr) {
        for group in 0..self.list.len() {
            let replica = &mut self.list[group];
            if replica.addrs.at(addr).next().is_none() {
                continue;
            }
            replica.addrs.at(addr).for_each(|id| replica.raft.peer_unreachable(id));
            if replica.follows_one_of(&[addr]) {
                replica.raft.wake(ctx.now);
            }
            self.mark(group);
        }
    }

    /// The core at `addr` can be reached, or is heard, again: its replicas may lack something and not know it, as they were
    /// cut off while their groups were quiescent.
    pub(crate) fn peer_found(&mut self, ctx: &Context, addr: CoreAddr) {
        for group in 0..self.list.len() {
            let replica = &mut self.list[group];
            let mut lives_there = false;
            for id in replica.addrs.at(addr) {
                replica.raft.peer_reachable(id, ctx.now);
                lives_there = true;
            }
            if lives_there {
                self.mark(group);
            }
        }
    }

    /// The cores at `addrs` have not been heard for long: quiescent groups that follow them wake.
    pub(crate) fn peers_silent(&mut self, ctx: &Context, addrs: &[CoreAddr]) {
        for group in 0..self.list.len() {
            let replica = &mut self.list[group];
            if replica.raft.is_quiescent() && replica.follows_one_of(addrs) {
                replica.raft.wake(ctx.now);
                self.mark(group);
            }
        }
    }

    /// The log of a group was cut up to `index`, which a snapshot covers.
    pub(crate) fn compact(&mut self, ctx: &Context, group: usize, index: Index) {
        self.list[group].raft.compact(index);
        self.observe(ctx, group, Event::Compacted(index));
        self.mark(group);
    }

    /// There is a snapshot of the group that followers can be sent.
    pub(crate) fn offer_snapshot(&mut self, group: usize, meta: wire::SnapshotMeta) {
        self.list[group].raft.set_snapshot(meta);
        self.mark(group);
    }
}

/// Whether entries with commands are taken in now. What is left of a log without more room is for votes, and a part of it for
/// commands that make room.
fn takes_commands(ctx: &mut Context, message: &Message) -> bool {
    if ctx.is_log_backlogged {
        return false;
    }
    let Some(left) = ctx.freeing_bytes else { return true };
    let wire::Body::Append { entries, .. } = &message.body else { return true };
    let bytes: usize = entries.iter().map(|entry| entry.payload.len() + ENTRY_OVERHEAD_BYTES_MAX).sum();
    if bytes > left || !entries.iter().all(makes_room) {
        return false;
    }
    ctx.freeing_bytes = Some(left - bytes);
    ctx.counters.appends_admitted_full += 1;
    true
}

/// Whether an entry has no commands but such as make room. The leader has looked at their arguments.
fn makes_room(entry: &Entry) -> bool {
    if entry.kind != wire::EntryKind::Batch {
        return true;
    }
    let Ok(batch) = wire::Batch::access(&entry.payload) else { return false };
    let mut takes_room = false;
    let looked = batch.for_each_from(0, |command, _| {
        let id = CommandId::from_u16(command.id);
        takes_room = id.is_none_or(|id| resp::table::by_id(id).frees_room == FreesRoom::No);
        if takes_room { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    looked.is_ok() && !takes_room
}

/// Whether a message has entries with commands, which take room in the log and can wait.
fn brings_commands(message: &Message) -> bool {
    match &message.body {
        wire::Body::Append { entries, .. } => entries.iter().any(|entry| entry.kind == wire::EntryKind::Batch),
        _ => false,
    }
}
