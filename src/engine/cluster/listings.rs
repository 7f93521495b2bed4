//! CORACLE NODES and CORACLE GROUPS: the map beside what this core sees of it.

use meta::{ClusterMap, Node};
use resp::Reply;
use types::Instant;

use crate::context::Context;
use crate::observe::{CoreReport, LedGroup};
use crate::topology_view::{LeaderTable, LinkTable};

/// How a node stands, as this core sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NodeState {
    /// It is the one that answers.
    Here,
    /// Each of its cores is connected, and was heard of late.
    Up,
    /// It is not, and may come back without data.
    Awaited,
    /// It is not.
    Down,
    /// It is being removed.
    Leaving,
}

impl NodeState {
    fn name(self) -> &'static str {
        match self {
            NodeState::Here => "here",
            NodeState::Up => "up",
            NodeState::Awaited => "awaited",
            NodeState::Down => "down",
            NodeState::Leaving => "leaving",
        }
    }
}

/// How a node of the map stands.
pub(super) fn node_state(ctx: &Context, map: &ClusterMap, node: &Node, links: &impl LinkTable) -> NodeState {
    let silent_since = ctx.now - ctx.config.silence_max();
    let is_heard = |place| links.heard_at(place).is_some_and(|at| at > silent_since);
    let is_up = node.places().all(|place| links.is_connected(place) && is_heard(place));
    let is_awaited = map.admitted(node.id).is_some_and(|admitted| admitted.awaited.is_some());
    match () {
        () if map.leaving(node.id).is_some() => NodeState::Leaving,
        () if node.id == ctx.addr().node => NodeState::Here,
        () if is_up => NodeState::Up,
        () if is_awaited => NodeState::Awaited,
        () => NodeState::Down,
    }
}

/// Each node: `id`, `host`, `state` (`here`, `up`, `down`, `awaited` if it may come back without data, or `leaving` if it is being removed), `cores`, `rack` (empty if it
/// has none), `leads` and `copies` (groups, group 0 included), `gateway` (an address), `incarnation` (of its data directory; empty if it was not
/// heard since this core began), `heard_ms` (how long ago any of its cores was last heard; -1 if none was), `duty` (`serves`, `drains` or `leaves`, as people have
/// asked of it), `health` (`up`, `suspect` or `down`, as whoever leads group 0 finds it; `unknown` if that has not said of late).
pub(super) fn nodes(
    ctx: &Context,
    map: &ClusterMap,
    leaders: &impl LeaderTable,
    links: &impl LinkTable,
    health: impl Fn(types::NodeId) -> &'static str,
    reply: &mut Reply<'_>,
) {
    reply.array(map.nodes.len());
    for node in &map.nodes {
        let state = node_state(ctx, map, node, links);
        let leads = |group: &&meta::Group| {
            leaders.leader_of(group.id).is_some_and(|it| it.is_known && it.addr.node == node.id)
        };
        let replicas = map.groups.iter().flat_map(|group| &group.replicas);
        let copies = replicas.filter(|replica| replica.place.node == node.id).count();
        let (incarnation, heard_at) = match node.id == ctx.addr().node {
            true => (Some(ctx.config.incarnation), Some(ctx.now)),
            false => (links.incarnation(node.id), node.places().filter_map(|place| links.heard_at(place)).max()),
        };
        reply.map(12);
        field(reply, "id", i64::from(node.id.0));
        text(reply, "host", &node.host.to_string());
        text(reply, "state", state.name());
        field(reply, "cores", i64::from(node.cores));
        text(reply, "rack", node.rack.as_deref().unwrap_or_default());
        field(reply, "leads", map.groups.iter().filter(leads).count() as i64);
        field(reply, "copies", copies as i64);
        text(reply, "gateway", &node.gateway_addr().to_string());
        text(reply, "incarnation", &incarnation.map(|it| format!("{it:016x}")).unwrap_or_default());
        field(reply, "heard_ms", heard_at.map_or(-1, |at: Instant| ctx.now.since(at).as_millis() as i64));
        text(reply, "duty", map.duty(node.id).name());
        text(reply, "health", health(node.id));
    }
}

/// Each group: `id`, `slots` (as ranges), `leader` (a core, empty if none is known) and `replicas`: the id of each, and the core on which it
/// is to live. If the node that answers leads it, also `is_led_here` (1, else 0 and nothing behind it): `progress` of its members, of each `id`,
/// `place`, `role`, `is_live` and `lag` (entries that it lacks); `lacks`, in words: what keeps it from its full strength; `keys` and `table_bytes`.
pub(super) fn groups(map: &ClusterMap, report: &CoreReport, leaders: &impl LeaderTable, reply: &mut Reply<'_>) {
    reply.array(map.groups.len());
    for group in &map.groups {
        let leader = leaders.leader_of(group.id).filter(|leader| leader.is_known);
        let slots: Vec<_> = group.slots.iter().map(|range| format!("{}-{}", range.first, range.last)).collect();
        let led = report.led.iter().find(|led| led.group == group.id);
        reply.map(9);
        field(reply, "id", i64::from(group.id.0));
        text(reply, "slots", &slots.join(","));
        text(reply, "leader", &leader.map(|leader| leader.addr.to_string()).unwrap_or_default());
        reply.bulk(b"replicas");
        reply.array(group.replicas.len());
        for replica in &group.replicas {
            reply.bulk(format!("{}@{}", replica.id, replica.place).as_bytes());
        }
        field(reply, "is_led_here", i64::from(led.is_some()));
        progress(led, reply);
        let lacks = led.map(|led| led.lacks(&group.replicas)).unwrap_or_default();
        reply.bulk(b"lacks");
        reply.array(lacks.len());
        lacks.iter().for_each(|lack| reply.bulk(lack.to_string().as_bytes()));
        field(reply, "keys", led.map_or(0, |led| led.keys_count as i64));
        field(reply, "table_bytes", led.map_or(0, |led| led.table_bytes as i64));
    }
}

fn progress(led: Option<&LedGroup>, reply: &mut Reply<'_>) {
    let members = led.map(|led| led.members.as_slice()).unwrap_or_default();
    reply.bulk(b"progress");
    reply.array(members.len());
    for member in members {
        reply.map(5);
        field(reply, "id", member.id.0 as i64);
        text(reply, "place", &member.place.to_string());
        text(reply, "role", member.role.name());
        field(reply, "is_live", i64::from(member.is_live));
        field(reply, "lag", member.lag as i64);
    }
}

pub(super) fn field(reply: &mut Reply<'_>, name: &str, value: i64) {
    reply.bulk(name.as_bytes());
    reply.integer(value);
}

pub(super) fn text(reply: &mut Reply<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}
