//! Where log lines go: to stderr, one line each, by a thread of its own.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

/// Lines that wait to be written before more are dropped: nobody waits for whoever reads stderr, or does not.
const LINES_COUNT_MAX: usize = 16_384;

/// Lasts as long as lines are to be written. Dropping it writes those that wait, for a short while at most.
#[must_use]
pub struct Logging {
    _worker: WorkerGuard,
}

/// Starts logging. RUST_LOG, where it is set and sound, overrides `level`.
pub fn start(level: &str) -> Logging {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_COUNT_MAX).lossy(true);
    let (writer, worker) = builder.thread_name("log").finish(std::io::stderr());
    let lines = tracing_subscriber::fmt().compact().with_env_filter(filter);
    let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_writer(writer);
    // Fails only if logging was started before, and then it goes on as it was.
    let _ = lines.try_init();
    Logging { _worker: worker }
}
