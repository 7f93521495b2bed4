//! One key with its value: a block of the slab, and the handle by which a segment holds it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::num::NonZeroU64;
use std::ptr::{self, NonNull};

use types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};
use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::rows::cache::load;
use crate::rows::flags::Flags;
use crate::rows::slab::{Slab, block_bytes};

/// Bits of a key's hash that a row keeps, and by which rows are ordered.
pub(crate) const HASH_BITS: u32 = 48;
/// Bytes before the key.
const HEAD_BYTES: usize = 16;

/// The beginning of a row's block. Behind it come the expiry, if there is one, the key and the value.
#[repr(C)]
struct Head {
    /// The hash in the upper 48 bits, in the lower 16 those of the key's length.
    hash_and_key_len: u64,
    value_len: u32,
    /// What kind of value it is; what that means is not for this crate to say.
    kind: u8,
    /// Changed also where the row is only looked at.
    flags: Cell<Flags>,
    /// The rest of the key's length: one of 64 KiB needs 17 bits.
    key_len_high: u16,
}

const _: () = assert!(size_of::<Head>() == HEAD_BYTES);

/// Bytes between the head and the key of a row that expires: when it does.
const EXPIRY_BYTES: usize = 8;
const _: () = assert!(KEY_BYTES_MAX < 1 << 32 && VALUE_BYTES_MAX <= u32::MAX as usize, "their lengths fit the head");

/// What a row is to hold.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// What kind of value it is.
    pub kind: u8,
    /// When the row expires, in milliseconds since 1970 UTC.
    pub expiry_ms: Option<u64>,
    /// The value, in two parts.
    pub value: [&'a [u8]; 2],
}

impl<'a> Content<'a> {
    /// Of a tombstone: nothing.
    pub(crate) const NOTHING: Content<'static> = Content { kind: 0, expiry_ms: None, value: [b"", b""] };

    /// A value of kind 0 that does not expire.
    #[inline]
    pub fn plain(value: &'a [u8]) -> Content<'a> {
        Content { kind: 0, expiry_ms: None, value: [value, b""] }
    }

    #[inline]
    fn value_len(&self) -> usize {
        self.value[0].len() + self.value[1].len()
    }

    #[inline]
    fn row_bytes(&self, key_len: usize) -> usize {
        HEAD_BYTES + usize::from(self.expiry_ms.is_some()) * EXPIRY_BYTES + key_len + self.value_len()
    }

    /// # Safety
    /// `at` has room for the value, and nobody looks there.
    #[inline]
    unsafe fn write_value(&self, at: *mut u8) {
        let [first, second] = self.value;
        // SAFETY: as the caller says; a value's parts are not where rows lie that nobody looks at.
        unsafe {
            ptr::copy_nonoverlapping(first.as_ptr(), at, first.len());
            ptr::copy_nonoverlapping(second.as_ptr(), at.add(first.len()), second.len());
        }
    }
}

/// Hash of a key, its upper 16 bits 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hash48(u64);

impl Hash48 {
    /// The lowest.
    pub(crate) const MIN: Hash48 = Hash48(0);

    /// From its number, of which the lower 48 bits count.
    pub(crate) fn of_number(number: u64) -> Hash48 {
        Hash48(number & ((1 << HASH_BITS) - 1))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }

    /// The one behind all that share their first `bits` bits with this one; `None` if there is none.
    #[inline]
    pub(crate) fn behind_prefix(self, bits: u32) -> Option<Hash48> {
        let next = (self.0 >> (HASH_BITS - bits)) + 1;
        (next >> bits == 0).then_some(Hash48(next << (HASH_BITS - bits)))
    }

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
    /// A new row with these flags; whether it expires, the content says.
    pub(crate) fn new(slab: &mut Slab, hash: Hash48, key: &[u8], content: &Content<'_>, flags: Flags) -> Handle {
        assert!(
            key.len() <= KEY_BYTES_MAX && content.value_len() <= VALUE_BYTES_MAX,
            "longer ones were refused before"
        );
        let block = slab.alloc(content.row_bytes(key.len()));
        let head = Head {
            hash_and_key_len: hash.0 << 16 | key.len() as u64 & 0xFFFF,
            value_len: content.value_len() as u32,
            kind: content.kind,
            flags: Cell::new(flags.with_expiry(content.expiry_ms.is_some())),
            key_len_high: (key.len() >> 16) as u16,
        };
        // SAFETY: the block is as long as all that is written together, and nobody else has it.
        unsafe {
            block.cast::<Head>().write(head);
            let mut at = block.as_ptr().add(HEAD_BYTES);
            if let Some(expiry_ms) = content.expiry_ms {
                at.cast::<u64>().write(expiry_ms);
                at = at.add(EXPIRY_BYTES);
            }
            ptr::copy_nonoverlapping(key.as_ptr(), at, key.len());
            content.write_value(at.add(key.len()));
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

    /// Has the first two lines of the row's block loaded: the head, and all of most keys.
    #[inline]
    pub(crate) fn load(self) {
        let at = self.block().as_ptr();
        load(at);
        load(at.wrapping_add(64));
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

    /// # Safety
    /// Nobody looks at the row as long as the result lives.
    #[inline]
    unsafe fn head_mut<'a>(self) -> &'a mut Head {
        // SAFETY: a block begins with its head; the rest is as the caller says.
        unsafe { self.block().cast().as_mut() }
    }

    /// Gives the row other content where it lies. False if its block has another length than that asks for: then nothing has
    /// changed.
    ///
    /// # Safety
    /// Nobody looks at the row meanwhile.
    #[inline]
    pub(crate) unsafe fn overwrite(self, content: &Content<'_>) -> bool {
        // SAFETY: nobody changes the row but this.
        let row = unsafe { self.row() };
        let (key_len, value_at) = (row.key_len(), row.value_at());
        if content.expiry_ms.is_some() != row.expires()
            || block_bytes(content.row_bytes(key_len)) != block_bytes(row.bytes())
        {
            return false;
        }
        // SAFETY: the block is long enough, as was just asked, and no part of the value lies in it: nobody looks at the row.
        unsafe {
            content.write_value(self.block().as_ptr().add(value_at));
            let head = self.head_mut();
            head.value_len = content.value_len() as u32;
            head.kind = content.kind;
            if let Some(expiry_ms) = content.expiry_ms {
                self.block().as_ptr().add(HEAD_BYTES).cast::<u64>().write(expiry_ms);
            }
        }
        true
    }

    /// Writes a part of the value where it lies, and makes the value longer if it ends behind its end; what lies between is zero.
    /// False if the block is too short: then nothing has changed.
    ///
    /// # Safety
    /// Nobody looks at the row meanwhile.
    pub(crate) unsafe fn write_at(self, offset: usize, bytes: &[u8]) -> bool {
        // SAFETY: nobody changes the row but this.
        let row = unsafe { self.row() };
        let (value_at, len) = (row.value_at(), row.value().len());
        let end = offset + bytes.len();
        if end > len && block_bytes(value_at + end) != block_bytes(row.bytes()) {
            return false;
        }
        // SAFETY: the block is long enough, as was just asked, and the bytes do not lie in it: nobody looks at the row.
        unsafe {
            let value = self.block().as_ptr().add(value_at);
            if offset > len {
                value.add(len).write_bytes(0, offset - len);
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), value.add(offset), bytes.len());
            self.head_mut().value_len = len.max(end) as u32;
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
pub struct Row<'a> {
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
    fn key_at(&self) -> usize {
        HEAD_BYTES + usize::from(self.expires()) * EXPIRY_BYTES
    }

    #[inline]
    fn key_len(&self) -> usize {
        let head = self.head();
        (head.hash_and_key_len & 0xFFFF) as usize | usize::from(head.key_len_high) << 16
    }

    #[inline]
    fn value_at(&self) -> usize {
        self.key_at() + self.key_len()
    }

    /// Bytes of the block that it lies in.
    #[inline]
    pub(crate) fn block_bytes(&self) -> usize {
        block_bytes(self.bytes())
    }

    fn bytes(&self) -> usize {
        self.value_at() + self.head().value_len as usize
    }

    #[inline]
    fn slice(&self, at: usize, len: usize) -> &'a [u8] {
        // SAFETY: callers ask for what lies in the block, and nobody changes it while this lives.
        unsafe { std::slice::from_raw_parts(self.block.as_ptr().add(at), len) }
    }

    #[inline]
    pub(crate) fn hash(&self) -> Hash48 {
        Hash48(self.head().hash_and_key_len >> 16)
    }

    #[inline]
    pub(crate) fn flags(&self) -> Flags {
        self.head().flags.get()
    }

    /// Whether it expires is to stay as it is: that says where the key lies.
    #[inline]
    pub(crate) fn set_flags(&self, flags: Flags) {
        debug_assert_eq!(flags.expires(), self.expires());
        self.head().flags.set(flags);
    }

    /// Somebody has looked for the key. It costs a store only where nobody has yet.
    #[inline]
    pub(crate) fn note_reference(&self) {
        let flags = self.flags();
        if !flags.is_referenced() {
            self.set_flags(flags.with_referenced(true));
        }
    }

    /// The row of a key that is known not to be there.
    #[inline]
    pub fn is_absent(&self) -> bool {
        self.flags().is_absent()
    }

    #[inline]
    pub(crate) fn expires(&self) -> bool {
        self.flags().expires()
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'a [u8] {
        self.slice(self.key_at(), self.key_len())
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> &'a [u8] {
        self.slice(self.value_at(), self.head().value_len as usize)
    }

    /// The key, and the value right behind it.
    pub(crate) fn key_and_value(&self) -> &'a [u8] {
        self.slice(self.key_at(), self.key_len() + self.head().value_len as usize)
    }

    /// A digest of all that it holds, the same on every machine.
    pub fn digest(&self) -> u128 {
        let (key_len, kind) = (self.key_len() as u64, u64::from(self.kind()));
        let expiry = self.expiry_ms().map_or(0, |expiry_ms| expiry_ms.wrapping_add(1));
        // Multiplied, the expiry has its own part in every bit of the seed, which also says where the key ends.
        let seed = (key_len | kind << 32) ^ expiry.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        xxh3_128_with_seed(self.key_and_value(), seed)
    }

    /// How much memory it takes, in bytes, without its part of what leads to it.
    pub fn memory_bytes(&self) -> usize {
        block_bytes(self.bytes())
    }

    /// All that it holds besides its key.
    pub fn content(&self) -> Content<'a> {
        Content { kind: self.kind(), expiry_ms: self.expiry_ms(), value: [self.value(), b""] }
    }

    /// What kind of value it is.
    #[inline]
    pub fn kind(&self) -> u8 {
        self.head().kind
    }

    /// When the row expires, in milliseconds since 1970 UTC.
    #[inline]
    pub fn expiry_ms(&self) -> Option<u64> {
        // SAFETY: where the flag is set these bytes follow the head, and nobody changes them while this lives.
        self.expires().then(|| unsafe { self.block.as_ptr().add(HEAD_BYTES).cast::<u64>().read() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::flags::State;

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
        let handle = Handle::new(&mut slab, of(77), b"key", &Content::plain(b"value"), Flags::new(State::CLEAN));
        assert!(handle.may_be(of(77)) && handle.may_be(of(77 + 65_536)));
        assert_eq!((0..65_536).filter(|number| handle.may_be(of(*number))).count(), 1);
        // SAFETY: nobody uses the row any more, and it came out of this slab.
        unsafe { handle.free(&mut slab) };
        assert_eq!(slab.used_bytes(), 0);
    }
}
