//! Payloads as they are written.

use crc_fast::{CrcAlgorithm, Digest};
use resp::number::parse_i64;

use super::{
    CHECKSUM_BYTES, FOOT_BYTES, INT_8, INT_16, INT_32, LENGTH_14_BITS, LENGTH_32_BITS, RDB_VERSION, TYPE_STRING,
};

/// The type, and the longest head of a string of which the bytes follow.
const HEAD_BYTES_MAX: usize = 1 + 5;
/// The longest text of an `i32`.
const NUMBER_BYTES_MAX: usize = 11;

/// The payload of a value, which itself is not copied.
#[derive(Debug)]
pub(crate) struct Payload<'a> {
    head: Head,
    bytes: &'a [u8],
    foot: [u8; FOOT_BYTES],
}

impl<'a> Payload<'a> {
    /// Of a string.
    ///
    /// # Panics
    /// If it is longer than 4 GiB, which no value is.
    pub(crate) fn new(value: &'a [u8]) -> Payload<'a> {
        let (head, bytes) = encode(value);
        let version = RDB_VERSION.to_le_bytes();
        let checksum = checksum(&[head.bytes(), bytes, &version]).to_le_bytes();
        let mut foot = [0; FOOT_BYTES];
        foot[..2].copy_from_slice(&version);
        foot[2..].copy_from_slice(&checksum);
        Payload { head, bytes, foot }
    }

    /// What makes the payload, one behind the other.
    pub(crate) fn parts(&self) -> [&[u8]; 3] {
        [self.head.bytes(), self.bytes, &self.foot]
    }
}

/// How long the payload of a value is.
pub(crate) fn payload_bytes(value: &[u8]) -> usize {
    let (head, bytes) = encode(value);
    head.bytes().len() + bytes.len() + FOOT_BYTES
}

/// CRC-64 of the parts, one behind the other.
pub(super) fn checksum(parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(CrcAlgorithm::Crc64Redis);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// The type of a payload and what stands before the bytes of its string.
#[derive(Debug)]
struct Head {
    buf: [u8; HEAD_BYTES_MAX],
    // Invariant: <= HEAD_BYTES_MAX.
    len: usize,
}

impl Head {
    fn new(of_string: &[u8]) -> Head {
        let mut buf = [0; HEAD_BYTES_MAX];
        buf[0] = TYPE_STRING;
        buf[1..1 + of_string.len()].copy_from_slice(of_string);
        Head { buf, len: 1 + of_string.len() }
    }

    fn bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }
}

/// The head, and what of the value's bytes follows it: all of them, or none of a number's.
fn encode(value: &[u8]) -> (Head, &[u8]) {
    let number = Some(value).filter(|value| value.len() <= NUMBER_BYTES_MAX).and_then(parse_i64);
    if let Some(number) = number.and_then(|number| i32::try_from(number).ok()) {
        return (encode_number(number), &[]);
    }
    let len = u32::try_from(value.len()).expect("a value is shorter than 4 GiB");
    let head = match len {
        // The upper bits that stand for this are 0.
        0..64 => Head::new(&[len as u8]),
        64..16_384 => {
            let [.., upper, lower] = len.to_be_bytes();
            Head::new(&[LENGTH_14_BITS << 6 | upper, lower])
        }
        _ => {
            let [a, b, c, d] = len.to_be_bytes();
            Head::new(&[LENGTH_32_BITS, a, b, c, d])
        }
    };
    (head, value)
}

fn encode_number(number: i32) -> Head {
    if let Ok(number) = i8::try_from(number) {
        return Head::new(&[INT_8, number.to_le_bytes()[0]]);
    }
    if let Ok(number) = i16::try_from(number) {
        let [a, b] = number.to_le_bytes();
        return Head::new(&[INT_16, a, b]);
    }
    let [a, b, c, d] = number.to_le_bytes();
    Head::new(&[INT_32, a, b, c, d])
}

const _: () = assert!(types::limits::VALUE_BYTES_MAX <= u32::MAX as usize, "a length fits the longest head");
const _: () = assert!(FOOT_BYTES == size_of_val(&RDB_VERSION) + CHECKSUM_BYTES);
