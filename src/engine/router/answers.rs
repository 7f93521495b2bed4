//! Answers to commands in flight: each leaves, or goes back to wait for another leader.

use wire::ReplyStatus;

use crate::context::Context;
use crate::observe::{Stage, Way};
use crate::origin::{LinkId, Origin};
use crate::refusal::Refusal;
use crate::replies::{ReplySink, SHORT_REPLY_BYTES_MAX, refuse};
use crate::router::Router;
use crate::router::queue::Queued;
use crate::slow::log_if_slow;

impl Router {
    /// A reply to a forwarded command.
    pub(crate) fn on_reply(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        link: LinkId,
        id: u64,
        status: ReplyStatus,
        bytes: &[u8],
    ) {
        if self.is_given_up(link, id) {
            return;
        }
        match status {
            ReplyStatus::Done => self.on_done(ctx, out, link, id, bytes),
            ReplyStatus::NotLeader => self.on_not_leader(ctx, link, id),
        }
    }

    /// A command was executed, or refused for good.
    fn on_done(&mut self, ctx: &mut Context, out: &mut impl ReplySink, link: LinkId, id: u64, bytes: &[u8]) {
        self.log_if_slow(ctx, out, link, id);
        let Some(sent) = self.in_flight.take(link, id) else { return };
        let queue = &mut self.queues[sent.route()];
        queue.progressed(ctx.now);
        if sent.command.is_write() && matches!(sent.origin, Origin::SubRequest { .. }) {
            queue.part_answered(link, id);
        }
        self.came_back(ctx, sent.route(), sent.bytes);
        if bytes.len() > SHORT_REPLY_BYTES_MAX && !out.has_room(sent.origin, bytes.len()) {
            let refusal = if sent.command.is_write() { Refusal::ReplyWithheld } else { Refusal::RepliesFull };
            refuse(ctx, out, sent.origin, refusal, None);
        } else {
            ctx.count_forwarded(sent.command.id, bytes);
            // Its deadline is that of when it was taken in.
            ctx.stages.ends_with_turn(Stage::Forwarded, sent.deadline - ctx.config.leader_wait);
            out.reply(sent.origin, |reply| reply.raw(bytes));
        }
        let queue = &self.queues[sent.route()];
        if !queue.has_refused() || queue.in_flight_count == 0 {
            self.want_drain(sent.route());
        }
    }

    /// Keeps a command for SLOWLOG whose answer has come late. Its arguments lie in its frame until it is taken out.
    fn log_if_slow(&self, ctx: &mut Context, out: &impl ReplySink, link: LinkId, id: u64) {
        let Some((sent, _)) = self.in_flight.get(link, id) else { return };
        let since = sent.deadline - ctx.config.leader_wait;
        if ctx.is_slow(since)
            && let Some(to) = out.peer(link)
        {
            let request = self.in_flight.request_of(link, sent);
            log_if_slow(ctx, out, request.as_request(), Way::Forwarded { to, number: id }, since);
        }
    }

    /// A command was not executed, since its receiver does not lead the group.
    fn on_not_leader(&mut self, ctx: &mut Context, link: LinkId, id: u64) {
        let Some((sent, request)) = self.in_flight.take_back(link, id) else { return };
        self.came_back(ctx, sent.route(), sent.bytes);
        // It stands before all that came later. The old leader may have been asked in vain: wait for news of the
        // group, or for the next tick.
        ctx.counters.commands_requeued += 1;
        let is_elsewhere = self.routes.get(sent.route()).link != Some(link);
        self.requeue_refused(ctx, sent.route(), sent.order, Queued { request, deadline: sent.deadline });
        if is_elsewhere && self.queues[sent.route()].in_flight_count == 0 {
            self.want_drain(sent.route());
        }
    }

    /// A command of a route is in flight no more.
    pub(super) fn came_back(&mut self, ctx: &Context, route: usize, bytes: usize) {
        let queue = &mut self.queues[route];
        self.room.sub(queue);
        queue.in_flight_count -= 1;
        queue.in_flight_bytes -= bytes;
        queue.is_failing &= queue.in_flight_count > 0;
        self.unblock(ctx, route);
    }

    /// Puts a command that a leader has refused before all that came later.
    pub(super) fn requeue_refused(&mut self, ctx: &Context, route: usize, order: i64, queued: Queued) {
        self.add_to_room(ctx, route, 1);
        self.waiting_count += 1;
        self.waiting_bytes += queued.request.bytes();
        self.queues[route].requeue_refused(order, queued);
        self.activate(route);
    }
}
