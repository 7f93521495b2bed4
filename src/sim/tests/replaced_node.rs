//! A node loses its data and comes back with a token, while other nodes crash: at any time of it, one of them at once. Sometimes it loses
//! its data once more in the middle of that. In the end every group is at full strength, whatever was acknowledged is there, and
//! no election or commit lacked its majority.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sim::checkers::{Checkers, Voters};
use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use sim::history::History;
use sim::prng::Prng;
use types::Instant;

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
/// Seeds with crashes beside the replacement.
const SEEDS_COUNT: u64 = 8;
/// How long clients wait for an answer before they connect anew.
const PATIENCE: Duration = Duration::from_secs(6);
/// The node that loses its data.
const LOST: usize = 2;
const KEYS_COUNT: u64 = 40;

/// What the operator is at.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    /// It asks for a token.
    Asks,
    /// The node shows this one.
    Shows(String),
    /// The node may start.
    Admitted,
}

/// One client sets keys, one after the other, and another one is the operator, and then the node that has lost its data.
struct Clients {
    addrs: Vec<SocketAddr>,
    writer: Option<ClientConn>,
    operator: Option<ClientConn>,
    count: u64,
    /// When the writer was last answered, or connected: a machine that is gone does not say so.
    heard_at: Instant,
    /// The last value of each key that was acknowledged, and that was sent.
    acknowledged: BTreeMap<u64, u64>,
    stage: Stage,
    incarnation: u64,
    history: History,
}

impl Clients {
    fn set(&mut self, net: &ClientNet) {
        self.heard_at = net.now();
        self.count += 1;
        net.send(self.writer.unwrap(), format!("SET key{} {}\r\n", self.count % KEYS_COUNT, self.count).as_bytes());
    }

    fn ask(&self, net: &ClientNet) {
        let Some(conn) = self.operator else { return };
        match &self.stage {
            Stage::Asks => net.send(conn, b"CORACLE REPLACE 3\r\n"),
            Stage::Shows(token) => {
                let (incarnation, name) = (self.incarnation, "0".repeat(24));
                let of_node = "127.0.0.3 7000 7001 8000 9000 1";
                net.send(conn, format!("CORACLE JOIN {token} {incarnation:016x} {name} {of_node}\r\n").as_bytes());
            }
            Stage::Idle | Stage::Admitted => {}
        }
    }

    fn answered(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        match self.stage.clone() {
            Stage::Asks if text.starts_with('$') => {
                self.stage = Stage::Shows(text.lines().nth(1).unwrap().to_owned());
            }
            Stage::Shows(_) if text.starts_with("*3\r\n:3\r\n") => self.stage = Stage::Admitted,
            // A node that was asked knew nothing of a later token when it took this one away.
            Stage::Shows(_) if text.starts_with("-REFUSED") => panic!("{text}"),
            _ => {}
        }
    }
}

impl Workload for Clients {
    fn start(&mut self, net: &ClientNet) {
        net.timer(Instant::from_nanos(2 * SECOND), 0);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Connected(conn) if self.writer == Some(conn) => self.set(net),
            ClientEvent::Connected(_) => {}
            ClientEvent::Received(conn, bytes) if self.writer == Some(conn) => {
                if bytes.starts_with(b"+OK") {
                    self.acknowledged.insert(self.count % KEYS_COUNT, self.count);
                }
                self.set(net);
            }
            ClientEvent::Received(_, bytes) => self.answered(&bytes),
            ClientEvent::Closed(conn) => {
                self.writer = self.writer.filter(|writer| *writer != conn);
                self.operator = self.operator.filter(|operator| *operator != conn);
            }
            ClientEvent::Timer(_) => {
                // Both ask the node that is not the lost one and was not asked last.
                let at = (net.now().as_nanos() / SECOND) as usize % 2;
                if net.now().since(self.heard_at) > PATIENCE {
                    self.heard_at = net.now();
                    (self.writer, self.operator) = (None, None);
                }
                self.writer.get_or_insert_with(|| net.connect(self.addrs[at]));
                self.operator.get_or_insert_with(|| net.connect(self.addrs[1 - at]));
                self.ask(net);
                net.timer(net.now() + Duration::from_millis(200), 0);
            }
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

/// A cluster, and who uses it.
struct World {
    cluster: Cluster,
    clients: Clients,
    prng: Prng,
    now: u64,
    /// A node that is down, and when it is started again.
    down: Option<(usize, u64)>,
    crashes: bool,
}

impl World {
    fn new(seed: u64, crashes: bool) -> World {
        let mut cluster_spec = ClusterSpec::of_seed(1);
        (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 3);
        (cluster_spec.group_log_bytes_max, cluster_spec.log_tail_bytes_max) = (16 << 10, 0);
        cluster_spec.faulty_nodes = Vec::new();
        let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
        (0..3).for_each(|node| cluster.boot(node));
        let addrs = cluster.map.nodes.iter().map(|node| node.gateway_addr()).collect();
        let mut clients = Clients {
            addrs,
            writer: None,
            operator: None,
            count: 0,
            heard_at: Instant::ZERO,
            acknowledged: BTreeMap::new(),
            stage: Stage::Idle,
            incarnation: 0,
            history: History::new(),
        };
        cluster.start(&mut clients);
        World { cluster, clients, prng: Prng::stream(seed, "replaced"), now: 0, down: None, crashes }
    }

    /// Lets time pass, in which another node may die and come back.
    fn run(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(20) {
            self.now += 20 * MS;
            self.cluster.run_with(self.now, &mut self.clients);
            if let Some((node, until)) = self.down
                && until <= self.now
            {
                self.cluster.boot(node);
                self.down = None;
            }
            if self.crashes && self.down.is_none() && self.prng.range(0, 100) < 2 {
                let node = self.prng.range(0, 2) as usize;
                let death = self.prng.pick(&[Death::Process, Death::Machine]);
                self.cluster.kill(node, death);
                self.down = Some((node, self.now + self.prng.range(20, 1_500) * MS));
            }
        }
    }

    /// The node's disk is gone, and an operator has it come back with another one.
    fn replace(&mut self) {
        self.cluster.kill(LOST, Death::Machine);
        let incarnation = self.prng.next_u64();
        {
            let node = &mut self.cluster.world.borrow_mut().nodes[LOST];
            node.disk.wipe();
            (node.incarnation, node.has_come_back) = (incarnation, true);
        }
        (self.clients.stage, self.clients.incarnation) = (Stage::Asks, incarnation);
        for tenth in 1..900 {
            self.run(100);
            if self.clients.stage == Stage::Admitted {
                return self.cluster.boot(LOST);
            }
            // The node that had handed the token out may have died before group 0 knew of it.
            if tenth % 100 == 0 {
                self.clients.stage = Stage::Asks;
            }
        }
        panic!("the node was not admitted within 90 s: {:?}", self.clients.stage);
    }

    fn check(&mut self) {
        if let Some((node, _)) = self.down.take() {
            self.cluster.boot(node);
        }
        self.crashes = false;
        self.run(15_000);
        self.check_replicas();
        // Without another node: the one that came back counts.
        self.cluster.kill(0, Death::Process);
        let before = self.clients.acknowledged.values().max().copied().unwrap_or(0);
        self.run(20_000);
        let after = self.clients.acknowledged.values().max().copied().unwrap_or(0);
        assert!(after > before + 50, "{after} of {before}");
        self.cluster.boot(0);
        self.run(10_000);
        self.check_replicas();
    }

    /// What replicas have done so far keeps all promises, and no group lacks a voter.
    fn check_replicas(&self) {
        let voters = |group: &meta::Group| group.replicas.iter().map(|replica| replica.id).collect();
        let voters: Voters = self.cluster.map.groups.iter().map(|group| (group.id, voters(group))).collect();
        let mut checkers = Checkers::new(voters, Duration::from_secs(10));
        for seen in self.cluster.observations.borrow().iter() {
            checkers.observe(seen).unwrap();
        }
        checkers.at_strength().unwrap();
    }
}

#[test]
fn a_node_without_data_comes_back() {
    let mut world = World::new(10, false);
    world.run(5_000);
    world.replace();
    world.check();
}

#[test]
fn a_node_comes_back_while_others_crash() {
    for seed in 0..SEEDS_COUNT {
        println!("seed {seed}");
        let mut world = World::new(seed, true);
        world.run(4_000);
        world.replace();
        let ms = world.prng.range(0, 3_000);
        world.run(ms);
        if seed % 2 == 1 {
            // Once more, before or behind the first replicas vote again.
            world.replace();
            world.run(1_000);
        }
        world.check();
    }
}
