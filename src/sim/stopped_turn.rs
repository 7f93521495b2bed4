//! Turns that are stopped right behind a reading of the clock: the process stands still there, as any may at any
//! instruction, and what it has read is old when it goes on.
//!
//! A turn runs at one moment of simulated time. One that is stopped runs when it goes on, but up to the reading it sees only
//! what had arrived when it was stopped, and the reading shows the time of then. What it sends before the reading leaves
//! late, as if the network had been slow.

use types::Instant;

use crate::queue::Event;
use crate::world::World;

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

impl World {
    /// Stops a core at the beginning of its next turn, if that was ordered.
    pub(crate) fn stop_turn_if_ordered(&mut self, core: usize) {
        let node = self.cores[core].node;
        if self.nodes[node].is_paused {
            return;
        }
        let Some(order) = self.nodes[node].stop_order.take() else { return };
        let clock = self.local_time(core);
        let state = &mut self.cores[core];
        state.stopped = Some(StoppedTurn {
            clock,
            readings_left: order.reading,
            events_left: state.inbox.len(),
            writes_left: state.writes_done.len(),
        });
        let epoch = state.epoch;
        self.pause(node);
        let at = self.now() + order.length;
        self.queue.push(at, Event::Resume { node: node as u32, epoch });
        self.count("a turn was stopped behind its clock");
    }

    /// What the clock shows to whatever runs on a core now.
    pub(crate) fn read_clock(&mut self, core: usize) -> Instant {
        let now = self.local_time(core);
        let is_turn = self.cores[core].turn_task == Some(self.tasks.current);
        let state = &mut self.cores[core];
        let Some(stopped) = state.stopped.as_mut().filter(|_| is_turn) else { return now };
        let clock = stopped.clock;
        stopped.readings_left -= 1;
        if stopped.readings_left == 0 {
            state.stopped = None;
        }
        clock
    }

    /// Whether the turn may see the next event of the network: it has arrived before the turn was stopped.
    pub(crate) fn may_see_event(&mut self, core: usize) -> bool {
        let stopped = self.cores[core].stopped.as_mut();
        stopped.is_none_or(|stopped| take_one(&mut stopped.events_left))
    }

    /// Whether the turn may see the next end of a log write.
    pub(crate) fn may_see_write(&mut self, core: usize) -> bool {
        let stopped = self.cores[core].stopped.as_mut();
        stopped.is_none_or(|stopped| take_one(&mut stopped.writes_left))
    }

    /// Whether the turn may see messages of other cores. Those come a turn later: nothing tells which had arrived.
    pub(crate) fn may_see_mesh(&self, core: usize) -> bool {
        self.cores[core].stopped.is_none()
    }
}

fn take_one(left: &mut usize) -> bool {
    let is_there = *left > 0;
    *left = left.saturating_sub(1);
    is_there
}

#[cfg(test)]
mod tests {
    use host::{ConnId, NetEvent};

    use super::*;
    use crate::cluster::Cluster;
    use crate::spec::ClusterSpec;
    use crate::world::NodeState;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_stopped_turn_sees_the_old_clock_and_nothing_new_up_to_the_reading() {
        let cluster = Cluster::new(1, &ClusterSpec::of_seed(1), None, false);
        let world = &mut *cluster.world.borrow_mut();
        let arrival = |idx| NetEvent::Connected { conn: ConnId { idx, generation: 0 } };
        world.nodes[0].state = NodeState::Up;
        world.tasks.current = 7;
        world.cores[0].turn_task = Some(7);
        world.nodes[0].stop_order = Some(StopOrder { reading: 2, length: SECOND });
        world.cores[0].inbox.push_back(arrival(1));
        let before = world.local_time(0);
        world.stop_turn_if_ordered(0);
        assert!(world.nodes[0].is_paused && world.nodes[0].stop_order.is_none());

        world.queue.pass(SECOND);
        world.cores[0].inbox.push_back(arrival(2));
        assert_eq!(world.read_clock(0), before);
        assert!(world.next_event(0).is_some(), "it had arrived");
        assert!(world.next_event(0).is_none(), "it had not");
        assert!(!world.may_see_mesh(0) && !world.may_see_write(0));
        world.tasks.current = 8;
        assert!(world.read_clock(0) > before, "another task reads the clock when it runs");
        world.tasks.current = 7;
        assert_eq!(world.read_clock(0), before, "the second reading");
        assert!(world.read_clock(0) > before);
        assert!(world.next_event(0).is_some() && world.may_see_mesh(0) && world.may_see_write(0));
    }
}
