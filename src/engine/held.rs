//! Commands that outlive the buffer they arrived in.

use resp::{ArgRange, Args};

/// Arguments of many commands in two buffers: one allocation serves a batch.
#[derive(Clone, Debug, Default)]
pub(crate) struct ArgStore {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

/// The arguments of one command within an [`ArgStore`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldArgs {
    first: u32,
    count: u32,
}

impl ArgStore {
    /// A store of its own for one command.
    pub(crate) fn of(args: Args<'_>) -> ArgStore {
        let mut store = ArgStore::default();
        store.push(args);
        store
    }

    /// Copies the arguments of a command, its name included.
    pub(crate) fn push(&mut self, args: Args<'_>) -> HeldArgs {
        let first = self.ranges.len() as u32;
        for argument in args.iter_from(0) {
            let start = self.bytes.len() as u32;
            self.bytes.extend_from_slice(argument);
            self.ranges.push(ArgRange { start, end: self.bytes.len() as u32 });
        }
        HeldArgs { first, count: self.ranges.len() as u32 - first }
    }

    /// The arguments of one of its commands.
    pub(crate) fn get(&self, held: HeldArgs) -> Args<'_> {
        let ranges = &self.ranges[held.first as usize..(held.first + held.count) as usize];
        Args::new(&self.bytes, ranges)
    }

    /// The arguments of its only command.
    pub(crate) fn only(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len() + size_of::<ArgRange>() * self.ranges.len()
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }
}
