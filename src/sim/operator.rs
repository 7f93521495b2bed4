//! An operator who lets new nodes join the cluster and removes them, by the commands that a person would use, and sees to the machine
//! concerned as that person would: it is started with what the cluster has told it, again if it does not run, and given up once it has ended
//! since it was removed.
//!
//! Answers may be lost, and whoever has given one may die before it has come true: so the operator asks again and again, another node each time.

use std::collections::VecDeque;

use meta::ClusterMap;
use types::{Instant, NodeId};

use crate::checkers::Violation;
use crate::client::{ClientConn, ClientEvent, ClientNet};
use crate::cluster::Cluster;
use crate::prng::Prng;
use crate::world::NodeState;

const MS: u64 = 1_000_000;
/// How long to wait before the next attempt, in nanoseconds.
const ASK_EVERY: u64 = 100 * MS;
/// How long an answer is waited for, and how long a token is shown that nobody knows, in nanoseconds.
const PATIENCE: u64 = 3_000 * MS;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// A new node is to join, on the machine that no node uses.
    Join,
    /// It is to be removed.
    Remove,
}

/// How far an errand is.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Idle,
    /// A token is wanted.
    WantsToken,
    /// It is shown, since then.
    Shows(String, u64),
    /// The node is to be removed, until it has ended.
    Removes(NodeId),
}

/// See above.
pub(crate) struct Operator {
    /// Index of the machine, if the cluster has one to spare.
    machine: Option<usize>,
    errands: VecDeque<Errand>,
    stage: Stage,
    conn: Option<ClientConn>,
    answer: Vec<u8>,
    /// How often it has asked.
    asks_count: u64,
    /// When it is time to ask again, or to give up on an answer, in nanoseconds.
    next_at: u64,
    prng: Prng,
}

impl Operator {
    pub(crate) fn new(seed: u64, cluster: &Cluster) -> Operator {
        Operator {
            machine: cluster.spare(),
            errands: VecDeque::new(),
            stage: Stage::Idle,
            conn: None,
            answer: Vec::new(),
            asks_count: 0,
            next_at: 0,
            prng: Prng::stream(seed, "operator"),
        }
    }

    /// Takes on errands; they are done one after another.
    pub(crate) fn take_on(&mut self, errands: impl IntoIterator<Item = Errand>) {
        self.errands.extend(errands);
    }

    /// Whether nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.errands.is_empty() && self.stage == Stage::Idle
    }

    /// Objects to errands that are not done although nothing is in their way any more.
    ///
    /// # Errors
    /// One is not done.
    pub(crate) fn at_rest(&self) -> Result<(), Violation> {
        if self.is_done() {
            return Ok(());
        }
        let what = format!(
            "with everything at rest a node has not joined or left: {:?}, then {:?}",
            self.stage, self.errands
        );
        Err(Violation::new("operator", what))
    }

    /// Does what is due. Called behind every event.
    pub(crate) fn attend(&mut self, cluster: &Cluster, net: &ClientNet) {
        let now = cluster.world.borrow().now();
        if self.stage == Stage::Idle && !self.begin(cluster) || now < self.next_at {
            return;
        }
        if let Stage::Removes(_) = self.stage
            && self.see_to_removed(cluster)
        {
            self.next_at = now;
            return;
        }
        if let Some(conn) = self.conn.take() {
            net.close(conn);
        }
        if matches!(self.stage, Stage::Shows(_, since) if now >= since + PATIENCE) {
            // Whoever has handed it out may have died before group 0 knew of it.
            self.stage = Stage::WantsToken;
        }
        self.answer.clear();
        self.asks_count += 1;
        let at = self.prng.below(cluster.map.nodes.len() as u64) as usize;
        self.conn = Some(net.connect(cluster.map.nodes[at].gateway_addr()));
        self.next_at = now + PATIENCE;
    }

    /// Begins the next errand. Returns whether there is one.
    fn begin(&mut self, cluster: &Cluster) -> bool {
        let (Some(machine), Some(errand)) = (self.machine, self.errands.pop_front()) else { return false };
        let world = &mut *cluster.world.borrow_mut();
        let node = &mut world.nodes[machine];
        match errand {
            Errand::Join if node.latest_map.is_none() => {
                node.disk.wipe();
                node.incarnation = self.prng.next_u64();
                self.stage = Stage::WantsToken;
            }
            Errand::Remove if node.latest_map.is_some() => {
                node.is_leaving = true;
                self.stage = Stage::Removes(node.id);
            }
            Errand::Join | Errand::Remove => {}
        }
        self.stage != Stage::Idle
    }

    /// Starts the node that is being removed, if it does not run: it is to hear so. Returns whether it has.
    fn see_to_removed(&mut self, cluster: &Cluster) -> bool {
        let Some(machine) = self.machine else { return false };
        let is_down = {
            let world = &mut *cluster.world.borrow_mut();
            let node = &mut world.nodes[machine];
            // Its disk is wiped for the next one only once nothing of it is under way.
            if node.is_told_removed && node.state != NodeState::Up {
                (node.latest_map, node.is_leaving, node.is_told_removed) = (None, false, false);
                self.stage = Stage::Idle;
                world.count("a removed node has heard so");
                return true;
            }
            node.state != NodeState::Up
        };
        if is_down {
            cluster.boot(machine);
        }
        false
    }

    /// Takes in what happens to the operator's connection. Returns what concerns others.
    pub(crate) fn event(&mut self, cluster: &Cluster, net: &ClientNet, event: ClientEvent) -> Option<ClientEvent> {
        match event {
            ClientEvent::Connected(conn) if self.conn == Some(conn) => {
                net.send(conn, self.command(cluster).as_bytes())
            }
            ClientEvent::Received(conn, bytes) if self.conn == Some(conn) => {
                self.answer.extend_from_slice(&bytes);
                self.answered(cluster, net.now());
            }
            ClientEvent::Closed(conn) if self.conn == Some(conn) => {
                self.conn = None;
                self.next_at = net.now().as_nanos() + ASK_EVERY;
            }
            other => return Some(other),
        }
        None
    }

    fn command(&self, cluster: &Cluster) -> String {
        match &self.stage {
            Stage::Idle => String::new(),
            Stage::WantsToken => "CORACLE TOKEN\r\n".to_owned(),
            Stage::Shows(token, _) => {
                let machine = self.machine.expect("a token is shown for a machine");
                let (incarnation, name) = (cluster.world.borrow().nodes[machine].incarnation, "0".repeat(24));
                let meta::Node { host, gateway_port, core_port, peer_port, admin_port, cores, .. } =
                    cluster.machine(machine);
                format!(
                    "CORACLE JOIN {token} {incarnation:016x} {name} {host} {gateway_port} {core_port} {peer_port} {admin_port} {cores}\r\n"
                )
            }
            // The planner may give the node replicas, if only since the disk of another one is full: then they are to leave first, and
            // others must be let have them.
            Stage::Removes(node) if self.asks_count.is_multiple_of(2) => {
                let undrain = cluster.map.nodes.iter().map(|node| format!("CORACLE UNDRAIN {}\r\n", node.id));
                undrain.collect::<String>() + &format!("CORACLE DECOMMISSION {node}\r\n")
            }
            Stage::Removes(node) => format!("CORACLE REMOVE {node}\r\n"),
        }
    }

    fn answered(&mut self, cluster: &Cluster, now: Instant) {
        let Some(answer) = Answer::of(&self.answer) else { return };
        self.next_at = now.as_nanos() + ASK_EVERY;
        match (self.stage.clone(), answer) {
            (Stage::WantsToken, Answer::Bulk(token)) => {
                self.stage = Stage::Shows(String::from_utf8_lossy(&token).into_owned(), now.as_nanos());
            }
            (Stage::Shows(..), Answer::Admitted(id, latest)) => {
                cluster.admit(self.machine.expect("a token is shown for a machine"), id, *latest);
                self.stage = Stage::Idle;
            }
            (Stage::Shows(..), Answer::Line(line)) if line.starts_with("-REFUSED") => {
                panic!("a node is refused that was let in with a new token: {line}")
            }
            // A node that lags does not know yet what is asked for, or knows it already.
            _ => {}
        }
    }
}

/// What a node answers.
enum Answer {
    Line(String),
    Bulk(Vec<u8>),
    /// The id that a node is given, and the latest map.
    Admitted(NodeId, Box<ClusterMap>),
}

impl Answer {
    /// `None` until all of it is there.
    fn of(bytes: &[u8]) -> Option<Answer> {
        let (head, rest) = line(bytes)?;
        if head != "*3" {
            return match head.strip_prefix('$') {
                Some(_) => Some(Answer::Bulk(bulk(bytes)?.0)),
                None => Some(Answer::Line(head)),
            };
        }
        let (id, rest) = line(rest)?;
        let (_, rest) = bulk(rest)?;
        let (latest, _) = bulk(rest)?;
        let id = id.strip_prefix(':')?.parse().expect("the id of a node is a number");
        Some(Answer::Admitted(
            NodeId(id),
            Box::new(ClusterMap::from_bytes(&latest).expect("the map that a node tells is sound")),
        ))
    }
}

/// The first line, and what stands behind it.
fn line(bytes: &[u8]) -> Option<(String, &[u8])> {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
    Some((String::from_utf8_lossy(&bytes[..end]).into_owned(), &bytes[end + 2..]))
}

fn bulk(bytes: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let (head, rest) = line(bytes)?;
    let len: usize = head.strip_prefix('$')?.parse().ok()?;
    Some((rest.get(..len)?.to_vec(), rest.get(len + 2..)?))
}
