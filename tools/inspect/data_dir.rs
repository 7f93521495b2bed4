//! A data directory: whose it is, whether a node runs on it, and where its logs and stores are.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use lsm::files::data_number;
use serde::Serialize;
use wal::format::segment_id;

use crate::error::InspectError;
use crate::finding::{Finding, shown};

/// How deep below the data directory logs and stores are looked for.
const DEPTH_MAX: usize = 4;
/// Bytes of a small file of the node that are read at most.
const SMALL_FILE_BYTES_MAX: u64 = 1 << 20;
/// Bytes of a block as the file system counts what it has allocated.
const ALLOCATION_UNIT_BYTES: u64 = 512;
const LOCK_NAME: &str = "LOCK";
const IDENTITY_NAME: &str = "node.toml";
const PEERS_NAME: &str = "peers.toml";
/// Beside these is a log that has not begun.
const WAL_NAME: &str = "wal";
const MANIFEST_NAMES: [&str; 2] = ["manifest.a", "manifest.b"];

/// A directory of logs or of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoreDir {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The same from the data directory on.
    pub(crate) shown: String,
    /// The core that its path names.
    pub(crate) core: Option<u16>,
}

/// A file of the data directory.
#[derive(Clone, Debug)]
pub(crate) struct FileEntry {
    pub(crate) path: PathBuf,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// What it takes of the disk.
    pub(crate) allocated_bytes: u64,
}

/// A data directory.
pub(crate) struct DataDir {
    pub(crate) root: PathBuf,
    /// Directories of logs, by core.
    pub(crate) logs: Vec<CoreDir>,
    /// Directories of stores.
    pub(crate) stores: Vec<CoreDir>,
    /// All regular files.
    pub(crate) files: Vec<FileEntry>,
    /// The process of the node that runs on it, if one does.
    pub(crate) running: Option<String>,
}

/// Whose a directory is, as `node.toml` says; what it does not say is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Identity {
    pub(crate) node_id: Option<i64>,
    pub(crate) name: Option<String>,
    pub(crate) cluster_id: Option<String>,
    pub(crate) incarnation: Option<String>,
    pub(crate) stage: Option<String>,
    /// How many other nodes `peers.toml` remembers; absent before the first log was begun.
    pub(crate) known_peers_count: Option<usize>,
}

impl DataDir {
    /// Looks at what there is. Refuses if a node runs on it, unless that is wanted.
    pub(crate) fn open(root: &Path, while_running: bool) -> Result<DataDir, InspectError> {
        if root.is_file() {
            let text = format!("{} is a file; the commands `table` and `blob` take one", root.display());
            return Err(InspectError::Usage(text));
        }
        let running = lock_holder(root)?;
        if let Some(holder) = running.clone().filter(|_| !while_running) {
            return Err(InspectError::Running { dir: root.to_owned(), holder });
        }
        let (logs, stores, files) = (Vec::new(), Vec::new(), Vec::new());
        let mut dir = DataDir { root: root.to_owned(), logs, stores, files, running };
        dir.look_into(root, DEPTH_MAX)?;
        dir.logs.sort_by(|one, other| (one.core, &one.path).cmp(&(other.core, &other.path)));
        dir.stores.sort_by(|one, other| (one.core, &one.path).cmp(&(other.core, &other.path)));
        Ok(dir)
    }

    fn look_into(&mut self, dir: &Path, depth: usize) -> Result<(), InspectError> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir).map_err(InspectError::io("list", dir))? {
            entries.push(entry.map_err(InspectError::io("list", dir))?);
        }
        entries.sort_by_key(fs::DirEntry::file_name);
        let (mut is_log, mut is_store, mut has_files) = (false, false, false);
        for entry in entries {
            // Links are not followed: what they lead to is not a part of the directory. What is gone meanwhile is passed over.
            let Ok(metadata) = entry.metadata() else { continue };
            let path = entry.path();
            if metadata.is_dir() && depth > 0 {
                self.look_into(&path, depth - 1)?;
            } else if metadata.is_file() {
                let (bytes, allocated_bytes) = (metadata.len(), metadata.blocks() * ALLOCATION_UNIT_BYTES);
                self.files.push(FileEntry { path, bytes, allocated_bytes });
                let name = entry.file_name();
                let name = name.to_str().unwrap_or_default();
                has_files = true;
                is_log |= is_segment(name);
                is_store |= MANIFEST_NAMES.contains(&name) || data_number(name).is_some();
            }
        }
        // An empty one may have held a log.
        is_log |= !has_files && dir.parent().is_some_and(|parent| parent.ends_with(WAL_NAME));
        let of = || CoreDir { path: dir.to_owned(), shown: shown(dir, &self.root), core: core_of(dir, &self.root) };
        let found = of();
        if is_log {
            self.logs.push(found.clone());
        }
        if is_store {
            self.stores.push(found);
        }
        Ok(())
    }

    /// Whose it is, and what is wrong with the files that say so.
    pub(crate) fn identity(&self) -> (Identity, Vec<Finding>) {
        let mut findings = Vec::new();
        let mut read = |name: &str| -> Option<toml::Table> {
            let meaning = "the node does not start: restore the file from a copy";
            match small_file(&self.root.join(name)) {
                Ok(text) => match text.parse() {
                    Ok(table) => Some(table),
                    Err(error) => {
                        let error: toml::de::Error = error;
                        findings.push(Finding::damage(name, error.message(), meaning));
                        None
                    }
                },
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                Err(error) => {
                    findings.push(Finding::damage(name, format!("cannot be read: {error}"), meaning));
                    None
                }
            }
        };
        let (node, peers) = (read(IDENTITY_NAME), read(PEERS_NAME));
        let text = |key: &str| node.as_ref()?.get(key)?.as_str().map(str::to_owned);
        let known = |table: &toml::Table| table.get("peers").and_then(toml::Value::as_array).map_or(0, Vec::len);
        let identity = Identity {
            node_id: node.as_ref().and_then(|node| node.get("node_id")?.as_integer()),
            name: text("name"),
            cluster_id: text("cluster_id"),
            incarnation: text("incarnation"),
            stage: text("stage"),
            known_peers_count: peers.as_ref().map(known),
        };
        if node.is_none() && findings.is_empty() && self.root.join(WAL_NAME).is_dir() {
            let meaning = "the node does not start, as nobody can tell whose data it is: restore the file";
            findings.push(Finding::damage(IDENTITY_NAME, "missing, and there is data", meaning));
        }
        (identity, findings)
    }

    /// Whether each core has begun its log: then none of them may be empty.
    pub(crate) fn has_begun(&self) -> bool {
        self.root.join(PEERS_NAME).is_file()
    }

    /// That a node runs, if one does by now.
    pub(crate) fn finding_of_node(&self) -> Option<Finding> {
        let holder = self.running.clone().or_else(|| lock_holder(&self.root).ok().flatten())?;
        let what = format!("process {holder} runs on this directory");
        Some(Finding::note(LOCK_NAME, what, "files changed while they were looked at: figures may be torn"))
    }
}

fn is_segment(name: &str) -> bool {
    segment_id(name).is_some()
        || name.split_once(".seg.").is_some_and(|(id, _)| segment_id(&format!("{id}.seg")).is_some())
}

/// The core that a part of a path names, as `core-01` does.
fn core_of(dir: &Path, root: &Path) -> Option<u16> {
    let below = dir.strip_prefix(root).ok()?;
    let parts = below.components().filter_map(|part| part.as_os_str().to_str());
    parts.filter_map(|part| part.strip_prefix("core-")?.parse().ok()).next_back()
}

fn small_file(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(SMALL_FILE_BYTES_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The process that holds the lock of a directory. A node holds it as long as it runs; it is asked for here and let go
/// at once, so that nobody who wants to start a node is in the way of it.
fn lock_holder(root: &Path) -> Result<Option<String>, InspectError> {
    let path = root.join(LOCK_NAME);
    let file = match File::open(&path) {
        Ok(file) => file,
        // A copy of a directory, or one of which no node has made anything.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(InspectError::io("open", &path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => {
            let holder = small_file(&path).unwrap_or_default().trim().to_owned();
            Ok(Some(if holder.is_empty() { "unknown".to_owned() } else { holder }))
        }
        Err(TryLockError::Error(error)) => Err(InspectError::io("ask for the lock of", &path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_and_stores_are_found_by_what_is_in_them() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let put = |name: &str| {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("a directory");
            fs::write(path, "x").expect("a small file");
        };
        for name in [
            "wal/core-00/000000000001.seg",
            "wal/core-10/000000000001.seg.damaged",
            "core-2/store/manifest.a",
            "core-3/000000000012.data",
            "elsewhere/notes.txt",
        ] {
            put(name);
        }
        fs::create_dir_all(dir.path().join("wal/core-02")).expect("a directory");
        let found = DataDir::open(dir.path(), false).expect("nobody runs on it");
        let shown = |dirs: &[CoreDir]| dirs.iter().map(|dir| (dir.core, dir.shown.clone())).collect::<Vec<_>>();
        let of = |core, path: &str| (Some(core), path.to_owned());
        assert_eq!(shown(&found.logs), [of(0, "wal/core-00"), of(2, "wal/core-02"), of(10, "wal/core-10")]);
        assert_eq!(shown(&found.stores), [of(2, "core-2/store"), of(3, "core-3")]);
        assert_eq!(found.files.len(), 5);
    }

    #[test]
    fn a_directory_on_which_a_node_runs_is_refused_unless_that_is_wanted() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(LOCK_NAME);
        fs::write(&path, "4711\n").expect("a small file");
        assert!(DataDir::open(dir.path(), false).is_ok(), "it was stopped");
        let lock = File::open(&path).expect("it is there");
        lock.try_lock().expect("nobody holds it");
        let error = DataDir::open(dir.path(), false).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("process 4711") && error.contains("--running"), "{error}");
        let running = DataDir::open(dir.path(), true).expect("it is wanted");
        assert!(running.finding_of_node().is_some_and(|finding| finding.what.contains("4711")));
        drop(lock);
        let stopped = DataDir::open(dir.path(), false).expect("it has ended");
        assert!(stopped.finding_of_node().is_none());
    }

    #[test]
    fn whose_it_is_and_what_is_wrong_with_that() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let identity = || DataDir::open(dir.path(), false).expect("nobody runs on it").identity();
        assert_eq!(identity(), (Identity::default(), Vec::new()));
        fs::create_dir(dir.path().join("wal")).expect("a new name");
        assert!(identity().1.first().is_some_and(|finding| finding.what.contains("missing")));
        fs::write(dir.path().join(IDENTITY_NAME), "node_id = 3\nstage = \"formed\"\n").expect("a small file");
        fs::write(dir.path().join(PEERS_NAME), "format = 1\n[[peers]]\nid = 2\n").expect("a small file");
        let (found, findings) = identity();
        assert_eq!(
            (found.node_id, found.stage.as_deref(), found.known_peers_count),
            (Some(3), Some("formed"), Some(1))
        );
        assert!(findings.is_empty());
        fs::write(dir.path().join(IDENTITY_NAME), [0xFF, 0, 1]).expect("a small file");
        fs::write(dir.path().join(PEERS_NAME), "peers = [").expect("a small file");
        assert_eq!(identity().1.len(), 2);
    }
}
