//! What a route may have of the room that all share, and what becomes of a command for which there is none.

use std::time::Duration;

use crate::context::Context;
use crate::refusal::Refusal;
use crate::router::{Forwarded, Router};

/// A route of which nothing was answered or executed for this long is stalled. A sync of a slow disk takes less, as a rule; a
/// route that is called stalled too early lacks room only while there are many others.
const STALLED_AFTER: Duration = Duration::from_millis(250);
/// Routes that clients wait for and that are looked at when another one has room again.
const BLOCKED_LOOKS_MAX: usize = 64;

impl Router {
    /// Looks whether something of a route goes on.
    pub(super) fn look_if_stalled(&mut self, ctx: &Context, route: usize) {
        let target = self.routes.get(route);
        let is_reachable = target.is_known && target.link.is_none_or(|link| self.links[link.idx()].takes_commands);
        let queue = &mut self.queues[route];
        let is_stalled = !is_reachable || queue.is_silent(ctx.now, STALLED_AFTER);
        self.room.set_stalled(queue, is_stalled);
    }

    /// Whether one more command of a route may be on its way.
    pub(super) fn has_share(&self, ctx: &Context, route: usize) -> bool {
        self.room.has_share(&self.queues[route], ctx.config.limits.forwarded_count_max)
    }

    /// Whether a route may have one more command wait, as far as memory is concerned: what does not go on leaves half of it to
    /// others.
    pub(super) fn has_memory_share(&self, ctx: &Context, route: usize) -> bool {
        let queue = &self.queues[route];
        !queue.is_stalled() || queue.count() == 0 || !ctx.budget.requests_are_tight()
    }

    /// What becomes of a command for which there is no room.
    pub(super) fn without_room(&mut self, route: usize) -> Forwarded {
        if !self.routes.get(route).is_known {
            return Forwarded::Refused(Refusal::QueueFull);
        }
        if self.queues[route].blocked_at.is_none() {
            self.stand_last(route);
        }
        self.activate(route);
        Forwarded::Blocked
    }

    /// A route that clients wait for stands behind all others of that kind.
    fn stand_last(&mut self, route: usize) {
        self.queues[route].blocked_at = Some(self.next_blocked);
        self.blocked.insert(self.next_blocked, route);
        self.next_blocked += 1;
    }

    /// One route has room again. That may be true of others for which clients have waited for longer.
    pub(super) fn look_at_blocked(&mut self, ctx: &Context) {
        for _ in 0..self.blocked.len().min(BLOCKED_LOOKS_MAX) {
            let Some((&place, &route)) = self.blocked.first_key_value() else { break };
            if !self.unblock(ctx, route) {
                self.blocked.remove(&place);
                self.stand_last(route);
            }
        }
    }

    /// Lets clients go on that wait for room, once there is plenty: each may have many commands to add. Returns whether it does.
    pub(super) fn unblock(&mut self, ctx: &Context, route: usize) -> bool {
        let limits = &ctx.config.limits;
        let queue = &mut self.queues[route];
        let Some(place) = queue.blocked_at else { return false };
        let has_plenty = self.room.has_plenty(queue, limits.forwarded_count_max)
            && queue.waiting_count() <= limits.queued_count_max / 2
            && queue.waiting_bytes() <= limits.queued_bytes_max / 2
            && queue.in_flight_bytes <= limits.route_in_flight_bytes_max / 2;
        if has_plenty {
            queue.blocked_at = None;
            self.blocked.remove(&place);
            self.unblocked.push((place, route));
        }
        has_plenty
    }
}
