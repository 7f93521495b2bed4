//! One key with its value: a block of the slab, and the handle by which a segment holds it.

use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::{self, NonNull};

use crate::slab::{Slab, block_bytes};

/// Bits of a key's hash that a row keeps, and by which rows are ordered.
pub(crate) const HASH_BITS: u32 = 48;
/// Bytes before the key.
const HEAD_BYTES: usize = 16;

/// The beginning of a row's block. The key follows it, then the value.
#[repr(C)]
struct Head {
    /// The hash in the upper 48 bits, the length of the key in the lower 16.
    hash_and_key_len: u64,
    value_len: u32,
    /// Keeps the key at a multiple of eight, and room for the type.
    reserved: u32,
}

const _: () = assert!(size_of::<Head>() == HEAD_BYTES);

/// Hash of a key, its upper 16 bits 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hash48(u64);

impl Hash48 {
    #[inline]
    pub(crate) fn of_bits(hash: u64) -> Hash48 {
        Hash48(hash >> (u64::BITS - HASH_BITS))
    }

    /// Bits `from..from + 4`, counted from the highest, as a number.
    #[inline]
    pub(crate) fn nibble(self, from: u32) -> usize {
        (self.0 >> (HASH_BITS - 4 - from) & 15) as usize
    }

    /// The bit `at`, counted from the highest.
    #[inline]
    pub(crate) fn bit(self, at: u32) -> bool {
        self.0 >> (HASH_BITS - 1 - at) & 1 == 1
    }

    /// A byte that has no part in the way to a row.
    #[inline]
    pub(crate) fn tag(self) -> u8 {
        self.0 as u8
    }

    /// Bits that say in which line of its segment a row is at home.
    #[inline]
    pub(crate) fn line(self) -> usize {
        (self.0 >> 8 & 7) as usize
    }

    /// Bits that a handle keeps. The upper ones lead to segments, too, in slots of millions of rows.
    #[inline]
    fn check(self) -> u64 {
        self.0 >> 11 & 0xFFFF
    }
}

/// A row in the memory of a slab, with what can be told of it without looking there: the lower 48 bits are its address, the
/// upper 16 more bits of the hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(NonZeroU64);

const ADDR_BITS: u32 = 48;
const ADDR_MASK: u64 = (1 << ADDR_BITS) - 1;

impl Handle {
    /// A new row.
    pub(crate) fn new(slab: &mut Slab, hash: Hash48, key: &[u8], value: &[u8]) -> Handle {
        let block = slab.alloc(HEAD_BYTES + key.len() + value.len());
        let head =
            Head { hash_and_key_len: hash.0 << 16 | key.len() as u64, value_len: value.len() as u32, reserved: 0 };
        assert!(
            key.len() <= usize::from(u16::MAX) && value.len() <= u32::MAX as usize,
            "longer ones were refused before"
        );
        // SAFETY: the block is as long as the head, the key and the value together, and nobody else has it.
        unsafe {
            block.cast::<Head>().write(head);
            let key_at = block.as_ptr().add(HEAD_BYTES);
            ptr::copy_nonoverlapping(key.as_ptr(), key_at, key.len());
            ptr::copy_nonoverlapping(value.as_ptr(), key_at.add(key.len()), value.len());
        }
        let addr = block.as_ptr().expose_provenance() as u64;
        assert!(addr <= ADDR_MASK, "Linux gives addresses of 47 bits unless asked for more");
        Handle(NonZeroU64::new(addr | hash.check() << ADDR_BITS).expect("no block lies at 0"))
    }

    /// Whether the row's key may have this hash; wrong once in 65,536 times.
    #[inline]
    pub(crate) fn may_be(self, hash: Hash48) -> bool {
        self.0.get() >> ADDR_BITS == hash.check()
    }

    fn block(self) -> NonNull<u8> {
        let addr = (self.0.get() & ADDR_MASK) as usize;
        NonNull::new(ptr::with_exposed_provenance_mut(addr)).expect("a handle names a block")
    }

    /// What the row holds.
    ///
    /// # Safety
    /// The row is not freed or changed as long as the result lives.
    #[inline]
    pub(crate) unsafe fn row<'a>(self) -> Row<'a> {
        Row { block: self.block(), rows: PhantomData }
    }

    /// Gives the row another value where it lies. False if it does not fit: then nothing has changed.
    ///
    /// # Safety
    /// Nobody looks at the row meanwhile.
    #[inline]
    pub(crate) unsafe fn overwrite(self, value: &[u8]) -> bool {
        // SAFETY: nobody changes the row but this.
        let row = unsafe { self.row() };
        let (key_len, len) = (row.key_len(), row.bytes());
        if block_bytes(HEAD_BYTES + key_len + value.len()) != block_bytes(len) {
            return false;
        }
        // SAFETY: the block is long enough, as was just asked, and the value does not lie in it: nobody looks at the row.
        unsafe {
            ptr::copy_nonoverlapping(value.as_ptr(), self.block().as_ptr().add(HEAD_BYTES + key_len), value.len());
            (*self.block().cast::<Head>().as_ptr()).value_len = value.len() as u32;
        }
        true
    }

    /// Gives the row's memory back.
    ///
    /// # Safety
    /// It came out of this slab, and nobody uses it any more.
    pub(crate) unsafe fn free(self, slab: &mut Slab) {
        // SAFETY: the row is there until the next line.
        let bytes = unsafe { self.row() }.bytes();
        // SAFETY: the block was asked for with a length of the same rounding, whatever value was put into it since.
        unsafe { slab.free(self.block(), bytes) };
    }
}

/// What a row holds.
#[derive(Clone, Copy)]
pub(crate) struct Row<'a> {
    block: NonNull<u8>,
    rows: PhantomData<&'a [u8]>,
}

impl<'a> Row<'a> {
    #[inline]
    fn head(&self) -> &Head {
        // SAFETY: a block begins with its head, and nobody changes it while this lives.
        unsafe { self.block.cast::<Head>().as_ref() }
    }

    #[inline]
    fn key_len(&self) -> usize {
        (self.head().hash_and_key_len & 0xFFFF) as usize
    }

    fn bytes(&self) -> usize {
        HEAD_BYTES + self.key_len() + self.head().value_len as usize
    }

    #[inline]
    pub(crate) fn hash(&self) -> Hash48 {
        Hash48(self.head().hash_and_key_len >> 16)
    }

    #[inline]
    pub(crate) fn key(&self) -> &'a [u8] {
        // SAFETY: the key follows the head, and nobody changes it while this lives.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(HEAD_BYTES), self.key_len()) }
    }

    #[inline]
    pub(crate) fn value(&self) -> &'a [u8] {
        // SAFETY: the value follows the key, and nobody changes it while this lives.
        unsafe {
            let at = self.block.as_ptr().add(HEAD_BYTES + self.key_len());
            std::slice::from_raw_parts(at, self.head().value_len as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_a_hash_is_taken_from_bits_of_its_own() {
        let hash = |bit: u32| Hash48::of_bits(1 << (16 + bit));
        assert_eq!(Hash48::of_bits(0xFFFF), Hash48(0), "the lowest 16 are dropped");
        for bit in 0..HASH_BITS {
            let of = hash(bit);
            let parts = (of.tag(), of.line(), of.check());
            let expected = match bit {
                0..8 => (1 << bit, 0, 0),
                8..11 => (0, 1 << (bit - 8), 0),
                11..27 => (0, 0, 1 << (bit - 11)),
                // The way to a segment takes them from the highest on.
                _ => (0, 0, 0),
            };
            assert_eq!(parts, expected, "bit {bit}");
            assert!(of.bit(HASH_BITS - 1 - bit));
            assert_eq!(of.nibble((HASH_BITS - 1 - bit) & !3), 1 << (bit % 4));
        }
    }

    #[test]
    fn a_handle_tells_most_hashes_from_its_own() {
        let mut slab = Slab::default();
        let of = |number: u64| Hash48(number << 11);
        let handle = Handle::new(&mut slab, of(77), b"key", b"value");
        assert!(handle.may_be(of(77)) && handle.may_be(of(77 + 65_536)));
        assert_eq!((0..65_536).filter(|number| handle.may_be(of(*number))).count(), 1);
        // SAFETY: nobody uses the row any more, and it came out of this slab.
        unsafe { handle.free(&mut slab) };
        assert_eq!(slab.used_bytes(), 0);
    }
}
