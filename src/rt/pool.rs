//! The receive buffers of a core, lent to the kernel and from there to the engine.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

const PAGE_BYTES: usize = 4_096;

/// A ring of entries that the kernel takes buffers from, and the buffers themselves. Lives until the last
/// lent buffer is dropped, even if that is after the end of the core.
pub(crate) struct BufPool {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    // Invariant: a power of two.
    count: u16,
    buffer_bytes: usize,
    // The next entry to fill, modulo 2^16. The kernel's copy lies in the first entry.
    tail: Cell<u16>,
    // How many buffers are out with the engine.
    lent_count: Cell<usize>,
}

impl BufPool {
    /// `count` must be a power of two.
    pub(crate) fn new(count: u16, buffer_bytes: usize) -> BufPool {
        assert!(count.is_power_of_two(), "the kernel wants a power of two");
        let (entries_layout, memory_layout) = layouts(count, buffer_bytes);
        // SAFETY: neither layout has size 0, since both counts are at least 1.
        let (entries, memory) = unsafe { (alloc_zeroed(entries_layout), alloc_zeroed(memory_layout)) };
        let Some(entries) = NonNull::new(entries.cast::<BufRingEntry>()) else { handle_alloc_error(entries_layout) };
        let Some(memory) = NonNull::new(memory) else { handle_alloc_error(memory_layout) };
        let pool = BufPool { entries, memory, count, buffer_bytes, tail: Cell::new(0), lent_count: Cell::new(0) };
        for id in 0..count {
            pool.give_to_kernel(id);
        }
        pool
    }

    pub(crate) fn entries_addr(&self) -> u64 {
        self.entries.as_ptr() as u64
    }

    pub(crate) fn count(&self) -> u16 {
        self.count
    }

    /// How many buffers the engine does not hold. Some of them may hold data not yet seen.
    pub(crate) fn idle_count(&self) -> usize {
        usize::from(self.count) - self.lent_count.get()
    }

    /// Takes over a buffer that the kernel has filled with `len` bytes.
    pub(crate) fn lend(self: &Rc<BufPool>, id: u16, len: usize) -> RecvBuf {
        assert!(id < self.count && len <= self.buffer_bytes, "the kernel names only buffers that it was given");
        self.lent_count.set(self.lent_count.get() + 1);
        RecvBuf { pool: Rc::clone(self), id, len: len as u32 }
    }

    /// Gives a buffer to the kernel, unseen.
    pub(crate) fn give_to_kernel(&self, id: u16) {
        assert!(id < self.count, "the kernel names only buffers that it was given");
        let tail = self.tail.get();
        let place = usize::from(tail & (self.count - 1));
        // SAFETY: `place` is below `count`, the number of entries allocated, and `id` below that too. The
        // kernel reads an entry only once the tail has passed it. The fields are written one by one, since
        // the first entry shares its last bytes with the tail.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(place);
            entry.set_addr(self.memory.as_ptr().add(usize::from(id) * self.buffer_bytes) as u64);
            entry.set_len(self.buffer_bytes as u32);
            entry.set_bid(id);
        }
        self.tail.set(tail.wrapping_add(1));
        // SAFETY: the tail lies in the first entry, aligned to two bytes, and is written by us alone; the
        // kernel reads it at any time, so the store is atomic and comes after those to the entry.
        unsafe {
            let shared = BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*shared).store(self.tail.get(), Ordering::Release);
        }
    }
}

impl Drop for BufPool {
    fn drop(&mut self) {
        let (entries_layout, memory_layout) = layouts(self.count, self.buffer_bytes);
        // SAFETY: both were allocated with these layouts. No buffer is out, since each holds the pool, and the
        // ring that used them is gone, since its owner holds the pool too and drops the ring first.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), entries_layout);
            dealloc(self.memory.as_ptr(), memory_layout);
        }
    }
}

fn layouts(count: u16, buffer_bytes: usize) -> (Layout, Layout) {
    let count = usize::from(count);
    let entries = Layout::from_size_align(count * size_of::<BufRingEntry>(), PAGE_BYTES);
    let memory = Layout::from_size_align(count * buffer_bytes, PAGE_BYTES);
    (entries.expect("at most 512 KiB"), memory.expect("at most 32 GiB: both factors are bounded"))
}

/// Bytes received, in a buffer of the core's pool. Dropping it gives the buffer back.
pub struct RecvBuf {
    pool: Rc<BufPool>,
    id: u16,
    len: u32,
}

impl Deref for RecvBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: buffer `id` lies within the pool's memory, its first `len` bytes were filled by the kernel,
        // and it belongs to this value until that is dropped.
        unsafe {
            let start = self.pool.memory.as_ptr().add(usize::from(self.id) * self.pool.buffer_bytes);
            std::slice::from_raw_parts(start, self.len as usize)
        }
    }
}

impl Drop for RecvBuf {
    fn drop(&mut self) {
        self.pool.lent_count.set(self.pool.lent_count.get() - 1);
        self.pool.give_to_kernel(self.id);
    }
}

impl fmt::Debug for RecvBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecvBuf {{ len: {} }}", self.len)
    }
}
