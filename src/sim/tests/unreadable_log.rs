//! Writes to the log that disks acknowledged and lost: the entries are known to everybody, but the log cannot be read back
//! for a replica that was away. It is handed a checkpoint instead.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::disk::WriteFault;
use sim::history::History;
use sim::observation::What;
use sim::spec::Shape;
use types::{GroupId, Index, Instant, NodeId};

const SECOND: u64 = 1_000_000_000;

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
        match seen.what {
            What::Applied { index, .. } | What::Restored { last: (index, _) } => {
                applied.insert(seen.group, index);
            }
            _ => {}
        }
    }
    applied
}

/// Found by a campaign (seeds 2001528 and 2001727): the replica stayed behind for good.
#[test]
fn a_replica_that_needs_unreadable_log_is_handed_a_checkpoint() {
    let mut shape = Shape::of_seed(1);
    (shape.nodes, shape.cores, shape.groups) = (3, 1, 2);
    (shape.cache_bytes_max, shape.group_log_bytes_max, shape.log_bytes_max) = (4 << 10, 64 << 20, 1 << 30);
    shape.victims = Vec::new();
    let cluster = Cluster::new(7, &shape, None, std::env::var_os("TOLD").is_some());
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
    // Writes go on, so it is always some entries behind.
    let (first, last) = (applied(&cluster, NodeId(1)), applied(&cluster, NodeId(3)));
    let counts = cluster.counted();
    assert!(counts["raft.log_reads_failed"] > 0 && counts["raft.snapshots_restored"] > 0, "{counts:?}");
    for (group, index) in first {
        assert!(last[&group] + 50 >= index, "group {group}: the replica has come to {} of {index}", last[&group]);
    }
}
