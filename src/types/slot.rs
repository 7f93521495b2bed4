//! Hash slots: how a key finds its group.
//!
//! `slot = CRC16/XMODEM(key or its {tag}) mod 16384`, as in the Redis Cluster specification.

use core::fmt;

/// How many hash slots there are.
pub const SLOTS_COUNT: usize = 16_384;

/// One of the 16,384 hash slots. Invariant: `self.0 < SLOTS_COUNT`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(u16);

impl Slot {
    /// The last one.
    pub const MAX: Slot = Slot(SLOTS_COUNT as u16 - 1);

    /// The slot with this number, or `None` if there is no such slot.
    pub const fn new(number: u16) -> Option<Slot> {
        if (number as usize) < SLOTS_COUNT { Some(Slot(number)) } else { None }
    }

    /// The slot a key belongs to. If the key holds a non-empty `{tag}`, only the tag is hashed, so that
    /// keys with one tag share a slot.
    pub fn of_key(key: &[u8]) -> Slot {
        Slot(crc16(hashed_part(key)) % SLOTS_COUNT as u16)
    }

    /// The number of the slot.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The number as an index into an array of [`SLOTS_COUNT`] elements.
    pub const fn idx(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The bytes between the first `{` and the first `}` behind it, or the whole key if there is no such pair
/// or nothing stands between them.
fn hashed_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|byte| *byte == b'{') else { return key };
    let tail = &key[open + 1..];
    match tail.iter().position(|byte| *byte == b'}') {
        None | Some(0) => key,
        Some(close) => &tail[..close],
    }
}

/// CRC16/XMODEM: polynomial 0x1021, initial value 0, not reflected.
fn crc16(bytes: &[u8]) -> u16 {
    // Four bytes a step (slicing by four): the key is on the path of every request.
    let (fours, rest) = bytes.as_chunks::<4>();
    let mut crc = 0u16;
    for [first, second, third, fourth] in fours {
        let high = (crc >> 8) as u8 ^ first;
        let low = crc as u8 ^ second;
        crc = TABLES[3][high as usize]
            ^ TABLES[2][low as usize]
            ^ TABLES[1][*third as usize]
            ^ TABLES[0][*fourth as usize];
    }
    for byte in rest {
        crc = (crc << 8) ^ TABLES[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// `TABLES[n][b]` is the CRC of the byte `b` followed by `n` zero bytes.
static TABLES: [[u16; 256]; 4] = tables();

const fn tables() -> [[u16; 256]; 4] {
    let mut tables = [[0u16; 256]; 4];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < tables.len() {
        byte = 0;
        while byte < 256 {
            let crc = tables[zeros - 1][byte];
            tables[zeros][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crc16_bitwise(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0u16, |crc, byte| {
            (0..8).fold(
                crc ^ (u16::from(*byte) << 8),
                |crc, _| {
                    if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
                },
            )
        })
    }

    #[test]
    fn crc_matches_its_check_value_and_the_definition() {
        assert_eq!(crc16(b"123456789"), 0x31C3, "the check value of CRC16/XMODEM");
        let bytes: [u8; 64] = core::array::from_fn(|i| (i * 37 + 11) as u8);
        for len in 0..bytes.len() {
            assert_eq!(crc16(&bytes[..len]), crc16_bitwise(&bytes[..len]), "length {len}");
        }
    }

    #[test]
    fn keys_hash_as_in_redis_cluster() {
        // Values from a running Redis 7: CLUSTER KEYSLOT.
        for (key, slot) in [("foo", 12182), ("bar", 5061), ("", 0), ("somekey", 11058)] {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn only_a_non_empty_tag_is_hashed() {
        let slot = |key: &str| Slot::of_key(key.as_bytes());
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"), "an empty first tag: the whole key counts");
        assert_ne!(slot("foo{bar"), slot("bar"));
    }
}
