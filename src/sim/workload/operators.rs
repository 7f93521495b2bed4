//! An operator who has replicas live elsewhere, hands leaderships over and asks things of nodes, at random and without looking: much of what it asks
//! is refused.
//!
//! It uses no keys, and writes nothing into the history. What its orders must not do to others, the other clients and the checkers of replicas
//! show.

use std::net::SocketAddr;
use std::time::Duration;

use meta::ClusterMap;

use super::port::ClientPort;
use super::session;
use crate::client::ClientConn;
use crate::cluster_spec::ClusterSpec;
use crate::prng::{Ppm, Prng};

/// How likely an order is about who leads.
const TRANSFER_PPM: Ppm = 250_000;
/// How likely an order is about what a node is there for, where the planner is at work.
const DUTY_PPM: Ppm = 300_000;
/// How likely a move names the core.
const NAMES_CORE_PPM: Ppm = 500_000;
/// How likely a move stays on its node, where that has several cores.
const STAYS_PPM: Ppm = 300_000;

/// The operator.
pub(super) struct Operator {
    /// Its number among the clients.
    client: u64,
    prng: Prng,
    addrs: Vec<SocketAddr>,
    nodes: u32,
    cores: u16,
    groups: u32,
    /// Whether it asks things of nodes, too.
    has_planner: bool,
    /// Between two orders on average; `None` if it gives none.
    pause: Option<Duration>,
    conn: Option<ClientConn>,
}

impl Operator {
    /// One who gives no orders.
    pub(super) fn idle(client: u64) -> Operator {
        let prng = Prng::stream(0, "operator");
        Operator {
            client,
            prng,
            addrs: Vec::new(),
            nodes: 0,
            cores: 0,
            groups: 0,
            has_planner: false,
            pause: None,
            conn: None,
        }
    }

    /// That of a seed.
    pub(super) fn of_seed(seed: u64, client: u64, cluster_spec: &ClusterSpec, map: &ClusterMap) -> Operator {
        Operator {
            prng: Prng::stream(seed, "operator"),
            addrs: map.nodes.iter().map(|node| node.gateway_addr()).collect(),
            nodes: cluster_spec.nodes,
            cores: cluster_spec.cores,
            groups: map.groups.len() as u32,
            has_planner: cluster_spec.has_planner,
            pause: cluster_spec.moves_pause,
            ..Operator::idle(client)
        }
    }

    /// The run begins.
    pub(super) fn begin(&mut self, port: &dyn ClientPort) {
        let Some(pause) = self.pause else { return };
        let pause = Duration::from_millis(self.prng.range(1, 2 * pause.as_millis() as u64));
        port.timer(port.now() + pause, session::timer_token(self.client, 0));
    }

    /// Whether a timer of a client with this number is its own.
    pub(super) fn is_client(&self, client: u64) -> bool {
        self.client == client
    }

    /// Whether a connection is its own.
    pub(super) fn owns(&self, conn: ClientConn) -> bool {
        self.conn == Some(conn)
    }

    /// It is time for another order, over a connection of its own. What the last one has come to does not matter.
    pub(super) fn timer(&mut self, port: &dyn ClientPort) {
        if let Some(conn) = self.conn.take() {
            port.close(conn);
        }
        if self.pause.is_some() {
            self.conn = Some(port.connect(self.prng.pick(&self.addrs)));
            self.begin(port);
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, port: &dyn ClientPort, conn: ClientConn) {
        let order = self.order();
        port.send(conn, order.as_bytes());
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self) {
        self.conn = None;
    }

    /// It gives no more orders.
    pub(super) fn retire(&mut self) {
        self.pause = None;
    }

    fn order(&mut self) -> String {
        let group = self.prng.below(u64::from(self.groups));
        let node = |prng: &mut Prng, nodes: u32| prng.range(1, u64::from(nodes));
        let from = node(&mut self.prng, self.nodes);
        if self.has_planner && self.prng.bernoulli(DUTY_PPM) {
            let ask = self.prng.pick(&["DRAIN", "UNDRAIN", "UNDRAIN", "PLAN DECOMMISSION"]);
            return format!("CORACLE {ask} {from}\r\nCORACLE TASKS\r\n");
        }
        if self.prng.bernoulli(TRANSFER_PPM) {
            return format!("CORACLE TRANSFER {group} {from}\r\n");
        }
        let stays = self.cores > 1 && self.prng.bernoulli(STAYS_PPM);
        let to = if stays { from } else { node(&mut self.prng, self.nodes) };
        if self.prng.bernoulli(NAMES_CORE_PPM) {
            let core = self.prng.below(u64::from(self.cores));
            return format!("CORACLE MOVE {group} {from} {to}/{core}\r\n");
        }
        format!("CORACLE MOVE {group} {from} {to}\r\n")
    }
}
