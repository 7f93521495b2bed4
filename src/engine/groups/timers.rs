//! When replicas have something to do: a heap of times, so that idle groups cost nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use types::Instant;

/// Times at which groups want to be ticked. A group may stand in it several times; whoever takes it out looks whether it
/// is due.
#[derive(Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Timers {
    /// Notes that a group wants to be ticked at `at`.
    pub(super) fn arm(&mut self, group: usize, at: Instant) {
        self.heap.push(Reverse((at, group)));
    }

    /// Takes out a group that stands at `now` or before.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now { None } else { self.heap.pop().map(|Reverse((_, group))| group) }
    }

    /// The earliest time, if there is any.
    pub(super) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn groups_come_out_when_they_are_due() {
        let at = |ms| Instant::ZERO + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.arm(7, at(20));
        timers.arm(3, at(10));
        timers.arm(3, at(30));
        assert_eq!(timers.next(), Some(at(10)));
        assert_eq!(timers.pop_due(at(9)), None);
        assert_eq!(timers.pop_due(at(10)), Some(3));
        assert_eq!(timers.pop_due(at(25)), Some(7));
        assert_eq!(timers.pop_due(at(25)), None);
        assert_eq!(timers.next(), Some(at(30)));
    }
}
