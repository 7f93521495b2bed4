//! A few rows of a slot whose hashes begin alike.
//!
//! A segment has one, two, four or eight *lines*, each as long as a line of the CPU's cache: seven handles, a byte of each
//! row's hash to compare them all at once, and a count. Bits of the hash say in which line a row is at home; if that is full
//! it lies in the next one, and the count of its home says so. So a row is found with one line of the segment in nearly all
//! cases, and that it is not there with one, too.
//!
//! ```text
//! handles [u64; 7] · tags [u8; 7] · u8       handle 0: no row
//! last byte: bits 0 to 2 passed: rows at home here that lie in the next line; bit 7: some row of the line may be dirty
//! ```
//!
//! A line with a dirty row has its bit, so a flush needs not look at the others.

use std::ptr::NonNull;

use crate::rows::cache::load;
use crate::rows::row::{Handle, Hash48};
use crate::rows::slab::Slab;

/// Rows of a line.
const LINE_ROWS_COUNT: usize = 7;
/// The longest segment has `1 << LINES_LOG_MAX` lines.
pub(crate) const LINES_LOG_MAX: u32 = 3;
/// The most rows of a segment.
pub(crate) const ROWS_COUNT_MAX: usize = LINE_ROWS_COUNT << LINES_LOG_MAX;
/// The bits of a line's last byte that count rows, and the one of a line with dirty rows.
const PASSED_BITS: u8 = 7;
const HAS_DIRTY: u8 = 0x80;
const _: () = assert!(LINE_ROWS_COUNT <= PASSED_BITS as usize, "all rows of the next line may have passed this one");
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
/// The high bits of the bytes that are tags.
const TAG_HIGH_BITS: u64 = 0x0080_8080_8080_8080;

#[repr(C, align(64))]
struct Line {
    handles: [Option<Handle>; LINE_ROWS_COUNT],
    tags: [u8; LINE_ROWS_COUNT],
    passed_and_dirty: u8,
}

const _: () = assert!(size_of::<Line>() == 64);

impl Line {
    #[inline]
    fn has_passed(&self) -> bool {
        self.passed_and_dirty & PASSED_BITS != 0
    }

    #[inline]
    fn may_have_dirty(&self) -> bool {
        self.passed_and_dirty & HAS_DIRTY != 0
    }

    /// The places whose tags are equal to `tag`: the high bit of the byte of each. Now and then it is set in one above such a
    /// byte, which the handle then tells.
    #[inline]
    fn places_of(&self, tag: u8) -> u64 {
        let mut bytes = [0; 8];
        bytes[..LINE_ROWS_COUNT].copy_from_slice(&self.tags);
        let differing = u64::from_le_bytes(bytes) ^ (u64::from(tag) * LOW_BITS);
        differing.wrapping_sub(LOW_BITS) & !differing & TAG_HIGH_BITS
    }

    #[inline]
    fn find(&self, hash: Hash48, key: &[u8]) -> Option<usize> {
        let mut equal = self.places_of(hash.tag());
        while equal != 0 {
            let at = equal.trailing_zeros() as usize / 8;
            if let Some(handle) = self.handles[at]
                && handle.may_be(hash)
                // SAFETY: a line has only rows that are there, and whoever looks at it has its trie borrowed.
                && unsafe { handle.row() }.key() == key
            {
                return Some(at);
            }
            equal &= equal - 1;
        }
        None
    }

    #[inline]
    fn free_place(&self) -> Option<usize> {
        self.handles.iter().position(Option::is_none)
    }
}

/// A segment in the memory of a slab, with what must be known of it to look into it. Copies name the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    lines: NonNull<Line>,
    /// Bits that the hashes of all rows share.
    bits: u8,
    lines_log: u8,
}

/// Where a row stands in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    line: usize,
    at: usize,
}

// Every function below relies on this: a `Segment` is made by `new` or from what `parts` has told of one, its block is as long
// as it says, and all its handles name rows. The trie that holds it is borrowed, mutably for what changes it.
impl Segment {
    /// An empty segment.
    pub(crate) fn new(slab: &mut Slab, bits: u32, lines_log: u32) -> Segment {
        Segment::with_lines(slab, bits, lines_log, 0)
    }

    fn with_lines(slab: &mut Slab, bits: u32, lines_log: u32, passed_and_dirty: u8) -> Segment {
        let lines = slab.alloc(size_of::<Line>() << lines_log).cast::<Line>();
        for at in 0..1 << lines_log {
            let line = Line { handles: [None; LINE_ROWS_COUNT], tags: [0; LINE_ROWS_COUNT], passed_and_dirty };
            // SAFETY: the block has that many lines; blocks whose length is a multiple of 64 are aligned to it.
            unsafe { lines.add(at).write(line) };
        }
        Segment { lines, bits: bits as u8, lines_log: lines_log as u8 }
    }

    /// What makes it up, for whoever keeps it in one word: its address, its bits, and the logarithm of its number of lines.
    pub(crate) fn parts(self) -> (NonNull<u8>, u32, u32) {
        (self.lines.cast(), self.bits(), u32::from(self.lines_log))
    }

    /// The segment with these parts.
    ///
    /// # Safety
    /// They are those of a segment that is there.
    #[inline]
    pub(crate) unsafe fn of_parts(lines: NonNull<u8>, bits: u32, lines_log: u32) -> Segment {
        Segment { lines: lines.cast(), bits: bits as u8, lines_log: lines_log as u8 }
    }

    /// Gives its memory back, not that of its rows.
    ///
    /// # Safety
    /// Nobody uses it any more.
    pub(crate) unsafe fn free(self, slab: &mut Slab) {
        // SAFETY: as the caller says; the block was asked for with this length.
        unsafe { slab.free(self.lines.cast(), size_of::<Line>() << self.lines_log) };
    }

    /// How many of their first bits the hashes of all its rows share.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        u32::from(self.bits)
    }

    #[inline]
    fn lines_count(self) -> usize {
        1 << self.lines_log
    }

    #[inline]
    fn line<'a>(self, at: usize) -> &'a Line {
        // SAFETY: callers ask for lines that there are, and nobody changes them meanwhile.
        unsafe { self.lines.add(at).as_ref() }
    }

    #[inline]
    fn line_mut<'a>(self, at: usize) -> &'a mut Line {
        // SAFETY: callers ask for lines that there are, and use one at a time.
        unsafe { self.lines.add(at).as_mut() }
    }

    #[inline]
    fn home(self, hash: Hash48) -> usize {
        hash.line() & (self.lines_count() - 1)
    }

    #[inline]
    fn behind(self, line: usize) -> usize {
        (line + 1) & (self.lines_count() - 1)
    }

    /// Has the line loaded in which a row with this hash is at home.
    #[inline]
    pub(crate) fn load_line(self, hash: Hash48) {
        load(self.lines.as_ptr().wrapping_add(self.home(hash)).cast());
    }

    /// Has the beginning of the row loaded that has this hash and is at home in its line, if there is one.
    #[inline]
    pub(crate) fn load_row(self, hash: Hash48) {
        let line = self.line(self.home(hash));
        let mut equal = line.places_of(hash.tag());
        while equal != 0 {
            let at = equal.trailing_zeros() as usize / 8;
            if let Some(handle) = line.handles[at].filter(|handle| handle.may_be(hash)) {
                return handle.load();
            }
            equal &= equal - 1;
        }
    }

    /// Where the row of `key` stands.
    #[inline]
    pub(crate) fn find(self, hash: Hash48, key: &[u8]) -> Option<Position> {
        let home = self.home(hash);
        let line = self.line(home);
        if let Some(at) = line.find(hash, key) {
            return Some(Position { line: home, at });
        }
        if !line.has_passed() {
            return None;
        }
        let next = self.behind(home);
        self.line(next).find(hash, key).map(|at| Position { line: next, at })
    }

    /// The row at a place that [`Segment::find`] has told.
    #[inline]
    pub(crate) fn get(self, place: Position) -> Handle {
        self.line(place.line).handles[place.at].expect("a place that was told has a row")
    }

    /// All rows.
    pub(crate) fn handles<'a>(self) -> impl Iterator<Item = Handle> + Clone + use<'a> {
        (0..self.lines_count()).flat_map(move |at| self.line(at).handles.iter().copied().flatten())
    }

    /// All rows that may be dirty.
    pub(crate) fn dirty_handles<'a>(self) -> impl Iterator<Item = Handle> + use<'a> {
        let lines = (0..self.lines_count()).map(move |at| self.line(at)).filter(|line| line.may_have_dirty());
        // SAFETY: rows that a segment has are there.
        lines
            .flat_map(|line| line.handles.iter().copied().flatten())
            .filter(|handle| unsafe { handle.row() }.flags().state().is_dirty())
    }

    /// The row at this place has become dirty.
    #[inline]
    pub(crate) fn note_dirty(self, place: Position) {
        self.line_mut(place.line).passed_and_dirty |= HAS_DIRTY;
    }

    /// Sees which of the lines that had dirty rows have none any more.
    pub(crate) fn note_clean_lines(self) {
        for at in 0..self.lines_count() {
            let line = self.line_mut(at);
            let mut handles = line.handles.iter().flatten();
            // SAFETY: rows that a segment has are there.
            let is_dirty = |handle: &Handle| unsafe { handle.row() }.flags().state().is_dirty();
            if line.may_have_dirty() && !handles.any(is_dirty) {
                line.passed_and_dirty &= !HAS_DIRTY;
            }
        }
    }

    /// All rows, and where they stand.
    pub(crate) fn positions<'a>(self) -> impl Iterator<Item = (Position, Handle)> + use<'a> {
        (0..self.lines_count()).flat_map(move |line| {
            let handles = self.line(line).handles.iter().enumerate();
            handles.filter_map(move |(at, handle)| Some((Position { line, at }, (*handle)?)))
        })
    }

    /// How many rows there are, counted.
    pub(crate) fn count(self) -> usize {
        self.handles().count()
    }

    /// Adds a row, of whose key there is none. False if there is no room for it.
    #[inline]
    pub(crate) fn push(self, hash: Hash48, handle: Handle, is_dirty: bool) -> bool {
        let home = self.home(hash);
        let next = self.behind(home);
        let (line, at) = match (self.line(home).free_place(), self.line(next).free_place()) {
            (Some(at), _) => (home, at),
            (None, Some(at)) => (next, at),
            (None, None) => return false,
        };
        if line != home {
            self.line_mut(home).passed_and_dirty += 1;
        }
        let line = self.line_mut(line);
        line.handles[at] = Some(handle);
        line.tags[at] = hash.tag();
        line.passed_and_dirty |= if is_dirty { HAS_DIRTY } else { 0 };
        true
    }

    /// Puts another handle in the place of one for the same key.
    #[inline]
    pub(crate) fn replace(self, place: Position, handle: Handle) {
        self.line_mut(place.line).handles[place.at] = Some(handle);
    }

    /// Takes a row out. Returns it, and whether it was the last one of its line.
    pub(crate) fn remove(self, hash: Hash48, place: Position) -> (Handle, bool) {
        let line = self.line_mut(place.line);
        let handle = line.handles[place.at].take().expect("a place that was told has a row");
        let is_empty = line.handles.iter().all(Option::is_none);
        let home = self.home(hash);
        if place.line != home {
            self.line_mut(home).passed_and_dirty -= 1;
        }
        (handle, is_empty)
    }

    /// [`HAS_DIRTY`] if some line has it, else 0.
    fn dirty_bit(self) -> u8 {
        (0..self.lines_count()).fold(0, |bits, at| bits | self.line(at).passed_and_dirty) & HAS_DIRTY
    }

    /// A segment with these rows and so many lines, or more if that is not enough. `None` if the longest is not. All lines have
    /// the bit `dirty`: asking each row slows writes down, and the next flush sees which lines have dirty rows.
    fn of_rows(
        slab: &mut Slab,
        bits: u32,
        lines_log: u32,
        dirty: u8,
        rows: impl Iterator<Item = Handle> + Clone,
    ) -> Option<Segment> {
        for lines_log in lines_log..=LINES_LOG_MAX {
            let segment = Segment::with_lines(slab, bits, lines_log, dirty);
            // SAFETY: rows that a segment has are there.
            if rows.clone().all(|handle| segment.push(unsafe { handle.row() }.hash(), handle, false)) {
                return Some(segment);
            }
            // SAFETY: nobody knows it.
            unsafe { segment.free(slab) };
        }
        None
    }

    /// Some of the rows where they stand, in a segment of the same length.
    fn some_of(self, slab: &mut Slab, bits: u32, is_meant: impl Fn(Hash48) -> bool) -> Segment {
        let some = Segment::new(slab, bits, u32::from(self.lines_log));
        for at in 0..self.lines_count() {
            for (idx, handle) in self.line(at).handles.into_iter().enumerate() {
                let Some(handle) = handle else { continue };
                // SAFETY: rows that a segment has are there.
                let hash = unsafe { handle.row() }.hash();
                if is_meant(hash) {
                    let line = some.line_mut(at);
                    line.handles[idx] = Some(handle);
                    line.tags[idx] = hash.tag();
                    line.passed_and_dirty |= self.line(at).passed_and_dirty & HAS_DIRTY;
                    some.line_mut(some.home(hash)).passed_and_dirty += u8::from(some.home(hash) != at);
                }
            }
        }
        some
    }

    /// The same rows in a segment of twice as many lines, if that can be. This one is gone then.
    pub(crate) fn grow(self, slab: &mut Slab) -> Option<Segment> {
        let grown =
            Segment::of_rows(slab, self.bits(), u32::from(self.lines_log) + 1, self.dirty_bit(), self.handles())?;
        // SAFETY: nobody uses it any more.
        unsafe { self.free(slab) };
        Some(grown)
    }

    /// The same rows in fewer lines, if there are far too many. This one is gone then.
    pub(crate) fn shrink(self, slab: &mut Slab) -> Segment {
        let count = self.count();
        let mut lines_log = u32::from(self.lines_log);
        // Three quarters stay free, so that it does not go to and fro.
        while lines_log > 0 && count * 4 <= LINE_ROWS_COUNT << lines_log {
            lines_log -= 1;
        }
        if lines_log == u32::from(self.lines_log) {
            return self;
        }
        let Some(shrunk) = Segment::of_rows(slab, self.bits(), lines_log, self.dirty_bit(), self.handles()) else {
            return self;
        };
        // SAFETY: nobody uses it any more.
        unsafe { self.free(slab) };
        shrunk
    }

    /// Splits the rows by the next bit of their hashes. Returns those with 0 and those with 1.
    pub(crate) fn split(self, slab: &mut Slab) -> [Segment; 2] {
        let bits = self.bits();
        let parts = [false, true].map(|bit| {
            // SAFETY: rows that a segment has are there.
            let rows = self.handles().filter(move |handle| unsafe { handle.row() }.hash().bit(bits) == bit);
            let fewest = lines_log_for(rows.clone().count());
            // In another order they may not all find room at home or beside it; where they stand they have it.
            Segment::of_rows(slab, bits + 1, fewest, self.dirty_bit(), rows)
                .unwrap_or_else(|| self.some_of(slab, bits + 1, |hash| hash.bit(bits) == bit))
        });
        // SAFETY: nobody uses it any more.
        unsafe { self.free(slab) };
        parts
    }

    /// Puts the rows of two segments that a split has made into one again, if they have room in one.
    pub(crate) fn join(slab: &mut Slab, parts: [Segment; 2]) -> Option<Segment> {
        let rows = parts[0].handles().chain(parts[1].handles());
        let fewest = lines_log_for(rows.clone().count());
        let joined =
            Segment::of_rows(slab, parts[0].bits() - 1, fewest, parts[0].dirty_bit() | parts[1].dirty_bit(), rows)?;
        for part in parts {
            // SAFETY: nobody uses it any more.
            unsafe { part.free(slab) };
        }
        Some(joined)
    }
}

/// The fewest lines that may hold so many rows, as a logarithm.
fn lines_log_for(rows_count: usize) -> u32 {
    rows_count.div_ceil(LINE_ROWS_COUNT).max(1).next_power_of_two().trailing_zeros()
}
