//! What every part of a core may use: the configuration, the time of the turn, budgets, counters, the observer.
//!
//! There is no host in it. Parts decide, `core` does: so each part can be tested without a host.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use resp::CommandId;
use types::{CoreAddr, GroupId, Instant};

use crate::budget::{Budget, Permit, Pool};
use crate::config::Config;
use crate::observe::hot_keys::HotKeys;
use crate::observe::{
    CommandLogs, CommandStats, CoreReport, Counters, ErrorStats, LogKind, LoggedCommand, MemoryReport, Observer,
    Phase, Rates, RefusalLog, Reset, SpikeEvent, Spikes, Stages, Turns,
};
use crate::origin::Origin;
use crate::refusal::Refusal;
use crate::settings::NodeSettings;
use crate::shares::Shares;

/// What the parts of a core share within a turn.
pub(crate) struct Context {
    pub(crate) config: Rc<Config>,
    /// What may change while the core runs.
    pub(crate) settings: Arc<NodeSettings>,
    /// Read after the input that is being handled was received: a lease that holds now held when a request arrived.
    pub(crate) now: Instant,
    /// The wall clock at the beginning of the turn, in milliseconds since 1970.
    pub(crate) unix_ms: u64,
    /// Why the disk has no room for writes but those that make some; `None` while it has.
    pub(crate) disk_full: Option<Rc<str>>,
    /// Bytes that entries which make room may still take of the log; `None` while the log has room for all.
    pub(crate) freeing_bytes: Option<usize>,
    /// Whether so much waits to become durable in the log that nothing should be added to it.
    pub(crate) is_log_backlogged: bool,
    /// Whether rows are to be flushed so that they can leave memory.
    pub(crate) wants_flush: bool,
    /// Whether rows are being flushed.
    pub(crate) is_flushing: bool,
    /// Whether rows leave memory, or will: then it is worth waiting for.
    pub(crate) rows_can_leave: bool,
    /// Whether no more commands are taken from clients for now: the log is backlogged, or copies for a snapshot pile up.
    pub(crate) must_clients_wait: bool,
    /// Whether the node is stopping.
    pub(crate) is_stopping: bool,
    pub(crate) counters: Counters,
    /// What each command has done.
    pub(crate) commands: CommandStats,
    /// Error replies by their first word.
    pub(crate) errors: ErrorStats,
    /// Refused commands by reason.
    pub(crate) refusals: RefusalLog,
    /// How long turns take.
    pub(crate) turns: Turns,
    /// How long the stages of commands take.
    pub(crate) stages: Stages,
    /// What took longer than it should.
    pub(crate) spikes: Spikes,
    /// Commands that were slow, or long.
    pub(crate) command_logs: CommandLogs,
    /// For those.
    command_logs_permit: Permit,
    /// What is asked for most.
    pub(crate) hot_keys: HotKeys,
    /// Commands and bytes per second.
    pub(crate) rates: Rates,
    pub(crate) budget: Budget,
    /// What this turn may still do.
    pub(crate) shares: Shares,
    pub(crate) observer: Option<Rc<dyn Observer>>,
}

impl Context {
    /// A context at the beginning of a core's life.
    pub(crate) fn new(config: Rc<Config>, now: Instant, observer: Option<Rc<dyn Observer>>) -> Context {
        let budget = Budget::new(config.memory_bytes_max);
        let (place, cores_count) = (config.place, config.node().cores);
        let settings = Arc::new(config.settings.clone());
        let command_logs = CommandLogs::new(place.core.0.into(), cores_count.into(), settings.slow_log_len_max);
        let stages = Stages::new(settings.latency_threshold.unwrap_or(Duration::MAX));
        let shares = Shares::new(config.limits.commands_per_turn_max);
        Context {
            config,
            settings,
            now,
            unix_ms: 0,
            disk_full: None,
            freeing_bytes: None,
            is_log_backlogged: false,
            wants_flush: false,
            is_flushing: false,
            rows_can_leave: true,
            must_clients_wait: false,
            is_stopping: false,
            counters: Counters::new(now),
            commands: CommandStats::default(),
            errors: ErrorStats::default(),
            refusals: RefusalLog::default(),
            turns: Turns::default(),
            stages,
            spikes: Spikes::default(),
            command_logs,
            command_logs_permit: budget.permit(Pool::Fixed),
            hot_keys: HotKeys::default(),
            rates: Rates::default(),
            budget,
            shares,
            observer,
        }
    }

    /// Counts a refused command, and the group that it was for if that has to do with it.
    pub(crate) fn refused(&mut self, refusal: Refusal, group: Option<GroupId>) {
        self.refusals.count(refusal, group);
    }

    /// Counts an error reply. `message` stands without the `-` in front.
    pub(crate) fn count_error(&mut self, message: &[u8]) {
        self.counters.error_replies += 1;
        self.errors.count(message);
    }

    /// Counts an error reply to a command. What goes back to another core is counted there, by
    /// [`Context::count_forwarded`]: errors and failures belong to the core that the client has connected to, as calls do.
    pub(crate) fn count_error_to(&mut self, origin: Origin, message: &[u8]) {
        if !matches!(origin, Origin::Peer { .. }) {
            self.count_error(message);
        }
    }

    /// Counts a command that was carried out and is answered with an error.
    pub(crate) fn count_failed(&mut self, origin: Origin, id: CommandId, message: &[u8]) {
        if !matches!(origin, Origin::Peer { .. }) {
            self.count_error(message);
            self.commands.fail(id);
        }
    }

    /// Counts the reply to a command that another core has carried out, if it is an error.
    pub(crate) fn count_forwarded(&mut self, id: CommandId, reply: &[u8]) {
        if let Some(message) = reply.strip_prefix(b"-") {
            self.count_error(message);
            self.commands.fail(id);
        }
    }

    /// The part of a tick that concerns what others see: samples are taken, and the log tells of refused commands.
    pub(crate) fn tick_observed(&mut self) {
        self.budget.sample();
        self.rates.tick(self.now, &self.counters);
        self.hot_keys.tick(self.now);
        while let Some(line) = self.refusals.due(self.now) {
            tracing::warn!(core = %self.addr(), "{line}");
        }
    }

    /// Whether there will be more room for keys, since they take up more than they should and rows leave memory.
    pub(crate) fn makes_room(&self) -> bool {
        self.rows_can_leave && self.budget.keys_may_be_over()
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset_stats(&mut self) {
        self.counters.reset();
        self.commands = CommandStats::default();
        self.errors = ErrorStats::default();
        self.refusals.reset();
        self.turns.reset();
        self.stages.reset();
    }

    /// Forgets what a client wants forgotten.
    pub(crate) fn reset(&mut self, reset: &Reset) {
        match reset {
            Reset::Spikes(events) => drop(self.spikes.reset(events)),
            Reset::CommandLog(kind) => {
                self.command_logs.reset(*kind);
                self.command_logs_permit.set(self.command_logs.bytes());
            }
        }
    }

    /// Whether a command that has come then, or later, may be slow by now, and would be kept.
    #[inline]
    pub(crate) fn is_slow(&self, since: Instant) -> bool {
        self.settings.slow_log_min.is_some_and(|min| self.latest().since(since) >= min)
            && (self.command_logs.takes(LogKind::Slow) || self.command_logs.takes(LogKind::Forwarded))
    }

    /// Other settings are in force.
    pub(crate) fn settings_changed(&mut self) {
        self.stages.set_long_min(self.settings.latency_threshold.unwrap_or(Duration::MAX));
        self.command_logs.set_len_max(self.settings.slow_log_len_max);
        self.command_logs_permit.set(self.command_logs.bytes());
    }

    /// Keeps a command that was slow, or long.
    pub(crate) fn log_command(&mut self, kind: LogKind, command: LoggedCommand) {
        self.command_logs.push(kind, command);
        self.command_logs_permit.set(self.command_logs.bytes());
    }

    /// Everything that this core has counted, by name: its counters, and refused commands by reason.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let refusals = self.refusals.counts();
        let counts = self.counters.list().into_iter().chain(refusals.list());
        let unknown = ("outcomes_unknown", refusals.outcomes_unknown());
        counts.map(|(name, _, count)| (name, count)).chain([unknown]).collect()
    }

    /// What the context knows of what this core tells of itself. `core` adds what its parts know.
    pub(crate) fn report(&self) -> CoreReport {
        CoreReport {
            addr: self.addr(),
            settings: Arc::clone(&self.settings),
            cores_count: 1,
            uptime: self.now.since(self.counters.started_at),
            counters: self.counters.clone(),
            refusals: self.refusals.counts().clone(),
            commands: self.commands.clone(),
            errors: self.errors.clone(),
            rate: self.rates.now(),
            turns: self.turns.stats().clone(),
            stages: self.stages.stats().clone(),
            spikes: self.spikes.clone(),
            command_logs: self.command_logs.clone(),
            hot: self.hot_keys.report(),
            memory: MemoryReport::of(&self.budget),
            ..CoreReport::default()
        }
    }

    /// The turn is over: notes what of it took longer than it should.
    pub(crate) fn end_turn(&mut self, now: Instant) {
        let took = self.turns.end(Phase::Send, now, &self.counters);
        if self.settings.latency_threshold.is_some_and(|threshold| took >= threshold) {
            self.spikes.note(SpikeEvent::Turn, took, self.unix_ms);
        }
        for (stage, took) in self.stages.take_long() {
            self.spikes.note_stage(stage, took, self.unix_ms);
        }
    }

    /// The time as of the last look at the clock: for what is measured. It may be later than [`Context::now`], by which leases are
    /// judged.
    pub(crate) fn latest(&self) -> Instant {
        self.now.max(self.turns.marked_at())
    }

    /// The wall clock at a time of this turn, in microseconds since 1970.
    pub(crate) fn unix_us_at(&self, at: Instant) -> u64 {
        self.unix_ms * 1_000 + at.since(self.now).as_micros() as u64
    }

    /// The address of this core.
    pub(crate) fn addr(&self) -> CoreAddr {
        self.config.place
    }
}
