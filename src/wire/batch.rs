//! A batch of commands: the payload of a log entry.
//!
//! The archive is flat: all argument bytes back to back, then one end offset per argument, then one small
//! record per command. So building it copies each argument once, straight from the receive buffer into
//! the bytes that are proposed, sent, logged and applied; and validating it costs a few range checks, however
//! many commands it holds.
//!
//! ```text
//! argument bytes | u32 ends[arguments] | (u16 id, u16 slot, u32 arguments)[commands] | root
//! ```

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use rkyv::rancor::{Failure, Fallible, Strategy};
use rkyv::ser::allocator::ArenaHandle;
use rkyv::ser::{Allocator, Writer};
use rkyv::util::with_arena;
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::{Archive, Portable, Serialize, bytecheck};
use thiserror::Error;

/// One command of a batch as archived. Its arguments are the next `arguments_count` of the batch; the
/// command's name is not among them.
#[derive(Archive, Serialize, Clone, Copy, Debug)]
#[rkyv(derive(Debug, Clone, Copy))]
pub struct CommandHead {
    /// Number of the command in the command table.
    pub id: u16,
    /// Slot of its keys; 0 for a command without keys.
    pub slot: u16,
    /// How many arguments follow the name.
    pub arguments_count: u32,
}

/// The archived root. Its fields stand in the order of what they point to, as the validator demands: each part of
/// an archive lies behind the one before.
#[derive(Portable, bytecheck::CheckBytes)]
#[bytecheck(crate = bytecheck)]
#[repr(C)]
pub struct ArchivedBatch {
    arguments: ArchivedVec<u8>,
    ends: ArchivedVec<rkyv::primitive::ArchivedU32>,
    commands: ArchivedVec<ArchivedCommandHead>,
    time_ms: rkyv::primitive::ArchivedU64,
}

/// Why bytes are not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The archive does not validate.
    #[error("the bytes are not an archived batch of commands")]
    Archive,
    /// The parts do not fit together.
    #[error("the arguments of an archived batch do not add up")]
    Arguments,
}

/// A builder that is empty keeps so much memory for arguments.
const KEPT_BYTES_MAX: usize = 4 << 10;
/// A payload may hold memory for this part more than it needs: allocators round up by as much.
const SPARE_PART: usize = 16;

/// Builds the payload of one entry, command by command.
#[derive(Default)]
pub struct BatchBuilder {
    // The bytes of all arguments.
    payload: Vec<u8>,
    ends: Vec<u32>,
    commands: Vec<CommandHead>,
    // Memory that the last batch needed, in bytes.
    last_bytes: usize,
}

impl BatchBuilder {
    /// Adds a command with its arguments (the name left out).
    pub fn push<'a>(&mut self, id: u16, slot: u16, arguments: impl Iterator<Item = &'a [u8]>) {
        if self.commands.is_empty() {
            self.begin();
        }
        let before = self.ends.len();
        for argument in arguments {
            self.payload.extend_from_slice(argument);
            self.ends.push(self.payload.len() as u32);
        }
        let arguments_count = (self.ends.len() - before) as u32;
        self.commands.push(CommandHead { id, slot, arguments_count });
    }

    /// The first command comes: a batch needs about as much memory as the one before it, as a rule.
    #[inline]
    fn begin(&mut self) {
        if self.last_bytes > KEPT_BYTES_MAX && self.payload.capacity() < self.last_bytes {
            self.payload = Vec::with_capacity(self.last_bytes);
        }
    }

    /// Takes out the command that was added last, if there is one. `see` gets all argument bytes, and the range of each of the
    /// command's own among them, as an iterator of `(start, end)`.
    pub fn pop<T>(
        &mut self,
        see: impl FnOnce(BatchCommand, &[u8], &mut dyn Iterator<Item = (u32, u32)>) -> T,
    ) -> Option<T> {
        let head = self.commands.pop()?;
        let (before, own) = self.ends.split_at(self.ends.len() - head.arguments_count as usize);
        let (first, start) = (before.len(), before.last().copied().unwrap_or(0));
        let mut from = start;
        let mut ranges = own.iter().map(|end| (core::mem::replace(&mut from, *end), *end));
        let seen = see(BatchCommand { id: head.id, slot: head.slot }, &self.payload, &mut ranges);
        self.ends.truncate(first);
        self.payload.truncate(start as usize);
        if self.commands.is_empty() {
            self.payload.shrink_to(KEPT_BYTES_MAX);
        }
        Some(seen)
    }

    /// How many commands were added.
    pub fn commands_count(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is no command yet.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// About how long the payload will be, in bytes.
    pub fn bytes(&self) -> usize {
        self.payload.len() + 4 * self.ends.len() + size_of::<ArchivedCommandHead>() * self.commands.len()
    }

    /// Archives the batch and empties the builder.
    ///
    /// `time_ms` is the leader's clock, in milliseconds since 1970.
    pub fn finish(&mut self, time_ms: u64) -> Bytes {
        let needed = self.bytes() + size_of::<ArchivedBatch>();
        self.last_bytes = needed;
        let payload = self.take_payload(needed);
        let source = Source { arguments_count: payload.len(), builder: self, time_ms };
        let payload = archive_behind(&source, payload);
        self.ends.clear();
        self.commands.clear();
        Bytes::from(payload)
    }

    /// The bytes of all arguments, in memory for this much. Entries are kept for long, and what has grown by doubling would hold up to twice
    /// of what it needs: that is copied.
    fn take_payload(&mut self, needed: usize) -> Vec<u8> {
        let capacity = self.payload.capacity();
        if capacity >= needed && capacity - needed <= needed / SPARE_PART {
            return core::mem::take(&mut self.payload);
        }
        let mut payload = Vec::with_capacity(needed);
        payload.extend_from_slice(&self.payload);
        self.payload.clear();
        self.payload.shrink_to(KEPT_BYTES_MAX);
        payload
    }
}

/// Archives `value` behind what `bytes` already holds. Offsets within an archive are relative, so what stands
/// in front does not disturb it.
pub(crate) fn archive_behind<T>(value: &T, bytes: Vec<u8>) -> Vec<u8>
where
    T: for<'a> Serialize<Strategy<rkyv::ser::Serializer<Vec<u8>, ArenaHandle<'a>, ()>, Failure>>,
{
    with_arena(|arena| {
        let mut serializer = rkyv::ser::Serializer::new(bytes, arena.acquire(), ());
        rkyv::api::serialize_using::<_, Failure>(value, &mut serializer).expect("writing to memory cannot fail");
        serializer.into_writer()
    })
}

/// What [`BatchBuilder::finish`] archives: the argument bytes already stand at the start of the output.
struct Source<'a> {
    builder: &'a BatchBuilder,
    arguments_count: usize,
    time_ms: u64,
}

struct SourceResolver {
    commands: VecResolver,
    ends: VecResolver,
}

impl Archive for Source<'_> {
    type Archived = ArchivedBatch;
    type Resolver = SourceResolver;

    fn resolve(&self, resolver: SourceResolver, out: rkyv::Place<ArchivedBatch>) {
        rkyv::munge::munge!(let ArchivedBatch { time_ms, commands, ends, arguments } = out);
        self.time_ms.resolve((), time_ms);
        ArchivedVec::resolve_from_len(self.builder.commands.len(), resolver.commands, commands);
        ArchivedVec::resolve_from_len(self.builder.ends.len(), resolver.ends, ends);
        ArchivedVec::resolve_from_len(self.arguments_count, VecResolver::from_pos(0), arguments);
    }
}

impl<S: Fallible + Allocator + Writer + ?Sized> Serialize<S> for Source<'_> {
    fn serialize(&self, serializer: &mut S) -> Result<SourceResolver, S::Error> {
        let ends = ArchivedVec::serialize_from_slice(&self.builder.ends, serializer)?;
        let commands = ArchivedVec::serialize_from_slice(&self.builder.commands, serializer)?;
        Ok(SourceResolver { commands, ends })
    }
}

/// A validated batch, read in place.
#[derive(Clone, Copy)]
pub struct Batch<'a> {
    root: &'a ArchivedBatch,
}

/// One command of a [`Batch`].
#[derive(Clone, Copy, Debug)]
pub struct BatchCommand {
    /// Number in the command table.
    pub id: u16,
    /// Slot of its keys.
    pub slot: u16,
}

impl<'a> Batch<'a> {
    /// Validates the bytes of a payload. They may lie at any address.
    pub fn access(payload: &'a [u8]) -> Result<Batch<'a>, BatchError> {
        let root = rkyv::access::<ArchivedBatch, Failure>(payload).map_err(|_| BatchError::Archive)?;
        Ok(Batch { root })
    }

    /// The leader's clock when the batch was made, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.root.time_ms.to_native()
    }

    /// How many commands there are.
    pub fn commands_count(&self) -> usize {
        self.root.commands.len()
    }

    /// All argument bytes; the ranges given by [`Batch::for_each`] point into them.
    pub fn arguments(&self) -> &'a [u8] {
        self.root.arguments.as_slice()
    }

    /// Calls `visit` for each command, in order, with the range of each of its arguments within
    /// [`Batch::arguments`], as an iterator of `(start, end)`.
    pub fn for_each(
        &self,
        mut visit: impl FnMut(BatchCommand, &mut dyn Iterator<Item = (u32, u32)>),
    ) -> Result<(), BatchError> {
        self.for_each_from(0, |command, arguments| {
            visit(command, arguments);
            ControlFlow::Continue(())
        })
    }

    /// The same from the command with this number on, counted from 0, until `visit` breaks off.
    #[inline]
    pub fn for_each_from(
        &self,
        first: usize,
        mut visit: impl FnMut(BatchCommand, &mut dyn Iterator<Item = (u32, u32)>) -> ControlFlow<()>,
    ) -> Result<(), BatchError> {
        let mut ends = self.root.ends.as_slice();
        let mut start = 0u32;
        let bytes_count = self.root.arguments.len() as u32;
        for (number, head) in self.root.commands.iter().enumerate() {
            let count = head.arguments_count.to_native() as usize;
            let (own, rest) = ends.split_at_checked(count).ok_or(BatchError::Arguments)?;
            ends = rest;
            let mut last = start;
            for end in own {
                let end = end.to_native();
                if end < last || end > bytes_count {
                    return Err(BatchError::Arguments);
                }
                last = end;
            }
            let mut ranges = own.iter().map(|end| {
                let range = (start, end.to_native());
                start = range.1;
                range
            });
            let command = BatchCommand { id: head.id.to_native(), slot: head.slot.to_native() };
            if number >= first && visit(command, &mut ranges).is_break() {
                return Ok(());
            }
            start = last;
        }
        if ends.is_empty() { Ok(()) } else { Err(BatchError::Arguments) }
    }

    /// The slot and the first argument of each command, in order: for whoever wants to know ahead which keys are needed. Empty where
    /// there is none, and where the parts do not fit together.
    pub fn first_arguments(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let (ends, arguments) = (self.root.ends.as_slice(), self.root.arguments.as_slice());
        let end_of = |idx: usize| ends.get(idx).map_or(0, |end| end.to_native() as usize);
        let mut first = 0usize;
        self.root.commands.iter().map(move |head| {
            let count = head.arguments_count.to_native() as usize;
            let start = first.checked_sub(1).map_or(0, end_of);
            let argument = if count > 0 { arguments.get(start..end_of(first)) } else { None };
            first = first.saturating_add(count);
            (head.slot.to_native(), argument.unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    /// Number, slot and arguments of a command.
    type Seen = (u16, u16, Vec<Vec<u8>>);

    fn commands(batch: &Batch<'_>) -> Result<Vec<Seen>, BatchError> {
        let mut seen = Vec::new();
        batch.for_each(|command, ranges| {
            let arguments =
                ranges.map(|(start, end)| batch.arguments()[start as usize..end as usize].to_vec()).collect();
            seen.push((command.id, command.slot, arguments));
        })?;
        Ok(seen)
    }

    #[test]
    fn what_went_in_comes_out_at_any_address() {
        let mut builder = BatchBuilder::default();
        builder.push(2, 16_383, [&b"key"[..], b"", b"value"].into_iter());
        builder.push(7, 0, [].into_iter());
        builder.push(3, 5, [&b"k"[..]].into_iter());
        let payload = builder.finish(1_234);
        assert!(builder.is_empty());
        for shift in 0..8 {
            let mut moved = vec![0xEE; shift];
            moved.extend_from_slice(&payload);
            let batch = Batch::access(&moved[shift..]).unwrap();
            assert_eq!(batch.time_ms(), 1_234);
            let expected = vec![
                (2, 16_383, vec![b"key".to_vec(), vec![], b"value".to_vec()]),
                (7, 0, vec![]),
                (3, 5, vec![b"k".to_vec()]),
            ];
            assert_eq!(commands(&batch).unwrap(), expected);
            let first: Vec<_> = batch.first_arguments().collect();
            assert_eq!(first, [(16_383, &b"key"[..]), (0, b""), (5, b"k")]);
        }
    }

    #[test]
    fn commands_leave_from_the_last_to_the_first_and_others_follow() {
        let mut builder = BatchBuilder::default();
        let taken = |builder: &mut BatchBuilder| {
            builder.pop(|command, bytes, ranges| {
                let own = ranges.map(|(start, end)| bytes[start as usize..end as usize].to_vec());
                (command.id, command.slot, own.collect::<Vec<_>>())
            })
        };
        assert_eq!(taken(&mut builder), None);
        builder.push(2, 16_383, [&b"key"[..], b"", b"value"].into_iter());
        let one_bytes = builder.bytes();
        builder.push(7, 0, [].into_iter());
        builder.push(3, 5, [&b"k"[..]].into_iter());
        assert_eq!(taken(&mut builder), Some((3, 5, vec![b"k".to_vec()])));
        assert_eq!(taken(&mut builder), Some((7, 0, vec![])));
        assert_eq!(builder.bytes(), one_bytes);
        builder.push(9, 1, [&b"x"[..], b"y"].into_iter());
        let first = (2, 16_383, vec![b"key".to_vec(), vec![], b"value".to_vec()]);
        let payload = builder.finish(1);
        let archived = commands(&Batch::access(&payload).unwrap()).unwrap();
        assert_eq!(archived, [first.clone(), (9, 1, vec![b"x".to_vec(), b"y".to_vec()])]);
        builder.push(2, 16_383, [&b"key"[..], b"", b"value"].into_iter());
        assert_eq!(taken(&mut builder), Some(first));
        assert_eq!((builder.bytes(), taken(&mut builder)), (0, None));
    }

    #[test]
    fn no_truncation_and_no_flipped_bit_reads_out_of_bounds() {
        let mut builder = BatchBuilder::default();
        builder.push(2, 1, [&b"key"[..], b"value"].into_iter());
        builder.push(2, 2, [&b"other"[..], b"another"].into_iter());
        let payload = builder.finish(1);
        for len in 0..payload.len() {
            let _ = Batch::access(&payload[..len]).map(|batch| (commands(&batch), batch.first_arguments().count()));
        }
        for bit in 0..payload.len() * 8 {
            let mut broken = payload.to_vec();
            broken[bit / 8] ^= 1 << (bit % 8);
            let _ = Batch::access(&broken).map(|batch| (commands(&batch), batch.first_arguments().count()));
        }
    }

    /// Payloads had grown by doubling, twice: a cache of entries held up to four times of what it counted.
    #[test]
    fn a_payload_takes_no_more_memory_than_it_needs() {
        let mut builder = BatchBuilder::default();
        for (count, bytes) in [
            (1, 10),
            (20, 100),
            (1_000, 300),
            (1_000, 300),
            (999, 300),
            (3, 100_000),
            (1, 1),
            (16, 256),
            (16, 256),
            (17, 256),
            (8, 256),
        ] {
            let value = vec![b'v'; bytes];
            (0..count).for_each(|_| builder.push(1, 2, [&value[..]].into_iter()));
            let payload = builder.finish(3).try_into_mut().unwrap();
            let len = payload.len();
            assert!(payload.capacity() <= len + len / SPARE_PART + 16, "{len} bytes in {}", payload.capacity());
            assert!(builder.payload.capacity() <= KEPT_BYTES_MAX);
        }
    }

    #[test]
    fn a_batch_as_long_as_the_one_before_is_not_copied() {
        let (mut builder, value) = (BatchBuilder::default(), vec![b'v'; 256]);
        let mut build = |count: u16| {
            (0..count).for_each(|slot| builder.push(1, slot, [&b"key"[..], &value].into_iter()));
            let at = builder.payload.as_ptr();
            let payload = builder.finish(3);
            assert_eq!(Batch::access(&payload).unwrap().commands_count(), usize::from(count));
            payload.as_ptr() == at
        };
        assert_eq!([20, 20, 19, 10, 10, 30, 30].map(&mut build), [false, true, true, false, false, false, true]);
    }
}
