//! Who leads: news from Raft, and handing over at a stop.

use raft::{PRIORITY_MAX, Role, SoftState};
use types::Term;
use wire::LeaderNote;

use crate::core::{Core, CoreHost, Stopping};
use crate::watch::Event;
use crate::writes::OUTCOME_UNKNOWN;

impl<H: CoreHost> Core<H> {
    /// Raft reports another role, leader or term of a group here.
    pub(crate) fn on_soft_state(&mut self, idx: usize, state: SoftState) {
        self.note(idx, Event::Role { role: state.role, term: state.term, leader: state.leader });
        let group = &mut self.groups[idx];
        let (id, route) = (group.id, group.route);
        let leads_in = (state.role == Role::Leader).then_some(state.term);
        let led_in = std::mem::replace(&mut group.led_in, leads_in);
        if led_in.is_some() && led_in != leads_in {
            self.stats.leaderships_lost += 1;
            tracing::info!(group = %id, term = state.term, "no longer leader");
            self.give_back(idx);
        }
        let group = &self.groups[idx];
        let place = state.leader.and_then(|leader| group.places.get(&leader).copied());
        match place {
            Some(place) => {
                let note = LeaderNote { group: id, term: state.term, place };
                self.routes.note(note);
                if leads_in.is_some() && led_in != leads_in {
                    self.stats.leaderships_gained += 1;
                    tracing::info!(group = %id, term = state.term, "leader");
                    self.out.links.announce(note);
                }
                self.drain_lane(route);
            }
            None => self.routes.forget(id, state.term),
        }
    }

    /// Gives up on writes whose fate a former leader could not learn in time.
    fn tick_unresolved(&mut self) {
        for idx in 0..self.groups.len() {
            if self.groups[idx].proposed.is_empty() {
                continue;
            }
            // Within a turn leadership may be gained, used and lost before anybody is told.
            self.give_back(idx);
            let group = &self.groups[idx];
            // What a leader has proposed in its term is under way, also if the turn has not come to its election yet.
            let live_term = match group.led_in {
                Some(term) => term,
                None if group.raft.is_leader() => continue,
                None => Term::MAX,
            };
            let (now, wait) = (self.now, self.config.leader_wait);
            while let Some(proposed) = self.groups[idx].proposed.pop_unresolved(live_term, now, wait) {
                self.stats.outcomes_unknown += proposed.waiters.list.len() as u64;
                self.fail_waiters(&proposed.waiters, OUTCOME_UNKNOWN);
            }
        }
    }

    /// Begins an orderly stop.
    pub(crate) fn begin_stop(&mut self) {
        if self.stopping != Stopping::No {
            return;
        }
        self.stopping = Stopping::Draining { deadline: self.now + self.config.stop_timeout };
        for (listener, _) in &self.listeners {
            self.host.unlisten(*listener);
        }
        tracing::info!(core = %self.place(), "stopping: handing leaderships over");
        self.hand_over();
    }

    /// Hands each led group over, once: where all nodes stop together, the others hand theirs back.
    fn hand_over(&mut self) {
        for idx in 0..self.groups.len() {
            let group = &mut self.groups[idx];
            let may_go = group.raft.is_leader() && group.raft.peers().next().is_some() && !group.is_handed_over;
            // A transfer that cannot begin is tried again at the next tick, until the deadline.
            if may_go && group.raft.transfer_leader(None, self.now).is_ok() {
                group.is_handed_over = true;
                self.mark_dirty(idx);
            }
        }
    }

    /// A core that refuses writes because its disk is full, or whose disk is much slower than others, should not lead
    /// where another can. If all are like that they stay as they are.
    pub(crate) fn tick_fitness(&mut self) {
        let under_way = self.persisting.front().map(|write| self.now.since(write.begun_at));
        self.log_pace.tick(under_way, self.now);
        let is_fit = self.wal.has_room() && !self.log_pace.is_slow();
        let priority = if is_fit { PRIORITY_MAX } else { 0 };
        for group in &mut self.groups {
            group.raft.set_priority(priority, self.now);
        }
    }

    /// The part of a tick that concerns unresolved writes and a stop under way.
    pub(crate) fn tick_stop(&mut self) {
        self.tick_unresolved();
        let Stopping::Draining { deadline } = self.stopping else { return };
        self.hand_over();
        let leads = self.groups.iter().any(|group| group.raft.transferring_to().is_some());
        let is_drained = !leads
            && self.persisting.is_empty()
            && self.forming_groups.is_empty()
            && self.groups.iter().all(|group| group.proposed.is_empty())
            && self.clients_are_served();
        if is_drained || self.now >= deadline {
            tracing::info!(core = %self.place(), drained = is_drained, "stopped");
            self.stopping = Stopping::Done;
        }
    }
}
