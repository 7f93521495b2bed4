//! A disk in memory that crashes at a chosen operation and loses what was not synced, runs full, and cannot read
//! everywhere.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use host::{ALIGNMENT, AlignedBuf, Disk, IoClass, ReadBuf, WriteDone, WriteToken};

pub const SECTOR: usize = 512;
pub const ENOSPC: i32 = 28;
const EIO: i32 = 5;

#[derive(Clone, Default)]
struct Inode {
    content: Vec<u8>,
    /// What of it is on stable storage, if that is not all.
    synced: Option<Vec<u8>>,
}

/// An open file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TestFile {
    inode: usize,
    is_durable: bool,
}

#[derive(Clone, Default)]
struct World {
    files: BTreeMap<PathBuf, usize>,
    /// Names that are not on stable storage.
    unsynced_names: BTreeSet<PathBuf>,
    inodes: Vec<Inode>,
    /// Changes of the disk so far.
    changes: u64,
    /// The change in the middle of which the process dies.
    crash_at: Option<u64>,
    has_crashed: bool,
    /// Decides what of a change is there after a crash.
    dice: u64,
    capacity: Option<usize>,
    unreadable: BTreeSet<PathBuf>,
    /// Whether reads take a while, each another one.
    is_slow: bool,
    reads: u64,
}

impl World {
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    /// Whether the process dies in this change. Afterwards nothing happens any more.
    fn dies(&mut self) -> Result<bool> {
        if self.has_crashed {
            return Err(Error::other("the process is dead"));
        }
        self.changes += 1;
        self.has_crashed = self.crash_at == Some(self.changes);
        Ok(self.has_crashed)
    }

    /// Does a change whole, or, if the process dies in it, whole or not at all.
    fn change(&mut self, change: impl FnOnce(&mut World)) -> Result<()> {
        let dies = self.dies()?;
        if !dies || self.roll().is_multiple_of(2) {
            change(self);
        }
        if dies { Err(Error::other("the process died")) } else { Ok(()) }
    }

    fn used(&self) -> usize {
        self.files.values().map(|inode| self.inodes[*inode].content.len()).sum()
    }

    fn check_room(&self, more: usize) -> Result<()> {
        match more > 0 && self.capacity.is_some_and(|capacity| self.used() + more > capacity) {
            true => Err(Error::from_raw_os_error(ENOSPC)),
            false => Ok(()),
        }
    }

    fn write(&mut self, file: TestFile, offset: usize, bytes: &[u8]) -> Result<()> {
        let end = offset + bytes.len();
        let len = self.inodes[file.inode].content.len();
        self.check_room(end.saturating_sub(len))?;
        let dies = self.dies()?;
        if !file.is_durable {
            let Inode { content, synced } = &mut self.inodes[file.inode];
            synced.get_or_insert_with(|| content.clone());
        }
        let before = self.inodes[file.inode].content.clone();
        let content = &mut self.inodes[file.inode].content;
        content.resize(len.max(end), 0);
        content[offset..end].copy_from_slice(bytes);
        if dies {
            let torn = self.torn(&before, file.inode);
            self.inodes[file.inode].content = torn;
            return Err(Error::other("the process died"));
        }
        Ok(())
    }

    /// What may be left of a file of which some sectors were on stable storage, and others, of later, may be.
    fn torn(&mut self, before: &[u8], inode: usize) -> Vec<u8> {
        let mut torn = before.to_vec();
        let content = self.inodes[inode].content.clone();
        if self.roll().is_multiple_of(2) {
            torn.resize(content.len(), 0);
        }
        for (sector, bytes) in content.chunks(SECTOR).enumerate() {
            let begin = sector * SECTOR;
            if self.roll().is_multiple_of(2) && begin + bytes.len() <= torn.len() {
                torn[begin..begin + bytes.len()].copy_from_slice(bytes);
            }
        }
        torn
    }

    /// Power fails: of what was not synced the dice decide.
    fn lose_power(&mut self) {
        for name in std::mem::take(&mut self.unsynced_names) {
            if self.roll().is_multiple_of(2) {
                self.files.remove(&name);
            }
        }
        for inode in 0..self.inodes.len() {
            if let Some(synced) = self.inodes[inode].synced.take() {
                self.inodes[inode].content = self.torn(&synced, inode);
            }
        }
    }

    fn create(&mut self, path: &Path, len: u64, is_durable: bool) -> Result<TestFile> {
        if self.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.check_room(len as usize)?;
        self.inodes.push(Inode { content: vec![0; len as usize], synced: (!is_durable).then(Vec::new) });
        let inode = self.inodes.len() - 1;
        self.change(|world| {
            world.files.insert(path.to_owned(), inode);
            if !is_durable {
                world.unsynced_names.insert(path.to_owned());
            }
        })?;
        Ok(TestFile { inode, is_durable })
    }
}

/// A disk whose operations end at once.
#[derive(Clone, Default)]
pub struct TestDisk(Rc<RefCell<World>>);

impl TestDisk {
    pub fn new() -> TestDisk {
        TestDisk::default()
    }

    /// The disk for a new process, after power has failed.
    pub fn restart(&self) -> TestDisk {
        let mut world = self.0.borrow().clone();
        world.dice |= 1;
        world.lose_power();
        (world.crash_at, world.has_crashed, world.changes, world.reads) = (None, false, 0, 0);
        TestDisk(Rc::new(RefCell::new(world)))
    }

    /// The process dies in the change with this number, counted from 1; what of it is there the dice decide.
    pub fn crash_at(&self, change: u64, dice: u64) {
        let mut world = self.0.borrow_mut();
        (world.crash_at, world.dice) = (Some(change), dice | 1);
    }

    pub fn changes(&self) -> u64 {
        self.0.borrow().changes
    }

    pub fn has_crashed(&self) -> bool {
        self.0.borrow().has_crashed
    }

    pub fn reads(&self) -> u64 {
        self.0.borrow().reads
    }

    pub fn used(&self) -> usize {
        self.0.borrow().used()
    }

    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.0.borrow_mut().capacity = bytes;
    }

    pub fn set_unreadable(&self, path: &Path) {
        self.0.borrow_mut().unreadable.insert(path.to_owned());
    }

    /// Whether reads take a while, each another one, so that they end in any order.
    pub fn set_slow(&self, is_slow: bool) {
        self.0.borrow_mut().is_slow = is_slow;
    }

    pub fn names(&self) -> Vec<String> {
        let world = self.0.borrow();
        world.files.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let world = self.0.borrow();
        Some(world.inodes[*world.files.get(path)?].content.clone())
    }

    pub fn put(&self, path: &Path, content: Vec<u8>) {
        let mut world = self.0.borrow_mut();
        world.inodes.push(Inode { content, synced: None });
        let inode = world.inodes.len() - 1;
        world.files.insert(path.to_owned(), inode);
    }

    pub fn delete(&self, path: &Path) {
        self.0.borrow_mut().files.remove(path).unwrap();
    }
}

impl Disk for TestDisk {
    type File = TestFile;

    fn write_begin(&self, _: &TestFile, _: u64, _: AlignedBuf, _: WriteToken) {
        unreachable!("the store has tasks that can wait");
    }

    fn write_end(&self) -> Option<WriteDone> {
        None
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<TestFile> {
        self.0.borrow_mut().create(path, len, true)
    }

    async fn create(&self, path: &Path, reserved_len: u64) -> Result<TestFile> {
        self.0.borrow_mut().create(path, reserved_len, false)
    }

    async fn open(&self, path: &Path) -> Result<TestFile> {
        let inode = self.0.borrow().files.get(path).copied();
        inode.map(|inode| TestFile { inode, is_durable: true }).ok_or(ErrorKind::NotFound.into())
    }

    async fn len(&self, file: &TestFile) -> Result<u64> {
        Ok(self.0.borrow().inodes[file.inode].content.len() as u64)
    }

    async fn set_len(&self, file: &TestFile, len: u64) -> Result<()> {
        assert!(len.is_multiple_of(ALIGNMENT as u64));
        let mut world = self.0.borrow_mut();
        world.change(|world| {
            let Inode { content, synced } = &mut world.inodes[file.inode];
            synced.get_or_insert_with(|| content.clone());
            content.resize(len as usize, 0);
        })
    }

    async fn read(&self, file: &TestFile, offset: u64, len: usize, _: IoClass) -> Result<ReadBuf> {
        assert!(offset.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT) && len > 0);
        let turns = {
            let mut world = self.0.borrow_mut();
            world.reads += 1;
            world.dice |= 1;
            if world.is_slow { world.roll() % 7 } else { 0 }
        };
        for _ in 0..turns {
            futures_lite::future::yield_now().await;
        }
        let world = self.0.borrow();
        if world.files.iter().any(|(path, inode)| *inode == file.inode && world.unreadable.contains(path)) {
            return Err(Error::from_raw_os_error(EIO));
        }
        let content = world.inodes[file.inode].content.get(offset as usize..).and_then(|rest| rest.get(..len));
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(content.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(buf.into())
    }

    async fn write(&self, file: &TestFile, offset: u64, buf: AlignedBuf, _: IoClass) -> Result<AlignedBuf> {
        assert!(offset.is_multiple_of(ALIGNMENT as u64) && buf.len().is_multiple_of(ALIGNMENT) && !buf.is_empty());
        self.0.borrow_mut().write(*file, offset as usize, &buf)?;
        Ok(buf)
    }

    async fn sync(&self, file: &TestFile, _: IoClass) -> Result<()> {
        self.0.borrow_mut().change(|world| world.inodes[file.inode].synced = None)
    }

    async fn sync_dir(&self, _: &Path) -> Result<()> {
        self.0.borrow_mut().change(|world| world.unsynced_names.clear())
    }

    async fn create_dir_all(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let world = self.0.borrow();
        let inside = world.files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.0.borrow_mut().change(|world| {
            let inode = world.files.remove(from).unwrap();
            world.unsynced_names.remove(from);
            world.files.insert(to.to_owned(), inode);
        })
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        let mut world = self.0.borrow_mut();
        if !world.files.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        world.change(|world| {
            world.unsynced_names.remove(path);
            world.files.remove(path);
        })
    }
}
