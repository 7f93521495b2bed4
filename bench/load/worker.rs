//! One thread of a run: an epoll loop over its connections.

use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use crate::error::Error;
use crate::load::conn::{Conn, Lost, Pending, State};
use crate::load::keys::KeyChooser;
use crate::load::mix::Kind;
use crate::load::rng::Rng;
use crate::load::schedule::Schedule;
use crate::load::stats::Stats;
use crate::load::workload::{Verb, Verdict};
use crate::load::{Shared, Spec, Target, find_targets};

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
}

/// One thread of a run.
pub(crate) struct Worker<'a> {
    spec: &'a Spec,
    shared: &'a Shared,
    thread_idx: usize,
    poll: Poll,
    timer: Option<OwnedFd>,
    owners: Vec<Owner>,
    // Each with the index of its owner.
    conns: Vec<(Conn, usize)>,
    schedule: Option<Schedule>,
    stats: Stats,
    rng: Rng,
    scratch: Vec<u8>,
    started: Instant,
    // How many commands are still to be issued, if that is limited.
    quota: u64,
    // No command is issued from here on, in ns since the start.
    end_ns: u64,
    in_flight: usize,
    // Commands that an answer calls for, each with its key and the time from which it counts.
    follow_ups: Vec<(u32, u64)>,
    // The connection that the open loop looks at next.
    next_conn: usize,
    issuing: bool,
    // Set when a reply or a loss says that the topology has changed.
    stale_since_ns: Option<u64>,
    refreshed_ns: u64,
}

impl<'a> Worker<'a> {
    /// Starts to connect: connection i leads to the target `plan[i]`.
    pub(crate) fn new(
        spec: &'a Spec,
        targets: &[Target],
        plan: &[usize],
        thread_idx: usize,
        shared: &'a Shared,
    ) -> Result<Worker<'a>, Error> {
        let poll = Poll::new().map_err(Error::os("epoll"))?;
        let mut conns = Vec::with_capacity(plan.len());
        for (idx, owner_idx) in plan.iter().enumerate() {
            let Some(target) = targets.get(*owner_idx) else { continue };
            let conn = Conn::connect(target.addr, Token(idx), poll.registry(), 0);
            conns.push((conn.map_err(Error::os(format!("connecting to {}", target.addr)))?, *owner_idx));
        }
        let threads = spec.threads as u64;
        let per_thread = |total: u64| total / threads + u64::from((thread_idx as u64) < total % threads);
        let mut worker = Worker {
            spec,
            shared,
            thread_idx,
            timer: None,
            owners: Vec::new(),
            conns,
            schedule: spec.rate.map(|rate| Schedule::new(rate, thread_idx as u32, spec.threads as u32)),
            stats: Stats::new(),
            rng: Rng::new(spec.seed.wrapping_add(thread_idx as u64 * 0x5851_F42D)),
            scratch: vec![0; SCRATCH_BYTES],
            started: Instant::now(),
            quota: spec.requests.map_or(u64::MAX, per_thread),
            end_ns: spec.duration.map_or(u64::MAX, |duration| duration.as_nanos() as u64),
            in_flight: 0,
            follow_ups: Vec::new(),
            next_conn: 0,
            issuing: false,
            stale_since_ns: None,
            refreshed_ns: 0,
            poll,
        };
        worker.set_owners(targets);
        if worker.schedule.is_some() {
            worker.arm_timer_source()?;
        }
        Ok(worker)
    }

    /// Runs to the end.
    pub(crate) fn run(mut self, stop: &AtomicBool) -> Result<Stats, Error> {
        let mut events = Events::with_capacity(EVENTS_MAX);
        self.await_connections(&mut events, stop)?;
        self.started = Instant::now();
        self.issuing = true;
        if self.schedule.is_none() {
            for idx in 0..self.conns.len() {
                self.refill(idx, 0);
            }
        }
        let mut checked_ns = 0;
        loop {
            let mut now_ns = self.now_ns();
            if self.issuing && (now_ns >= self.end_ns || self.quota == 0) {
                self.stop_issuing();
            }
            self.issue_due(now_ns)?;
            if !self.issuing && self.in_flight == 0 {
                return Ok(self.stats);
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
                if let Err(Lost::Closed(error)) = conn.on_writable() {
                    return Err(Error::os(format!("connecting to {}", conn.addr))(error));
                }
            }
        }
    }

    fn on_event(&mut self, idx: usize, readable: bool, writable: bool) {
        let Worker { conns, owners, stats, scratch, spec, in_flight, follow_ups, .. } = self;
        let Worker { started, stale_since_ns, shared, .. } = self;
        let Some((conn, owner_idx)) = conns.get_mut(idx) else { return };
        let mut owner = owners.get_mut(*owner_idx);
        let mut lost = if writable { conn.on_writable().err() } else { None };
        let mut now_ns = 0;
        if readable && lost.is_none() && conn.state == State::Open {
            now_ns = started.elapsed().as_nanos() as u64;
            let mut replies = 0;
            let result = conn.read(scratch, |pending, reply| {
                replies += 1;
                let verdict = spec.workload.judge(pending.verb, pending.key, reply);
                let is_done = matches!(verdict, Verdict::Sound | Verdict::Missing);
                match pending.verb.next_of(pending.kind) {
                    Some(_) if is_done => {
                        stats.missing += u64::from(verdict == Verdict::Missing);
                        follow_ups.push((pending.key, pending.due_ns));
                    }
                    _ => count(stats, &pending, verdict, now_ns, stale_since_ns),
                }
                if let (Kind::Insert, true, Some(owner)) = (pending.kind, is_done, owner.as_mut()) {
                    owner.keys.acknowledge_insert(pending.key);
                }
            });
            *in_flight -= replies;
            if replies > 0 {
                stats.last_reply_ns = now_ns;
                shared.replies.fetch_add(replies as u64, Ordering::Relaxed);
            }
            lost = result.err();
        }
        if let Some(lost) = lost {
            return self.lose(idx, &lost);
        }
        if !self.follow_ups.is_empty() {
            self.follow_up(idx, now_ns);
        }
        if self.schedule.is_none() && now_ns > 0 {
            self.refill(idx, now_ns);
        }
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
        self.quota -= 1;
        true
    }

    fn flush(&mut self, idx: usize) {
        let Some((conn, _)) = self.conns.get_mut(idx) else { return };
        if let Err(lost) = conn.flush() {
            self.lose(idx, &lost);
        }
    }

    /// Open loop: sends what is due to connections that have room, and sets the timer for what comes next.
    fn issue_due(&mut self, now_ns: u64) -> Result<(), Error> {
        let Some(mut schedule) = self.schedule.take() else { return Ok(()) };
        if self.issuing {
            let mut touched = Vec::new();
            while schedule.next_due_ns() <= now_ns && self.quota > 0 {
                let Some(idx) = self.find_room() else { break };
                let Some(due_ns) = schedule.take_due(now_ns) else { break };
                self.stats.record_lateness(now_ns - due_ns);
                if self.issue(idx, due_ns, now_ns) {
                    touched.push(idx);
                } else {
                    self.stats.unsent += 1;
                    self.quota -= 1;
                }
            }
            for idx in touched {
                self.flush(idx);
            }
            let wait_ns = schedule.next_due_ns().saturating_sub(self.now_ns());
            // What is overdue found no room: a reply makes some, and is an event itself.
            if wait_ns > 0 {
                self.set_timer(wait_ns)?;
            } else if self.find_room().is_some() {
                self.set_timer(1)?;
            }
        }
        self.schedule = Some(schedule);
        Ok(())
    }

    /// The next connection in turn that takes another command.
    fn find_room(&mut self) -> Option<usize> {
        if self.in_flight >= self.conns.len() * self.spec.pipeline {
            return None;
        }
        for _ in 0..self.conns.len() {
            let idx = self.next_conn;
            self.next_conn = (self.next_conn + 1) % self.conns.len();
            let leads_there = |(conn, owner_idx): &(Conn, usize)| {
                self.owners.get(*owner_idx).is_some_and(|owner| owner.addr == conn.addr)
            };
            let has_room = |entry: &(Conn, usize)| {
                let conn = &entry.0;
                conn.state == State::Open && conn.in_flight.len() < self.spec.pipeline && leads_there(entry)
            };
            if self.conns.get(idx).is_some_and(has_room) {
                return Some(idx);
            }
        }
        None
    }

    fn stop_issuing(&mut self) {
        self.issuing = false;
        if let Some(schedule) = self.schedule.as_ref().filter(|_| self.end_ns < u64::MAX) {
            self.stats.unsent += schedule.untaken_before(self.end_ns).min(self.quota);
        }
    }

    /// Counts what was on its way as failed, and lets the connection rest.
    fn lose(&mut self, idx: usize, lost: &Lost) {
        let now_ns = self.now_ns();
        let Some((conn, _)) = self.conns.get_mut(idx) else { return };
        let text = match lost {
            Lost::Closed(_) => "connection lost".to_owned(),
            Lost::Malformed(what) => format!("malformed reply: {what}"),
        };
        let count = conn.in_flight.len();
        self.in_flight -= count;
        self.stats.record_errors(&text, count as u64);
        conn.in_flight.clear();
        conn.out.clear();
        // A connection that does not come back is down since it was lost, not since the last attempt.
        conn.state = match conn.state {
            State::Open => State::Down(now_ns),
            State::Connecting(since_ns) | State::Down(since_ns) => State::Down(since_ns),
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
                (State::Connecting(since_ns) | State::Down(since_ns), _) if self.issuing => {
                    (since_ns, "no connection")
                }
                _ => continue,
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

    /// Learns who owns what now, and connects what is down or leads to where nothing is owned.
    fn refresh(&mut self, now_ns: u64) {
        if self.spec.cluster {
            let seeds: Vec<SocketAddr> =
                self.owners.iter().map(|owner| owner.addr).chain(self.spec.addrs.iter().copied()).collect();
            match find_targets(self.spec, &seeds) {
                Ok(targets) => {
                    self.set_owners(&targets);
                    self.redirect(&targets);
                }
                // Nobody knows: the old owners are tried on, until the timeout.
                Err(_) => self.stale_since_ns = Some(now_ns),
            }
        }
        for idx in 0..self.conns.len() {
            let Some((conn, owner_idx)) = self.conns.get_mut(idx) else { continue };
            let Some(owner) = self.owners.get(*owner_idx) else { continue };
            let moved = conn.addr != owner.addr && conn.in_flight.is_empty();
            let State::Down(since_ns) = conn.state else {
                if moved && conn.reconnect(owner.addr, self.poll.registry(), now_ns).is_err() {
                    conn.state = State::Down(now_ns);
                }
                if conn.addr != owner.addr {
                    // It still waits for answers; come back for it.
                    self.stale_since_ns = Some(now_ns);
                }
                continue;
            };
            // Whether this attempt succeeds shows at the next event; a failed one is down since `since_ns`.
            match conn.reconnect(owner.addr, self.poll.registry(), since_ns) {
                Ok(()) => {}
                Err(_) => conn.state = State::Down(since_ns),
            }
            self.stale_since_ns = Some(now_ns);
        }
    }

    /// Takes the owners of `targets` over; connections keep the address they lead to.
    fn set_owners(&mut self, targets: &[Target]) {
        let Spec { key_order, threads, .. } = *self.spec;
        let old: Vec<KeyChooser> = self.owners.drain(..).map(|owner| owner.keys).collect();
        let owner = |target: &Target| {
            let keys = target.keys.clone();
            let mut keys = KeyChooser::new(keys, key_order, self.thread_idx as u32, threads as u32);
            keys.inherit(&old);
            Owner { addr: target.addr, keys }
        };
        self.owners = targets.iter().map(owner).collect();
    }

    /// Spreads the connections of this thread over the owners anew, moving as few as possible.
    fn redirect(&mut self, targets: &[Target]) {
        let weights: Vec<usize> = targets.iter().map(|target| target.connections).collect();
        let mut wanted = super::apportion(self.conns.len(), &weights);
        let mut homeless = Vec::new();
        for (idx, (conn, owner_idx)) in self.conns.iter_mut().enumerate() {
            let current = targets.iter().position(|target| target.addr == conn.addr);
            match current
                .and_then(|current| wanted.get_mut(current).filter(|left| **left > 0).map(|left| (current, left)))
            {
                Some((current, left)) => {
                    *left -= 1;
                    *owner_idx = current;
                }
                None => homeless.push(idx),
            }
        }
        for idx in homeless {
            let Some((owner_idx, left)) = wanted.iter_mut().enumerate().find(|(_, left)| **left > 0) else { return };
            *left -= 1;
            if let Some((_, conn_owner)) = self.conns.get_mut(idx) {
                *conn_owner = owner_idx;
            }
        }
    }

    fn arm_timer_source(&mut self) -> Result<(), Error> {
        let timer =
            rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        let timer = timer.map_err(|errno| Error::os("creating a timer")(errno.into()))?;
        let registered = self.poll.registry().register(&mut SourceFd(&timer.as_raw_fd()), TIMER, Interest::READABLE);
        registered.map_err(Error::os("registering a timer"))?;
        self.timer = Some(timer);
        Ok(())
    }

    /// epoll counts in ms, which is too coarse for thousands of commands a second; a timer counts in ns.
    fn set_timer(&self, wait_ns: u64) -> Result<(), Error> {
        let Some(timer) = &self.timer else { return Ok(()) };
        let value = Timespec { tv_sec: (wait_ns / 1_000_000_000) as i64, tv_nsec: (wait_ns % 1_000_000_000) as _ };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        let set = rustix::time::timerfd_settime(timer, TimerfdTimerFlags::empty(), &once);
        set.map(|_| ()).map_err(|errno| Error::os("setting a timer")(errno.into()))
    }

    fn drain_timer(&self) {
        if let Some(timer) = &self.timer {
            // How often it fired says nothing; EAGAIN means that it was set again since.
            let _ = rustix::io::read(timer, &mut [0u8; 8]);
        }
    }
}

fn count(stats: &mut Stats, pending: &Pending, verdict: Verdict<'_>, now_ns: u64, stale_since_ns: &mut Option<u64>) {
    match verdict {
        Verdict::Sound => stats.record(pending.kind, now_ns.saturating_sub(pending.due_ns)),
        Verdict::Missing => {
            stats.missing += 1;
            stats.record(pending.kind, now_ns.saturating_sub(pending.due_ns));
        }
        Verdict::Wrong(text) => stats.record_errors(text, 1),
        Verdict::Error(text) => {
            if text.starts_with(b"MOVED ") {
                stale_since_ns.get_or_insert(now_ns);
            }
            stats.record_errors(&String::from_utf8_lossy(text), 1);
        }
    }
}
