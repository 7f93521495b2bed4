//! What the developer sees. Results go to stdout, progress and reports to stderr.
//!
//! Whoever reads them may go away while the cluster is to go on: failed prints are ignored.

use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How often the progress line moves.
const TICK: Duration = Duration::from_millis(100);

/// The terminal, or what stands in for it.
#[derive(Debug)]
pub struct Console {
    stderr_is_terminal: bool,
    progress: RefCell<Option<ProgressBar>>,
    last_progress: RefCell<String>,
}

impl Console {
    /// The process's own stdout and stderr.
    pub fn new() -> Console {
        Console {
            stderr_is_terminal: std::io::stderr().is_terminal(),
            progress: RefCell::new(None),
            last_progress: RefCell::default(),
        }
    }

    /// Shows how far something is: one line that changes on a terminal, else a line per change.
    pub fn progress(&self, text: &str) {
        if self.last_progress.replace(text.to_owned()) == text {
            return;
        }
        if !self.stderr_is_terminal {
            self.note(text);
            return;
        }
        let mut progress = self.progress.borrow_mut();
        let bar = progress.get_or_insert_with(|| {
            let bar = ProgressBar::new_spinner().with_style(ProgressStyle::default_spinner());
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_message(text.to_owned());
    }

    /// Ends the line of progress.
    pub fn progress_end(&self) {
        if let Some(bar) = self.progress.take() {
            bar.finish_and_clear();
        }
        self.last_progress.take();
    }

    /// A line to stderr.
    pub fn note(&self, text: &str) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// Lines to stdout.
    pub fn print(&self, text: &str) {
        let mut stdout = std::io::stdout();
        let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    }
}

impl Default for Console {
    fn default() -> Console {
        Console::new()
    }
}
