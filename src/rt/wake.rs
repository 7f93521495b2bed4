//! Waking a core: from other cores, from other threads, and from its own tasks.
//!
//! A core that has nothing to do blocks in its ring. Whoever leaves something for it from another thread first
//! publishes it and then calls [`CoreShared::wake`]; the core announces its sleep and then looks once more. With
//! a full fence on both sides one of the two sees the other, so no wake-up is lost and none is paid for when
//! the core is awake.

use std::cell::RefCell;
use std::fs::File;
use std::future::Future;
use std::io::Write;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};

use types::CoreId;

use crate::error::Error;

/// What other threads may touch of a core.
pub(crate) struct CoreShared {
    pub(crate) core: CoreId,
    eventfd: File,
    thread: OnceLock<ThreadId>,
    // True only while the core may be blocked.
    sleeping: AtomicBool,
    // How many tasks of the core are due. Written by its own thread alone.
    runnable_count: AtomicUsize,
    notified: AtomicBool,
    remote_wakes: Mutex<Vec<Arc<TaskWaker>>>,
    has_remote_wakes: AtomicBool,
    // Set when the core has ended.
    gone: AtomicBool,
}

impl CoreShared {
    pub(crate) fn new(core: CoreId) -> Result<CoreShared, Error> {
        // SAFETY: the call takes no pointers; a descriptor it returns is ours alone.
        let eventfd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(Error::os("making an event counter")(std::io::Error::last_os_error()));
            }
            File::from_raw_fd(fd)
        };
        Ok(CoreShared {
            core,
            eventfd,
            thread: OnceLock::new(),
            sleeping: AtomicBool::new(false),
            runnable_count: AtomicUsize::new(0),
            notified: AtomicBool::new(false),
            remote_wakes: Mutex::new(Vec::new()),
            has_remote_wakes: AtomicBool::new(false),
            gone: AtomicBool::new(false),
        })
    }

    /// Makes the calling thread the core's own.
    pub(crate) fn adopt_thread(&self) {
        self.thread.set(thread::current().id()).expect("a core is started once");
    }

    pub(crate) fn eventfd(&self) -> RawFd {
        self.eventfd.as_raw_fd()
    }

    /// Wakes the core if it sleeps. Whatever it is to find must have been published before.
    pub(crate) fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.sleeping.load(Ordering::Relaxed) && self.sleeping.swap(false, Ordering::Relaxed) {
            // The counter cannot overflow in the life of a machine, and then the core would be awake anyway.
            let _ = (&self.eventfd).write(&1u64.to_ne_bytes());
        }
    }

    /// Makes the turn loop's wait end, from any thread.
    pub(crate) fn notify(&self) {
        self.notified.store(true, Ordering::Release);
        self.wake();
    }

    /// Whether [`CoreShared::notify`] was called since the last look.
    pub(crate) fn take_notified(&self) -> bool {
        self.notified.load(Ordering::Relaxed) && self.notified.swap(false, Ordering::Acquire)
    }

    /// Announces that the core is about to block. It must look for work once more afterwards.
    pub(crate) fn sleep_begin(&self) {
        self.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn sleep_end(&self) {
        self.sleeping.store(false, Ordering::Relaxed);
    }

    /// Whether [`CoreShared::notify`] was called and not taken note of.
    pub(crate) fn is_notified(&self) -> bool {
        self.notified.load(Ordering::Acquire)
    }

    /// Whether another thread has woken a task.
    pub(crate) fn has_remote_wakes(&self) -> bool {
        self.has_remote_wakes.load(Ordering::Acquire)
    }

    /// How many tasks of the core are due.
    pub(crate) fn runnable_count(&self) -> usize {
        self.runnable_count.load(Ordering::Relaxed)
    }

    /// Schedules the tasks that other threads have woken.
    pub(crate) fn run_remote_wakes(&self) {
        if !self.has_remote_wakes.load(Ordering::Relaxed) {
            return;
        }
        let wakers = {
            let mut wakes = lock(&self.remote_wakes);
            self.has_remote_wakes.store(false, Ordering::Relaxed);
            mem::take(&mut *wakes)
        };
        for waker in wakers {
            waker.schedule();
        }
    }

    pub(crate) fn set_gone(&self) {
        self.gone.store(true, Ordering::Release);
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    fn add_runnable(&self, delta: isize) {
        // Only the core's own thread writes, so a load and a store do.
        let count = self.runnable_count.load(Ordering::Relaxed);
        let count = count.checked_add_signed(delta).expect("a task is counted once when due");
        self.runnable_count.store(count, Ordering::Relaxed);
    }
}

/// A panic elsewhere leaves these plain lists valid.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakes one task. Counts it as due until it is polled, so that the core knows whether it may block.
pub(crate) struct TaskWaker {
    shared: Arc<CoreShared>,
    inner: Mutex<Option<Waker>>,
    scheduled: AtomicBool,
    done: AtomicBool,
}

impl TaskWaker {
    /// Runs on the core's own thread.
    fn schedule(&self) {
        if self.done.load(Ordering::Relaxed) || self.scheduled.swap(true, Ordering::Relaxed) {
            return;
        }
        self.shared.add_runnable(1);
        let inner = lock(&self.inner).clone();
        if let Some(inner) = inner {
            inner.wake();
        }
    }

    /// Runs on the core's own thread.
    fn unschedule(&self) {
        if self.scheduled.swap(false, Ordering::Relaxed) {
            self.shared.add_runnable(-1);
        }
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<TaskWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<TaskWaker>) {
        if self.shared.thread.get() == Some(&thread::current().id()) {
            self.schedule();
            return;
        }
        let mut wakes = lock(&self.shared.remote_wakes);
        wakes.push(Arc::clone(self));
        self.shared.has_remote_wakes.store(true, Ordering::Release);
        drop(wakes);
        self.shared.wake();
    }
}

/// The future of a task, where the core can drop it when it ends before the task does.
pub(crate) type TaskSlot = Rc<RefCell<TaskFuture>>;
pub(crate) type TaskFuture = Option<Pin<Box<dyn Future<Output = ()>>>>;

/// A task of a core. Keeps count of whether it is due, and calls `idle` when it was the last one.
pub(crate) struct Tracked<I> {
    task: TaskSlot,
    waker: Arc<TaskWaker>,
    // The same as `waker`, as the standard library wants it.
    std_waker: Waker,
    idle: I,
}

impl<I: Fn() + Unpin> Tracked<I> {
    pub(crate) fn new(shared: &Arc<CoreShared>, task: TaskSlot, idle: I) -> Tracked<I> {
        let waker = Arc::new(TaskWaker {
            shared: Arc::clone(shared),
            inner: Mutex::new(None),
            // A new task is due.
            scheduled: AtomicBool::new(true),
            done: AtomicBool::new(false),
        });
        shared.add_runnable(1);
        Tracked { task, std_waker: Waker::from(Arc::clone(&waker)), waker, idle }
    }

    /// What wakes this task.
    pub(crate) fn waker(&self) -> &Arc<TaskWaker> {
        &self.waker
    }
}

impl<I: Fn() + Unpin> Future for Tracked<I> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        {
            let mut inner = lock(&this.waker.inner);
            if !inner.as_ref().is_some_and(|inner| inner.will_wake(cx.waker())) {
                *inner = Some(cx.waker().clone());
            }
        }
        this.waker.unschedule();
        let poll = match this.task.borrow_mut().as_mut() {
            Some(task) => task.as_mut().poll(&mut Context::from_waker(&this.std_waker)),
            None => Poll::Ready(()),
        };
        if poll.is_ready() {
            this.task.take();
            this.waker.done.store(true, Ordering::Relaxed);
            this.waker.unschedule();
        }
        if this.waker.shared.runnable_count() == 0 {
            (this.idle)();
        }
        poll
    }
}

impl<I> Drop for Tracked<I> {
    fn drop(&mut self) {
        self.waker.done.store(true, Ordering::Relaxed);
        self.waker.unschedule();
        // Breaks the circle of the task and its waker.
        lock(&self.waker.inner).take();
    }
}

/// Ends the wait of a core's turn loop from any thread.
#[derive(Clone)]
pub struct Notifier {
    pub(crate) shared: Arc<CoreShared>,
}

impl Notifier {
    /// Makes the core's wait in `park` end, now or the next one to come.
    pub fn notify(&self) {
        self.shared.notify();
    }

    /// The core it wakes.
    pub fn core(&self) -> CoreId {
        self.shared.core
    }
}
