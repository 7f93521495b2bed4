//! Where log lines go: to stderr, one line each, by a thread of its own.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

/// Lines that wait to be written before more are dropped: nobody waits for whoever reads stderr, or does not.
const LINES_COUNT_MAX: usize = 16_384;

/// Lasts as long as lines are to be written. Dropping it writes those that wait, for a short while at most.
#[must_use]
pub struct Logging {
    _worker: WorkerGuard,
}

/// Starts logging, as text or as JSON. RUST_LOG, where it is set and sound, overrides `level`.
pub fn start(level: &str, as_json: bool) -> Logging {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_COUNT_MAX).lossy(true);
    let (writer, worker) = builder.thread_name("log").finish(std::io::stderr());
    // Fails only if logging was started before, and then it goes on as it was.
    let _ = if as_json {
        json_lines(filter, writer).try_init()
    } else {
        let lines = fmt().compact().with_env_filter(filter);
        lines.with_ansi(std::io::stderr().is_terminal()).with_writer(writer).finish().try_init()
    };
    Logging { _worker: worker }
}

/// Each line a JSON object: `timestamp`, `level`, `target` (the module), `message`, and what else the line is about, by its name.
fn json_lines<W>(filter: EnvFilter, writer: W) -> impl SubscriberInitExt + tracing::Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt().json().flatten_event(true).with_current_span(false).with_span_list(false);
    lines.with_env_filter(filter).with_writer(writer).finish()
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics with the lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_line_is_an_object_with_what_it_is_about() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = json_lines(EnvFilter::new("info"), move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(core = %"1/0", took_ms = 7, "a \"quoted\"\nmessage");
            tracing::debug!("not shown");
            tracing::warn!("another one");
        });
        let text = String::from_utf8(lines.0.lock().expect("nobody panics with the lock").clone()).expect("UTF-8");
        let objects: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
        assert_eq!(objects.len(), 2, "{text}");
        let first = &objects[0];
        assert_eq!((&first["level"], &first["core"], &first["took_ms"]), (&"INFO".into(), &"1/0".into(), &7.into()));
        assert_eq!(first["message"], "a \"quoted\"\nmessage");
        assert!(first["timestamp"].as_str().is_some_and(|time| time.ends_with('Z')), "{first}");
        assert_eq!(first["target"], "node::logging::tests");
    }
}
