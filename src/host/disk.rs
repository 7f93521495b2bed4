//! Files, opened for direct I/O.

use std::future::Future;
use std::io;
use std::path::Path;

use crate::buffer::AlignedBuf;
use crate::io_schedule::IoClass;
use crate::read_buf::ReadBuf;

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
/// There are two kinds of files. Those of [`Disk::create_zeroed`] and [`Disk::open`] are *durable*: a write has ended once
/// it is on stable storage. Those of [`Disk::create`] are *synced at chosen points*: what was written may be lost, or be there
/// in part, until [`Disk::sync`] has succeeded, and so may the file's name until [`Disk::sync_dir`] has. Reads see what was
/// written either way.
///
/// Reads, writes and syncs say in their [`IoClass`] what they are for, and wait for their turn by [`crate::IoSchedule`]. Whoever
/// drops the future of an operation that waits takes it out of the queue; one that has begun goes on, with nobody to tell.
///
/// Errors carry the operating system's code (`ENOSPC`, `EIO`, ...), which callers do look at.
pub trait Disk: Clone + 'static {
    /// An open file. Cheap to clone; closed when the last clone is dropped and no operation is under way.
    type File: Clone + 'static;

    /// Begins to write all of `buf` at `offset` of a durable file: the end is reported only when the data is on
    /// stable storage. Never waits. Writes of one file may end in any order. These are the log's blocks: while one is under way,
    /// I/O in the background is held back.
    fn write_begin(&self, file: &Self::File, offset: u64, buf: AlignedBuf, token: WriteToken);

    /// The next write of this core that has ended.
    fn write_end(&self) -> Option<WriteDone>;

    /// Makes a durable file of `len` zero bytes, really written and synced together with its directory entry, and
    /// opens it. The file appears under its name only when complete: it is written as `path` with `.tmp`
    /// appended and renamed. Fails with `AlreadyExists` if `path` exists. With `len` 0 the file grows as it is written.
    fn create_zeroed(&self, path: &Path, len: u64) -> impl Future<Output = io::Result<Self::File>>;

    /// Makes a file that is synced at chosen points, of `reserved_len` bytes that read as zero and whose space is reserved:
    /// where it lacks, this fails with `ENOSPC` and leaves nothing behind, and writes within it never do. Fails with
    /// `AlreadyExists` if `path` exists. Writes at the file's end make it longer; see also [`Disk::set_len`].
    fn create(&self, path: &Path, reserved_len: u64) -> impl Future<Output = io::Result<Self::File>>;

    /// Opens an existing file as a durable one, whichever kind it was. What was written before and not synced stays
    /// so until [`Disk::sync`].
    fn open(&self, path: &Path) -> impl Future<Output = io::Result<Self::File>>;

    /// The length of a file.
    fn len(&self, file: &Self::File) -> impl Future<Output = io::Result<u64>>;

    /// Cuts a file off at `len` and frees what was reserved behind it, or makes it longer by zeros. Durable with the next
    /// [`Disk::sync`].
    fn set_len(&self, file: &Self::File, len: u64) -> impl Future<Output = io::Result<()>>;

    /// Reads exactly `len` bytes at `offset`. `UnexpectedEof` if the file ends before.
    fn read(
        &self,
        file: &Self::File,
        offset: u64,
        len: usize,
        class: IoClass,
    ) -> impl Future<Output = io::Result<ReadBuf>>;

    /// Writes all of `buf` at `offset` and hands it back, to be used again. A write that begins at the file's end makes it
    /// longer. To a durable file, data and length are on stable storage then. After an `Err`, as after a future that was dropped,
    /// nothing is known about the range, and the write must not be repeated.
    fn write(
        &self,
        file: &Self::File,
        offset: u64,
        buf: AlignedBuf,
        class: IoClass,
    ) -> impl Future<Output = io::Result<AlignedBuf>>;

    /// Puts on stable storage what was written to a file by writes that had ended before, and its length. After an
    /// `Err` nothing is known about what was written since the last sync that succeeded, and no later one can tell: the
    /// kernel may have dropped the data. The file is of no use any more.
    fn sync(&self, file: &Self::File, class: IoClass) -> impl Future<Output = io::Result<()>>;

    /// Puts the names in a directory on stable storage: files that were made in it stay, files that were removed do not return.
    fn sync_dir(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// Bytes that files in a directory may still take of its file system; `None` where nobody knows.
    fn free_bytes(&self, _: &Path) -> impl Future<Output = io::Result<Option<u64>>> {
        std::future::ready(Ok(None))
    }

    /// Bytes of the file system of a directory in all; `None` where nobody knows.
    fn capacity_bytes(&self, _: &Path) -> impl Future<Output = io::Result<Option<u64>>> {
        std::future::ready(Ok(None))
    }

    /// Makes a directory and its parents, durably. Succeeds if it exists.
    fn create_dir_all(&self, path: &Path) -> impl Future<Output = io::Result<()>>;

    /// The names in a directory, sorted. Names that are not UTF-8 are left out.
    fn list(&self, path: &Path) -> impl Future<Output = io::Result<Vec<String>>>;

    /// Renames a file, replacing the target, and syncs the directory of both (one and the same directory).
    fn rename(&self, from: &Path, to: &Path) -> impl Future<Output = io::Result<()>>;

    /// Removes a file and syncs its directory.
    fn remove(&self, path: &Path) -> impl Future<Output = io::Result<()>>;
}

/// Whether an operation has failed since the disk, or the share of it that we may use, is full.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
