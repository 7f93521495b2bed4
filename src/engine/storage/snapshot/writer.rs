//! From payloads to blocks: what `lsm::Former` has collected in the turn is sealed in a task.

use host::AlignedBuf;
use xxhash_rust::xxh3::Xxh3;

use super::format::{BLOCK_HEADER_BYTES, BlockHeader, BlockKind, FileHeader, FileId, Footer};

/// Makes blocks of payloads: places, checksums, the chain and the digest.
pub struct Sealer {
    file: FileId,
    sequence: u64,
    /// Where the next block goes, in bytes.
    offset: u64,
    chain: u32,
    digest: Box<Xxh3>,
}

impl Sealer {
    /// The beginning of a file, and its first block.
    pub fn begin(file: FileId, header: &FileHeader) -> (Sealer, AlignedBuf) {
        let mut sealer = Sealer { file, sequence: 0, offset: 0, chain: 0, digest: Box::new(Xxh3::new()) };
        let mut payload = Vec::new();
        header.encode(&mut payload);
        let block = sealer.seal_bytes(BlockKind::Header, &payload);
        (sealer, block)
    }

    /// Where the next block goes, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes a block of a payload that the [`lsm::Former`] has closed.
    pub fn seal_keys(&mut self, payload: AlignedBuf) -> AlignedBuf {
        self.seal(BlockKind::Keys, payload)
    }

    /// The last block.
    pub fn end(mut self, keys_count: u64) -> AlignedBuf {
        let mut payload = Vec::new();
        Footer { keys_count, digest: self.digest.digest128() }.encode(&mut payload);
        self.seal_bytes(BlockKind::Footer, &payload)
    }

    fn seal_bytes(&mut self, kind: BlockKind, payload: &[u8]) -> AlignedBuf {
        let mut block = AlignedBuf::with_capacity(BLOCK_HEADER_BYTES + payload.len());
        block.extend_from_slice(&[0; BLOCK_HEADER_BYTES]);
        block.extend_from_slice(payload);
        self.seal(kind, block)
    }

    fn seal(&mut self, kind: BlockKind, mut block: AlignedBuf) -> AlignedBuf {
        let payload_len = (block.len() - BLOCK_HEADER_BYTES) as u32;
        // What lies behind a buffer's length is zero up to its capacity, a whole number of blocks.
        block.pad_to_alignment();
        let header = BlockHeader {
            file: self.file,
            kind,
            sequence: self.sequence,
            offset: self.offset,
            payload_len,
            payload_crc: crc32fast::hash(&block[BLOCK_HEADER_BYTES..]),
            chain: self.chain,
        };
        let (bytes, crc) = header.encode();
        block[..BLOCK_HEADER_BYTES].copy_from_slice(&bytes);
        self.digest.update(&block);
        self.sequence += 1;
        self.offset += block.len() as u64;
        self.chain = crc;
        block
    }
}
