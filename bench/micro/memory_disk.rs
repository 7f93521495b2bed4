//! A disk in memory, of which every operation ends at once: what is measured on it is what the CPU does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use host::{AlignedBuf, Disk, IoClass, ReadBuf, WriteDone, WriteToken};

/// An open file: its bytes.
pub type MemoryFile = Rc<RefCell<Vec<u8>>>;

/// Files in memory. Clones are one and the same disk.
#[derive(Clone, Default)]
pub struct MemoryDisk(Rc<RefCell<BTreeMap<PathBuf, MemoryFile>>>);

impl MemoryDisk {
    fn make(&self, path: &Path, len: u64) -> Result<MemoryFile> {
        let file = MemoryFile::new(RefCell::new(vec![0; offset_of(len)?]));
        match self.0.borrow_mut().insert(path.to_owned(), Rc::clone(&file)) {
            Some(_) => Err(ErrorKind::AlreadyExists.into()),
            None => Ok(file),
        }
    }
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn write_begin(&self, _: &MemoryFile, _: u64, _: AlignedBuf, _: WriteToken) {
        unreachable!("nobody writes a log here");
    }

    fn write_end(&self) -> Option<WriteDone> {
        None
    }

    async fn create_zeroed(&self, path: &Path, len: u64) -> Result<MemoryFile> {
        self.make(path, len)
    }

    async fn create(&self, path: &Path, _reserved_len: u64) -> Result<MemoryFile> {
        self.make(path, 0)
    }

    async fn open(&self, path: &Path) -> Result<MemoryFile> {
        self.0.borrow().get(path).cloned().ok_or(ErrorKind::NotFound.into())
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
        let (begin, mut content) = (offset_of(offset)?, file.borrow_mut());
        let end = begin + buf.len();
        if content.len() < end {
            content.resize(end, 0);
        }
        content[begin..end].copy_from_slice(&buf);
        Ok(buf)
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
        let files = self.0.borrow();
        let inside = files.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| path.file_name()?.to_str().map(str::to_owned)).collect())
    }

    async fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut files = self.0.borrow_mut();
        let file = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    async fn remove(&self, path: &Path) -> Result<()> {
        self.0.borrow_mut().remove(path).map(|_| ()).ok_or(ErrorKind::NotFound.into())
    }
}

fn offset_of(offset: u64) -> Result<usize> {
    usize::try_from(offset).map_err(|_| Error::from(ErrorKind::InvalidInput))
}
