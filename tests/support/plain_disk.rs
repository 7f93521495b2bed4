//! The files of a stopped node, by ordinary calls of the standard library: for tests that change what lies there as the store itself
//! would.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::Result;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use host::{AlignedBuf, Disk, IoClass, ReadBuf, WriteDone, WriteToken};

/// Reads and writes files, and nothing ever waits.
#[derive(Clone, Default)]
pub(crate) struct PlainDisk {
    done: Rc<RefCell<VecDeque<WriteDone>>>,
}

fn open(path: &Path) -> Result<Rc<File>> {
    Ok(Rc::new(File::options().read(true).write(true).open(path)?))
}

fn make(path: &Path, len: u64) -> Result<Rc<File>> {
    let file = File::options().read(true).write(true).create_new(true).open(path)?;
    file.set_len(len)?;
    Ok(Rc::new(file))
}

impl Disk for PlainDisk {
    type File = Rc<File>;

    fn write_begin(&self, file: &Rc<File>, offset: u64, buf: AlignedBuf, token: WriteToken) {
        let result = file.write_all_at(&buf, offset);
        self.done.borrow_mut().push_back(WriteDone { token, buf, result });
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.done.borrow_mut().pop_front()
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<Rc<File>> {
        make(path, len)
    }

    async fn create(&self, path: &Path, reserved_len: u64) -> Result<Rc<File>> {
        make(path, reserved_len)
    }

    async fn open(&self, path: &Path) -> Result<Rc<File>> {
        open(path)
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
        file.write_all_at(&buf, offset)?;
        Ok(buf)
    }

    async fn sync(&self, file: &Rc<File>, _: IoClass) -> Result<()> {
        file.sync_all()
    }

    async fn sync_dir(&self, path: &Path) -> Result<()> {
        File::open(path)?.sync_all()
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
        fs::remove_file(path)
    }
}
