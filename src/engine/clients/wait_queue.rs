//! Clients that wait for the same thing.

use std::collections::BTreeMap;

use host::ConnId;

/// Clients that wait for the same thing, in the order in which they came. One that goes gives up its place, so the queue is
/// never longer than there are clients.
#[derive(Default)]
pub(super) struct WaitQueue {
    waiting: BTreeMap<u64, ConnId>,
    next_place: u64,
}

impl WaitQueue {
    /// Puts a client behind all others. Returns its place.
    pub(super) fn push(&mut self, conn: ConnId) -> u64 {
        let place = self.next_place;
        self.next_place += 1;
        self.waiting.insert(place, conn);
        place
    }

    /// Takes out the client that has waited for longest.
    pub(super) fn pop(&mut self) -> Option<ConnId> {
        self.waiting.pop_first().map(|(_, conn)| conn)
    }

    /// The client at a place does not wait any more.
    pub(super) fn remove(&mut self, place: u64) {
        self.waiting.remove(&place);
    }

    /// How many clients wait.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_waited_for_longest_comes_first_and_who_goes_leaves_no_gap() {
        let conn = |idx| ConnId { idx, generation: 0 };
        let mut queue = WaitQueue::default();
        let places: Vec<u64> = (0..4).map(|idx| queue.push(conn(idx))).collect();
        queue.remove(places[1]);
        queue.remove(places[1]);
        assert_eq!((queue.pop(), queue.len()), (Some(conn(0)), 2));
        queue.push(conn(0));
        queue.remove(places[0]);
        assert_eq!(
            [queue.pop(), queue.pop(), queue.pop(), queue.pop()],
            [Some(conn(2)), Some(conn(3)), Some(conn(0)), None]
        );
        assert!(queue.is_empty());
    }
}
