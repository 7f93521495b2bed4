//! The drive's volatile cache: what it has taken and not put on the medium.

use host::{ALIGNMENT, AlignedBuf};

use super::{File, NodeDisk, Page, Torn};
use crate::prng::Prng;

/// A write in the drive's volatile cache, with what the medium holds.
pub(super) struct Cached {
    file: File,
    offset: u64,
    medium: Vec<Option<Page>>,
}

impl NodeDisk {
    /// A write to this place has ended: it is on the medium, and with it what the cache holds of the same place.
    pub(super) fn flush_cache(&mut self, file: File, offset: u64, end: u64) {
        let overlaps = |cached: &Cached| {
            let cached_end = cached.offset + (cached.medium.len() * ALIGNMENT) as u64;
            cached.file == file && cached.offset < end && offset < cached_end
        };
        self.cached.retain(|cached| !overlaps(cached));
    }

    /// Leaves of a write under way what the death of a process leaves while its machine runs on: as [`NodeDisk::tear`], but
    /// in the drive's volatile cache, and lost if power fails before the same place is written again.
    pub fn tear_into_cache(&mut self, file: File, offset: u64, buf: &AlignedBuf, prng: &mut Prng) -> Torn {
        if let Some(inode) = &self.inodes[file.0 as usize] {
            let end = ((offset as usize + buf.len()) / ALIGNMENT).min(inode.pages.len());
            let pages = (offset as usize / ALIGNMENT).min(end)..end;
            self.cached.push(Cached { file, offset, medium: inode.pages[pages].to_vec() });
        }
        self.tear(file, offset, buf, prng)
    }

    /// Power fails: what is in the volatile cache may be lost. Returns how many writes were.
    pub fn lose_power(&mut self, prng: &mut Prng) -> u64 {
        let mut lost_count = 0;
        while let Some(Cached { file, offset, medium }) = self.cached.pop() {
            let Some(inode) = self.inodes[file.0 as usize].as_mut().filter(|_| prng.bernoulli(500_000)) else {
                continue;
            };
            let first = offset as usize / ALIGNMENT;
            for (page, before) in inode.pages.iter_mut().skip(first).zip(medium) {
                *page = before;
            }
            lost_count += 1;
        }
        lost_count
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::SECTOR_BYTES;
    use super::*;

    #[test]
    fn what_a_process_did_not_see_the_end_of_is_lost_with_power_unless_it_is_written_again() {
        let mut prng = Prng::stream(1, "disk");
        let (mut lost, mut kept) = (0, 0);
        for is_written_again in [false, true] {
            for _ in 0..100 {
                let mut disk = NodeDisk::new(SECTOR_BYTES[0]);
                let file = disk.create(Path::new("/log"), 1 << 16).unwrap();
                disk.sync_names();
                let mut buf = AlignedBuf::zeroed(ALIGNMENT);
                buf[0] = 7;
                let torn = disk.tear_into_cache(file, 0, &buf, &mut prng);
                let is_there = |disk: &NodeDisk| disk.read(file, 0, ALIGNMENT).unwrap()[0] == 7;
                if torn != Torn::Whole {
                    continue;
                }
                assert!(is_there(&disk), "the drive answers from its cache");
                if is_written_again {
                    disk.write(file, 0, &buf).unwrap();
                }
                disk.lose_power(&mut prng);
                assert!(!is_written_again || is_there(&disk));
                lost += u32::from(!is_there(&disk));
                kept += u32::from(is_there(&disk));
            }
        }
        assert!(lost > 0 && kept > 0, "{lost} {kept}");
    }
}
