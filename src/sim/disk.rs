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
mod crash;
mod faults;
mod page;
mod unsynced;

use cache::VolatileCache;
use page::Page;
use unsynced::Unsynced;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// The sizes of what a disk writes as a whole.
pub const SECTOR_BYTES: [usize; 2] = [512, 4_096];

/// The latest writes of a log that rot and misdirected writes leave alone: with nothing valid behind it, a block that was
/// acknowledged and then spoiled looks like one that was never finished.
const RECENT_COUNT: usize = 2;
/// Writes remembered by a disk that forgets.
const FORGETTABLE_COUNT_MAX: usize = 64;

/// What is read of a page that nobody has written to.
static ZEROS: [u8; ALIGNMENT] = [0; ALIGNMENT];

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct File {
    inode: u32,
    // Whether a write lasts as soon as it ends, or only once the file is synced.
    is_durable: bool,
}

impl File {
    fn durable(inode: u32) -> File {
        File { inode, is_durable: true }
    }
}

struct Inode {
    len: u64,
    // `None` is a page of zeros.
    pages: Vec<Option<Page>>,
    unreadable: BTreeSet<u64>,
    // `None` if it was made durable.
    unsynced: Option<Unsynced>,
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
    // Files that were made to be synced at chosen points, and whose directory was not synced since.
    unsynced_names: BTreeSet<u32>,
    used: u64,
    /// Most bytes of all files together; `None` is no bound.
    pub capacity: Option<u64>,
    /// How many times slower than usual it is.
    pub slowness: u64,
    /// What happens to the next log writes.
    pub write_faults: VecDeque<WriteFault>,
    /// Whether it acknowledges writes that a crash undoes. No real disk may.
    pub forgets: bool,
    /// Whether it answers those who check it as if nothing had rotted. No real disk does.
    pub flatters: bool,
    // Bits that have flipped on a disk that flatters: file, page, bit.
    flipped: Vec<(u32, u64, usize)>,
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
            unsynced_names: BTreeSet::new(),
            used: 0,
            capacity: None,
            slowness: 1,
            write_faults: VecDeque::new(),
            forgets: false,
            flatters: false,
            flipped: Vec::new(),
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
        let number = self.insert(path, len, None)?;
        self.unsynced.push(Undo::Created(path.to_owned()));
        Ok(File::durable(number))
    }

    /// Makes a file of zeros whose writes last once it was synced. Its name lasts once [`NodeDisk::sync_dir`] was called.
    pub fn create_unsynced(&mut self, path: &Path, len: u64) -> Result<File> {
        if self.exists(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = self.insert(path, len, Some(Unsynced::default()))?;
        self.unsynced_names.insert(inode);
        Ok(File { inode, is_durable: false })
    }

    fn insert(&mut self, path: &Path, len: u64, unsynced: Option<Unsynced>) -> Result<u32> {
        if self.capacity.is_some_and(|capacity| self.used + len > capacity) {
            return Err(Error::from_raw_os_error(ENOSPC));
        }
        self.used += len;
        let pages = (0..len.div_ceil(ALIGNMENT as u64)).map(|_| None).collect();
        let inode = Inode { len, pages, unreadable: BTreeSet::new(), unsynced };
        self.inodes.push(Some(inode));
        let number = self.inodes.len() as u32 - 1;
        self.names.insert(path.to_owned(), number);
        Ok(number)
    }

    /// Finds a file.
    pub fn open(&self, path: &Path) -> Result<File> {
        self.names.get(path).map(|number| File::durable(*number)).ok_or(ErrorKind::NotFound.into())
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

    /// Makes every change of names so far last, apart from files of [`NodeDisk::create_unsynced`].
    pub fn sync_names(&mut self) {
        self.unsynced.clear();
    }

    /// As [`NodeDisk::sync_names`], and makes the names of all files last that are in a directory.
    pub fn sync_dir(&mut self, path: &Path) {
        self.sync_names();
        for (name, number) in &self.names {
            if name.parent() == Some(path) {
                self.unsynced_names.remove(number);
            }
        }
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
        self.inodes[file.inode as usize].as_ref().ok_or(Error::from_raw_os_error(EIO))
    }

    fn inode_mut(&mut self, file: File) -> Result<&mut Inode> {
        self.inodes[file.inode as usize].as_mut().ok_or(Error::from_raw_os_error(EIO))
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
        let mut buf = AlignedBuf::with_capacity(len);
        for page in &inode.pages[pages.start as usize..pages.end as usize] {
            let bytes = page.as_deref().unwrap_or(&ZEROS);
            buf.extend_from_slice(&bytes[..ALIGNMENT.min(len - buf.len())]);
        }
        Ok(buf)
    }

    /// Carries out a write that has come to its end. One at the end of the file makes it longer.
    pub fn write(&mut self, file: File, offset: u64, buf: &AlignedBuf) -> Result<()> {
        let end = offset + buf.len() as u64;
        self.grow(file, offset, end)?;
        if !file.is_durable {
            self.store(file, offset, buf);
            return Ok(());
        }
        if !self.hidden.is_empty() {
            let dir = self.dir_of(file).map(Path::to_owned);
            self.hidden.retain(|hidden| hidden.dir != dir);
        }
        self.remember(file, offset, end);
        self.cached.flush(file.inode, offset as usize / ALIGNMENT..(end as usize).div_ceil(ALIGNMENT));
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
        // Rare: a file that was reopened.
        self.sync(file, u64::MAX)
    }

    /// Cuts a file off or makes it longer by zeros; lasts once it was synced.
    pub fn truncate(&mut self, file: File, len: u64) -> Result<()> {
        let old_len = self.inode(file)?.len;
        if len > old_len {
            return self.grow(file, old_len, len);
        }
        let inode = self.inode_mut(file)?;
        if let Some(unsynced) = &mut inode.unsynced {
            unsynced.note_pages(len.div_ceil(ALIGNMENT as u64) as usize..inode.pages.len(), &inode.pages);
        }
        self.set_len(file, len);
        Ok(())
    }

    /// How much of a file a sync that begins now makes last, for [`NodeDisk::sync`].
    pub fn sync_mark(&self, file: File) -> u64 {
        self.inode(file).ok().and_then(|inode| inode.unsynced.as_ref()).map_or(0, Unsynced::mark)
    }

    /// A sync of a file has ended that had begun at a mark: what was written before lasts.
    pub fn sync(&mut self, file: File, mark: u64) -> Result<()> {
        let inode = self.inode_mut(file)?;
        if let Some(unsynced) = &mut inode.unsynced {
            unsynced.sync(mark, &inode.pages, inode.len);
        }
        Ok(())
    }

    /// A sync of a file has failed: nobody knows what lasts of what was written since the one before.
    pub fn fail_sync(&mut self, file: File, prng: &mut Prng) -> Error {
        let sector_bytes = self.sector_bytes;
        if let Ok(Inode { unsynced: Some(unsynced), len, .. }) = self.inode_mut(file) {
            unsynced.fail_sync(*len, sector_bytes, prng);
        }
        Error::from_raw_os_error(EIO)
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
        if let Some(inode) = self.inodes[file.inode as usize].as_mut() {
            // Nothing is counted of a file that was removed and is still open.
            self.used = (self.used + len).saturating_sub(inode.len);
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

    /// Puts bytes where they are read; they last as the file says.
    fn store(&mut self, file: File, offset: u64, bytes: &[u8]) {
        if !file.is_durable
            && let Ok(Inode { unsynced: Some(unsynced), pages, .. }) = self.inode_mut(file)
        {
            let end = (offset as usize + bytes.len()).div_ceil(ALIGNMENT);
            unsynced.note_pages(offset as usize / ALIGNMENT..end, pages);
            unsynced.note_write(offset, bytes);
        }
        self.put(file, offset, bytes);
    }

    fn put(&mut self, file: File, offset: u64, bytes: &[u8]) {
        let end = offset + bytes.len() as u64;
        let pages = offset / ALIGNMENT as u64..end.div_ceil(ALIGNMENT as u64);
        self.flipped.retain(|(inode, page, _)| *inode != file.inode || !pages.contains(page));
        if self.inodes[file.inode as usize].as_ref().is_some_and(|inode| inode.len < end) {
            self.set_len(file, end.next_multiple_of(ALIGNMENT as u64));
        }
        let Some(inode) = self.inodes[file.inode as usize].as_mut() else { return };
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

    /// The directory that holds a file, if it has a name.
    pub fn dir_of(&self, file: File) -> Option<&Path> {
        let (path, _) = self.names.iter().find(|(_, number)| **number == file.inode)?;
        path.parent()
    }

    /// Removes everything: a new disk in an old machine.
    pub fn wipe(&mut self) {
        let fresh = NodeDisk::new(self.sector_bytes);
        *self = NodeDisk { slowness: self.slowness, capacity: self.capacity, forgets: self.forgets, ..fresh };
    }
}
