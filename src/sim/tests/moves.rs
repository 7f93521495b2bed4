//! Replicas move to other nodes and cores: whatever was acknowledged is there, groups come to full strength, and nothing is left behind. A
//! node that takes part in a move may crash in the middle of any disk operation of it.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use sim::checkers::{Checkers, Voters};
use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::{Cluster, Death};
use sim::cluster_spec::ClusterSpec;
use sim::history::History;
use sim::observation::{Observation, ObservationKind};
use types::{CoreAddr, GroupId, Instant, NodeId, ReplicaId};

const SECOND: u64 = 1_000_000_000;
const MS: u64 = 1_000_000;
const KEYS_COUNT: u64 = 40;
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(10_000);
/// How long clients wait for an answer before they connect anew.
const PATIENCE: Duration = Duration::from_secs(4);

/// One client sets keys, one after the other, and another one gives orders, each until it is carried out.
struct Clients {
    gateways: Vec<SocketAddr>,
    writer: Option<ClientConn>,
    operator: Option<ClientConn>,
    is_writing: bool,
    count: u64,
    heard_at: Instant,
    acknowledged: BTreeMap<u64, u64>,
    /// What is to be ordered, and what was answered to the one that was carried out last.
    orders: Vec<String>,
    answers: Vec<String>,
    history: History,
}

impl Clients {
    fn set(&mut self, net: &ClientNet) {
        self.heard_at = net.now();
        let Some(writer) = self.writer.filter(|_| self.is_writing) else { return };
        self.count += 1;
        net.send(writer, format!("SET key{} {:0200}\r\n", self.count % KEYS_COUNT, self.count).as_bytes());
    }

    fn order(&self, net: &ClientNet) {
        if let (Some(operator), Some(order)) = (self.operator, self.orders.first()) {
            net.send(operator, format!("{order}\r\n").as_bytes());
        }
    }

    fn answered(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).unwrap();
        // One that was asked of two nodes in turn may have been carried out already.
        let is_done = text.starts_with([':', '+']) || text.contains("moved already") || text.contains("leads group");
        if is_done && !self.orders.is_empty() {
            self.orders.remove(0);
            self.answers.push(text.to_owned());
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
            ClientEvent::Connected(_) => self.order(net),
            ClientEvent::Received(conn, bytes) if self.writer == Some(conn) => {
                if bytes.starts_with(b"+OK") {
                    self.acknowledged.insert(self.count % KEYS_COUNT, self.count);
                }
                self.set(net);
            }
            ClientEvent::Received(_, bytes) => {
                self.answered(&bytes);
                self.order(net);
            }
            ClientEvent::Closed(conn) => {
                self.writer = self.writer.filter(|writer| *writer != conn);
                self.operator = self.operator.filter(|operator| *operator != conn);
            }
            ClientEvent::Timer(_) => {
                let at = (net.now().as_nanos() / SECOND) as usize;
                if net.now().since(self.heard_at) > PATIENCE {
                    self.heard_at = net.now();
                    (self.writer, self.operator) = (None, None);
                }
                let gateway = |behind: usize| self.gateways[(at + behind) % self.gateways.len()];
                self.writer.get_or_insert_with(|| net.connect(gateway(0)));
                if self.operator.is_some() || !self.orders.is_empty() {
                    self.operator.get_or_insert_with(|| net.connect(gateway(1)));
                    self.order(net);
                }
                net.timer(net.now() + Duration::from_millis(300), 0);
            }
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

struct World {
    cluster: Cluster,
    clients: Clients,
    now: u64,
}

impl World {
    fn new(seed: u64, shape: (u32, u16, usize), is_writing: bool) -> World {
        World::patient(seed, shape, is_writing, NEVER)
    }

    /// One in which nodes are down after so long.
    fn patient(
        seed: u64,
        (nodes, cores, groups): (u32, u16, usize),
        is_writing: bool,
        node_down_after: Duration,
    ) -> World {
        let mut cluster_spec = ClusterSpec::of_seed(1);
        // What a test has put somewhere stays there.
        (cluster_spec.node_down_after, cluster_spec.has_planner) = (node_down_after, false);
        (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (nodes, cores, groups);
        cluster_spec.replicas = nodes.min(3);
        (cluster_spec.group_log_bytes_max, cluster_spec.log_tail_bytes_max) = (16 << 10, 0);
        cluster_spec.faulty_nodes = Vec::new();
        let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
        (0..nodes as usize).for_each(|node| cluster.boot(node));
        let mut clients = Clients {
            gateways: cluster.map.nodes.iter().map(|node| node.gateway_addr()).collect(),
            writer: None,
            operator: None,
            is_writing: true,
            count: 0,
            heard_at: Instant::ZERO,
            acknowledged: BTreeMap::new(),
            orders: Vec::new(),
            answers: Vec::new(),
            history: History::new(),
        };
        cluster.start(&mut clients);
        let mut world = World { cluster, clients, now: 0 };
        world.run(5_000);
        world.clients.is_writing = is_writing;
        world.run(1_000);
        world
    }

    fn run(&mut self, ms: u64) {
        self.now += ms * MS;
        self.cluster.run_with(self.now, &mut self.clients);
    }

    /// Gives these orders, one after the other, and lets time pass until all are carried out.
    fn give(&mut self, orders: Vec<String>) {
        self.clients.orders = orders;
        for _ in 0..600 {
            if self.clients.orders.is_empty() {
                return;
            }
            self.run(100);
        }
        panic!("not carried out within 60 s: {:?}", self.clients.orders);
    }

    /// Where a group's replicas are at first, and a node without one.
    fn places(&self, group: usize) -> (Vec<CoreAddr>, NodeId) {
        let places: Vec<_> = self.cluster.map.groups[group].replicas.iter().map(|replica| replica.place).collect();
        let free = self.cluster.map.nodes.iter().find(|node| places.iter().all(|place| place.node != node.id));
        (places, free.map_or(NodeId(0), |node| node.id))
    }

    /// The replicas that run, with where they do.
    fn running(&self) -> BTreeSet<(CoreAddr, GroupId, ReplicaId)> {
        let mut running = BTreeSet::new();
        for Observation { place, group, replica, kind, .. } in self.cluster.observations.borrow().iter() {
            match kind {
                ObservationKind::Started { .. } => drop(running.insert((*place, *group, *replica))),
                ObservationKind::Stopped | ObservationKind::Destroyed | ObservationKind::Quarantined { .. } => {
                    running.remove(&(*place, *group, *replica));
                }
                _ => {}
            }
        }
        running
    }

    /// The groups of which a replica runs on a node.
    fn groups_on(&self, node: NodeId) -> Vec<GroupId> {
        self.running().into_iter().filter(|(place, ..)| place.node == node).map(|(_, group, _)| group).collect()
    }

    /// The files of tables and blobs that a node has.
    fn tables_on(&self, node: NodeId) -> Vec<String> {
        let at = self.cluster.node_idx(node.0).unwrap();
        let world = &mut *self.cluster.world.borrow_mut();
        let files = world.nodes[at].disk.list(Path::new("/data/store/core-00")).unwrap();
        files.into_iter().filter(|name| name.ends_with(".data")).collect()
    }

    /// What replicas have done keeps all promises, and no group lacks a voter.
    fn check(&self) {
        let voters = |group: &meta::Group| group.replicas.iter().map(|replica| replica.id).collect();
        let voters: Voters = self.cluster.map.groups.iter().map(|group| (group.id, voters(group))).collect();
        let mut checkers = Checkers::new(voters, Duration::from_secs(10));
        for seen in self.cluster.observations.borrow().iter() {
            checkers.observe(seen).unwrap();
        }
        checkers.at_strength().unwrap();
    }

    /// Clients are served although a node is down.
    fn is_served_without(&mut self, node: NodeId) {
        let at = self.cluster.node_idx(node.0).unwrap();
        self.cluster.kill(at, Death::Process);
        self.clients.is_writing = true;
        let before = self.clients.acknowledged.values().max().copied().unwrap_or(0);
        self.run(20_000);
        let after = self.clients.acknowledged.values().max().copied().unwrap_or(0);
        assert!(after > before + 50, "{after} of {before} without node {node}");
        self.cluster.boot(at);
        self.run(10_000);
    }
}

#[test]
fn all_replicas_of_a_node_move_elsewhere_while_clients_write() {
    // Group 0 has five replicas.
    let mut world = World::new(3, (6, 1, 4), true);
    let emptied = NodeId(1);
    let mut orders = Vec::new();
    let mut moved = 0;
    for (idx, group) in world.cluster.map.groups.iter().enumerate() {
        let (places, free) = world.places(idx);
        if places.iter().any(|place| place.node == emptied) {
            orders.push(format!("CORACLE MOVE {} {emptied} {free}", group.id));
            moved += 1;
        }
    }
    assert!(moved >= 2, "there is something to move");
    world.give(orders);
    assert!(world.clients.answers.iter().all(|answer| answer.starts_with(':')), "{:?}", world.clients.answers);
    world.run(20_000);
    assert_eq!(world.groups_on(emptied), []);
    assert_eq!(world.tables_on(emptied), Vec::<String>::new());
    world.check();
    // It starts with nothing, too, and those that took over count.
    world.is_served_without(emptied);
    assert_eq!(world.groups_on(emptied), []);
    world.is_served_without(NodeId(6));
    world.check();
}

#[test]
fn a_replica_comes_back_to_where_another_one_of_its_group_was_destroyed() {
    let mut world = World::new(4, (4, 1, 1), true);
    let (places, free) = world.places(1);
    let (from, group) = (places[0].node, world.cluster.map.groups[1].id);
    for _ in 0..2 {
        world.give(vec![format!("CORACLE MOVE {group} {from} {free}")]);
        world.run(8_000);
        assert!(!world.groups_on(from).contains(&group) && world.groups_on(free).contains(&group));
        world.give(vec![format!("CORACLE MOVE {group} {free} {from}")]);
        world.run(8_000);
        assert!(world.groups_on(from).contains(&group) && !world.groups_on(free).contains(&group));
    }
    world.check();
    world.is_served_without(places[1].node);
    world.check();
}

#[test]
fn a_replica_moves_to_another_core_of_its_node_and_leads_there() {
    let mut world = World::new(5, (1, 2, 2), true);
    let (group, place) = {
        let group = &world.cluster.map.groups[1];
        (group.id, group.replicas[0].place)
    };
    world.give(vec![format!("CORACLE MOVE {group} 1 1")]);
    world.run(8_000);
    let moved: Vec<_> = world.running().into_iter().filter(|(_, id, _)| *id == group).collect();
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert_eq!((moved[0].0.node, moved[0].0.core.0), (place.node, 1 - place.core.0));
    world.check();
}

#[test]
fn leaderships_are_handed_over_as_an_operator_wants() {
    let mut world = World::new(6, (3, 1, 2), true);
    let (places, _) = world.places(1);
    let group = world.cluster.map.groups[1].id;
    for place in places.iter().chain(&places) {
        world.give(vec![format!("CORACLE TRANSFER {group} {}", place.node)]);
        let (leader, _) = world.cluster.elected(group).unwrap();
        assert_eq!(world.cluster.map.nodes[leader].id, place.node, "{:?}", world.clients.answers);
    }
    world.check();
}

/// A replica moves, and the node that it leaves or comes to dies in the middle of the disk operation of this number behind the order.
/// Returns whether there was such an operation.
fn dies_in_operation(number: u32, is_source: bool) -> bool {
    let mut world = World::new(7, (4, 1, 1), false);
    let (places, free) = world.places(1);
    let group = world.cluster.map.groups[1].id;
    // The order goes to neither.
    let (from, others) = (places[2].node, [places[0].node, places[1].node]);
    world
        .clients
        .gateways
        .retain(|addr| others.iter().any(|node| addr.ip().to_string() == format!("127.0.0.{node}")));
    world.clients.operator = None;
    let dies = world.cluster.node_idx(if is_source { from } else { free }.0).unwrap();
    world.cluster.world.borrow_mut().nodes[dies].dies_operating = Some(number);
    world.give(vec![format!("CORACLE MOVE {group} {from} {free}")]);
    world.run(12_000);
    let was_reached = world.cluster.world.borrow_mut().nodes[dies].dies_operating.take().is_none();
    world.run(12_000);
    assert!(!world.groups_on(from).contains(&group), "operation {number}: the replica is still there");
    assert!(world.groups_on(free).contains(&group), "operation {number}: it has not come");
    world.check();
    // A start finds the same.
    world.cluster.kill(dies, Death::Machine);
    world.cluster.boot(dies);
    world.run(5_000);
    assert!(!world.groups_on(from).contains(&group) && world.groups_on(free).contains(&group));
    world.check();
    was_reached
}

#[test]
fn a_node_that_receives_a_replica_dies_at_any_moment() {
    let reached = (0..).take_while(|number| dies_in_operation(*number, false)).count();
    assert!(reached >= 8, "{reached} operations");
}

#[test]
fn a_node_that_gives_a_replica_away_dies_at_any_moment() {
    let reached = (0..).take_while(|number| dies_in_operation(*number, true)).count();
    assert!(reached >= 8, "{reached} operations");
}

/// How long nodes may be silent where a test waits until others have taken their places.
const SHORT: Duration = Duration::from_secs(5);

#[test]
fn a_node_that_dies_for_good_is_replaced_by_itself_and_finds_its_replicas_gone_should_it_come_back() {
    let mut world = World::patient(8, (6, 1, 4), true, SHORT);
    let dead = NodeId(2);
    let at = world.cluster.node_idx(dead.0).unwrap();
    let held = world.groups_on(dead);
    assert!(held.len() >= 2, "{held:?}");
    world.cluster.kill(at, Death::Machine);
    let before = world.clients.acknowledged.values().max().copied().unwrap_or(0);
    world.run(40_000);
    world.check();
    assert!(world.clients.acknowledged.values().max().copied().unwrap_or(0) > before + 50);
    let others: Vec<_> = world.running().into_iter().filter(|(_, group, _)| held.contains(group)).collect();
    let wanted: usize = world.cluster.map.groups.iter().map(|group| group.replicas.len()).sum();
    assert!(others.len() <= wanted, "{others:?}");
    world.cluster.boot(at);
    world.run(20_000);
    assert_eq!(world.groups_on(dead), []);
    world.check();
}

#[test]
fn others_lead_what_a_node_led_that_is_drained_and_its_replicas_stay() {
    let mut world = World::patient(9, (4, 1, 6), true, NEVER);
    let drained = NodeId(1);
    let at = world.cluster.node_idx(drained.0).unwrap();
    let groups: Vec<GroupId> = world.cluster.map.groups.iter().map(|group| group.id).collect();
    let led = |world: &World| {
        let elected = groups.iter().filter_map(|group| world.cluster.elected(*group));
        elected.filter(|(leader, _)| *leader == at).count()
    };
    let held = world.groups_on(drained);
    assert!(led(&world) > 0);
    world.give(vec![format!("CORACLE DRAIN {drained}")]);
    world.run(15_000);
    assert_eq!((led(&world), world.groups_on(drained)), (0, held));
    world.give(vec![format!("CORACLE UNDRAIN {drained}")]);
    world.check();
}

#[test]
fn a_node_that_is_decommissioned_gives_all_it_has_away_and_is_removed() {
    let mut world = World::patient(10, (6, 1, 4), true, NEVER);
    let leaver = NodeId(3);
    assert!(!world.groups_on(leaver).is_empty());
    world.give(vec![format!("CORACLE DECOMMISSION {leaver}")]);
    let ended = |world: &World| {
        let observations = world.cluster.observations.borrow();
        let of_leaver = observations.iter().filter(|seen| seen.place.node == leaver);
        of_leaver.filter(|seen| matches!(seen.kind, ObservationKind::Ended { .. })).count()
    };
    let held: BTreeSet<GroupId> = world.groups_on(leaver).into_iter().collect();
    for _ in 0..600 {
        world.run(100);
        if ended(&world) > 0 {
            break;
        }
    }
    assert_eq!(ended(&world), 1, "it has heard that it was removed");
    let left: Vec<_> = world.running().into_iter().filter(|(place, ..)| place.node == leaver).collect();
    assert_eq!(left, []);
    // That it ended is what was asked for.
    world.cluster.observations.borrow_mut().retain(|seen| !matches!(seen.kind, ObservationKind::Ended { .. }));
    world.check();
    assert!(!held.is_empty());
    let before = world.clients.acknowledged.values().max().copied().unwrap_or(0);
    world.run(10_000);
    assert!(world.clients.acknowledged.values().max().copied().unwrap_or(0) > before);
}
