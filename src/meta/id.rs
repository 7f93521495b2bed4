//! Identities: the cluster's own, and the 40 hexadecimal digits by which Redis clients know a core.

use std::fmt;
use std::str::FromStr;

use sha1::{Digest, Sha1};
use types::CoreAddr;

/// Tells one cluster from another. Printed as 32 hexadecimal digits.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(into = "String", try_from = "String")]
pub struct ClusterId(pub u128);

/// Longest name of a cluster, in bytes.
pub const CLUSTER_NAME_BYTES_MAX: usize = 128;

/// A text that is no cluster id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cluster id is 32 hexadecimal digits")]
pub struct NotAClusterId;

impl ClusterId {
    /// The id that a configured name stands for: 32 hexadecimal digits stand for themselves, any other name
    /// for the first 16 bytes of its SHA-1, read as a big-endian number.
    pub fn from_name(name: &str) -> ClusterId {
        if let Ok(id) = name.parse() {
            return id;
        }
        let digest: [u8; 20] = Sha1::new_with_prefix(b"coracle cluster\0").chain_update(name).finalize().into();
        let (head, _) = digest.split_first_chunk::<16>().expect("a SHA-1 is 20 bytes long");
        ClusterId(u128::from_be_bytes(*head))
    }
}

impl FromStr for ClusterId {
    type Err = NotAClusterId;

    fn from_str(text: &str) -> Result<ClusterId, NotAClusterId> {
        let all_digits = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !all_digits {
            return Err(NotAClusterId);
        }
        u128::from_str_radix(text, 16).map(ClusterId).map_err(|_| NotAClusterId)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> String {
        id.to_string()
    }
}

impl TryFrom<String> for ClusterId {
    type Error = NotAClusterId;

    fn try_from(text: String) -> Result<ClusterId, NotAClusterId> {
        text.parse()
    }
}

/// 40 lower-case hexadecimal digits, always ASCII.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id40([u8; 40]);

impl Id40 {
    /// The id of a core of a cluster: the same for ever, different for every core of every cluster. It is the
    /// SHA-1 of `coracle core`, a zero byte, the cluster id (16 bytes, little-endian), the node (4) and the core (2).
    pub fn of_core(cluster: ClusterId, place: CoreAddr) -> Id40 {
        let digest: [u8; 20] = Sha1::new_with_prefix(b"coracle core\0")
            .chain_update(cluster.0.to_le_bytes())
            .chain_update(place.node.0.to_le_bytes())
            .chain_update(place.core.0.to_le_bytes())
            .finalize()
            .into();
        let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
        let mut digits = [0; 40];
        for (pair, byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(digest) {
            *pair = [digit(byte >> 4), digit(byte & 15)];
        }
        Id40(digits)
    }

    /// The digits.
    pub fn as_bytes(&self) -> &[u8; 40] {
        &self.0
    }

    /// The digits as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

impl fmt::Display for Id40 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Id40 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use types::{CoreId, NodeId};

    use super::*;

    #[test]
    fn hexadecimal_names_stand_for_themselves() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(ClusterId::from_name(text).to_string(), text);
        assert_ne!(ClusterId::from_name("shop"), ClusterId::from_name("Shop"));
        assert_eq!("+0112233445566778899aabbccddeeff".parse::<ClusterId>(), Err(NotAClusterId));
    }

    #[test]
    fn ids_of_cores_are_stable_and_differ() {
        let cluster = ClusterId(7);
        let place = |node, core| CoreAddr { node: NodeId(node), core: CoreId(core) };
        // A client may keep these for years: the derivation must never change.
        assert_eq!(Id40::of_core(cluster, place(1, 0)).as_str(), "7d980e4640202d2bbebe1ea0bd4625deaf4a6571");
        let ids: BTreeSet<_> =
            (1..20).flat_map(|n| (0..20).map(move |c| Id40::of_core(cluster, place(n, c)))).collect();
        assert_eq!(ids.len(), 19 * 20);
        assert_ne!(Id40::of_core(ClusterId(8), place(1, 0)), Id40::of_core(cluster, place(1, 0)));
    }
}
