//! A command on its way to a group, borrowed where it arrived or owned while it waits.

use resp::{ArgRange, Args, Command};
use types::Slot;

use crate::origin::Origin;

/// A command as it arrived: its arguments lie in somebody's buffer.
#[derive(Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) origin: Origin,
    pub(crate) command: &'static Command,
    /// Slot of its keys; slot 0 for a command on a whole group.
    pub(crate) slot: Slot,
    /// The arguments, the command's name first. Nobody looks at the name.
    pub(crate) args: Args<'a>,
}

/// A command that waits.
#[derive(Debug)]
pub(crate) struct OwnedRequest {
    pub(crate) origin: Origin,
    pub(crate) command: &'static Command,
    pub(crate) slot: Slot,
    pub(crate) args: OwnedArgs,
}

impl Request<'_> {
    /// Copies it, so that it can wait.
    pub(crate) fn to_owned(self) -> OwnedRequest {
        OwnedRequest { origin: self.origin, command: self.command, slot: self.slot, args: OwnedArgs::of(self.args) }
    }

    /// Bytes that it takes while it waits.
    pub(crate) fn bytes(&self) -> usize {
        self.args.iter_from(0).map(<[u8]>::len).sum::<usize>() + size_of::<ArgRange>() * self.args.len() + OVERHEAD
    }
}

/// What a command that waits takes beside its arguments, in bytes.
const OVERHEAD: usize = size_of::<OwnedRequest>();

impl OwnedRequest {
    /// The command as if it had just arrived.
    pub(crate) fn as_request(&self) -> Request<'_> {
        Request { origin: self.origin, command: self.command, slot: self.slot, args: self.args.get() }
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.args.bytes() + OVERHEAD
    }
}

/// The arguments of one command, copied.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnedArgs {
    arena: ArgArena,
}

impl OwnedArgs {
    /// Copies arguments, the name included.
    pub(crate) fn of(args: Args<'_>) -> OwnedArgs {
        let mut arena = ArgArena::default();
        arena.push(args);
        OwnedArgs { arena }
    }

    /// The arguments.
    pub(crate) fn get(&self) -> Args<'_> {
        Args::new(&self.arena.bytes, &self.arena.ranges)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.bytes()
    }
}

/// Arguments of many commands in two buffers: one allocation serves a batch.
///
/// Invariant: at most [`ArgArena::BYTES_MAX`] bytes, as ranges are of 32 bits. Whoever fills it has a far lower limit.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArgArena {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

/// The arguments of one command within an [`ArgArena`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ArgSpan {
    first: u32,
    count: u32,
}

impl ArgArena {
    /// Most bytes of arguments.
    pub(crate) const BYTES_MAX: usize = u32::MAX as usize;

    /// Copies the arguments of a command, its name included.
    pub(crate) fn push(&mut self, args: Args<'_>) -> ArgSpan {
        let first = self.ranges.len() as u32;
        for argument in args.iter_from(0) {
            let start = self.bytes.len();
            let end = start + argument.len();
            assert!(end <= ArgArena::BYTES_MAX, "arguments that wait exceed what their ranges can tell");
            self.bytes.extend_from_slice(argument);
            self.ranges.push(ArgRange { start: start as u32, end: end as u32 });
        }
        ArgSpan { first, count: self.ranges.len() as u32 - first }
    }

    /// The arguments of one of its commands.
    pub(crate) fn get(&self, span: ArgSpan) -> Args<'_> {
        let ranges = &self.ranges[span.first as usize..(span.first + span.count) as usize];
        Args::new(&self.bytes, ranges)
    }

    /// Takes out the arguments of the command that was pushed last, whose place this is.
    pub(crate) fn pop(&mut self, span: ArgSpan) -> OwnedArgs {
        let args = OwnedArgs::of(self.get(span));
        if let Some(first) = self.ranges.get(span.first as usize) {
            self.bytes.truncate(first.start as usize);
        }
        self.ranges.truncate(span.first as usize);
        args
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + size_of::<ArgRange>() * self.ranges.len()
    }

    /// Bytes that it takes, whatever is in it.
    pub(crate) fn capacity_bytes(&self) -> usize {
        self.bytes.capacity() + size_of::<ArgRange>() * self.ranges.capacity()
    }

    /// Drops all arguments and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }
}
