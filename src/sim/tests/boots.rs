//! A cluster boots, elects, answers, survives the death of a node, and does all that the same way every time.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::rc::Rc;

use meta::ReadMode;
use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use sim::history::History;
use types::Instant;

/// Sends one command after the other over one connection, and connects anew when it ends.
struct Asker {
    addr: std::net::SocketAddr,
    conn: Option<ClientConn>,
    sent: u64,
    history: History,
    replies: Rc<RefCell<Vec<String>>>,
}

impl Asker {
    fn ask(&mut self, net: &ClientNet) {
        self.sent += 1;
        let command = match self.sent % 2 {
            1 => format!("SET key{} value{}\r\n", self.sent / 20, self.sent),
            _ => format!("GET key{}\r\n", (self.sent - 1) / 20),
        };
        net.send(self.conn.unwrap(), command.as_bytes());
    }
}

impl Workload for Asker {
    fn start(&mut self, net: &ClientNet) {
        net.timer(Instant::from_nanos(100_000_000), 0);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Connected(_) => self.ask(net),
            ClientEvent::Received(_, bytes) => {
                let text = String::from_utf8(bytes.to_vec()).unwrap();
                self.replies.borrow_mut().push(text.trim().replace("\r\n", " "));
                self.ask(net);
            }
            ClientEvent::Closed(_) => net.timer(net.now() + std::time::Duration::from_millis(100), 0),
            ClientEvent::Timer(_) => self.conn = Some(net.connect(self.addr)),
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

fn cluster_spec() -> ClusterSpec {
    let mut cluster_spec = ClusterSpec::of_seed(1);
    cluster_spec.nodes = 3;
    cluster_spec.cores = 2;
    cluster_spec.groups = 4;
    cluster_spec.read_mode = ReadMode::Lease;
    cluster_spec.faulty_nodes = Vec::new();
    cluster_spec
}

fn second(cluster: &Cluster, number: u64, asker: &mut Asker) {
    cluster.run_with(number * 1_000_000_000, asker);
}

fn story(seed: u64) -> (Vec<String>, (u64, u64)) {
    let cluster = Cluster::new(seed, &cluster_spec(), None, std::env::var_os("TOLD").is_some());
    let replies = Rc::new(RefCell::new(Vec::new()));
    let addr = cluster.map.nodes[0].gateway_addr();
    let mut asker = Asker { addr, conn: None, sent: 0, history: History::new(), replies: replies.clone() };
    (0..3).for_each(|node| cluster.boot(node));
    cluster.start(&mut asker);
    second(&cluster, 3, &mut asker);
    cluster.kill(1, Death::Machine);
    second(&cluster, 6, &mut asker);
    cluster.boot(1);
    second(&cluster, 8, &mut asker);
    cluster.kill(2, Death::Process);
    cluster.boot(2);
    second(&cluster, 10, &mut asker);
    let digest = cluster.world.borrow().trace.digest();
    let replies = replies.borrow().clone();
    (replies, digest)
}

#[test]
fn a_cluster_answers_and_survives_deaths() {
    let (replies, (events, _)) = story(11);
    assert!(replies.len() > 500, "{} replies, the last {:?}", replies.len(), replies.last());
    let errors: Vec<_> = replies.iter().filter(|reply| reply.starts_with('-')).collect();
    assert!(errors.len() < 20, "{errors:?}");
    assert!(events > 10_000);
    assert!(replies.iter().any(|reply| reply.ends_with("value501")), "reads answer what was written");
}

#[test]
fn equal_seeds_give_equal_runs() {
    assert_eq!(story(5), story(5));
    assert_ne!(story(5).1, story(6).1);
}
