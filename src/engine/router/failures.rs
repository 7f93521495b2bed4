//! Answers that will not come: a link is gone, a leader is deposed, the time is up.

use std::collections::HashSet;
use std::time::Duration;

use types::Instant;

use crate::context::Context;
use crate::origin::LinkId;
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::OwnedRequest;
use crate::router::Router;
use crate::router::in_flight::Sent;
use crate::router::queue::Queued;

/// How long a former leader that can still be heard may take to answer what was sent to it, once it is known who leads now.
/// It knows as well unless it is cut off from the others, and the commands that wait behind those answers must not wait
/// for that.
const FORMER_LEADER_WAIT: Duration = Duration::from_millis(250);

impl Router {
    /// A link is gone, or the way back. What was sent over it may or may not have run.
    pub(crate) fn link_failed(&mut self, ctx: &mut Context, out: &mut impl ReplySink, link: LinkId) {
        self.links[link.idx()].takes_commands = false;
        let failed = self.in_flight.take_where(link, |_| true);
        self.in_flight.drop_unsent(link);
        self.fail_all(ctx, out, failed, Refusal::OutcomeUnknownLink);
    }

    /// Nobody will answer these, which are all that were in flight on their routes, in order. Writes that have left are not
    /// sent again. Reads are, but for those that a write of the same source may have run behind.
    fn fail_all(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        failed: Vec<(Sent, OwnedRequest, bool)>,
        unknown: Refusal,
    ) {
        let mut writers = HashSet::new();
        let mut lost = vec![false; failed.len()];
        for ((sent, _, has_left), is_lost) in failed.iter().zip(&mut lost).rev() {
            if !has_left {
                continue;
            }
            let source = (sent.route, sent.origin.source());
            if sent.command.is_write() {
                writers.insert(source);
            } else {
                *is_lost = writers.contains(&source);
            }
        }
        for ((sent, request, has_left), is_lost) in failed.into_iter().zip(lost) {
            self.came_back(ctx, sent.route, sent.bytes);
            if has_left && sent.command.is_write() {
                refuse(ctx, out, sent.origin, unknown, Some(self.routes.get(sent.route).id));
            } else if is_lost {
                refuse(ctx, out, sent.origin, Refusal::ReadLost, Some(self.routes.get(sent.route).id));
            } else {
                self.put_back(sent.route, sent.order, Queued { request, deadline: sent.deadline });
            }
            self.want_drain(sent.route);
        }
    }

    /// Does the same with what a former leader has not answered in time, or will not answer as it is not heard any more. If
    /// it answers later, nobody listens.
    fn fail_deposed(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        route: usize,
        is_silent: &impl Fn(LinkId) -> bool,
    ) {
        let target = self.routes.get(route);
        let queue = &mut self.queues[route];
        let Some(link) =
            queue.link.filter(|link| queue.in_flight_count > 0 && target.is_known && target.link != Some(*link))
        else {
            queue.deposed_at = None;
            return;
        };
        let since = *queue.deposed_at.get_or_insert(ctx.now);
        if !is_silent(link) && ctx.now.since(since) < FORMER_LEADER_WAIT {
            return;
        }
        let mut failed = self.in_flight.take_where(link, |sent| sent.route == route);
        // What has not left this core stands in the next frame and will leave with it.
        failed.iter_mut().for_each(|(.., has_left)| *has_left = true);
        self.fail_all(ctx, out, failed, Refusal::OutcomeUnknownDeposed);
    }

    /// Looks again for leaders, and gives up on commands that have waited too long. `is_silent` tells whether nothing was
    /// heard of a core for long.
    pub(crate) fn tick(&mut self, ctx: &mut Context, out: &mut impl ReplySink, is_silent: impl Fn(LinkId) -> bool) {
        for route in std::mem::take(&mut self.active) {
            self.queues[route].is_active = false;
            self.fail_deposed(ctx, out, route, &is_silent);
            self.give_up_late(ctx, out, route, &is_silent);
            self.want_drain(route);
            self.unblock(ctx, route);
            if !self.queues[route].is_idle() || self.queues[route].is_blocking {
                self.activate(route);
            }
        }
        for link in (0..self.in_flight.links_count()).map(|idx| LinkId(idx as u32)) {
            self.give_up_unanswered(ctx, out, link);
        }
    }

    fn give_up_late(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        route: usize,
        is_silent: &impl Fn(LinkId) -> bool,
    ) {
        let late = self.queues[route].take_late(ctx.now);
        if late.is_empty() {
            return;
        }
        let refusal = self.why_late(route, is_silent);
        for queued in late {
            self.left(ctx, route, &queued);
            refuse(ctx, out, queued.request.origin, refusal, Some(self.routes.get(route).id));
        }
    }

    /// What commands of a route have waited for.
    fn why_late(&self, route: usize, is_silent: &impl Fn(LinkId) -> bool) -> Refusal {
        let target = self.routes.get(route);
        match target.link {
            _ if !target.is_known => Refusal::NoLeaderInTime,
            Some(link) if !self.links[link.idx()].takes_commands => Refusal::LeaderUnreachable,
            Some(link) if is_silent(link) => Refusal::LeaderSilent,
            _ => Refusal::LeaderBusy,
        }
    }

    fn give_up_unanswered(&mut self, ctx: &mut Context, out: &mut impl ReplySink, link: LinkId) {
        let now: Instant = ctx.now;
        while let Some(sent) = self.in_flight.take_late(link, now) {
            self.came_back(ctx, sent.route, sent.bytes);
            self.want_drain(sent.route);
            let group = Some(self.routes.get(sent.route).id);
            if sent.command.is_write() {
                refuse(ctx, out, sent.origin, Refusal::OutcomeUnknownTimeout, group);
            } else {
                refuse(ctx, out, sent.origin, Refusal::AnswerTimedOut, group);
            }
        }
    }
}
