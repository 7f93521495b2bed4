//! The commands that a group has taken in and not proposed yet.

use std::collections::VecDeque;

use bytes::Bytes;
use resp::{Args, Command};
use types::Slot;
use wire::BatchBuilder;

use crate::group::{Waiter, Waiters};
use crate::origin::Origin;

/// Batches in the order in which they are to be proposed: those that are full and wait for room, and the one that
/// commands are added to.
///
/// A batch is one entry of the log, so none may grow without end while nothing can be proposed: it is full once it
/// has reached its limit, and exceeds it by one command at most.
#[derive(Default)]
pub(crate) struct Forming {
    full: VecDeque<(BatchBuilder, Waiters)>,
    full_bytes: usize,
    /// Not empty if there are full ones.
    last: BatchBuilder,
    last_waiters: Waiters,
    /// Emptied waiter lists, to be used again.
    spare_waiters: Vec<Waiters>,
}

/// A batch as it is proposed.
pub(crate) struct Formed {
    pub(crate) payload: Bytes,
    pub(crate) commands_count: usize,
    pub(crate) waiters: Waiters,
}

impl Forming {
    /// Adds a write. A batch of at least `batch_bytes_max` takes no more.
    pub(crate) fn push_write(
        &mut self,
        origin: Origin,
        command: &'static Command,
        slot: Slot,
        args: Args<'_>,
        batch_bytes_max: usize,
    ) {
        if self.last.bytes() >= batch_bytes_max {
            let waiters = self.spare_waiters.pop().unwrap_or_default();
            let full = (std::mem::take(&mut self.last), std::mem::replace(&mut self.last_waiters, waiters));
            self.full_bytes += full.0.bytes();
            self.full.push_back(full);
        }
        self.last.push(command.id.as_u16(), slot.number(), args.iter_from(1));
        self.last_waiters.list.push(Waiter::Write(origin));
    }

    /// Adds a read behind the writes that are there, or before the one that comes next.
    pub(crate) fn push_read(&mut self, origin: Origin, command: &'static Command, slot: Slot, args: Args<'_>) {
        let held = self.last_waiters.held.push(args);
        self.last_waiters.list.push(Waiter::Read { origin, command, slot, held });
    }

    /// Takes out the oldest batch. `time_ms` is the leader's clock, in milliseconds since 1970.
    pub(crate) fn take_oldest(&mut self, time_ms: u64) -> Option<Formed> {
        if let Some((mut batch, waiters)) = self.full.pop_front() {
            self.full_bytes -= batch.bytes();
            return Some(Formed { commands_count: batch.commands_count(), payload: batch.finish(time_ms), waiters });
        }
        if self.last.is_empty() {
            return None;
        }
        let commands_count = self.last.commands_count();
        let waiters = std::mem::replace(&mut self.last_waiters, self.spare_waiters.pop().unwrap_or_default());
        Some(Formed { commands_count, payload: self.last.finish(time_ms), waiters })
    }

    /// Gives a list back whose waiters were all answered.
    pub(crate) fn recycle(&mut self, mut waiters: Waiters) {
        const SPARE_COUNT_MAX: usize = 8;
        const SPARE_BYTES_MAX: usize = 256 << 10;
        if self.spare_waiters.len() < SPARE_COUNT_MAX && waiters.held.bytes() < SPARE_BYTES_MAX {
            waiters.list.clear();
            waiters.held.clear();
            self.spare_waiters.push(waiters);
        }
    }

    /// Whether there is no command.
    pub(crate) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// Length of all batches, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.full_bytes + self.last.bytes()
    }

    /// Length of the batch that is to be proposed next, in bytes.
    pub(crate) fn oldest_bytes(&self) -> usize {
        self.full.front().map_or(self.last.bytes(), |(batch, _)| batch.bytes())
    }

    /// Length of the batch that commands are added to, in bytes.
    pub(crate) fn last_bytes(&self) -> usize {
        self.last.bytes()
    }
}

#[cfg(test)]
mod tests {
    use resp::ArgRange;
    use wire::Batch;

    use super::*;

    const BATCH_BYTES_MAX: usize = 100;

    fn origin(number: u64) -> Origin {
        Origin::Part { whole: number }
    }

    fn push(forming: &mut Forming, number: u64, value: &[u8]) {
        let bytes = [b"key", value].concat();
        let end = bytes.len() as u32;
        let ranges = [(0, 0), (0, 3), (3, end)].map(|(start, end)| ArgRange { start, end });
        let command = resp::lookup(b"set").unwrap();
        forming.push_write(origin(number), command, Slot::default(), Args::new(&bytes, &ranges), BATCH_BYTES_MAX);
    }

    fn push_read(forming: &mut Forming, number: u64) {
        let command = resp::lookup(b"get").unwrap();
        forming.push_read(origin(number), command, Slot::default(), Args::new(b"", &[]));
    }

    /// Numbers of those who wait for a batch; reads are negative.
    fn waiters(formed: &Formed) -> Vec<i64> {
        let number = |origin: &Origin| match origin {
            Origin::Part { whole } => *whole as i64,
            _ => panic!("not of this test"),
        };
        let waiters = formed.waiters.list.iter();
        waiters
            .map(|waiter| match waiter {
                Waiter::Write(origin) => number(origin),
                Waiter::Read { origin, .. } => -number(origin),
            })
            .collect()
    }

    /// What cannot be proposed yet is cut into batches, each of which fits an entry, and nothing changes its place.
    #[test]
    fn no_batch_takes_more_than_one_command_beyond_its_limit() {
        let mut forming = Forming::default();
        push_read(&mut forming, 1);
        for number in 2..10 {
            push(&mut forming, number, &[b'x'; 60]);
            push_read(&mut forming, 10 * number);
        }
        push(&mut forming, 11, &[b'x'; 1_000]);
        push(&mut forming, 12, b"");
        let (mut bytes, mut batches) = (forming.bytes(), Vec::new());
        while !forming.is_empty() {
            let oldest_bytes = forming.oldest_bytes();
            let formed = forming.take_oldest(7).unwrap();
            assert_eq!(forming.bytes(), bytes - oldest_bytes);
            bytes = forming.bytes();
            let batch = Batch::access(&formed.payload).unwrap();
            assert_eq!((batch.commands_count(), batch.time_ms()), (formed.commands_count, 7));
            assert!(oldest_bytes < BATCH_BYTES_MAX + 1_100, "{oldest_bytes}");
            batches.push(waiters(&formed));
        }
        let expected: [&[i64]; 6] =
            [&[-1, 2, -20, 3, -30], &[4, -40, 5, -50], &[6, -60, 7, -70], &[8, -80, 9, -90], &[11], &[12]];
        assert_eq!(batches, expected);
        assert!(forming.take_oldest(7).is_none() && bytes == 0);
    }
}
