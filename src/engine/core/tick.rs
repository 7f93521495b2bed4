//! Ticks: what is looked at every now and then, since the clock alone makes it due.
//!
//! A core ticks twice per heartbeat interval as long as anything waits for its ticks: commands for a leader or an answer, writes for
//! the disk, keys for their time. A core on which nothing happens need only tell the others that it is there, and notice who is not
//! there any more. It wakes for that alone, and for all links at once: whoever wakes first wakes the others, and they take the
//! opportunity, so that idle cores tick together and not each of them for each other one.

use types::Instant;

use super::sink::out;
use super::{Core, CoreHost, Stopping};
use crate::cluster::MAP_GROUP;
use crate::error::Error;
use crate::observe::{Phase, StallReason};

impl<H: CoreHost> Core<H> {
    /// When the core must wake, whatever else happens.
    pub(super) fn wakes_at(&self) -> Instant {
        self.next_tick().min(self.groups.next_timer(self.ctx.now)).min(self.clients.next_timer())
    }

    /// Whether this turn is to tick.
    pub(super) fn is_tick_due(&mut self) -> bool {
        let was_told = self.peers.take_keep_alives();
        let now = self.ctx.now;
        // Most turns of a busy core end here.
        if now < self.ticked_at + self.ctx.config.tick_interval() {
            return false;
        }
        now >= self.next_tick() || was_told && now >= self.ticked_at + self.ctx.config.idle_tick_interval() / 2
    }

    fn next_tick(&self) -> Instant {
        let config = &self.ctx.config;
        let soon = self.ticked_at + config.tick_interval();
        if self.wants_ticks() {
            return soon;
        }
        soon.max(self.peers.next_due().min(self.ticked_at + config.idle_tick_interval()))
    }

    /// Whether anything waits for ticks, beside what the links need.
    fn wants_ticks(&self) -> bool {
        let map_is_open = || !self.cluster.is_agreed() && self.router.local_of(MAP_GROUP).is_some();
        self.stopping != Stopping::No
            || self.router.wants_ticks()
            || self.groups.wants_ticks()
            || self.storage.wants_ticks()
            || self.clients.wants_ticks()
            || self.planner_wants_ticks()
            || map_is_open()
    }

    /// Looks at what may be due by the clock.
    ///
    /// # Errors
    /// See [`Core::run`].
    pub(super) fn tick(&mut self) -> Result<(), Error> {
        let is_idle = !self.wants_ticks();
        self.ticked_at = self.ctx.now;
        // A core that has woken for one link only need not wake again for the others.
        let keep_alive = self.ctx.config.keep_alive_interval();
        let silent = self.peers.tick(&self.ctx, &self.host, if is_idle { keep_alive / 2 } else { keep_alive });
        if !silent.is_empty() {
            self.groups.peers_silent(&self.ctx, &silent);
        }
        self.carry_peer_events();
        self.propose_map();
        self.tick_map()?;
        self.storage.tick(&mut self.ctx, &mut self.groups, &mut self.storage_effects)?;
        self.carry_storage_effects()?;
        for group in self.storage.groups_with_full_log() {
            self.groups.stall(&mut self.ctx, group, StallReason::LogLong);
        }
        if let Some(group) = self.storage.copies_behind(&self.groups) {
            self.groups.stall(&mut self.ctx, group, StallReason::FlushBehind);
        }
        self.groups.sweep_expired(&mut self.ctx);
        self.groups.tick(&mut self.ctx, out!(self), &mut self.group_effects);
        self.groups.fit_members(&mut self.ctx, self.cluster.map());
        self.groups.tick_orders(&self.ctx, out!(self), &mut self.group_effects, self.cluster.map());
        self.groups.tick_comparing(&mut self.ctx, &mut self.group_effects);
        self.carry_group_effects()?;
        self.report_to_leader();
        self.tick_planning();
        self.carry_group_effects()?;
        let priority = if self.storage.fitness() { raft::PRIORITY_MAX } else { 0 };
        self.groups.set_priority(&self.ctx, priority);
        let (ctx, peers) = (&self.ctx, &self.peers);
        self.router.tick(ctx, |link| peers.is_silent(ctx, link));
        self.clients.tick(&mut self.ctx, &self.host);
        self.ctx.tick_observed();
        self.send_reports();
        self.observe_counters();
        self.tick_stop();
        self.ctx.turns.mark(Phase::Tick, self.host.now());
        Ok(())
    }

    /// The part of a tick that concerns a stop under way.
    fn tick_stop(&mut self) {
        let Stopping::Draining { deadline } = self.stopping else { return };
        self.groups.hand_over(&self.ctx);
        let is_drained = self.groups.is_drained() && !self.storage.has_pending() && self.clients.are_served();
        if is_drained || self.ctx.now >= deadline {
            tracing::info!(core = %self.ctx.addr(), drained = is_drained, "stopped");
            self.stopping = Stopping::Done;
        }
    }
}
