//! Values as Redis serializes them: what `DUMP` answers and `RESTORE` takes.
//!
//! A payload is one value, self-contained and checked. All of it, byte by byte:
//!
//! ```text
//! type        u8        0 is a string; what else there is, is no value here
//! string                see below
//! version     u16 LE    of the format: RDB_VERSION
//! checksum    u64 LE    CRC-64 of everything before it (Jones's polynomial ad93d23594c935a9, reflected, from 0 on)
//! ```
//!
//! A string begins with a byte whose two upper bits say how it goes on:
//!
//! ```text
//! 00llllll                        l bytes of the string
//! 01llllll llllllll               the same, the upper bits of the length first
//! 10000000 u32 BE                 the same
//! 10000001 u64 BE                 the same
//! 11000000 i8                     the decimal form of a number
//! 11000001 i16 LE                 the same
//! 11000010 i32 LE                 the same
//! 11000011 length length bytes    compressed: how long it is in the payload, how long it becomes, and then LZF (`lzf`)
//! ```
//!
//! Here a value is written as Redis does without compression: as a number if its text is the one form of an `i32`, else as its bytes.
//! All that other servers may have written is read.
//!
//! Invariants:
//! - What is read is checked to its end before a byte is allocated for it, and then bounded by
//!   [`VALUE_BYTES_MAX`](types::limits::VALUE_BYTES_MAX): a length is a claim.
//! - Reading is a function of the payload alone, so that all replicas agree.
//!
//! Reading order: `write`, `read`, `lzf`.

mod lzf;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub(crate) use read::Serialized;
pub(crate) use write::{Payload, payload_bytes};

/// The version that payloads are written in: that of Redis 7.0.
const RDB_VERSION: u16 = 10;
/// The versions that are read: those in which a string is written as above. Redis has counted up to 12 with its version 8.0, and
/// Valkey goes its own way from 80 on, since its version 9.0.
const RDB_VERSIONS_READ: [core::ops::RangeInclusive<u16>; 2] = [0..=12, 80..=80];

const TYPE_STRING: u8 = 0;
/// Bytes of version and checksum.
const FOOT_BYTES: usize = 2 + 8;
const CHECKSUM_BYTES: usize = 8;

/// The upper bits of a string's first byte.
const LENGTH_6_BITS: u8 = 0b00;
const LENGTH_14_BITS: u8 = 0b01;
const ENCODED: u8 = 0b11;
/// The whole first byte.
const LENGTH_32_BITS: u8 = 0b1000_0000;
const LENGTH_64_BITS: u8 = 0b1000_0001;
const INT_8: u8 = 0b1100_0000;
const INT_16: u8 = 0b1100_0001;
const INT_32: u8 = 0b1100_0010;
const LZF: u8 = 0b1100_0011;
