//! The virtual time: what will happen, in order.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Something that will happen. Numbers name cores, tasks, operations and streams; generations tell what is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A core's turn loop goes on.
    Turn {
        /// The core.
        core: u32,
        /// Its process.
        epoch: u32,
    },
    /// The time up to which a turn loop wanted to wait may have come.
    ParkTimer {
        /// The core.
        core: u32,
        /// Its process.
        epoch: u32,
    },
    /// A task has slept long enough.
    Wake {
        /// The task.
        task: u32,
        /// What it is the number of.
        generation: u32,
    },
    /// A disk operation ends.
    DiskEnd {
        /// The operation.
        op: u32,
        /// What it is the number of.
        generation: u32,
    },
    /// The next bytes of a stream arrive.
    Deliver {
        /// The stream.
        stream: u32,
        /// What it is the number of.
        generation: u32,
        /// Which side has sent them.
        from: u8,
    },
    /// A connection attempt arrives.
    Syn {
        /// The stream.
        stream: u32,
        /// What it is the number of.
        generation: u32,
    },
    /// The answer to a connection attempt arrives.
    SynAck {
        /// The stream.
        stream: u32,
        /// What it is the number of.
        generation: u32,
        /// Whether it is a refusal.
        is_refused: bool,
    },
    /// A side hears that the other one is gone.
    Reset {
        /// The stream.
        stream: u32,
        /// What it is the number of.
        generation: u32,
        /// The side that hears it.
        side: u8,
    },
    /// A message between cores of one node arrives.
    Mesh {
        /// The receiving core.
        core: u32,
        /// Its process.
        epoch: u32,
        /// The sending core, within its node.
        from: u16,
    },
    /// A client wanted to be woken.
    ClientTimer {
        /// What it gave.
        token: u64,
    },
    /// The next fault of the schedule is due.
    Fault {
        /// Which one.
        idx: u32,
    },
    /// A process that stands still goes on.
    Resume {
        /// The node.
        node: u32,
        /// Its process.
        epoch: u32,
    },
    /// A process dies.
    Kill {
        /// The node.
        node: u32,
        /// Its process.
        epoch: u32,
    },
    /// A node is to be started.
    Boot {
        /// Which one.
        node: u32,
        /// How often it was started before; a later start makes this one void.
        epoch: u32,
    },
}

struct Entry {
    at: u64,
    seq: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        // The heap gives the greatest first: that is to be the earliest, and of those the one pushed first.
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

/// What will happen, and what time it is. Times are true nanoseconds since the beginning of the run.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Entry>,
    seq: u64,
    now: u64,
}

impl Queue {
    /// The true time.
    pub fn now(&self) -> u64 {
        self.now
    }

    /// Lets something happen at a time; now, if that has passed.
    pub fn push(&mut self, at: u64, event: Event) {
        self.seq += 1;
        self.heap.push(Entry { at: at.max(self.now), seq: self.seq, event });
    }

    /// The next event that happens at `end` at the latest; the time moves on to it.
    pub fn pop(&mut self, end: u64) -> Option<Event> {
        if self.heap.peek()?.at > end {
            return None;
        }
        let entry = self.heap.pop()?;
        self.now = entry.at;
        Some(entry.event)
    }

    /// Lets the time pass in which nothing happens.
    pub fn pass(&mut self, end: u64) {
        self.now = self.now.max(end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_of_time_and_then_of_their_pushing() {
        let mut queue = Queue::default();
        for (at, idx) in [(5, 0), (3, 1), (5, 2), (1, 3)] {
            queue.push(at, Event::Fault { idx });
        }
        let mut seen = Vec::new();
        while let Some(Event::Fault { idx }) = queue.pop(4) {
            seen.push((queue.now(), idx));
        }
        queue.pass(4);
        queue.push(2, Event::Fault { idx: 4 });
        while let Some(Event::Fault { idx }) = queue.pop(u64::MAX) {
            seen.push((queue.now(), idx));
        }
        assert_eq!(seen, [(1, 3), (3, 1), (4, 4), (5, 0), (5, 2)]);
    }
}
