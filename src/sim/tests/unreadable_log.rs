//! Log that cannot be read back. Where the entries were for a replica that was away, it is handed a snapshot instead; where they
//! were to be applied, the node stops.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use sim::disk::WriteFault;
use sim::history::History;
use sim::observation::ObservationKind;
use types::{GroupId, Index, Instant, NodeId};

const SECOND: u64 = 1_000_000_000;
const MILLISECOND: u64 = 1_000_000;

/// Sets keys, one after the other.
struct Setter {
    addr: std::net::SocketAddr,
    conn: Option<ClientConn>,
    count: u64,
    history: History,
}

impl Workload for Setter {
    fn start(&mut self, net: &ClientNet) {
        net.timer(Instant::from_nanos(SECOND), 0);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Connected(_) | ClientEvent::Received(..) => {
                self.count += 1;
                let command = format!("SET key{} {:0100}\r\n", self.count % 100, self.count);
                net.send(self.conn.unwrap(), command.as_bytes());
            }
            ClientEvent::Closed(_) => net.timer(net.now() + std::time::Duration::from_millis(100), 0),
            ClientEvent::Timer(_) => self.conn = Some(net.connect(self.addr)),
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

/// How far each group's state on a node has come.
fn applied(cluster: &Cluster, node: NodeId) -> BTreeMap<GroupId, Index> {
    let mut applied = BTreeMap::new();
    for seen in cluster.observations.borrow().iter().filter(|seen| seen.place.node == node) {
        match seen.kind {
            ObservationKind::Applied { index, .. } | ObservationKind::Restored { last: (index, _) } => {
                applied.insert(seen.group, index);
            }
            _ => {}
        }
    }
    applied
}

/// Found by a campaign (seeds 2001528 and 2001727): the replica stayed behind for good.
#[test]
fn a_replica_that_needs_unreadable_log_is_handed_a_snapshot() {
    let mut cluster_spec = ClusterSpec::of_seed(1);
    (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 2);
    (cluster_spec.cache_bytes_max, cluster_spec.group_log_bytes_max, cluster_spec.log_bytes_max) =
        (4 << 10, 64 << 20, 1 << 30);
    cluster_spec.faulty_nodes = Vec::new();
    // A seed whose runs keep all rows in memory: lost writes of tables must not end a node.
    let cluster = Cluster::new(10, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    let addr = cluster.map.nodes[0].gateway_addr();
    let mut setter = Setter { addr, conn: None, count: 0, history: History::new() };
    (0..3).for_each(|node| cluster.boot(node));
    cluster.start(&mut setter);
    cluster.run_with(3 * SECOND, &mut setter);
    cluster.kill(2, Death::Process);
    for tenth in 31..50 {
        for node in 0..2 {
            cluster.world.borrow_mut().nodes[node].disk.write_faults.push_back(WriteFault::Lose);
        }
        cluster.run_with(tenth * SECOND / 10, &mut setter);
    }
    cluster.run_with(6 * SECOND, &mut setter);
    cluster.boot(2);
    cluster.run_with(16 * SECOND, &mut setter);
    // Writes go on, so it is always some entries behind, but not for long.
    let first = applied(&cluster, NodeId(1));
    cluster.run_with(18 * SECOND, &mut setter);
    let last = applied(&cluster, NodeId(3));
    let counts = cluster.counters();
    assert!(counts["raft.log_reads_failed"] > 0 && counts["raft.snapshots_restored"] > 0, "{counts:?}");
    for (group, index) in first {
        assert!(last[&group] >= index, "group {group}: the replica has come to {} of {index}", last[&group]);
    }
}

/// Sends many commands at once, and from then on one a second.
struct Burst {
    addr: std::net::SocketAddr,
    conn: Option<ClientConn>,
    /// When something was last answered with `OK`.
    answered_at: Option<Instant>,
    history: History,
}

impl Workload for Burst {
    fn start(&mut self, net: &ClientNet) {
        net.timer(Instant::from_nanos(2 * SECOND), 0);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        let set = |number: u64| format!("SET key{number} {number:0500}\r\n");
        match event {
            ClientEvent::Timer(0) => self.conn = Some(net.connect(self.addr)),
            ClientEvent::Timer(number) => {
                if let Some(conn) = self.conn {
                    net.send(conn, set(number).as_bytes());
                }
                net.timer(net.now() + std::time::Duration::from_secs(1), number + 1);
            }
            ClientEvent::Connected(conn) => {
                net.send(conn, (0..100).map(set).collect::<String>().as_bytes());
                if self.answered_at.is_none() {
                    net.timer(net.now() + std::time::Duration::from_secs(1), 100);
                }
            }
            ClientEvent::Received(_, bytes) => {
                if bytes.starts_with(b"+OK") {
                    self.answered_at = Some(net.now());
                }
            }
            ClientEvent::Closed(_) => {
                self.conn = None;
                net.timer(net.now() + std::time::Duration::from_millis(100), 0);
            }
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

/// Found by campaigns (seeds 11005629 and 11009122), where misdirected writes met a log between its recovery and its being
/// applied: the group stood still for good if the replica led it, and the replica did in any case.
#[test]
fn a_node_that_cannot_read_what_it_must_apply_stops_and_others_go_on() {
    let mut cluster_spec = ClusterSpec::of_seed(1);
    (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 1);
    (cluster_spec.group_log_bytes_max, cluster_spec.log_bytes_max) = (64 << 20, 1 << 30);
    cluster_spec.faulty_nodes = Vec::new();
    let cluster = Cluster::new(7, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    (0..3).for_each(|node| cluster.boot(node));
    let addr = cluster.map.nodes[1].gateway_addr();
    let mut burst = Burst { addr, conn: None, answered_at: None, history: History::new() };
    cluster.start(&mut burst);
    cluster.run_with(3 * SECOND / 2, &mut burst);
    let leader = cluster.elected(GroupId(1)).unwrap().0;
    burst.addr = cluster.map.nodes[leader].gateway_addr();
    // All have what is written now, and nobody knows that it is committed.
    cluster.run_with(2 * SECOND, &mut burst);
    for node in (0..3).filter(|node| *node != leader) {
        cluster.world.borrow_mut().net.way(node, leader).cuts = 1;
    }
    cluster.run_with(2 * SECOND + 50 * MILLISECOND, &mut burst);
    cluster.world.borrow_mut().net.for_all_ways(|way| way.cuts = 0);
    (0..3).for_each(|node| cluster.kill(node, Death::Process));
    (0..3).for_each(|node| cluster.boot(node));
    burst.addr = cluster.map.nodes[1].gateway_addr();
    // Recovery takes no longer, and elections do.
    cluster.run_with(2 * SECOND + 70 * MILLISECOND, &mut burst);
    let log = std::path::Path::new("/data/wal/core-00/000000000001.seg");
    let damaged = (0..64).filter(|page| cluster.world.borrow_mut().nodes[0].disk.rot_at(log, *page, 20_000)).count();
    assert!(damaged > 5, "{damaged} pages");
    cluster.run_with(30 * SECOND, &mut burst);
    let ended = cluster.observations.borrow().iter().find_map(|seen| match &seen.kind {
        ObservationKind::Ended { error, .. } => Some((seen.place.node, error.clone())),
        _ => None,
    });
    let (node, error) = ended.unwrap();
    assert_eq!(cluster.node_idx(node.0), Some(0));
    assert!(error.contains("cannot be read back from the log to be applied"), "{error}");
    assert!(burst.answered_at.is_some_and(|at| at > Instant::from_nanos(25 * SECOND)), "{:?}", burst.answered_at);
}
