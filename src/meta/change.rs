//! Changes of the map: what entries of group 0 hold once the first map is agreed on.
//!
//! A change says what it expects to find, and does nothing where it finds something else: two planners that do not know of each
//! other cannot do the same thing twice. Every replica of group 0 applies the same changes in the same order, and so comes to the
//! same map.

use rkyv::rancor::Error as RkyvError;
use types::{CoreAddr, GroupId, NodeId, ReplicaId};

use crate::archived_ids::{GroupIdDef, NodeIdDef, PlaceDef, ReplicaIdDef};
use crate::error::Error;
use crate::map::{ClusterMap, ReplacedNode, Replica};
use crate::token::Fingerprint;

/// One change of the map.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub enum MapChange {
    /// A new replica of a group, with the next id, is to take the place of another one.
    Replace(Replace),
    /// A replica that was to be replaced stays, and the one that was to take its place never begins.
    Keep(Keep),
    /// A node has lost its data, and may come back with none.
    Await(Await),
    /// It is back: its replicas are lost, and others take their places.
    Admit(Admit),
}

/// Which replica is to be replaced, and where by another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Replace {
    /// The group.
    #[rkyv(with = GroupIdDef)]
    pub group: GroupId,
    /// Who is to go. If the map does not name it any more, nothing changes.
    #[rkyv(with = ReplicaIdDef)]
    pub replica: ReplicaId,
    /// Where the new one is to live: where the old one does, or on a node without another replica of the group.
    #[rkyv(with = PlaceDef)]
    pub place: CoreAddr,
}

/// Which replica stays, and instead of which other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Keep {
    /// The group.
    #[rkyv(with = GroupIdDef)]
    pub group: GroupId,
    /// Who stays.
    #[rkyv(with = ReplicaIdDef)]
    pub replica: ReplicaId,
    /// Where it lives.
    #[rkyv(with = PlaceDef)]
    pub place: CoreAddr,
    /// Who was to take its place, wherever. If the map does not name it any more, nothing changes.
    #[rkyv(with = ReplicaIdDef)]
    pub successor: ReplicaId,
}

/// Which node may come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Await {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    pub node: NodeId,
    /// That of the token which it must show. One that was awaited before counts no more.
    pub token: Fingerprint,
}

/// Which node is back, with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Admit {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    pub node: NodeId,
    /// That of the token which it has shown. If it is not awaited any more, nothing changes.
    pub token: Fingerprint,
    /// The incarnation of its data directory, not 0.
    pub incarnation: u64,
}

impl MapChange {
    /// The change as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let bytes = rkyv::to_bytes::<RkyvError>(self).expect("serializing into memory fails only without memory");
        bytes.to_vec()
    }

    /// A change from bytes.
    ///
    /// # Errors
    /// [`Error::Archive`] if they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<MapChange, Error> {
        rkyv::from_bytes::<MapChange, RkyvError>(bytes).map_err(|error| Error::Archive(error.to_string()))
    }
}

impl ClusterMap {
    /// Makes a change, and the epoch greater by one. Returns whether it was made: not if it expects something else, or would break a
    /// rule of maps.
    pub fn change(&mut self, change: &MapChange) -> bool {
        let mut next = self.clone();
        if !next.make(change) {
            return false;
        }
        next.epoch += 1;
        let is_valid = next.validate().is_ok();
        if is_valid {
            *self = next;
        }
        is_valid
    }

    /// Makes a change without looking at the rules of maps. Returns whether it found what it expects; if not, the map is good for nothing
    /// any more.
    pub(crate) fn make(&mut self, change: &MapChange) -> bool {
        match *change {
            MapChange::Replace(Replace { group, replica, place }) => {
                let new = Replica { id: self.next_replica, place };
                let Some(old) = self.replica_mut(group, replica) else { return false };
                *old = new;
                self.next_replica = ReplicaId(self.next_replica.0 + 1);
                true
            }
            MapChange::Keep(Keep { group, replica, place, successor }) => {
                let Some(new) = self.replica_mut(group, successor) else { return false };
                let is_older = replica < new.id;
                *new = Replica { id: replica, place };
                is_older
            }
            MapChange::Await(Await { node, token }) => {
                let is_known = self.node(node).is_some();
                self.replaced_mut(node).awaited = Some(token);
                is_known
            }
            MapChange::Admit(Admit { node, token, incarnation }) => self.admit(node, token, incarnation),
        }
    }

    fn admit(&mut self, node: NodeId, token: Fingerprint, incarnation: u64) -> bool {
        let replaced = self.replaced_mut(node);
        if replaced.awaited != Some(token) || incarnation == 0 {
            return false;
        }
        (replaced.incarnation, replaced.awaited, replaced.joined_with) = (incarnation, None, Some(token));
        let replicas = self.groups.iter_mut().flat_map(|group| &mut group.replicas);
        for replica in replicas.filter(|replica| replica.place.node == node) {
            replica.id = self.next_replica;
            self.next_replica = ReplicaId(self.next_replica.0 + 1);
        }
        true
    }

    fn replaced_mut(&mut self, id: NodeId) -> &mut ReplacedNode {
        let idx = self.replaced.binary_search_by_key(&id, |node| node.id).unwrap_or_else(|idx| {
            self.replaced.insert(idx, ReplacedNode { id, incarnation: 0, awaited: None, joined_with: None });
            idx
        });
        &mut self.replaced[idx]
    }

    fn replica_mut(&mut self, group: GroupId, replica: ReplicaId) -> Option<&mut Replica> {
        let idx = self.groups.binary_search_by_key(&group, |found| found.id).ok()?;
        self.groups[idx].replicas.iter_mut().find(|found| found.id == replica)
    }

    /// Whether another map is of the same cluster, at whatever epoch: what no change concerns is the same.
    pub fn is_same_cluster(&self, other: &ClusterMap) -> bool {
        let slots =
            |map: &ClusterMap| map.groups.iter().map(|group| (group.id, group.slots.clone())).collect::<Vec<_>>();
        self.cluster_id == other.cluster_id
            && self.nodes == other.nodes
            && self.settings == other.settings
            && slots(self) == slots(other)
    }
}

#[cfg(test)]
mod tests {
    use types::CoreId;

    use super::*;
    use crate::bootstrap::Bootstrap;
    use crate::id::ClusterId;
    use crate::map::{Node, Settings};

    fn map(nodes_count: u32) -> ClusterMap {
        let node = |id: u32| Node {
            id: NodeId(id),
            host: [127, 0, 0, id as u8].into(),
            gateway_port: 7000,
            core_port: 7001,
            peer_port: 8001,
            admin_port: 9000,
            cores: 2,
            rack: None,
        };
        let nodes = (1..=nodes_count).map(node).collect();
        let settings = Settings::default();
        let bootstrap = Bootstrap { cluster_id: ClusterId(7), nodes, groups_count: 4, settings };
        ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap")
    }

    #[test]
    fn a_replica_is_replaced_once_by_one_with_a_new_id() {
        let first = map(3);
        let mut map = first.clone();
        let old = map.groups[2].replicas[1];
        let change = MapChange::Replace(Replace { group: map.groups[2].id, replica: old.id, place: old.place });
        assert_eq!(MapChange::from_bytes(&change.to_bytes()), Ok(change.clone()));
        assert!(map.change(&change));
        let new = map.groups[2].replicas[1];
        assert_eq!((new.id, new.place), (first.next_replica, old.place));
        assert_eq!((map.epoch, map.next_replica.0), (2, first.next_replica.0 + 1));
        let changed = map.clone();
        assert!(!map.change(&change), "what was to go is gone already");
        assert_eq!(map, changed);
        assert!(map.is_same_cluster(&first) && !map.is_same_cluster(&self::map(4)));
    }

    #[test]
    fn a_replica_that_is_back_in_time_is_kept() {
        let first = map(3);
        let mut map = first.clone();
        let (group, old) = (map.groups[2].id, map.groups[2].replicas[1]);
        assert!(map.change(&MapChange::Replace(Replace { group, replica: old.id, place: old.place })));
        let keep = MapChange::Keep(Keep { group, replica: old.id, place: old.place, successor: first.next_replica });
        assert_eq!(MapChange::from_bytes(&keep.to_bytes()), Ok(keep.clone()));
        assert!(map.change(&keep));
        assert_eq!((map.groups[2].replicas[1], map.epoch), (old, 3));
        assert!(map.next_replica > first.next_replica, "no id is used again");
        assert!(!map.change(&keep), "nobody is to take its place any more");
        let other = map.groups[1].replicas[0];
        let taken = MapChange::Keep(Keep { group, replica: other.id, place: other.place, successor: old.id });
        assert!(!map.change(&taken), "it is a replica of another group");
    }

    #[test]
    fn a_replica_that_is_kept_lives_where_it_did() {
        let first = map(4);
        let mut map = first.clone();
        let (group, old) = (map.groups[2].id, map.groups[2].replicas[1]);
        let taken: Vec<NodeId> = map.groups[2].replicas.iter().map(|replica| replica.place.node).collect();
        let free = map.nodes.iter().map(|node| node.id).find(|node| !taken.contains(node));
        let place = CoreAddr { node: free.expect("four nodes for three replicas"), core: CoreId(0) };
        assert!(map.change(&MapChange::Replace(Replace { group, replica: old.id, place })));
        let keep = Keep { group, replica: old.id, place: old.place, successor: first.next_replica };
        let elsewhere = Keep { place: map.groups[2].replicas[0].place, ..keep };
        assert!(!map.change(&MapChange::Keep(elsewhere)), "another replica lives on that node");
        assert!(map.change(&MapChange::Keep(keep)));
        assert_eq!(map.groups, first.groups);
    }

    #[test]
    fn a_node_comes_back_once_per_token_and_with_new_replicas() {
        let first = map(3);
        let mut map = first.clone();
        let (node, token, other) = (NodeId(2), [7; 16], [8; 16]);
        let admit = |token, incarnation| MapChange::Admit(Admit { node, token, incarnation });
        assert!(!map.change(&admit(token, 5)), "nobody is awaited");
        assert!(!map.change(&MapChange::Await(Await { node: NodeId(9), token })), "there is no such node");
        assert!(map.change(&MapChange::Await(Await { node, token: other })));
        assert!(map.change(&MapChange::Await(Await { node, token })));
        assert!(!map.change(&admit(other, 5)) && !map.change(&admit(token, 0)), "another one is awaited");
        assert!(map.change(&admit(token, 5)));
        let replaced = ReplacedNode { id: node, incarnation: 5, awaited: None, joined_with: Some(token) };
        assert_eq!(map.replaced(node), Some(&replaced));
        for (group, before) in map.groups.iter().zip(&first.groups) {
            for (replica, before) in group.replicas.iter().zip(&before.replicas) {
                assert_eq!(replica.place, before.place);
                assert_eq!(replica.id == before.id, before.place.node != node, "{replica:?}");
                assert!(replica.id == before.id || replica.id >= first.next_replica);
            }
        }
        assert!(!map.change(&admit(token, 6)), "a token is for one use");
        assert_eq!(ClusterMap::from_bytes(&map.to_bytes()), Ok(map.clone()));
        assert!(map.is_same_cluster(&first));
    }

    #[test]
    fn no_change_breaks_a_rule() {
        let mut map = map(4);
        let group = map.groups[1].clone();
        let free = map.nodes.iter().find(|node| group.replicas.iter().all(|one| one.place.node != node.id));
        let free = CoreAddr { node: free.expect("four nodes for three replicas").id, core: CoreId(0) };
        let before = map.clone();
        let replace = |place| MapChange::Replace(Replace { group: group.id, replica: group.replicas[0].id, place });
        let taken = CoreAddr { core: CoreId(1), ..group.replicas[1].place };
        for place in [taken, CoreAddr { node: NodeId(9), core: CoreId(0) }, CoreAddr { core: CoreId(2), ..free }] {
            assert!(!map.change(&replace(place)), "{place}");
            assert_eq!(map, before);
        }
        let unknown = MapChange::Replace(Replace { group: GroupId(77), replica: group.replicas[0].id, place: free });
        assert!(!map.change(&unknown));
        assert!(map.change(&replace(free)));
        assert_eq!(map.validate(), Ok(()));
    }

    #[test]
    fn bytes_that_are_no_change_are_refused() {
        let place = CoreAddr { node: NodeId(1), core: CoreId(0) };
        let bytes = MapChange::Replace(Replace { group: GroupId(1), replica: ReplicaId(2), place }).to_bytes();
        for len in 0..bytes.len() {
            assert!(MapChange::from_bytes(&bytes[..len]).is_err(), "{len}");
        }
        assert!(MapChange::from_bytes(&[255; 64]).is_err());
    }
}
