//! What one copy of the manifest holds.

use host::ALIGNMENT;

use crate::codec::Input;
use crate::error::FormatError;

use super::block::{BlockHeader, HEADER_BYTES};
use super::edit::Edit;

/// What one copy of the manifest holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// Id of the store; 0 without a block.
    pub store: u64,
    /// Its epoch; 0 without a block.
    pub epoch: u64,
    /// Sound blocks from the beginning on.
    pub blocks: u64,
    /// Length of the copy.
    pub len: u64,
    /// Length of the sound blocks.
    pub end: u64,
    /// Checksum of the last one's header.
    pub chain: u32,
    /// Their edits.
    pub edits: Vec<Edit>,
    /// The latest epoch of a block anywhere in the copy, and the greatest number of a block of that epoch.
    pub latest: (u64, u64),
    /// Whether nothing but zeros follows the sound blocks.
    pub ends_clean: bool,
}

impl Copy {
    /// Whether the state at the beginning of the epoch is whole.
    pub fn is_complete(&self) -> bool {
        self.edits.contains(&Edit::Complete)
    }
}

/// Reads a copy. Fails if it was written in a version or with features that are not known, or tells what cannot be read
/// under checksums that are right.
pub fn scan(bytes: &[u8]) -> Result<Copy, FormatError> {
    scan_blocks(bytes, |_, _| {})
}

/// Reads a copy as [`scan`] does. `seen` is shown each sound block, with its edits.
pub fn scan_blocks(bytes: &[u8], mut seen: impl FnMut(&BlockHeader, &[Edit])) -> Result<Copy, FormatError> {
    let mut copy = Copy { ends_clean: true, len: bytes.len() as u64, ..Copy::default() };
    while let Some(Block { header, crc, edits }) = next_block(&copy, bytes)? {
        let edits = read_edits(edits)?;
        seen(&header, &edits);
        copy.edits.extend(edits);
        (copy.store, copy.epoch) = (header.store, header.epoch);
        copy.blocks += 1;
        copy.end += header.block_bytes();
        copy.chain = crc;
    }
    copy.latest = (copy.epoch, copy.blocks);
    let begin = usize::try_from(copy.end).map_err(|_| FormatError::Truncated)?;
    for unit in bytes.get(begin..).unwrap_or_default().chunks(ALIGNMENT) {
        copy.ends_clean &= unit.iter().all(|byte| *byte == 0);
        if let Ok((header, _)) = BlockHeader::decode(unit) {
            copy.latest = copy.latest.max((header.epoch, header.seq));
        }
    }
    Ok(copy)
}

/// A sound block.
struct Block<'a> {
    header: BlockHeader,
    crc: u32,
    edits: &'a [u8],
}

/// The block behind the sound ones, if it is sound too.
fn next_block<'a>(copy: &Copy, bytes: &'a [u8]) -> Result<Option<Block<'a>>, FormatError> {
    let Some(bytes) = usize::try_from(copy.end).ok().and_then(|end| bytes.get(end..)) else { return Ok(None) };
    let (header, crc) = match BlockHeader::decode(bytes) {
        Ok(found) => found,
        Err(error @ (FormatError::Version { .. } | FormatError::Features { .. })) => return Err(error),
        Err(_) => return Ok(None),
    };
    let is_next = header.seq == copy.blocks + 1 && header.offset == copy.end && header.chain == copy.chain;
    let is_of_epoch = copy.blocks == 0 || (header.store, header.epoch) == (copy.store, copy.epoch);
    let edits = bytes.get(HEADER_BYTES..).and_then(|rest| rest.get(..header.edits_len as usize));
    let edits = edits.filter(|edits| is_next && is_of_epoch && crc32fast::hash(edits) == header.edits_crc);
    Ok(edits.map(|edits| Block { header, crc, edits }))
}

fn read_edits(bytes: &[u8]) -> Result<Vec<Edit>, FormatError> {
    let mut input = Input::new(bytes);
    let mut edits = Vec::new();
    while input.len() > 0 {
        edits.push(Edit::decode(input.string()?)?);
    }
    Ok(edits)
}
