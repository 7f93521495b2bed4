//! Sizes and places.

use std::path::PathBuf;

use host::ALIGNMENT;
use types::GroupId;
use types::limits::ENTRY_BYTES_MAX;

use crate::error::Error;

/// Largest segment: offsets in the index are 32 bits wide.
const SEGMENT_BYTES_MAX: u64 = 1 << 31;

/// How a log is laid out. All sizes are in bytes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory of this core's segments, for example `DATA/wal/core-00`. Made if it is missing.
    pub dir: PathBuf,
    /// Tells this log from every other one. Random, and nothing that a client can know: so no payload passes for a block.
    pub log_id: u64,
    /// The groups that live on this core. Where blocks are lost, one that the log does not name may have lost all that it
    /// held: it is reported as quarantined then.
    pub groups: Vec<GroupId>,
    /// Length of a segment file; a multiple of 4,096. A record and the states of all groups must fit one.
    pub segment_bytes: u64,
    /// A block is closed once its next record would make it longer than this. One record may exceed it.
    pub block_bytes_max: usize,
    /// Bound on what is appended and not yet durable. The owner keeps to it, as [`crate::Wal::pending_bytes`] tells, before it
    /// takes entries in. Padding and headers come on top, so entries are refused with [`Error::Backlog`] beyond twice as much;
    /// hard states, truncations and marks are small and always accepted.
    pub pending_bytes_max: usize,
    /// How many segments are kept ready besides the next one, so that what was accepted can still be
    /// written when the disk is full.
    pub reserve_segments: usize,
    /// How many free segments are kept for later use; more than that are removed.
    pub recycled_segments_max: usize,
}

impl Config {
    /// The layout used in production: 64 MiB segments, blocks of about 1 MiB, one segment in reserve.
    pub fn new(dir: impl Into<PathBuf>) -> Config {
        Config {
            dir: dir.into(),
            log_id: 0,
            groups: Vec::new(),
            segment_bytes: 64 << 20,
            block_bytes_max: 1 << 20,
            pending_bytes_max: 4 * ENTRY_BYTES_MAX,
            reserve_segments: 1,
            recycled_segments_max: 2,
        }
    }

    /// Says what is wrong with the sizes, if anything.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let alignment = ALIGNMENT as u64;
        if self.segment_bytes == 0 || !self.segment_bytes.is_multiple_of(alignment) {
            return Err(Error::Config("segment_bytes must be a positive multiple of 4096"));
        }
        if self.segment_bytes > SEGMENT_BYTES_MAX {
            return Err(Error::Config("segment_bytes must not exceed 2 GiB"));
        }
        if self.block_bytes_max < ALIGNMENT || self.block_bytes_max as u64 > self.segment_bytes {
            return Err(Error::Config("block_bytes_max must lie between 4096 and segment_bytes"));
        }
        if self.pending_bytes_max < self.block_bytes_max {
            return Err(Error::Config("pending_bytes_max must be at least block_bytes_max"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_at_their_bounds() {
        let check = |change: &dyn Fn(&mut Config)| {
            let mut config = Config::new("/nowhere");
            change(&mut config);
            config.check().is_ok()
        };
        assert!(check(&|_| {}));
        assert!(check(&|config| config.segment_bytes = SEGMENT_BYTES_MAX));
        assert!(!check(&|config| config.segment_bytes = SEGMENT_BYTES_MAX + 4_096));
        assert!(!check(&|config| config.segment_bytes -= 1));
        let smallest = |config: &mut Config| {
            (config.segment_bytes, config.block_bytes_max, config.pending_bytes_max) = (4_096, 4_096, 4_096);
        };
        assert!(check(&smallest));
        for wrong in [
            |config: &mut Config| config.segment_bytes = 0,
            |config: &mut Config| config.block_bytes_max = 4_095,
            |config: &mut Config| config.block_bytes_max = 4_097,
            |config: &mut Config| config.pending_bytes_max = 4_095,
        ] {
            assert!(!check(&|config| {
                smallest(config);
                wrong(config);
            }));
        }
        assert!(!check(&|config| config.block_bytes_max = 65 << 20), "longer than a segment");
    }
}
