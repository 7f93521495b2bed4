//! What no text tells: whether direct I/O works in a directory, and whether the clock is in step.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::OFlags;

/// The block that direct I/O is tried with, in bytes, and what it is aligned to.
const BLOCK_BYTES: usize = 4_096;

/// Whether direct I/O works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// It does.
    Works,
    /// The file system refuses it.
    Refused(String),
    /// It could not be tried.
    Untried(String),
}

/// The directory itself, or the nearest one above it that is there.
pub fn existing(dir: &Path) -> PathBuf {
    let existing = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    fs::canonicalize(existing).unwrap_or_else(|_| existing.to_owned())
}

/// Tries direct I/O in a directory, by writing a file there and removing it.
pub fn direct_io(dir: &Path) -> DirectIo {
    let path = dir.join(format!(".direct-io-check-{}", std::process::id()));
    let flags = (OFlags::DIRECT | OFlags::DSYNC).bits() as i32;
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).custom_flags(flags).open(&path);
    let memory = vec![0_u8; 2 * BLOCK_BYTES];
    let start = memory.as_ptr().align_offset(BLOCK_BYTES).min(BLOCK_BYTES);
    let result = opened.and_then(|mut file| file.write_all(&memory[start..][..BLOCK_BYTES]));
    // One that was not made cannot be removed, and one left behind is harmless.
    let _ = fs::remove_file(&path);
    match result {
        Ok(()) => DirectIo::Works,
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Unsupported) => {
            DirectIo::Refused(error.to_string())
        }
        Err(error) => DirectIo::Untried(error.to_string()),
    }
}

/// What chrony says of the clock, if it is there.
pub fn chrony_tracking() -> Option<String> {
    let output = Command::new("chronyc").args(["-c", "tracking"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trying_direct_io_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let tried = direct_io(dir.path());
        // tmpfs may refuse it; nothing else is expected here.
        assert!(!matches!(tried, DirectIo::Untried(_)), "{tried:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(matches!(direct_io(&dir.path().join("missing")), DirectIo::Untried(_)));
    }

    #[test]
    fn the_nearest_directory_that_is_there_stands_in() {
        let dir = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(dir.path()).unwrap();
        assert_eq!(existing(&dir.path().join("a/b")), real);
        assert_eq!(existing(dir.path()), real);
    }
}
