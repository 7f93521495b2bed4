//! Files, opened for direct I/O.

use std::future::Future;
use std::io;
use std::path::Path;

use crate::buffer::AlignedBuf;

/// Chosen by the caller of [`Disk::write_begin`] to know its write again at the end.
pub type WriteToken = u64;

/// The end of a write begun with [`Disk::write_begin`].
#[derive(Debug)]
pub struct WriteDone {
    /// The token given at the beginning.
    pub token: WriteToken,
    /// The buffer, to be used again.
    pub buf: AlignedBuf,
    /// `Ok` if all of the buffer is on stable storage. After an `Err` nothing is known about the range
    /// written, and the write must not be repeated: the kernel may have dropped the data.
    pub result: io::Result<()>,
}

/// A core's access to files. Offsets, lengths and buffers are multiples of [`crate::ALIGNMENT`].
///
/// Errors carry the operating system's code (`ENOSPC`, `EIO`, ...), which callers do look at.
pub trait Disk: Clone + 'static {
    /// An open file. Cheap to clone; closed when the last clone is dropped and no operation is under way.
    type File: Clone + 'static;

    /// Begins to write all of `buf` at `offset`, durably: the end is reported only when the data is on
    /// stable storage. Never waits. Writes of one file may end in any order.
    fn write_begin(&self, file: &Self::File, offset: u64, buf: AlignedBuf, token: WriteToken);

    /// The next write of this core that has ended.
    fn write_end(&self) -> Option<WriteDone>;

    /// Makes a file of `len` zero bytes, really written and synced together with its directory entry, and
    /// opens it. The file appears under its name only when complete: it is written as `path` with `.tmp`
    /// appended and renamed. Fails with `AlreadyExists` if `path` exists. With `len` 0 the file grows as it is written.
    fn create_zeroed(&self, path: &Path, len: u64) -> impl Future<Output = io::Result<Self::File>>;

    /// Opens an existing file for reading and durable writing.
    fn open(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>>;

    /// The length of a file.
    fn len(&self, file: &Self::File) -> impl Future<Output = io::Result<u64>>;

    /// Reads exactly `len` bytes at `offset`. `UnexpectedEof` if the file ends before.
    fn read(&self, file: &Self::File, offset: u64, len: usize) -> impl Future<Output = io::Result<AlignedBuf>>;

    /// Like [`Disk::write_begin`], for tasks that can wait. A write that begins at the file's end makes it longer, durably.
    fn write(&self, file: &Self::File, offset: u64, buf: AlignedBuf) -> impl Future<Output = io::Result<()>>;

    /// Makes a directory and its parents, durably. Succeeds if it exists.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// The names in a directory, sorted. Names that are not UTF-8 are left out.
    fn list(&self, path: &Path) -> impl Future<Output = io::Result<Vec<String>>>;

    /// Renames a file, replacing the target, and syncs the directory of both (one and the same directory).
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;

    /// Removes a file and syncs its directory.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
}
