//! One client whose keys live for moments. It sends a burst, waits for all answers, and thinks.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use resp::Protocol;
use types::Instant;

use super::calls::Calls;
use crate::client::ClientConn;
use crate::history::{ExpiringCall, ExpiringId, Outcome, Text};
use crate::prng::Prng;
use crate::workload::calls::{Failure, failure_of_one, write_parts};
use crate::workload::port::ClientPort;
use crate::workload::reader::{self, Answer};
use crate::workload::session;
use crate::workload::shared::Shared;

/// Most commands of a burst.
const BURST_COUNT_MAX: u64 = 4;
/// Most commands of a burst that removes what is left.
const CLEANING_COUNT_MAX: usize = 32;
/// How long it waits for answers.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long it waits before it connects anew, in milliseconds.
const BACK_OFF_MS: (u64, u64) = (10, 400);

/// What the clients are about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// They write, if they may, and read.
    Busy {
        /// Whether they may write.
        may_write: bool,
    },
    /// They ask for nothing until then.
    Silent(Instant),
    /// They remove what is left.
    Cleaning,
}

struct Asked {
    key: Text,
    call: ExpiringCall,
    id: ExpiringId,
}

/// A client.
pub(super) struct Client {
    number: u64,
    gateways: Vec<SocketAddr>,
    /// How long it thinks between two bursts, at most, in milliseconds.
    think_ms: u64,
    conn: Option<ClientConn>,
    is_open: bool,
    received: Vec<u8>,
    asked: VecDeque<Asked>,
    /// Keys that it writes. One on which it does not know what became of a write makes room for another.
    keys: Vec<Text>,
    /// Keys that it has written and not removed for good.
    left: Vec<Text>,
    /// Number of the timer that counts.
    timer: u64,
}

impl Client {
    pub(super) fn new(number: u64, gateways: Vec<SocketAddr>, prng: &mut Prng) -> Client {
        Client {
            number,
            gateways,
            think_ms: prng.pick(&[20, 100, 400]),
            conn: None,
            is_open: false,
            received: Vec::new(),
            asked: VecDeque::new(),
            keys: vec![Text::new(); prng.pick(&[1, 3, 8])],
            left: Vec::new(),
            timer: 0,
        }
    }

    /// Whether everything that it has written is removed.
    pub(super) fn is_done(&self) -> bool {
        self.left.is_empty() && self.asked.is_empty()
    }

    pub(super) fn owns(&self, conn: ClientConn) -> bool {
        self.conn == Some(conn)
    }

    /// Asks for the next burst at `at`.
    pub(super) fn sleep_until(&mut self, port: &dyn ClientPort, at: Instant) {
        self.timer += 1;
        port.timer(at, session::timer_token(self.number, self.timer));
    }

    fn sleep(&mut self, port: &dyn ClientPort, calls: &mut Calls, (least, most): (u64, u64)) {
        let pause = Duration::from_millis(calls.prng.range(least, most));
        self.sleep_until(port, port.now() + pause);
    }

    /// Its timer: it has thought enough, or waited too long.
    pub(super) fn timer(
        &mut self,
        port: &dyn ClientPort,
        shared: &mut Shared,
        calls: &mut Calls,
        timer: u64,
        stage: Stage,
    ) {
        if timer != self.timer {
            return;
        }
        if !self.asked.is_empty() || self.conn.is_some() && !self.is_open {
            return self.give_up(port, shared, calls);
        }
        match stage {
            Stage::Silent(until) => {
                // What nobody asks over for long may look sound and not be.
                self.hang_up(port);
                self.sleep_until(port, until);
            }
            Stage::Cleaning if self.left.is_empty() => self.hang_up(port),
            Stage::Busy { .. } | Stage::Cleaning if self.conn.is_none() => {
                self.conn = Some(port.connect(calls.prng.pick(&self.gateways)));
                self.sleep_until(port, port.now() + PATIENCE);
            }
            Stage::Busy { .. } | Stage::Cleaning => self.ask(port, shared, calls, stage),
        }
    }

    /// The connection stands.
    pub(super) fn connected(&mut self, port: &dyn ClientPort, shared: &mut Shared, calls: &mut Calls, stage: Stage) {
        self.is_open = true;
        match stage {
            Stage::Silent(_) => self.sleep(port, calls, (0, 0)),
            _ => self.ask(port, shared, calls, stage),
        }
    }

    fn ask(&mut self, port: &dyn ClientPort, shared: &mut Shared, calls: &mut Calls, stage: Stage) {
        let Some(conn) = self.conn else { return };
        let burst = match stage {
            Stage::Busy { may_write } => self.burst(calls, port.now(), may_write),
            _ => {
                let rest = self.left.len().saturating_sub(CLEANING_COUNT_MAX);
                self.left.split_off(rest).into_iter().map(|key| (key, ExpiringCall::GetDel)).collect()
            }
        };
        if burst.is_empty() {
            return self.sleep(port, calls, (1, self.think_ms));
        }
        let mut bytes = Vec::new();
        for (key, call) in burst {
            let (name, rest) = call.words();
            let parts: Vec<&[u8]> =
                [name.as_bytes(), &key].into_iter().chain(rest.iter().map(|text| &text[..])).collect();
            write_parts(&mut bytes, &parts);
            let id = shared.history.expiring.begin(self.number as u32, port.now(), key.clone(), call.clone());
            self.asked.push_back(Asked { key, call, id });
        }
        port.send(conn, &bytes);
        self.sleep_until(port, port.now() + PATIENCE);
    }

    /// At most one write for each key.
    fn burst(&mut self, calls: &mut Calls, now: Instant, may_write: bool) -> Vec<(Text, ExpiringCall)> {
        let mut burst: Vec<(Text, ExpiringCall)> = Vec::new();
        for _ in 0..calls.prng.range(1, BURST_COUNT_MAX) {
            let drawn = calls.prng.below(10);
            if drawn < 5 || !may_write {
                burst.extend(calls.read());
            } else if drawn == 5 {
                let key = calls.hidden_name();
                self.left.push(key.clone());
                burst.push((key, calls.hidden_write()));
            } else {
                let idx = calls.prng.below(self.keys.len() as u64) as usize;
                if self.keys[idx].is_empty() {
                    self.keys[idx] = calls.shown_name();
                    self.left.push(self.keys[idx].clone());
                }
                let key = self.keys[idx].clone();
                if !burst.iter().any(|(other, call)| *other == key && call.is_write()) {
                    burst.push((key, calls.write(now)));
                }
            }
        }
        burst
    }

    /// Bytes have come.
    pub(super) fn received(&mut self, port: &dyn ClientPort, shared: &mut Shared, calls: &mut Calls, bytes: &[u8]) {
        self.received.extend_from_slice(bytes);
        loop {
            match reader::read(&self.received, Protocol::Resp2) {
                Ok(None) => break,
                Ok(Some((answer, len))) => {
                    self.received.drain(..len);
                    if let Err(what) = self.answered(port, shared, answer) {
                        shared.history.object(format!("client {}: {what}", self.number));
                    }
                }
                Err(bad) => return shared.history.object(format!("client {}: {bad}", self.number)),
            }
        }
        if self.asked.is_empty() {
            self.sleep(port, calls, (1, self.think_ms));
        }
    }

    fn answered(&mut self, port: &dyn ClientPort, shared: &mut Shared, answer: Answer) -> Result<(), String> {
        let Some(asked) = self.asked.pop_front() else {
            return Err(format!("a reply to nothing: {answer:?}"));
        };
        let shown = format!("{answer:?}");
        let known = match answer {
            Answer::Error(error) => {
                let adds_data = matches!(asked.call, ExpiringCall::Set(..));
                match failure_of_one(asked.call.is_write(), adds_data, &error) {
                    Failure::NotApplied => Some(Outcome::NotApplied),
                    Failure::Unknown => Some(Outcome::Unknown),
                    Failure::Moved(..) | Failure::Unexpected => None,
                }
            }
            answer => outcome(&asked.call, answer),
        };
        let verdict = known.as_ref().map(|_| ()).ok_or_else(|| format!("{:?} was answered with {shown}", asked.call));
        self.ended(port, shared, asked, known.unwrap_or(Outcome::Unknown));
        verdict
    }

    fn ended(&mut self, port: &dyn ClientPort, shared: &mut Shared, asked: Asked, outcome: Outcome) {
        shared.history.expiring.end(asked.id, port.now(), outcome.clone());
        let is_failed = matches!(outcome, Outcome::NotApplied | Outcome::Unknown);
        if is_failed && asked.call == ExpiringCall::GetDel {
            self.left.push(asked.key);
        } else if outcome == Outcome::Unknown && asked.call.is_write() {
            self.keys.iter_mut().filter(|key| **key == asked.key).for_each(|key| *key = Text::new());
        }
    }

    /// The connection has ended, or there was no answer for too long.
    pub(super) fn give_up(&mut self, port: &dyn ClientPort, shared: &mut Shared, calls: &mut Calls) {
        self.hang_up(port);
        while let Some(asked) = self.asked.pop_front() {
            self.ended(port, shared, asked, Outcome::Unknown);
        }
        self.sleep(port, calls, BACK_OFF_MS);
    }

    fn hang_up(&mut self, port: &dyn ClientPort) {
        self.conn.take().into_iter().for_each(|conn| port.close(conn));
        self.is_open = false;
        self.received.clear();
    }
}

/// What a reply that is no error says; `None` if no server may answer so.
fn outcome(call: &ExpiringCall, answer: Answer) -> Option<Outcome> {
    match (call, answer) {
        (ExpiringCall::Set(..), Answer::Simple(text)) => (text == "OK").then_some(Outcome::Ok),
        (ExpiringCall::Set(..), _) => None,
        (ExpiringCall::Get | ExpiringCall::GetEx(_) | ExpiringCall::GetDel, Answer::Null) => {
            Some(Outcome::Value(None))
        }
        (ExpiringCall::Get | ExpiringCall::GetEx(_) | ExpiringCall::GetDel, Answer::Bulk(value)) => {
            Some(Outcome::Value(Some(value)))
        }
        (ExpiringCall::Get | ExpiringCall::GetEx(_) | ExpiringCall::GetDel, _) => None,
        (_, Answer::Integer(number)) => Some(Outcome::Integer(number)),
        _ => None,
    }
}
