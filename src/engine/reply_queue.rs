//! Replies of one connection: finished in any order, sent in the order of the requests.

use std::collections::VecDeque;

/// The replies a connection is owed. Commands of different groups finish side by side; a reply that is ready
/// before its turn waits in `early`, all others are written straight into the output.
#[derive(Default)]
pub(crate) struct ReplyQueue {
    /// Number of the request at the front of `slots`.
    first_seq: u64,
    slots: VecDeque<Slot>,
    /// Replies that were ready before their turn. Emptied whenever no slot points into it.
    early: Vec<u8>,
    early_count: usize,
    /// What can be sent.
    out: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Slot {
    Pending,
    /// Ready, at this place in `early`.
    Early {
        start: usize,
        end: usize,
    },
}

impl ReplyQueue {
    /// Opens the next place and returns its number.
    pub(crate) fn open(&mut self) -> u64 {
        self.slots.push_back(Slot::Pending);
        self.first_seq + self.slots.len() as u64 - 1
    }

    /// Writes the reply of a request that nobody has to wait for: directly if it is its turn.
    pub(crate) fn write_next(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.slots.is_empty() {
            self.first_seq += 1;
            write(&mut self.out);
        } else {
            let seq = self.open();
            self.fulfil(seq, write);
        }
    }

    /// Writes the reply of request `seq`, and moves up those behind it that are ready. Unknown numbers (of a
    /// request that was answered already) are ignored and `false` is returned.
    pub(crate) fn fulfil(&mut self, seq: u64, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(idx) = seq.checked_sub(self.first_seq) else { return false };
        let Some(slot) = self.slots.get_mut(idx as usize) else { return false };
        if !matches!(slot, Slot::Pending) {
            return false;
        }
        if idx == 0 {
            write(&mut self.out);
            self.slots.pop_front();
            self.first_seq += 1;
            self.move_up();
        } else {
            let start = self.early.len();
            write(&mut self.early);
            *slot = Slot::Early { start, end: self.early.len() };
            self.early_count += 1;
        }
        true
    }

    fn move_up(&mut self) {
        while let Some(Slot::Early { start, end }) = self.slots.front().copied() {
            self.out.extend_from_slice(&self.early[start..end]);
            self.slots.pop_front();
            self.first_seq += 1;
            self.early_count -= 1;
        }
        if self.early_count == 0 {
            self.early.clear();
        }
    }

    /// Requests without a reply yet.
    pub(crate) fn open_count(&self) -> usize {
        self.slots.len()
    }

    /// Bytes held: what can be sent and what waits for its turn.
    pub(crate) fn bytes(&self) -> usize {
        self.out.len() + self.early.len()
    }

    /// Whether there is something to send.
    pub(crate) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Takes what can be sent and leaves `spare`, an empty buffer, in its place.
    pub(crate) fn take_output(&mut self, spare: Vec<u8>) -> Vec<u8> {
        debug_assert!(spare.is_empty(), "the spare buffer becomes the output");
        std::mem::replace(&mut self.out, spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) -> impl FnOnce(&mut Vec<u8>) {
        move |out| out.extend_from_slice(text.as_bytes())
    }

    #[test]
    fn replies_leave_in_the_order_of_the_requests() {
        let mut queue = ReplyQueue::default();
        queue.write_next(write("0"));
        let (one, two, three) = (queue.open(), queue.open(), queue.open());
        assert!(queue.fulfil(three, write("3")));
        queue.write_next(write("4"));
        assert!(queue.fulfil(two, write("2")));
        assert_eq!(queue.take_output(Vec::new()), b"0");
        assert_eq!(queue.open_count(), 4);
        assert!(queue.fulfil(one, write("1")));
        assert_eq!(queue.take_output(Vec::new()), b"1234");
        assert_eq!((queue.open_count(), queue.bytes()), (0, 0));
        queue.write_next(write("5"));
        assert_eq!(queue.take_output(Vec::new()), b"5");
    }

    #[test]
    fn a_second_answer_to_one_request_is_dropped() {
        let mut queue = ReplyQueue::default();
        let (one, two) = (queue.open(), queue.open());
        assert!(queue.fulfil(two, write("2")));
        assert!(!queue.fulfil(two, write("again")));
        assert!(queue.fulfil(one, write("1")));
        assert!(!queue.fulfil(one, write("again")));
        assert!(!queue.fulfil(99, write("never asked")));
        assert_eq!(queue.take_output(Vec::new()), b"12");
    }
}
