//! How the room for commands on their way is shared among the routes.
//!
//! A command on its way waits for a leader or for its answer. A route of which nothing goes on is stalled: no leader is known, or it
//! cannot be reached, or does not answer. Its commands come, and none leaves. All stalled routes together get half of the room,
//! and each leaves as much of that to the others as it takes; the rest is for those of which commands are answered.

use std::time::Duration;

use crate::context::Context;
use crate::refusal::Refusal;
use crate::router::queue::RouteQueue;
use crate::router::{Forwarded, Router};

/// A route of which nothing was answered or executed for this long is stalled. A sync of a slow disk takes less, as a rule; a
/// route that is called stalled too early lacks room only while there are many others.
const STALLED_AFTER: Duration = Duration::from_millis(250);

/// How many commands are on their way.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// Of all routes.
    count: usize,
    /// Of the routes that are stalled.
    stalled_count: usize,
}

impl Room {
    /// What is counted, added up anew.
    pub(super) fn of(queues: &[RouteQueue]) -> Room {
        let count_of = |queues: &mut dyn Iterator<Item = &RouteQueue>| queues.map(RouteQueue::count).sum();
        let stalled_count = count_of(&mut queues.iter().filter(|queue| queue.is_stalled()));
        Room { count: count_of(&mut queues.iter()), stalled_count }
    }

    /// Commands of a route have begun to wait or were sent, of which none is counted yet.
    pub(super) fn add(&mut self, queue: &RouteQueue, count: usize) {
        self.count += count;
        self.stalled_count += if queue.is_stalled() { count } else { 0 };
    }

    /// A command of a route is answered, executed, or about to be counted anew.
    pub(super) fn sub(&mut self, queue: &RouteQueue) {
        self.count -= 1;
        self.stalled_count -= usize::from(queue.is_stalled());
    }

    fn set_stalled(&mut self, queue: &mut RouteQueue, is_stalled: bool) {
        if queue.is_stalled() == is_stalled {
            return;
        }
        queue.set_stalled(is_stalled);
        if is_stalled {
            self.stalled_count += queue.count();
        } else {
            self.stalled_count -= queue.count();
        }
    }

    /// Whether there is room for one more command of a route, of `count_max` in all.
    fn has_share(&self, queue: &RouteQueue, count_max: usize) -> bool {
        let stalled_max = count_max.div_ceil(2);
        let left = stalled_max.saturating_sub(self.stalled_count);
        let has_share = !queue.is_stalled() || left > 0 && (queue.count() == 0 || queue.count() < left);
        self.count < count_max && has_share
    }

    /// Whether half of the room is free that there is for a route.
    fn has_plenty(&self, queue: &RouteQueue, count_max: usize) -> bool {
        let stalled_max = count_max.div_ceil(2);
        let (used, max) = if queue.is_stalled() {
            (self.stalled_count, stalled_max)
        } else {
            (self.count - self.stalled_count, count_max.saturating_sub(self.stalled_count))
        };
        self.count < count_max && used <= max / 2
    }
}

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
        self.room.has_share(&self.queues[route], ctx.config.limits.forwards_count_max)
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
            && self.room.has_plenty(queue, limits.forwards_count_max)
            && queue.waiting_count() <= limits.queued_count_max / 2
            && queue.waiting_bytes() <= limits.queued_bytes_max / 2
            && queue.in_flight_bytes <= limits.route_in_flight_bytes_max / 2;
        if has_plenty {
            queue.is_blocking = false;
            self.unblocked.push(route);
        }
    }
}
