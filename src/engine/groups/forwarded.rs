//! Commands that other cores have forwarded, and who waits until a group has room.
//!
//! Commands of one core keep their order. Those of several cores have nothing to do with each other: they go on in turns, and
//! a core that takes no replies, or has sent very much, holds up its own commands only.

use crate::context::Context;
use crate::groups::{GroupEffect, Groups, is_full};
use crate::origin::{LinkId, Origin};
use crate::replies::ReplySink;
use crate::request::{OwnedRequest, Request};
use crate::shares::Kind;

/// How a forwarded command arrives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    /// The replica that it is for.
    pub(crate) group: usize,
    /// Whether the sender has an answer to every earlier command for this group.
    pub(crate) resumes: bool,
    /// Whether it is a write and the log is full for the group.
    pub(crate) must_wait: bool,
}

impl Groups {
    /// Takes in a command that another core has forwarded: executes it, lets it wait until there is room, or sends it back.
    pub(crate) fn take_forwarded(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        arrival: Arrival,
        request: Request<'_>,
    ) {
        let Arrival { group, resumes, must_wait } = arrival;
        let Origin::Peer { link, id, .. } = request.origin else { return };
        let replica = &mut self.list[group];
        if resumes {
            replica.accept_again(link);
        }
        if !replica.leads() || replica.refuses(link) {
            // The older ones first.
            self.requeue(ctx, out, effects, group);
            self.list[group].refuse(link);
            return out.send_back(link, id);
        }
        // Whoever waits for room has it first.
        let has_room = !must_wait && !is_full(ctx, replica) && !replica.forwarded.has(|link| out.takes_replies(link));
        if has_room && out.takes_replies(link) {
            return self.execute(ctx, out, group, request);
        }
        if !self.make_room_for_forwarded(ctx, out, group, link, request.bytes()) {
            // The sender gives up on commands, and sends others, while these are stalled. They go back, in order.
            self.refuse_forwarded_over(ctx, out, group, link);
            self.list[group].refuse(link);
            return out.send_back(link, id);
        }
        let replica = &mut self.list[group];
        replica.forwarded.push(link, id, request.to_owned());
        replica.settle_requests();
        if has_room {
            self.look_at_full(group);
        } else {
            self.note_full(group);
        }
    }

    /// Whether a command of another core may wait. If it finds no room, those of the core that has most go back, unless that
    /// is its own.
    fn make_room_for_forwarded(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        link: LinkId,
        bytes: usize,
    ) -> bool {
        let forwarded = &self.list[group].forwarded;
        if forwarded.bytes() < ctx.config.limits.forwarded_bytes_max {
            return true;
        }
        let longest = forwarded
            .longest()
            .filter(|longest| *longest != link && forwarded.bytes_of(*longest) > forwarded.bytes_of(link) + bytes);
        let Some(longest) = longest else { return false };
        self.refuse_forwarded_over(ctx, out, group, longest);
        true
    }

    /// Goes on with commands that waited because their group was full, as far as it is no longer. `must_writers_wait` tells whether
    /// the log is full for a group, or its writers are slowed down: then its writes wait on, and what came behind them from the same
    /// core. Groups take turns, and what a turn may not do of it is left to the next one.
    pub(crate) fn resume_full(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        must_writers_wait: impl Fn(usize) -> bool,
    ) {
        self.is_full_cut_short = false;
        for _ in 0..self.full.len() {
            if ctx.shares.is_spent(Kind::Held) {
                self.is_full_cut_short = true;
                return;
            }
            let Some(group) = self.full.pop_front() else { return };
            self.list[group].is_full = false;
            let must_writers_wait = must_writers_wait(group);
            self.execute_forwarded(ctx, out, group, must_writers_wait);
            let replica = &mut self.list[group];
            let is_full = is_full(ctx, replica) || must_writers_wait;
            // Commands of a core that takes no replies wait for that core, and have no part in this.
            if !is_full
                && !replica.forwarded.has(|link| out.takes_replies(link))
                && std::mem::take(&mut replica.is_awaited)
            {
                effects.push(GroupEffect::Unblocked { group: replica.id });
            }
            if replica.is_awaited || !replica.forwarded.is_empty() {
                self.look_at_full(group);
            }
        }
    }

    fn execute_forwarded(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        group: usize,
        must_writers_wait: bool,
    ) {
        loop {
            let replica = &mut self.list[group];
            if !replica.leads() || is_full(ctx, replica) {
                break;
            }
            // Reads need no log.
            let waits = |request: &OwnedRequest| must_writers_wait && request.command.is_write();
            let goes_on = |link, request: &OwnedRequest| !waits(request) && out.takes_replies(link);
            if ctx.shares.is_spent(Kind::Held) {
                self.is_full_cut_short |= replica.forwarded.has_next(goes_on);
                break;
            }
            let Some(request) = replica.forwarded.pop(goes_on) else { break };
            ctx.shares.spend_with_bytes(Kind::Held, 1, request.bytes());
            self.execute(ctx, out, group, request.as_request());
        }
        self.list[group].settle_requests();
    }

    /// Sends commands of other cores back that wait, those of each core in order, as many as the turn still may.
    pub(super) fn refuse_forwarded(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize) {
        let replica = &mut self.list[group];
        while !ctx.shares.is_spent(Kind::GivenBack)
            && let Some(OwnedRequest { origin, .. }) = replica.forwarded.pop(|_, _| true)
        {
            ctx.shares.spend(Kind::GivenBack, 1);
            if let Origin::Peer { link, id, .. } = origin {
                replica.refuse(link);
                out.send_back(link, id);
            }
        }
        replica.settle_requests();
    }

    /// Commands that came over a link and wait go back, in order.
    fn refuse_forwarded_over(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize, link: LinkId) {
        let replica = &mut self.list[group];
        replica.forwarded.refuse(link, true);
        replica.refuse(link);
        self.send_refused_back(ctx, out, group);
    }

    /// Sends commands of other cores back that do not wait any more, as many as the turn still may.
    pub(super) fn send_refused_back(&mut self, ctx: &mut Context, out: &mut impl ReplySink, group: usize) {
        let replica = &mut self.list[group];
        while !ctx.shares.is_spent(Kind::GivenBack)
            && let Some((link, id, is_awaited)) = replica.forwarded.pop_refused()
        {
            ctx.shares.spend(Kind::GivenBack, 1);
            if is_awaited {
                out.send_back(link, id);
            }
        }
        replica.settle_requests();
        if replica.forwarded.has_refused() {
            self.go_on_giving_back(group);
        }
    }

    /// Notes that somebody waits until the group has room, who is told by [`GroupEffect::Unblocked`].
    pub(crate) fn note_full(&mut self, group: usize) {
        self.list[group].is_awaited = true;
        self.look_at_full(group);
    }

    /// Puts a group on the list of those that [`Groups::resume_full`] looks at.
    fn look_at_full(&mut self, group: usize) {
        if !std::mem::replace(&mut self.list[group].is_full, true) {
            self.full.push_back(group);
        }
    }

    /// Forgets the commands of a core that has heard no answers and waits for none: its connection was replaced.
    pub(crate) fn forget_forwarded(&mut self, link: LinkId) {
        for at in 0..self.full.len() {
            let group = self.full[at];
            let forwarded = &mut self.list[group].forwarded;
            forwarded.refuse(link, false);
            if forwarded.has_refused() {
                self.go_on_giving_back(group);
            }
        }
    }
}
