//! Durable writes of the turn loop: begun by a call, ended by an entry in a queue.

use std::io;

use host::{ALIGNMENT, AlignedBuf, WriteDone, WriteToken};
use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use crate::clock;
use crate::ops::{File, Op, to_result};
use crate::reactor::Reactor;

/// Longest part of a transfer that is handed over in one operation; a multiple of the alignment.
pub(crate) const TRANSFER_BYTES_MAX: usize = 1 << 30;

impl Reactor {
    pub(crate) fn write_begin(&mut self, file: &File, offset: u64, buf: AlignedBuf, token: WriteToken) {
        assert_aligned(offset, buf.len());
        if buf.is_empty() {
            self.writes_done.push_back(WriteDone { token, buf, result: Ok(()) });
            return;
        }
        self.schedule.begin_log();
        let idx = self.ops.insert(Op::LogWrite { file: file.clone(), offset, buf, written: 0, token });
        self.push_log_write(idx);
    }

    fn push_log_write(&mut self, idx: u32) {
        let Op::LogWrite { file, offset, buf, written, .. } = self.ops.get(idx) else {
            unreachable!("callers name a log write");
        };
        let entry = write_entry(file, *offset, &buf[*written..], *written);
        // SAFETY: the operation's place keeps file and buffer until it has ended.
        unsafe { self.push_file(entry, idx) };
    }

    /// Only a write that is whole counts: a short one goes on with the rest, and if that fails, all has failed.
    pub(crate) fn log_write_completed(&mut self, idx: u32, result: i32) {
        let Op::LogWrite { buf, written, .. } = self.ops.get(idx) else {
            unreachable!("callers name a log write");
        };
        let result = match advance(written, buf.len(), result) {
            Ok(Progress::Whole) => Ok(()),
            Ok(Progress::Rest) => return self.push_log_write(idx),
            Err(error) => Err(error),
        };
        let Op::LogWrite { buf, token, .. } = self.ops.remove(idx) else {
            unreachable!("it was a log write above");
        };
        self.writes_done.push_back(WriteDone { token, buf, result });
        self.schedule.end_log(clock::now());
        self.begin_queued();
    }
}

pub(crate) enum Progress {
    Whole,
    Rest,
}

/// Takes in the result of one write. What is left begins at a whole block again.
pub(crate) fn advance(written: &mut usize, len: usize, result: i32) -> io::Result<Progress> {
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

/// A write of `rest`, which lies `written` bytes behind `offset`.
pub(crate) fn write_entry(file: &File, offset: u64, rest: &[u8], written: usize) -> squeue::Entry {
    let len = rest.len().min(TRANSFER_BYTES_MAX) as u32;
    opcode::Write::new(Fd(file.fd.0), rest.as_ptr(), len).offset(offset + written as u64).build()
}

pub(crate) fn assert_aligned(offset: u64, len: usize) {
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
