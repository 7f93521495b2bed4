//! Cluster maps, as group 0 and snapshots hold them: any bytes give an error or a map that keeps every rule, and a map
//! that is written again reads the same.

use std::net::{IpAddr, Ipv4Addr};

use meta::{Bootstrap, ClusterId, ClusterMap, Node, Settings, SlotTable};
use types::{NodeId, SLOTS_COUNT, Slot};

use crate::input::{Input, place};

/// The first byte: 0 for raw bytes, else a map with some words changed: how many nodes and groups, then position and bits
/// of each change.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    if input.byte() == 0 {
        return read(input.rest());
    }
    let map = some_map(input.byte(), input.byte());
    let mut bytes = map.to_bytes();
    assert_eq!(ClusterMap::from_bytes(&bytes).expect("a map of ours"), map);
    while !input.is_empty() {
        let (at, change) = (input.pair(), input.byte());
        let at = place(at, bytes.len());
        bytes[at] ^= change;
    }
    read(&bytes);
}

fn read(bytes: &[u8]) {
    let Ok(map) = ClusterMap::from_bytes(bytes) else { return };
    let again = ClusterMap::from_bytes(&map.to_bytes()).expect("a map that keeps the rules");
    assert_eq!(again, map, "a map written again reads the same");
    assert_eq!(again.fingerprint(), map.fingerprint());
    let table = SlotTable::new(&map).expect("a map that keeps the rules");
    for number in [0, SLOTS_COUNT as u16 / 2, SLOTS_COUNT as u16 - 1] {
        let slot = Slot::new(number).expect("there is such a slot");
        let group = map.group(table.group_of(slot)).expect("a slot belongs to a group of the map");
        assert!(group.slots.iter().any(|range| (range.first..=range.last).contains(&number)));
        assert!(group.replicas.iter().all(|replica| map.node(replica.place.node).is_some()));
    }
}

fn some_map(nodes: u8, groups: u8) -> ClusterMap {
    let node = |number: u8| Node {
        id: NodeId(u32::from(number)),
        host: IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)),
        gateway_port: 6_379,
        core_port: 7_000,
        peer_port: 8_000,
        admin_port: 9_000,
        cores: 1 + u16::from(number % 3),
        rack: (number.is_multiple_of(2)).then(|| format!("rack-{number}-with-a-name")),
    };
    let bootstrap = Bootstrap {
        cluster_id: ClusterId(7),
        nodes: (1..=1 + nodes % 5).map(node).collect(),
        groups_count: 1 + usize::from(groups % 8),
        settings: Settings::default(),
    };
    ClusterMap::bootstrap(&bootstrap).expect("a sound configuration")
}
