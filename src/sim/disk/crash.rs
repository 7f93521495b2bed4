//! What a crash leaves: of writes under way, of what was not synced, of names.

use std::collections::BTreeSet;

use host::{ALIGNMENT, AlignedBuf};

use super::cache::Cached;
use super::unsynced::torn;
use super::{File, Inode, NodeDisk, Torn, Undo};
use crate::prng::Prng;

impl NodeDisk {
    /// Leaves of a write under way what a crash leaves: nothing, everything, or some sectors.
    pub fn tear(&mut self, file: File, offset: u64, buf: &AlignedBuf, prng: &mut Prng) -> Torn {
        let parts = torn(buf.len(), self.sector_bytes, prng);
        for part in &parts {
            self.store(file, offset + part.start as u64, &buf[part.clone()]);
        }
        match parts.first() {
            None => Torn::Lost,
            Some(part) if part.len() == buf.len() => Torn::Whole,
            Some(part) => Torn::Partly { has_first: part.start == 0 },
        }
    }

    /// Leaves of a write under way what the death of a process leaves while its machine runs on: as [`NodeDisk::tear`], but
    /// in the drive's volatile cache, and lost if power fails before the same place is written again.
    pub fn tear_into_cache(&mut self, file: File, offset: u64, buf: &AlignedBuf, prng: &mut Prng) -> Torn {
        if let Some(inode) = self.inodes[file.inode as usize].as_ref().filter(|_| file.is_durable) {
            let end = ((offset as usize + buf.len()) / ALIGNMENT).min(inode.pages.len());
            let first_page = (offset as usize / ALIGNMENT).min(end);
            self.cached.push(Cached { file: file.inode, first_page, medium: inode.pages[first_page..end].to_vec() });
        }
        self.tear(file, offset, buf, prng)
    }

    /// Power fails: what is in the volatile cache may be lost, and so may what was not synced. Returns how many writes
    /// of the cache were.
    pub fn lose_power(&mut self, prng: &mut Prng) -> u64 {
        self.lose_unsynced(prng);
        let lost = self.cached.lose(prng);
        let lost_count = lost.len() as u64;
        for Cached { file, first_page, medium } in lost {
            let Some(inode) = &mut self.inodes[file as usize] else { continue };
            for (page, before) in inode.pages.iter_mut().skip(first_page).zip(medium) {
                *page = before;
            }
        }
        lost_count
    }

    fn lose_unsynced(&mut self, prng: &mut Prng) {
        let sector_bytes = self.sector_bytes;
        for Inode { len, pages, unsynced, .. } in self.inodes.iter_mut().flatten() {
            if let Some(unsynced) = unsynced {
                unsynced.lose_power(pages, len, sector_bytes, prng);
            }
        }
        for number in std::mem::take(&mut self.unsynced_names) {
            if prng.bernoulli(500_000) {
                self.names.retain(|_, named| *named != number);
                self.inodes[number as usize] = None;
            }
        }
        self.count_used();
    }

    /// What a crash does beside tearing writes: names that were not synced may be undone, and a write that was lost
    /// with nothing valid behind it is there after all, since nobody could tell.
    pub fn crash(&mut self, prng: &mut Prng) {
        let undone = prng.below(self.unsynced.len() as u64 + 1);
        for _ in 0..undone {
            match self.unsynced.pop() {
                Some(Undo::Created(path)) => {
                    if let Some(number) = self.names.remove(&path) {
                        self.free(number);
                    }
                }
                Some(Undo::Renamed { from, to, replaced }) => {
                    let moved = match replaced {
                        Some(number) => self.names.insert(to, number),
                        None => self.names.remove(&to),
                    };
                    if let Some(number) = moved {
                        self.names.insert(from, number);
                    }
                }
                Some(Undo::Removed(path, number)) => {
                    self.names.insert(path, number);
                }
                None => break,
            }
        }
        self.unsynced.clear();
        for hidden in std::mem::take(&mut self.hidden) {
            self.put(hidden.file, hidden.offset, &hidden.buf);
        }
        if self.forgets {
            let all = self.forgettable.len() as u64;
            let count = if self.forgets_all { all } else { prng.below(all + 1) };
            for _ in 0..count {
                let Some((file, offset, before)) = self.forgettable.pop_back() else { break };
                if let Some(inode) = self.inodes[file.inode as usize].as_mut() {
                    let first = offset as usize / ALIGNMENT;
                    for (idx, page) in before.into_iter().enumerate() {
                        inode.pages[first + idx] = page;
                    }
                }
            }
        }
        self.forgettable.clear();
        self.forgets &= !std::mem::take(&mut self.forgets_all);
        self.write_faults.clear();
        self.drop_unnamed();
    }

    /// Frees what has no name: no process has it open any more.
    fn drop_unnamed(&mut self) {
        let named: BTreeSet<u32> = self.names.values().copied().collect();
        for (number, inode) in self.inodes.iter_mut().enumerate() {
            if !named.contains(&(number as u32)) {
                *inode = None;
            }
        }
        self.count_used();
    }

    fn count_used(&mut self) {
        self.used = self.names.values().map(|number| self.bytes_of(*number)).sum();
    }
}
