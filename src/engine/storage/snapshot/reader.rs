//! From blocks to what they hold, trusting nothing.

use types::GroupId;
use xxhash_rust::xxh3::Xxh3;

use super::format::{BLOCK_HEADER_BYTES, BlockHeader, BlockKind, FileHeader, FileId, Footer, Record};
use crate::load_error::Corrupt;

/// Checks the blocks of a file one after another.
pub struct Verifier {
    group: GroupId,
    file: Option<(FileId, FileHeader)>,
    sequence: u64,
    offset: u64,
    chain: u32,
    keys_count: u64,
    digest: Box<Xxh3>,
    is_complete: bool,
}

impl Verifier {
    /// At the beginning of a file that should hold the state of `group`.
    pub fn new(group: GroupId) -> Verifier {
        Verifier {
            group,
            file: None,
            sequence: 0,
            offset: 0,
            chain: 0,
            keys_count: 0,
            digest: Box::new(Xxh3::new()),
            is_complete: false,
        }
    }

    /// Where the next block begins, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the block that begins with these bytes, at least [`BLOCK_HEADER_BYTES`] of them.
    pub fn block_bytes(&self, bytes: &[u8]) -> Result<usize, Corrupt> {
        BlockHeader::decode(bytes).map(|(header, _)| header.block_bytes()).map_err(|what| self.corrupt(what))
    }

    /// Takes in the next block, all of it. Hands each key of it to `found`, which may refuse it.
    pub fn block(
        &mut self,
        bytes: &[u8],
        mut found: impl FnMut(Record<'_>) -> Result<(), &'static str>,
    ) -> Result<(), Corrupt> {
        let (header, crc) = self.expected(bytes).map_err(|what| self.corrupt(what))?;
        let payload = bytes
            .get(BLOCK_HEADER_BYTES..BLOCK_HEADER_BYTES + header.payload_len as usize)
            .ok_or(self.corrupt("it is cut off"))?;
        match header.kind {
            BlockKind::Header => {
                let content = FileHeader::decode(payload).map_err(|what| self.corrupt(what))?;
                self.file = Some((header.file, content));
            }
            BlockKind::Keys => {
                let mut rest = payload;
                while !rest.is_empty() {
                    let record = Record::take(&mut rest).map_err(|what| self.corrupt(what))?;
                    found(record).map_err(|what| self.corrupt(what))?;
                    self.keys_count += 1;
                }
            }
            BlockKind::Footer => self.check_end(payload).map_err(|what| self.corrupt(what))?,
        }
        self.digest.update(bytes);
        self.sequence += 1;
        self.offset += bytes.len() as u64;
        self.chain = crc;
        Ok(())
    }

    /// The file has ended here.
    pub fn finish(self) -> Result<(FileId, FileHeader), Corrupt> {
        match self.file {
            Some(file) if self.is_complete => Ok(file),
            _ => Err(Corrupt::Truncated { offset: self.offset }),
        }
    }

    /// The header of the block, if it is the next of this very file and its checksums hold.
    fn expected(&self, bytes: &[u8]) -> Result<(BlockHeader, u32), &'static str> {
        let (header, crc) = BlockHeader::decode(bytes)?;
        if bytes.len() != header.block_bytes() {
            return Err("it has another length");
        }
        if crc32fast::hash(&bytes[BLOCK_HEADER_BYTES..]) != header.payload_crc {
            return Err("the checksum of its content does not match");
        }
        let is_first = self.sequence == 0;
        let rules = [
            (!self.is_complete, "it stands behind the footer"),
            (header.file.group == self.group, "it belongs to another group"),
            (self.file.as_ref().is_none_or(|(file, _)| *file == header.file), "it belongs to another snapshot"),
            (header.sequence == self.sequence && header.offset == self.offset, "it belongs to another place"),
            (header.chain == self.chain, "it does not follow the block before it"),
            (is_first == (header.kind == BlockKind::Header), "a header must come first, and nothing else may"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, what)) => Err(what),
            None => Ok((header, crc)),
        }
    }

    fn check_end(&mut self, payload: &[u8]) -> Result<(), &'static str> {
        let footer = Footer::decode(payload)?;
        if footer.digest != self.digest.digest128() {
            return Err("the digest of the file does not match");
        }
        let claimed = self.file.as_ref().map(|(_, header)| header.keys_count);
        if footer.keys_count != self.keys_count || claimed != Some(self.keys_count) {
            return Err("the number of keys does not match");
        }
        self.is_complete = true;
        Ok(())
    }

    fn corrupt(&self, what: &'static str) -> Corrupt {
        Corrupt::Block { offset: self.offset, what }
    }
}
