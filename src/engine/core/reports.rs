//! What a core tells of itself: INFO, and what checkers see.

use resp::Args;
use types::{CoreAddr, Instant};

use super::{Core, CoreHost, ListenerKind, MeshMessage, REPORT_EVERY};
use crate::budget::Pool;
use crate::observe::{
    BudgetUse, CoreReport, Event, Field, Info, InfoScope, REPORTED_GROUPS_COUNT_MAX, ReportReceiver, Size,
};
use crate::origin::Port;

impl<H: CoreHost> Core<H> {
    pub(super) fn info(&self, port: Option<Port>, args: Args<'_>) -> String {
        let scope = if port == Some(Port::Core) { InfoScope::Core } else { InfoScope::Node };
        let report = self.observed(port);
        let process = self.ctx.config.process.as_ref().map(|probe| probe.ask());
        let info =
            Info { scope, config: &self.ctx.config, report: &report, unix_ms: self.host.unix_time_ms(), process };
        info.text(args)
    }

    /// What is told to clients: of the core on the core's own port, of the node on the gateway.
    pub(super) fn observed(&self, port: Option<Port>) -> CoreReport {
        let own = self.report();
        if port == Some(Port::Core) { own } else { CoreReport::merged(own, &self.reports) }
    }

    /// What this core tells of itself.
    pub(super) fn report(&self) -> CoreReport {
        let mut report = self.ctx.report();
        (report.clients_count, report.clients_blocked_count) = self.clients.counts();
        report.groups_leaderless_count = self.router.leaderless_count();
        (report.links_count, report.links_up_count) = self.peers.counts();
        let refused = self.listeners.iter().filter(|(_, kind)| matches!(kind, ListenerKind::Clients(_)));
        report.connections_rejected_count = refused.map(|(listener, _)| self.host.refused_count(*listener)).sum();
        report.groups_quarantined_count = self.storage.away_count();
        self.groups.report(self.ctx.now, &mut report, |group| self.storage.snapshot_index(group));
        self.storage.report(&mut |field| report.fields.push(field));
        report.scrubs.push(self.storage.scrub_report(&self.ctx));
        report.planner_alarm = self.planner_alarm().map(str::to_owned);
        report.fields.push(Field::greatest(
            "planner_alarm",
            "Whether so many nodes are missing that the planner, which is at work here, replaces none.",
            report.planner_alarm.is_some().into(),
        ));
        report.led =
            self.groups.led_groups(&self.ctx, |place| self.is_heard(place), |group| self.storage.file_bytes(group));
        report
    }

    /// Whether a core is connected and was heard of late; this one and the others of the node always are.
    fn is_heard(&self, place: CoreAddr) -> bool {
        let link = self.peers.link_to(place);
        link.is_none_or(|link| self.peers.is_up(link) && !self.peers.is_silent(&self.ctx, link))
    }

    /// The turn has written its replies and handed the log what is to be written: what ends with that has ended now.
    pub(super) fn time_stages(&mut self, now: Instant) {
        let ctx = &mut self.ctx;
        self.storage.note_submitted(ctx, now);
        ctx.stages.end_turn(now);
        let commands_count = ctx.turns.commands_count(&ctx.counters);
        if commands_count > 0 {
            ctx.stages.record_size(Size::TurnCommands, commands_count as usize);
        }
        for (id, since, count) in self.clients.take_answered() {
            ctx.commands.answered(id, now.since(since), count);
        }
    }

    /// Tells whoever has asked from outside.
    pub(super) fn tell_outside(&mut self, receiver: &ReportReceiver) {
        let mut report = self.report();
        report.cluster_info = self.cluster.info(&self.router, &self.ctx.counters);
        receiver.tell(report);
    }

    /// Tells the other cores of the node what INFO on the gateway shows.
    pub(super) fn send_reports(&mut self) {
        let cores_count = self.ctx.config.node().cores;
        if cores_count < 2 || self.ctx.now < self.next_report {
            return;
        }
        self.next_report = self.ctx.now + REPORT_EVERY;
        let mut report = self.report();
        report.replicas.truncate(REPORTED_GROUPS_COUNT_MAX);
        report.comparisons.truncate(REPORTED_GROUPS_COUNT_MAX);
        report.led.truncate(REPORTED_GROUPS_COUNT_MAX);
        self.tell_node(|| MeshMessage::Report(Box::new(report.clone())));
    }

    /// Sends a message to the other cores of the node. One whose queue is full misses it.
    pub(super) fn tell_node(&self, message: impl Fn() -> MeshMessage) {
        let cores_count = self.ctx.config.node().cores;
        for core in (0..cores_count).map(types::CoreId).filter(|core| *core != self.ctx.addr().core) {
            let _ = self.host.mesh_send(core, message());
        }
    }

    /// Forgets what was counted, and lets the other cores of the node know soon.
    pub(super) fn reset_stats(&mut self) {
        self.ctx.reset_stats();
        self.next_report = self.ctx.now;
    }

    pub(super) fn on_report(&mut self, report: CoreReport) {
        self.reports.retain(|known| known.addr != report.addr);
        self.reports.push(report);
    }

    /// Tells the observer, if there is one, what was counted so far.
    pub(super) fn observe_counters(&self) {
        let Some(observer) = &self.ctx.observer else { return };
        observer.core_counted(self.ctx.addr(), &self.storage.log_stats(), &self.ctx.counts());
    }

    /// Tells the observer, if there is one, how full the queues are.
    pub(super) fn observe_queues(&self) {
        let Some(observer) = &self.ctx.observer else { return };
        // Told in every turn, about twenty of them.
        let mut queues = Vec::with_capacity(32);
        let mut queue = |len| queues.push(len);
        self.clients.queues(self.ctx.config.limits.commands.command_bytes_max, &mut queue);
        self.router.queues(&self.ctx, &mut queue);
        self.groups.queues(&self.ctx, &mut queue);
        self.peers.queues(&self.ctx, &mut queue);
        self.storage.queues(&self.groups, &mut queue);
        observer.queues(self.ctx.addr(), &queues);
    }

    /// Tells the observer, if there is one, whether permits count what is held.
    pub(super) fn observe_budgets(&self) {
        let Some(observer) = &self.ctx.observer else { return };
        let budget = &self.ctx.budget;
        let mut budgets = Vec::new();
        let mut look = |pool: Pool, held: usize| {
            let unasked = if pool == Pool::ClientInput { self.clients.unasked_bytes_max() } else { 0 };
            let (counted, max) = (budget.used_by(pool) as u64, (budget.bytes_max() + unasked) as u64);
            budgets.push(BudgetUse { name: pool.name(), counted, held: held as u64, max });
        };
        look(Pool::ClientInput, self.clients.input_held_bytes());
        look(Pool::ClientOutput, self.clients.output_held_bytes());
        look(Pool::Forwarded, self.router.held_bytes());
        look(Pool::Links, self.peers.held_bytes());
        look(Pool::Batches, self.groups.requests_held_bytes());
        look(Pool::Entries, self.groups.entries_held_bytes());
        observer.budgets(self.ctx.addr(), &budgets);
    }

    /// The tables of a group have changed on the disk.
    pub(super) fn observe_tables(&self, group: types::GroupId, replica: types::ReplicaId) {
        if let Some(observer) = &self.ctx.observer {
            observer.tables_changed(self.ctx.addr(), group, replica);
        }
    }

    /// A replica was destroyed.
    pub(super) fn observe_destroyed(&self, group: types::GroupId, replica: types::ReplicaId) {
        if let Some(observer) = &self.ctx.observer {
            observer.observe(self.ctx.addr(), group, replica, Event::Destroyed);
        }
    }

    /// A replica stays away: what its disk holds cannot be trusted.
    pub(crate) fn observe_quarantine(&self, group: types::GroupId, replica: types::ReplicaId) {
        if let Some(observer) = &self.ctx.observer {
            observer.observe(self.ctx.addr(), group, replica, Event::Quarantined);
        }
    }
}
