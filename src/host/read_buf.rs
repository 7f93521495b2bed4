//! What reads return: aligned memory that goes back to a core's pool.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

use crate::buffer::{ALIGNMENT, AlignedBuf};

/// Longest buffer that a pool keeps. Reads that are longer are rare, and the allocator serves them.
pub const POOLED_BYTES_MAX: usize = 256 << 10;
/// One class of sizes for each power of two from [`ALIGNMENT`] to [`POOLED_BYTES_MAX`].
const CLASSES_COUNT: usize = (POOLED_BYTES_MAX / ALIGNMENT).ilog2() as usize + 1;

const _: () = assert!(ALIGNMENT.is_power_of_two() && POOLED_BYTES_MAX.is_power_of_two());
const _: () = assert!(POOLED_BYTES_MAX >= ALIGNMENT);

/// Buffers of a core that wait to be read into again. They are not zeroed in between.
pub struct ReadPool {
    // Invariant: the capacity of every buffer in class `i` is `ALIGNMENT << i`, and all of them are empty.
    idle: RefCell<[Vec<AlignedBuf>; CLASSES_COUNT]>,
    // Invariant: the sum of the capacities in `idle`, and at most `bytes_max`.
    idle_bytes: Cell<usize>,
    bytes_max: usize,
}

impl ReadPool {
    /// A pool that keeps at most `bytes_max` bytes for later; what comes back beyond that is freed.
    pub fn new(bytes_max: usize) -> Rc<ReadPool> {
        Rc::new(ReadPool { idle: RefCell::default(), idle_bytes: Cell::new(0), bytes_max })
    }

    /// An empty buffer with room for `len` bytes.
    pub fn take(self: &Rc<ReadPool>, len: usize) -> ReadBuf {
        let recycled = class_of(len).and_then(|class| self.idle.borrow_mut()[class].pop());
        let buf = match recycled {
            Some(buf) => {
                self.idle_bytes.set(self.idle_bytes.get() - buf.capacity());
                buf
            }
            None => AlignedBuf::with_capacity(class_of(len).map_or(len, |class| ALIGNMENT << class)),
        };
        ReadBuf { buf, pool: Some(Rc::clone(self)) }
    }

    /// Bytes kept for later.
    pub fn idle_bytes(&self) -> usize {
        self.idle_bytes.get()
    }

    fn keep(&self, mut buf: AlignedBuf) {
        let Some(class) = class_of(buf.capacity()).filter(|class| ALIGNMENT << class == buf.capacity()) else {
            return;
        };
        let idle_bytes = self.idle_bytes.get() + buf.capacity();
        if idle_bytes <= self.bytes_max {
            buf.clear();
            self.idle.borrow_mut()[class].push(buf);
            self.idle_bytes.set(idle_bytes);
        }
    }
}

/// The smallest class whose buffers hold `len` bytes; `None` for no bytes at all and for more than a pool keeps.
fn class_of(len: usize) -> Option<usize> {
    let blocks_count = len.div_ceil(ALIGNMENT);
    let is_pooled = (1..=POOLED_BYTES_MAX / ALIGNMENT).contains(&blocks_count);
    is_pooled.then(|| blocks_count.next_power_of_two().ilog2() as usize)
}

/// Bytes read from a file. Belongs to the core that has read it; dropping it gives its memory back to the core's pool, so
/// holding many of them for long costs new ones.
#[derive(Default)]
pub struct ReadBuf {
    buf: AlignedBuf,
    // `None` if the memory belongs to no pool.
    pool: Option<Rc<ReadPool>>,
}

impl ReadBuf {
    /// How much memory it takes, in bytes.
    pub fn capacity(&self) -> usize {
        self.buf.capacity()
    }

    /// The bytes, to be kept for long or handed to another core: their memory belongs to no pool any more.
    pub fn into_aligned(mut self) -> AlignedBuf {
        self.pool = None;
        std::mem::take(&mut self.buf)
    }

    /// See [`AlignedBuf::as_mut_ptr`].
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.buf.as_mut_ptr()
    }

    /// See [`AlignedBuf::set_len`].
    ///
    /// # Safety
    /// As there.
    pub unsafe fn set_len(&mut self, len: usize) {
        // SAFETY: this function's own contract.
        unsafe { self.buf.set_len(len) };
    }
}

impl Drop for ReadBuf {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.take() {
            pool.keep(std::mem::take(&mut self.buf));
        }
    }
}

impl From<AlignedBuf> for ReadBuf {
    fn from(buf: AlignedBuf) -> ReadBuf {
        ReadBuf { buf, pool: None }
    }
}

impl Deref for ReadBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buf
    }
}

impl AsRef<[u8]> for ReadBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for ReadBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBuf {{ len: {}, capacity: {} }}", self.len(), self.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_by_reads_of_their_class() {
        let pool = ReadPool::new(1 << 20);
        let mut first = pool.take(3 * ALIGNMENT);
        assert_eq!((first.len(), first.capacity()), (0, 4 * ALIGNMENT));
        let addr = first.as_mut_ptr();
        drop(first);
        assert_eq!(pool.idle_bytes(), 4 * ALIGNMENT);
        let mut other = pool.take(2 * ALIGNMENT);
        assert_ne!(other.as_mut_ptr(), addr, "another class");
        let mut again = pool.take(4 * ALIGNMENT);
        assert_eq!((again.as_mut_ptr(), again.len()), (addr, 0));
        assert_eq!(pool.idle_bytes(), 0);
    }

    #[test]
    fn a_pool_keeps_no_more_than_its_limit_and_nothing_too_long() {
        let pool = ReadPool::new(3 * ALIGNMENT);
        let taken: Vec<ReadBuf> = (0..8).map(|_| pool.take(ALIGNMENT)).collect();
        drop(taken);
        assert_eq!(pool.idle_bytes(), 3 * ALIGNMENT);
        let pool = ReadPool::new(usize::MAX);
        drop(pool.take(POOLED_BYTES_MAX + 1));
        drop(pool.take(0));
        assert_eq!(pool.idle_bytes(), 0);
        drop(pool.take(POOLED_BYTES_MAX));
        assert_eq!(pool.idle_bytes(), POOLED_BYTES_MAX);
    }

    #[test]
    fn every_length_falls_into_the_smallest_class_that_holds_it() {
        for blocks_count in 1..=POOLED_BYTES_MAX / ALIGNMENT {
            let class = class_of(blocks_count * ALIGNMENT).expect("it is pooled");
            assert!(1 << class >= blocks_count && (class == 0 || 1 << (class - 1) < blocks_count));
            assert_eq!(class_of(blocks_count * ALIGNMENT - 1), Some(class));
        }
    }
}
