//! Where text is read from: the files of a host below a root.

use std::fs;
use std::path::{Path, PathBuf};

/// The files of a host. With another root than `/`, those of a copy of its `/proc` and `/sys`.
#[derive(Clone, Debug)]
pub struct Source {
    root: PathBuf,
}

impl Source {
    /// The files below a root.
    pub fn new(root: impl Into<PathBuf>) -> Source {
        Source { root: root.into() }
    }

    /// Whether these are the files of the host that this program runs on.
    pub fn is_this_host(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where a file lies, of which the path without a leading `/` is given.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What a file holds, without spaces around it; `None` if it is not there or cannot be read.
    pub fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    /// The number that a file holds.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }

    /// The names in a directory, in order; none if it is not there.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is such a file or directory.
    pub fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The last part of where a link leads to, links on the way followed: the name of a device.
    pub fn real_name(&self, path: &str) -> Option<String> {
        let real = fs::canonicalize(self.path(path)).ok()?;
        real.file_name()?.to_str().map(str::to_owned)
    }
}
