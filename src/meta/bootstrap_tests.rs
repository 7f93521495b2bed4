//! Tests of the first map: coverage, balance, determinism, and the rules of validity.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;
use types::{NodeId, Slot};

use super::*;
use crate::slots::SlotTable;

fn node(id: u32, cores: u16, rack: Option<&str>) -> Node {
    Node {
        id: NodeId(id),
        host: IpAddr::V4(Ipv4Addr::from(0x7F00_0000 + id)),
        gateway_port: 7_000,
        core_port: 7_001,
        peer_port: 8_000,
        admin_port: 9_000,
        cores,
        rack: rack.map(str::to_owned),
    }
}

fn bootstrap(nodes: Vec<Node>, groups_count: usize, replication_factor: u8) -> Bootstrap {
    let settings = Settings { replication_factor, ..Settings::default() };
    Bootstrap { cluster_id: ClusterId(1), nodes, groups_count, settings }
}

fn map(nodes: Vec<Node>, groups_count: usize, replication_factor: u8) -> ClusterMap {
    ClusterMap::bootstrap(&bootstrap(nodes, groups_count, replication_factor)).expect("a sound bootstrap")
}

/// The least and the greatest count over all keys of `all`.
fn spread<K: Ord>(all: impl IntoIterator<Item = K>, counted: impl IntoIterator<Item = K>) -> (usize, usize) {
    let mut counts: BTreeMap<K, usize> = all.into_iter().map(|key| (key, 0)).collect();
    for key in counted {
        *counts.get_mut(&key).expect("counted only what there is") += 1;
    }
    let least = counts.values().min().copied().unwrap_or(0);
    (least, counts.values().max().copied().unwrap_or(0))
}

fn leaders(map: &ClusterMap) -> impl Iterator<Item = CoreAddr> {
    map.groups[1..].iter().map(|group| group.preferred_leader().expect("no group is empty").place)
}

fn replicas(map: &ClusterMap) -> impl Iterator<Item = CoreAddr> {
    map.groups[1..].iter().flat_map(|group| group.replicas.iter().map(|replica| replica.place))
}

proptest! {
    #[test]
    fn slots_are_covered_once_by_equal_contiguous_shares(groups in 1usize..3_000) {
        let map = map(vec![node(1, 1, None)], groups, 1);
        let table = SlotTable::new(&map).expect("validated");
        for group in &map.groups[1..] {
            prop_assert_eq!(group.slots.len(), 1);
            let range = group.slots[0];
            let even = SLOTS_COUNT / groups;
            prop_assert!((even..=even + 1).contains(&range.count()));
            for number in range.first..=range.last {
                prop_assert_eq!(table.group_of(Slot::new(number).expect("in range")), group.id);
            }
        }
    }

    #[test]
    fn equal_nodes_share_leaders_and_replicas_evenly(
        nodes in 1u32..12, cores in 1u16..9, groups in 1usize..200, factor in 1u8..6,
    ) {
        let map = map((1..=nodes).map(|id| node(id, cores, None)).collect(), groups, factor);
        let (least, most) = spread(map.places(), leaders(&map));
        prop_assert!(most - least <= 1, "leaders per core: {least} to {most}");
        let (least, most) = spread(map.places(), replicas(&map));
        prop_assert!(most - least <= 2, "replicas per core: {least} to {most}");
        let ids = || map.nodes.iter().map(|node| node.id);
        let (least, most) = spread(ids(), replicas(&map).map(|place| place.node));
        prop_assert!(most - least <= 2, "replicas per node: {least} to {most}");
        let expected = usize::from(factor).min(nodes as usize);
        prop_assert!(map.groups[1..].iter().all(|group| group.replicas.len() == expected));
    }

    #[test]
    fn unequal_nodes_share_leaders_by_their_cores(cores in prop::collection::vec(1u16..17, 1..8), groups in 1usize..300) {
        let nodes = (1..).zip(&cores).map(|(id, cores)| node(id, *cores, None)).collect();
        let map = map(nodes, groups, 3);
        let (least, most) = spread(map.places(), leaders(&map));
        prop_assert!(most - least <= 1, "leaders per core: {least} to {most}");
    }

    #[test]
    fn replicas_spread_over_racks(racks in 1usize..6, nodes in 1u32..16, groups in 1usize..60, factor in 1u8..6) {
        let name = |id: u32| format!("rack-{}", id as usize % racks);
        let map = map((1..=nodes).map(|id| node(id, 2, Some(&name(id)))).collect(), groups, factor);
        let used = racks.min(nodes as usize);
        for group in &map.groups {
            let seen: BTreeSet<_> = group.replicas.iter().map(|replica| name(replica.place.node.0)).collect();
            prop_assert_eq!(seen.len(), used.min(group.replicas.len()), "{:?}", group);
        }
    }

    #[test]
    fn any_order_of_nodes_gives_the_same_map_and_it_survives_its_bytes(
        mut nodes in Just((1..9).map(|id| node(id, id as u16, None)).collect::<Vec<_>>()).prop_shuffle(),
        groups in 1usize..40,
    ) {
        let shuffled = map(nodes.clone(), groups, 3);
        nodes.sort_by_key(|node| node.id);
        let sorted = map(nodes, groups, 3);
        prop_assert_eq!(&shuffled, &sorted);
        prop_assert_eq!(shuffled.fingerprint(), sorted.fingerprint());
        prop_assert_eq!(&ClusterMap::from_bytes(&sorted.to_bytes()).expect("just written"), &sorted);
        let json = serde_json::to_string(&sorted).expect("a map is plain data");
        prop_assert_eq!(serde_json::from_str::<ClusterMap>(&json).expect("just written"), sorted);
    }

    #[test]
    fn broken_bytes_are_an_error(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
                                 cut in any::<prop::sample::Index>()) {
        let mut bytes = map((1..4).map(|id| node(id, 2, Some("r"))).collect(), 4, 3).to_bytes();
        for (at, mask) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= mask;
        }
        // Whatever comes out is valid; what matters is that nothing panics.
        let _ = ClusterMap::from_bytes(&bytes);
        prop_assert!(ClusterMap::from_bytes(&bytes[..cut.index(8)]).is_err());
    }
}

#[test]
fn group_zero_lives_on_core_0_of_up_to_five_nodes() {
    for (nodes, expected) in [(1, 1), (3, 3), (5, 5), (9, 5)] {
        let map = map((1..=nodes).map(|id| node(id, 4, None)).collect(), 8, 3);
        let zero = map.group(GroupId(0)).expect("always there");
        assert_eq!(zero.replicas.len(), expected);
        assert!(zero.slots.is_empty());
        assert!(zero.replicas.iter().all(|replica| replica.place.core == CoreId(0)));
    }
}

#[test]
fn three_nodes_eight_groups_by_hand() {
    let map = map((1..=3).map(|id| node(id, 1, None)).collect(), 8, 3);
    let led: Vec<_> = leaders(&map).map(|place| place.node.0).collect();
    assert_eq!(led, [1, 2, 3, 1, 2, 3, 1, 2]);
    assert_eq!(map.groups[1].slots, [SlotRange { first: 0, last: 2_047 }]);
    assert_eq!(map.groups[8].slots, [SlotRange { first: 14_336, last: 16_383 }]);
    assert_eq!(map.next_replica, ReplicaId(3 + 8 * 3 + 1));
    let here = CoreAddr { node: NodeId(2), core: CoreId(0) };
    assert_eq!(map.replicas_at(here).count(), 9, "all groups and group 0");
}

#[test]
fn a_large_cluster_is_placed_quickly_enough_to_start() {
    let map = map((1..=200).map(|id| node(id, 64, None)).collect(), GROUPS_COUNT_MAX - 1, 3);
    assert_eq!(map.groups.len(), GROUPS_COUNT_MAX);
}

#[test]
fn impossible_bootstraps_are_refused() {
    let nodes = || vec![node(1, 2, None), node(2, 2, None)];
    let refused = |bootstrap: Bootstrap| ClusterMap::bootstrap(&bootstrap).expect_err("impossible");
    assert_eq!(refused(bootstrap(vec![], 8, 3)), Error::NodesCount(0));
    assert_eq!(refused(bootstrap(nodes(), 0, 3)), Error::GroupsCount(0));
    assert_eq!(refused(bootstrap(nodes(), GROUPS_COUNT_MAX, 3)), Error::GroupsCount(GROUPS_COUNT_MAX));
    assert_eq!(refused(bootstrap(nodes(), 8, 0)), Error::ReplicationFactor(0));
    assert_eq!(refused(bootstrap(vec![node(1, 2, None); 2], 8, 3)), Error::RepeatedNode(NodeId(1)));
    assert_eq!(refused(bootstrap(vec![node(0, 2, None)], 8, 3)), Error::NodeZero);
    assert_eq!(refused(bootstrap(vec![node(1, 0, None)], 8, 3)), Error::CoresCount { node: NodeId(1), count: 0 });
    let mut late = node(1, 2, None);
    late.peer_port = 65_535;
    let error = refused(bootstrap(vec![late], 8, 3));
    assert_eq!(error.to_string(), "node 1: peer_port 65535 and 2 ports from there leave the range 1 to 65535");
    let mut clash = nodes();
    clash[1].host = clash[0].host;
    clash[1].gateway_port = 7_002;
    clash[1].core_port = 7_101;
    let error = refused(bootstrap(clash, 8, 3)).to_string();
    assert_eq!(error, "127.0.0.1:7002 is used twice: as core_port of node 1 and as gateway_port of node 2");
}

#[test]
fn broken_maps_are_refused() {
    let sound = map((1..=3).map(|id| node(id, 2, None)).collect(), 4, 3);
    assert_eq!(sound.validate(), Ok(()));
    let broken = |change: &dyn Fn(&mut ClusterMap)| {
        let mut map = sound.clone();
        change(&mut map);
        map.validate().expect_err("broken")
    };
    let group = GroupId(1);
    let overlap = broken(&|map| map.groups[1].slots[0].last += 1);
    assert_eq!(overlap, Error::SlotTwice { slot: 4_096, first: group, second: GroupId(2) });
    assert_eq!(broken(&|map| map.groups[1].slots[0].last -= 1), Error::SlotUnowned(4_095));
    let backwards = broken(&|map| map.groups[1].slots[0] = SlotRange { first: 9, last: 3 });
    assert_eq!(backwards, Error::SlotRange { group, first: 9, last: 3 });
    let beyond = broken(&|map| map.groups[4].slots[0].last = 16_384);
    assert!(matches!(beyond, Error::SlotRange { last: 16_384, .. }));
    let together = broken(&|map| map.groups[1].replicas[1].place.node = NodeId(1));
    assert_eq!(together, Error::ReplicasTogether { group, node: NodeId(1) });
    let nowhere = broken(&|map| map.groups[1].replicas[0].place.core = CoreId(2));
    assert!(matches!(nowhere, Error::NoSuchPlace { .. }));
    let id = sound.groups[2].replicas[0].id;
    assert_eq!(broken(&|map| map.groups[3].replicas[0].id = id), Error::RepeatedReplica(id));
    let replica = sound.next_replica;
    let unknown = broken(&|map| map.groups[1].replicas[0].id = replica);
    assert_eq!(unknown, Error::ReplicaUnknown { group, replica });
    assert_eq!(broken(&|map| _ = map.groups.remove(0)), Error::NoGroupZero);
    assert_eq!(broken(&|map| map.groups.swap(2, 3)), Error::RepeatedGroup(GroupId(2)));
    let settings = broken(&|map| map.settings.election_timeout_max_ms = 500);
    assert!(matches!(settings, Error::Settings(_)));
}
