//! A core with files of the operating system, whose operations end at once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::future::Future;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use host::{AlignedBuf, Clock, Disk, IoClass, ReadBuf, Spawn, TaskClass, WriteDone, WriteToken};
use types::Instant;

type Task = Pin<Box<dyn Future<Output = ()>>>;

#[derive(Clone, Default)]
pub struct Host {
    ended: Rc<RefCell<VecDeque<WriteDone>>>,
    tasks: Rc<RefCell<Vec<Task>>>,
}

impl Host {
    /// Lets tasks run until none of them gets further.
    pub fn run_tasks(&self) {
        for _ in 0..8 {
            let mut tasks = std::mem::take(&mut *self.tasks.borrow_mut());
            let mut context = Context::from_waker(Waker::noop());
            tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
            self.tasks.borrow_mut().extend(tasks);
        }
    }
}

impl Clock for Host {
    fn now(&self) -> Instant {
        Instant::default()
    }

    fn unix_time_ms(&self) -> u64 {
        0
    }
}

impl Spawn for Host {
    fn spawn(&self, _: TaskClass, task: impl Future<Output = ()> + 'static) {
        self.tasks.borrow_mut().push(Box::pin(task));
    }

    fn notify(&self) {}

    async fn park(&self, _: Instant) {}

    async fn yield_now(&self) {}

    async fn sleep_until(&self, _: Instant) {}
}

fn create(path: &Path, len: u64) -> Result<Rc<File>> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
    file.set_len(len)?;
    Ok(Rc::new(file))
}

impl Disk for Host {
    type File = Rc<File>;

    fn write_begin(&self, file: &Rc<File>, offset: u64, buf: AlignedBuf, token: WriteToken) {
        let result = file.write_all_at(&buf, offset);
        self.ended.borrow_mut().push_back(WriteDone { token, buf, result });
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.ended.borrow_mut().pop_front()
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<Rc<File>> {
        create(path, len)
    }

    async fn create(&self, path: &Path, reserved_len: u64) -> Result<Rc<File>> {
        create(path, reserved_len)
    }

    async fn open(&self, path: &Path) -> Result<Rc<File>> {
        OpenOptions::new().read(true).write(true).open(path).map(Rc::new)
    }

    async fn len(&self, file: &Rc<File>) -> Result<u64> {
        Ok(file.metadata()?.len())
    }

    async fn set_len(&self, file: &Rc<File>, len: u64) -> Result<()> {
        file.set_len(len)
    }

    async fn read(&self, file: &Rc<File>, offset: u64, len: usize, _: IoClass) -> Result<ReadBuf> {
        let mut buf = AlignedBuf::zeroed(len);
        file.read_exact_at(&mut buf, offset)?;
        Ok(buf.into())
    }

    async fn write(&self, file: &Rc<File>, offset: u64, buf: AlignedBuf, _: IoClass) -> Result<AlignedBuf> {
        file.write_all_at(&buf, offset).map(|()| buf)
    }

    async fn sync(&self, _: &Rc<File>, _: IoClass) -> Result<()> {
        Ok(())
    }

    async fn sync_dir(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        fs::create_dir_all(path)
    }

    async fn list(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        fs::rename(from, to)
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Err(error),
            result => result,
        }
    }
}
