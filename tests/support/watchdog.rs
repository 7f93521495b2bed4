//! One test at a time, and none without an end.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static RUNNING: Mutex<()> = Mutex::new(());
/// Exit code of a test program that a watchdog ended.
const EXIT_OVERDUE: i32 = 124;

/// While this lives, no other test of this program runs, and the program ends if it lives too long.
pub struct Alone {
    // Dropped first, which tells the watchdog that all is well.
    _done: Sender<()>,
    _guard: MutexGuard<'static, ()>,
}

/// Waits until this is the only test, then gives it `limit`.
pub fn alone(limit: Duration) -> Alone {
    // A test that failed has poisoned the lock; the next one starts afresh all the same.
    let guard = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let (done, told) = channel::<()>();
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    std::thread::spawn(move || {
        if told.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
            eprintln!("watchdog: {name} has run for {limit:?} and is not done; the program ends");
            // Child processes end with this one: see `process::bound`.
            std::process::exit(EXIT_OVERDUE);
        }
    });
    Alone { _done: done, _guard: guard }
}
