//! What waits to be sent.

use std::collections::VecDeque;

/// Most messages that wait. More than that of figures is history that nobody has missed.
pub(crate) const QUEUE_COUNT_MAX: usize = 32;
/// Most bytes of them.
pub(crate) const QUEUE_BYTES_MAX: usize = 16 << 20;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Metrics,
    Traces,
}

impl Signal {
    pub(crate) const ALL: [Signal; 2] = [Signal::Metrics, Signal::Traces];

    /// Its name, which its path ends with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Signal::Metrics => "metrics",
            Signal::Traces => "traces",
        }
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Payload {
    pub(crate) signal: Signal,
    /// Samples or spans in it.
    pub(crate) count: usize,
    pub(crate) body: Vec<u8>,
}

/// Messages in their order, bounded in number and bytes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    list: VecDeque<Payload>,
    // Invariant: the bytes of all in `list`.
    bytes: usize,
}

impl Queue {
    /// Adds a message. Returns those that have to leave for it, the oldest first; the message itself if it is too long.
    pub(crate) fn push(&mut self, payload: Payload) -> Vec<Payload> {
        if payload.body.len() > QUEUE_BYTES_MAX {
            return vec![payload];
        }
        self.bytes += payload.body.len();
        self.list.push_back(payload);
        let mut left = Vec::new();
        while self.list.len() > QUEUE_COUNT_MAX || self.bytes > QUEUE_BYTES_MAX {
            left.extend(self.pop());
        }
        left
    }

    pub(crate) fn first(&self) -> Option<&Payload> {
        self.list.front()
    }

    pub(crate) fn pop(&mut self) -> Option<Payload> {
        let payload = self.list.pop_front()?;
        self.bytes -= payload.body.len();
        Some(payload)
    }

    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(count: usize, bytes: usize) -> Payload {
        Payload { signal: Signal::Traces, count, body: vec![0; bytes] }
    }

    #[test]
    fn the_oldest_leave_when_there_are_too_many_or_too_long_ones() {
        let mut queue = Queue::default();
        (0..QUEUE_COUNT_MAX).for_each(|idx| assert!(queue.push(payload(idx, 10)).is_empty()));
        assert_eq!(queue.push(payload(99, 10)), [payload(0, 10)]);
        let left = queue.push(payload(100, QUEUE_BYTES_MAX - 15));
        assert_eq!((left.len(), queue.len()), (QUEUE_COUNT_MAX - 1, 2));
        assert_eq!(queue.push(payload(7, QUEUE_BYTES_MAX + 1)).len(), 1, "it never fits");
        assert_eq!(queue.pop().map(|first| first.count), Some(99));
        assert_eq!(queue.pop().map(|first| first.count), Some(100));
        assert_eq!((queue.bytes, queue.first()), (0, None));
    }
}
