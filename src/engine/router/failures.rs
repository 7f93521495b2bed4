//! Answers that will not come: a link is gone, a leader is deposed, the time is up.
//!
//! All that is in flight may be concerned at once, so it is worked off in slices (`shares`). What is to become of it was
//! decided when the slices began: an answer that comes meanwhile is too late, nothing is sent over the link that is gone or
//! for the route that has another leader, and newer commands wait behind those that are to be sent again.

use std::time::Duration;

use crate::context::Context;
use crate::origin::LinkId;
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::router::Router;
use crate::router::queue::Queued;
use crate::router::sweep::{Askers, LateLook, Sweep, SweepScope};
use crate::shares::Kind;

/// How long a former leader that can still be heard may take to answer what was sent to it, once it is known who leads now.
/// It knows as well unless it is cut off from the others, and the commands that wait behind those answers must not wait
/// for that.
const FORMER_LEADER_WAIT: Duration = Duration::from_millis(250);

impl Router {
    /// A link is gone, or the way back, and answers that have come are still to be taken in. Behind the last of them
    /// [`Router::link_failed`] is called.
    pub(crate) fn link_fails(&mut self, link: LinkId) {
        self.links[link.idx()].is_failing = true;
    }

    /// A link is gone, or the way back. What was sent over it may or may not have run.
    pub(crate) fn link_failed(&mut self, link: LinkId) {
        let state = &mut self.links[link.idx()];
        (state.takes_commands, state.is_failing) = (false, false);
        let former = state.sweep.replace(SweepScope::Link);
        let mut askers = Askers::default();
        match former {
            // Nothing was sent since.
            Some(SweepScope::Link) => return,
            Some(SweepScope::DeposedRoutes) => {
                let at = self.sweeps.iter().position(|sweep| sweep.link == link);
                let sweep = at.and_then(|at| self.sweeps.remove(at)).expect("a sweep of a link is on the list");
                askers = sweep.askers;
                askers.retain(|route| self.queues[route].is_failing);
            }
            None => {}
        }
        self.sweeps.push_back(Sweep { link, scope: SweepScope::Link, end_id: u64::MAX, askers });
    }

    /// Does the same with what a former leader has not answered in time, or will not answer as it is not heard any more. If
    /// it answers later, nobody listens.
    fn fail_deposed(&mut self, ctx: &Context, route: usize, is_silent: &impl Fn(LinkId) -> bool) {
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
        let state = &mut self.links[link.idx()];
        match state.sweep {
            None => {
                let scope = SweepScope::DeposedRoutes;
                (state.sweep, state.has_sweep_begun) = (Some(scope), false);
                self.sweeps.push_back(Sweep { link, scope, end_id: u64::MAX, askers: Askers::default() });
            }
            Some(SweepScope::DeposedRoutes) if !state.has_sweep_begun => {}
            // It may hold no newer command of this route. A later tick looks again.
            Some(_) => return,
        }
        self.queues[route].is_failing = true;
    }

    /// Whether the answer to a command in flight comes too late, as it is being given up.
    pub(super) fn is_given_up(&self, link: LinkId, id: u64) -> bool {
        match self.links[link.idx()].sweep {
            None => false,
            Some(SweepScope::Link) => true,
            Some(SweepScope::DeposedRoutes) => {
                self.in_flight.get(link, id).is_some_and(|(sent, _)| self.queues[sent.route()].is_failing)
            }
        }
    }

    /// The router's own share of a turn: gives up a bounded number of commands, where some are to be given up, and lets
    /// [`Router::drain`] go on.
    pub(crate) fn work(&mut self, ctx: &mut Context, out: &mut impl ReplySink) {
        ctx.counters.commands_sliced += u64::from(std::mem::take(&mut self.is_drain_cut_short));
        while !ctx.shares.is_spent(Kind::GivenUp)
            && let Some(mut sweep) = self.sweeps.pop_front()
        {
            if self.sweep(ctx, out, &mut sweep) {
                self.end_sweep(&sweep);
            } else {
                self.sweeps.push_front(sweep);
            }
        }
        while !ctx.shares.is_spent(Kind::GivenUp)
            && let Some(link) = self.late_links.pop_front()
        {
            if !self.give_up_unanswered(ctx, out, link) {
                self.late_links.push_front(link);
            }
        }
        while !ctx.shares.is_spent(Kind::GivenUp)
            && let Some(look) = self.late_looks.pop_front()
        {
            if let Some(rest) = self.give_up_late(ctx, out, look) {
                self.late_looks.push_front(rest);
            }
        }
        ctx.counters.commands_sliced += u64::from(ctx.shares.is_spent(Kind::GivenUp) && self.has_work());
    }

    /// Whether there is more to do at once, without a new event.
    pub(crate) fn has_work(&self) -> bool {
        // What a frame that was just sent has made room for is among them.
        !(self.to_drain.is_empty()
            && self.sweeps.is_empty()
            && self.late_links.is_empty()
            && self.late_looks.is_empty())
    }

    /// Goes on with a sweep. Returns whether it has come to its end. Writes that have left are not sent again. Reads are, but
    /// for those behind which a write of the same source may have run, or another read was answered.
    fn sweep(&mut self, ctx: &mut Context, out: &mut impl ReplySink, sweep: &mut Sweep) -> bool {
        let Sweep { link, scope, .. } = *sweep;
        self.links[link.idx()].has_sweep_begun = true;
        while let Some(id) = self.in_flight.id_before(link, sweep.end_id) {
            if ctx.shares.is_spent(Kind::GivenUp) {
                return false;
            }
            ctx.shares.spend(Kind::GivenUp, 1);
            sweep.end_id = id;
            let Some((sent, has_left)) = self.in_flight.get(link, id) else { continue };
            if scope == SweepScope::DeposedRoutes && !self.queues[sent.route()].is_failing {
                continue;
            }
            // What has not left this core when a leader is deposed stands in the next frame and will leave with it.
            let has_left = has_left || scope == SweepScope::DeposedRoutes;
            let (route, origin) = (sent.route(), sent.origin);
            let is_lost = has_left
                && (self.queues[route].is_overtaken_by_part(link, id)
                    || sweep.askers.are_ahead_of(route, origin, out));
            if has_left && sent.command.is_write() {
                sweep.askers.wrote(route, origin.source());
                let unknown = match scope {
                    SweepScope::Link => Refusal::OutcomeUnknownLink,
                    SweepScope::DeposedRoutes => Refusal::OutcomeUnknownDeposed,
                };
                self.give_up(ctx, out, link, id, unknown);
            } else if is_lost {
                self.give_up(ctx, out, link, id, Refusal::ReadLost);
            } else if let Some((sent, request)) = self.in_flight.take_back(link, id) {
                self.came_back(ctx, sent.route(), sent.bytes);
                self.requeue_refused(ctx, sent.route(), sent.order, Queued { request, deadline: sent.deadline });
                self.want_drain(sent.route());
            }
        }
        true
    }

    fn end_sweep(&mut self, sweep: &Sweep) {
        self.links[sweep.link.idx()].sweep = None;
        if sweep.scope == SweepScope::Link {
            self.in_flight.drop_unsent(sweep.link);
            self.want_drain_of_link(sweep.link);
        }
    }

    /// Answers a command in flight with an error.
    fn give_up(&mut self, ctx: &mut Context, out: &mut impl ReplySink, link: LinkId, id: u64, refusal: Refusal) {
        let Some(sent) = self.in_flight.take(link, id) else { return };
        self.came_back(ctx, sent.route(), sent.bytes);
        refuse(ctx, out, sent.origin, refusal, Some(self.routes.get(sent.route()).id));
        self.want_drain(sent.route());
    }

    /// Whether commands wait for ticks, since they wait for a leader or an answer.
    pub(crate) fn wants_ticks(&self) -> bool {
        !self.active.is_empty()
    }

    /// Looks again for leaders, and for commands that have waited too long, which are given up in this turn and those behind
    /// it. `is_silent` tells whether nothing was heard of a core for long.
    pub(crate) fn tick(&mut self, ctx: &Context, is_silent: impl Fn(LinkId) -> bool) {
        for route in std::mem::take(&mut self.active) {
            self.queues[route].is_active = false;
            self.fail_deposed(ctx, route, &is_silent);
            self.look_if_stalled(ctx, route);
            if self.queues[route].may_have_late(ctx.now) {
                let (from, refusal) = (self.queues[route].begin_late(), self.why_late(route, &is_silent));
                self.late_looks.push_back(LateLook { route, from, refusal });
            }
            self.want_drain(route);
            self.unblock(ctx, route);
            if !self.queues[route].is_idle() || self.queues[route].blocked_at.is_some() {
                self.activate(route);
            }
        }
        let links = (0..self.in_flight.links_count()).map(|idx| LinkId(idx as u32));
        let late = links.filter(|link| self.in_flight.late_id(*link, ctx.now).is_some());
        self.late_links = late.collect();
        self.in_flight.shrink();
    }

    fn give_up_late(&mut self, ctx: &mut Context, out: &mut impl ReplySink, look: LateLook) -> Option<LateLook> {
        let mut late = Vec::new();
        let (seen_count, next) =
            self.queues[look.route].take_late(ctx.now, look.from, ctx.shares.left(Kind::GivenUp), &mut late);
        ctx.shares.spend(Kind::GivenUp, seen_count);
        for queued in late {
            self.left(ctx, look.route, &queued);
            refuse(ctx, out, queued.request.origin, look.refusal, Some(self.routes.get(look.route).id));
        }
        // What stands behind them may go on.
        self.want_drain(look.route);
        next.map(|from| LateLook { from, ..look })
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

    /// Gives up commands that were not answered in time. Returns whether these were all over that link.
    fn give_up_unanswered(&mut self, ctx: &mut Context, out: &mut impl ReplySink, link: LinkId) -> bool {
        while let Some(id) = self.in_flight.late_id(link, ctx.now) {
            if ctx.shares.is_spent(Kind::GivenUp) {
                return false;
            }
            ctx.shares.spend(Kind::GivenUp, 1);
            let is_write = self.in_flight.get(link, id).is_some_and(|(sent, _)| sent.command.is_write());
            let refusal = if is_write { Refusal::OutcomeUnknownTimeout } else { Refusal::AnswerTimedOut };
            self.give_up(ctx, out, link, id, refusal);
        }
        true
    }
}
