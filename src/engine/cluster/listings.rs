//! CORACLE NODES and CORACLE GROUPS: the map beside what this core sees of it.

use meta::{ClusterMap, Group};
use resp::Reply;
use types::NodeId;

use crate::topology_view::{LeaderTable, LinkTable};

/// Each node: `id`, `host`, `state` (`here`, `up`, `down`, `awaited` if it may come back without data, or `leaving` if it is being removed), `cores`,
/// `rack` (empty if it has none), `leads` and `copies` (groups, group 0 included).
pub(super) fn nodes(
    map: &ClusterMap,
    here: NodeId,
    leaders: &impl LeaderTable,
    links: &impl LinkTable,
    reply: &mut Reply<'_>,
) {
    reply.array(map.nodes.len());
    for node in &map.nodes {
        let is_up = node.places().all(|place| links.is_connected(place));
        let is_awaited = map.admitted(node.id).is_some_and(|admitted| admitted.awaited.is_some());
        let state = match () {
            () if map.leaving(node.id).is_some() => "leaving",
            () if node.id == here => "here",
            () if is_up => "up",
            () if is_awaited => "awaited",
            () => "down",
        };
        let leads =
            |group: &&Group| leaders.leader_of(group.id).is_some_and(|it| it.is_known && it.addr.node == node.id);
        let replicas = map.groups.iter().flat_map(|group| &group.replicas);
        let copies = replicas.filter(|replica| replica.place.node == node.id).count();
        reply.map(7);
        field(reply, "id", i64::from(node.id.0));
        text(reply, "host", &node.host.to_string());
        text(reply, "state", state);
        field(reply, "cores", i64::from(node.cores));
        text(reply, "rack", node.rack.as_deref().unwrap_or_default());
        field(reply, "leads", map.groups.iter().filter(leads).count() as i64);
        field(reply, "copies", copies as i64);
    }
}

/// Each group: `id`, `slots` (as ranges), `leader` (a core, empty if none is known) and `replicas`: the id of each, and the core on which it
/// is to live.
pub(super) fn groups(map: &ClusterMap, leaders: &impl LeaderTable, reply: &mut Reply<'_>) {
    reply.array(map.groups.len());
    for group in &map.groups {
        let leader = leaders.leader_of(group.id).filter(|leader| leader.is_known);
        let slots: Vec<_> = group.slots.iter().map(|range| format!("{}-{}", range.first, range.last)).collect();
        reply.map(4);
        field(reply, "id", i64::from(group.id.0));
        text(reply, "slots", &slots.join(","));
        text(reply, "leader", &leader.map(|leader| leader.addr.to_string()).unwrap_or_default());
        reply.bulk(b"replicas");
        reply.array(group.replicas.len());
        for replica in &group.replicas {
            reply.bulk(format!("{}@{}", replica.id, replica.place).as_bytes());
        }
    }
}

fn field(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

fn text(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}
