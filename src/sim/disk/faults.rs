//! What a disk does wrong while its machine runs.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{Error, Result};
use std::path::Path;

use host::{ALIGNMENT, AlignedBuf};

use super::{EIO, File, Hidden, Inode, NodeDisk, WriteFault};
use crate::prng::Prng;

impl NodeDisk {
    /// Carries out a write that goes wrong.
    pub fn write_wrong(
        &mut self,
        fault: WriteFault,
        file: File,
        offset: u64,
        buf: &AlignedBuf,
        prng: &mut Prng,
    ) -> Result<()> {
        if fault == WriteFault::Fail {
            self.tear(file, offset, buf, prng);
            return Err(Error::from_raw_os_error(EIO));
        }
        let end = offset + buf.len() as u64;
        self.grow(file, offset, end)?;
        if fault == WriteFault::Misdirect {
            let len = self.inode(file)?.len;
            let places = (len - buf.len() as u64) / ALIGNMENT as u64 + 1;
            let wrong = prng.below(places) * ALIGNMENT as u64;
            let wrong_end = wrong + buf.len() as u64;
            let hits_itself = wrong < end && offset < wrong_end;
            if !self.is_recent(file, wrong, wrong_end) && !hits_itself {
                self.store(file, wrong, buf);
            }
        }
        if !file.is_durable {
            return Ok(());
        }
        let mut copy = AlignedBuf::with_capacity(buf.len());
        copy.extend_from_slice(buf);
        let dir = self.dir_of(file).map(Path::to_owned);
        self.hidden.retain(|hidden| hidden.dir != dir);
        self.hidden.push(Hidden { dir, file, offset, buf: copy });
        self.remember(file, offset, end);
        Ok(())
    }

    fn is_recent(&self, file: File, offset: u64, end: u64) -> bool {
        let recent = self.recent.get(&file);
        recent.is_some_and(|recent| recent.iter().any(|(first, last)| *first < end && offset < *last))
    }

    /// A place that holds something and was not written just now. Of which kind of files, by the ends of their names, is
    /// drawn first: there is much more log than there are snapshots.
    fn old_place(&self, prng: &mut Prng) -> Option<(u32, u64)> {
        let kinds: BTreeSet<_> = self.names.keys().map(|path| path.extension()).collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        let kind = if kinds.is_empty() { return None } else { prng.pick(&kinds) };
        self.old_place_of(kind, prng)
    }

    /// The same in files whose names end so.
    fn old_place_of(&self, kind: Option<&OsStr>, prng: &mut Prng) -> Option<(u32, u64)> {
        let mut places = Vec::new();
        for (_, number) in self.names.iter().filter(|(path, _)| path.extension() == kind) {
            let Some(inode) = &self.inodes[*number as usize] else { continue };
            for (page, bytes) in inode.pages.iter().enumerate() {
                let offset = (page * ALIGNMENT) as u64;
                if bytes.is_some() && !self.is_recent(File::durable(*number), offset, offset + ALIGNMENT as u64) {
                    places.push((*number, page as u64));
                }
            }
        }
        if places.is_empty() { None } else { Some(prng.pick(&places)) }
    }

    /// Flips one bit of something written earlier. `false` if there is nothing.
    pub fn rot(&mut self, prng: &mut Prng) -> bool {
        let Some((number, page)) = self.old_place(prng) else { return false };
        self.flip(number, page, prng.below(8 * ALIGNMENT as u64) as usize)
    }

    /// Flips one bit of something written earlier to tables or blob files. `false` if there is nothing.
    pub fn rot_tables(&mut self, prng: &mut Prng) -> bool {
        let Some((number, page)) = self.old_place_of(Some(OsStr::new("data")), prng) else { return false };
        self.flip(number, page, prng.below(8 * ALIGNMENT as u64) as usize)
    }

    /// Flips a bit of the given page of a file. `false` if nothing was written there.
    pub fn rot_at(&mut self, path: &Path, page: u64, bit: usize) -> bool {
        self.names.get(path).copied().is_some_and(|number| self.flip(number, page, bit))
    }

    fn flip(&mut self, number: u32, page: u64, bit: usize) -> bool {
        let pages = self.inodes[number as usize].as_mut().map(|inode| &mut inode.pages);
        let Some(Some(bytes)) = pages.and_then(|pages| pages.get_mut(page as usize)) else { return false };
        bytes[bit / 8] ^= 1 << (bit % 8);
        if self.flatters {
            self.flipped.push((number, page, bit));
        }
        true
    }

    /// Reads for whoever checks what is there. A disk that flatters shows what was written, and not what it has become.
    pub fn read_to_check(&self, file: File, offset: u64, len: usize) -> Result<AlignedBuf> {
        let mut buf = self.read(file, offset, len)?;
        for (_, page, bit) in self.flipped.iter().filter(|(inode, ..)| *inode == file.inode) {
            let at = (page * ALIGNMENT as u64 + *bit as u64 / 8).checked_sub(offset);
            if let Some(byte) = at.and_then(|at| buf.get_mut(usize::try_from(at).ok()?)) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(buf)
    }

    /// Makes a page of something written earlier unreadable until it is written again. `false` if there is nothing.
    pub fn spoil(&mut self, prng: &mut Prng) -> bool {
        let Some((number, page)) = self.old_place(prng) else { return false };
        if let Some(inode) = self.inodes[number as usize].as_mut() {
            inode.unreadable.insert(page);
        }
        true
    }

    /// Removes a file of something written earlier; not the one that was written last, without which nobody could tell
    /// that anything is missing. `false` if there is none.
    pub fn lose_file(&mut self, prng: &mut Prng) -> bool {
        let mut files = Vec::new();
        for (path, number) in &self.names {
            let holds_something = |inode: &Inode| inode.pages.iter().any(Option::is_some);
            let is_last = !self.names.iter().any(|(other, number)| {
                other.parent() == path.parent()
                    && other > path
                    && self.inodes[*number as usize].as_ref().is_some_and(holds_something)
            });
            if !is_last && self.inodes[*number as usize].as_ref().is_some_and(holds_something) {
                files.push(path.clone());
            }
        }
        if files.is_empty() {
            return false;
        }
        let path = &files[prng.below(files.len() as u64) as usize];
        if let Some(number) = self.names.remove(path) {
            self.free(number);
        }
        true
    }

    /// What is written from here on is forgotten at the next crash. For worlds that break their promises.
    pub fn forget_from_here(&mut self) {
        if !self.forgets_all {
            self.forgettable.clear();
            self.forgets = true;
            self.forgets_all = true;
        }
    }
}
