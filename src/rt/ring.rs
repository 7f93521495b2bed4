//! The io_uring of a core: queueing, entering, reaping.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Probe, cqueue, opcode, squeue};

use crate::error::Error;
use crate::host_limits;

/// One finished operation, as the kernel reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) user_data: u64,
    /// A count, a descriptor, or a negated error code.
    pub(crate) result: i32,
    pub(crate) flags: u32,
}

impl Completion {
    /// Whether the same operation will complete again.
    pub(crate) fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that holds the data, if one was taken.
    pub(crate) fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    /// The error of a failed operation.
    pub(crate) fn error(&self) -> io::Error {
        io::Error::from_raw_os_error(-self.result)
    }
}

/// Counters of a ring; for tests and metrics.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RingCounts {
    pub(crate) enters: u64,
    pub(crate) submission_full: u64,
    pub(crate) completions: u64,
    pub(crate) overflows: u64,
}

/// Used by the one thread that made it (SINGLE_ISSUER). Completions appear only when that thread enters the
/// kernel (DEFER_TASKRUN); a flag in shared memory says whether that is worth while.
pub(crate) struct Ring {
    uring: IoUring,
    // What did not fit in the submission queue. Kept in order: all of it is older than what is pushed next.
    backlog: VecDeque<squeue::Entry>,
    flags: EnterFlags,
    pub(crate) counts: RingCounts,
}

const OPCODES_NEEDED: [(u8, &str); 10] = [
    (opcode::AcceptMulti::CODE, "IORING_OP_ACCEPT"),
    (opcode::RecvMulti::CODE, "IORING_OP_RECV"),
    (opcode::Send::CODE, "IORING_OP_SEND"),
    (opcode::SendMsg::CODE, "IORING_OP_SENDMSG"),
    (opcode::Connect::CODE, "IORING_OP_CONNECT"),
    (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL"),
    (opcode::RenameAt::CODE, "IORING_OP_RENAMEAT"),
    (opcode::UnlinkAt::CODE, "IORING_OP_UNLINKAT"),
    (opcode::MkDirAt::CODE, "IORING_OP_MKDIRAT"),
    (opcode::Fsync::CODE, "IORING_OP_FSYNC"),
];

impl Ring {
    /// Makes a ring for the calling thread.
    pub(crate) fn new(submissions: u32, completions: u32) -> Result<Ring, Error> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_taskrun_flag()
            .setup_submit_all()
            .setup_clamp()
            .setup_cqsize(completions)
            .build(submissions)
            .map_err(host_limits::ring_error)?;
        let params = uring.params();
        if !params.is_feature_nodrop() || !params.is_feature_ext_arg() || !params.is_feature_submit_stable() {
            return Err(host_limits::too_old("a feature of io_uring"));
        }
        let mut flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if params.is_feature_no_iowait() {
            // A core that waits for work is idle, not waiting for a disk.
            flags |= EnterFlags::NO_IOWAIT;
        }
        let mut probe = Probe::new();
        uring.submitter().register_probe(&mut probe).map_err(Error::os("asking io_uring for its operations"))?;
        for (code, name) in OPCODES_NEEDED {
            if !probe.is_supported(code) {
                return Err(host_limits::too_old(name));
            }
        }
        Ok(Ring { uring, backlog: VecDeque::new(), flags, counts: RingCounts::default() })
    }

    /// Registers a ring of buffers for multishot receives.
    ///
    /// # Safety
    /// `addr` must point to `count` entries that stay valid until this ring is dropped.
    pub(crate) unsafe fn register_buffers(&self, addr: u64, count: u16, group: u16) -> io::Result<()> {
        // SAFETY: the caller vouches for the memory.
        unsafe { self.uring.submitter().register_buf_ring_with_flags(addr, count, group, 0) }
    }

    /// Queues an operation. If the submission queue is full, hands it over to the kernel first.
    ///
    /// # Safety
    /// All memory and descriptors the entry names must stay valid until its last completion.
    pub(crate) unsafe fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: as this function's own contract.
        if self.backlog.is_empty() && unsafe { self.uring.submission().push(&entry) }.is_ok() {
            return;
        }
        self.counts.submission_full += 1;
        self.backlog.push_back(entry);
        // An error here is one of being busy: the entries stay in the backlog and go with a later enter.
        self.enter(0, None);
    }

    /// Whether an [`Ring::enter`] without waiting would do anything.
    pub(crate) fn needs_enter(&mut self) -> bool {
        let sq = self.uring.submission();
        !sq.is_empty() || sq.taskrun() || sq.cq_overflow() || !self.backlog.is_empty()
    }

    /// Whether the kernel has something to report.
    pub(crate) fn has_completions(&mut self) -> bool {
        !self.uring.completion().is_empty() || self.uring.submission().taskrun()
    }

    /// Submits everything queued, lets completions appear, and waits for `wait` of them, at most as long as
    /// `timeout` says. May return earlier; the caller looks again.
    ///
    /// # Panics
    /// If the kernel refuses the call itself, which means that the ring is broken and nothing can go on.
    pub(crate) fn enter(&mut self, wait: u32, timeout: Option<Duration>) {
        loop {
            self.fill_from_backlog();
            let wait = if self.backlog.is_empty() { wait } else { 0 };
            let queued = self.uring.submission().len() as u32;
            self.counts.enters += 1;
            let timespec = timeout.map(Timespec::from).unwrap_or_default();
            let mut args = SubmitArgs::new();
            if timeout.is_some() {
                args = args.timespec(&timespec);
            }
            // SAFETY: the flags say that the argument is an extended one, which `args` is; both it and the
            // time outlive the call. Each queued entry was vouched for when it was pushed.
            let result = unsafe { self.uring.submitter().enter(queued, wait, self.flags.bits(), Some(&args)) };
            match result {
                Ok(_) if !self.backlog.is_empty() => {}
                Ok(_) => return,
                Err(error) => match error.raw_os_error() {
                    Some(libc::ETIME | libc::EINTR) => return,
                    // The completion queue is over-full or memory is short: reap first.
                    Some(libc::EBUSY | libc::EAGAIN) => {
                        self.counts.overflows += 1;
                        return;
                    }
                    _ => panic!("io_uring_enter failed: {error}"),
                },
            }
        }
    }

    /// Appends what has completed to `out`.
    pub(crate) fn reap(&mut self, out: &mut Vec<Completion>) {
        let before = out.len();
        out.extend(self.uring.completion().map(|entry| Completion {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        self.counts.completions += (out.len() - before) as u64;
    }

    fn fill_from_backlog(&mut self) {
        let mut sq = self.uring.submission();
        while let Some(entry) = self.backlog.front() {
            // SAFETY: whoever pushed the entry vouched for it until its last completion.
            if unsafe { sq.push(entry) }.is_err() {
                return;
            }
            self.backlog.pop_front();
        }
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.uring.as_raw_fd()
    }
}
