//! One thread of a run: an epoll loop over its connections.
//!
//! Read [`open_loop`] (what is sent when) and [`routes`] (who owns what) behind this page.

mod open_loop;
mod routes;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use rustix::time::{ClockId, clock_gettime};

use crate::error::Error;
use crate::load::conn::{Conn, Lost, Pending, State};
use crate::load::cpus::pin_thread;
use crate::load::keys::KeyChooser;
use crate::load::mix::Kind;
use crate::load::rng::Rng;
use crate::load::schedule::Schedule;
use crate::load::stats::Stats;
use crate::load::timeline::{Mailbox, Window, Windows};
use crate::load::workload::{Verb, Verdict};
use crate::load::{Shared, Spec, Target};

const EVENTS_MAX: usize = 1_024;
const SCRATCH_BYTES: usize = 64 * 1024;
/// How often ends, stalls and lost connections are looked for.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long a lost connection rests before it is tried again, and a topology before it is asked for again.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);
const TIMER: Token = Token(usize::MAX - 1);

/// An owner of slots as this thread sees it.
struct Owner {
    addr: SocketAddr,
    keys: KeyChooser,
    // The connections that lead there, or are about to.
    conns: Vec<usize>,
    // Open loop: when commands were due that wait for room on these connections, the oldest first.
    waiting: VecDeque<u64>,
    // Open loop: the place in `conns` that was looked at last.
    conn_next: usize,
    // Open loop: whether no room was found, and since when there is some again, in ns since the start.
    is_full: bool,
    room_since_ns: u64,
}

impl Owner {
    /// The share of the commands of an open loop that are this owner's.
    fn weight(&self) -> u32 {
        if self.conns.is_empty() { 0 } else { self.keys.count() }
    }
}

/// One thread of a run.
pub(crate) struct Worker<'a> {
    spec: &'a Spec,
    shared: &'a Shared,
    mailbox: &'a Mailbox,
    thread_idx: usize,
    poll: Poll,
    timer: Option<OwnedFd>,
    owners: Vec<Owner>,
    // Each with the index of its owner.
    conns: Vec<(Conn, usize)>,
    schedule: Option<Schedule>,
    windows: Windows,
    // When the window began that `stats` counts, in ns since the start.
    window_start_ns: u64,
    stats: Stats,
    rng: Rng,
    scratch: Vec<u8>,
    started: Instant,
    // When measuring begins, in ns since the start.
    warmup_ns: u64,
    // CPU time of this thread when measuring began; `None` before.
    cpu_from_ns: Option<u64>,
    // How many commands are still to be measured, if that is limited.
    quota: u64,
    // No command is issued from here on, in ns since the start.
    end_ns: u64,
    in_flight: usize,
    // Commands that an answer calls for, each with its key and the time from which it counts.
    follow_ups: Vec<(u32, u64)>,
    // How many commands wait for room, in all.
    waiting_count: u64,
    // Connections to flush; empty between calls.
    touched: Vec<usize>,
    issuing: bool,
    // Set when a reply or a loss says that the topology has changed.
    stale_since_ns: Option<u64>,
    refreshed_ns: u64,
}

impl<'a> Worker<'a> {
    /// Starts to connect, on the thread that is going to run: connection i leads to the target `plan[i]`.
    pub(crate) fn new(
        spec: &'a Spec,
        targets: &[Target],
        plan: &[usize],
        thread_idx: usize,
        shared: &'a Shared,
        mailbox: &'a Mailbox,
    ) -> Result<Worker<'a>, Error> {
        if let Some(cpu) = spec.cpus.of_thread(thread_idx) {
            pin_thread(cpu)?;
        }
        let poll = Poll::new().map_err(Error::os("epoll"))?;
        let mut conns = Vec::with_capacity(plan.len());
        for (idx, owner_idx) in plan.iter().enumerate() {
            let Some(target) = targets.get(*owner_idx) else { continue };
            let conn = Conn::connect(target.addr, spec.protocol, Token(idx), poll.registry(), 0);
            conns.push((conn.map_err(Error::os(format!("connecting to {}", target.addr)))?, *owner_idx));
        }
        let threads = spec.threads as u64;
        let per_thread = |total: u64| total / threads + u64::from((thread_idx as u64) < total % threads);
        let mut worker = Worker {
            spec,
            shared,
            mailbox,
            thread_idx,
            timer: None,
            owners: Vec::new(),
            conns,
            schedule: spec
                .rate
                .map(|rate| Schedule::new(rate, spec.arrivals, spec.seed, thread_idx as u32, spec.threads as u32)),
            windows: Windows::new(spec.window, spec.warmup),
            window_start_ns: 0,
            stats: Stats::new(),
            rng: Rng::new(spec.seed.wrapping_add(thread_idx as u64 * 0x5851_F42D)),
            scratch: vec![0; SCRATCH_BYTES],
            started: Instant::now(),
            warmup_ns: spec.warmup.as_nanos() as u64,
            cpu_from_ns: None,
            quota: spec.requests.map_or(u64::MAX, per_thread),
            end_ns: spec.duration.map_or(u64::MAX, |duration| (spec.warmup + duration).as_nanos() as u64),
            in_flight: 0,
            follow_ups: Vec::new(),
            waiting_count: 0,
            touched: Vec::new(),
            issuing: false,
            stale_since_ns: None,
            refreshed_ns: 0,
            poll,
        };
        worker.set_owners(targets);
        worker.list_conns();
        if worker.schedule.is_some() {
            worker.arm_timer_source()?;
        }
        Ok(worker)
    }

    /// Runs to the end. What was counted goes to the mailbox, window by window.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> Result<(), Error> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.await_connections(&mut events, stop)?;
        // Whichever thread comes first starts the clock for all.
        self.started = *self.shared.started.get_or_init(Instant::now);
        self.issuing = true;
        if self.schedule.is_none() {
            for idx in 0..self.conns.len() {
                self.refill(idx, 0);
            }
        }
        let mut checked_ns = 0;
        loop {
            let mut now_ns = self.now_ns();
            self.turn_windows(now_ns);
            if self.issuing && (now_ns >= self.end_ns || self.quota == 0) {
                self.stop_issuing(now_ns);
            }
            self.issue_due(now_ns)?;
            if !self.issuing && self.in_flight == 0 {
                self.finish(now_ns);
                return Ok(());
            }
            self.poll(&mut events, CHECK_INTERVAL)?;
            for event in &events {
                if event.token() == TIMER {
                    self.drain_timer();
                } else {
                    self.on_event(event.token().0, event.is_readable(), event.is_writable());
                }
            }
            now_ns = self.now_ns();
            if now_ns.saturating_sub(checked_ns) >= CHECK_INTERVAL.as_nanos() as u64 {
                checked_ns = now_ns;
                self.check(now_ns, stop)?;
            }
        }
    }

    /// Hands over the windows that have ended.
    fn turn_windows(&mut self, now_ns: u64) {
        if self.cpu_from_ns.is_none() && now_ns >= self.warmup_ns {
            self.cpu_from_ns = Some(cpu_ns());
        }
        loop {
            let end_ns = self.windows.end_ns(self.window_start_ns);
            if now_ns < end_ns {
                return;
            }
            self.hand_over(end_ns);
        }
    }

    fn hand_over(&mut self, end_ns: u64) {
        let start_ns = self.window_start_ns;
        let stats = std::mem::take(&mut self.stats);
        self.mailbox.put(Window { start_ns, end_ns, is_warmup: self.windows.is_warmup(start_ns), stats });
        self.window_start_ns = end_ns;
    }

    /// Hands over the last window, and what is known at the end only.
    fn finish(&mut self, now_ns: u64) {
        self.stats.measured_from_ns = self.warmup_ns;
        if let Some(from_ns) = self.cpu_from_ns {
            self.stats.cpu_ns = cpu_ns().saturating_sub(from_ns);
            self.stats.thread_ns = now_ns.saturating_sub(self.warmup_ns);
        }
        self.hand_over(now_ns);
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    fn poll(&mut self, events: &mut Events, timeout: Duration) -> Result<(), Error> {
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => {
                Err(Error::os("waiting for events")(error))
            }
            _ => Ok(()),
        }
    }

    /// Waits until every connection of every thread stands, so that the run measures no handshakes.
    fn await_connections(&mut self, events: &mut Events, stop: &AtomicBool) -> Result<(), Error> {
        let mut said = false;
        loop {
            let waiting = self.conns.iter().find(|(conn, _)| conn.state != State::Open).map(|(conn, _)| conn.addr);
            match waiting {
                Some(addr) if self.started.elapsed() > self.spec.timeout => {
                    let waited = self.spec.timeout;
                    return Err(Error::Stalled { addr: addr.to_string(), what: "no connection", waited });
                }
                None if !said => {
                    said = true;
                    self.shared.threads_ready.fetch_add(1, Ordering::AcqRel);
                }
                _ => {}
            }
            if said && self.shared.threads_ready.load(Ordering::Acquire) >= self.spec.threads as u32 {
                return Ok(());
            }
            if stop.load(Ordering::Relaxed) || self.shared.failed.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            self.poll(events, Duration::from_millis(1))?;
            for event in events.iter() {
                let Some((conn, _)) = self.conns.get_mut(event.token().0) else { continue };
                conn.establish(&mut self.scratch).map_err(|lost| no_connection(conn.addr, lost))?;
            }
        }
    }

    fn on_event(&mut self, idx: usize, readable: bool, writable: bool) {
        let Some((conn, _)) = self.conns.get_mut(idx) else { return };
        let was_open = conn.state == State::Open;
        let mut result = match conn.state {
            State::Open if writable => conn.flush(),
            State::Open => Ok(()),
            State::Connecting(_) | State::Greeting(_) => conn.establish(&mut self.scratch),
            State::Down(_) => return,
        };
        let has_opened = !was_open && conn.state == State::Open;
        let now_ns = self.now_ns();
        if has_opened {
            self.make_room(idx, now_ns);
        }
        if readable && result.is_ok() {
            result = self.take_replies(idx, now_ns);
        }
        if let Err(lost) = result {
            return self.lose(idx, &lost);
        }
        if !self.follow_ups.is_empty() {
            self.follow_up(idx, now_ns);
        }
        if self.schedule.is_none() {
            self.refill(idx, now_ns);
        }
    }

    /// Reads what has arrived on a connection and counts it.
    fn take_replies(&mut self, idx: usize, now_ns: u64) -> Result<(), Lost> {
        let Worker { conns, owners, stats, scratch, spec, in_flight, follow_ups, .. } = self;
        let Worker { stale_since_ns, warmup_ns, .. } = self;
        let Some((conn, owner_idx)) = conns.get_mut(idx).filter(|(conn, _)| conn.state == State::Open) else {
            return Ok(());
        };
        let mut owner = owners.get_mut(*owner_idx);
        let (mut replies, is_open_loop) = (0, spec.rate.is_some());
        let result = conn.read(scratch, |pending, reply| {
            replies += 1;
            let verdict = spec.workload.judge(pending.verb, pending.key, reply);
            let is_sound = matches!(verdict, Verdict::Sound | Verdict::Missing);
            let is_measured = pending.due_ns >= *warmup_ns;
            match verdict {
                Verdict::Sound => {}
                Verdict::Missing => stats.missing += u64::from(is_measured),
                Verdict::Wrong(text) => stats.record_errors(text, 1),
                Verdict::Error(text) => {
                    if text.starts_with(b"MOVED ") {
                        stale_since_ns.get_or_insert(now_ns);
                    }
                    stats.record_errors(&String::from_utf8_lossy(text), 1);
                }
            }
            if !is_sound {
                return;
            }
            if pending.verb.next_of(pending.kind).is_some() {
                follow_ups.push((pending.key, pending.due_ns));
            } else if is_measured {
                stats.record(pending.kind, now_ns.saturating_sub(pending.due_ns));
                if is_open_loop {
                    stats.record_since_sent(now_ns.saturating_sub(pending.sent_ns));
                }
            } else {
                stats.warmup_replies += 1;
            }
            if let (Kind::Insert, Some(owner)) = (pending.kind, owner.as_mut()) {
                owner.keys.acknowledge_insert(pending.key);
            }
        });
        *in_flight -= replies;
        if replies > 0 {
            stats.last_reply_ns = now_ns;
            self.make_room(idx, now_ns);
        }
        result
    }

    /// Sends the writes that belong to what was read.
    fn follow_up(&mut self, idx: usize, now_ns: u64) {
        let Some((conn, _)) = self.conns.get_mut(idx) else { return };
        for (key, due_ns) in self.follow_ups.drain(..) {
            self.spec.workload.encode(Verb::Set, key, &mut self.rng, &mut conn.out);
            conn.in_flight.push_back(Pending { due_ns, sent_ns: now_ns, key, kind: Kind::Rmw, verb: Verb::Set });
            self.in_flight += 1;
        }
        self.flush(idx);
    }

    /// Closed loop: once all answers are there, sends the next `pipeline` commands.
    fn refill(&mut self, idx: usize, now_ns: u64) {
        let Some((conn, _)) = self.conns.get(idx) else { return };
        if !self.issuing || conn.state != State::Open || !conn.in_flight.is_empty() {
            return;
        }
        for _ in 0..self.spec.pipeline {
            if !self.issue(idx, now_ns, now_ns) {
                break;
            }
        }
        self.flush(idx);
    }

    /// Appends one command to the buffer of a connection, if there is a key for it.
    fn issue(&mut self, idx: usize, due_ns: u64, now_ns: u64) -> bool {
        let Some((conn, owner_idx)) = self.conns.get_mut(idx) else { return false };
        let Some(owner) = self.owners.get_mut(*owner_idx) else { return false };
        // A connection that is about to be led elsewhere takes nothing more.
        if self.quota == 0 || conn.addr != owner.addr {
            return false;
        }
        let kind = self.spec.workload.mix().choose(&mut self.rng);
        let key = if kind == Kind::Insert { owner.keys.next_insert() } else { owner.keys.next(&mut self.rng) };
        let Some(key) = key else { return false };
        let verb = Verb::first_of(kind);
        self.spec.workload.encode(verb, key, &mut self.rng, &mut conn.out);
        conn.in_flight.push_back(Pending { due_ns, sent_ns: now_ns, key, kind, verb });
        self.in_flight += 1;
        self.quota -= u64::from(due_ns >= self.warmup_ns);
        true
    }

    fn flush(&mut self, idx: usize) {
        let Some((conn, _)) = self.conns.get_mut(idx) else { return };
        if let Err(lost) = conn.flush() {
            self.lose(idx, &lost);
        }
    }

    fn stop_issuing(&mut self, now_ns: u64) {
        self.issuing = false;
        // What fell due before the end is still sent if there is room, however late this thread looks.
        self.take_due(now_ns.min(self.end_ns.saturating_sub(1)));
        self.send_all_waiting(now_ns);
        self.drop_waiting();
    }

    /// Counts what was on its way as failed, and lets the connection rest.
    fn lose(&mut self, idx: usize, lost: &Lost) {
        let now_ns = self.now_ns();
        let Some((conn, _)) = self.conns.get_mut(idx) else { return };
        let text = match lost {
            Lost::Closed(_) => "connection lost".to_owned(),
            Lost::Malformed(what) => format!("malformed reply: {what}"),
            Lost::Refused(reply) => format!("HELLO 3 was refused: {reply}"),
        };
        let count = conn.in_flight.len();
        self.in_flight -= count;
        // A write that was to follow a read on this connection will not be sent.
        let unwritten_count = self.follow_ups.drain(..).count();
        self.stats.record_errors(&text, (count + unwritten_count) as u64);
        conn.in_flight.clear();
        conn.out.clear();
        // A connection that does not come back is down since it was lost, not since the last attempt.
        conn.state = match conn.state {
            State::Open => State::Down(now_ns),
            State::Connecting(since_ns) | State::Greeting(since_ns) | State::Down(since_ns) => State::Down(since_ns),
        };
        self.stale_since_ns.get_or_insert(now_ns);
    }

    /// What need not be done at every event.
    fn check(&mut self, now_ns: u64, stop: &AtomicBool) -> Result<(), Error> {
        if stop.load(Ordering::Relaxed) || self.shared.failed.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let timeout_ns = self.spec.timeout.as_nanos() as u64;
        for (conn, _) in &self.conns {
            let (since_ns, what) = match (conn.state, conn.in_flight.front()) {
                (State::Open, Some(oldest)) => (oldest.sent_ns, "no reply"),
                (State::Open, None) => continue,
                (State::Connecting(since_ns) | State::Greeting(since_ns) | State::Down(since_ns), _) => {
                    if !self.issuing {
                        continue;
                    }
                    (since_ns, "no connection")
                }
            };
            let waited = Duration::from_nanos(now_ns.saturating_sub(since_ns));
            if waited.as_nanos() as u64 > timeout_ns {
                return Err(Error::Stalled { addr: conn.addr.to_string(), what, waited });
            }
        }
        let rested = |since_ns: u64| now_ns.saturating_sub(since_ns) >= RETRY_INTERVAL.as_nanos() as u64;
        if self.issuing && self.stale_since_ns.is_some() && rested(self.refreshed_ns) {
            self.refreshed_ns = now_ns;
            self.stale_since_ns = None;
            self.refresh(now_ns);
        }
        // In sequential order, the keys of every owner come to an end.
        if self.issuing && self.schedule.is_none() && self.in_flight == 0 {
            let open = |(conn, _): &(Conn, usize)| conn.state == State::Open;
            if self.conns.iter().all(open) {
                for idx in 0..self.conns.len() {
                    self.refill(idx, now_ns);
                }
                self.issuing = self.in_flight > 0;
            }
        }
        Ok(())
    }
}

/// CPU time of this thread, in ns.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Why a run cannot begin.
fn no_connection(addr: SocketAddr, lost: Lost) -> Error {
    match lost {
        Lost::Closed(error) => Error::os(format!("connecting to {addr} (does a server listen there?)"))(error),
        Lost::Malformed(what) => Error::MalformedReply { addr: addr.to_string(), what },
        Lost::Refused(reply) => {
            let reply = format!("{reply} (leave out --resp 3)");
            Error::Refused { addr: addr.to_string(), what: "HELLO 3", reply }
        }
    }
}
