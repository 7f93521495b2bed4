//! Whose data a directory holds, and how far the node is in forming its cluster.
//!
//! `DATA/node.toml` says so: format version, the cluster's name and id, node, the incarnation of the directory (a random
//! number that tells it from an emptied one that came back under the same name), and the stage of
//! [`formation`](crate::formation). It is written when the node agrees to the cluster's id, before any data, and once more
//! when the cluster is formed; then it never changes. `map` is the beginning of the fingerprint of the cluster map that
//! the node has agreed to. A node that comes to a cluster with a token passes another stage, `joining`, without a cluster id, a new one
//! without `node_id` (0), and is told apart for ever by `has_come_back = true`.
//!
//! ```toml
//! format = 2
//! name = "00112233445566778899aabbccddeeff"
//! cluster_id = "f0e1d2c3b4a5968778695a4b3c2d1e0f"
//! node_id = 1
//! incarnation = "0123456789abcdef"
//! map = "a0a1a2a3a4a5a6a7a8a9aaab"
//! stage = "formed"
//! has_come_back = false
//! ```

use std::io;
use std::path::{Path, PathBuf};

use meta::ClusterId;
use types::NodeId;

use crate::atomic_file;

/// Name of the file within the data directory.
pub const FILE_NAME: &str = "node.toml";
/// Format of the file. Format 1 knew no stages: its nodes served without having agreed on anything.
const FORMAT: u32 = 2;
/// What a directory that is in use holds besides the file.
const DATA_NAMES: [&str; 2] = ["wal", "groups"];

/// How far a node is in forming its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// It has no data and has agreed to nothing.
    Empty,
    /// It asks a cluster, with a token, to let it in under this incarnation. No core has ever started on its directory.
    Joining,
    /// It has agreed to this cluster id. No core has ever started on its directory.
    Forming(ClusterId),
    /// The cluster with this id is formed, and this node is a part of it.
    Formed(ClusterId),
}

impl Stage {
    /// The cluster id that the node has agreed to.
    pub fn cluster_id(self) -> Option<ClusterId> {
        match self {
            Stage::Empty | Stage::Joining => None,
            Stage::Forming(id) | Stage::Formed(id) => Some(id),
        }
    }
}

/// Whose data a directory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What the configured name of the cluster stands for.
    pub name: ClusterId,
    /// The node; 0 for one that has no id yet: its cluster gives it one when it joins.
    pub node_id: NodeId,
    /// Drawn when the directory was made.
    pub incarnation: u64,
    /// The beginning of the fingerprint of the configured cluster map, to which the node has agreed if it forms a cluster.
    pub map: [u8; 12],
    /// How far the node is, with the id that was drawn for the cluster.
    pub stage: Stage,
    /// Whether it has come without data to a cluster that was formed before.
    pub has_come_back: bool,
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
    /// The node was forming its cluster with another map.
    #[error(
        "the node in {dir} had begun to form its cluster with another list of peers, groups or settings; restore the \
         former configuration on all nodes. If none of them has ever served, removing {FILE_NAME} on all of them makes \
         them new"
    )]
    OtherMap {
        /// The directory.
        dir: PathBuf,
    },
    /// There is data, but the cluster was not formed.
    #[error("{dir} holds {name}/ and says that no core has ever started there; restore {FILE_NAME} from a copy")]
    DataBeforeFormation {
        /// The directory.
        dir: PathBuf,
        /// The data that was found.
        name: &'static str,
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
    /// The node has joined a cluster, and what it was told of that is gone.
    #[error(
        "{dir} belongs to a node that has joined a cluster, and cluster.map, which says who the other nodes are, is gone: restore it from a \
         copy, or have the node replaced (CORACLE REPLACE)"
    )]
    MapGone {
        /// The directory.
        dir: PathBuf,
    },
    /// Another version of the program wrote it.
    #[error("{path} has format {found}, and this version reads another; start the version that wrote it")]
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
    name: ClusterId,
    cluster_id: ClusterId,
    node_id: u32,
    incarnation: String,
    map: String,
    stage: StageName,
    #[serde(default)]
    has_come_back: bool,
}

#[derive(Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum StageName {
    Joining,
    Forming,
    Formed,
}

/// Only the version, whatever else a later format may hold.
#[derive(serde::Deserialize)]
struct Version {
    format: u32,
}

impl Identity {
    /// Reads the identity of a data directory, or draws an incarnation for one that is new: then nothing is written yet.
    /// The directory must exist and be locked. `node_id` is the configured one, `map` the beginning of the fingerprint of the configured map.
    pub fn open(
        dir: &Path,
        name: ClusterId,
        node_id: Option<NodeId>,
        map: [u8; 12],
    ) -> Result<Identity, IdentityError> {
        let path = dir.join(FILE_NAME);
        let failed = |source| IdentityError::Os { path: path.clone(), source };
        let data = DATA_NAMES.into_iter().find(|data| dir.join(data).exists());
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(name) = data {
                    return Err(IdentityError::NoIdentity { dir: dir.to_owned(), name });
                }
                let incarnation = getrandom::u64().map_err(|error| failed(error.into()))?;
                let node_id = node_id.unwrap_or_default();
                return Ok(Identity { name, node_id, incarnation, map, stage: Stage::Empty, has_come_back: false });
            }
            Err(error) => return Err(failed(error)),
        };
        let identity = Identity::parse(&path, &text)?;
        if identity.name != name {
            let (found, expected) = (identity.name, name);
            return Err(IdentityError::OtherCluster { dir: dir.to_owned(), found, expected });
        }
        let found = identity.node_id;
        if let Some(expected) = node_id.filter(|expected| found != NodeId(0) && found != *expected) {
            return Err(IdentityError::OtherNode { dir: dir.to_owned(), found, expected });
        }
        if matches!(identity.stage, Stage::Forming(_) | Stage::Joining)
            && let Some(name) = data
        {
            return Err(IdentityError::DataBeforeFormation { dir: dir.to_owned(), name });
        }
        if matches!(identity.stage, Stage::Forming(_)) && identity.map != map {
            return Err(IdentityError::OtherMap { dir: dir.to_owned() });
        }
        Ok(identity)
    }

    /// Makes a stage durable.
    pub fn store(&mut self, dir: &Path, stage: Stage) -> Result<(), IdentityError> {
        let (cluster_id, stage_name) = match stage {
            Stage::Forming(id) => (id, StageName::Forming),
            Stage::Formed(id) => (id, StageName::Formed),
            Stage::Joining => (ClusterId(0), StageName::Joining),
            Stage::Empty => unreachable!("no stage is followed by the first one"),
        };
        self.has_come_back |= stage == Stage::Joining;
        let contents = Contents {
            format: FORMAT,
            name: self.name,
            cluster_id,
            node_id: self.node_id.0,
            incarnation: format!("{:016x}", self.incarnation),
            map: self.map.iter().map(|byte| format!("{byte:02x}")).collect(),
            stage: stage_name,
            has_come_back: self.has_come_back,
        };
        let text = toml::to_string(&contents).expect("plain numbers and texts are TOML");
        let path = dir.join(FILE_NAME);
        atomic_file::write(&path, text.as_bytes()).map_err(|source| IdentityError::Os { path, source })?;
        self.stage = stage;
        Ok(())
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
        let map = parse_map(&contents.map).ok_or_else(|| damaged("map is not 24 hexadecimal digits".to_owned()))?;
        if (contents.cluster_id == ClusterId(0)) != matches!(contents.stage, StageName::Joining) {
            return Err(damaged("cluster_id is zero, or the stage one without it".to_owned()));
        }
        let stage = match contents.stage {
            StageName::Joining => Stage::Joining,
            StageName::Forming => Stage::Forming(contents.cluster_id),
            StageName::Formed => Stage::Formed(contents.cluster_id),
        };
        let (name, node_id, has_come_back) = (contents.name, NodeId(contents.node_id), contents.has_come_back);
        Ok(Identity { name, node_id, incarnation, map, stage, has_come_back })
    }
}

fn parse_map(digits: &str) -> Option<[u8; 12]> {
    let mut map = [0; 12];
    if digits.len() != 2 * map.len() || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let number = u128::from_str_radix(digits, 16).ok()?;
    map.copy_from_slice(&number.to_be_bytes()[4..]);
    Some(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: ClusterId = ClusterId(7);
    const MAP: [u8; 12] = [0xa0, 0xa1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255];
    const DRAWN: ClusterId = ClusterId(0xdead_beef);

    fn open(dir: &Path) -> Result<Identity, IdentityError> {
        Identity::open(dir, NAME, Some(NodeId(1)), MAP)
    }

    fn formed() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        open(dir.path()).expect("a new directory").store(dir.path(), Stage::Formed(DRAWN)).expect("written");
        dir
    }

    #[test]
    fn a_new_directory_is_written_to_only_when_the_node_agrees() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut identity = open(dir.path()).expect("a new directory");
        assert_eq!(identity.stage, Stage::Empty);
        let names = || std::fs::read_dir(dir.path()).expect("readable").flatten().count();
        assert_eq!(names(), 0);
        assert_ne!(open(dir.path()).expect("new again").incarnation, identity.incarnation);
        for stage in [Stage::Forming(DRAWN), Stage::Formed(DRAWN)] {
            identity.store(dir.path(), stage).expect("written");
            assert_eq!(open(dir.path()).expect("the same"), identity);
            assert_eq!((identity.stage, names()), (stage, 1), "no temporary file is left");
        }
    }

    #[test]
    fn another_owner_is_refused_with_the_remedy() {
        let dir = formed();
        let text =
            Identity::open(dir.path(), ClusterId(8), Some(NodeId(1)), MAP).expect_err("another cluster").to_string();
        assert!(text.contains("belongs to cluster 00000000000000000000000000000007"), "{text}");
        assert!(text.contains("correct `cluster_id`"), "{text}");
        let text = Identity::open(dir.path(), NAME, Some(NodeId(2)), MAP).expect_err("another node").to_string();
        assert!(text.contains("belongs to node 1, and the configuration names node 2"), "{text}");
    }

    #[test]
    fn a_node_in_the_middle_of_formation_must_be_what_it_was() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        open(dir.path()).expect("a new directory").store(dir.path(), Stage::Forming(DRAWN)).expect("written");
        let error = Identity::open(dir.path(), NAME, Some(NodeId(1)), [1; 12]).expect_err("another map");
        assert!(matches!(error, IdentityError::OtherMap { .. }), "{error}");
        std::fs::create_dir(dir.path().join("wal")).expect("a new name");
        let error = open(dir.path()).expect_err("no core has started there");
        assert!(matches!(error, IdentityError::DataBeforeFormation { name: "wal", .. }), "{error}");
        // Once it is formed, what has changed is told to it by its peers.
        let dir = formed();
        Identity::open(dir.path(), NAME, Some(NodeId(1)), [1; 12]).expect("a formed node");
    }

    #[test]
    fn a_node_that_comes_back_keeps_its_incarnation_from_before_it_asks() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut identity = open(dir.path()).expect("a new directory");
        identity.store(dir.path(), Stage::Joining).expect("written");
        let again = open(dir.path()).expect("the same");
        assert_eq!(again, identity);
        assert_eq!((again.stage, again.stage.cluster_id(), again.has_come_back), (Stage::Joining, None, true));
        Identity::open(dir.path(), NAME, Some(NodeId(1)), [1; 12]).expect("the cluster tells it the map");
        identity.store(dir.path(), Stage::Formed(DRAWN)).expect("written");
        let formed = open(dir.path()).expect("the same");
        assert!(formed.has_come_back && formed.stage == Stage::Formed(DRAWN), "{formed:?}");
    }

    #[test]
    fn a_node_without_an_id_is_what_its_cluster_calls_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let open = |id| Identity::open(dir.path(), NAME, id, MAP);
        let mut identity = open(None).expect("a new directory");
        assert_eq!(identity.node_id, NodeId(0));
        identity.store(dir.path(), Stage::Joining).expect("written");
        assert_eq!(open(None).expect("the same"), identity);
        open(Some(NodeId(4))).expect("whether that is right is for the cluster to say");
        identity.node_id = NodeId(5);
        identity.store(dir.path(), Stage::Formed(DRAWN)).expect("written");
        for id in [None, Some(NodeId(5))] {
            assert_eq!(open(id).expect("the same").node_id, NodeId(5));
        }
        let error = open(Some(NodeId(4))).expect_err("another node");
        assert!(matches!(error, IdentityError::OtherNode { found: NodeId(5), .. }), "{error}");
    }

    #[test]
    fn data_without_identity_and_damaged_files_are_refused() {
        let dir = formed();
        let path = dir.path().join(FILE_NAME);
        let sound = std::fs::read_to_string(&path).expect("a small file");
        let refused = |text: &str| {
            std::fs::write(&path, text).expect("a small file");
            open(dir.path()).expect_err("refused")
        };
        assert!(matches!(refused("format = 1\nelse = 1\n"), IdentityError::Format { found: 1, .. }));
        let broken = |from: &str, to: &str| {
            assert!(sound.contains(from), "{from} is not in {sound}");
            sound.replace(from, to)
        };
        for text in [
            String::new(),
            "format".to_owned(),
            "format = 2\n".to_owned(),
            broken("\"formed\"", "\"served\""),
            broken("deadbeef", "00000000"),
            broken("a0a1", "+0a1"),
            broken("a0a1", "a0"),
            broken("node_id", "node"),
        ] {
            assert!(matches!(refused(&text), IdentityError::Damaged { .. }), "{text}");
        }
        std::fs::remove_file(&path).expect("it is there");
        std::fs::create_dir(dir.path().join("wal")).expect("a new name");
        let error = open(dir.path()).expect_err("whose?");
        assert!(matches!(error, IdentityError::NoIdentity { name: "wal", .. }), "{error}");
    }
}
