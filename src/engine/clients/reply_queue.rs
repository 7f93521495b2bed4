//! Replies of one connection: finished in any order, sent in the order of the requests.

use std::collections::VecDeque;

use resp::CommandId;
use types::Instant;

/// Memory that is kept for replies to come.
const SPARE_BYTES_MAX: usize = 64 << 10;

/// The replies a connection is owed. Commands of different groups finish side by side; a reply that is ready
/// before its turn waits in `early`, all others are written straight into the output.
#[derive(Default)]
pub(super) struct ReplyQueue {
    /// Number of the request at the front of `slots`.
    first_seq: u64,
    slots: VecDeque<Slot>,
    /// Replies that were ready before their turn, and those that have moved up since: no more of these than of the others, or than is kept
    /// anyhow. Emptied whenever no slot points into it.
    early: Vec<u8>,
    early_count: usize,
    /// Bytes of those that still wait for their turn.
    early_bytes: usize,
    /// Bytes of the requests without a reply.
    open_bytes: usize,
    /// What can be sent.
    out: Vec<u8>,
}

/// What a request is timed as: a command that was taken in then. `None` for one that is not timed, since it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) command: Option<CommandId>,
    pub(crate) since: Instant,
}

/// The route of a request that concerns no single group.
const NO_ROUTE: u16 = u16::MAX;

#[derive(Clone, Copy)]
enum Slot {
    /// No reply yet, with the length of the request in bytes and the route of its group. It is a read that another core answers, or
    /// anything else.
    Pending { bytes: u32, route: u16, is_read_elsewhere: bool, timing: Timing },
    /// Ready, at this place in `early`.
    Early { start: usize, end: usize, route: u16 },
}

impl ReplyQueue {
    /// Opens the place of a request of this length, in bytes, for the group of a route if it concerns just one, and returns its number.
    pub(super) fn open(&mut self, bytes: usize, route: Option<usize>, timing: Timing) -> u64 {
        let route =
            route.map_or(NO_ROUTE, |route| u16::try_from(route).expect("there are no more groups than slots"));
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.open_bytes += bytes as usize;
        self.slots.push_back(Slot::Pending { bytes, route, is_read_elsewhere: false, timing });
        self.first_seq + self.slots.len() as u64 - 1
    }

    /// Closes the place that was opened last: its request was not taken in after all.
    pub(super) fn cancel_last(&mut self) {
        if let Some(Slot::Pending { bytes, .. }) = self.slots.pop_back() {
            self.open_bytes -= bytes as usize;
        }
    }

    /// The request that was opened last is a read that another core answers.
    pub(super) fn note_read_elsewhere(&mut self) {
        if let Some(Slot::Pending { is_read_elsewhere, .. }) = self.slots.back_mut() {
            *is_read_elsewhere = true;
        }
    }

    /// The last of the requests by a route that has its reply while one before it has none.
    pub(super) fn last_early_by(&self, route: usize) -> Option<u64> {
        let is_of_it = |slot: &Slot| matches!(slot, Slot::Early { route: other, .. } if usize::from(*other) == route);
        self.slots.iter().rposition(is_of_it).map(|idx| self.first_seq + idx as u64)
    }

    /// The request that was opened last is refused: it is not timed.
    pub(super) fn leave_untimed(&mut self) {
        if let Some(Slot::Pending { timing, .. }) = self.slots.back_mut() {
            timing.command = None;
        }
    }

    /// What request `seq` is timed as, if it has no reply yet.
    pub(super) fn timing(&self, seq: u64) -> Option<Timing> {
        match self.slots.get(usize::try_from(seq.checked_sub(self.first_seq)?).ok()?)? {
            Slot::Pending { timing, .. } => Some(*timing),
            Slot::Early { .. } => None,
        }
    }

    /// Whether the next reply is that of a read that another core answers.
    pub(super) fn awaits_read_elsewhere(&self) -> bool {
        matches!(self.slots.front(), Some(Slot::Pending { is_read_elsewhere: true, .. }))
    }

    /// Writes the reply of a request that nobody has to wait for: directly if it is its turn.
    pub(super) fn write_next(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.slots.is_empty() {
            self.first_seq += 1;
            write(&mut self.out);
        } else {
            let seq = self.open(0, None, Timing { command: None, since: Instant::ZERO });
            self.fulfil(seq, write);
        }
    }

    /// Writes the reply of request `seq`, and moves up those behind it that are ready. Returns what the request is timed as.
    /// Unknown numbers (of a request that was answered already) are ignored and `None` is returned.
    pub(super) fn fulfil(&mut self, seq: u64, write: impl FnOnce(&mut Vec<u8>)) -> Option<Timing> {
        let idx = seq.checked_sub(self.first_seq)?;
        let slot = self.slots.get_mut(idx as usize)?;
        let Slot::Pending { bytes, route, timing, .. } = *slot else { return None };
        self.open_bytes -= bytes as usize;
        if idx == 0 {
            write(&mut self.out);
            self.slots.pop_front();
            self.first_seq += 1;
            self.move_up();
        } else {
            let start = self.early.len();
            write(&mut self.early);
            *slot = Slot::Early { start, end: self.early.len(), route };
            self.early_count += 1;
            self.early_bytes += self.early.len() - start;
        }
        Some(timing)
    }

    fn move_up(&mut self) {
        while let Some(Slot::Early { start, end, .. }) = self.slots.front().copied() {
            self.out.extend_from_slice(&self.early[start..end]);
            self.slots.pop_front();
            self.first_seq += 1;
            self.early_count -= 1;
            self.early_bytes -= end - start;
        }
        if self.early_count == 0 {
            self.early.clear();
            self.early.shrink_to(SPARE_BYTES_MAX);
        } else if self.early.len() > SPARE_BYTES_MAX && self.early.len() > 2 * self.early_bytes {
            self.drop_moved_up();
        }
    }

    /// Copies what still waits for its turn to a buffer of its own: no more than was moved up since the last time.
    fn drop_moved_up(&mut self) {
        let mut waiting = Vec::with_capacity(self.early_bytes);
        for slot in &mut self.slots {
            if let Slot::Early { start, end, .. } = slot {
                let at = waiting.len();
                waiting.extend_from_slice(&self.early[*start..*end]);
                (*start, *end) = (at, waiting.len());
            }
        }
        self.early = waiting;
    }

    /// Requests without a reply yet.
    pub(super) fn open_count(&self) -> usize {
        self.slots.len()
    }

    /// Bytes of those requests.
    pub(super) fn open_bytes(&self) -> usize {
        self.open_bytes
    }

    /// Bytes of memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.out.capacity() + self.early.capacity() + size_of::<Slot>() * self.slots.capacity()
    }

    /// Bytes of replies: what can be sent and what waits for its turn.
    pub(super) fn bytes(&self) -> usize {
        self.out.len() + self.early.len()
    }

    /// Whether there is something to send.
    pub(super) fn has_output(&self) -> bool {
        !self.out.is_empty()
    }

    /// Bytes that can be sent.
    pub(super) fn output_bytes(&self) -> usize {
        self.out.len()
    }

    /// Takes what can be sent and leaves `spare`, an empty buffer, in its place.
    pub(super) fn take_output(&mut self, spare: Vec<u8>) -> Vec<u8> {
        debug_assert!(spare.is_empty(), "the spare buffer becomes the output");
        std::mem::replace(&mut self.out, spare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Timing = Timing { command: Some(CommandId::Get), since: Instant::from_nanos(7) };

    fn write(text: &str) -> impl FnOnce(&mut Vec<u8>) {
        move |out| out.extend_from_slice(text.as_bytes())
    }

    #[test]
    fn replies_leave_in_the_order_of_the_requests() {
        let mut queue = ReplyQueue::default();
        queue.write_next(write("0"));
        let (one, two, three) = (queue.open(5, None, GET), queue.open(6, None, GET), queue.open(7, None, GET));
        assert!(queue.fulfil(three, write("3")).is_some());
        queue.write_next(write("4"));
        assert!(queue.fulfil(two, write("2")).is_some());
        assert_eq!(queue.take_output(Vec::new()), b"0");
        assert_eq!((queue.open_count(), queue.open_bytes()), (4, 5));
        assert!(queue.fulfil(one, write("1")).is_some());
        assert_eq!(queue.take_output(Vec::new()), b"1234");
        assert_eq!((queue.open_count(), queue.bytes()), (0, 0));
        queue.write_next(write("5"));
        assert_eq!(queue.take_output(Vec::new()), b"5");
    }

    #[test]
    fn replies_that_have_moved_up_are_not_held_for_those_that_wait() {
        let mut queue = ReplyQueue::default();
        let long = |byte: u8| move |out: &mut Vec<u8>| out.extend_from_slice(&[byte; 100_000]);
        let mut awaited = queue.open(0, None, GET);
        let behind_it = queue.open(0, None, GET);
        queue.fulfil(behind_it, long(0));
        // Whenever one moves up, there is another that waits.
        for round in 1..50 {
            let (next, behind_that) = (queue.open(0, None, GET), queue.open(0, None, GET));
            queue.fulfil(behind_that, long(round));
            queue.fulfil(awaited, write("0"));
            awaited = next;
            let sent = queue.take_output(Vec::new());
            assert!(sent.len() == 100_001 && sent.ends_with(&[round - 1; 100_000]), "round {round}");
            assert!(queue.bytes() <= 200_000, "{} bytes are held in round {round}", queue.bytes());
        }
    }

    #[test]
    fn a_second_answer_to_one_request_is_dropped() {
        let mut queue = ReplyQueue::default();
        let (one, two) = (queue.open(0, None, GET), queue.open(0, None, GET));
        assert!(queue.fulfil(two, write("2")).is_some());
        assert!(queue.fulfil(two, write("again")).is_none());
        assert!(queue.fulfil(one, write("1")).is_some());
        assert!(queue.fulfil(one, write("again")).is_none());
        assert!(queue.fulfil(99, write("never asked")).is_none());
        assert_eq!(queue.take_output(Vec::new()), b"12");
    }

    #[test]
    fn a_request_that_was_not_taken_in_leaves_no_place() {
        let mut queue = ReplyQueue::default();
        let one = queue.open(10, None, GET);
        queue.open(20, None, GET);
        queue.cancel_last();
        assert_eq!((queue.open_count(), queue.open_bytes()), (1, 10));
        let three = queue.open(30, None, GET);
        assert_eq!(three, one + 1);
        assert!(queue.fulfil(three, write("3")).is_some() && queue.fulfil(one, write("1")).is_some());
        assert_eq!(queue.take_output(Vec::new()), b"13");
        assert_eq!(queue.open_bytes(), 0);
    }

    #[test]
    fn replies_that_came_before_their_turn_are_known_by_their_routes() {
        let mut queue = ReplyQueue::default();
        let seqs: Vec<u64> = [3, 4, 3, 4, 3].into_iter().map(|route| queue.open(0, Some(route), GET)).collect();
        queue.fulfil(seqs[2], write("2"));
        queue.fulfil(seqs[3], write("3"));
        assert_eq!([3, 4, 5].map(|route| queue.last_early_by(route)), [Some(seqs[2]), Some(seqs[3]), None]);
        queue.fulfil(seqs[0], write("0"));
        queue.fulfil(seqs[1], write("1"));
        assert_eq!(
            (queue.last_early_by(3), queue.open_count()),
            (None, 1),
            "what has left came before all that is open"
        );
        assert_eq!(queue.last_early_by(usize::from(NO_ROUTE)), None);
    }

    #[test]
    fn a_reply_tells_what_its_request_is_timed_as_unless_that_is_refused() {
        let mut queue = ReplyQueue::default();
        let (one, two) = (queue.open(0, None, GET), queue.open(0, None, GET));
        queue.leave_untimed();
        assert_eq!(queue.timing(one), Some(GET));
        assert_eq!(queue.fulfil(two, write("2")), Some(Timing { command: None, ..GET }));
        assert_eq!((queue.timing(two), queue.fulfil(one, write("1"))), (None, Some(GET)));
        assert_eq!((queue.timing(one), size_of::<Slot>()), (None, 24), "a place takes no more memory for it");
    }
}
