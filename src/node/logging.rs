//! Where log lines go: to stderr, one line each, by a thread of its own.

use std::io::IsTerminal;
use std::sync::Arc;

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::{SubscriberBuilder, format};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

/// Lines that wait to be written before more are dropped: nobody waits for whoever reads stderr, or does not.
const LINES_COUNT_MAX: usize = 16_384;

/// Lasts as long as lines are to be written. Dropping it writes those that wait, for a short while at most.
#[must_use]
pub struct Logging {
    level: LevelSetter,
    _worker: WorkerGuard,
}

/// Takes a level, or says why it does not.
type SetLevel = dyn Fn(&str) -> Result<(), String> + Send + Sync;

/// Sets what is logged while the node runs.
#[derive(Clone)]
pub struct LevelSetter(Arc<SetLevel>);

impl LevelSetter {
    /// Logs what is of this level or above from now on.
    ///
    /// # Errors
    /// That RUST_LOG overrides it.
    pub fn set(&self, level: &str) -> Result<(), String> {
        (self.0)(level)
    }
}

impl Logging {
    /// Sets what is logged.
    pub fn level(&self) -> LevelSetter {
        self.level.clone()
    }
}

/// Starts logging, as text or as JSON. RUST_LOG, where it is set and sound, overrides `level`.
pub fn start(level: &str, as_json: bool) -> Logging {
    let of_environment = EnvFilter::try_from_default_env().ok();
    let is_overridden = of_environment.is_some();
    let filter = of_environment.unwrap_or_else(|| EnvFilter::new(level));
    let builder = NonBlockingBuilder::default().buffered_lines_limit(LINES_COUNT_MAX).lossy(true);
    let (writer, worker) = builder.thread_name("log").finish(std::io::stderr());
    // Starting fails only if logging was started before, and then it goes on as it was.
    let level = if as_json {
        let lines = json_lines(writer).with_env_filter(filter).with_filter_reloading();
        let level = setter(lines.reload_handle(), is_overridden);
        let _ = lines.finish().try_init();
        level
    } else {
        let lines = fmt().compact().with_ansi(std::io::stderr().is_terminal()).with_writer(writer);
        let lines = lines.with_env_filter(filter).with_filter_reloading();
        let level = setter(lines.reload_handle(), is_overridden);
        let _ = lines.finish().try_init();
        level
    };
    Logging { level, _worker: worker }
}

fn setter<S: 'static>(handle: reload::Handle<EnvFilter, S>, is_overridden: bool) -> LevelSetter {
    LevelSetter(Arc::new(move |level| {
        if is_overridden {
            let reason =
                "`log_level` has no effect while RUST_LOG overrides it: start the node without that variable";
            return Err(reason.to_owned());
        }
        handle.reload(EnvFilter::new(level)).map_err(|error| format!("the level of the log stays as it is: {error}"))
    }))
}

/// Each line a JSON object: `timestamp`, `level`, `target` (the module), `message`, and what else the line is about, by its name.
fn json_lines<W>(writer: W) -> SubscriberBuilder<format::JsonFields, format::Format<format::Json>, LevelFilter, W>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = fmt().json().flatten_event(true).with_current_span(false).with_span_list(false);
    lines.with_writer(writer)
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
        let subscriber = json_lines(move || writer.clone()).with_env_filter(EnvFilter::new("info")).finish();
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
