//! A disk, a clock and tasks in memory, for the tests of storage, with what can go wrong under the test's control.

#![allow(clippy::unwrap_used, reason = "test support")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use host::{AlignedBuf, Clock, Disk, IoClass, ReadBuf, Rng, Spawn, TaskClass, WriteDone, WriteToken};
use types::Instant;

pub(crate) const EIO: i32 = 5;

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct World {
    files: BTreeMap<PathBuf, usize>,
    inodes: Vec<Vec<u8>>,
    /// Writes of the log that were begun, as (file, offset, content, token).
    begun: VecDeque<(usize, u64, AlignedBuf, WriteToken)>,
    ended: VecDeque<WriteDone>,
    tasks: Vec<Task>,
    now: Instant,
    random: u64,
    read_bytes: u64,
    unreadable: BTreeSet<usize>,
    /// Files that are synced at chosen points cannot be made: those of tables and snapshots.
    fails_creations: bool,
    /// Operations that take room of the disk until it is full, and how many there were.
    room_left: Option<usize>,
    room_takers: usize,
    /// Most bytes of all files; `None` is no bound.
    capacity: Option<u64>,
    /// Directories are not synced.
    holds_syncs: bool,
    /// Operations that change the disk until it stands still for ever, as in a crash.
    changes_left: Option<usize>,
    changes: usize,
}

/// The only core of a small world.
#[derive(Clone, Default)]
pub(crate) struct FakeHost(Rc<RefCell<World>>);

impl FakeHost {
    /// Ends the oldest write of the log under way. `false` if there is none, or the disk stands still.
    pub(crate) fn complete_write(&self) -> bool {
        if self.0.borrow().begun.is_empty() || !self.may_change() {
            return false;
        }
        let mut world = self.0.borrow_mut();
        let (inode, offset, buf, token) = world.begun.pop_front().unwrap();
        write_at(&mut world.inodes[inode], offset, &buf);
        world.ended.push_back(WriteDone { token, buf, result: Ok(()) });
        true
    }

    /// Lets tasks run until none of them gets further.
    pub(crate) fn run_tasks(&self) {
        for _ in 0..16 {
            let mut tasks = std::mem::take(&mut self.0.borrow_mut().tasks);
            let mut context = Context::from_waker(Waker::noop());
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            self.0.borrow_mut().tasks.extend(tasks);
        }
    }

    /// What was read of all files.
    pub(crate) fn read_bytes(&self) -> u64 {
        self.0.borrow().read_bytes
    }

    pub(crate) fn advance(&self, duration: Duration) {
        self.0.borrow_mut().now += duration;
    }

    /// What a crash leaves: the disk as it is. Writes of the log under way are lost.
    pub(crate) fn crash(&self) -> FakeHost {
        let world = self.0.borrow();
        FakeHost(Rc::new(RefCell::new(World {
            files: world.files.clone(),
            inodes: world.inodes.clone(),
            now: world.now,
            random: world.random + 1,
            unreadable: world.unreadable.clone(),
            ..World::default()
        })))
    }

    /// Lets the disk stand still behind this many more changes.
    pub(crate) fn stop_after(&self, changes: usize) {
        self.0.borrow_mut().changes_left = Some(changes);
    }

    /// How often the disk was changed.
    pub(crate) fn changes(&self) -> usize {
        self.0.borrow().changes
    }

    /// Whether there is a file.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.0.borrow().files.contains_key(path)
    }

    /// Length of a file in bytes.
    pub(crate) fn len_of(&self, path: &Path) -> u64 {
        let world = self.0.borrow();
        world.inodes[world.files[path]].len() as u64
    }

    /// Flips a bit of a file.
    pub(crate) fn damage(&self, path: &Path, at: usize) {
        let mut world = self.0.borrow_mut();
        let inode = world.files[path];
        world.inodes[inode][at] ^= 1;
    }

    /// Files whose path holds this text cannot be read, or can again.
    pub(crate) fn set_unreadable(&self, text: &str, is_unreadable: bool) {
        let mut world = self.0.borrow_mut();
        let found: Vec<usize> =
            world.files.iter().filter(|(path, _)| path.to_str().unwrap().contains(text)).map(|(_, it)| *it).collect();
        for inode in found {
            if is_unreadable {
                world.unreadable.insert(inode);
            } else {
                world.unreadable.remove(&inode);
            }
        }
    }

    /// Lets files of tables and snapshots fail to be made.
    pub(crate) fn fail_creations(&self, fails: bool) {
        self.0.borrow_mut().fails_creations = fails;
    }

    /// Lets the disk be full behind this many more operations that take room, or never.
    pub(crate) fn fill_after(&self, operations: Option<usize>) {
        self.0.borrow_mut().room_left = operations;
    }

    /// How many operations have wanted room.
    pub(crate) fn room_takers(&self) -> usize {
        self.0.borrow().room_takers
    }

    /// Bounds the bytes of all files.
    pub(crate) fn set_capacity(&self, capacity: Option<u64>) {
        self.0.borrow_mut().capacity = capacity;
    }

    /// Bytes of all files.
    pub(crate) fn used_bytes(&self) -> u64 {
        self.0.borrow().used_bytes()
    }

    /// Lets the syncs of directories, with which tables are complete, wait, or go on.
    pub(crate) fn hold_syncs(&self, holds: bool) {
        self.0.borrow_mut().holds_syncs = holds;
    }

    /// Removes the files whose path holds this text.
    pub(crate) fn forget(&self, text: &str) {
        self.0.borrow_mut().files.retain(|path, _| !path.to_str().unwrap().contains(text));
    }

    fn may_change(&self) -> bool {
        let mut world = self.0.borrow_mut();
        match &mut world.changes_left {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        world.changes += 1;
        true
    }

    /// Takes so many bytes of the disk, if there is room.
    fn take_room(&self, bytes: u64) -> Result<()> {
        let mut world = self.0.borrow_mut();
        world.room_takers += 1;
        let used_bytes = world.used_bytes();
        let is_full = match &mut world.room_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        };
        if is_full || world.capacity.is_some_and(|capacity| used_bytes + bytes > capacity) {
            return Err(ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    /// Waits for ever if the disk stands still.
    async fn change(&self) {
        if !self.may_change() {
            std::future::pending::<()>().await;
        }
    }
}

impl World {
    fn used_bytes(&self) -> u64 {
        self.files.values().map(|inode| self.inodes[*inode].len() as u64).sum()
    }
}

fn write_at(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let (offset, end) = (offset as usize, offset as usize + bytes.len());
    assert!(offset <= content.len(), "a write behind the end of a file");
    content.resize(content.len().max(end), 0);
    content[offset..end].copy_from_slice(bytes);
}

/// Runs a future that never waits for long.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1_000 {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
    panic!("it waits for something that does not come");
}

impl Clock for FakeHost {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn unix_time_ms(&self) -> u64 {
        0
    }
}

impl Rng for FakeHost {
    fn random_u64(&self) -> u64 {
        let mut world = self.0.borrow_mut();
        world.random += 1;
        world.random
    }

    fn secret_u64(&self) -> Result<u64> {
        Ok(self.random_u64())
    }
}

impl Spawn for FakeHost {
    fn spawn(&self, _: TaskClass, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().tasks.push(Box::pin(task));
    }

    fn notify(&self) {}

    async fn park(&self, _: Instant) {}

    async fn yield_now(&self) {}

    async fn sleep_until(&self, deadline: Instant) {
        std::future::poll_fn(|_| if self.now() >= deadline { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Disk for FakeHost {
    type File = usize;

    fn write_begin(&self, file: &usize, offset: u64, buf: AlignedBuf, token: WriteToken) {
        self.0.borrow_mut().begun.push_back((*file, offset, buf, token));
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.0.borrow_mut().ended.pop_front()
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<usize> {
        self.change().await;
        self.take_room(len)?;
        let mut world = self.0.borrow_mut();
        if world.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        world.inodes.push(vec![0; len as usize]);
        let inode = world.inodes.len() - 1;
        world.files.insert(path.to_owned(), inode);
        Ok(inode)
    }

    async fn open(&self, path: &Path) -> Result<usize> {
        self.0.borrow().files.get(path).copied().ok_or(ErrorKind::NotFound.into())
    }

    async fn len(&self, file: &usize) -> Result<u64> {
        Ok(self.0.borrow().inodes[*file].len() as u64)
    }

    async fn read(&self, file: &usize, offset: u64, len: usize, _: IoClass) -> Result<ReadBuf> {
        let mut world = self.0.borrow_mut();
        if world.unreadable.contains(file) {
            return Err(Error::from_raw_os_error(EIO));
        }
        world.read_bytes += len as u64;
        let bytes = world.inodes[*file].get(offset as usize..offset as usize + len);
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(bytes.ok_or(Error::from(ErrorKind::UnexpectedEof))?);
        Ok(buf.into())
    }

    async fn write(&self, file: &usize, offset: u64, buf: AlignedBuf, _: IoClass) -> Result<AlignedBuf> {
        self.change().await;
        let len = self.0.borrow().inodes[*file].len() as u64;
        let more = (offset + buf.len() as u64).saturating_sub(len);
        if more > 0 {
            self.take_room(more)?;
        }
        write_at(&mut self.0.borrow_mut().inodes[*file], offset, &buf);
        Ok(buf)
    }

    async fn create(&self, path: &Path, reserved_len: u64) -> Result<usize> {
        if self.0.borrow().fails_creations {
            return Err(ErrorKind::StorageFull.into());
        }
        self.create_zeroed(path, reserved_len).await
    }

    async fn set_len(&self, file: &usize, len: u64) -> Result<()> {
        self.change().await;
        self.0.borrow_mut().inodes[*file].resize(len as usize, 0);
        Ok(())
    }

    async fn sync(&self, _: &usize, _: IoClass) -> Result<()> {
        self.change().await;
        Ok(())
    }

    async fn sync_dir(&self, _: &Path) -> Result<()> {
        let is_held = || self.0.borrow().holds_syncs;
        std::future::poll_fn(|_| if is_held() { Poll::Pending } else { Poll::Ready(()) }).await;
        self.change().await;
        Ok(())
    }

    async fn create_dir_all(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let world = self.0.borrow();
        let names = world.files.keys().filter(|path| path.parent() == Some(dir));
        let mut names: Vec<String> =
            names.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        Ok(names)
    }

    async fn free_bytes(&self, _: &Path) -> Result<Option<u64>> {
        let world = self.0.borrow();
        let free = world.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(world.used_bytes()));
        Ok(Some(if world.room_left == Some(0) { 0 } else { free }))
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.change().await;
        let mut world = self.0.borrow_mut();
        let inode = world.files.remove(from).ok_or(Error::from(ErrorKind::NotFound))?;
        world.files.insert(to.to_owned(), inode);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        self.change().await;
        self.0.borrow_mut().files.remove(path).map(|_| ()).ok_or(ErrorKind::NotFound.into())
    }
}
