//! Changes of the map: what entries of group 0 hold once the first map is agreed on.
//!
//! A change says what it expects to find, and does nothing where it finds something else: two planners that do not know of each
//! other cannot do the same thing twice. Every replica of group 0 applies the same changes in the same order, and so comes to the
//! same map.

use rkyv::rancor::Error as RkyvError;
use types::{CoreAddr, GroupId, NodeId, ReplicaId};

use crate::archived_ids::{GroupIdDef, NodeIdDef, PlaceDef, ReplicaIdDef};
use crate::error::Error;
use crate::map::{
    AdmittedNode, ClusterMap, INVITATIONS_COUNT_MAX, Invitation, LeavingGroup, LeavingNode, Node, RemovedNode,
    Replica,
};
use crate::reports::Duty;
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
    /// A new node may join.
    Invite(Invite),
    /// It does.
    Join(Join),
    /// A node is to be removed, on which no replica is wanted.
    Remove(Remove),
    /// Groups have no member on a node that is to be removed. With the last of them it is.
    Vacate(Vacate),
    /// Something is asked of a node.
    Assign(Assign),
    /// A node that was asked to leave is to be removed, since no replica is wanted there any more.
    Dismiss(Dismiss),
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

/// With which token a new node may join, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Invite {
    /// That of the token.
    pub token: Fingerprint,
    /// When it was handed out, in milliseconds since 1970. Tokens that have expired by then are forgotten.
    pub at_ms: u64,
    /// Until when it is good, in milliseconds since 1970.
    pub expires_ms: u64,
}

/// Which node joins, with what.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Join {
    /// That of the token which it has shown. If it is not good any more, nothing changes.
    pub token: Fingerprint,
    /// When it has shown it, in milliseconds since 1970.
    pub at_ms: u64,
    /// The incarnation of its data directory, not 0.
    pub incarnation: u64,
    /// The node. It is given an id, whatever stands there.
    pub node: Node,
}

/// Which node is to be removed. If a replica is wanted there, nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Remove {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    pub node: NodeId,
}

/// Which groups have no member on a node that leaves, as those say who lead them.
#[derive(Clone, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Vacate {
    /// The node. If it does not leave, nothing changes.
    #[rkyv(with = NodeIdDef)]
    pub node: NodeId,
    /// The groups.
    pub groups: Vec<LeavingGroup>,
}

/// What is asked of which node. If the map says that already, or it cannot be, nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Assign {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    pub node: NodeId,
    /// What it is to do.
    pub duty: Duty,
}

/// Which node is to be removed. If it is not asked to leave any more, or a replica is wanted there, nothing changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct Dismiss {
    /// The node.
    #[rkyv(with = NodeIdDef)]
    pub node: NodeId,
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
        let Ok(Some(next)) = self.changed(change) else { return false };
        *self = next;
        true
    }

    /// The map behind a change; `None` if it expects something else than this map.
    ///
    /// # Errors
    /// The rule of maps that it would break.
    pub fn changed(&self, change: &MapChange) -> Result<Option<ClusterMap>, Error> {
        let mut next = self.clone();
        if !next.make(change) {
            return Ok(None);
        }
        next.epoch += 1;
        next.validate()?;
        Ok(Some(next))
    }

    /// Whether a change that was asked for need not be asked for again: the map shows it, or what came behind it.
    pub fn shows(&self, change: &MapChange) -> bool {
        match change {
            MapChange::Await(Await { node, token }) => {
                self.admitted(*node).is_some_and(|it| [it.awaited, it.joined_with].contains(&Some(*token)))
            }
            MapChange::Invite(Invite { token, .. }) => {
                self.invitations.iter().any(|it| it.token == *token)
                    || self.admitted.iter().any(|it| it.joined_with == Some(*token))
            }
            MapChange::Remove(Remove { node }) | MapChange::Dismiss(Dismiss { node }) => {
                self.leaving(*node).is_some() || self.node(*node).is_none()
            }
            other => !matches!(self.changed(other), Ok(Some(_))),
        }
    }

    /// Makes a change without looking at the rules of maps. Returns whether it found what it expects; if not, the map is good for nothing
    /// any more.
    pub(crate) fn make(&mut self, change: &MapChange) -> bool {
        match change {
            MapChange::Replace(Replace { group, replica, place }) => {
                let new = Replica { id: self.next_replica, place: *place };
                let Some(old) = self.replica_mut(*group, *replica) else { return false };
                *old = new;
                self.next_replica = ReplicaId(self.next_replica.0 + 1);
                true
            }
            MapChange::Keep(Keep { group, replica, place, successor }) => {
                let Some(new) = self.replica_mut(*group, *successor) else { return false };
                let is_older = *replica < new.id;
                *new = Replica { id: *replica, place: *place };
                is_older
            }
            MapChange::Await(Await { node, token }) => {
                let is_known = self.node(*node).is_some();
                self.admitted_mut(*node).awaited = Some(*token);
                is_known
            }
            MapChange::Admit(Admit { node, token, incarnation }) => self.admit(*node, *token, *incarnation),
            MapChange::Invite(invite) => self.invite(*invite),
            MapChange::Join(join) => self.join(join),
            MapChange::Remove(Remove { node }) => self.begin_removal(*node),
            MapChange::Vacate(Vacate { node, groups }) => self.vacate(*node, groups),
            MapChange::Assign(assign) => self.assign(*assign),
            MapChange::Dismiss(Dismiss { node }) => self.duty(*node) == Duty::Leaves && self.begin_removal(*node),
        }
    }

    fn admit(&mut self, node: NodeId, token: Fingerprint, incarnation: u64) -> bool {
        let admitted = self.admitted_mut(node);
        if admitted.awaited != Some(token) || incarnation == 0 {
            return false;
        }
        (admitted.incarnation, admitted.awaited, admitted.joined_with) = (incarnation, None, Some(token));
        let replicas = self.groups.iter_mut().flat_map(|group| &mut group.replicas);
        for replica in replicas.filter(|replica| replica.place.node == node) {
            replica.id = self.next_replica;
            self.next_replica = ReplicaId(self.next_replica.0 + 1);
        }
        true
    }

    fn invite(&mut self, Invite { token, at_ms, expires_ms }: Invite) -> bool {
        let is_known = self.shows(&MapChange::Invite(Invite { token, at_ms, expires_ms }));
        self.invitations.retain(|invitation| invitation.expires_ms > at_ms);
        self.invitations.push(Invitation { token, expires_ms });
        !is_known && expires_ms > at_ms && self.invitations.len() <= INVITATIONS_COUNT_MAX
    }

    fn join(&mut self, join: &Join) -> bool {
        let Some(idx) = self.invitations.iter().position(|it| it.token == join.token) else { return false };
        let invitation = self.invitations.remove(idx);
        // Ids that are spent leave the last one unused.
        let (id, Some(next)) = (self.next_node, self.next_node.0.checked_add(1)) else { return false };
        self.next_node = NodeId(next);
        self.nodes.push(Node { id, ..join.node.clone() });
        let admitted = self.admitted_mut(id);
        (admitted.incarnation, admitted.joined_with) = (join.incarnation, Some(join.token));
        join.at_ms < invitation.expires_ms && join.incarnation != 0
    }

    fn begin_removal(&mut self, id: NodeId) -> bool {
        let is_possible = self.node(id).is_some() && self.groups_on(id).next().is_none();
        let Err(idx) = self.leaving.binary_search_by_key(&id, |node| node.id) else { return false };
        let groups = self.groups.iter().map(|group| LeavingGroup(group.id)).collect();
        self.leaving.insert(idx, LeavingNode { id, groups });
        is_possible
    }

    fn vacate(&mut self, id: NodeId, groups: &[LeavingGroup]) -> bool {
        let Ok(idx) = self.leaving.binary_search_by_key(&id, |node| node.id) else { return false };
        let waits = &mut self.leaving[idx].groups;
        let before = waits.len();
        waits.retain(|group| !groups.contains(group));
        let (is_news, is_empty) = (waits.len() < before, waits.is_empty());
        if is_empty {
            self.leaving.remove(idx);
            self.nodes.retain(|node| node.id != id);
            self.admitted.retain(|node| node.id != id);
            self.duties.retain(|node| node.id != id);
            let at = self.removed.partition_point(|removed| removed.0 < id);
            self.removed.insert(at, RemovedNode(id));
        }
        is_news
    }

    fn admitted_mut(&mut self, id: NodeId) -> &mut AdmittedNode {
        let idx = self.admitted.binary_search_by_key(&id, |node| node.id).unwrap_or_else(|idx| {
            self.admitted.insert(idx, AdmittedNode { id, incarnation: 0, awaited: None, joined_with: None });
            idx
        });
        &mut self.admitted[idx]
    }

    fn replica_mut(&mut self, group: GroupId, replica: ReplicaId) -> Option<&mut Replica> {
        let idx = self.groups.binary_search_by_key(&group, |found| found.id).ok()?;
        self.groups[idx].replicas.iter_mut().find(|found| found.id == replica)
    }

    /// Whether another map is of the same cluster, at whatever epoch: what no change concerns is the same.
    pub fn is_same_cluster(&self, other: &ClusterMap) -> bool {
        let slots =
            |map: &ClusterMap| map.groups.iter().map(|group| (group.id, group.slots.clone())).collect::<Vec<_>>();
        self.cluster_id == other.cluster_id && self.settings == other.settings && slots(self) == slots(other)
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
        let otherwise = Settings { replication_factor: 2, ..first.settings.clone() };
        assert!(map.is_same_cluster(&first));
        assert!(!map.is_same_cluster(&ClusterMap { settings: otherwise, ..first }));
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
        let admitted = AdmittedNode { id: node, incarnation: 5, awaited: None, joined_with: Some(token) };
        assert_eq!(map.admitted(node), Some(&admitted));
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

    fn newcomer(host: u8) -> Node {
        Node { id: NodeId(0), host: [127, 0, 0, host].into(), ..map(1).nodes[0].clone() }
    }

    fn join(token: u8, at_ms: u64, incarnation: u64, host: u8) -> MapChange {
        MapChange::Join(Join { token: [token; 16], at_ms, incarnation, node: newcomer(host) })
    }

    fn invite(token: u8, at_ms: u64, expires_ms: u64) -> MapChange {
        MapChange::Invite(Invite { token: [token; 16], at_ms, expires_ms })
    }

    #[test]
    fn a_new_node_joins_once_per_token_with_an_id_of_its_own() {
        let first = map(3);
        let mut map = first.clone();
        assert!(!map.change(&join(7, 10, 5, 9)), "nobody is invited");
        assert!(!map.change(&invite(7, 100, 100)), "it has expired before it was handed out");
        assert!(map.change(&invite(7, 10, 100)) && !map.change(&invite(7, 20, 200)), "a token is handed out once");
        assert!(map.shows(&invite(7, 10, 100)) && !map.shows(&invite(8, 10, 100)));
        assert!(!map.change(&join(8, 10, 5, 9)), "another token");
        assert!(!map.change(&join(7, 10, 0, 9)), "no directory");
        assert!(!map.change(&join(7, 100, 5, 9)), "the token has expired");
        assert!(!map.change(&join(7, 10, 5, 3)), "node 3 listens there");
        let change = join(7, 99, 5, 9);
        assert_eq!(MapChange::from_bytes(&change.to_bytes()), Ok(change.clone()));
        assert!(map.change(&change) && !map.change(&change), "a token is for one use");
        assert!(map.shows(&invite(7, 10, 100)), "it need not be asked for again");
        let joined = Node { id: NodeId(4), ..newcomer(9) };
        assert_eq!((map.nodes.len(), map.node(NodeId(4)), map.next_node), (4, Some(&joined), NodeId(5)));
        let admitted = AdmittedNode { id: NodeId(4), incarnation: 5, awaited: None, joined_with: Some([7; 16]) };
        assert_eq!(map.admitted(NodeId(4)), Some(&admitted));
        assert_eq!(map.groups, first.groups, "it holds nothing yet");
        assert!(map.is_same_cluster(&first) && map.validate().is_ok());
        assert_eq!(ClusterMap::from_bytes(&map.to_bytes()), Ok(map));
    }

    #[test]
    fn tokens_that_have_expired_make_room_for_others() {
        let mut map = map(3);
        for token in 0..INVITATIONS_COUNT_MAX as u8 {
            assert!(map.change(&invite(token, 10, 100)));
        }
        assert!(!map.change(&invite(200, 99, 1_000)), "there are as many as may be");
        assert!(map.change(&invite(200, 100, 1_000)));
        assert_eq!(map.invitations.iter().map(|it| it.token[0]).collect::<Vec<_>>(), [200]);
    }

    #[test]
    fn a_node_is_removed_once_no_group_has_a_member_there_and_its_id_is_never_used_again() {
        let mut map = map(3);
        assert!(map.change(&invite(7, 10, 100)) && map.change(&join(7, 10, 5, 9)));
        let (node, remove) = (NodeId(4), |node| MapChange::Remove(Remove { node }));
        assert!(!map.change(&remove(NodeId(3))), "replicas are wanted there");
        assert!(!map.change(&remove(NodeId(9))), "there is no such node");
        let groups: Vec<_> = map.groups.iter().map(|group| LeavingGroup(group.id)).collect();
        let vacate = |groups: &[LeavingGroup]| MapChange::Vacate(Vacate { node, groups: groups.to_vec() });
        assert!(!map.change(&vacate(&groups)), "it does not leave");
        assert!(!map.shows(&remove(node)));
        assert!(map.change(&remove(node)) && !map.change(&remove(node)) && map.shows(&remove(node)));
        let (group, old) = (map.groups[1].id, map.groups[1].replicas[0]);
        let place = CoreAddr { node, core: CoreId(0) };
        let back = MapChange::Replace(Replace { group, replica: old.id, place });
        assert!(!map.change(&back), "nothing comes to a node that leaves");
        assert!(map.change(&vacate(&groups[1..])) && !map.change(&vacate(&groups[1..])));
        assert_eq!(map.leaving(node).map(|leaving| &leaving.groups[..]), Some(&groups[..1]));
        assert!(map.node(node).is_some());
        assert!(map.change(&vacate(&groups)));
        assert!(map.node(node).is_none() && map.is_removed(node) && !map.is_removed(NodeId(5)));
        assert!(map.leaving.is_empty() && map.admitted.is_empty() && map.shows(&remove(node)));
        assert_eq!(ClusterMap::from_bytes(&map.to_bytes()), Ok(map.clone()));
        // The same addresses, and the same token.
        assert!(map.change(&invite(7, 10, 100)) && map.change(&join(7, 10, 6, 9)));
        assert_eq!(map.nodes.last().map(|node| node.id), Some(NodeId(5)));
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
