//! Whose data a directory holds.
//!
//! `DATA/node.toml` says so: format version, cluster, node, and the incarnation of the directory, a random
//! number that tells it from an emptied one that came back under the same name. It is written once, before
//! any data, and never changed.
//!
//! ```toml
//! format = 1
//! cluster_id = "00112233445566778899aabbccddeeff"
//! node_id = 1
//! incarnation = "0123456789abcdef"
//! ```

use std::io;
use std::path::{Path, PathBuf};

use meta::ClusterId;
use types::NodeId;

use crate::atomic_file;

/// Name of the file within the data directory.
pub const FILE_NAME: &str = "node.toml";
/// The only format there is so far.
const FORMAT: u32 = 1;
/// What a directory that is in use holds besides the file.
const DATA_NAMES: [&str; 2] = ["wal", "groups"];

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster_id: ClusterId,
    /// The node.
    pub node_id: NodeId,
    /// Drawn when the directory was made.
    pub incarnation: u64,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The directory belongs to another cluster.
    #[error(
        "the data in {dir} belongs to cluster {found}, and the configuration names cluster {expected}; \
         correct `cluster_id`, or choose another `data_dir` (an empty one makes a new node)"
    )]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: ClusterId,
        /// Whose it should be.
        expected: ClusterId,
    },
    /// The directory belongs to another node.
    #[error(
        "the data in {dir} belongs to node {found}, and the configuration names node {expected}; \
         correct `node_id`, or choose another `data_dir`"
    )]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        expected: NodeId,
    },
    /// There is data, but nothing says whose.
    #[error(
        "{dir} holds {name}/ but no {FILE_NAME}, so nobody can tell whose data it is; \
         restore {FILE_NAME}, or choose another `data_dir`"
    )]
    NoIdentity {
        /// The directory.
        dir: PathBuf,
        /// The data that was found.
        name: &'static str,
    },
    /// The node has had a log, and it is gone.
    #[error(
        "the log in {dir} is gone, and this node has voted and acknowledged on it; restore it from a copy. If it is \
         lost, this node must not come back under its `node_id`"
    )]
    LogGone {
        /// Where the log was.
        dir: PathBuf,
    },
    /// A newer version of the program wrote it.
    #[error("{path} has format {found}, and this version reads format {FORMAT}; start the version that wrote it")]
    Format {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u32,
    },
    /// The file is damaged.
    #[error("{path} is damaged: {reason}; restore it from a copy, or rebuild the node under a new `node_id`")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Os {
        /// The file or directory.
        path: PathBuf,
        /// What it answered.
        source: io::Error,
    },
}

#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u32,
    cluster_id: ClusterId,
    node_id: u32,
    incarnation: String,
}

/// Only the version, whatever else a later format may hold.
#[derive(serde::Deserialize)]
struct Version {
    format: u32,
}

impl Identity {
    /// Reads the identity of a data directory, or writes it if the directory is new. The directory must
    /// exist and be locked.
    pub fn open(dir: &Path, cluster_id: ClusterId, node_id: NodeId) -> Result<Identity, IdentityError> {
        let path = dir.join(FILE_NAME);
        let failed = |source| IdentityError::Os { path: path.clone(), source };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Identity::create(dir, cluster_id, node_id);
            }
            Err(error) => return Err(failed(error)),
        };
        let identity = Identity::parse(&path, &text)?;
        if identity.cluster_id != cluster_id {
            let (found, expected) = (identity.cluster_id, cluster_id);
            return Err(IdentityError::OtherCluster { dir: dir.to_owned(), found, expected });
        }
        if identity.node_id != node_id {
            let (found, expected) = (identity.node_id, node_id);
            return Err(IdentityError::OtherNode { dir: dir.to_owned(), found, expected });
        }
        Ok(identity)
    }

    fn create(dir: &Path, cluster_id: ClusterId, node_id: NodeId) -> Result<Identity, IdentityError> {
        if let Some(name) = DATA_NAMES.into_iter().find(|name| dir.join(name).exists()) {
            return Err(IdentityError::NoIdentity { dir: dir.to_owned(), name });
        }
        let path = dir.join(FILE_NAME);
        let failed = |source| IdentityError::Os { path: path.clone(), source };
        let incarnation = getrandom::u64().map_err(|error| failed(error.into()))?;
        let contents =
            Contents { format: FORMAT, cluster_id, node_id: node_id.0, incarnation: format!("{incarnation:016x}") };
        let text = toml::to_string(&contents).expect("plain numbers and texts are TOML");
        atomic_file::write(&path, text.as_bytes()).map_err(failed)?;
        Ok(Identity { cluster_id, node_id, incarnation })
    }

    fn parse(path: &Path, text: &str) -> Result<Identity, IdentityError> {
        let damaged = |reason: String| IdentityError::Damaged { path: path.to_owned(), reason };
        let version: Version = toml::from_str(text).map_err(|error| damaged(error.message().to_owned()))?;
        if version.format != FORMAT {
            return Err(IdentityError::Format { path: path.to_owned(), found: version.format });
        }
        let contents: Contents = toml::from_str(text).map_err(|error| damaged(error.message().to_owned()))?;
        let incarnation = u64::from_str_radix(&contents.incarnation, 16);
        let incarnation = incarnation.map_err(|_| damaged("incarnation is not a hexadecimal number".to_owned()))?;
        Ok(Identity { cluster_id: contents.cluster_id, node_id: NodeId(contents.node_id), incarnation })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId(7);

    #[test]
    fn an_identity_is_written_once_and_kept() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let first = Identity::open(dir.path(), CLUSTER, NodeId(1)).expect("a new directory");
        assert_eq!(Identity::open(dir.path(), CLUSTER, NodeId(1)).expect("the same"), first);
        let names: Vec<_> = std::fs::read_dir(dir.path()).expect("readable").flatten().collect();
        assert_eq!(names.len(), 1, "no temporary file is left");
        let other = tempfile::tempdir().expect("a temporary directory");
        let second = Identity::open(other.path(), CLUSTER, NodeId(1)).expect("a new directory");
        assert_ne!(first.incarnation, second.incarnation);
    }

    #[test]
    fn another_owner_is_refused_with_the_remedy() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        Identity::open(dir.path(), CLUSTER, NodeId(1)).expect("a new directory");
        let text = Identity::open(dir.path(), ClusterId(8), NodeId(1)).expect_err("another cluster").to_string();
        assert!(text.contains("belongs to cluster 00000000000000000000000000000007"), "{text}");
        assert!(text.contains("correct `cluster_id`"), "{text}");
        let text = Identity::open(dir.path(), CLUSTER, NodeId(2)).expect_err("another node").to_string();
        assert!(text.contains("belongs to node 1, and the configuration names node 2"), "{text}");
    }

    #[test]
    fn data_without_identity_and_damaged_files_are_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(FILE_NAME);
        std::fs::create_dir(dir.path().join("wal")).expect("a new name");
        let error = Identity::open(dir.path(), CLUSTER, NodeId(1)).expect_err("whose?");
        assert!(matches!(error, IdentityError::NoIdentity { name: "wal", .. }), "{error}");
        let refused = |text: &str| {
            std::fs::write(&path, text).expect("a small file");
            Identity::open(dir.path(), CLUSTER, NodeId(1)).expect_err("refused")
        };
        assert!(matches!(refused("format = 2\nelse = 1\n"), IdentityError::Format { found: 2, .. }));
        for text in
            ["", "format", "format = 1\n", "format = 1\ncluster_id = \"x\"\nnode_id = 1\nincarnation = \"0\"\n"]
        {
            assert!(matches!(refused(text), IdentityError::Damaged { .. }), "{text}");
        }
    }
}
