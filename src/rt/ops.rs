//! File operations under way in a core's ring, and the memory they use.

use std::ffi::CString;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::Waker;

use host::{AlignedBuf, IoPermit, IoTicket, ReadBuf, WriteToken};

use crate::sys;

/// An open file. The descriptor is closed with the last handle; operations under way hold one.
#[derive(Clone, Debug)]
pub struct File {
    pub(crate) fd: Rc<OwnedFd>,
}

/// A descriptor that is closed when dropped.
#[derive(Debug)]
pub(crate) struct OwnedFd(pub(crate) RawFd);

impl Drop for OwnedFd {
    fn drop(&mut self) {
        sys::close(self.0);
    }
}

/// What the kernel may still read or write, kept until the operation has ended.
#[derive(Default)]
#[expect(dead_code, reason = "most of it is read by the kernel alone")]
pub(crate) enum Payload {
    #[default]
    None,
    Written(AlignedBuf),
    Read(ReadBuf),
    Path(CString),
    Paths(CString, CString),
    Status(CString, Box<libc::statx>),
}

/// A read, write or sync that has not begun.
pub(crate) enum Transfer {
    /// Fills bytes `from..until` of a buffer for `len` bytes, the first of which lies at `offset`. Memory is taken when the first
    /// part begins: what waits needs none.
    Read { offset: u64, buf: ReadBuf, len: usize, from: usize, until: usize },
    /// Writes bytes `from..until` of a buffer, the first of which belongs at `offset`.
    Write { offset: u64, buf: AlignedBuf, from: usize, until: usize },
    /// Waits until what was written is on stable storage.
    Sync,
}

/// One operation.
pub(crate) enum Op {
    Free,
    /// A durable write begun by the turn loop.
    LogWrite {
        file: File,
        offset: u64,
        buf: AlignedBuf,
        written: usize,
        token: WriteToken,
    },
    /// A transfer that waits for its turn. The kernel knows nothing of it.
    Queued {
        waker: Option<Waker>,
        ticket: IoTicket,
        file: File,
        transfer: Transfer,
    },
    /// An operation of a task that waits for it.
    Waited {
        waker: Option<Waker>,
        result: Option<i32>,
        payload: Payload,
        file: Option<File>,
        opens: bool,
        permit: Option<IoPermit>,
    },
    /// An operation whose task is gone. Its memory stays until it ends, and if it opens a file, that is closed.
    Abandoned {
        _payload: Payload,
        _file: Option<File>,
        opens: bool,
        permit: Option<IoPermit>,
    },
}

/// The operations of a core. A place is used anew only after its operation has ended, so no generation is needed.
#[derive(Default)]
pub(crate) struct Ops {
    places: Vec<Op>,
    free: Vec<u32>,
    in_flight_count: usize,
}

impl Ops {
    pub(crate) fn insert(&mut self, op: Op) -> u32 {
        match self.free.pop() {
            Some(idx) => {
                self.places[idx as usize] = op;
                idx
            }
            None => {
                self.places.push(op);
                self.places.len() as u32 - 1
            }
        }
    }

    pub(crate) fn get(&mut self, idx: u32) -> &mut Op {
        &mut self.places[idx as usize]
    }

    /// Counts an operation as ended in the kernel.
    pub(crate) fn ended(&mut self) {
        self.in_flight_count -= 1;
    }

    /// Counts an operation as handed to the kernel.
    pub(crate) fn begun(&mut self) {
        self.in_flight_count += 1;
    }

    /// Frees a place whose operation has ended, or was never handed to the kernel.
    pub(crate) fn remove(&mut self, idx: u32) -> Op {
        self.free.push(idx);
        std::mem::replace(&mut self.places[idx as usize], Op::Free)
    }

    /// How many the kernel holds.
    pub(crate) fn in_flight_count(&self) -> usize {
        self.in_flight_count
    }

    /// Drops the wakers of all tasks.
    pub(crate) fn clear_wakers(&mut self) {
        for op in &mut self.places {
            if let Op::Waited { waker, .. } | Op::Queued { waker, .. } = op {
                *waker = None;
            }
        }
    }
}

/// The result of an operation as the standard library has it.
pub(crate) fn to_result(result: i32) -> io::Result<u32> {
    if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(result as u32) }
}
