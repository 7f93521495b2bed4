//! A candidate stands still while its votes and its clients' commands arrive, and while another leader is elected. When it
//! goes on it finds all of that at once: it is elected, proposes, and is deposed, within one turn.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use sim::client::{ClientConn, ClientEvent, ClientNet, Workload};
use sim::cluster::Cluster;
use sim::cluster_spec::ClusterSpec;
use sim::history::History;
use sim::observation::ObservationKind;
use types::{GroupId, Instant, Term};

const MILLISECOND: u64 = 1_000_000;
const GROUP: GroupId = GroupId(1);
const SEEDS_COUNT: u64 = 60;
/// Clients connect before there is any leader, and look so often whether to send.
const PACE_MS: u64 = 5;
/// A vote takes longer than this to be written and to arrive.
const STEP: u64 = MILLISECOND / 10;
/// The others have elected another leader by then.
const ELECTED_MS: u64 = 6_000;
/// The pairs fill several entries.
const BATCH_BYTES_MAX: usize = 1 << 10;
const PAIRS_COUNT: usize = 200;

/// A client of each node, which writes and reads in turn once it is told to.
struct Clients {
    addrs: Vec<SocketAddr>,
    conns: Vec<ClientConn>,
    connected: Vec<ClientConn>,
    /// The node whose client is to send, until it has.
    due: Rc<Cell<Option<usize>>>,
    replies: BTreeMap<ClientConn, Vec<u8>>,
    history: History,
}

impl Workload for Clients {
    fn start(&mut self, net: &ClientNet) {
        net.timer(Instant::from_nanos(PACE_MS * MILLISECOND), 0);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        match event {
            ClientEvent::Timer(_) => {
                if self.conns.is_empty() {
                    self.conns = self.addrs.iter().map(|addr| net.connect(*addr)).collect();
                }
                let is_connected = |node: &usize| self.connected.contains(&self.conns[*node]);
                if let Some(node) = self.due.get().filter(is_connected) {
                    self.due.set(None);
                    let pairs = (0..PAIRS_COUNT).map(|value| format!("SET key {value}\r\nGET key\r\n"));
                    net.send(self.conns[node], pairs.collect::<String>().as_bytes());
                }
                net.timer(net.now() + Duration::from_millis(PACE_MS), 0);
            }
            ClientEvent::Connected(conn) => self.connected.push(conn),
            ClientEvent::Received(conn, bytes) => self.replies.entry(conn).or_default().extend_from_slice(&bytes),
            // A node that is not there yet.
            ClientEvent::Closed(conn) => {
                let idx = self.conns.iter().position(|known| *known == conn).unwrap();
                self.conns[idx] = net.connect(self.addrs[idx]);
            }
        }
    }

    fn history(&self) -> &History {
        &self.history
    }
}

/// The node for which somebody else votes first, and in which term.
fn voted_for(cluster: &Cluster) -> Option<(usize, Term)> {
    let group = cluster.map.groups.iter().find(|group| group.id == GROUP).unwrap();
    cluster.observations.borrow().iter().filter(|seen| seen.group == GROUP).find_map(|seen| {
        let ObservationKind::Logged { hard_state: Some(state), .. } = &seen.kind else { return None };
        let vote = state.vote.filter(|vote| *vote != seen.replica)?;
        let candidate = group.replicas.iter().find(|replica| replica.id == vote)?;
        Some((cluster.node_idx(candidate.place.node.0)?, state.term))
    })
}

/// What each command was answered, in their order: an error's first word, or what was set or read.
fn answers(replies: &[u8]) -> Vec<String> {
    let mut lines = std::str::from_utf8(replies).unwrap().split_terminator("\r\n");
    let mut answers = Vec::new();
    while let Some(line) = lines.next() {
        answers.push(match line.as_bytes()[0] {
            b'-' => line.split(' ').next().unwrap().to_owned(),
            b'$' if line != "$-1" => lines.next().unwrap().to_owned(),
            _ => line.to_owned(),
        });
    }
    answers
}

/// Whether the node proposed something while it was leader for less than a turn.
fn run(seed: u64) -> bool {
    let mut cluster_spec = ClusterSpec::of_seed(seed);
    (cluster_spec.nodes, cluster_spec.cores, cluster_spec.groups) = (3, 1, 1);
    cluster_spec.batch_bytes_max = BATCH_BYTES_MAX;
    cluster_spec.faulty_nodes = Vec::new();
    let cluster = Cluster::new(seed, &cluster_spec, None, std::env::var_os("TOLD").is_some());
    let due = Rc::new(Cell::new(None));
    let mut clients = Clients {
        addrs: cluster.map.nodes.iter().map(|node| node.gateway_addr()).collect(),
        conns: Vec::new(),
        connected: Vec::new(),
        due: due.clone(),
        replies: BTreeMap::new(),
        history: History::new(),
    };
    (0..3).for_each(|node| cluster.boot(node));
    cluster.start(&mut clients);
    let mut steps = 0..ELECTED_MS * MILLISECOND / STEP;
    let candidate = steps.find_map(|step| {
        cluster.run_with(step * STEP, &mut clients);
        voted_for(&cluster)
    });
    let (node, term) = candidate.unwrap();
    cluster.pause(node);
    due.set(Some(node));
    cluster.run_with(ELECTED_MS * MILLISECOND, &mut clients);
    assert_ne!(cluster.elected(GROUP).unwrap().0, node, "seed {seed}: it stands still");
    cluster.resume(node);
    cluster.run_with(2 * ELECTED_MS * MILLISECOND, &mut clients);

    let mut has_proposed = false;
    for seen in cluster.observations.borrow().iter() {
        match &seen.kind {
            ObservationKind::Ended { error, .. } => panic!("seed {seed}: {} ended: {error}", seen.place),
            ObservationKind::Applied { entry, .. } => {
                assert!(seen.group != GROUP || entry.term != term, "seed {seed}: of no majority")
            }
            _ => {}
        }
    }
    let answers = answers(&clients.replies[&clients.conns[node]]);
    assert_eq!(answers.len(), 2 * PAIRS_COUNT, "seed {seed}");
    let mut possible = vec!["$-1".to_owned()];
    for (value, pair) in answers.chunks(2).enumerate() {
        match &*pair[0] {
            "+OK" => possible = vec![value.to_string()],
            // What it proposed nobody else has seen: it hears of another entry in that place, or of nothing.
            "-UNKNOWNOUTCOME" => possible.push(value.to_string()),
            "-TRYAGAIN" => {}
            other => panic!("seed {seed}: {other}"),
        }
        has_proposed |= pair[0] != "+OK";
        assert!(pair[1] == "-TRYAGAIN" || possible.contains(&pair[1]), "seed {seed}: {pair:?} of {possible:?}");
    }
    has_proposed
}

/// Its reads were once left in what it had proposed, and the node stopped when nobody could tell what had become of that.
#[test]
fn a_leadership_within_one_turn_leaves_nothing_behind() {
    let proposed_count = (0..SEEDS_COUNT).filter(|seed| run(*seed)).count();
    assert!(proposed_count >= 3, "only {proposed_count} seeds in which anything was proposed");
}
