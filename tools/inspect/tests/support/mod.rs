//! Data directories as a node would leave them, written by the real writers to real files.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "test support")]

pub mod disk;
pub mod log;
pub mod store;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use coracle_inspect::InspectError;
use coracle_inspect::cli::Cli;

pub const LOG_DIR: &str = "wal/core-00";
pub const STORE_DIR: &str = "store/core-00";

/// A data directory with one core.
pub struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    /// One in which all is sound.
    pub fn new() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("LOCK"), "1\n").unwrap();
        let node = "format = 2\nname = \"00000000000000000000000000000007\"\nnode_id = 1\nstage = \"formed\"\n\
                    cluster_id = \"f0e1d2c3b4a5968778695a4b3c2d1e0f\"\nincarnation = \"0123456789abcdef\"\n";
        fs::write(dir.path().join("node.toml"), node).unwrap();
        fs::write(dir.path().join("peers.toml"), "format = 1\n\n[[peers]]\nid = 2\nincarnation = \"2\"\n").unwrap();
        log::write(&dir.path().join(LOG_DIR));
        store::write(&dir.path().join(STORE_DIR));
        Fixture { dir }
    }

    /// The same files once more.
    pub fn copy(&self) -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        copy_dir(self.path(), dir.path());
        Fixture { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// All files, from the data directory on, in order.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        list(self.path(), &mut files);
        files.sort();
        files.into_iter().map(|file| file.strip_prefix(self.path()).unwrap().to_owned()).collect()
    }

    /// Changes the bytes of a file.
    pub fn change(&self, file: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path().join(file);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
    }

    /// What a command prints and whether it finds all sound. `DATA` stands for the directory.
    pub fn run(&self, command: &str) -> Result<(String, bool), InspectError> {
        let root = self.path().to_str().unwrap();
        let args = command.split_whitespace().map(|arg| arg.replace("DATA", root));
        let cli = Cli::try_parse_from(std::iter::once("coracle-inspect".to_owned()).chain(args)).unwrap();
        let (output, is_sound) = cli.run()?;
        Ok((output.replace(root, "DATA"), is_sound))
    }
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
