//! Work that only a blocking call can do, or that computes for longer than a turn may, on a thread of its own. Rare: it is for what io_uring
//! lacks, and for what whoever leads the cluster plans.

use std::future::poll_fn;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

/// How far work that computes stands behind the cores, of 19.
const RANK: i32 = 10;

struct State<T> {
    result: Option<io::Result<T>>,
    waker: Option<Waker>,
}

/// Runs `work` on a new thread and waits for its result. A panic in it is an error here.
pub(crate) async fn offload<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let state = Arc::new(Mutex::new(State { result: None, waker: None }));
    let theirs = Arc::clone(&state);
    thread::Builder::new().name("coracle-offload".to_owned()).spawn(move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        let result = result.unwrap_or_else(|_| Err(io::Error::other("a blocking call panicked")));
        let waker = {
            let mut state = lock(&theirs);
            state.result = Some(result);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    })?;
    poll_fn(|cx| {
        let mut state = lock(&state);
        match state.result.take() {
            Some(result) => Poll::Ready(result),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

/// Runs work that computes, behind the cores, on whichever CPU the process may use.
pub(crate) async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    offload(move || {
        leave_core();
        Ok(work())
    })
    .await
}

/// A thread inherits the CPU and the rank of the one that starts it, which is a core's. If the kernel does not let it have others it computes
/// there: that is slower, and right.
fn leave_core() {
    // SAFETY: all zeros is a valid value of this plain C struct, which the first call fills and the second one reads; the thread group's
    // first thread is no core's, and has the CPUs of the process.
    unsafe {
        let mut cpus: libc::cpu_set_t = mem::zeroed();
        if libc::sched_getaffinity(libc::getpid(), size_of::<libc::cpu_set_t>(), &mut cpus) == 0 {
            libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &cpus);
        }
        libc::setpriority(libc::PRIO_PROCESS, 0, RANK);
    }
}

/// A panic while it was held leaves the two fields valid.
fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
