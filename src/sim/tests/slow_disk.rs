//! A disk that gets a hundred times slower without failing: its node's leaderships move to nodes with better ones, clients
//! are as well off as before, and there is no storm of elections; once it is well again the node is as good as any.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use meta::ReadMode;
use raft::Role;
use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use sim::history::History;
use sim::observation::ObservationKind;
use types::{GroupId, Instant, NodeId};

const SECOND: u64 = 1_000_000_000;

/// Sets keys of all groups, one after the other, and measures how long each takes.
struct Setter {
    addr: std::net::SocketAddr,
    conn: Option<ClientConn>,
    asked_at: Instant,
    count: u64,
    history: History,
    /// When each reply came and how long it took.
    took: Rc<RefCell<Vec<(Instant, Duration)>>>,
    errors: Rc<RefCell<Vec<String>>>,
}

impl Setter {
    fn ask(&mut self, net: &ClientNet) {
        self.count += 1;
        self.asked_at = net.now();
        net.send(self.conn.unwrap(), format!("SET key{} {}\r\n", self.count % 100, self.count).as_bytes());
    }
}

impl Workload for Setter {
    fn start(&mut self, net: &ClientNet) {
        net.timer(Instant::from_nanos(SECOND), 0);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Connected(_) => self.ask(net),
            ClientEvent::Received(_, bytes) => {
                if bytes.starts_with(b"-") {
                    self.errors.borrow_mut().push(String::from_utf8_lossy(&bytes).into_owned());
                }
                self.took.borrow_mut().push((net.now(), net.now().since(self.asked_at)));
                self.ask(net);
            }
            ClientEvent::Closed(_) => net.timer(net.now() + Duration::from_millis(100), 0),
            ClientEvent::Timer(_) => self.conn = Some(net.connect(self.addr)),
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

struct Scene {
    cluster: Cluster,
    setter: Setter,
    took: Rc<RefCell<Vec<(Instant, Duration)>>>,
    errors: Rc<RefCell<Vec<String>>>,
}

impl Scene {
    fn new(seed: u64) -> Scene {
        let mut cluster_spec = ClusterSpec::of_seed(seed);
        (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 6);
        cluster_spec.read_mode = ReadMode::Lease;
        cluster_spec.faulty_nodes = Vec::new();
        let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
        let (took, errors) = (Rc::new(RefCell::new(Vec::new())), Rc::new(RefCell::new(Vec::new())));
        let setter = Setter {
            addr: cluster.map.nodes[1].gateway_addr(),
            conn: None,
            asked_at: Instant::ZERO,
            count: 0,
            history: History::new(),
            took: took.clone(),
            errors: errors.clone(),
        };
        (0..3).for_each(|node| cluster.boot(node));
        Scene { cluster, setter, took, errors }
    }

    fn run_to(&mut self, second: u64) {
        self.cluster.run_with(second * SECOND, &mut self.setter);
    }

    fn set_slowness(&self, node: usize, slowness: u64) {
        self.cluster.world.borrow_mut().nodes[node].disk.slowness = slowness;
    }

    /// Who leads each group, and the highest term of any.
    fn leaders(&self) -> BTreeMap<GroupId, (u64, NodeId)> {
        let mut leaders = BTreeMap::new();
        for observation in self.cluster.observations.borrow().iter() {
            if let ObservationKind::Role { role: Role::Leader, term, .. } = observation.kind {
                let newest: &mut (u64, NodeId) = leaders.entry(observation.group).or_default();
                *newest = (*newest).max((term, observation.place.node));
            }
        }
        leaders
    }

    fn led_by(&self, node: NodeId) -> usize {
        self.leaders().values().filter(|(_, leader)| *leader == node).count()
    }

    /// Median and worst time of a SET in a span of seconds.
    fn took(&self, from: u64, to: u64) -> (Duration, Duration) {
        let span = Instant::from_nanos(from * SECOND)..Instant::from_nanos(to * SECOND);
        let took = self.took.borrow();
        let mut took: Vec<Duration> =
            took.iter().filter(|(at, _)| span.contains(at)).map(|(_, took)| *took).collect();
        took.sort();
        assert!(took.len() > 20, "{} in {from}..{to}", took.len());
        (took[took.len() / 2], took[took.len() - 1])
    }
}

#[test]
fn leaders_leave_a_node_whose_disk_got_slow() {
    let mut scene = Scene::new(3);
    scene.cluster.start(&mut scene.setter);
    scene.run_to(5);
    assert!(scene.led_by(NodeId(1)) > 0, "{:?}", scene.leaders());
    let (before, _) = scene.took(2, 5);
    let elections = |scene: &Scene| scene.leaders().values().map(|(term, _)| term).sum::<u64>();
    let elections_before = elections(&scene);

    scene.set_slowness(0, 100);
    scene.run_to(20);
    assert_eq!(scene.led_by(NodeId(1)), 0, "{:?}", scene.leaders());
    assert!(scene.led_by(NodeId(2)) > 0 && scene.led_by(NodeId(3)) > 0, "{:?}", scene.leaders());
    let moved = elections(&scene) - elections_before;
    assert!(moved <= 6, "no more than one election per group, not {moved}: {:?}", scene.leaders());
    let (median, worst) = scene.took(10, 20);
    assert!(median < before * 2, "{median:?} after {before:?}: who is well decides alone");
    assert!(worst < Duration::from_millis(500), "{worst:?}");

    scene.set_slowness(0, 1);
    scene.run_to(45);
    assert_eq!(*scene.errors.borrow(), Vec::<String>::new(), "nobody was refused anything");
    // Who is elected where another node dies is chance, but not again and again.
    for round in 0..5 {
        let busiest = if scene.led_by(NodeId(2)) >= scene.led_by(NodeId(3)) { 1 } else { 2 };
        scene.cluster.kill(busiest, Death::Machine);
        scene.run_to(50 + 10 * round);
        scene.cluster.boot(busiest);
        scene.run_to(55 + 10 * round);
    }
    assert!(scene.led_by(NodeId(1)) > 0, "well again, it leads what others leave: {:?}", scene.leaders());
}

#[test]
fn where_all_disks_are_slow_leaders_stay() {
    let mut scene = Scene::new(4);
    scene.cluster.start(&mut scene.setter);
    scene.run_to(5);
    let before = scene.leaders();
    (0..3).for_each(|node| scene.set_slowness(node, 100));
    scene.run_to(25);
    assert_eq!(scene.leaders(), before);
}
