//! Files and their names, for tasks that wait.
//!
//! All of it goes through the core's one ring, so that a log write ends where the network's events arrive.
//! What the kernel cannot do without blocking it does on threads of its own (`io-wq`).

use std::ffi::CString;
use std::io;
use std::mem;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use host::{AlignedBuf, IoClass};
use io_uring::opcode;
use io_uring::types::Fd;

use crate::core::Core;
use crate::log_write::assert_aligned;
use crate::offload::offload;
use crate::ops::{File, OwnedFd, Payload, to_result};
use crate::transfer;
use crate::waiting::Waiting;

/// How much [`create_zeroed`] writes at a time: large enough to be efficient, small enough to let others through.
const ZEROS_BYTES: usize = 1 << 20;

const SYNCED_FLAGS: libc::c_int = libc::O_RDWR | libc::O_DIRECT | libc::O_CLOEXEC;
const FILE_FLAGS: libc::c_int = SYNCED_FLAGS | libc::O_DSYNC;
// Zeros are synced once at the end, not block by block.
const ZEROS_FLAGS: libc::c_int = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_DIRECT | libc::O_CLOEXEC;
const DIR_FLAGS: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
/// Data is for the user of the node alone.
const FILE_MODE: libc::mode_t = 0o600;
const DIR_MODE: libc::mode_t = 0o700;

pub(crate) async fn create_zeroed(core: &Rc<Core>, path: &Path, len: u64) -> io::Result<File> {
    assert_aligned(len, 0);
    if exists(core, path).await? {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = PathBuf::from(temporary);
    let result = write_zeros(core, &temporary, len).await;
    let result = match result {
        Ok(()) => rename(core, &temporary, path).await,
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        // The first error counts; a temporary file left behind is overwritten by the next attempt.
        let _ = unlink(core, &temporary).await;
        return Err(error);
    }
    open(core, path).await
}

async fn write_zeros(core: &Rc<Core>, path: &Path, len: u64) -> io::Result<()> {
    let file = open_with(core, path, ZEROS_FLAGS).await?;
    reserve(core, &file, len).await?;
    let mut zeros = AlignedBuf::zeroed(ZEROS_BYTES.min(usize::try_from(len).unwrap_or(ZEROS_BYTES)));
    let mut offset = 0;
    while offset < len {
        if len - offset < zeros.len() as u64 {
            zeros = AlignedBuf::zeroed((len - offset) as usize);
        }
        offset += zeros.len() as u64;
        let from = offset - zeros.len() as u64;
        zeros = transfer::write(core, &file, from, zeros, IoClass::Log).await?;
    }
    sync_all(core, &file).await
}

/// Makes a file whose writes are durable once it was synced.
pub(crate) async fn create(core: &Rc<Core>, path: &Path, reserved_len: u64) -> io::Result<File> {
    assert_aligned(reserved_len, 0);
    let file = open_with(core, path, SYNCED_FLAGS | libc::O_CREAT | libc::O_EXCL).await?;
    if let Err(error) = reserve(core, &file, reserved_len).await {
        // The first error counts.
        let _ = unlink(core, path).await;
        return Err(error);
    }
    Ok(file)
}

/// Reserves the space of a new file, which makes one extent and meets a full disk at once.
async fn reserve(core: &Rc<Core>, file: &File, len: u64) -> io::Result<()> {
    if len == 0 {
        return Ok(());
    }
    let entry = opcode::Fallocate::new(Fd(file.fd.0), len).build();
    // SAFETY: the entry names only the file's descriptor.
    let (result, _) = unsafe { Waiting::begin(core, entry, Payload::None, Some(file)) }.await;
    match to_result(result) {
        // Not every file system can.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        result => result.map(drop),
    }
}

pub(crate) async fn open(core: &Rc<Core>, path: &Path) -> io::Result<File> {
    open_with(core, path, FILE_FLAGS).await
}

/// The length of an open file; the kernel has it in memory.
pub(crate) fn len(file: &File) -> io::Result<u64> {
    // SAFETY: all zeros is a valid value of this plain C struct, and the call fills it.
    unsafe {
        let mut status: libc::stat = mem::zeroed();
        if libc::fstat(file.fd.0, &mut status) < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(status.st_size as u64)
    }
}

/// Bytes that the file system of a directory still has for the likes of us.
pub(crate) async fn free_bytes(path: &Path) -> io::Result<Option<u64>> {
    file_system(path).await.map(|status| Some(status.f_bavail.saturating_mul(status.f_frsize)))
}

/// Bytes that it has in all for the likes of us: what is kept for the administrator counts as none.
pub(crate) async fn capacity_bytes(path: &Path) -> io::Result<Option<u64>> {
    let bytes = |status: libc::statvfs| {
        let kept = status.f_bfree.saturating_sub(status.f_bavail);
        status.f_blocks.saturating_sub(kept).saturating_mul(status.f_frsize)
    };
    file_system(path).await.map(|status| Some(bytes(status)))
}

/// What the kernel tells of the file system of a directory. On a thread of its own: rings have no such operation.
async fn file_system(path: &Path) -> io::Result<libc::statvfs> {
    let name = c_path(path)?;
    offload(move || {
        // SAFETY: all zeros is a valid value of this plain C struct.
        let mut status: libc::statvfs = unsafe { mem::zeroed() };
        // SAFETY: the path ends with a zero, and the call fills the struct.
        if unsafe { libc::statvfs(name.as_ptr(), &mut status) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(status)
    })
    .await
}

/// Cuts a file off or makes it longer. On a thread of its own: older kernels have no such operation in their rings.
pub(crate) async fn set_len(file: &File, len: u64) -> io::Result<()> {
    assert_aligned(len, 0);
    // SAFETY: the descriptor is open while `file` lives.
    let borrowed = unsafe { BorrowedFd::borrow_raw(file.fd.0) };
    // A descriptor of its own: nobody may wait for the thread, and the number be another file's by then.
    let theirs = std::fs::File::from(borrowed.try_clone_to_owned()?);
    offload(move || theirs.set_len(len)).await
}

pub(crate) async fn create_dir_all(core: &Rc<Core>, path: &Path) -> io::Result<()> {
    let mut missing = Vec::new();
    for dir in path.ancestors().filter(|dir| !dir.as_os_str().is_empty()) {
        if exists(core, dir).await? {
            break;
        }
        missing.push(dir);
    }
    for dir in missing.into_iter().rev() {
        let name = c_path(dir)?;
        let entry = opcode::MkDirAt::new(Fd(libc::AT_FDCWD), name.as_ptr()).mode(DIR_MODE).build();
        // SAFETY: the entry names the path, whose memory does not move with it.
        let (result, _) = unsafe { Waiting::begin(core, entry, Payload::Path(name), None) }.await;
        match to_result(result) {
            Ok(_) => {}
            // Someone else was faster.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        sync_dir_of(core, dir).await?;
    }
    Ok(())
}

pub(crate) async fn rename(core: &Rc<Core>, from: &Path, to: &Path) -> io::Result<()> {
    let (old, new) = (c_path(from)?, c_path(to)?);
    let cwd = Fd(libc::AT_FDCWD);
    let entry = opcode::RenameAt::new(cwd, old.as_ptr(), cwd, new.as_ptr()).build();
    // SAFETY: the entry names the two paths, whose memory does not move with them.
    let (result, _) = unsafe { Waiting::begin(core, entry, Payload::Paths(old, new), None) }.await;
    to_result(result)?;
    sync_dir_of(core, to).await
}

pub(crate) async fn remove(core: &Rc<Core>, path: &Path) -> io::Result<()> {
    unlink(core, path).await?;
    sync_dir_of(core, path).await
}

async fn unlink(core: &Rc<Core>, path: &Path) -> io::Result<()> {
    let name = c_path(path)?;
    let entry = opcode::UnlinkAt::new(Fd(libc::AT_FDCWD), name.as_ptr()).build();
    // SAFETY: the entry names the path, whose memory does not move with it.
    let (result, _) = unsafe { Waiting::begin(core, entry, Payload::Path(name), None) }.await;
    to_result(result).map(drop)
}

async fn open_with(core: &Rc<Core>, path: &Path, flags: libc::c_int) -> io::Result<File> {
    let name = c_path(path)?;
    let entry = opcode::OpenAt::new(Fd(libc::AT_FDCWD), name.as_ptr()).flags(flags).mode(FILE_MODE).build();
    // SAFETY: the entry names the path, whose memory does not move with it.
    let (result, _) = unsafe { Waiting::begin(core, entry, Payload::Path(name), None) }.await;
    let fd = to_result(result)? as libc::c_int;
    Ok(File { fd: Rc::new(OwnedFd(fd)) })
}

async fn exists(core: &Rc<Core>, path: &Path) -> io::Result<bool> {
    let name = c_path(path)?;
    // SAFETY: all zeros is a valid value of this plain C struct.
    let mut status: Box<libc::statx> = Box::new(unsafe { mem::zeroed() });
    let to_fill = (&raw mut *status).cast();
    let entry = opcode::Statx::new(Fd(libc::AT_FDCWD), name.as_ptr(), to_fill).mask(libc::STATX_TYPE).build();
    // SAFETY: the entry names path and status, whose memory does not move with them.
    let (result, _) = unsafe { Waiting::begin(core, entry, Payload::Status(name, status), None) }.await;
    match to_result(result) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

async fn sync_all(core: &Rc<Core>, file: &File) -> io::Result<()> {
    let entry = opcode::Fsync::new(Fd(file.fd.0)).build();
    // SAFETY: the entry names only the file's descriptor.
    let (result, _) = unsafe { Waiting::begin(core, entry, Payload::None, Some(file)) }.await;
    to_result(result).map(drop)
}

/// Makes a change to the directory that holds `path` durable.
async fn sync_dir_of(core: &Rc<Core>, path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => sync_dir(core, dir).await,
        Some(_) => sync_dir(core, Path::new(".")).await,
        // The root has no entry of its own anywhere.
        None => Ok(()),
    }
}

pub(crate) async fn sync_dir(core: &Rc<Core>, path: &Path) -> io::Result<()> {
    let dir = open_with(core, path, DIR_FLAGS).await?;
    sync_all(core, &dir).await
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}
