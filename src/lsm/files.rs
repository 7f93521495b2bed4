//! The files of a store: the one place that reads and writes them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use host::{ALIGNMENT, AlignedBuf, Disk, IoClass, ReadBuf};

use crate::error::{Error, FormatError};
use crate::pending::Chunk;

const NAME_DIGITS: usize = 12;
const NAME_SUFFIX: &str = ".data";
/// What is not complete yet, and is removed at the next start.
const TEMPORARY_SUFFIXES: [&str; 2] = [".tmp", ".new"];
/// How much is read at once of what is read whole.
const READ_BYTES_MAX: usize = 1 << 20;

/// The name of the file of tables or blobs with a number.
pub fn data_name(number: u64) -> String {
    format!("{number:0width$}{NAME_SUFFIX}", width = NAME_DIGITS)
}

/// The number in the name of a file of tables or blobs; `None` for any other name.
pub fn data_number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(NAME_SUFFIX)?;
    if digits.len() < NAME_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|number| data_name(*number) == name)
}

/// Whether a name is that of a file that is not complete yet, and is removed at the next start.
pub fn is_temporary(name: &str) -> bool {
    TEMPORARY_SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// The directory of a store.
pub struct Files<D: Disk> {
    disk: D,
    dir: PathBuf,
    /// Files that were opened to be read, by their numbers.
    open: RefCell<BTreeMap<u64, D::File>>,
}

/// A file being written.
pub struct FileWriter<D: Disk> {
    disk: D,
    file: D::File,
    path: PathBuf,
    class: IoClass,
}

impl<D: Disk> FileWriter<D> {
    /// Writes at an offset, a multiple of [`ALIGNMENT`]: durably to a file of the manifest, else to be synced.
    pub async fn write(&self, offset: u64, buf: AlignedBuf) -> Result<(), Error> {
        let written = self.disk.write(&self.file, offset, buf, self.class).await;
        written.map(|_| ()).map_err(failed("write", &self.path))
    }

    /// Puts on stable storage what was written.
    pub async fn sync(&self) -> Result<(), Error> {
        self.disk.sync(&self.file, self.class).await.map_err(failed("sync", &self.path))
    }

    /// Cuts off at a length what was reserved, and puts all before it on stable storage.
    pub async fn finish(&self, len: u64) -> Result<(), Error> {
        self.disk.set_len(&self.file, len).await.map_err(failed("set the length of", &self.path))?;
        self.sync().await
    }

    /// Writes a chunk of what begins at `base`.
    pub async fn write_chunk(&self, base: u64, chunk: Chunk) -> Result<(), Error> {
        self.write(base + chunk.offset, chunk.buf).await
    }
}

/// A file of the manifest that is read and not written.
pub(crate) struct FileReader<D: Disk> {
    disk: D,
    file: D::File,
    path: PathBuf,
}

impl<D: Disk> FileReader<D> {
    /// Reads at an offset; offset and length are multiples of [`ALIGNMENT`].
    pub(crate) async fn read(&self, offset: u64, len: usize, class: IoClass) -> Result<ReadBuf, Error> {
        self.disk.read(&self.file, offset, len, class).await.map_err(failed("read", &self.path))
    }

    /// That it is damaged.
    pub(crate) fn damaged(&self, offset: u64, source: FormatError) -> Error {
        Error::Damaged { path: self.path.clone(), offset, source }
    }
}

/// Bytes that were read together with those around them.
pub struct ReadBytes {
    buf: ReadBuf,
    skipped: usize,
    len: usize,
}

impl ReadBytes {
    /// The bytes asked for.
    pub fn bytes(&self) -> &[u8] {
        &self.buf[self.skipped..self.skipped + self.len]
    }
}

impl<D: Disk> Files<D> {
    /// The files in a directory, which is made if need be.
    pub async fn open(disk: D, dir: PathBuf) -> Result<Files<D>, Error> {
        disk.create_dir_all(&dir).await.map_err(failed("make", &dir))?;
        Ok(Files { disk, dir, open: RefCell::default() })
    }

    /// The path of a file.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Removes what is not complete, and lists the numbers of the files of tables and blobs.
    pub async fn clean_up(&self) -> Result<Vec<u64>, Error> {
        let names = self.disk.list(&self.dir).await.map_err(failed("list", &self.dir))?;
        for name in &names {
            if is_temporary(name) {
                self.remove_named(name).await?;
            }
        }
        Ok(names.iter().filter_map(|name| data_number(name)).collect())
    }

    /// Lists the numbers of the files of tables and blobs, and changes nothing.
    pub async fn numbers(&self) -> Result<Vec<u64>, Error> {
        let names = self.disk.list(&self.dir).await.map_err(failed("list", &self.dir))?;
        Ok(names.iter().filter_map(|name| data_number(name)).collect())
    }

    /// Makes the file of tables or blobs with a number, with so many bytes reserved; beyond them it grows as it is
    /// written. What is written is to be synced, and so is the directory ([`Files::sync_names`]).
    pub async fn create(&self, number: u64, reserved: u64, class: IoClass) -> Result<FileWriter<D>, Error> {
        let path = self.path(&data_name(number));
        let file = self.disk.create(&path, reserved).await.map_err(failed("make", &path))?;
        Ok(FileWriter { disk: self.disk.clone(), file, path, class })
    }

    /// Puts the names of files that were made on stable storage.
    pub async fn sync_names(&self) -> Result<(), Error> {
        self.disk.sync_dir(&self.dir).await.map_err(failed("sync", &self.dir))
    }

    /// Removes the file of tables or blobs with a number. It may be gone already.
    pub async fn remove(&self, number: u64) -> Result<(), Error> {
        self.open.borrow_mut().remove(&number);
        self.remove_named(&data_name(number)).await
    }

    /// Reads bytes of a file of tables or blobs, with those around them up to the next boundaries.
    pub async fn read(&self, number: u64, offset: u64, len: usize, class: IoClass) -> Result<ReadBytes, Error> {
        let path = self.path(&data_name(number));
        let opened = self.open.borrow().get(&number).cloned();
        let file = match opened {
            Some(file) => file,
            None => {
                let file = self.disk.open(&path).await.map_err(failed("open", &path))?;
                self.open.borrow_mut().entry(number).or_insert(file).clone()
            }
        };
        let begin = offset - offset % ALIGNMENT as u64;
        // What is less than the alignment fits any integer.
        let skipped = (offset - begin) as usize;
        let read = self.disk.read(&file, begin, (skipped + len).next_multiple_of(ALIGNMENT), class).await;
        let buf = read.map_err(failed("read", &path))?;
        Ok(ReadBytes { buf, skipped, len })
    }

    /// That a file of tables or blobs is damaged.
    pub fn damaged(&self, number: u64, offset: u64, source: FormatError) -> Error {
        Error::Damaged { path: self.path(&data_name(number)), offset, source }
    }

    /// Makes a durable file of so many zeros. One of that name that is there is removed.
    pub(crate) async fn create_named(&self, name: &str, len: u64) -> Result<FileWriter<D>, Error> {
        let path = self.path(name);
        self.remove_named(name).await?;
        let file = self.disk.create_zeroed(&path, len).await.map_err(failed("make", &path))?;
        Ok(FileWriter { disk: self.disk.clone(), file, path, class: IoClass::Log })
    }

    /// Opens a file to write on.
    pub(crate) async fn open_named(&self, name: &str) -> Result<FileWriter<D>, Error> {
        let path = self.path(name);
        let file = self.disk.open(&path).await.map_err(failed("open", &path))?;
        Ok(FileWriter { disk: self.disk.clone(), file, path, class: IoClass::Log })
    }

    /// Opens a file to read it. Whoever has it open reads it on if its name is given to another one.
    pub(crate) async fn open_to_read(&self, name: &str) -> Result<FileReader<D>, Error> {
        let path = self.path(name);
        let file = self.disk.open(&path).await.map_err(failed("open", &path))?;
        Ok(FileReader { disk: self.disk.clone(), file, path })
    }

    /// Gives a file another name, and takes that from whichever file had it.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (self.path(from), self.path(to));
        self.disk.rename(&from, &to).await.map_err(failed("rename", &from))
    }

    /// All bytes of a file up to the last boundary; `None` if there is no such file.
    pub async fn read_named(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        let file = match self.disk.open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed("open", &path)(error)),
        };
        let len = self.disk.len(&file).await.map_err(failed("read", &path))?;
        // A crash may have left the last write to it half done.
        let len = len - len % ALIGNMENT as u64;
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < len {
            let offset = bytes.len() as u64;
            let part = usize::try_from(len - offset).unwrap_or(READ_BYTES_MAX).min(READ_BYTES_MAX);
            let buf = self.disk.read(&file, offset, part, IoClass::Log).await.map_err(failed("read", &path))?;
            bytes.extend_from_slice(&buf);
        }
        Ok(Some(bytes))
    }

    async fn remove_named(&self, name: &str) -> Result<(), Error> {
        let path = self.path(name);
        match self.disk.remove(&path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("remove", &path)(error)),
            _ => Ok(()),
        }
    }
}

fn failed(attempt: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Io { attempt, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_belong_together() {
        assert_eq!(data_name(12), "000000000012.data");
        for number in [0, 12, 999_999_999_999, 1_000_000_000_000, u64::MAX] {
            assert_eq!(data_number(&data_name(number)), Some(number));
        }
        for name in
            ["12.data", "000000000012.data.tmp", "0000000000012.data", "00000000001x.data", ".data", "manifest.a"]
        {
            assert_eq!(data_number(name), None, "{name}");
        }
    }
}
