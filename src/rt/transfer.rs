//! Reads, writes and syncs of tasks, each when its turn has come.

use std::io;
use std::mem;
use std::rc::Rc;
use std::task::Waker;

use host::{ALIGNMENT, AlignedBuf, IoClass, IoKind, IoPermit, ReadBuf};
use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use crate::clock;
use crate::core::Core;
use crate::log_write::{TRANSFER_BYTES_MAX, advance, assert_aligned, write_entry};
use crate::ops::{File, Op, Payload, Transfer, to_result};
use crate::reactor::Reactor;
use crate::waiting::Waiting;

pub(crate) async fn read(
    core: &Rc<Core>,
    file: &File,
    offset: u64,
    len: usize,
    class: IoClass,
) -> io::Result<ReadBuf> {
    assert_aligned(offset, len);
    let (mut buf, mut done) = (ReadBuf::default(), 0);
    while done < len {
        let until = len.min(done.saturating_add(piece_bytes_max(class)));
        let transfer = Transfer::Read { offset, buf, len, from: done, until };
        let (result, payload) = Waiting::transfer(core, file, transfer, class).await;
        let Payload::Read(back) = payload else { unreachable!("an operation hands back what it was given") };
        buf = back;
        done += to_result(result)? as usize;
        // Direct reads end within a block only at the end of the file.
        if done < len && (result == 0 || !done.is_multiple_of(ALIGNMENT)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    // SAFETY: the buffer was made for `len` bytes, and the kernel has filled that many from its beginning.
    unsafe { buf.set_len(len) };
    Ok(buf)
}

/// Writes all of a buffer and hands it back.
pub(crate) async fn write(
    core: &Rc<Core>,
    file: &File,
    offset: u64,
    mut buf: AlignedBuf,
    class: IoClass,
) -> io::Result<AlignedBuf> {
    assert_aligned(offset, buf.len());
    let mut written = 0;
    while written < buf.len() {
        let len = buf.len();
        let until = len.min(written.saturating_add(piece_bytes_max(class)));
        let transfer = Transfer::Write { offset, buf, from: written, until };
        let (result, payload) = Waiting::transfer(core, file, transfer, class).await;
        let Payload::Written(back) = payload else { unreachable!("an operation hands back what it was given") };
        buf = back;
        advance(&mut written, len, result)?;
    }
    Ok(buf)
}

pub(crate) async fn sync(core: &Rc<Core>, file: &File, class: IoClass) -> io::Result<()> {
    let (result, _) = Waiting::transfer(core, file, Transfer::Sync, class).await;
    to_result(result).map(drop)
}

fn piece_bytes_max(class: IoClass) -> usize {
    class.piece_bytes_max().min(TRANSFER_BYTES_MAX)
}

impl Reactor {
    /// Adds a transfer, which begins at once if it is its turn. Returns its place.
    pub(crate) fn add_transfer(&mut self, file: File, transfer: Transfer, class: IoClass) -> u32 {
        let idx = self.ops.insert(Op::Free);
        if class == IoClass::Log {
            self.begin_transfer(idx, None, file, transfer, None);
            return idx;
        }
        let kind = match &transfer {
            Transfer::Read { .. } => IoKind::Read,
            Transfer::Write { .. } | Transfer::Sync => IoKind::Write,
        };
        let ticket = self.schedule.enqueue(class, kind, idx);
        *self.ops.get(idx) = Op::Queued { waker: None, ticket, file, transfer };
        self.begin_queued();
        self.stats.transfers_queued_count += u64::from(matches!(self.ops.get(idx), Op::Queued { .. }));
        idx
    }

    /// Begins the transfers whose turn has come.
    pub(crate) fn begin_queued(&mut self) {
        if !self.schedule.has_waiting() {
            return;
        }
        let now = clock::now();
        while let Some((idx, permit)) = self.schedule.next(now) {
            let Op::Queued { waker, file, transfer, .. } = mem::replace(self.ops.get(idx), Op::Free) else {
                unreachable!("what leaves its place while it waits leaves the queue too")
            };
            self.begin_transfer(idx, waker, file, transfer, Some(permit));
        }
    }

    fn begin_transfer(
        &mut self,
        idx: u32,
        waker: Option<Waker>,
        file: File,
        transfer: Transfer,
        permit: Option<IoPermit>,
    ) {
        let (entry, payload) = self.entry_of(&file, transfer);
        *self.ops.get(idx) = Op::Waited { waker, result: None, payload, file: Some(file), opens: false, permit };
        // SAFETY: the entry names the payload's memory, which does not move with it, and the file's descriptor; the
        // operation's place keeps both until it has ended.
        unsafe { self.push_file(entry, idx) };
    }

    /// A transfer as the kernel wants it, and the memory that it names.
    fn entry_of(&self, file: &File, transfer: Transfer) -> (squeue::Entry, Payload) {
        match transfer {
            Transfer::Read { offset, mut buf, len, from, until } => {
                if buf.capacity() == 0 {
                    buf = self.read_pool.take(len);
                }
                assert!(from < until && until <= buf.capacity(), "a part of the buffer");
                // SAFETY: `from` lies within the buffer's memory.
                let start = unsafe { buf.as_mut_ptr().add(from) };
                let entry = opcode::Read::new(Fd(file.fd.0), start, (until - from) as u32);
                (entry.offset(offset + from as u64).build(), Payload::Read(buf))
            }
            Transfer::Write { offset, buf, from, until } => {
                (write_entry(file, offset, &buf[from..until], from), Payload::Written(buf))
            }
            Transfer::Sync => (opcode::Fsync::new(Fd(file.fd.0)).flags(FsyncFlags::DATASYNC).build(), Payload::None),
        }
    }
}
