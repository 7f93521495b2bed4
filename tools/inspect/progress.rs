//! How far a long job is, on stderr if that is a terminal.

use indicatif::{ProgressBar, ProgressStyle};

use crate::text;

/// How far a job is.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Shows nothing.
    pub(crate) fn hidden() -> Progress {
        Progress { bar: ProgressBar::hidden() }
    }

    /// A job of so many bytes.
    pub(crate) fn of_bytes(bytes: u64) -> Progress {
        let bar = ProgressBar::new(bytes);
        let template = "{elapsed_precise} [{wide_bar}] {percent}% of {msg}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message(text::bytes(bytes));
        Progress { bar }
    }

    /// So many bytes more are done.
    pub(crate) fn advance(&self, bytes: u64) {
        self.bar.inc(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
