//! Simulated clients: sessions that send commands, read replies strictly, follow redirections, lose connections and come
//! back, and write down what they asked and were answered.
//!
//! Nothing waits here: a [`Sessions`] is told what happens and answers by what it sends. The seed decides how many
//! sessions there are, which protocol each speaks, whether it asks gateways or goes to the cores as a cluster client
//! does, how deep its pipelines are, whether it waits for answers before it asks on, and what it asks for.
//!
//! Once faults are over the sessions go on a little, stop writing, and then read back every key that was ever named.
//!
//! In half of the runs a `prober` looks besides for leaders that do not know that they were deposed.
//!
//! In some runs an operator (`operators`) has replicas move meanwhile.
//!
//! In half of the runs clients besides use keys that live for moments (`expiring`).
//!
//! Read `mix` (what is asked), `calls` (commands and replies as bytes), [`reader`], `routes`, `pipeline_order`,
//! `shared_counters`, `port`, `shared`, `manner`, `link`, `session`, `prober`, `expiring`, `operators`, `hostile`.

pub use expiring::CLEAN_AFTER;
pub use port::ClientPort;

mod calls;
mod expiring;
mod hostile;
mod link;
mod manner;
mod mix;
mod operators;
mod pipeline_order;
mod port;
mod prober;
pub mod reader;
mod routes;
mod session;
mod shared;
mod shared_counters;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::time::Duration;

use meta::ClusterMap;
use types::{CoreAddr, CoreId, GroupId};

use crate::client::{ClientConn, ClientEvent, ClientNet, Workload};
use crate::cluster_spec::{ClusterSpec, Hostility, Load};
use crate::history::{History, Text};
use crate::prng::Prng;

use expiring::ExpiringClients;
use hostile::Hostiles;
use manner::Manner;
use mix::Mix;
use operators::Operator;
use prober::Prober;
use session::Session;
use shared::{BEGIN, Shared, Stage, WRITES_UNTIL};
use shared_counters::SharedCounters;

/// How long after the last fault they begin to read back: later than everything must work again.
const READ_BACK_AFTER: Duration = Duration::from_secs(16);
/// How many operations there are in runs with large values.
const LARGE_OPERATIONS_COUNT: u64 = 60;
/// Most commands in a pipeline there: what they are answered stays below the most that a core holds for a client.
const LARGE_DEPTH_MAX: u64 = 4;
/// Most commands in a pipeline where memory is little and no fault happens any more: what they are answered finds room.
const SMALL_MEMORY_DEPTH_MAX: u64 = 1;
/// Within which every command is answered while no fault happens, whatever hostile clients do.
const CALM_LATENCY_MAX: Duration = Duration::from_secs(5);
/// All sessions of a run.
pub struct Sessions {
    sessions: Vec<Session>,
    prober: Prober,
    hostiles: Hostiles,
    expiring: ExpiringClients,
    operator: Operator,
    shared: Shared,
}

impl Sessions {
    /// The sessions of a seed, for a cluster with this map. `busy` is for how long faults may happen: so many commands
    /// are sent in this time that their number does not depend on it. `all_attacks` lets hostile clients do what cores do
    /// not bear yet, too.
    pub fn new(
        seed: u64,
        cluster_spec: &ClusterSpec,
        map: &ClusterMap,
        busy: Duration,
        all_attacks: bool,
    ) -> Sessions {
        let ClusterSpec { load, hostility, .. } = *cluster_spec;
        let gateways = map.nodes.iter().map(|node| node.gateway_addr()).collect();
        let cores = map.nodes.iter().flat_map(|node| (0..node.cores).map(|core| node.core_addr(CoreId(core))));
        let mut sessions = Sessions::with_addrs(seed, load, gateways, cores.collect(), busy);
        let later =
            (1..=cluster_spec.spares).map(|spare| crate::cluster::node(cluster_spec, cluster_spec.nodes + spare));
        let later: Vec<SocketAddr> =
            later.flat_map(|node| (0..node.cores).map(move |core| node.core_addr(CoreId(core)))).collect();
        sessions.sessions.iter_mut().for_each(|session| session.expect(&later));
        // With many groups there would be more probes at once than clients are let in.
        if load != Load::ManyGroups && Prng::stream(seed, "prober").bernoulli(500_000) {
            sessions.prober = Prober::new(sessions.sessions.len() as u64, map);
        }
        if hostility != Hostility::None {
            let addrs = map.nodes.iter().flat_map(|node| {
                [node.gateway_addr()].into_iter().chain((0..node.cores).map(|core| node.core_addr(CoreId(core))))
            });
            sessions.hostiles =
                Hostiles::of_seed(seed, sessions.sessions.len() as u64 + 1, addrs.collect(), all_attacks);
        }
        if matches!(load, Load::Usual | Load::SmallMemory) {
            let gateways = map.nodes.iter().map(|node| node.gateway_addr()).collect();
            sessions.expiring = ExpiringClients::of_seed(seed, sessions.sessions.len() as u64 + 2, gateways);
        }
        sessions.operator = Operator::of_seed(seed, sessions.sessions.len() as u64 + 3, cluster_spec, map);
        if hostility == Hostility::WithoutFaults {
            sessions.shared.history.expect_answers_within(CALM_LATENCY_MAX);
        }
        sessions
    }

    /// The sessions of a seed, for a cluster with these gateways and ports of cores.
    pub fn with_addrs(
        seed: u64,
        load: Load,
        gateways: Vec<SocketAddr>,
        cores: Vec<SocketAddr>,
        busy: Duration,
    ) -> Sessions {
        let mut prng = Prng::stream(seed, "sessions");
        let (count, operations_count) = match load {
            Load::Usual | Load::SmallMemory => (prng.pick(&[3, 8, 16, 24]), prng.pick(&[1_500, 4_000, 12_000])),
            Load::ManyGroups => (8, 1_500),
            Load::LargeValues => (3, LARGE_OPERATIONS_COUNT),
        };
        let readers = prng.pick(&[0, 300_000, 600_000]);
        let sessions: Vec<_> = (0..count)
            .map(|number| {
                let manner = Manner::draw(&mut prng, busy, operations_count / count);
                let manner = if load == Load::LargeValues { manner.with_depth_max(LARGE_DEPTH_MAX) } else { manner };
                // Somebody has to write.
                let manner = if number > 0 && prng.bernoulli(readers) { manner.only_reading() } else { manner };
                Session::new(number, manner, gateways.clone(), cores.clone())
            })
            .collect();
        let mix = Mix::of_seed(seed, load);
        // What everything may vanish from goes back.
        let has_counters = load != Load::LargeValues && !mix.flushes();
        let shared = Shared {
            prng,
            mix,
            counters: if has_counters { SharedCounters::of_seed(seed) } else { SharedCounters::none() },
            healed_depth_max: if load == Load::SmallMemory { SMALL_MEMORY_DEPTH_MAX } else { u64::MAX },
            history: History::new(),
            stage: Stage::Busy,
            owners: BTreeMap::new(),
        };
        let prober = Prober::idle(count);
        let expiring = ExpiringClients::none(count + 2);
        let operator = Operator::idle(count + 3);
        Sessions { sessions, prober, hostiles: Hostiles::none(count + 1), expiring, operator, shared }
    }

    /// The run begins.
    pub fn begin(&mut self, port: &dyn ClientPort) {
        for session in &mut self.sessions {
            session.sleep(port, BEGIN);
        }
        self.hostiles.begin(port);
        self.expiring.begin(port);
        self.operator.begin(port);
    }

    /// Something has happened.
    pub fn happened(&mut self, port: &dyn ClientPort, event: ClientEvent) {
        self.advance_stage(port);
        let Sessions { sessions, prober, hostiles, expiring, operator, shared } = self;
        match event {
            ClientEvent::Connected(conn) if hostiles.owns(conn) => hostiles.connected(port, conn),
            ClientEvent::Received(conn, _) if hostiles.owns(conn) => {}
            ClientEvent::Closed(conn) if hostiles.owns(conn) => hostiles.closed(conn),
            ClientEvent::Connected(conn) if operator.owns(conn) => operator.connected(port, conn),
            ClientEvent::Received(conn, _) if operator.owns(conn) => {}
            ClientEvent::Closed(conn) if operator.owns(conn) => operator.closed(),
            ClientEvent::Connected(conn) if expiring.owns(conn) => expiring.connected(port, shared, conn),
            ClientEvent::Received(conn, bytes) if expiring.owns(conn) => {
                expiring.received(port, shared, conn, &bytes)
            }
            ClientEvent::Closed(conn) if expiring.owns(conn) => expiring.closed(port, shared, conn),
            ClientEvent::Connected(conn) if prober.owns(conn) => prober.connected(port, shared, conn),
            ClientEvent::Received(conn, bytes) if prober.owns(conn) => prober.received(port, shared, conn, &bytes),
            ClientEvent::Closed(conn) if prober.owns(conn) => prober.closed(port, shared, conn),
            ClientEvent::Connected(conn) => self.with(conn, |session, shared| session.connected(port, shared, conn)),
            ClientEvent::Received(conn, bytes) => {
                self.with(conn, |session, shared| session.received(port, shared, conn, &bytes));
            }
            ClientEvent::Closed(conn) => {
                self.with(conn, |session, shared| session.closed(port, shared, conn, "the connection was closed"));
            }
            ClientEvent::Timer(token) => {
                let session = sessions.get_mut((token & session::TOKEN_SESSION) as usize);
                match session {
                    None if hostiles.is_client(token & session::TOKEN_SESSION) => {
                        hostiles.timer(port, session::token_number(token));
                    }
                    None if expiring.is_client(token & session::TOKEN_SESSION) => {
                        expiring.timer(port, shared, token & session::TOKEN_SESSION, session::token_number(token));
                    }
                    None if operator.is_client(token & session::TOKEN_SESSION) => operator.timer(port),
                    Some(session) => session.timer(port, shared, token),
                    None => prober.timer(port, shared, session::token_number(token)),
                }
            }
        }
    }

    fn with(&mut self, conn: ClientConn, act: impl FnOnce(&mut Session, &mut Shared)) {
        if let Some(idx) = self.shared.owners.get(&conn).copied() {
            act(&mut self.sessions[idx], &mut self.shared);
        }
    }

    fn advance_stage(&mut self, port: &dyn ClientPort) {
        let Some(healed) = self.shared.history.healed_at() else { return };
        let now = port.now();
        if self.shared.stage == Stage::Busy && now >= healed + WRITES_UNTIL {
            self.shared.stage = Stage::Quiet;
            for session in &mut self.sessions {
                session.hang_up_idle(port, &mut self.shared);
            }
        }
        if self.shared.stage == Stage::Quiet && now >= healed + READ_BACK_AFTER {
            self.shared.stage = Stage::ReadBack;
            let sessions_count = self.sessions.len();
            for (idx, key) in all_keys(&self.shared.history).into_iter().enumerate() {
                self.sessions[idx % sessions_count].unread.push(key);
            }
        }
    }

    /// No fault happens any more.
    pub fn healed(&mut self, port: &dyn ClientPort) {
        self.prober.retire(port, &mut self.shared);
        self.hostiles.retire(port);
        self.operator.retire();
        self.shared.history.heal(port.now());
    }

    /// Whether everything was read back.
    pub fn has_read_back(&self) -> bool {
        self.shared.stage == Stage::ReadBack
            && self.sessions.iter().all(|session| session.unread.is_empty() && !session.is_busy())
            && self.expiring.is_done()
    }

    /// What was asked and answered.
    pub fn history(&self) -> &History {
        &self.shared.history
    }
}

/// All keys that operations name, in the order of their first use.
fn all_keys(history: &History) -> Vec<Text> {
    let mut known = HashSet::new();
    let mut keys = Vec::new();
    for operation in history.operations() {
        operation.call.for_each_key(|key| {
            if known.insert(key) {
                keys.push(key.clone());
            }
        });
    }
    keys
}

impl Workload for Sessions {
    fn start(&mut self, net: &ClientNet) {
        self.begin(net);
    }

    fn event(&mut self, net: &ClientNet, event: ClientEvent) {
        self.happened(net, event);
    }

    fn elected(&mut self, net: &ClientNet, group: GroupId, place: CoreAddr) {
        self.prober.elected(net, &mut self.shared, group, place);
    }

    fn heal(&mut self, net: &ClientNet) {
        self.healed(net);
    }

    fn is_done(&self) -> bool {
        self.has_read_back()
    }

    fn history(&self) -> &History {
        Sessions::history(self)
    }
}
