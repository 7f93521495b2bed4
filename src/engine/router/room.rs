//! How the room for commands on their way is shared among the routes.
//!
//! A command on its way waits for a leader or for its answer. A route of which nothing goes on is stalled: no leader is known, or it
//! cannot be reached, or does not answer. Its commands come, and none leaves. All stalled routes together get half of the room,
//! and each leaves as much of that to the others as it takes; the rest is for those of which commands are answered.

use crate::router::queue::RouteQueue;

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

    pub(super) fn set_stalled(&mut self, queue: &mut RouteQueue, is_stalled: bool) {
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
    pub(super) fn has_share(&self, queue: &RouteQueue, count_max: usize) -> bool {
        let stalled_max = count_max.div_ceil(2);
        let left = stalled_max.saturating_sub(self.stalled_count);
        let has_share = !queue.is_stalled() || queue.count() < left;
        self.count < count_max && has_share
    }

    /// Whether there is room for many more commands of a route.
    pub(super) fn has_plenty(&self, queue: &RouteQueue, count_max: usize) -> bool {
        let is_half_free = if queue.is_stalled() {
            2 * queue.count() <= count_max.div_ceil(2).saturating_sub(self.stalled_count)
        } else {
            self.count - self.stalled_count <= count_max.saturating_sub(self.stalled_count) / 2
        };
        is_half_free && self.has_share(queue, count_max)
    }
}
