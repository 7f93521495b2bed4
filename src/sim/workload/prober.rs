//! A client that knows what none can: who has just been elected, and who led before and perhaps does not know it is over. It
//! writes at the one and, once that is acknowledged, reads at the other, again and again while both answer. Sessions rarely
//! happen to be there in such a moment, which is when a read may be stale.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use meta::ClusterMap;
use resp::Protocol;
use types::{CoreAddr, GroupId, Instant, Slot};

use super::calls::{self, Failure};
use super::port::ClientPort;
use super::reader;
use super::session;
use super::shared::Shared;
use crate::client::ClientConn;
use crate::history::{Call, OperationId, Outcome, Text};

/// For how long after an election it asks: longer than any lease, after which nobody may believe to lead.
const PROBE_FOR: Duration = Duration::from_secs(1);

/// The two whom a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Elected,
    Former,
}

struct Asked {
    side: Side,
    call: Call,
    id: OperationId,
}

/// What is asked after one election. One command is under way at a time.
struct Probe {
    number: u64,
    key: Text,
    until: Instant,
    elected: ClientConn,
    former: ClientConn,
    open_count: usize,
    asked: Option<Asked>,
    received: Vec<u8>,
}

/// The client.
pub(super) struct Prober {
    client: u64,
    /// A key of each group that has any, for this client alone.
    keys: BTreeMap<GroupId, Text>,
    addrs: BTreeMap<CoreAddr, SocketAddr>,
    /// Who was elected last.
    leaders: BTreeMap<GroupId, CoreAddr>,
    probes: BTreeMap<GroupId, Probe>,
    probes_count: u64,
}

impl Prober {
    /// One that has nobody to ask.
    pub(super) fn idle(client: u64) -> Prober {
        let (keys, addrs, leaders, probes) = Default::default();
        Prober { client, keys, addrs, leaders, probes, probes_count: 0 }
    }

    /// One for the clusters of this map.
    pub(super) fn new(client: u64, map: &ClusterMap) -> Prober {
        let key_of = |slots: &[meta::SlotRange]| {
            let owns = |slot: Slot| slots.iter().any(|range| (range.first..=range.last).contains(&slot.number()));
            (0..).map(|number| Bytes::from(format!("probe{number}"))).find(|key| owns(Slot::of_key(key)))
        };
        let with_slots = map.groups.iter().filter(|group| !group.slots.is_empty());
        let keys = with_slots.filter_map(|group| Some((group.id, key_of(&group.slots)?))).collect();
        let addr = |place: CoreAddr| Some((place, map.node(place.node)?.core_addr(place.core)));
        let addrs = map.places().filter_map(addr).collect();
        Prober { keys, addrs, ..Prober::idle(client) }
    }

    /// Whether a connection is one of its own.
    pub(super) fn owns(&self, conn: ClientConn) -> bool {
        self.probes.values().any(|probe| probe.side(conn).is_some())
    }

    /// A group has a new leader.
    pub(super) fn elected(&mut self, port: &dyn ClientPort, shared: &mut Shared, group: GroupId, place: CoreAddr) {
        let former = self.leaders.insert(group, place).filter(|former| *former != place);
        let (Some(key), Some(former)) = (self.keys.get(&group).cloned(), former) else { return };
        let addrs = [place, former].map(|place| self.addrs.get(&place).copied());
        let [Some(elected), Some(former)] = addrs else { return };
        self.end(port, shared, group);
        self.probes_count += 1;
        let (number, until) = (self.probes_count, port.now() + PROBE_FOR);
        port.timer(until, session::timer_token(self.client, number));
        let (elected, former) = (port.connect(elected), port.connect(former));
        let probe = Probe { number, key, until, elected, former, open_count: 0, asked: None, received: Vec::new() };
        self.probes.insert(group, probe);
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn) {
        let Some((group, _)) = self.find(conn) else { return };
        let Some(probe) = self.probes.get_mut(&group) else { return };
        probe.open_count += 1;
        if probe.open_count == 2 {
            probe.ask(port, shared, self.client, Side::Elected);
        }
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn, bytes: &[u8]) {
        let Some((group, side)) = self.find(conn) else { return };
        let Some(probe) = self.probes.get_mut(&group) else { return };
        probe.received.extend_from_slice(bytes);
        let (answer, len) = match reader::read(&probe.received, Protocol::Resp2) {
            Ok(None) => return,
            Ok(Some(read)) => read,
            Err(bad) => return shared.history.object(format!("the prober: {bad}")),
        };
        let asked = probe.asked.take().filter(|asked| asked.side == side && len == probe.received.len());
        probe.received.clear();
        let Some(asked) = asked else {
            return shared.history.object(format!("the prober: a reply to nothing: {answer:?}"));
        };
        let shown = format!("{answer:?}");
        let (outcome, reason) = match answer {
            reader::Answer::Error(error) => match calls::failure(&asked.call, &error) {
                Failure::NotApplied | Failure::Moved(..) => (Some(Outcome::NotApplied), Some(error)),
                Failure::Unknown => (Some(Outcome::Unknown), Some(error)),
                Failure::Unexpected => (None, Some(error)),
            },
            answer => (calls::outcome(&asked.call, answer), None),
        };
        if outcome.is_none() {
            shared.history.object(format!("the prober: {:?} was answered with {shown:.200}", asked.call));
        }
        let goes_on = outcome.is_some() && reason.is_none() && port.now() < probe.until;
        shared.history.end(asked.id, port.now(), outcome.unwrap_or(Outcome::Unknown), reason);
        match side {
            Side::Elected if goes_on => probe.ask(port, shared, self.client, Side::Former),
            Side::Former if goes_on => probe.ask(port, shared, self.client, Side::Elected),
            _ => self.end(port, shared, group),
        }
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn) {
        if let Some((group, _)) = self.find(conn) {
            self.end(port, shared, group);
        }
    }

    /// The time of a probe is over.
    pub(super) fn timer(&mut self, port: &dyn ClientPort, shared: &mut Shared, number: u64) {
        let late = self.probes.iter().find(|(_, probe)| probe.number == number).map(|(group, _)| *group);
        late.into_iter().for_each(|group| self.end(port, shared, group));
    }

    /// Asks nothing any more.
    pub(super) fn retire(&mut self, port: &dyn ClientPort, shared: &mut Shared) {
        self.keys.clear();
        let groups: Vec<_> = self.probes.keys().copied().collect();
        groups.into_iter().for_each(|group| self.end(port, shared, group));
    }

    fn find(&self, conn: ClientConn) -> Option<(GroupId, Side)> {
        self.probes.iter().find_map(|(group, probe)| Some((*group, probe.side(conn)?)))
    }

    fn end(&mut self, port: &dyn ClientPort, shared: &mut Shared, group: GroupId) {
        let Some(probe) = self.probes.remove(&group) else { return };
        port.close(probe.elected);
        port.close(probe.former);
        if let Some(asked) = probe.asked {
            let reason = "the prober closed the connection".to_owned();
            shared.history.end(asked.id, port.now(), Outcome::Unknown, Some(reason));
        }
    }
}

impl Probe {
    fn side(&self, conn: ClientConn) -> Option<Side> {
        match conn {
            _ if conn == self.elected => Some(Side::Elected),
            _ if conn == self.former => Some(Side::Former),
            _ => None,
        }
    }

    fn ask(&mut self, port: &dyn ClientPort, shared: &mut Shared, client: u64, side: Side) {
        let (conn, call) = match side {
            Side::Elected => (self.elected, Call::Set(self.key.clone(), shared.mix.fresh_value())),
            Side::Former => (self.former, Call::Get(self.key.clone())),
        };
        let mut bytes = Vec::new();
        calls::write(&call, &mut bytes);
        let id = shared.history.begin(client as u32, port.now(), call.clone());
        self.asked = Some(Asked { side, call, id });
        port.send(conn, &bytes);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use types::{CoreId, NodeId};

    use super::*;
    use crate::checkers::check_linearizability;
    use crate::cluster_spec::Load;
    use crate::history::{History, Operation};
    use crate::prng::Prng;
    use crate::workload::mix::Mix;
    use crate::workload::shared::Stage;
    use crate::workload::shared_counters::SharedCounters;

    const GROUP: GroupId = GroupId(1);

    /// Connections are the numbers of those who are asked, from 0.
    #[derive(Default)]
    struct Port {
        now: Cell<u64>,
        connected: RefCell<Vec<SocketAddr>>,
        sent: RefCell<Vec<(ClientConn, String)>>,
        closed: RefCell<Vec<ClientConn>>,
        timers: RefCell<Vec<u64>>,
    }

    impl ClientPort for Port {
        fn now(&self) -> Instant {
            self.now.set(self.now.get() + 1_000);
            Instant::from_nanos(self.now.get())
        }

        fn connect(&self, addr: SocketAddr) -> ClientConn {
            self.connected.borrow_mut().push(addr);
            self.connected.borrow().len() as ClientConn - 1
        }

        fn keep_alive(&self, _conn: ClientConn) {}

        fn pause_reading(&self, _conn: ClientConn) {}

        fn in_flight_bytes(&self, _conn: ClientConn) -> usize {
            0
        }

        fn send(&self, conn: ClientConn, bytes: &[u8]) {
            let words = String::from_utf8_lossy(bytes);
            self.sent.borrow_mut().push((conn, words.split("\r\n").nth(2).unwrap_or_default().to_owned()));
        }

        fn close(&self, conn: ClientConn) {
            self.closed.borrow_mut().push(conn);
        }

        fn timer(&self, _at: Instant, token: u64) {
            self.timers.borrow_mut().push(token);
        }
    }

    fn place(node: u32) -> CoreAddr {
        CoreAddr { node: NodeId(node), core: CoreId(0) }
    }

    fn addr(node: u32) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, node as u8], 7_001))
    }

    /// After an election of node 2 in the place of node 1, with both connections up.
    fn elected() -> (Prober, Shared, Port) {
        let (mix, history, owners) = (Mix::of_seed(1, Load::Usual), History::new(), BTreeMap::new());
        let (prng, counters) = (Prng::stream(1, "test"), SharedCounters::none());
        let mut shared = Shared { prng, mix, counters, healed_depth_max: 1, history, stage: Stage::Busy, owners };
        let (mut prober, port) = (Prober::idle(7), Port::default());
        prober.keys.insert(GROUP, Bytes::from_static(b"probe"));
        prober.addrs.extend([1, 2].map(|node| (place(node), addr(node))));
        prober.elected(&port, &mut shared, GROUP, place(1));
        assert!(port.connected.borrow().is_empty(), "nobody led before");
        prober.elected(&port, &mut shared, GROUP, place(2));
        assert_eq!(*port.connected.borrow(), [addr(2), addr(1)]);
        prober.connected(&port, &mut shared, 1);
        assert!(port.sent.borrow().is_empty(), "the other connection is not there yet");
        prober.connected(&port, &mut shared, 0);
        (prober, shared, port)
    }

    fn sent(port: &Port) -> Vec<(ClientConn, String)> {
        port.sent.take()
    }

    fn command(conn: ClientConn, name: &str) -> Vec<(ClientConn, String)> {
        vec![(conn, name.to_owned())]
    }

    fn outcomes(shared: &Shared) -> Vec<Outcome> {
        shared.history.operations().iter().map(|operation| operation.outcome.clone()).collect()
    }

    #[test]
    fn who_was_elected_is_written_to_and_who_led_is_read_from_until_it_refuses() {
        let (mut prober, mut shared, port) = elected();
        assert_eq!(sent(&port), command(0, "SET"));
        prober.received(&port, &mut shared, 0, b"+O");
        assert_eq!(sent(&port), [], "half an answer");
        prober.received(&port, &mut shared, 0, b"K\r\n");
        assert_eq!(sent(&port), command(1, "GET"));
        let [Operation { call: Call::Set(_, value), .. }, _] = shared.history.operations() else {
            panic!("two commands were sent")
        };
        let answer = [b"$", value.len().to_string().as_bytes(), b"\r\n", value, b"\r\n"].concat();
        prober.received(&port, &mut shared, 1, &answer);
        assert_eq!(sent(&port), command(0, "SET"));
        prober.received(&port, &mut shared, 0, b"+OK\r\n");
        assert_eq!(sent(&port), command(1, "GET"));
        prober.received(&port, &mut shared, 1, b"-MOVED 1 127.0.0.2:7001\r\n");
        assert_eq!(sent(&port), []);
        assert_eq!(*port.closed.borrow(), [0, 1]);
        assert!(!prober.owns(0) && !prober.owns(1));
        assert_eq!(outcomes(&shared)[3], Outcome::NotApplied);
        assert_eq!(shared.history.objection(), None);
        check_linearizability(&shared.history).unwrap();
    }

    #[test]
    fn a_former_leader_that_answers_from_memory_is_found_out() {
        let (mut prober, mut shared, port) = elected();
        prober.received(&port, &mut shared, 0, b"+OK\r\n");
        prober.received(&port, &mut shared, 1, b"$-1\r\n");
        prober.retire(&port, &mut shared);
        check_linearizability(&shared.history).unwrap_err();
    }

    #[test]
    fn what_is_not_answered_in_time_is_given_up_and_its_outcome_unknown() {
        let (mut prober, mut shared, port) = elected();
        let number = session::token_number(port.timers.borrow()[0]);
        prober.timer(&port, &mut shared, number + 1);
        assert!(prober.owns(0), "the timer of another probe");
        prober.timer(&port, &mut shared, number);
        assert!(!prober.owns(0));
        assert_eq!(*port.closed.borrow(), [0, 1]);
        assert_eq!(outcomes(&shared), [Outcome::Unknown]);
        assert_ne!(shared.history.operations()[0].end, Instant::NEVER);
    }

    #[test]
    fn answers_that_nobody_asked_for_are_objected_to() {
        let (mut prober, mut shared, port) = elected();
        prober.received(&port, &mut shared, 1, b"$-1\r\n");
        assert!(shared.history.objection().is_some_and(|what| what.contains("a reply to nothing")));
    }
}
