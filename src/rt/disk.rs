//! Files: durable writes of the turn loop, and everything else for tasks that wait.
//!
//! All of it goes through the core's one ring, so that a log write ends where the network's events arrive.
//! What the kernel cannot do without blocking it does on threads of its own (`io-wq`).

use std::ffi::CString;
use std::future::Future;
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use host::{ALIGNMENT, AlignedBuf, WriteDone, WriteToken};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use crate::core::Core;
use crate::ops::{File, Op, OwnedFd, Payload, to_result};
use crate::reactor::{Kind, Reactor, tag};
use crate::sys;

/// How much [`create_zeroed`] writes at a time: large enough to be efficient, small enough to let others through.
const ZEROS_BYTES: usize = 1 << 20;
/// Longest part of a transfer that is handed over in one operation; a multiple of the alignment.
const TRANSFER_BYTES_MAX: usize = 1 << 30;

const FILE_FLAGS: libc::c_int = libc::O_RDWR | libc::O_DIRECT | libc::O_DSYNC | libc::O_CLOEXEC;
// Zeros are synced once at the end, not block by block.
const ZEROS_FLAGS: libc::c_int = libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC | libc::O_DIRECT | libc::O_CLOEXEC;
const DIR_FLAGS: libc::c_int = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
/// Data is for the user of the node alone.
const FILE_MODE: libc::mode_t = 0o600;
const DIR_MODE: libc::mode_t = 0o700;

impl Reactor {
    pub(crate) fn write_begin(&mut self, file: &File, offset: u64, buf: AlignedBuf, token: WriteToken) {
        assert_aligned(offset, buf.len());
        if buf.is_empty() {
            self.writes_done.push_back(WriteDone { token, buf, result: Ok(()) });
            return;
        }
        let idx = self.ops.insert(Op::LogWrite { file: file.clone(), offset, buf, written: 0, token });
        self.push_log_write(idx);
    }

    fn push_log_write(&mut self, idx: u32) {
        let Op::LogWrite { file, offset, buf, written, .. } = self.ops.get(idx) else {
            unreachable!("callers name a log write");
        };
        let entry = write_entry(file, *offset, buf, *written);
        // SAFETY: the operation's place keeps file and buffer until it has ended.
        unsafe { self.push(entry, tag(Kind::File, idx, 0)) };
    }

    /// Only a write that is whole counts: a short one goes on with the rest, and if that fails, all has failed.
    pub(crate) fn log_write_completed(&mut self, idx: u32, result: i32) {
        let Op::LogWrite { buf, written, .. } = self.ops.get(idx) else {
            unreachable!("callers name a log write");
        };
        let result = match advance(written, buf.len(), result) {
            Ok(Progress::Whole) => Ok(()),
            Ok(Progress::Rest) => {
                self.ops.resumed();
                return self.push_log_write(idx);
            }
            Err(error) => Err(error),
        };
        let Op::LogWrite { buf, token, .. } = self.ops.remove(idx) else {
            unreachable!("it was a log write above");
        };
        self.writes_done.push_back(WriteDone { token, buf, result });
    }
}

enum Progress {
    Whole,
    Rest,
}

/// Takes in the result of one write. What is left begins at a whole block again.
fn advance(written: &mut usize, len: usize, result: i32) -> io::Result<Progress> {
    let count = to_result(result)? as usize;
    let reached = *written + count;
    if reached >= len {
        *written = len;
        return Ok(Progress::Whole);
    }
    let whole_blocks = reached / ALIGNMENT * ALIGNMENT;
    if whole_blocks <= *written {
        return Err(io::Error::new(io::ErrorKind::WriteZero, "the file took less than one block of a write"));
    }
    *written = whole_blocks;
    Ok(Progress::Rest)
}

fn write_entry(file: &File, offset: u64, buf: &AlignedBuf, written: usize) -> squeue::Entry {
    let rest = &buf[written..];
    let len = rest.len().min(TRANSFER_BYTES_MAX) as u32;
    opcode::Write::new(Fd(file.fd.0), rest.as_ptr(), len).offset(offset + written as u64).build()
}

/// Waits for one operation. Yields the result, a count or a negated error code, and the memory it used.
struct Waiting {
    core: Rc<Core>,
    // `None` once the result was taken.
    idx: Option<u32>,
}

impl Waiting {
    /// # Safety
    /// `entry` may name only memory of `payload` and the descriptor of `file`.
    unsafe fn begin(core: &Rc<Core>, entry: squeue::Entry, payload: Payload, file: Option<&File>) -> Waiting {
        let opens = entry.get_opcode() == u32::from(opcode::OpenAt::CODE);
        let op = Op::Waited { waker: None, result: None, payload, file: file.cloned(), opens };
        let mut reactor = core.reactor.borrow_mut();
        let idx = reactor.ops.insert(op);
        // SAFETY: the operation's place keeps payload and file until it has ended.
        unsafe { reactor.push(entry, tag(Kind::File, idx, 0)) };
        Waiting { core: Rc::clone(core), idx: Some(idx) }
    }
}

impl Future for Waiting {
    type Output = (i32, Payload);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(i32, Payload)> {
        let idx = self.idx.expect("not polled again once it was ready");
        let done = {
            let mut reactor = self.core.reactor.borrow_mut();
            let Op::Waited { waker, result, .. } = reactor.ops.get(idx) else {
                unreachable!("the place is this future's until it takes the result");
            };
            if result.is_none() {
                *waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            reactor.ops.remove(idx)
        };
        self.idx = None;
        match done {
            Op::Waited { result: Some(result), payload, .. } => Poll::Ready((result, payload)),
            _ => unreachable!("looked at above"),
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(idx) = self.idx else { return };
        let mut reactor = self.core.reactor.borrow_mut();
        let ended = match reactor.ops.get(idx) {
            Op::Waited { result: Some(result), opens, .. } => {
                if *opens && *result >= 0 {
                    sys::close(*result);
                }
                true
            }
            _ => false,
        };
        if ended {
            reactor.ops.remove(idx);
            return;
        }
        let place = reactor.ops.get(idx);
        if let Op::Waited { payload, file, opens, .. } = mem::replace(place, Op::Free) {
            *place = Op::Abandoned { _payload: payload, _file: file, opens };
        }
    }
}

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
        zeros = write_back(core, &file, offset - zeros.len() as u64, zeros).await?;
    }
    sync(core, &file).await
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

pub(crate) async fn read(core: &Rc<Core>, file: &File, offset: u64, len: usize) -> io::Result<AlignedBuf> {
    assert_aligned(offset, len);
    let mut buf = AlignedBuf::zeroed(len);
    let mut done = 0;
    while done < len {
        let rest = &mut buf[done..];
        let count = rest.len().min(TRANSFER_BYTES_MAX) as u32;
        let entry = opcode::Read::new(Fd(file.fd.0), rest.as_mut_ptr(), count).offset(offset + done as u64).build();
        // SAFETY: the entry names the buffer, whose memory does not move with it, and the file's descriptor.
        let (result, payload) = unsafe { Waiting::begin(core, entry, Payload::Buf(buf), Some(file)) }.await;
        let Payload::Buf(back) = payload else { unreachable!("an operation hands back what it was given") };
        buf = back;
        done += to_result(result)? as usize;
        // Direct reads end within a block only at the end of the file.
        if done < len && (result == 0 || !done.is_multiple_of(ALIGNMENT)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(buf)
}

pub(crate) async fn write(core: &Rc<Core>, file: &File, offset: u64, buf: AlignedBuf) -> io::Result<()> {
    assert_aligned(offset, buf.len());
    write_back(core, file, offset, buf).await.map(drop)
}

/// Writes all of a buffer and hands it back.
async fn write_back(core: &Rc<Core>, file: &File, offset: u64, buf: AlignedBuf) -> io::Result<AlignedBuf> {
    let (mut buf, mut written) = (buf, 0);
    while written < buf.len() {
        let entry = write_entry(file, offset, &buf, written);
        // SAFETY: the entry names the buffer, whose memory does not move with it, and the file's descriptor.
        let (result, payload) = unsafe { Waiting::begin(core, entry, Payload::Buf(buf), Some(file)) }.await;
        let Payload::Buf(back) = payload else { unreachable!("an operation hands back what it was given") };
        buf = back;
        advance(&mut written, buf.len(), result)?;
    }
    Ok(buf)
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

async fn sync(core: &Rc<Core>, file: &File) -> io::Result<()> {
    let entry = opcode::Fsync::new(Fd(file.fd.0)).build();
    // SAFETY: the entry names only the file's descriptor.
    let (result, _) = unsafe { Waiting::begin(core, entry, Payload::None, Some(file)) }.await;
    to_result(result).map(drop)
}

/// Makes a change to the directory that holds `path` durable.
async fn sync_dir_of(core: &Rc<Core>, path: &Path) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        Some(_) => Path::new("."),
        // The root has no entry of its own anywhere.
        None => return Ok(()),
    };
    let dir = open_with(core, dir, DIR_FLAGS).await?;
    sync(core, &dir).await
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
}

fn assert_aligned(offset: u64, len: usize) {
    let aligned = offset.is_multiple_of(ALIGNMENT as u64) && len.is_multiple_of(ALIGNMENT);
    assert!(aligned, "offset {offset} and length {len} are multiples of {ALIGNMENT}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_writes_go_on_at_a_whole_block_or_fail() {
        let mut written = 0;
        assert!(matches!(advance(&mut written, 3 * ALIGNMENT, ALIGNMENT as i32 + 512), Ok(Progress::Rest)));
        assert_eq!(written, ALIGNMENT);
        assert!(advance(&mut written, 3 * ALIGNMENT, 512).is_err(), "no whole block more");
        assert!(advance(&mut written, 3 * ALIGNMENT, 0).is_err());
        let error = advance(&mut written, 3 * ALIGNMENT, -libc::ENOSPC).err().expect("an error");
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
        assert!(matches!(advance(&mut written, 3 * ALIGNMENT, 2 * ALIGNMENT as i32), Ok(Progress::Whole)));
    }
}
