//! The open loop of a thread: commands are sent when they are due.

use std::os::fd::AsRawFd;

use mio::Interest;
use mio::unix::SourceFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::{Owner, TIMER, Worker};
use crate::error::Error;
use crate::load::conn::{Conn, State};
use crate::load::schedule::Schedule;

impl Worker<'_> {
    /// Open loop: deals what is due to the owners, sends what they have room for, and sets the timer for what comes next.
    pub(super) fn issue_due(&mut self, now_ns: u64) -> Result<(), Error> {
        if self.schedule.is_none() || !self.issuing {
            return Ok(());
        }
        self.take_due(now_ns);
        self.send_all_waiting(now_ns);
        match self.schedule.as_ref().map(Schedule::next_due_ns) {
            Some(next_ns) => self.set_timer(next_ns.saturating_sub(self.now_ns()).max(1)),
            None => Ok(()),
        }
    }

    /// Deals what is due to the owners.
    pub(super) fn take_due(&mut self, now_ns: u64) {
        while self.quota > self.waiting_count {
            let Some(due_ns) = self.schedule.as_mut().and_then(|schedule| schedule.take_due(now_ns)) else { break };
            self.enqueue(due_ns);
        }
    }

    /// Gives a command to an owner, by the shares of the keys. It stays with this owner however long that takes: if others
    /// took it over, an owner that pauses would be sent less, and its pause would hardly show.
    pub(super) fn enqueue(&mut self, due_ns: u64) {
        let total: u32 = self.owners.iter().map(Owner::weight).sum();
        let mut ticket = if self.owners.len() > 1 { self.rng.below(total) } else { 0 };
        for owner in &mut self.owners {
            match ticket.checked_sub(owner.weight()) {
                Some(left) if total > 0 => ticket = left,
                _ => {
                    owner.waiting.push_back(due_ns);
                    self.waiting_count += 1;
                    return;
                }
            }
        }
    }

    /// Sends what waits, as far as there is room.
    pub(super) fn send_all_waiting(&mut self, now_ns: u64) {
        for owner_idx in 0..self.owners.len() {
            self.send_waiting(owner_idx, now_ns);
        }
    }

    /// Sends what waits for an owner, as far as its connections have room.
    fn send_waiting(&mut self, owner_idx: usize, now_ns: u64) {
        let mut touched = std::mem::take(&mut self.touched);
        while let Some((due_ns, idx)) = self.next_waiting(owner_idx) {
            self.waiting_count -= 1;
            let room_since_ns = self.owners.get(owner_idx).map_or(0, |owner| owner.room_since_ns);
            let is_measured = due_ns >= self.warmup_ns;
            if is_measured {
                // Waiting for room is the server's time, or that of too few connections; the rest is ours.
                self.stats.waited_for_room += u64::from(due_ns < room_since_ns);
                self.stats.record_sent_late(now_ns.saturating_sub(due_ns.max(room_since_ns)));
            }
            if self.issue(idx, due_ns, now_ns) {
                touched.push(idx);
            } else if is_measured {
                self.stats.unsent += 1;
                self.quota = self.quota.saturating_sub(1);
            }
        }
        for idx in touched.drain(..) {
            self.flush(idx);
        }
        self.touched = touched;
    }

    /// The oldest command that waits for an owner, and a connection that has room for it.
    fn next_waiting(&mut self, owner_idx: usize) -> Option<(u64, usize)> {
        let Worker { owners, conns, spec, .. } = self;
        let owner = owners.get_mut(owner_idx).filter(|owner| !owner.is_full)?;
        let due_ns = *owner.waiting.front()?;
        for _ in 0..owner.conns.len() {
            owner.conn_next = (owner.conn_next + 1) % owner.conns.len();
            let Some(idx) = owner.conns.get(owner.conn_next).copied() else { continue };
            let has_room = |(conn, _): &(Conn, usize)| {
                conn.state == State::Open && conn.addr == owner.addr && conn.in_flight.len() < spec.pipeline
            };
            if conns.get(idx).is_some_and(has_room) {
                owner.waiting.pop_front();
                return Some((due_ns, idx));
            }
        }
        owner.is_full = true;
        None
    }

    /// Takes notice that a connection takes more than it did: an answer came, or it stands.
    pub(super) fn make_room(&mut self, idx: usize, now_ns: u64) {
        let owner_idx = self.conns.get(idx).map(|(_, owner_idx)| *owner_idx);
        if let Some(owner) = owner_idx.and_then(|idx| self.owners.get_mut(idx)).filter(|owner| owner.is_full) {
            (owner.is_full, owner.room_since_ns) = (false, now_ns);
        }
    }

    /// Counts what still waits as unsent.
    pub(super) fn drop_waiting(&mut self) {
        for owner in &mut self.owners {
            let unsent = owner.waiting.drain(..).filter(|due_ns| *due_ns >= self.warmup_ns).count() as u64;
            self.stats.unsent += unsent;
        }
        self.waiting_count = 0;
    }

    pub(super) fn arm_timer_source(&mut self) -> Result<(), Error> {
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

    pub(super) fn drain_timer(&self) {
        if let Some(timer) = &self.timer {
            // How often it fired says nothing; EAGAIN means that it was set again since.
            let _ = rustix::io::read(timer, &mut [0u8; 8]);
        }
    }
}
