//! Blob files: values that are too long for tables.
//!
//! A value of 16 KiB and more is written once to a blob file and moves along no merge; the row in a table says where it
//! lies ([`crate::table::BlobRef`]). A blob file is written from front to back and never changed. Which of its bytes
//! are live is known from the tables: each says how much of which blob files its rows lead to.
//!
//! # The file, byte by byte
//!
//! Version 1. Little-endian throughout.
//!
//! ```text
//! header, 64 bytes
//!  0 u32 crc32 of bytes 4..64
//!  4 u32 zero
//!  8 u64 store, 16 u64 number: the file's id
//! 24 u64 features without which it cannot be read: none yet
//! 32 u64 features that may be ignored: none yet
//! 40 u64 zero, 48 u64 zero
//! 56     "CORABLB1": the last byte is the version
//!
//! records, one behind another
//!  0 u32 length of the row key
//!  4 u32 length of the value
//!  8     the row key
//!        the value
//!        n × u32 for every 65,536 bytes of the value, the last ones of which may be fewer, the crc32 of: store and number of
//!                the file, offset of these bytes in it (3 × u64), these bytes
//!        u32     crc32 of: store, number, offset of the record (3 × u64), both lengths, the row key, the n checksums
//! zeros up to a 4,096-byte boundary, behind the last record
//! ```
//!
//! Values are not compressed. The checksums stand behind the value so that it can be written, and checked, a piece at a
//! time.
//!
//! Reading order: `record`, `builder`, `checker`.

mod builder;
mod checker;
mod record;

pub use builder::{BlobBuilder, BlobInfo};
pub use checker::BlobChecker;
pub use record::{BlobHeader, BlobRecord, HEADER_BYTES, PIECE_BYTES, RECORD_HEAD_BYTES, record_bytes, record_lens};
