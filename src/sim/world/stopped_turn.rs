//! Turns that are stopped right behind a reading of the clock: the process stands still there, as any may at any
//! instruction, and what it has read is old when it goes on.
//!
//! A turn runs at one moment of simulated time. One that is stopped runs when it goes on, but up to the reading it sees only
//! what had arrived when it was stopped, and the reading shows the time of then. What it sends before the reading leaves
//! late, as if the network had been slow.

use types::Instant;

/// A turn to come is to be stopped.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StopOrder {
    /// Behind which reading of the clock of that turn, from 1.
    pub(crate) reading: u32,
    /// For how long, in nanoseconds.
    pub(crate) length: u64,
}

/// A turn that is stopped, or has gone on and not come to the reading yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoppedTurn {
    /// What its clock showed when it was stopped.
    clock: Instant,
    /// How many readings still show that.
    readings_left: u32,
    /// How much of what waits for it had arrived by then: events of the network, and ends of log writes.
    events_left: usize,
    writes_left: usize,
}

impl StoppedTurn {
    /// A turn that is stopped now, when its clock shows `clock` and this much has arrived for it.
    pub(super) fn new(order: StopOrder, clock: Instant, events_left: usize, writes_left: usize) -> StoppedTurn {
        StoppedTurn { clock, readings_left: order.reading, events_left, writes_left }
    }

    /// What the next reading of its clock shows, and whether it is the last that shows that.
    pub(super) fn read_clock(&mut self) -> (Instant, bool) {
        self.readings_left -= 1;
        (self.clock, self.readings_left == 0)
    }

    /// Whether it may see the next event of the network: it has arrived before the turn was stopped.
    pub(super) fn may_see_event(&mut self) -> bool {
        take_one(&mut self.events_left)
    }

    /// Whether it may see the next end of a log write.
    pub(super) fn may_see_write(&mut self) -> bool {
        take_one(&mut self.writes_left)
    }
}

fn take_one(left: &mut usize) -> bool {
    let is_there = *left > 0;
    *left = left.saturating_sub(1);
    is_there
}
