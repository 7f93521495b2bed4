//! A leader's machine loses its power: nobody is told, connections stay as they are. Whoever was served through another node
//! goes on as soon as another leader is known.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use sim::history::History;
use types::{GroupId, Instant};

const MILLISECOND: u64 = 1_000_000;
const CLIENTS_COUNT: usize = 8;

/// Clients of one node that write, each the next command as soon as it hears of the one before.
struct Writers {
    addr: SocketAddr,
    conns: Vec<Option<ClientConn>>,
    /// When a write was answered well.
    done: Rc<RefCell<Vec<Instant>>>,
    history: History,
}

impl Writers {
    fn write(&self, net: &ClientNet, conn: ClientConn) {
        let idx = self.conns.iter().position(|known| *known == Some(conn)).unwrap();
        net.send(conn, format!("SET key{idx} value\r\n").as_bytes());
    }
}

impl Workload for Writers {
    fn start(&mut self, net: &ClientNet) {
        for idx in 0..self.conns.len() {
            net.timer(Instant::from_nanos((2_000 + idx as u64) * MILLISECOND), idx as u64);
        }
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Timer(idx) => self.conns[idx as usize] = Some(net.connect(self.addr)),
            ClientEvent::Connected(conn) => self.write(net, conn),
            ClientEvent::Received(conn, bytes) => {
                if bytes.starts_with(b"+OK") {
                    self.done.borrow_mut().push(net.now());
                }
                self.write(net, conn);
            }
            ClientEvent::Closed(_) => panic!("nobody closes a client's connection"),
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

/// How long writes still take to go on once there is another leader.
fn wait_behind_election(seed: u64) -> Duration {
    let mut cluster_spec = ClusterSpec::of_seed(seed);
    (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 1);
    cluster_spec.faulty_nodes = Vec::new();
    let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    (0..3).for_each(|node| cluster.boot(node));
    let done = Rc::new(RefCell::new(Vec::new()));
    let mut writers = Writers {
        addr: cluster.map.nodes[0].gateway_addr(),
        conns: vec![None; CLIENTS_COUNT],
        done: done.clone(),
        history: History::new(),
    };
    cluster.start(&mut writers);
    cluster.run_with(1_500 * MILLISECOND, &mut writers);
    let (leader, _) = cluster.elected(GroupId(1)).unwrap();
    writers.addr = cluster.map.nodes[(leader + 1) % 3].gateway_addr();
    cluster.run_with(3_000 * MILLISECOND, &mut writers);
    assert_eq!(cluster.elected(GroupId(1)).unwrap().0, leader, "seed {seed}: nothing has happened to it yet");
    cluster.kill(leader, Death::Machine);
    cluster.run_with(6_000 * MILLISECOND, &mut writers);
    let (next, since) = cluster.elected(GroupId(1)).unwrap();
    assert_ne!(next, leader, "seed {seed}: it is dead");
    let first = done.borrow().iter().copied().find(|at| *at > since);
    first.unwrap().since(since)
}

/// They once waited for what the former leader might still answer, 250 ms more.
#[test]
fn writes_go_on_as_soon_as_another_leader_is_known() {
    for seed in 0..12 {
        let waited = wait_behind_election(seed);
        assert!(waited < Duration::from_millis(150), "seed {seed}: {waited:?} behind the election");
    }
}
