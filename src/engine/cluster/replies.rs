//! The replies of CLUSTER's subcommands, in Redis's formats.

use std::fmt::Write as _;
use std::net::SocketAddr;

use meta::ClusterMap;
use resp::{Args, CommandId, Protocol, Reply};
use types::{CoreAddr, SLOTS_COUNT};

use crate::cluster::topology::Topology;
use crate::observe::Counters;
use crate::topology_view::{LinkTable, LinkView};

/// Replies made earlier. They are long, and asked for by every client that connects or is redirected.
#[derive(Default)]
pub(crate) struct ReplyCache {
    replies: Vec<(CommandId, Protocol, Vec<u8>)>,
}

impl ReplyCache {
    /// Forgets them all: a leader has changed.
    pub(crate) fn clear(&mut self) {
        self.replies.clear();
    }

    /// Writes the reply of a command, made by `make` if it was not asked for since the last change.
    pub(crate) fn write(&mut self, id: CommandId, reply: &mut Reply<'_>, make: impl FnOnce(&mut Reply<'_>)) {
        let protocol = reply.protocol();
        let known = self.replies.iter().position(|(known, made_for, _)| (*known, *made_for) == (id, protocol));
        let idx = known.unwrap_or_else(|| {
            let mut bytes = Vec::new();
            make(&mut Reply::new(&mut bytes, protocol));
            self.replies.push((id, protocol, bytes));
            self.replies.len() - 1
        });
        reply.raw(&self.replies[idx].2);
    }
}

/// CLUSTER SLOTS.
pub(crate) fn slots(map: &ClusterMap, topology: &Topology, reply: &mut Reply<'_>) {
    reply.array(topology.cores().iter().map(|core| core.ranges.len()).sum());
    for core in topology.cores() {
        let addr = client_addr(map, core.addr);
        for (first, last) in &core.ranges {
            reply.array(3);
            reply.integer(i64::from(*first));
            reply.integer(i64::from(*last));
            reply.array(4);
            reply.bulk(addr.ip().to_string().as_bytes());
            reply.integer(i64::from(addr.port()));
            reply.bulk(map.id40(core.addr).as_bytes());
            // Metadata: none. RESP2 wants an empty array, which is how an empty map is written there.
            reply.map(0);
        }
    }
}

/// CLUSTER SHARDS.
pub(crate) fn shards(map: &ClusterMap, topology: &Topology, reply: &mut Reply<'_>) {
    reply.array(topology.cores().len());
    for core in topology.cores() {
        let addr = client_addr(map, core.addr);
        let ip = addr.ip().to_string();
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(2 * core.ranges.len());
        for (first, last) in &core.ranges {
            reply.integer(i64::from(*first));
            reply.integer(i64::from(*last));
        }
        reply.bulk(b"nodes");
        reply.array(1);
        reply.map(7);
        reply.bulk(b"id");
        reply.bulk(map.id40(core.addr).as_bytes());
        reply.bulk(b"port");
        reply.integer(i64::from(addr.port()));
        reply.bulk(b"ip");
        reply.bulk(ip.as_bytes());
        reply.bulk(b"endpoint");
        reply.bulk(ip.as_bytes());
        reply.bulk(b"role");
        reply.bulk(b"master");
        reply.bulk(b"replication-offset");
        reply.integer(0);
        reply.bulk(b"health");
        reply.bulk(b"online");
    }
}

/// CLUSTER NODES. On the gateway too `myself` is this core: clients look for it.
pub(crate) fn nodes(map: &ClusterMap, topology: &Topology, me: CoreAddr, links: &impl LinkTable) -> String {
    let mut text = String::new();
    for core in topology.cores() {
        let addr = client_addr(map, core.addr);
        let bus_port = map.node(core.addr.node).map_or(0, |node| node.peer_addr(core.addr.core).port());
        let is_me = core.addr == me;
        let flags = if is_me { "myself,master" } else { "master" };
        let state = if is_me || links.is_connected(core.addr) { "connected" } else { "disconnected" };
        let (id, epoch) = (map.id40(core.addr), map.epoch);
        let _ = write!(text, "{} {addr}@{bus_port} {flags} - 0 0 {epoch} {state}", id.as_str());
        for (first, last) in &core.ranges {
            let _ = if first == last { write!(text, " {first}") } else { write!(text, " {first}-{last}") };
        }
        text.push('\n');
    }
    text
}

/// CLUSTER INFO.
pub(crate) fn info(map: &ClusterMap, topology: &Topology, counters: &Counters) -> String {
    let leaderless = topology.leaderless_slots_count();
    let state = if leaderless == 0 { "ok" } else { "fail" };
    let fields = [
        ("cluster_slots_assigned", SLOTS_COUNT as u64),
        ("cluster_slots_ok", topology.led_slots_count() as u64),
        ("cluster_slots_pfail", leaderless as u64),
        ("cluster_slots_fail", 0),
        ("cluster_known_nodes", topology.cores().len() as u64),
        ("cluster_size", topology.cores().iter().filter(|core| !core.ranges.is_empty()).count() as u64),
        ("cluster_current_epoch", map.epoch),
        ("cluster_my_epoch", map.epoch),
        ("cluster_stats_messages_sent", counters.frames_sent),
        ("cluster_stats_messages_received", counters.frames_received),
    ];
    let mut text = format!("cluster_state:{state}\r\n");
    for (name, value) in fields {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    text
}

/// CLUSTER REPLICAS. Replicas are not part of the topology: a core both leads and follows, and clients assume one role
/// per address.
pub(crate) fn replicas(map: &ClusterMap, args: Args<'_>, reply: &mut Reply<'_>) {
    let wanted = args.get(2).unwrap_or_default();
    if map.places().any(|place| map.id40(place).as_bytes() == wanted) {
        reply.array(0);
    } else {
        let shown: String = wanted.escape_ascii().take(64).map(char::from).collect();
        reply.error(&format!("ERR Unknown node {shown}"));
    }
}

/// CLUSTER LINKS: the connections to and from cores of other nodes, each way one of its own.
pub(crate) fn links(map: &ClusterMap, links: &impl LinkTable, reply: &mut Reply<'_>) {
    let mut up: Vec<LinkView> = Vec::new();
    links.each_link(&mut |link| up.push(link));
    let ways = |link: &LinkView| [("to", "rw", link.to_since_ms), ("from", "r", link.from_since_ms)];
    reply.array(up.iter().flat_map(ways).filter(|(.., since_ms)| since_ms.is_some()).count());
    for link in &up {
        for (direction, events, since_ms) in ways(link) {
            let Some(since_ms) = since_ms else { continue };
            let send_bytes = if direction == "to" { link.send_bytes as i64 } else { 0 };
            reply.map(6);
            reply.bulk(b"direction");
            reply.bulk(direction.as_bytes());
            reply.bulk(b"node");
            reply.bulk(map.id40(link.addr).as_bytes());
            reply.bulk(b"create-time");
            reply.integer(since_ms as i64);
            reply.bulk(b"events");
            reply.bulk(events.as_bytes());
            reply.bulk(b"send-buffer-allocated");
            reply.integer(send_bytes);
            reply.bulk(b"send-buffer-used");
            reply.integer(send_bytes);
        }
    }
}

/// Where cluster clients reach a core of the map.
fn client_addr(map: &ClusterMap, addr: CoreAddr) -> SocketAddr {
    map.node(addr.node).expect("the topology shows cores of the map only").core_addr(addr.core)
}
