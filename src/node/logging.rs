//! Where log lines go: to stderr, one line each.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Starts logging. RUST_LOG, where it is set and sound, overrides `level`.
pub fn start(level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let lines = tracing_subscriber::fmt().compact().with_env_filter(filter);
    let lines = lines.with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
    // Fails only if logging was started before, and then it goes on as it was.
    let _ = lines.try_init();
}
