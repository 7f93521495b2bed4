//! The open loop of a thread: commands are sent when they are due.

use std::os::fd::AsRawFd;

use mio::Interest;
use mio::unix::SourceFd;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};

use super::{TIMER, Worker};
use crate::error::Error;
use crate::load::conn::{Conn, State};

impl Worker<'_> {
    /// Open loop: sends what is due to connections that have room, and sets the timer for what comes next.
    pub(super) fn issue_due(&mut self, now_ns: u64) -> Result<(), Error> {
        let Some(mut schedule) = self.schedule.take() else { return Ok(()) };
        if self.issuing {
            let mut touched = Vec::new();
            while schedule.next_due_ns() <= now_ns && self.quota > 0 {
                let Some(idx) = self.find_room() else {
                    self.is_full = true;
                    break;
                };
                let Some(due_ns) = schedule.take_due(now_ns) else { break };
                let is_measured = due_ns >= self.warmup_ns;
                if is_measured {
                    // Waiting for room is the server's time, or that of too few connections; the rest is ours.
                    self.stats.waited_for_room += u64::from(due_ns < self.room_since_ns);
                    self.stats.record_sent_late(now_ns.saturating_sub(due_ns.max(self.room_since_ns)));
                }
                if self.issue(idx, due_ns, now_ns) {
                    touched.push(idx);
                } else if is_measured {
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
