//! The arguments of one command, borrowed from the bytes they arrived in.

/// Where an argument lies in its buffer: `start..end`, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArgRange {
    /// First byte.
    pub start: u32,
    /// Behind the last byte. Invariant: `start <= end`, and `end` lies within the buffer.
    pub end: u32,
}

/// The arguments of one command, its name first. Borrowed: nothing is copied until a batch is built.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    buf: &'a [u8],
    ranges: &'a [ArgRange],
}

impl<'a> Args<'a> {
    /// Arguments that lie in `buf` at `ranges`.
    pub fn new(buf: &'a [u8], ranges: &'a [ArgRange]) -> Args<'a> {
        Args { buf, ranges }
    }

    /// How many there are, the command's name included.
    pub fn len(&self) -> usize {
        self.ranges.len()
    }

    /// Whether there is not even a name.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The argument at `idx`, 0 being the command's name.
    pub fn get(&self, idx: usize) -> Option<&'a [u8]> {
        let range = self.ranges.get(idx)?;
        self.buf.get(range.start as usize..range.end as usize)
    }

    /// The arguments from `idx` on as a request of their own; empty beyond the last.
    pub fn from(&self, idx: usize) -> Args<'a> {
        Args { buf: self.buf, ranges: self.ranges.get(idx..).unwrap_or_default() }
    }

    /// All arguments from `idx` on.
    pub fn iter_from(&self, idx: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let buf = self.buf;
        let ranges = self.ranges.get(idx..).unwrap_or_default();
        ranges.iter().map(move |range| buf.get(range.start as usize..range.end as usize).unwrap_or_default())
    }
}
