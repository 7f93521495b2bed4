//! Where a `SCAN` goes on.

use resp::number::parse_i64;
use types::Slot;

/// Bits of a key's hash that a cursor holds: with those of a slot they make a number below 2^53, since some clients keep a cursor as a
/// floating-point number.
const PREFIX_BITS: u32 = 39;
const HASH_BITS: u32 = 48;
/// Bits of a hash that it does not hold: keys whose hashes differ only in these come together.
const DROPPED_BITS: u32 = HASH_BITS - PREFIX_BITS;
const SLOT_BITS: u32 = 14;
const _: () = assert!(types::SLOTS_COUNT == 1 << SLOT_BITS && SLOT_BITS + PREFIX_BITS == 53);

/// A place among the keys, which come slot by slot and within a slot by their hashes.
///
/// Clients see it as a number, 0 at the beginning and at the end: the slot in the upper 14 of 53 bits, below it the first 39 of the
/// hash. It means the same to every replica, before and after any restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanCursor {
    /// The slot.
    pub slot: Slot,
    /// The hash from which on, 48 bits of which the lower 9 are 0.
    pub hash: u64,
}

impl ScanCursor {
    /// Reads what a client sends back; `None` if no `SCAN` has answered that.
    pub fn parse(text: &[u8]) -> Option<ScanCursor> {
        let number = u64::try_from(parse_i64(text)?).ok()?;
        let slot = Slot::new(u16::try_from(number >> PREFIX_BITS).ok()?)?;
        Some(ScanCursor { slot, hash: (number << DROPPED_BITS) & ((1 << HASH_BITS) - 1) })
    }

    /// What clients are sent.
    pub fn number(self) -> u64 {
        u64::from(self.slot.number()) << PREFIX_BITS | self.hash >> DROPPED_BITS
    }

    /// The bits of a hash that a cursor does not hold.
    pub(crate) const DROPPED_MASK: u64 = (1 << DROPPED_BITS) - 1;

    /// Whether a cursor can name this hash: one that cannot is no place to stop at.
    pub(crate) fn can_name(hash: u64) -> bool {
        hash & ScanCursor::DROPPED_MASK == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_a_number_below_two_to_the_53() {
        let last = ScanCursor { slot: Slot::MAX, hash: ((1 << PREFIX_BITS) - 1) << DROPPED_BITS };
        assert_eq!(last.number(), (1 << 53) - 1);
        for cursor in [ScanCursor { slot: Slot::default(), hash: 0 }, ScanCursor { hash: 512, ..last }, last] {
            assert_eq!(ScanCursor::parse(cursor.number().to_string().as_bytes()), Some(cursor));
        }
        for text in ["", "-1", "x", "9007199254740992", "18446744073709551615", "1.0", " 1"] {
            assert_eq!(ScanCursor::parse(text.as_bytes()), None, "{text}");
        }
    }
}
