//! The timers of a core. They cost no system call: the core's own wait ends at the earliest.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use types::Instant;

#[derive(Default)]
pub(crate) struct Timers {
    heap: RefCell<BinaryHeap<Timer>>,
    begun_count: Cell<u64>,
}

struct Timer {
    at: Instant,
    // Timers of one instant end in the order in which they began.
    sequence: u64,
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    fired: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Timers {
    /// The earliest end of a timer.
    pub(crate) fn next(&self) -> Instant {
        self.heap.borrow().peek().map_or(Instant::NEVER, |timer| timer.at)
    }

    /// Ends the timers that are due.
    pub(crate) fn fire(&self, now: Instant) {
        loop {
            let timer = {
                let mut heap = self.heap.borrow_mut();
                match heap.peek() {
                    Some(timer) if timer.at <= now => heap.pop(),
                    _ => return,
                }
            };
            if let Some(timer) = timer {
                timer.state.fired.set(true);
                if let Some(waker) = timer.state.waker.take() {
                    waker.wake();
                }
            }
        }
    }

    pub(crate) fn sleep_until(&self, at: Instant) -> Sleep {
        let state = Rc::new(State::default());
        let sequence = self.begun_count.get();
        self.begun_count.set(sequence + 1);
        self.heap.borrow_mut().push(Timer { at, sequence, state: Rc::clone(&state) });
        Sleep { state }
    }

    /// Drops all timers and with them the wakers of their tasks.
    pub(crate) fn clear(&self) {
        self.heap.take();
    }
}

/// Waits for a timer.
pub(crate) struct Sleep {
    state: Rc<State>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.fired.get() {
            return Poll::Ready(());
        }
        self.state.waker.replace(Some(cx.waker().clone()));
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.state.waker.take();
    }
}

impl PartialEq for Timer {
    fn eq(&self, other: &Timer) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Timer) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    // Reversed: the heap yields its greatest element, and the earliest timer is wanted.
    fn cmp(&self, other: &Timer) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}
