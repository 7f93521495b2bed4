//! A task's wait for one operation, which it may give up at any time.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use host::IoClass;
use io_uring::{opcode, squeue};

use crate::core::Core;
use crate::ops::{File, Op, Payload, Transfer};
use crate::sys;

/// Waits for one operation. Yields the result, a count or a negated error code, and the memory it used.
pub(crate) struct Waiting {
    core: Rc<Core>,
    // `None` once the result was taken.
    idx: Option<u32>,
}

impl Waiting {
    /// # Safety
    /// `entry` may name only memory of `payload` and the descriptor of `file`.
    pub(crate) unsafe fn begin(
        core: &Rc<Core>,
        entry: squeue::Entry,
        payload: Payload,
        file: Option<&File>,
    ) -> Waiting {
        let opens = entry.get_opcode() == u32::from(opcode::OpenAt::CODE);
        let op = Op::Waited { waker: None, result: None, payload, file: file.cloned(), opens, permit: None };
        let mut reactor = core.reactor.borrow_mut();
        let idx = reactor.ops.insert(op);
        // SAFETY: the operation's place keeps payload and file until it has ended.
        unsafe { reactor.push_file(entry, idx) };
        Waiting { core: Rc::clone(core), idx: Some(idx) }
    }

    /// Begins a transfer when its turn comes.
    pub(crate) fn transfer(core: &Rc<Core>, file: &File, transfer: Transfer, class: IoClass) -> Waiting {
        let idx = core.reactor.borrow_mut().add_transfer(file.clone(), transfer, class);
        Waiting { core: Rc::clone(core), idx: Some(idx) }
    }
}

impl Future for Waiting {
    type Output = (i32, Payload);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(i32, Payload)> {
        let idx = self.idx.expect("not polled again once it was ready");
        let done = {
            let mut reactor = self.core.reactor.borrow_mut();
            match reactor.ops.get(idx) {
                Op::Waited { result: Some(_), .. } => reactor.ops.remove(idx),
                Op::Waited { waker, .. } | Op::Queued { waker, .. } => {
                    *waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                _ => unreachable!("the place is this future's until it takes the result"),
            }
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
        match mem::replace(reactor.ops.get(idx), Op::Free) {
            Op::Queued { ticket, .. } => {
                reactor.schedule.cancel(ticket);
                reactor.ops.remove(idx);
            }
            Op::Waited { result: Some(result), opens, .. } => {
                if opens && result >= 0 {
                    sys::close(result);
                }
                reactor.ops.remove(idx);
            }
            Op::Waited { payload, file, opens, permit, .. } => {
                *reactor.ops.get(idx) = Op::Abandoned { _payload: payload, _file: file, opens, permit };
            }
            _ => unreachable!("the place is this future's until it takes the result"),
        }
    }
}
