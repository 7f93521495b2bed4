//! The turn loops of cores: how they wait, what wakes them, and those that are stopped in the middle of a turn.

use types::Instant;

use super::World;
use super::stopped_turn::StoppedTurn;
use crate::queue::Event;
use crate::trace::Kind;

/// How long a turn takes at least, and what is added on average, in nanoseconds.
const TURN_MIN: u64 = 10_000;
const TURN_MEAN: u64 = 30_000;

impl World {
    /// The turn loop waits. `can_wait` is false for a mere pause between two turns.
    pub(crate) fn park(&mut self, core: usize, deadline: Instant, can_wait: bool) {
        let state = &mut self.cores[core];
        for (event, is_quiet) in state.staged.drain(..) {
            state.quiet_count += usize::from(is_quiet);
            state.inbox.push_back(event);
        }
        state.stopped = None;
        state.is_parked = true;
        state.deadline = deadline;
        if !can_wait || state.is_due() {
            return self.wake_core(core);
        }
        self.set_park_timer(core);
    }

    fn set_park_timer(&mut self, core: usize) {
        let state = &self.cores[core];
        let at = self.nodes[state.node].clock.true_time(state.deadline, self.now());
        if at == u64::MAX || state.park_timer_at.is_some_and(|timer| timer <= at) {
            return;
        }
        let epoch = state.epoch;
        self.cores[core].park_timer_at = Some(at);
        self.queue.push(at, Event::ParkTimer { core: core as u32, epoch });
    }

    /// The turn loop goes on.
    pub(crate) fn unpark(&mut self, core: usize) {
        let state = &mut self.cores[core];
        state.is_parked = false;
        state.is_scheduled = false;
        state.is_notified = false;
        state.quiet_count = 0;
    }

    /// Ends a wait of the turn loop, once the turn before has taken its time.
    pub(crate) fn wake_core(&mut self, core: usize) {
        let now = self.now();
        let state = &mut self.cores[core];
        if !state.is_parked || state.is_scheduled {
            return;
        }
        state.is_scheduled = true;
        let (at, epoch) = (state.busy_until.max(now), state.epoch);
        self.queue.push(at, Event::Turn { core: core as u32, epoch });
    }

    /// A core's turn loop goes on.
    pub(super) fn on_turn(&mut self, core: usize) {
        let cost = self.prng.latency(TURN_MIN, TURN_MEAN);
        let now = self.now();
        let state = &mut self.cores[core];
        state.busy_until = now + cost;
        if let Some(task) = state.turn_task {
            self.trace.add(now, Kind::Turn, [core as u64, cost]);
            self.stop_turn_if_ordered(core);
            self.make_ready(task);
        }
    }

    /// The time up to which a core's turn loop wanted to wait may have come.
    pub(super) fn on_park_timer(&mut self, core: usize) {
        let now = self.now();
        let state = &mut self.cores[core];
        if state.park_timer_at == Some(now) {
            state.park_timer_at = None;
        }
        if !state.is_parked || state.is_scheduled {
            return;
        }
        if self.local_time(core) >= self.cores[core].deadline {
            self.wake_core(core);
        } else {
            self.set_park_timer(core);
        }
    }

    // Turns that are stopped.

    /// Stops a core at the beginning of its next turn, if that was ordered.
    fn stop_turn_if_ordered(&mut self, core: usize) {
        let node = self.cores[core].node;
        if self.nodes[node].is_paused {
            return;
        }
        let Some(order) = self.nodes[node].stop_order.take() else { return };
        let clock = self.local_time(core);
        let state = &mut self.cores[core];
        state.stopped = Some(StoppedTurn::new(order, clock, state.inbox.len(), state.writes_done.len()));
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
        let (clock, is_last) = stopped.read_clock();
        if is_last {
            state.stopped = None;
        }
        clock
    }

    /// Whether the turn may see the next event of the network.
    pub(super) fn may_see_event(&mut self, core: usize) -> bool {
        self.cores[core].stopped.as_mut().is_none_or(StoppedTurn::may_see_event)
    }

    /// Whether the turn may see the next end of a log write.
    pub(crate) fn may_see_write(&mut self, core: usize) -> bool {
        self.cores[core].stopped.as_mut().is_none_or(StoppedTurn::may_see_write)
    }

    /// Whether the turn may see messages of other cores. Those come a turn later: nothing tells which had arrived.
    pub(crate) fn may_see_mesh(&self, core: usize) -> bool {
        self.cores[core].stopped.is_none()
    }
}

#[cfg(test)]
mod tests {
    use host::{ConnId, NetEvent};

    use crate::cluster::Cluster;
    use crate::cluster_spec::ClusterSpec;
    use crate::world::{NodeState, StopOrder};

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
