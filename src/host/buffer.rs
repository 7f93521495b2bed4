//! Memory aligned for direct I/O.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// Alignment of addresses, offsets and lengths for direct I/O, and the block size of every file of ours.
pub const ALIGNMENT: usize = 4_096;

/// A growable run of bytes whose address and capacity are multiples of [`ALIGNMENT`]. What lies behind its
/// length within the capacity has no value: whoever makes the buffer longer writes what is added.
pub struct AlignedBuf {
    ptr: NonNull<u8>,
    // Invariant: len <= capacity, and bytes 0..len are initialised.
    len: usize,
    // Invariant: a multiple of ALIGNMENT; 0 means nothing is allocated.
    capacity: usize,
}

// SAFETY: the buffer owns its memory alone, like a `Vec<u8>`.
unsafe impl Send for AlignedBuf {}

impl AlignedBuf {
    /// An empty buffer that holds `capacity` bytes (rounded up) without growing.
    pub fn with_capacity(capacity: usize) -> AlignedBuf {
        let mut buf = AlignedBuf { ptr: NonNull::dangling(), len: 0, capacity: 0 };
        buf.reserve(capacity);
        buf
    }

    /// A buffer of `len` zero bytes.
    pub fn zeroed(len: usize) -> AlignedBuf {
        let capacity = len.next_multiple_of(ALIGNMENT);
        if capacity == 0 {
            return AlignedBuf::default();
        }
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a non-zero size.
        let Some(ptr) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        AlignedBuf { ptr, len, capacity }
    }

    /// How many bytes fit without growing.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Appends bytes, growing if need be.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        // SAFETY: `reserve` made room for `bytes.len()` bytes behind `len`, and a caller's slice cannot
        // overlap memory that this buffer owns alone.
        unsafe { self.ptr.as_ptr().add(self.len).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.len += bytes.len();
    }

    /// Appends zeros up to the next multiple of [`ALIGNMENT`].
    pub fn pad_to_alignment(&mut self) {
        let padded = self.len.next_multiple_of(ALIGNMENT);
        // SAFETY: the capacity is a multiple of the alignment and at least `len`, so `padded` is within it.
        unsafe { self.ptr.as_ptr().add(self.len).write_bytes(0, padded - self.len) };
        self.len = padded;
    }

    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// The address of the first byte, for whoever fills the buffer from outside. It may write to all of the capacity.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.ptr.as_ptr()
    }

    /// Makes the first `len` bytes the buffer's content.
    ///
    /// # Safety
    /// `len` is at most the capacity, and that many bytes were written.
    pub unsafe fn set_len(&mut self, len: usize) {
        debug_assert!(len <= self.capacity);
        self.len = len;
    }

    /// Makes room for `additional` more bytes.
    pub fn reserve(&mut self, additional: usize) {
        let needed = self.len.checked_add(additional).expect("a buffer larger than the address space");
        if needed <= self.capacity {
            return;
        }
        let capacity = needed.max(self.capacity * 2).next_multiple_of(ALIGNMENT);
        let layout = Self::layout(capacity);
        // SAFETY: the layout has a non-zero size, since `needed > self.capacity >= 0`.
        let Some(ptr) = NonNull::new(unsafe { alloc(layout) }) else { handle_alloc_error(layout) };
        // SAFETY: both regions are at least `len` long, and the new one was just allocated.
        unsafe { ptr.as_ptr().copy_from_nonoverlapping(self.ptr.as_ptr(), self.len) };
        self.free();
        self.ptr = ptr;
        self.capacity = capacity;
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, ALIGNMENT).expect("a capacity that fits the address space")
    }

    fn free(&mut self) {
        if self.capacity > 0 {
            // SAFETY: `ptr` was allocated with this layout and is not used afterwards.
            unsafe { dealloc(self.ptr.as_ptr(), Self::layout(self.capacity)) };
            self.capacity = 0;
        }
    }
}

impl Drop for AlignedBuf {
    fn drop(&mut self) {
        self.free();
    }
}

impl Default for AlignedBuf {
    fn default() -> AlignedBuf {
        AlignedBuf::with_capacity(0)
    }
}

impl Deref for AlignedBuf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the first `len` bytes are allocated and initialised; for `len` 0 the pointer dangles but
        // is aligned and not null.
        unsafe { std::slice::from_raw_parts(self.ptr.as_ptr(), self.len) }
    }
}

impl DerefMut for AlignedBuf {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.ptr.as_ptr(), self.len) }
    }
}

impl AsRef<[u8]> for AlignedBuf {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for AlignedBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedBuf {{ len: {}, capacity: {} }}", self.len, self.capacity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_and_capacity_stay_aligned_while_growing() {
        let mut buf = AlignedBuf::default();
        let mut expected = Vec::new();
        for i in 0..3_000u32 {
            buf.extend_from_slice(&i.to_le_bytes());
            expected.extend_from_slice(&i.to_le_bytes());
            assert_eq!(buf.as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(buf.capacity() % ALIGNMENT, 0);
        }
        assert_eq!(&buf[..], &expected[..]);
    }

    #[test]
    fn padding_is_zero_even_in_a_buffer_used_before() {
        let mut buf = AlignedBuf::with_capacity(ALIGNMENT);
        buf.extend_from_slice(&[0xAA; 3_000]);
        buf.clear();
        buf.extend_from_slice(b"x");
        buf.pad_to_alignment();
        assert_eq!(buf.len(), ALIGNMENT);
        assert_eq!(buf[0], b'x');
        assert!(buf[1..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn whole_blocks_and_empty_buffers_need_no_padding() {
        let mut buf = AlignedBuf::default();
        buf.pad_to_alignment();
        assert!(buf.is_empty() && AlignedBuf::zeroed(0).is_empty());
        buf.extend_from_slice(&[7; ALIGNMENT]);
        buf.pad_to_alignment();
        assert_eq!(&buf[..], &[7; ALIGNMENT]);
        assert!(AlignedBuf::zeroed(3_000).iter().all(|byte| *byte == 0));
    }
}
