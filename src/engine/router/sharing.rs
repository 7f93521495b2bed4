//! What a route may have of the room that all share, and what becomes of a command for which there is none.

use std::time::Duration;

use crate::context::Context;
use crate::refusal::Refusal;
use crate::router::{Forwarded, Router};

/// A route of which nothing was answered or executed for this long is stalled. A sync of a slow disk takes less, as a rule; a
/// route that is called stalled too early lacks room only while there are many others.
const STALLED_AFTER: Duration = Duration::from_millis(250);

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
        self.queues[route].is_blocking = true;
        self.activate(route);
        Forwarded::Blocked
    }

    /// Lets clients go on that wait for room, once there is plenty: each may have many commands to add.
    pub(super) fn unblock(&mut self, ctx: &Context, route: usize) {
        let limits = &ctx.config.limits;
        let queue = &mut self.queues[route];
        let has_plenty = queue.is_blocking
            && self.room.has_plenty(queue, limits.forwarded_count_max)
            && queue.waiting_count() <= limits.queued_count_max / 2
            && queue.waiting_bytes() <= limits.queued_bytes_max / 2
            && queue.in_flight_bytes <= limits.route_in_flight_bytes_max / 2;
        if has_plenty {
            queue.is_blocking = false;
            self.unblocked.push(route);
        }
    }
}
