//! The cluster as clients see it: every core a master of the slots whose groups it leads.
//!
//! These replies are long and asked for by every client that connects or is redirected, so each is made once
//! per change of a leader.

use std::fmt::Write as _;

use resp::{Args, Command, CommandId, Protocol, Reply};
use types::CoreAddr;

use crate::core::{Core, CoreHost};
use crate::routes::Routes;

/// Replies made earlier, valid as long as no leader changes.
#[derive(Default)]
pub(crate) struct TopologyCache {
    routes_version: Option<u64>,
    replies: Vec<(CommandId, Protocol, Vec<u8>)>,
    command_table: Vec<(Protocol, Vec<u8>)>,
}

impl TopologyCache {
    /// Writes the reply of COMMAND, which never changes.
    pub(crate) fn write_command_table(&mut self, protocol: Protocol, out: &mut Vec<u8>) {
        let known = self.command_table.iter().position(|(made_for, _)| *made_for == protocol);
        let idx = known.unwrap_or_else(|| {
            let mut bytes = Vec::new();
            resp::command_info::all(&mut Reply::new(&mut bytes, protocol));
            self.command_table.push((protocol, bytes));
            self.command_table.len() - 1
        });
        out.extend_from_slice(&self.command_table[idx].1);
    }

    /// A cached reply, if it still holds.
    fn get(&mut self, id: CommandId, protocol: Protocol, routes: &Routes) -> Option<&[u8]> {
        if self.routes_version != Some(routes.version()) {
            self.replies.clear();
            self.routes_version = Some(routes.version());
        }
        let entry = self.replies.iter().find(|(known, made_for, _)| (*known, *made_for) == (id, protocol))?;
        Some(&entry.2)
    }
}

/// The slots that one core leads, as ascending ranges, both ends included.
struct Led {
    place: CoreAddr,
    ranges: Vec<(u16, u16)>,
}

impl<H: CoreHost> Core<H> {
    /// CLUSTER and what it contains.
    pub(crate) fn about_cluster(&mut self, command: &'static Command, args: Args<'_>, reply: &mut Reply<'_>) {
        let id = command.id;
        match id {
            CommandId::ClusterSlots | CommandId::ClusterShards => self.cached(id, reply),
            CommandId::ClusterNodes => reply.verbatim(&self.cluster_nodes()),
            CommandId::ClusterInfo => reply.verbatim(&self.cluster_info()),
            CommandId::ClusterMyId | CommandId::ClusterMyShardId => {
                reply.bulk(self.config.map.id40(self.place()).as_bytes());
            }
            CommandId::ClusterReplicas => self.cluster_replicas(args, reply),
            CommandId::ClusterLinks => self.cluster_links(reply),
            _ => panic!("the command table serves '{}', and nothing here answers it", command.full_name),
        }
    }

    fn cached(&mut self, id: CommandId, reply: &mut Reply<'_>) {
        let protocol = reply.protocol();
        if let Some(bytes) = self.topology.get(id, protocol, &self.routes) {
            return reply.raw(bytes);
        }
        let mut bytes = Vec::new();
        let mut made = Reply::new(&mut bytes, protocol);
        match id {
            CommandId::ClusterSlots => self.cluster_slots(&mut made),
            _ => self.cluster_shards(&mut made),
        }
        reply.raw(&bytes);
        self.topology.replies.push((id, protocol, bytes));
    }

    /// Every core of the cluster with what it leads. A group whose leader is not known right now is shown
    /// where it was last led: clients need all slots covered, and are corrected by MOVED.
    fn led(&self) -> Vec<Led> {
        let mut led: Vec<Led> = self
            .config
            .map
            .nodes
            .iter()
            .flat_map(|node| node.places())
            .map(|place| Led { place, ranges: Vec::new() })
            .collect();
        for group in &self.config.map.groups {
            let Some(route) = self.routes.of_group(group.id) else { continue };
            let leader = self.routes.get(route).leader;
            if let Some(core) = led.iter_mut().find(|core| core.place == leader) {
                core.ranges.extend(group.slots.iter().map(|range| (range.first, range.last)));
            }
        }
        for core in &mut led {
            core.ranges.sort_unstable();
            core.ranges.dedup_by(|next, last| {
                let joins = last.1.checked_add(1) == Some(next.0);
                if joins {
                    last.1 = next.1;
                }
                joins
            });
        }
        led
    }

    fn cluster_slots(&self, reply: &mut Reply<'_>) {
        let led = self.led();
        reply.array(led.iter().map(|core| core.ranges.len()).sum());
        for core in &led {
            let addr = self.core_addr(core.place);
            for (first, last) in &core.ranges {
                reply.array(3);
                reply.integer(i64::from(*first));
                reply.integer(i64::from(*last));
                reply.array(4);
                reply.bulk(addr.ip().to_string().as_bytes());
                reply.integer(i64::from(addr.port()));
                reply.bulk(self.config.map.id40(core.place).as_bytes());
                // Metadata: none. RESP2 wants an empty array, which is how an empty map is written there.
                reply.map(0);
            }
        }
    }

    fn cluster_shards(&self, reply: &mut Reply<'_>) {
        let led = self.led();
        reply.array(led.len());
        for core in &led {
            let addr = self.core_addr(core.place);
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
            reply.bulk(self.config.map.id40(core.place).as_bytes());
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
    fn cluster_nodes(&self) -> String {
        let mut text = String::new();
        for core in self.led() {
            let addr = self.core_addr(core.place);
            let bus_port =
                self.config.map.node(core.place.node).map_or(0, |node| node.peer_addr(core.place.core).port());
            let is_me = core.place == self.place();
            let flags = if is_me { "myself,master" } else { "master" };
            let is_up = is_me || self.out.links.to(core.place).is_some_and(|link| self.out.links.get(link).is_up());
            let state = if is_up { "connected" } else { "disconnected" };
            let id = self.config.map.id40(core.place);
            let epoch = self.config.map.epoch;
            let _ = write!(text, "{} {addr}@{bus_port} {flags} - 0 0 {epoch} {state}", id.as_str());
            for (first, last) in &core.ranges {
                let _ = if first == last { write!(text, " {first}") } else { write!(text, " {first}-{last}") };
            }
            text.push('\n');
        }
        text
    }

    fn cluster_info(&self) -> String {
        let leaderless: usize = self
            .config
            .map
            .groups
            .iter()
            .filter(|group| self.routes.of_group(group.id).is_some_and(|route| !self.routes.get(route).is_known))
            .flat_map(|group| &group.slots)
            .map(|range| range.count())
            .sum();
        let led = self.led();
        let known = led.len();
        let size = led.iter().filter(|core| !core.ranges.is_empty()).count();
        let state = if leaderless == 0 { "ok" } else { "fail" };
        let ok = types::SLOTS_COUNT - leaderless;
        let epoch = self.config.map.epoch;
        format!(
            "cluster_state:{state}\r\ncluster_slots_assigned:{}\r\ncluster_slots_ok:{ok}\r\ncluster_slots_pfail:{leaderless}\r\n\
             cluster_slots_fail:0\r\ncluster_known_nodes:{known}\r\ncluster_size:{size}\r\ncluster_current_epoch:{epoch}\r\n\
             cluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:{}\r\ncluster_stats_messages_received:{}\r\n",
            types::SLOTS_COUNT,
            self.out.links.frames_sent,
            self.stats.frames_received,
        )
    }

    /// Replicas are not part of the topology: a core both leads and follows, and clients assume one role per
    /// address.
    fn cluster_replicas(&self, args: Args<'_>, reply: &mut Reply<'_>) {
        let wanted = args.get(2).unwrap_or_default();
        if self.config.map.places().any(|place| self.config.map.id40(place).as_bytes() == wanted) {
            reply.array(0);
        } else {
            let shown: String = wanted.escape_ascii().take(64).map(char::from).collect();
            reply.error(&format!("ERR Unknown node {shown}"));
        }
    }

    fn cluster_links(&self, reply: &mut Reply<'_>) {
        let up: Vec<CoreAddr> = (0..self.out.links.count())
            .map(|idx| self.out.links.get(idx))
            .filter(|link| link.is_up() && link.place.node != self.place().node)
            .map(|link| link.place)
            .collect();
        reply.array(up.len());
        for place in up {
            reply.map(6);
            reply.bulk(b"direction");
            reply.bulk(b"to");
            reply.bulk(b"node");
            reply.bulk(self.config.map.id40(place).as_bytes());
            reply.bulk(b"create-time");
            reply.integer(0);
            reply.bulk(b"events");
            reply.bulk(b"rw");
            reply.bulk(b"send-buffer-allocated");
            reply.integer(0);
            reply.bulk(b"send-buffer-used");
            reply.integer(0);
        }
    }
}
