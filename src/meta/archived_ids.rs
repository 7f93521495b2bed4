//! What the ids of `types` look like in the bytes of a map, and in text.

use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId};

// `types` knows nothing of formats, so what its ids look like in an archive is said here.
macro_rules! remote_id {
    ($name:ident, $text:literal, $inner:ty, $def:ident) => {
        #[doc = concat!("How a [`", $text, "`] looks in bytes and text: as its number.")]
        #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, serde::Serialize, serde::Deserialize)]
        #[rkyv(remote = $name)]
        #[serde(remote = $text)]
        pub struct $def(pub $inner);

        impl From<$def> for $name {
            fn from(def: $def) -> $name {
                $name(def.0)
            }
        }
    };
}

remote_id!(NodeId, "NodeId", u32, NodeIdDef);
remote_id!(CoreId, "CoreId", u16, CoreIdDef);
remote_id!(GroupId, "GroupId", u32, GroupIdDef);
remote_id!(ReplicaId, "ReplicaId", u64, ReplicaIdDef);

/// How a [`CoreAddr`] looks in bytes and text: as its parts.
#[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize, serde::Serialize, serde::Deserialize)]
#[rkyv(remote = CoreAddr)]
#[serde(remote = "CoreAddr")]
pub struct PlaceDef {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    #[serde(with = "NodeIdDef")]
    pub node: NodeId,
    /// The core.
    #[rkyv(with = CoreIdDef)]
    #[serde(with = "CoreIdDef")]
    pub core: CoreId,
}

impl From<PlaceDef> for CoreAddr {
    fn from(def: PlaceDef) -> CoreAddr {
        CoreAddr { node: def.node, core: def.core }
    }
}
