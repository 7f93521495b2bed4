//! Checking the copies of a manifest that is in use: that they hold what was written to them.

use host::{ALIGNMENT, Disk, IoClass};

use crate::error::{Error, FormatError};
use crate::files::{FileReader, Files};
use crate::pace::Pace;

use super::block::{BlockHeader, HEADER_BYTES};
use super::log::NAMES;
use super::written::Written;

/// Bytes that are read and checked in one go.
const SLICE_BYTES: usize = 64 << 10;

const _: () = assert!(SLICE_BYTES.is_multiple_of(ALIGNMENT));

/// Reads both copies of a manifest and checks that they hold what was written. More may stand behind that by now, and a copy of a later
/// epoch is not looked into. Returns how many bytes were read.
///
/// # Errors
/// A copy cannot be read, or is damaged: the error names it, and the block that is.
pub async fn verify_copies<D: Disk, P: Pace>(
    files: &Files<D>,
    written: &Written,
    class: IoClass,
    pace: &P,
) -> Result<u64, Error> {
    let mut bytes = 0;
    for name in NAMES {
        let copy = files.open_to_read(name).await?;
        bytes += verify_copy(&copy, written, class, pace).await?;
    }
    Ok(bytes)
}

async fn verify_copy<D: Disk, P: Pace>(
    copy: &FileReader<D>,
    written: &Written,
    class: IoClass,
    pace: &P,
) -> Result<u64, Error> {
    let (mut offset, mut chain) = (0, 0);
    for seq in 1..=written.blocks {
        let first = copy.read(offset, ALIGNMENT, class).await?;
        let (header, crc) = BlockHeader::decode(&first).map_err(|source| copy.damaged(offset, source))?;
        if header.epoch > written.epoch {
            return Ok(offset);
        }
        let is_next = (header.store, header.epoch, header.seq, header.offset, header.chain)
            == (written.store, written.epoch, seq, offset, chain);
        if !is_next || header.block_bytes() > written.end - offset {
            return Err(
                copy.damaged(offset, FormatError::Malformed("a block of the manifest is not the one written here"))
            );
        }
        pace.pause(first.len()).await;
        let edits_crc = edits_crc(copy, (offset, &header), &first, class, pace).await?;
        if edits_crc != header.edits_crc {
            return Err(copy.damaged(offset, FormatError::Checksum));
        }
        offset += header.block_bytes();
        chain = crc;
    }
    match (offset, chain) == (written.end, written.chain) {
        true => Ok(offset),
        false => {
            Err(copy.damaged(offset, FormatError::Malformed("the last block of the manifest is not the one written")))
        }
    }
}

/// The checksum of what stands where the edits of a block do, of which the first bytes were read.
async fn edits_crc<D: Disk, P: Pace>(
    copy: &FileReader<D>,
    (offset, header): (u64, &BlockHeader),
    first: &[u8],
    class: IoClass,
    pace: &P,
) -> Result<u32, Error> {
    let mut left = header.edits_len as usize;
    let mut hasher = crc32fast::Hasher::new();
    let mut take = |bytes: &[u8]| {
        let taken = left.min(bytes.len());
        hasher.update(&bytes[..taken]);
        left -= taken;
    };
    take(first.get(HEADER_BYTES..).unwrap_or_default());
    let (mut at, end) = (offset + first.len() as u64, offset + header.block_bytes());
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(SLICE_BYTES).min(SLICE_BYTES);
        take(&copy.read(at, len, class).await?);
        pace.pause(len).await;
        at += len as u64;
    }
    Ok(hasher.finalize())
}
