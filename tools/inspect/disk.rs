//! A disk that is only read, by ordinary calls of the standard library: the node is stopped, and nobody waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::rc::Rc;

use host::{AlignedBuf, Disk, IoClass, ReadBuf, WriteDone, WriteToken};

/// The longest file that is read whole, in bytes: as long as the longest segment of a log.
const WHOLE_FILE_BYTES_MAX: u64 = 2 << 30;

/// Reads files, and refuses everything else.
#[derive(Clone, Default)]
pub struct ReadDisk {
    /// Writes that somebody began.
    refused: Rc<RefCell<VecDeque<WriteDone>>>,
}

/// A file that was there when it was opened. It is opened again for each read, so that any number of files can be looked at.
#[derive(Clone)]
pub struct ReadFile(Rc<Path>);

fn refused<T>() -> Result<T> {
    Err(Error::new(ErrorKind::ReadOnlyFilesystem, "nothing is written here"))
}

impl ReadFile {
    fn len(&self) -> Result<u64> {
        Ok(fs::metadata(&self.0)?.len())
    }
}

impl Disk for ReadDisk {
    type File = ReadFile;

    fn write_begin(&self, _: &ReadFile, _: u64, buf: AlignedBuf, token: WriteToken) {
        self.refused.borrow_mut().push_back(WriteDone { token, buf, result: refused() });
    }

    fn write_end(&self) -> Option<WriteDone> {
        self.refused.borrow_mut().pop_front()
    }

    async fn create_zeroed(&self, _: &Path, _: u64) -> Result<ReadFile> {
        refused()
    }

    async fn create(&self, _: &Path, _: u64) -> Result<ReadFile> {
        refused()
    }

    async fn open(&self, path: &Path) -> Result<ReadFile> {
        // To open a pipe would wait for somebody who writes into it.
        match fs::metadata(path)?.is_file() {
            true => File::open(path).map(|_| ReadFile(path.into())),
            false => Err(Error::new(ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    async fn len(&self, file: &ReadFile) -> Result<u64> {
        match file.len()? {
            len if len > WHOLE_FILE_BYTES_MAX => Err(ErrorKind::FileTooLarge.into()),
            len => Ok(len),
        }
    }

    async fn set_len(&self, _: &ReadFile, _: u64) -> Result<()> {
        refused()
    }

    async fn read(&self, file: &ReadFile, offset: u64, len: usize, _: IoClass) -> Result<ReadBuf> {
        // Before memory is taken for it: the length may be what damaged bytes say.
        let is_within = offset.checked_add(len as u64).is_some_and(|end| end <= file.len().unwrap_or(0));
        if !is_within {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut buf = AlignedBuf::zeroed(len);
        File::open(&file.0)?.read_exact_at(&mut buf, offset)?;
        Ok(buf.into())
    }

    async fn write(&self, _: &ReadFile, _: u64, _: AlignedBuf, _: IoClass) -> Result<AlignedBuf> {
        refused()
    }

    async fn sync(&self, _: &ReadFile, _: IoClass) -> Result<()> {
        refused()
    }

    async fn sync_dir(&self, _: &Path) -> Result<()> {
        refused()
    }

    async fn create_dir_all(&self, path: &Path) -> Result<()> {
        if path.is_dir() { Ok(()) } else { refused() }
    }

    async fn list(&self, path: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(path)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    async fn rename(&self, _: &Path, _: &Path) -> Result<()> {
        refused()
    }

    async fn remove(&self, _: &Path) -> Result<()> {
        refused()
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn it_reads_what_is_there_and_refuses_all_that_changes_something() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("file");
        fs::write(&path, [7; 8_192]).expect("a small file");
        let disk = ReadDisk::default();
        let file = block_on(disk.open(&path)).expect("it is there");
        let read = |offset, len| block_on(disk.read(&file, offset, len, IoClass::Log)).map(|buf| buf.to_vec());
        assert_eq!(block_on(disk.len(&file)).ok(), Some(8_192));
        assert_eq!(read(4_096, 4_096).ok(), Some(vec![7; 4_096]));
        for (offset, len) in [(4_096, 8_192), (u64::MAX, 4_096), (1 << 40, 4_096)] {
            assert_eq!(read(offset, len).map_err(|error| error.kind()), Err(ErrorKind::UnexpectedEof));
        }
        let kind = |result: Result<()>| result.map_err(|error| error.kind());
        let refused = Err(ErrorKind::ReadOnlyFilesystem);
        assert_eq!(kind(block_on(disk.remove(&path))), refused);
        assert_eq!(kind(block_on(disk.rename(&path, &dir.path().join("other")))), refused);
        assert_eq!(kind(block_on(disk.set_len(&file, 0))), refused);
        assert_eq!(kind(block_on(disk.create(&dir.path().join("new"), 0)).map(|_| ())), refused);
        let written = block_on(disk.write(&file, 0, AlignedBuf::zeroed(4_096), IoClass::Log));
        assert_eq!(kind(written.map(|_| ())), refused);
        disk.write_begin(&file, 0, AlignedBuf::zeroed(4_096), 5);
        let done = disk.write_end().expect("it has ended");
        assert_eq!((done.token, kind(done.result)), (5, refused));
        assert_eq!(fs::read(&path).expect("unchanged"), [7; 8_192]);
        assert_eq!(block_on(disk.list(dir.path())).ok(), Some(vec!["file".to_owned()]));
        assert!(block_on(disk.open(dir.path())).is_err(), "a directory is no file");
    }
}
