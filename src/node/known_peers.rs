//! With which data directories the other nodes were first seen, and that this node has had a log.
//!
//! `DATA/peers.toml` says so. It appears once every core has begun its log, and grows by one entry whenever a node of
//! the cluster connects for the first time; until the entry is on stable storage that node is not let in. So a node that
//! comes back with an emptied directory, and with it without its votes, is known for what it is, also by peers that were
//! restarted meanwhile. And one whose log is gone does not start with an empty one.
//!
//! ```toml
//! format = 1
//!
//! [[peers]]
//! id = 2
//! incarnation = "0123456789abcdef"
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use types::NodeId;

use crate::atomic_file;
use crate::identity::IdentityError;

/// Name of the file within the data directory.
pub const FILE_NAME: &str = "peers.toml";
/// The only format there is so far.
const FORMAT: u32 = 1;
/// Nodes waiting to be remembered. What does not fit is dropped: the node connects again.
const WAITING_COUNT_MAX: usize = 64;

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u32,
    #[serde(default)]
    peers: Vec<Peer>,
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Peer {
    id: u32,
    incarnation: String,
}

/// What the file says.
#[derive(Debug)]
pub struct KnownPeers {
    path: PathBuf,
    known: BTreeMap<NodeId, u64>,
    /// Whether the file is there: then the node has had a log.
    has_begun: bool,
}

impl KnownPeers {
    /// Reads the file of a data directory, if there is one.
    pub fn open(dir: &Path) -> Result<KnownPeers, IdentityError> {
        let path = dir.join(FILE_NAME);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(KnownPeers { path, known: BTreeMap::new(), has_begun: false });
            }
            Err(source) => return Err(IdentityError::Os { path, source }),
        };
        let damaged = |reason: String| IdentityError::Damaged { path: path.clone(), reason };
        let contents: Contents = toml::from_str(&text).map_err(|error| damaged(error.message().to_owned()))?;
        if contents.format != FORMAT {
            return Err(IdentityError::Format { path: path.clone(), found: contents.format });
        }
        let mut known = BTreeMap::new();
        for peer in contents.peers {
            let incarnation = u64::from_str_radix(&peer.incarnation, 16)
                .map_err(|_| damaged(format!("incarnation of node {} is not a hexadecimal number", peer.id)))?;
            known.insert(NodeId(peer.id), incarnation);
        }
        Ok(KnownPeers { path, known, has_begun: true })
    }

    /// Checks that the logs in these directories are there if the node has had them.
    pub fn check_logs(&self, dirs: impl Iterator<Item = PathBuf>) -> Result<(), IdentityError> {
        let is_empty = |dir: &Path| std::fs::read_dir(dir).map_or(true, |mut names| names.next().is_none());
        for dir in dirs.filter(|_| self.has_begun) {
            if is_empty(&dir) {
                return Err(IdentityError::LogGone { dir });
            }
        }
        Ok(())
    }

    /// The nodes that are known.
    pub fn known(&self) -> Vec<(NodeId, u64)> {
        self.known.iter().map(|(node, incarnation)| (*node, *incarnation)).collect()
    }

    /// Writes the file, if there is none, now that the logs are there.
    pub fn begin(&mut self) -> io::Result<()> {
        if !self.has_begun {
            self.write()?;
            self.has_begun = true;
        }
        Ok(())
    }

    /// Remembers a node; the first incarnation counts, and is returned once it is on stable storage.
    fn add(&mut self, node: NodeId, incarnation: u64) -> io::Result<u64> {
        if let Some(known) = self.known.get(&node) {
            return Ok(*known);
        }
        self.known.insert(node, incarnation);
        let written = self.write();
        if written.is_err() {
            self.known.remove(&node);
        }
        written.map(|()| incarnation)
    }

    fn write(&self) -> io::Result<()> {
        let peer =
            |(node, incarnation): (&NodeId, &u64)| Peer { id: node.0, incarnation: format!("{incarnation:016x}") };
        let contents = Contents { format: FORMAT, peers: self.known.iter().map(peer).collect() };
        let text = toml::to_string(&contents).expect("plain numbers and texts are TOML");
        atomic_file::write(&self.path, text.as_bytes())
    }
}

/// The queue by which cores tell of nodes that they see for the first time.
pub fn queue() -> (engine::RememberPeer, Receiver<(NodeId, u64)>) {
    let (sender, receiver): (SyncSender<(NodeId, u64)>, _) = sync_channel(WAITING_COUNT_MAX);
    // Full, or nobody listens any more: the node that waits connects again.
    let remember = move |node, incarnation| {
        let _ = sender.try_send((node, incarnation));
    };
    (engine::RememberPeer::new(remember), receiver)
}

/// Remembers nodes as cores tell of them, and passes on what is on stable storage, until no core is left.
pub fn serve(mut known: KnownPeers, told: &Receiver<(NodeId, u64)>, pass_on: impl Fn(NodeId, u64)) {
    while let Ok((node, incarnation)) = told.recv() {
        match known.add(node, incarnation) {
            Ok(incarnation) => pass_on(node, incarnation),
            Err(error) => {
                let path = known.path.display();
                tracing::error!(%node, %path, %error, "a node is not let in, since it cannot be remembered");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_incarnation_is_remembered() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut known = KnownPeers::open(dir.path()).expect("no file yet");
        assert!(known.known().is_empty() && !known.has_begun);
        assert_eq!(known.add(NodeId(2), 0xabc).expect("written"), 0xabc);
        assert_eq!(known.add(NodeId(2), 0xdef).expect("known already"), 0xabc);
        assert_eq!(known.add(NodeId(3), 7).expect("written"), 7);
        let again = KnownPeers::open(dir.path()).expect("a sound file");
        assert_eq!(again.known(), [(NodeId(2), 0xabc), (NodeId(3), 7)]);
    }

    #[test]
    fn a_log_that_was_there_must_be_there() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let log = dir.path().join("wal");
        let check = || KnownPeers::open(dir.path()).expect("sound").check_logs([log.clone()].into_iter());
        check().expect("a new node has none");
        KnownPeers::open(dir.path()).expect("sound").begin().expect("written");
        let error = check().expect_err("it is gone");
        assert!(matches!(&error, IdentityError::LogGone { dir } if *dir == log), "{error}");
        std::fs::create_dir(&log).expect("a new name");
        check().expect_err("it is empty");
        std::fs::write(log.join("000000000001.seg"), "x").expect("a small file");
        check().expect("something is there");
    }

    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for text in ["format = 1\n[[peers]]\nid = 2\nincarnation = \"x\"\n", "", "format = 1\nelse = 2\n"] {
            std::fs::write(dir.path().join(FILE_NAME), text).expect("a small file");
            let error = KnownPeers::open(dir.path()).expect_err("refused");
            assert!(matches!(error, IdentityError::Damaged { .. }), "{text}: {error}");
        }
    }
}
