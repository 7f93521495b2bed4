//! Append messages that left for a follower and are not answered yet.

use alloc::collections::VecDeque;

use types::Index;

/// A window over the Append messages on their way to one follower, limited by count and by bytes.
#[derive(Clone, Debug)]
pub(crate) struct Inflights {
    /// Last index and bytes of each message. Invariant: indexes grow; at most `count_max` elements.
    window: VecDeque<(Index, usize)>,
    /// Invariant: the sum of the bytes in `window`.
    bytes: usize,
    count_max: usize,
    bytes_max: usize,
}

impl Inflights {
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> Inflights {
        Inflights { window: VecDeque::new(), bytes: 0, count_max, bytes_max }
    }

    /// Whether the window is closed. The last message let in may have gone over the limit of bytes.
    pub(crate) fn full(&self) -> bool {
        self.window.len() >= self.count_max || self.bytes >= self.bytes_max
    }

    /// Notes a message with entries up to `last`.
    pub(crate) fn add(&mut self, last: Index, bytes: usize) {
        assert!(!self.full(), "a message was sent into a closed window");
        assert!(self.window.back().is_none_or(|(index, _)| *index < last), "messages carry ever later entries");
        self.window.push_back((last, bytes));
        self.bytes += bytes;
    }

    /// The follower holds everything up to `index`: forgets the messages that ended there or before.
    pub(crate) fn free_to(&mut self, index: Index) {
        while let Some((last, bytes)) = self.window.front().copied() {
            if last > index {
                break;
            }
            self.window.pop_front();
            self.bytes -= bytes;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.window.clear();
        self.bytes = 0;
    }

    pub(crate) fn count(&self) -> usize {
        self.window.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_closes_by_count_and_by_bytes() {
        let mut window = Inflights::new(2, 100);
        window.add(1, 10);
        assert!(!window.full());
        window.add(5, 10);
        assert!(window.full(), "two messages");
        window.free_to(4);
        assert_eq!(window.count(), 1, "the answer covers the first message only");
        window.free_to(5);
        window.add(6, 100);
        assert!(window.full(), "a hundred bytes");
        window.clear();
        assert!(!window.full());
    }

    #[test]
    fn bytes_that_arrived_make_room_for_as_many() {
        let mut window = Inflights::new(10, 100);
        window.add(1, 60);
        window.add(2, 30);
        window.free_to(1);
        window.add(3, 69);
        assert!(!window.full(), "99 bytes");
        window.add(4, 1);
        assert!(window.full(), "100 bytes");
    }
}
