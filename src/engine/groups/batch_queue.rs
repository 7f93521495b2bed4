//! The commands that a group has taken in and not proposed yet, and those who wait for them.

use std::collections::VecDeque;

use bytes::Bytes;
use resp::{ArgRange, Args, Command, CommandId};
use types::{Instant, Slot};
use wire::BatchBuilder;

use crate::origin::Origin;
use crate::request::{ArgArena, ArgSpan, OwnedArgs, OwnedRequest, Request};

/// Someone who waits for a batch to be applied.
#[derive(Clone, Copy)]
pub(super) enum Waiter {
    /// For the outcome of the batch's next command. Its reply may have this many bytes, beyond a short one.
    Write { origin: Origin, reply_bytes: u32 },
    /// For a read to be carried out right behind the command before it. Its arguments lie in the batch's arena. Such a
    /// read needs no lease: the batch was proposed after the read arrived, so if it is committed in its term, no later
    /// leader had acknowledged anything by then.
    Read { origin: Origin, command: &'static Command, slot: Slot, span: ArgSpan },
}

/// When a batch came to what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct BatchTimes {
    /// Its first command came; `None` for a batch that nobody waits for.
    pub(super) begun_at: Option<Instant>,
    pub(super) proposed_at: Instant,
    /// Its entry became durable here, if that was before it was committed.
    pub(super) durable_at: Option<Instant>,
    /// It was handed out to be applied: a majority has it.
    pub(super) committed_at: Instant,
}

/// The waiters of one batch, in the order of its commands.
#[derive(Default)]
pub(super) struct Waiters {
    pub(super) list: Vec<Waiter>,
    /// The arguments of the reads among them.
    pub(super) args: ArgArena,
    pub(super) times: BatchTimes,
}

impl Waiters {
    /// A command comes into the batch; the first one begins it.
    #[inline]
    fn begin(&mut self, now: Instant) {
        if self.list.is_empty() {
            self.times.begun_at = Some(now);
        }
    }

    /// How many of them are reads.
    pub(super) fn reads_count(&self) -> usize {
        if self.args.bytes() == 0 {
            return 0;
        }
        self.list.iter().filter(|waiter| matches!(waiter, Waiter::Read { .. })).count()
    }

    /// Bytes of what waits, in memory.
    pub(super) fn bytes(&self) -> usize {
        size_of::<Waiter>() * self.list.len() + self.args.bytes()
    }

    /// Bytes that it takes empty, too.
    fn capacity_bytes(&self) -> usize {
        size_of::<Waiter>() * self.list.capacity() + self.args.capacity_bytes()
    }
}

/// Batches in the order in which they are to be proposed: those that are full and wait for room, and the one that
/// commands are added to.
///
/// A batch is one entry of the log, so none may grow without end while nothing can be proposed: it is full once it
/// has reached its limit, and exceeds it by one command at most. An entry is applied in one go, so its commands are
/// limited too, with the reads among them.
pub(super) struct BatchQueue {
    bytes_max: usize,
    commands_max: usize,
    full: VecDeque<(BatchBuilder, Waiters)>,
    full_bytes: usize,
    /// Not empty if there are full ones.
    last: BatchBuilder,
    last_waiters: Waiters,
    /// Emptied waiter lists, to be used again.
    spare_waiters: Vec<Waiters>,
}

/// A batch as it is proposed.
pub(super) struct SealedBatch {
    pub(super) payload: Bytes,
    pub(super) commands_count: usize,
    pub(super) waiters: Waiters,
}

impl SealedBatch {
    /// A batch that holds nothing but the time.
    pub(super) fn empty(time_ms: u64) -> SealedBatch {
        let payload = BatchBuilder::default().finish(time_ms);
        SealedBatch { payload, commands_count: 0, waiters: Waiters::default() }
    }
}

/// A command that was taken in and not proposed.
pub(super) enum Unproposed {
    Read(OwnedRequest),
    /// Its reply might have had this many bytes, beyond a short one.
    Write(OwnedRequest, u32),
}

impl BatchQueue {
    /// No command yet. A batch of at least `bytes_max` bytes, or of `commands_max` commands, takes no more.
    pub(super) fn new(bytes_max: usize, commands_max: usize) -> BatchQueue {
        BatchQueue {
            bytes_max,
            commands_max,
            full: VecDeque::new(),
            full_bytes: 0,
            last: BatchBuilder::default(),
            last_waiters: Waiters::default(),
            spare_waiters: Vec::new(),
        }
    }

    /// Adds a write.
    pub(super) fn push_write(&mut self, now: Instant, request: Request<'_>, reply_bytes: u32) {
        if self.last.bytes() >= self.bytes_max || self.last_waiters.list.len() >= self.commands_max {
            self.begin_next();
        }
        let Request { origin, command, slot, args } = request;
        self.last.push(command.id.as_u16(), slot.number(), args.iter_from(1));
        self.last_waiters.begin(now);
        self.last_waiters.list.push(Waiter::Write { origin, reply_bytes });
    }

    /// Adds a read behind the writes that are there, or before the one that comes next.
    pub(super) fn push_read(&mut self, now: Instant, request: Request<'_>) {
        if self.last_waiters.list.len() >= self.commands_max {
            self.begin_next();
        }
        let Request { origin, command, slot, args } = request;
        self.last_waiters.begin(now);
        let span = self.last_waiters.args.push(args);
        self.last_waiters.list.push(Waiter::Read { origin, command, slot, span });
    }

    fn begin_next(&mut self) {
        let waiters = self.spare_waiters.pop().unwrap_or_default();
        let full = (std::mem::take(&mut self.last), std::mem::replace(&mut self.last_waiters, waiters));
        self.full_bytes += full.0.bytes() + full.1.bytes();
        self.full.push_back(full);
    }

    /// Takes out the oldest batch. `time_ms` is the leader's clock, in milliseconds since 1970.
    pub(super) fn take_oldest(&mut self, time_ms: u64) -> Option<SealedBatch> {
        if let Some((mut batch, waiters)) = self.full.pop_front() {
            self.full_bytes -= batch.bytes() + waiters.bytes();
            return Some(SealedBatch {
                commands_count: batch.commands_count(),
                payload: batch.finish(time_ms),
                waiters,
            });
        }
        // There may be none but reads.
        if self.is_empty() {
            return None;
        }
        let commands_count = self.last.commands_count();
        let waiters = std::mem::replace(&mut self.last_waiters, self.spare_waiters.pop().unwrap_or_default());
        Some(SealedBatch { commands_count, payload: self.last.finish(time_ms), waiters })
    }

    /// Takes out the command that was added last: one that is to go another way, before it was proposed. Until the queue is
    /// empty nothing may be added to it. `ranges` is memory for its arguments.
    pub(super) fn pop_last(&mut self, ranges: &mut Vec<ArgRange>) -> Option<Unproposed> {
        let waiters = &mut self.last_waiters;
        let taken = match waiters.list.pop()? {
            Waiter::Read { origin, command, slot, span } => {
                Unproposed::Read(OwnedRequest { origin, command, slot, args: waiters.args.pop(span) })
            }
            Waiter::Write { origin, reply_bytes } => {
                let request = self.last.pop(|command, arguments, of_command| {
                    ranges.clear();
                    // The name is not kept; nothing looks at it.
                    ranges.push(ArgRange { start: 0, end: 0 });
                    ranges.extend(of_command.map(|(start, end)| ArgRange { start, end }));
                    let slot = Slot::new(command.slot).expect("a slot of our own batch");
                    let id = CommandId::from_u16(command.id).expect("a command of our own batch");
                    let (command, args) = (resp::table::by_id(id), OwnedArgs::of(Args::new(arguments, ranges)));
                    OwnedRequest { origin, command, slot, args }
                });
                Unproposed::Write(request.expect("somebody waits for each write of a batch"), reply_bytes)
            }
        };
        if self.last_waiters.list.is_empty()
            && let Some((batch, waiters)) = self.full.pop_back()
        {
            self.full_bytes -= batch.bytes() + waiters.bytes();
            self.last = batch;
            let emptied = std::mem::replace(&mut self.last_waiters, waiters);
            self.recycle(emptied);
        }
        Some(taken)
    }

    /// Gives a list back whose waiters were all answered.
    pub(super) fn recycle(&mut self, mut waiters: Waiters) {
        const SPARE_COUNT_MAX: usize = 8;
        const SPARE_BYTES_MAX: usize = 256 << 10;
        if self.spare_waiters.len() < SPARE_COUNT_MAX && waiters.capacity_bytes() < SPARE_BYTES_MAX {
            waiters.list.clear();
            waiters.args.clear();
            waiters.times = BatchTimes::default();
            self.spare_waiters.push(waiters);
        }
    }

    /// Whether there is no command.
    pub(super) fn is_empty(&self) -> bool {
        self.last_waiters.list.is_empty()
    }

    /// Bytes of all batches and of who waits for them.
    pub(super) fn bytes(&self) -> usize {
        self.full_bytes + self.last.bytes() + self.last_waiters.bytes()
    }

    /// Bytes of all batches and of who waits for them, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        let full = self.full.iter().map(|(batch, waiters)| batch.bytes() + waiters.bytes());
        full.sum::<usize>() + self.last.bytes() + self.last_waiters.bytes()
    }

    /// Length of the batch that is to be proposed next, in bytes.
    pub(super) fn oldest_bytes(&self) -> usize {
        self.full.front().map_or(self.last.bytes(), |(batch, _)| batch.bytes())
    }

    /// Whether the batch that commands are added to is as long as it may be.
    pub(super) fn is_last_long(&self) -> bool {
        self.last.bytes() >= self.bytes_max
    }
}

#[cfg(test)]
mod tests {
    use host::ConnId;
    use wire::Batch;

    use super::*;

    const BATCH_BYTES_MAX: usize = 100;

    fn origin(number: u64) -> Origin {
        Origin::SubRequest { fan_out: number, conn: ConnId { idx: 0, generation: 0 } }
    }

    fn push(queue: &mut BatchQueue, number: u64, value: &[u8]) {
        let bytes = [b"key", value].concat();
        let end = bytes.len() as u32;
        let ranges = [(0, 0), (0, 3), (3, end)].map(|(start, end)| ArgRange { start, end });
        let command = resp::lookup(b"set").unwrap();
        let args = Args::new(&bytes, &ranges);
        let request = Request { origin: origin(number), command, slot: Slot::default(), args };
        queue.push_write(Instant::from_nanos(number), request, 0);
    }

    fn push_read(queue: &mut BatchQueue, number: u64) {
        let command = resp::lookup(b"get").unwrap();
        let ranges = [(0, 0), (0, 3)].map(|(start, end)| ArgRange { start, end });
        let args = Args::new(b"key", &ranges);
        let now = Instant::from_nanos(number);
        queue.push_read(now, Request { origin: origin(number), command, slot: Slot::default(), args });
    }

    /// Numbers of those who wait for a batch; reads are negative.
    fn waiters(batch_taken: &SealedBatch) -> Vec<i64> {
        let number = |origin: &Origin| match origin {
            Origin::SubRequest { fan_out, .. } => *fan_out as i64,
            _ => panic!("not of this test"),
        };
        let waiters = batch_taken.waiters.list.iter();
        waiters
            .map(|waiter| match waiter {
                Waiter::Write { origin, .. } => number(origin),
                Waiter::Read { origin, .. } => -number(origin),
            })
            .collect()
    }

    /// What cannot be proposed yet is cut into batches, each of which fits an entry, and nothing changes its place.
    #[test]
    fn no_batch_takes_more_than_one_command_beyond_its_limit() {
        let mut queue = BatchQueue::new(BATCH_BYTES_MAX, usize::MAX);
        push_read(&mut queue, 1);
        for number in 2..10 {
            push(&mut queue, number, &[b'x'; 60]);
            push_read(&mut queue, 10 * number);
        }
        push(&mut queue, 11, &[b'x'; 1_000]);
        push(&mut queue, 12, b"");
        let (mut bytes, mut batches, mut begun) = (queue.bytes(), Vec::new(), Vec::new());
        while !queue.is_empty() {
            let oldest_bytes = queue.oldest_bytes();
            let batch_taken = queue.take_oldest(7).unwrap();
            assert_eq!(queue.bytes(), bytes - oldest_bytes - batch_taken.waiters.bytes());
            assert_eq!(queue.bytes(), queue.held_bytes());
            bytes = queue.bytes();
            let batch = Batch::access(&batch_taken.payload).unwrap();
            assert_eq!((batch.commands_count(), batch.time_ms()), (batch_taken.commands_count, 7));
            assert!(oldest_bytes < BATCH_BYTES_MAX + 1_100, "{oldest_bytes}");
            batches.push(waiters(&batch_taken));
            begun.extend(batch_taken.waiters.times.begun_at.map(Instant::as_nanos));
        }
        assert_eq!(begun, [1, 4, 6, 8, 11, 12], "a batch is as old as its first command");
        let expected: [&[i64]; 6] =
            [&[-1, 2, -20, 3, -30], &[4, -40, 5, -50], &[6, -60, 7, -70], &[8, -80, 9, -90], &[11], &[12]];
        assert_eq!(batches, expected);
        assert!(queue.take_oldest(7).is_none() && bytes == 0);
    }

    /// What one entry holds is applied in one go.
    #[test]
    fn no_batch_has_more_commands_and_reads_than_it_may() {
        let mut queue = BatchQueue::new(1 << 20, 3);
        (1..=4).for_each(|number| push(&mut queue, number, b""));
        // More reads than a batch holds, before a write of theirs.
        (5..=12).for_each(|number| push_read(&mut queue, number));
        push(&mut queue, 13, b"");
        let (mut batches, mut counts) = (Vec::new(), Vec::new());
        while let Some(batch_taken) = queue.take_oldest(7) {
            assert_eq!(Batch::access(&batch_taken.payload).unwrap().commands_count(), batch_taken.commands_count);
            counts.push(batch_taken.commands_count);
            batches.push(waiters(&batch_taken));
        }
        let expected: [&[i64]; 5] = [&[1, 2, 3], &[4, -5, -6], &[-7, -8, -9], &[-10, -11, -12], &[13]];
        assert_eq!((batches, counts), (expected.map(<[i64]>::to_vec).to_vec(), vec![3, 1, 0, 0, 1]));
        assert_eq!((queue.is_empty(), queue.bytes()), (true, 0));
        (1..=8).for_each(|number| push_read(&mut queue, number));
        let mut ranges = Vec::new();
        let popped = std::iter::from_fn(|| queue.pop_last(&mut ranges)).count();
        assert_eq!((popped, queue.is_empty(), queue.bytes()), (8, true, 0));
    }

    #[test]
    fn a_bounded_number_of_emptied_lists_is_kept_and_no_long_one() {
        let filled = |len: usize| {
            let mut waiters = Waiters::default();
            let bytes = vec![b'x'; len];
            waiters.args.push(Args::new(&bytes, &[ArgRange { start: 0, end: len as u32 }]));
            waiters.list.push(Waiter::Write { origin: origin(1), reply_bytes: 0 });
            waiters
        };
        let longest = (256 << 10) - filled(0).capacity_bytes() - 1;
        let mut queue = BatchQueue::new(BATCH_BYTES_MAX, usize::MAX);
        queue.recycle(filled(longest + 1));
        assert!(queue.spare_waiters.is_empty(), "one long batch must not hold memory for ever");
        let mut many = Waiters::default();
        many.list.resize((256 << 10) / size_of::<Waiter>() + 1, Waiter::Write { origin: origin(1), reply_bytes: 0 });
        queue.recycle(many);
        assert!(queue.spare_waiters.is_empty(), "nor one of many waiters");
        (0..20).for_each(|_| queue.recycle(filled(longest)));
        assert_eq!(queue.spare_waiters.len(), 8);
        assert!(queue.spare_waiters.iter().all(|spare| spare.list.is_empty() && spare.args.bytes() == 0));
    }
}
