//! One client: what it sends over its connections, and what it does with what comes back.

use std::net::SocketAddr;
use std::time::Duration;

use resp::Protocol;
use types::{Instant, Slot};

use super::calls::{self, Failure};
use super::link::{Item, Link, Waiting, send_in_pieces};
use super::manner::Manner;
use super::pipeline_order::{Mark, PipelineOrder};
use super::port::ClientPort;
use super::reader::{self, Answer};
use super::routes::Routes;
use super::shared::{Shared, Stage};
use crate::client::ClientConn;
use crate::history::{Call, Outcome, Text};

/// The session's number in a timer's token.
pub(super) const TOKEN_SESSION: u64 = 0xFFFF;
/// The timer is a deadline.
const TOKEN_DEADLINE: u64 = 1 << 16;
/// Where the number of the burst begins.
const TOKEN_BURST_SHIFT: u32 = 17;
/// How often a command is redirected before it is given up.
const REDIRECTS_COUNT_MAX: u8 = 5;
/// How long a session waits after a failure, at most.
const BACK_OFF_MAX: Duration = Duration::from_millis(400);
/// How long it thinks between two bursts once faults are over, at most.
const REST_HEALED_MAX: Duration = Duration::from_secs(2);
/// Most commands under way of a session that does not wait for answers.
const UNDER_WAY_COUNT_MAX: usize = 32;
/// One command in this number concerns the session's own key, where it has one.
const OWN_OF: u64 = 6;

/// A timer's token: whose it is, and which of its timers.
pub(super) fn timer_token(client: u64, number: u64) -> u64 {
    number << TOKEN_BURST_SHIFT | client
}

/// Which of a client's timers a token is for.
pub(super) fn token_number(token: u64) -> u64 {
    token >> TOKEN_BURST_SHIFT
}

/// A client.
pub(super) struct Session {
    number: u64,
    manner: Manner,
    gateways: Vec<SocketAddr>,
    routes: Routes,
    own: PipelineOrder,
    links: Vec<Link>,
    /// Number of the burst under way, or of the next one.
    burst: u64,
    has_failed: bool,
    /// Keys to be read back.
    pub(super) unread: Vec<Text>,
}

impl Session {
    pub(super) fn new(number: u64, manner: Manner, gateways: Vec<SocketAddr>, cores: Vec<SocketAddr>) -> Session {
        let routes = Routes::new(cores);
        let links = Vec::new();
        let own = PipelineOrder::new(number);
        Session { number, manner, gateways, routes, own, links, burst: 0, has_failed: false, unread: Vec::new() }
    }

    /// Nodes with these cores may join.
    pub(super) fn expect(&mut self, later_cores: &[SocketAddr]) {
        self.routes.expect(later_cores);
    }

    /// Whether it waits for anything.
    pub(super) fn is_busy(&self) -> bool {
        self.links.iter().any(Link::is_busy)
    }

    /// Sends the next burst at `at`.
    pub(super) fn sleep(&mut self, port: &dyn ClientPort, at: Instant) {
        self.burst += 1;
        port.timer(at, timer_token(self.number, self.burst));
    }

    /// Closes the connections on which nothing is under way. A connection that was idle while the machine at its other end
    /// died looks sound until something is sent on it; what is judged by whether it is
    /// answered must not meet such a one.
    pub(super) fn hang_up_idle(&mut self, port: &dyn ClientPort, shared: &mut Shared) {
        self.links.retain(|link| {
            let is_busy = link.is_busy();
            if !is_busy {
                shared.owners.remove(&link.conn);
                port.close(link.conn);
            }
            is_busy
        });
    }

    /// A timer of this session.
    pub(super) fn timer(&mut self, port: &dyn ClientPort, shared: &mut Shared, token: u64) {
        if token_number(token) != self.burst {
            return;
        }
        if token & TOKEN_DEADLINE == 0 {
            return self.send_burst(port, shared);
        }
        self.give_up_links(port, shared, |_| true);
        self.rest(port, shared);
    }

    fn give_up_links(&mut self, port: &dyn ClientPort, shared: &mut Shared, is_late: impl Fn(&Link) -> bool) {
        let late: Vec<_> = self.links.iter().filter(|link| is_late(link)).map(|link| link.conn).collect();
        for conn in late {
            port.close(conn);
            self.drop_link(shared, conn, "no answer came in time", port.now());
        }
    }

    /// Gives up what is not answered by then, if it ever gives up.
    fn set_deadline(&self, port: &dyn ClientPort) {
        if let Some(patience) = self.manner.patience {
            port.timer(port.now() + patience, timer_token(self.number, self.burst) | TOKEN_DEADLINE);
        }
    }

    fn under_way_count(&self) -> usize {
        self.links.iter().map(|link| link.queue.len() + link.waiting.len()).sum()
    }

    /// Whether the next burst waits until this one is answered.
    fn waits(&self, shared: &Shared) -> bool {
        !self.manner.is_open_loop || shared.history.healed_at().is_some()
    }

    fn send_burst(&mut self, port: &dyn ClientPort, shared: &mut Shared) {
        if self.is_busy() {
            if self.waits(shared) {
                // It did not wait before: what it has asked for is to be answered first.
                return self.set_deadline(port);
            }
            if let Some(patience) = self.manner.patience {
                let now = port.now();
                self.give_up_links(port, shared, |link| link.is_busy() && now.since(link.waits_since) > patience);
            }
            if self.under_way_count() >= UNDER_WAY_COUNT_MAX {
                return self.go_on(port, shared);
            }
        }
        let calls = self.calls(port.now(), shared);
        if calls.is_empty() {
            let pause = self.manner.think.min(BACK_OFF_MAX.as_nanos() as u64);
            return self.sleep(port, port.now() + Duration::from_nanos(pause));
        }
        if self.waits(shared) {
            self.set_deadline(port);
        } else {
            self.go_on(port, shared);
        }
        for (call, own) in calls {
            let item = Item { call, own, id: None, redirects_count: 0 };
            let addr = self.addr(&item.call, shared);
            self.enqueue(port, shared, addr, item);
        }
        self.flush(port, shared);
        if shared.stage == Stage::Busy
            && shared.history.healed_at().is_none()
            && shared.prng.bernoulli(self.manner.rudeness)
        {
            let conns: Vec<_> = self.links.iter().map(|link| link.conn).collect();
            for conn in conns {
                port.close(conn);
                self.drop_link(shared, conn, "the session closed the connection", port.now());
            }
            self.rest(port, shared);
        }
    }

    /// The next burst comes whatever is answered until then.
    fn go_on(&mut self, port: &dyn ClientPort, shared: &mut Shared) {
        let pause = Duration::from_nanos(shared.prng.range(0, 2 * self.manner.think));
        self.sleep(port, port.now() + pause);
    }

    /// What to ask next.
    fn calls(&mut self, now: Instant, shared: &mut Shared) -> Vec<(Call, Option<Mark>)> {
        let is_healed = shared.history.healed_at().is_some();
        let depth_max = if is_healed { shared.healed_depth_max } else { u64::MAX };
        let depth = shared.prng.range(1, self.manner.depth_max.min(depth_max));
        if shared.stage == Stage::ReadBack {
            let rest = self.unread.len().saturating_sub(depth as usize);
            return self.unread.split_off(rest).into_iter().map(|key| (Call::Get(key), None)).collect();
        }
        let may_write = shared.stage == Stage::Busy && !self.manner.only_reads && !shared.mix.is_lull(now);
        // A cluster client's commands for one key go another way whenever it is redirected.
        let has_own = may_write && !self.manner.is_cluster_client && !shared.mix.flushes();
        let next = |_| loop {
            if has_own && shared.prng.below(OWN_OF) == 0 {
                let value = shared.mix.fresh_value();
                let (call, mark) = self.own.call(&mut shared.prng, value);
                return (call, Some(mark));
            }
            if let Some(call) = shared.counters.call(may_write) {
                return (call, None);
            }
            let call = shared.mix.call();
            if may_write || !call.is_write() {
                return (call, None);
            }
        };
        (0..depth).map(next).collect()
    }

    fn addr(&self, call: &Call, shared: &mut Shared) -> SocketAddr {
        let mut slot = None;
        call.for_each_key(|key| slot = Some(Slot::of_key(key)));
        match slot {
            Some(slot) if self.manner.is_cluster_client => self.routes.addr(slot, &mut shared.prng),
            // A gateway stays until its connection is lost.
            _ => {
                let known = self.links.iter().map(|link| link.addr).find(|addr| self.gateways.contains(addr));
                known.unwrap_or_else(|| shared.prng.pick(&self.gateways))
            }
        }
    }

    fn enqueue(&mut self, port: &dyn ClientPort, shared: &mut Shared, addr: SocketAddr, item: Item) {
        if let Some(link) = self.links.iter_mut().find(|link| link.addr == addr) {
            return link.queue.push(item);
        }
        let conn = port.connect(addr);
        if self.manner.patience.is_none() {
            port.keep_alive(conn);
        }
        shared.owners.insert(conn, self.number as usize);
        self.links.push(Link::new(conn, addr, port.now(), item));
    }

    /// Sends what stands in queues.
    fn flush(&mut self, port: &dyn ClientPort, shared: &mut Shared) {
        let now = port.now();
        for link in self.links.iter_mut().filter(|link| link.is_open && !link.queue.is_empty()) {
            let mut bytes = Vec::new();
            if link.waiting.is_empty() {
                link.waits_since = now;
            }
            for mut item in link.queue.drain(..) {
                let begin = || shared.history.begin(self.number as u32, now, item.call.clone());
                item.id = Some(item.id.unwrap_or_else(begin));
                calls::write(&item.call, &mut bytes);
                link.waiting.push_back(Waiting::Command(item));
            }
            send_in_pieces(port, &mut shared.prng, link.conn, &bytes);
        }
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn) {
        let Some(link) = self.links.iter_mut().find(|link| link.conn == conn) else { return };
        link.is_open = true;
        if self.manner.protocol == Protocol::Resp3 {
            let mut hello = Vec::new();
            calls::write_parts(&mut hello, &[b"HELLO", b"3"]);
            port.send(conn, &hello);
            link.waiting.push_back(Waiting::Hello);
        }
        self.flush(port, shared);
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn, bytes: &[u8]) {
        let Some(link) = self.links.iter_mut().find(|link| link.conn == conn) else { return };
        link.received.extend_from_slice(bytes);
        link.waits_since = port.now();
        let mut received = std::mem::take(&mut link.received);
        let mut at = 0;
        loop {
            match reader::read(&received[at..], self.manner.protocol) {
                Ok(None) => break,
                Ok(Some((answer, len))) => {
                    at += len;
                    if let Err(what) = self.answered(port, shared, conn, answer) {
                        shared.history.object(format!("session {}: {what}", self.number));
                    }
                }
                Err(bad) => {
                    shared.history.object(format!("session {}: {bad}", self.number));
                    break;
                }
            }
        }
        if let Some(link) = self.links.iter_mut().find(|link| link.conn == conn) {
            received.drain(..at);
            link.received = received;
        }
        self.flush(port, shared);
        self.rest_if_idle(port, shared);
    }

    fn answered(
        &mut self,
        port: &dyn ClientPort,
        shared: &mut Shared,
        conn: ClientConn,
        answer: Answer,
    ) -> Result<(), String> {
        let Some(link) = self.links.iter_mut().find(|link| link.conn == conn) else { return Ok(()) };
        let Some(waiting) = link.waiting.pop_front() else {
            return Err(format!("a reply to nothing: {answer:?}"));
        };
        let item = match (waiting, answer) {
            (Waiting::Hello, Answer::Array(_)) => return Ok(()),
            (Waiting::Hello, answer) => return Err(format!("HELLO was answered with {answer:?}")),
            (Waiting::Command(item), Answer::Error(error)) => return self.refused(port, shared, item, error),
            (Waiting::Command(item), answer) => (item, answer),
        };
        let (item, answer) = item;
        match calls::outcome(&item.call, answer.clone()) {
            Some(outcome) => {
                let judge = |mark: &Mark| self.own.answered(mark, &item.call, &outcome);
                let verdict = item.own.as_ref().map_or(Ok(()), judge);
                let verdict = verdict.and(link.counts.answered(&item.call, &outcome));
                end(port, shared, &item, outcome, None);
                verdict
            }
            None => {
                end(port, shared, &item, Outcome::Unknown, Some("an answer of the wrong kind".to_owned()));
                let shown = format!("{answer:?}");
                Err(format!("{:?} was answered with {shown:.200}", item.call))
            }
        }
    }

    fn refused(
        &mut self,
        port: &dyn ClientPort,
        shared: &mut Shared,
        mut item: Item,
        error: String,
    ) -> Result<(), String> {
        match calls::failure(&item.call, &error) {
            Failure::NotApplied => self.failed(port, shared, item, Outcome::NotApplied, error),
            Failure::Unknown => self.failed(port, shared, item, Outcome::Unknown, error),
            Failure::Moved(slot, addr) if self.manner.is_cluster_client && self.routes.knows(addr) => {
                self.routes.learn(slot, addr);
                item.redirects_count += 1;
                if item.redirects_count > REDIRECTS_COUNT_MAX {
                    self.failed(port, shared, item, Outcome::NotApplied, error);
                } else {
                    self.enqueue(port, shared, addr, item);
                }
            }
            Failure::Moved(..) | Failure::Unexpected => {
                let what = format!("{:?} was answered with the error `{error}`", item.call);
                self.failed(port, shared, item, Outcome::Unknown, error);
                return Err(what);
            }
        }
        Ok(())
    }

    fn failed(&mut self, port: &dyn ClientPort, shared: &mut Shared, item: Item, outcome: Outcome, reason: String) {
        self.has_failed = true;
        item.own.iter().for_each(|mark| self.own.failed(mark));
        end(port, shared, &item, outcome, Some(reason));
        self.give_back(shared, item);
    }

    /// A key that could not be read back must be read again.
    fn give_back(&mut self, shared: &Shared, item: Item) {
        if shared.stage == Stage::ReadBack
            && let Call::Get(key) = item.call
        {
            self.unread.push(key);
        }
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self, port: &dyn ClientPort, shared: &mut Shared, conn: ClientConn, reason: &str) {
        let was_busy = self.is_busy();
        self.drop_link(shared, conn, reason, port.now());
        if was_busy {
            self.rest_if_idle(port, shared);
        }
    }

    fn drop_link(&mut self, shared: &mut Shared, conn: ClientConn, reason: &str, now: Instant) {
        shared.owners.remove(&conn);
        let Some(idx) = self.links.iter().position(|link| link.conn == conn) else { return };
        let link = self.links.remove(idx);
        self.routes.forget(link.addr);
        self.has_failed = true;
        for waiting in link.waiting {
            let Waiting::Command(item) = waiting else { continue };
            item.own.iter().for_each(|mark| self.own.failed(mark));
            if let Some(id) = item.id {
                shared.history.end(id, now, Outcome::Unknown, Some(reason.to_owned()));
            }
            self.give_back(shared, item);
        }
        for item in link.queue {
            item.own.iter().for_each(|mark| self.own.failed(mark));
            // It was redirected here, and never sent.
            if let Some(id) = item.id {
                shared.history.end(id, now, Outcome::NotApplied, Some(reason.to_owned()));
            }
            self.give_back(shared, item);
        }
    }

    fn rest_if_idle(&mut self, port: &dyn ClientPort, shared: &mut Shared) {
        if !self.is_busy() {
            self.rest(port, shared);
        }
    }

    /// The burst is over: the next one comes after a while.
    fn rest(&mut self, port: &dyn ClientPort, shared: &mut Shared) {
        let most = if std::mem::take(&mut self.has_failed) {
            BACK_OFF_MAX.as_nanos() as u64
        } else if shared.stage == Stage::ReadBack {
            1_000_000
        } else {
            // Once all is healed there is nothing left to provoke, and the end must not be missed.
            let is_healed = shared.history.healed_at().is_some();
            if is_healed {
                (8 * self.manner.think).min(REST_HEALED_MAX.as_nanos() as u64)
            } else {
                2 * self.manner.think
            }
        };
        let pause = Duration::from_nanos(shared.prng.range(0, most));
        self.sleep(port, port.now() + pause);
    }
}

fn end(port: &dyn ClientPort, shared: &mut Shared, item: &Item, outcome: Outcome, reason: Option<String>) {
    let id = item.id.expect("a command that was sent has begun");
    shared.history.end(id, port.now(), outcome, reason);
}
