//! Far more commands wait for a leader than one entry of the log can hold, and the core where they wait becomes it. They
//! are proposed as many entries, each within its limit.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use raft::Role;
use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::{ClusterSpec, Load};
use sim::history::History;
use sim::observation::ObservationKind;
use types::{Instant, NodeId};

const MILLISECOND: u64 = 1_000_000;
const CLIENTS_COUNT: u64 = 40;
const VALUE_BYTES: usize = 100_000;
/// When the other nodes die, when the clients come, and when the others are back, in milliseconds.
const ALONE_MS: u64 = 3_000;
const CLIENTS_MS: u64 = 5_000;
const BACK_MS: u64 = 5_100;

/// Clients that send one large SET each, all at the same time.
struct Crowd {
    addr: std::net::SocketAddr,
    replies: Rc<RefCell<BTreeMap<ClientConn, Vec<u8>>>>,
    history: History,
}

impl Workload for Crowd {
    fn start(&mut self, net: &ClientNet) {
        (0..CLIENTS_COUNT).for_each(|_| net.timer(Instant::from_nanos(CLIENTS_MS * MILLISECOND), 0));
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Timer(_) => {
                net.connect(self.addr);
            }
            ClientEvent::Connected(conn) => set(net, conn),
            ClientEvent::Received(conn, bytes) => {
                self.replies.borrow_mut().entry(conn).or_default().extend_from_slice(&bytes);
            }
            ClientEvent::Closed(_) => {}
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

fn set(net: &ClientNet, conn: ClientConn) {
    net.send(conn, format!("*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n${VALUE_BYTES}\r\n").as_bytes());
    net.send(conn, &[b'x'; VALUE_BYTES]);
    net.send(conn, b"\r\n");
}

/// Whether all commands were carried out by the node where they had waited.
fn run(seed: u64) -> bool {
    let mut cluster_spec = ClusterSpec::of_seed(seed);
    (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 1);
    (cluster_spec.segment_bytes, cluster_spec.batch_bytes_max) = (256 << 10, 16 << 10);
    cluster_spec.faulty_nodes = Vec::new();
    // The limits of production: all of these commands may wait.
    cluster_spec.load = Load::LargeValues;
    let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    let replies = Rc::new(RefCell::new(BTreeMap::new()));
    let addr = cluster.map.nodes[0].gateway_addr();
    let mut crowd = Crowd { addr, replies: replies.clone(), history: History::new() };
    (0..3).for_each(|node| cluster.boot(node));
    cluster.start(&mut crowd);
    cluster.run_with(ALONE_MS * MILLISECOND, &mut crowd);
    (1..3).for_each(|node| cluster.kill(node, Death::Process));
    cluster.run_with(BACK_MS * MILLISECOND, &mut crowd);
    (1..3).for_each(|node| cluster.boot(node));
    cluster.run_with((BACK_MS + 30_000) * MILLISECOND, &mut crowd);

    let observations = cluster.observations.borrow();
    let mut leads = false;
    for seen in observations.iter() {
        match &seen.kind {
            ObservationKind::Ended { error, .. } => panic!("seed {seed}: {} ended: {error:?}", seen.place),
            ObservationKind::Role { role: Role::Leader, .. }
                if seen.at > Instant::from_nanos(BACK_MS * MILLISECOND) =>
            {
                leads |= seen.place.node == NodeId(1);
            }
            _ => {}
        }
    }
    for queue in cluster.queues() {
        assert!(queue.len <= queue.max, "seed {seed}: {queue:?}");
    }
    let replies = replies.borrow();
    let set_count = replies.values().filter(|reply| *reply == b"+OK\r\n").count();
    if leads {
        assert_eq!(set_count, CLIENTS_COUNT as usize, "seed {seed}");
    }
    leads
}

/// Found by reading: what waits was put into one batch while nothing could be proposed, and an entry that fits no
/// segment ended the node.
#[test]
fn commands_that_fit_no_single_entry_are_proposed_as_many() {
    let done = (0..24).filter(|seed| run(*seed)).count();
    assert!(done >= 3, "only {done} seeds in which the commands were carried out where they had waited");
}
