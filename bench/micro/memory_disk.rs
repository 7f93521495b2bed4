//! A disk in memory, of which every operation ends at once: what is measured on it is what the CPU does. For those who need more
//! of a host its clock stands still, and tasks run when they are told to.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use host::{AlignedBuf, Clock, Disk, IoClass, ReadBuf, Spawn, TaskClass, WriteDone, WriteToken};
use types::Instant;

/// An open file: its bytes.
pub type MemoryFile = Rc<RefCell<Vec<u8>>>;

type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Files in memory. Clones are one and the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk {
    files: Rc<RefCell<BTreeMap<PathBuf, MemoryFile>>>,
    /// Writes of the log that have ended and were not reported. Invariant: at most one of each log.
    ended: Rc<RefCell<VecDeque<WriteDone>>>,
    /// Tasks that have not run. Invariant: at most one of each log.
    tasks: Rc<RefCell<VecDeque<Task>>>,
}

impl MemoryDisk {
    /// Runs the tasks that were started.
    ///
    /// # Panics
    /// If one of them waits: nothing here lets anybody wait.
    pub fn run_tasks(&self) {
        loop {
            let Some(mut task) = self.tasks.borrow_mut().pop_front() else { return };
            let polled = task.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready(), "a task waits");
        }
    }

    fn make(&self, path: &Path, len: u64) -> Result<MemoryFile> {
        let file = MemoryFile::new(RefCell::new(vec![0; offset_of(len)?]));
        match self.files.borrow_mut().insert(path.to_owned(), Rc::clone(&file)) {
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
            None => Ok(file),
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn write_begin(&self, file: &MemoryFile, offset: u64, buf: AlignedBuf, token: WriteToken) {
        let result = put(file, offset, &buf);
        self.ended.borrow_mut().push_back(WriteDone { token, buf, result });
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.ended.borrow_mut().pop_front()
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<MemoryFile> {
        self.make(path, len)
    }

    async fn create(&self, path: &Path, _reserved_len: u64) -> Result<MemoryFile> {
        self.make(path, 0)
    }

    async fn open(&self, path: &Path) -> Result<MemoryFile> {
        self.files.borrow().get(path).cloned().ok_or(ErrorKind::NotFound.into())
    }

    async fn len(&self, file: &MemoryFile) -> Result<u64> {
        Ok(file.borrow().len() as u64)
    }

    async fn set_len(&self, file: &MemoryFile, len: u64) -> Result<()> {
        file.borrow_mut().resize(offset_of(len)?, 0);
        Ok(())
    }

    async fn read(&self, file: &MemoryFile, offset: u64, len: usize, _: IoClass) -> Result<ReadBuf> {
        let content = file.borrow();
        let bytes = content.get(offset_of(offset)?..).and_then(|rest| rest.get(..len));
        let bytes = bytes.ok_or(ErrorKind::UnexpectedEof)?;
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(bytes);
        Ok(buf.into())
    }

    async fn write(&self, file: &MemoryFile, offset: u64, buf: AlignedBuf, _: IoClass) -> Result<AlignedBuf> {
        put(file, offset, &buf).map(|()| buf)
    }

    async fn sync(&self, _: &MemoryFile, _: IoClass) -> Result<()> {
        Ok(())
    }

    async fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn create_dir_all(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn list(&self, dir: &Path) -> Result<Vec<String>> {
        let files = self.files.borrow();
        let inside = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut files = self.files.borrow_mut();
        let file = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        self.files.borrow_mut().remove(path).map(|_| ()).ok_or(ErrorKind::NotFound.into())
    }
}

impl Clock for MemoryDisk {
    fn now(&self) -> Instant {
        Instant::ZERO
    }

    fn unix_time_ms(&self) -> u64 {
        0
    }
}

impl Spawn for MemoryDisk {
    fn spawn(&self, _: TaskClass, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push_back(Box::pin(task));
    }

    fn notify(&self) {}

    async fn park(&self, _: Instant) {}

    async fn yield_now(&self) {}

    async fn sleep_until(&self, _: Instant) {}
}

fn put(file: &MemoryFile, offset: u64, bytes: &[u8]) -> Result<()> {
    let (begin, mut content) = (offset_of(offset)?, file.borrow_mut());
    let end = begin + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[begin..end].copy_from_slice(bytes);
    Ok(())
}

fn offset_of(offset: u64) -> Result<usize> {
    usize::try_from(offset).map_err(|_| Error::from(ErrorKind::InvalidInput))
}
