//! Work that only a blocking call can do, on a thread of its own. Rare: it is for what io_uring lacks.

use std::future::poll_fn;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

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

/// A panic while it was held leaves the two fields valid.
fn lock<T>(state: &Mutex<State<T>>) -> MutexGuard<'_, State<T>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
