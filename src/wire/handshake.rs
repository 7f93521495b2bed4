//! How two cores introduce themselves before the first frame.
//!
//! The one that connected sends a [`Hello`] of 64 bytes, the other answers with a [`Verdict`] of 8 bytes.
//! Then frames flow, from the one that connected to the other only.
//!
//! ```text
//! Hello:   0 u64 magic "CORACLE\0"   8 u16 version   10 u16 core   12 u16 core meant   14 u16 zero
//!         16 [16] cluster id        32 u32 node     36 u32 node meant                  40 u64 incarnation
//!         48 [12] map               60 u32 crc32 of bytes 0..60
//! Verdict: 0 u32 code                4 u32 crc32 of bytes 0..4
//! ```

use thiserror::Error;
use types::{CoreAddr, CoreId, NodeId};

/// Version of everything that travels between nodes.
pub const PROTOCOL_VERSION: u16 = 6;
/// Length of an encoded [`Hello`].
pub const HELLO_BYTES: usize = 64;
/// Length of an encoded [`Verdict`].
pub const VERDICT_BYTES: usize = 8;

const MAGIC: [u8; 8] = *b"CORACLE\0";

/// The first words on a connection between two cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The cluster the sender belongs to: the id that was drawn when it was formed.
    pub cluster_id: [u8; 16],
    /// Who is speaking.
    pub from: CoreAddr,
    /// Who is meant.
    pub to: CoreAddr,
    /// Drawn when the sender's data directory was made: a node that lost its data has another one.
    pub incarnation: u64,
    /// The beginning of the fingerprint of the map with which the sender's cluster was formed: two nodes that disagree about who owns what
    /// must not talk. A node that has joined later was handed that map, and all changes since are entries of a log.
    pub map: [u8; 12],
}

/// Why bytes are not a greeting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HelloError {
    /// Something else than a Coracle node is talking.
    #[error("not a greeting of a Coracle node")]
    Magic,
    /// Damaged on the way.
    #[error("a greeting whose checksum does not match")]
    Checksum,
    /// Another release.
    #[error("the peer speaks protocol version {0}, this node {PROTOCOL_VERSION}: run the same release on all nodes")]
    Version(u16),
}

/// The answer to a [`Hello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[repr(u32)]
pub enum Verdict {
    /// Welcome: frames may follow.
    #[error("accepted")]
    Accepted = 0,
    /// The two belong to different clusters.
    #[error(
        "the peer belongs to another cluster, or to one of the same name that was formed anew: check cluster_id, the \
         peers' addresses and both data directories"
    )]
    OtherCluster = 1,
    /// The greeting was meant for another node or core.
    #[error("the peer's address belongs to another node or core: check the peers' addresses")]
    OtherPlace = 2,
    /// The receiver's map does not know the sender.
    #[error(
        "the peer does not know this node: it has not heard of it yet, if it has just joined; else it is of another cluster"
    )]
    Unknown = 3,
    /// The sender's node id is in use with other data.
    #[error(
        "the peer knows this node with another data directory: put that one back, or have the node replaced (CORACLE REPLACE)"
    )]
    OtherIncarnation = 4,
    /// The versions differ.
    #[error("the peer speaks another protocol version: run the same release on all nodes")]
    OtherVersion = 5,
    /// The cluster maps differ.
    #[error(
        "the peer's cluster was formed with another map: give all nodes that form it the same list of peers, groups and settings"
    )]
    OtherMap = 6,
    /// The receiver has no data, so it does not take part in a cluster that is formed.
    #[error("the peer has no data: its data directory is new, or its data is gone; its log says what to do")]
    Empty = 7,
    /// The sender was removed from the cluster.
    #[error("the cluster has removed this node")]
    Removed = 8,
}

impl Hello {
    /// The bytes to send.
    pub fn encode(&self) -> [u8; HELLO_BYTES] {
        let mut bytes = [0; HELLO_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.from.core.0.to_le_bytes());
        bytes[12..14].copy_from_slice(&self.to.core.0.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.cluster_id);
        bytes[32..36].copy_from_slice(&self.from.node.0.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.to.node.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.incarnation.to_le_bytes());
        bytes[48..60].copy_from_slice(&self.map);
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Validates what arrived.
    pub fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, HelloError> {
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if bytes[..8] != MAGIC {
            return Err(HelloError::Magic);
        }
        if crc32fast::hash(&bytes[..60]) != u32_at(60) {
            return Err(HelloError::Checksum);
        }
        if u16_at(8) != PROTOCOL_VERSION {
            return Err(HelloError::Version(u16_at(8)));
        }
        let mut cluster_id = [0; 16];
        cluster_id.copy_from_slice(&bytes[16..32]);
        let mut map = [0; 12];
        map.copy_from_slice(&bytes[48..60]);
        Ok(Hello {
            cluster_id,
            from: CoreAddr { node: NodeId(u32_at(32)), core: CoreId(u16_at(10)) },
            to: CoreAddr { node: NodeId(u32_at(36)), core: CoreId(u16_at(12)) },
            incarnation: u64::from(u32_at(40)) | u64::from(u32_at(44)) << 32,
            map,
        })
    }
}

impl Verdict {
    /// The bytes to send.
    pub fn encode(self) -> [u8; VERDICT_BYTES] {
        let mut bytes = [0; VERDICT_BYTES];
        bytes[..4].copy_from_slice(&(self as u32).to_le_bytes());
        let crc = crc32fast::hash(&bytes[..4]);
        bytes[4..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Validates what arrived; `None` for anything that is no verdict.
    pub fn decode(bytes: &[u8; VERDICT_BYTES]) -> Option<Verdict> {
        let all = [
            Verdict::Accepted,
            Verdict::OtherCluster,
            Verdict::OtherPlace,
            Verdict::Unknown,
            Verdict::OtherIncarnation,
            Verdict::OtherVersion,
            Verdict::OtherMap,
            Verdict::Empty,
            Verdict::Removed,
        ];
        all.into_iter().find(|verdict| verdict.encode() == *bytes)
    }
}
