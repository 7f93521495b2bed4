//! The disk of a node: what it holds, what a crash leaves of it, and what it does wrong.
//!
//! Timing is not its affair: operations are carried out here when they end, and those that a crash meets on the way are
//! handed to [`NodeDisk::tear`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use host::{ALIGNMENT, AlignedBuf};

use crate::prng::Prng;

mod cache;

use cache::{Cached, VolatileCache};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The sizes of what a disk writes as a whole.
pub const SECTOR_BYTES: [usize; 2] = [512, 4_096];

/// The latest writes of a log that rot and misdirected writes leave alone: with nothing valid behind it, a block that was
/// acknowledged and then spoiled looks like one that was never finished.
const RECENT_COUNT: usize = 2;
/// Writes remembered by a disk that forgets.
const FORGETTABLE_COUNT_MAX: usize = 64;

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File(u32);

type Page = Box<[u8; ALIGNMENT]>;

struct Inode {
    len: u64,
    // `None` is a page of zeros.
    pages: Vec<Option<Page>>,
    unreadable: BTreeSet<u64>,
}

/// A change of a directory that a crash may undo.
enum Undo {
    Created(PathBuf),
    Renamed { from: PathBuf, to: PathBuf, replaced: Option<u32> },
    Removed(PathBuf, u32),
}

/// A write that was acknowledged and is not there.
struct Hidden {
    // Where the writer goes on: a later write there gives the gap away.
    dir: Option<PathBuf>,
    file: File,
    offset: u64,
    buf: AlignedBuf,
}

/// What goes wrong with the next write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteFault {
    /// It fails, and nobody knows what of it is on the disk.
    Fail,
    /// It is acknowledged and never happens.
    Lose,
    /// It is acknowledged and lands elsewhere in the same file.
    Misdirect,
}

/// A node's disk.
pub struct NodeDisk {
    names: BTreeMap<PathBuf, u32>,
    dirs: BTreeSet<PathBuf>,
    inodes: Vec<Option<Inode>>,
    unsynced: Vec<Undo>,
    used: u64,
    /// Most bytes of all files together; `None` is no bound.
    pub capacity: Option<u64>,
    /// How many times slower than usual it is.
    pub slowness: u64,
    /// What happens to the next log writes.
    pub write_faults: VecDeque<WriteFault>,
    /// Whether it acknowledges writes that a crash undoes. No real disk may.
    pub forgets: bool,
    forgets_all: bool,
    forgettable: VecDeque<(File, u64, Vec<Option<Page>>)>,
    hidden: Vec<Hidden>,
    // Writes that a process did not see the end of, since it died, and that the drive still has in its volatile cache:
    // they can be read, and are gone if power fails before something else is written there.
    cached: VolatileCache<Page>,
    // The latest writes of each file: from where to where.
    recent: BTreeMap<File, VecDeque<(u64, u64)>>,
    sector_bytes: usize,
}

/// What a crash did to a write under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// Nothing of it is there.
    Lost,
    /// All of it is.
    Whole,
    /// Some sectors are. The first one is or is not among them.
    Partly {
        /// Whether the first sector is there.
        has_first: bool,
    },
}

impl NodeDisk {
    /// An empty disk.
    pub fn new(sector_bytes: usize) -> NodeDisk {
        NodeDisk {
            names: BTreeMap::new(),
            dirs: BTreeSet::new(),
            inodes: Vec::new(),
            unsynced: Vec::new(),
            used: 0,
            capacity: None,
            slowness: 1,
            write_faults: VecDeque::new(),
            forgets: false,
            forgets_all: false,
            forgettable: VecDeque::new(),
            hidden: Vec::new(),
            cached: VolatileCache::new(),
            recent: BTreeMap::new(),
            sector_bytes,
        }
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.used
    }

    // Names.

    /// Whether there is a file or directory of this name.
    pub fn exists(&self, path: &Path) -> bool {
        self.names.contains_key(path) || self.dirs.contains(path)
    }

    /// Makes a file of zeros. Its name lasts once [`NodeDisk::sync_names`] was called.
    pub fn create(&mut self, path: &Path, len: u64) -> Result<File> {
        if let Some(old) = self.names.remove(path) {
            self.free(old);
        }
        if self.capacity.is_some_and(|capacity| self.used + len > capacity) {
            return Err(Error::from_raw_os_error(ENOSPC));
        }
        self.used += len;
        let pages = (0..len.div_ceil(ALIGNMENT as u64)).map(|_| None).collect();
        self.inodes.push(Some(Inode { len, pages, unreadable: BTreeSet::new() }));
        let number = self.inodes.len() as u32 - 1;
        self.names.insert(path.to_owned(), number);
        self.unsynced.push(Undo::Created(path.to_owned()));
        Ok(File(number))
    }

    /// Finds a file.
    pub fn open(&self, path: &Path) -> Result<File> {
        self.names.get(path).map(|number| File(*number)).ok_or(ErrorKind::NotFound.into())
    }

    /// Renames a file; lasts once [`NodeDisk::sync_names`] was called.
    pub fn rename(&mut self, from: &Path, to: &Path) -> Result<()> {
        let number = self.names.remove(from).ok_or(Error::from(ErrorKind::NotFound))?;
        let replaced = self.names.insert(to.to_owned(), number);
        self.used -= replaced.map_or(0, |number| self.bytes_of(number));
        self.unsynced.push(Undo::Renamed { from: from.to_owned(), to: to.to_owned(), replaced });
        Ok(())
    }

    /// Removes a file; lasts once [`NodeDisk::sync_names`] was called. Who has it open still can read it.
    pub fn remove(&mut self, path: &Path) -> Result<()> {
        let number = self.names.remove(path).ok_or(Error::from(ErrorKind::NotFound))?;
        self.used -= self.bytes_of(number);
        self.unsynced.push(Undo::Removed(path.to_owned(), number));
        Ok(())
    }

    /// Makes every change of names so far last.
    pub fn sync_names(&mut self) {
        self.unsynced.clear();
    }

    /// Makes a directory and its parents.
    pub fn create_dir_all(&mut self, path: &Path) {
        self.dirs.extend(path.ancestors().map(Path::to_owned));
    }

    /// The names in a directory, sorted.
    pub fn list(&self, path: &Path) -> Result<Vec<String>> {
        if !self.dirs.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let all = self.names.keys().chain(self.dirs.iter());
        let inside = all.filter(|name| name.parent() == Some(path));
        let mut names: Vec<String> = inside.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn bytes_of(&self, number: u32) -> u64 {
        self.inodes[number as usize].as_ref().map_or(0, |inode| inode.len)
    }

    fn free(&mut self, number: u32) {
        if let Some(inode) = self.inodes[number as usize].take() {
            self.used -= inode.len;
        }
    }

    // Content.

    /// The length of a file.
    pub fn len(&self, file: File) -> Result<u64> {
        Ok(self.inode(file)?.len)
    }

    fn inode(&self, file: File) -> Result<&Inode> {
        self.inodes[file.0 as usize].as_ref().ok_or(Error::from_raw_os_error(EIO))
    }

    /// Reads `len` bytes at `offset`.
    pub fn read(&self, file: File, offset: u64, len: usize) -> Result<AlignedBuf> {
        let inode = self.inode(file)?;
        if offset + len as u64 > inode.len {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let first = offset / ALIGNMENT as u64;
        let pages = first..(offset + len as u64).div_ceil(ALIGNMENT as u64);
        if inode.unreadable.range(pages.clone()).next().is_some() {
            return Err(Error::from_raw_os_error(EIO));
        }
        let mut buf = AlignedBuf::zeroed(len);
        for (page, chunk) in pages.zip(buf.chunks_mut(ALIGNMENT)) {
            if let Some(bytes) = &inode.pages[page as usize] {
                chunk.copy_from_slice(&bytes[..chunk.len()]);
            }
        }
        Ok(buf)
    }

    /// Carries out a write that has come to its end. One at the end of the file makes it longer.
    pub fn write(&mut self, file: File, offset: u64, buf: &AlignedBuf) -> Result<()> {
        let end = offset + buf.len() as u64;
        self.grow(file, offset, end)?;
        if !self.hidden.is_empty() {
            let dir = self.dir_of(file).map(Path::to_owned);
            self.hidden.retain(|hidden| hidden.dir != dir);
        }
        self.remember(file, offset, end);
        self.cached.flush(file.0, offset as usize / ALIGNMENT..(end as usize).div_ceil(ALIGNMENT));
        if self.forgets {
            let pages = offset as usize / ALIGNMENT..end as usize / ALIGNMENT;
            let before = self.inode(file)?.pages[pages].to_vec();
            self.forgettable.push_back((file, offset, before));
            if self.forgettable.len() > FORGETTABLE_COUNT_MAX {
                self.forgettable.pop_front();
                // The vote itself is remembered by now.
                self.forgets &= !std::mem::take(&mut self.forgets_all);
            }
        }
        self.put(file, offset, buf);
        Ok(())
    }

    fn grow(&mut self, file: File, offset: u64, end: u64) -> Result<()> {
        let len = self.inode(file)?.len;
        if offset > len {
            return Err(ErrorKind::InvalidInput.into());
        }
        let more = end.saturating_sub(len);
        if more > 0 && self.capacity.is_some_and(|capacity| self.used + more > capacity) {
            return Err(Error::from_raw_os_error(ENOSPC));
        }
        self.set_len(file, end.max(len));
        Ok(())
    }

    fn set_len(&mut self, file: File, len: u64) {
        if let Some(inode) = self.inodes[file.0 as usize].as_mut() {
            self.used += len - inode.len;
            inode.len = len;
            inode.pages.resize_with(len.div_ceil(ALIGNMENT as u64) as usize, || None);
        }
    }

    fn remember(&mut self, file: File, offset: u64, end: u64) {
        let recent = self.recent.entry(file).or_default();
        recent.push_back((offset, end));
        if recent.len() > RECENT_COUNT {
            recent.pop_front();
        }
    }

    fn put(&mut self, file: File, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        if self.inodes[file.0 as usize].as_ref().is_some_and(|inode| inode.len < end) {
            self.set_len(file, end.next_multiple_of(ALIGNMENT as u64));
        }
        let Some(inode) = self.inodes[file.0 as usize].as_mut() else { return };
        let mut at = offset as usize;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (page, within) = (at / ALIGNMENT, at % ALIGNMENT);
            let (chunk, behind) = rest.split_at(rest.len().min(ALIGNMENT - within));
            inode.unreadable.remove(&(page as u64));
            match &mut inode.pages[page] {
                Some(bytes) => bytes[within..within + chunk.len()].copy_from_slice(chunk),
                None if chunk.iter().all(|byte| *byte == 0) => {}
                slot => {
                    let bytes = slot.insert(Box::new([0; ALIGNMENT]));
                    bytes[within..within + chunk.len()].copy_from_slice(chunk);
                }
            }
            at += chunk.len();
            rest = behind;
        }
    }

    // Faults.

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
                self.put(file, wrong, buf);
            }
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

    /// Leaves of a write under way what a crash leaves: nothing, everything, or some sectors.
    pub fn tear(&mut self, file: File, offset: u64, buf: &AlignedBuf, prng: &mut Prng) -> Torn {
        match prng.below(4) {
            0 => Torn::Lost,
            1 => {
                self.put(file, offset, buf);
                Torn::Whole
            }
            _ => {
                let mut has_first = false;
                // A run of sectors, as a disk that works through them in order leaves, or any of them.
                let sectors = buf.len().div_ceil(self.sector_bytes) as u64;
                let upto = if prng.bernoulli(500_000) { Some(prng.below(sectors + 1)) } else { None };
                for (sector, bytes) in buf.chunks(self.sector_bytes).enumerate() {
                    let is_kept = upto.map_or_else(|| prng.bernoulli(500_000), |upto| (sector as u64) < upto);
                    if is_kept {
                        has_first |= sector == 0;
                        self.put(file, offset + (sector * self.sector_bytes) as u64, bytes);
                    }
                }
                Torn::Partly { has_first }
            }
        }
    }

    /// Leaves of a write under way what the death of a process leaves while its machine runs on: as [`NodeDisk::tear`], but
    /// in the drive's volatile cache, and lost if power fails before the same place is written again.
    pub fn tear_into_cache(&mut self, file: File, offset: u64, buf: &AlignedBuf, prng: &mut Prng) -> Torn {
        if let Some(inode) = &self.inodes[file.0 as usize] {
            let end = ((offset as usize + buf.len()) / ALIGNMENT).min(inode.pages.len());
            let first_page = (offset as usize / ALIGNMENT).min(end);
            self.cached.push(Cached { file: file.0, first_page, medium: inode.pages[first_page..end].to_vec() });
        }
        self.tear(file, offset, buf, prng)
    }

    /// Power fails: what is in the volatile cache may be lost. Returns how many writes were.
    pub fn lose_power(&mut self, prng: &mut Prng) -> u64 {
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
                if let Some(inode) = self.inodes[file.0 as usize].as_mut() {
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
        self.used = named.into_iter().map(|number| self.bytes_of(number)).sum();
    }

    /// A place that holds something and was not written just now. Of which kind of files, by the ends of their names, is
    /// drawn first: there is much more log than there are snapshots.
    fn old_place(&self, prng: &mut Prng) -> Option<(u32, u64)> {
        let kinds: BTreeSet<_> = self.names.keys().map(|path| path.extension()).collect();
        let kinds: Vec<_> = kinds.into_iter().collect();
        let kind = if kinds.is_empty() { return None } else { prng.pick(&kinds) };
        let mut places = Vec::new();
        for (_, number) in self.names.iter().filter(|(path, _)| path.extension() == kind) {
            let Some(inode) = &self.inodes[*number as usize] else { continue };
            for (page, bytes) in inode.pages.iter().enumerate() {
                let offset = (page * ALIGNMENT) as u64;
                if bytes.is_some() && !self.is_recent(File(*number), offset, offset + ALIGNMENT as u64) {
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

    /// Flips a bit of the given page of a file. `false` if nothing was written there.
    pub fn rot_at(&mut self, path: &Path, page: u64, bit: usize) -> bool {
        self.names.get(path).copied().is_some_and(|number| self.flip(number, page, bit))
    }

    fn flip(&mut self, number: u32, page: u64, bit: usize) -> bool {
        let pages = self.inodes[number as usize].as_mut().map(|inode| &mut inode.pages);
        let Some(Some(bytes)) = pages.and_then(|pages| pages.get_mut(page as usize)) else { return false };
        bytes[bit / 8] ^= 1 << (bit % 8);
        true
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

    /// The directory that holds a file, if it has a name.
    pub fn dir_of(&self, file: File) -> Option<&Path> {
        let (path, _) = self.names.iter().find(|(_, number)| **number == file.0)?;
        path.parent()
    }

    /// What is written from here on is forgotten at the next crash. For worlds that break their promises.
    pub fn forget_from_here(&mut self) {
        if !self.forgets_all {
            self.forgettable.clear();
            self.forgets = true;
            self.forgets_all = true;
        }
    }

    /// Removes everything: a new disk in an old machine.
    pub fn wipe(&mut self) {
        let fresh = NodeDisk::new(self.sector_bytes);
        *self = NodeDisk { slowness: self.slowness, capacity: self.capacity, forgets: self.forgets, ..fresh };
    }
}
