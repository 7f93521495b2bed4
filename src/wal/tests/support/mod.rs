//! A disk, a clock and tasks in memory, with everything that can go wrong under the test's control.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "test support")]

pub mod model;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use host::{AlignedBuf, Clock, Disk, IoClass, ReadBuf, Spawn, TaskClass, WriteDone, WriteToken};
use types::{GroupId, Index, Instant, ReplicaId, Term};
use wal::{Config, Recovered, Wal};
use wire::{Entry, EntryKind};

pub const SECTOR: usize = 512;
pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

/// What happens to the next write.
#[derive(Clone, Copy, Debug)]
pub enum WriteFault {
    /// It fails.
    Fail(i32),
    /// It is reported done and never happens.
    Lose,
    /// It is reported done, but lands elsewhere in the same file.
    Misdirect { offset: u64 },
}

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Default)]
struct World {
    files: BTreeMap<PathBuf, usize>,
    /// The names that a crash leaves.
    durable_files: BTreeMap<PathBuf, usize>,
    /// Whether the next sync of the directory has names to make durable.
    names_dirty: bool,
    /// How many of the next syncs of the directory fail.
    dir_sync_failures: u32,
    inodes: Vec<Vec<u8>>,
    begun: VecDeque<(usize, u64, AlignedBuf, WriteToken)>,
    /// What stands on the medium where the drive has something newer in its volatile cache: inode, offset, bytes.
    cached: Vec<(usize, u64, Vec<u8>)>,
    ended: VecDeque<WriteDone>,
    tasks: Vec<Task>,
    now: Instant,
    capacity: Option<usize>,
    write_fault: Option<WriteFault>,
    unreadable: BTreeSet<(usize, u64)>,
    /// Of this many reads all but one fail, if it is not 0.
    reads_failing: u64,
    notified: u64,
    reads: u64,
    read_bytes: usize,
}

impl World {
    /// Makes the names durable that were changed since the last sync. One that fails forgets what it was to do, as
    /// kernels do: only another change brings the directory to the disk again.
    fn sync_names(&mut self) -> Result<()> {
        let dirty = std::mem::take(&mut self.names_dirty);
        if self.dir_sync_failures > 0 {
            self.dir_sync_failures -= 1;
            return Err(Error::from_raw_os_error(EIO));
        }
        if dirty {
            self.durable_files.clone_from(&self.files);
        }
        Ok(())
    }
}

impl World {
    /// A write has ended: it is on the medium, and nothing older of that place is in the cache.
    fn write(&mut self, inode: usize, offset: u64, bytes: &[u8]) {
        write_at(&mut self.inodes[inode], offset, bytes);
        self.cached.retain(|(cached, at, before)| {
            *cached != inode || at + before.len() as u64 <= offset || offset + bytes.len() as u64 <= *at
        });
    }
}

/// The only core of a small world.
#[derive(Clone, Default)]
pub struct Host(Rc<RefCell<World>>);

impl Host {
    pub fn new() -> Host {
        Host::default()
    }

    /// Ends the oldest write under way. `false` if there is none.
    pub fn complete_one(&self) -> bool {
        let mut world = self.0.borrow_mut();
        let Some((inode, offset, buf, token)) = world.begun.pop_front() else { return false };
        let result = match world.write_fault.take() {
            None => {
                world.write(inode, offset, &buf);
                Ok(())
            }
            Some(WriteFault::Fail(code)) => Err(Error::from_raw_os_error(code)),
            Some(WriteFault::Lose) => Ok(()),
            Some(WriteFault::Misdirect { offset }) => {
                write_at(&mut world.inodes[inode], offset, &buf);
                Ok(())
            }
        };
        world.ended.push_back(WriteDone { token, buf, result });
        true
    }

    /// Lets tasks run until none of them gets further.
    pub fn run_tasks(&self) {
        for _ in 0..8 {
            let mut tasks = std::mem::take(&mut self.0.borrow_mut().tasks);
            let mut context = Context::from_waker(Waker::noop());
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            self.0.borrow_mut().tasks.extend(tasks);
        }
    }

    pub fn advance(&self, duration: Duration) {
        self.0.borrow_mut().now += duration;
    }

    /// The world after a crash: of each write under way, the sectors that `keep` names are on disk.
    pub fn crash(&self, mut keep: impl FnMut(usize) -> bool) -> Host {
        let world = self.0.borrow();
        let mut inodes = world.inodes.clone();
        for (inode, offset, buf, _) in &world.begun {
            for (sector, bytes) in buf.chunks(SECTOR).enumerate() {
                if keep(sector) {
                    write_at(&mut inodes[*inode], offset + (sector * SECTOR) as u64, bytes);
                }
            }
        }
        Host(Rc::new(RefCell::new(World {
            files: world.durable_files.clone(),
            durable_files: world.durable_files.clone(),
            inodes,
            now: world.now,
            capacity: world.capacity,
            unreadable: world.unreadable.clone(),
            ..World::default()
        })))
    }

    /// The world after the death of the process alone: the writes under way are in the drive's volatile cache.
    pub fn die(&self) -> Host {
        let host = self.crash(|_| true);
        let world = self.0.borrow();
        let before = |(inode, offset, buf, _): &(usize, u64, AlignedBuf, WriteToken)| {
            let from = *offset as usize;
            (*inode, *offset, world.inodes[*inode][from..from + buf.len()].to_vec())
        };
        host.0.borrow_mut().cached = world.begun.iter().map(before).collect();
        host
    }

    /// The world after a failure of power: what was in the drive's volatile cache is gone.
    pub fn lose_power(&self) -> Host {
        let host = self.crash(|_| false);
        for (inode, offset, before) in &self.0.borrow().cached {
            write_at(&mut host.0.borrow_mut().inodes[*inode], *offset, before);
        }
        host
    }

    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.0.borrow_mut().capacity = bytes;
    }

    pub fn set_write_fault(&self, fault: WriteFault) {
        self.0.borrow_mut().write_fault = Some(fault);
    }

    /// The next changes of names happen and are reported as failed: the sync behind them fails.
    pub fn fail_dir_syncs(&self, count: u32) {
        self.0.borrow_mut().dir_sync_failures = count;
    }

    pub fn writes_begun(&self) -> usize {
        self.0.borrow().begun.len()
    }

    /// Offset and length of the write under way.
    pub fn write_begun(&self) -> Option<(u64, usize)> {
        self.0.borrow().begun.front().map(|(_, offset, buf, _)| (*offset, buf.len()))
    }

    pub fn reads(&self) -> u64 {
        self.0.borrow().reads
    }

    pub fn read_bytes(&self) -> usize {
        self.0.borrow().read_bytes
    }

    /// Of so many reads only one succeeds; 0 and 1 let all succeed.
    pub fn fail_reads(&self, of: u64) {
        self.0.borrow_mut().reads_failing = of;
    }

    pub fn notified(&self) -> u64 {
        self.0.borrow().notified
    }

    pub fn file_names(&self) -> Vec<String> {
        self.0.borrow().files.keys().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    pub fn content(&self, segment: u64) -> Vec<u8> {
        let world = self.0.borrow();
        world.inodes[world.files[&path(segment)]].clone()
    }

    pub fn change(&self, segment: u64, change: impl FnOnce(&mut Vec<u8>)) {
        let mut world = self.0.borrow_mut();
        let inode = world.files[&path(segment)];
        change(&mut world.inodes[inode]);
    }

    pub fn flip(&self, segment: u64, bit: usize) {
        self.change(segment, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }

    pub fn put_file(&self, name: &str, bytes: Vec<u8>) {
        let mut world = self.0.borrow_mut();
        world.inodes.push(bytes);
        let inode = world.inodes.len() - 1;
        world.files.insert(Path::new(DIR).join(name), inode);
        world.durable_files.insert(Path::new(DIR).join(name), inode);
    }

    pub fn delete(&self, segment: u64) {
        let mut world = self.0.borrow_mut();
        world.files.remove(&path(segment)).unwrap();
        world.durable_files.remove(&path(segment));
    }

    pub fn set_unreadable(&self, segment: u64, offset: u64) {
        let mut world = self.0.borrow_mut();
        let inode = world.files[&path(segment)];
        world.unreadable.insert((inode, offset));
    }
}

fn path(segment: u64) -> PathBuf {
    Path::new(DIR).join(wal::format::segment_name(segment))
}

fn write_at(content: &mut [u8], offset: u64, bytes: &[u8]) {
    let offset = offset as usize;
    content[offset..offset + bytes.len()].copy_from_slice(bytes);
}

impl Clock for Host {
    fn now(&self) -> Instant {
        self.0.borrow().now
    }

    fn unix_time_ms(&self) -> u64 {
        0
    }
}

impl Spawn for Host {
    fn spawn(&self, _: TaskClass, task: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().tasks.push(Box::pin(task));
    }

    fn notify(&self) {
        self.0.borrow_mut().notified += 1;
    }

    async fn park(&self, _: Instant) {}

    async fn yield_now(&self) {}

    async fn sleep_until(&self, deadline: Instant) {
        std::future::poll_fn(|_| if self.now() >= deadline { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Disk for Host {
    type File = usize;

    fn write_begin(&self, file: &usize, offset: u64, buf: AlignedBuf, token: WriteToken) {
        assert!(offset.is_multiple_of(4_096) && buf.len().is_multiple_of(4_096) && !buf.is_empty());
        self.0.borrow_mut().begun.push_back((*file, offset, buf, token));
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.0.borrow_mut().ended.pop_front()
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<usize> {
        let mut world = self.0.borrow_mut();
        if world.files.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let used: usize = world.files.values().map(|inode| world.inodes[*inode].len()).sum();
        if world.capacity.is_some_and(|capacity| used + len as usize > capacity) {
            return Err(Error::from_raw_os_error(ENOSPC));
        }
        world.inodes.push(vec![0; len as usize]);
        let inode = world.inodes.len() - 1;
        world.files.insert(path.to_owned(), inode);
        world.names_dirty = true;
        world.sync_names()?;
        Ok(inode)
    }

    async fn open(&self, path: &Path) -> Result<usize> {
        self.0.borrow().files.get(path).copied().ok_or(ErrorKind::NotFound.into())
    }

    async fn len(&self, file: &usize) -> Result<u64> {
        Ok(self.0.borrow().inodes[*file].len() as u64)
    }

    async fn read(&self, file: &usize, offset: u64, len: usize, _: IoClass) -> Result<ReadBuf> {
        assert!(offset.is_multiple_of(4_096) && len.is_multiple_of(4_096));
        let mut world = self.0.borrow_mut();
        world.reads += 1;
        world.read_bytes += len;
        if world.reads_failing > 1 && !world.reads.is_multiple_of(world.reads_failing) {
            return Err(Error::from_raw_os_error(EIO));
        }
        if world.unreadable.range((*file, offset)..(*file, offset + len as u64)).next().is_some() {
            return Err(Error::from_raw_os_error(EIO));
        }
        let bytes = world.inodes[*file].get(offset as usize..offset as usize + len);
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(bytes.ok_or(Error::from(ErrorKind::UnexpectedEof))?);
        Ok(buf.into())
    }

    async fn write(&self, file: &usize, offset: u64, buf: AlignedBuf, _: IoClass) -> Result<AlignedBuf> {
        self.0.borrow_mut().write(*file, offset, &buf);
        Ok(buf)
    }

    async fn create(&self, _: &Path, _: u64) -> Result<usize> {
        only_durable_files()
    }

    async fn set_len(&self, _: &usize, _: u64) -> Result<()> {
        only_durable_files()
    }

    async fn sync(&self, _: &usize, _: IoClass) -> Result<()> {
        only_durable_files()
    }

    async fn sync_dir(&self, _: &Path) -> Result<()> {
        only_durable_files()
    }

    async fn create_dir_all(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn list(&self, _: &Path) -> Result<Vec<String>> {
        Ok(self.file_names())
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut world = self.0.borrow_mut();
        let inode = world.files.remove(from).ok_or(Error::from(ErrorKind::NotFound))?;
        world.files.insert(to.to_owned(), inode);
        // A file renamed to its own name is no change.
        world.names_dirty |= from != to;
        world.sync_names()
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        let mut world = self.0.borrow_mut();
        world.files.remove(path).ok_or(Error::from(ErrorKind::NotFound))?;
        world.names_dirty = true;
        world.sync_names()
    }
}

/// Every write of a log is durable when it ends.
fn only_durable_files<T>() -> Result<T> {
    panic!("a log makes durable files only")
}

const DIR: &str = "/data/wal/core-00";

/// Small sizes, so that blocks and segments end often.
pub fn config() -> Config {
    Config { segment_bytes: 64 << 10, block_bytes_max: 16 << 10, pending_bytes_max: 128 << 10, ..Config::new(DIR) }
}

pub fn open(host: &Host) -> (Wal<Host>, Recovered) {
    open_with(host, config())
}

pub fn open_with(host: &Host, config: Config) -> (Wal<Host>, Recovered) {
    let (wal, recovered) = futures_lite::future::block_on(Wal::open(host.clone(), config)).unwrap();
    host.run_tasks();
    (wal, recovered)
}

/// Opens a log that must be sound.
pub fn open_sound(host: &Host) -> (Wal<Host>, Recovered) {
    let (wal, recovered) = open(host);
    assert_eq!(recovered.damage, None);
    for (group, state) in &recovered.groups {
        assert_eq!(state.condition, wal::Condition::Sound, "group {group}");
    }
    (wal, recovered)
}

/// The first replica of each of these groups begins.
pub fn begin(wal: &mut Wal<Host>, groups: impl IntoIterator<Item = u32>) {
    groups.into_iter().for_each(|group| wal.begin(GroupId(group), ReplicaId(1)).unwrap());
}

/// A log in which replicas of these groups have begun, which is not written yet.
pub fn begun(groups: impl IntoIterator<Item = u32>) -> (Host, Wal<Host>) {
    let host = Host::new();
    let (mut wal, _) = open_sound(&host);
    begin(&mut wal, groups);
    (host, wal)
}

pub fn entry(term: Term, index: Index, payload: &[u8]) -> Entry {
    Entry { term, index, kind: EntryKind::Batch, payload: Bytes::copy_from_slice(payload).into() }
}

/// Entries whose payloads of this length tell term and index. Every fifth changes the membership.
pub fn entries(term: Term, indices: std::ops::RangeInclusive<Index>, len: usize) -> Vec<Entry> {
    let payload = |index: Index| {
        let text = format!("{term}/{index}/").into_bytes();
        let mut payload = text.repeat(len / text.len() + 1);
        payload.truncate(len);
        payload
    };
    let kind = |index: Index| if index.is_multiple_of(5) { EntryKind::Membership } else { EntryKind::Batch };
    indices.map(|index| Entry { kind: kind(index), ..entry(term, index, &payload(index)) }).collect()
}

/// Makes everything appended durable.
pub fn sync(host: &Host, wal: &mut Wal<Host>) {
    while wal.pending_bytes() > 0 {
        wal.submit().unwrap();
        host.run_tasks();
        host.complete_one();
        wal.poll().unwrap();
    }
    host.run_tasks();
}

pub fn read(wal: &Wal<Host>, group: u32, first: Index, last: Index) -> std::result::Result<Vec<Entry>, wal::Error> {
    futures_lite::future::block_on(wal.reader(GroupId(group), first, last, usize::MAX))
}

/// Three groups over some segments; group 2 has its only entries in the first.
pub fn filled() -> (Host, Wal<Host>) {
    let (host, mut wal) = begun(1..=3);
    wal.append_entries(GroupId(2), &entries(1, 1..=3, 100)).unwrap();
    sync(&host, &mut wal);
    for index in 1..=30 {
        wal.append_entries(GroupId(1), &entries(1, index..=index, 6_000)).unwrap();
        wal.append_entries(GroupId(3), &entries(1, index..=index, 100)).unwrap();
        sync(&host, &mut wal);
    }
    (host, wal)
}
