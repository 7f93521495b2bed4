//! A few rows of a slot whose hashes begin alike.
//!
//! ```text
//! count u8 · capacity u8 · bits u8 · 0 · 0000      rows, room for rows, bits that all hashes share
//! tags [u8; capacity]                              a byte of each row's hash: eight are compared at once
//! handles [u64; capacity]
//! ```
//!
//! With 56 rows that are 512 bytes, and a row is found by looking at one or two cache lines of tags and one handle.

use std::ptr::{self, NonNull};

use crate::row::{Handle, Hash48};
use crate::slab::Slab;

/// The most rows of a segment.
pub(crate) const ROWS_COUNT_MAX: usize = 56;
/// How many rows segments have room for. Multiples of eight: tags are compared eight at a time.
const CAPACITIES: [usize; 5] = [8, 16, 24, 40, ROWS_COUNT_MAX];
const HEAD_BYTES: usize = 8;
const LOW_BITS: u64 = 0x0101_0101_0101_0101;
const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

#[repr(C)]
struct Head {
    count: u8,
    capacity: u8,
    bits: u8,
    reserved: [u8; 5],
}

/// A segment in the memory of a slab. Copies name the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment(pub(crate) NonNull<u8>);

fn bytes_of(capacity: usize) -> usize {
    HEAD_BYTES + capacity * (1 + size_of::<Handle>())
}

// Every function below relies on this: a `Segment` is made by `new` alone, its block is as long as its capacity says, and the
// first `count` tags and handles are those of its rows. The trie that holds it is borrowed mutably for what changes it.
impl Segment {
    /// An empty segment for rows whose hashes share their first `bits` bits.
    pub(crate) fn new(slab: &mut Slab, bits: u32, rows_count: usize) -> Segment {
        let fits = CAPACITIES.into_iter().find(|capacity| *capacity >= rows_count);
        let capacity = fits.expect("no segment is made for more rows than it can have");
        let block = slab.alloc(bytes_of(capacity));
        let head = Head { count: 0, capacity: capacity as u8, bits: bits as u8, reserved: [0; 5] };
        // SAFETY: the block is that long, and tags that were never written may be compared.
        unsafe {
            block.cast::<Head>().write(head);
            block.as_ptr().add(HEAD_BYTES).write_bytes(0, capacity);
        }
        Segment(block)
    }

    /// Gives its memory back, not that of its rows.
    ///
    /// # Safety
    /// Nobody uses it any more.
    pub(crate) unsafe fn free(self, slab: &mut Slab) {
        let bytes = bytes_of(self.capacity());
        // SAFETY: as the caller says; the block was asked for with this length.
        unsafe { slab.free(self.0, bytes) };
    }

    #[inline]
    fn head(self) -> Head {
        // SAFETY: a segment's block begins with its head.
        unsafe { self.0.cast::<Head>().read() }
    }

    fn set_count(self, count: usize) {
        // SAFETY: as above.
        unsafe { (*self.0.cast::<Head>().as_ptr()).count = count as u8 };
    }

    /// How many rows it has.
    #[inline]
    pub(crate) fn count(self) -> usize {
        usize::from(self.head().count)
    }

    #[inline]
    fn capacity(self) -> usize {
        usize::from(self.head().capacity)
    }

    /// How many of their first bits the hashes of all its rows share.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        u32::from(self.head().bits)
    }

    #[inline]
    fn tag_at(self, at: usize) -> *mut u8 {
        // SAFETY: callers ask for places below the capacity.
        unsafe { self.0.as_ptr().add(HEAD_BYTES + at) }
    }

    #[inline]
    fn handle_at(self, at: usize) -> *mut Handle {
        // SAFETY: as above. Tags come in multiples of eight, so that handles are aligned.
        unsafe { self.0.as_ptr().add(HEAD_BYTES + self.capacity()).cast::<Handle>().add(at) }
    }

    /// The row at a place below [`Segment::count`].
    #[inline]
    pub(crate) fn get(self, at: usize) -> Handle {
        // SAFETY: there is a row.
        unsafe { self.handle_at(at).read() }
    }

    /// Where the row of `key` stands.
    #[inline]
    pub(crate) fn find(self, hash: Hash48, key: &[u8]) -> Option<usize> {
        let count = self.count();
        let wanted = u64::from(hash.tag()) * LOW_BITS;
        let mut from = 0;
        while from < count {
            // SAFETY: the capacity is a multiple of eight, and there are rows from `from` on; the address is a multiple of eight.
            let tags = u64::from_le(unsafe { self.tag_at(from).cast::<u64>().read() });
            let differing = tags ^ wanted;
            // The high bit of each byte that is 0, and now and then of one above it, which the key then tells.
            let mut equal = differing.wrapping_sub(LOW_BITS) & !differing & HIGH_BITS;
            while equal != 0 {
                let at = from + equal.trailing_zeros() as usize / 8;
                if at < count && self.is_row_of(at, hash, key) {
                    return Some(at);
                }
                equal &= equal - 1;
            }
            from += 8;
        }
        None
    }

    #[inline]
    fn is_row_of(self, at: usize, hash: Hash48, key: &[u8]) -> bool {
        let handle = self.get(at);
        // SAFETY: the segment has the row, and nobody changes it meanwhile.
        handle.may_be(hash) && unsafe { handle.row() }.key() == key
    }

    /// Whether there is no room for one more, however much it may grow.
    #[inline]
    pub(crate) fn is_full(self) -> bool {
        self.count() == ROWS_COUNT_MAX
    }

    /// Adds a row, of whose key there is none. Returns the segment, which may have moved. It must not be full.
    #[inline]
    pub(crate) fn push(mut self, slab: &mut Slab, hash: Hash48, handle: Handle) -> Segment {
        let count = self.count();
        if count == self.capacity() {
            self = self.moved(slab, count + 1);
        }
        // SAFETY: there is room at the place behind the last row.
        unsafe {
            self.tag_at(count).write(hash.tag());
            self.handle_at(count).write(handle);
        }
        self.set_count(count + 1);
        self
    }

    /// Puts another handle in the place of one for the same key.
    #[inline]
    pub(crate) fn replace(self, at: usize, handle: Handle) {
        // SAFETY: there is a row.
        unsafe { self.handle_at(at).write(handle) };
    }

    /// Takes a row out. Returns it and the segment, which may have moved.
    pub(crate) fn remove(self, slab: &mut Slab, at: usize) -> (Handle, Segment) {
        let (handle, last) = (self.get(at), self.count() - 1);
        // SAFETY: both are places of rows. The last row takes the place that becomes free.
        unsafe {
            self.tag_at(at).write(self.tag_at(last).read());
            self.handle_at(at).write(self.handle_at(last).read());
        }
        self.set_count(last);
        // Not at once where a row less would do, so that it does not go to and fro.
        let is_roomy = self.capacity() > CAPACITIES[0] && last * 2 <= self.capacity();
        (handle, if is_roomy { self.moved(slab, last + last / 4) } else { self })
    }

    /// The same rows in a segment with room for so many.
    fn moved(self, slab: &mut Slab, rows_count: usize) -> Segment {
        let (count, new) = (self.count(), Segment::new(slab, self.bits(), rows_count));
        // SAFETY: the new one has room for all rows.
        unsafe {
            ptr::copy_nonoverlapping(self.tag_at(0), new.tag_at(0), count);
            ptr::copy_nonoverlapping(self.handle_at(0), new.handle_at(0), count);
        }
        new.set_count(count);
        // SAFETY: nobody uses the old one any more.
        unsafe { self.free(slab) };
        new
    }

    /// Splits the rows by the next bit of their hashes. Returns those with 0 and those with 1.
    pub(crate) fn split(self, slab: &mut Slab) -> [Segment; 2] {
        let (count, bits) = (self.count(), self.bits());
        // SAFETY: the segment has these rows.
        let hash_at = |at: usize| unsafe { self.get(at).row() }.hash();
        let ones_count = (0..count).filter(|at| hash_at(*at).bit(bits)).count();
        let mut parts = [count - ones_count, ones_count].map(|rows_count| Segment::new(slab, bits + 1, rows_count));
        for at in 0..count {
            let hash = hash_at(at);
            let part = &mut parts[usize::from(hash.bit(bits))];
            *part = part.push(slab, hash, self.get(at));
        }
        // SAFETY: nobody uses it any more.
        unsafe { self.free(slab) };
        parts
    }

    /// Puts the rows of two segments that a split has made into one again.
    pub(crate) fn join(slab: &mut Slab, parts: [Segment; 2]) -> Segment {
        let count = parts.iter().map(|part| part.count()).sum();
        let mut joined = Segment::new(slab, parts[0].bits() - 1, count);
        for part in parts {
            for at in 0..part.count() {
                let handle = part.get(at);
                // SAFETY: the segment has this row.
                joined = joined.push(slab, unsafe { handle.row() }.hash(), handle);
            }
            // SAFETY: nobody uses it any more.
            unsafe { part.free(slab) };
        }
        joined
    }
}
