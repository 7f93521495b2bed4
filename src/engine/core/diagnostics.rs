//! LATENCY, SLOWLOG and others that tell how the core does, or on the gateway the node.

use std::time::Duration;

use host::ConnId;
use resp::{Args, CommandId, Reply};

use super::{Core, CoreHost, MeshMessage};
use crate::groups::CompareRefusal;
use crate::observe::{
    AskedBy, LARGE_BYTES_MIN, LogKind, LoggedCommand, Reset, TraceIds, Way, comparison_replies, doctor, latency,
    logged_replies, scrub_replies, shown_args,
};
use crate::origin::Port;

/// Commands and replies from this length on are looked at, in bytes.
const LOOK_BYTES_MIN: usize = 4 << 10;
/// If commands are slow that take less than this, every command is looked at.
const LOOK_AT_ALL_BELOW: Duration = Duration::from_millis(1);

/// Whether a command is answered from a report of the core, or of the node.
pub(super) fn tells_of_core(id: CommandId) -> bool {
    matches!(
        id,
        CommandId::Info
            | CommandId::LatencyHistogram
            | CommandId::LatencyLatest
            | CommandId::LatencyHistory
            | CommandId::LatencyDoctor
            | CommandId::LatencyReset
            | CommandId::SlowLogGet
            | CommandId::SlowLogLen
            | CommandId::CommandLogGet
            | CommandId::CommandLogLen
            | CommandId::CoracleSlowLog
            | CommandId::CoracleHotKeys
            | CommandId::CoracleComparison
            | CommandId::CoracleScrub
            | CommandId::CoracleNodes
            | CommandId::CoracleGroups
            | CommandId::CoracleReplace
            | CommandId::CoracleJoin
            | CommandId::CoracleToken
            | CommandId::CoracleRemove
            | CommandId::CoracleStatus
    )
}

impl<H: CoreHost> Core<H> {
    /// Answers a command about how the core or the node does. Returns `false` for one that is about something else.
    pub(super) fn answer_diagnostics(
        &mut self,
        conn: ConnId,
        id: CommandId,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) -> bool {
        match id {
            CommandId::LatencyHistogram => {
                latency::histogram(&self.observed(self.clients.port(conn)).commands, args, reply)
            }
            CommandId::LatencyLatest => latency::latest(&self.observed(self.clients.port(conn)).spikes, reply),
            CommandId::LatencyHistory => {
                latency::history(&self.observed(self.clients.port(conn)).spikes, args, reply)
            }
            CommandId::LatencyDoctor => {
                reply.verbatim(&doctor::report(
                    &self.observed(self.clients.port(conn)),
                    self.ctx.settings.latency_threshold,
                ));
            }
            CommandId::LatencyReset => {
                let events = latency::events_to_reset(args);
                let count = self.observed(self.clients.port(conn)).spikes.reset(&events);
                self.reset_observed(conn, &Reset::Spikes(events));
                reply.integer(count as i64);
            }
            CommandId::SlowLogGet if args.len() > 3 => {
                reply.error("ERR unknown subcommand or wrong number of arguments for 'get'. Try SLOWLOG HELP.");
            }
            CommandId::SlowLogGet => {
                logged_replies::get(&self.observed(self.clients.port(conn)).command_logs, LogKind::Slow, args, reply)
            }
            CommandId::SlowLogLen => {
                reply.integer(self.observed(self.clients.port(conn)).command_logs.len(LogKind::Slow) as i64)
            }
            CommandId::SlowLogReset => {
                self.reset_observed(conn, &Reset::CommandLog(LogKind::Slow));
                reply.ok();
            }
            CommandId::CoracleSlowLog => {
                logged_replies::slow_with_stages(&self.observed(self.clients.port(conn)).command_logs, args, reply);
            }
            CommandId::CoracleHotKeys => {
                logged_replies::hot_keys(&self.observed(self.clients.port(conn)).hot, args, reply)
            }
            CommandId::CoracleCompare => self.compare_command(args, reply),
            CommandId::CoracleComparison => {
                comparison_replies::last(&self.observed(self.clients.port(conn)).comparisons, args, reply)
            }
            CommandId::CoracleScrub => self.scrub_command(conn, args, reply),
            CommandId::CoracleNodes => self.cluster.tell_nodes(&self.ctx, &self.router, &self.peers, reply),
            CommandId::CoracleGroups => {
                let report = self.observed(self.clients.port(conn));
                self.cluster.tell_groups(&report, &self.router, reply);
            }
            CommandId::CoracleStatus => {
                let report = self.observed(self.clients.port(conn));
                self.cluster.tell_status(&self.ctx, &report, &self.router, &self.peers, reply);
            }
            CommandId::CoracleReplace => self.replace_command(args, reply),
            CommandId::CoracleJoin => self.join_command(args, reply),
            CommandId::CoracleToken => self.token_command(args, reply),
            CommandId::CoracleRemove => self.remove_command(args, reply),
            _ => return self.answer_command_log(conn, id, args, reply),
        }
        true
    }

    /// CORACLE SCRUB: has what lies at rest checked, of the core, or on the gateway of the node; or tells how far that is.
    fn scrub_command(&mut self, conn: ConnId, args: Args<'_>, reply: &mut Reply<'_>) {
        match args.get(2) {
            None => {}
            Some(word) if args.len() == 3 && word.eq_ignore_ascii_case(b"status") => {
                return scrub_replies::status(&self.observed(self.clients.port(conn)).scrubs, reply);
            }
            Some(_) => return reply.error(resp::errors::SYNTAX),
        }
        if !self.storage.scrub_soon(&self.ctx) {
            return reply.error("ERR the scrub is turned off: scrub_bytes_per_s is 0");
        }
        if self.clients.port(conn) == Some(Port::Gateway) {
            self.tell_node(|| MeshMessage::ScrubWanted);
        }
        reply.simple("OK a pass begins where none is under way; CORACLE SCRUB STATUS tells what it has found");
    }

    /// CORACLE COMPARE: has a group compared that is led here, or all of them.
    fn compare_command(&mut self, args: Args<'_>, reply: &mut Reply<'_>) {
        if args.len() == 2 {
            let count = self.groups.compare_all_soon();
            return reply
                .simple(&format!("OK {count} groups that this core leads will be compared, one after another"));
        }
        let id = match comparison_replies::group_at(args, 2) {
            Some(id) => id,
            None => return reply.error(comparison_replies::NO_GROUP),
        };
        let Some(route) = self.router.of_group(id).map(|route| self.router.route(route)) else {
            return reply.error(comparison_replies::NO_GROUP);
        };
        let (local, leader, is_known) = (route.local, route.leader, route.is_known);
        match local.map_or(Err(CompareRefusal::NotLeader), |group| self.groups.compare_soon(group)) {
            Ok(()) => reply.simple("OK the comparison begins; CORACLE COMPARISON tells what it has found"),
            Err(CompareRefusal::Alone) => reply.error("ERR the group has one replica: there is nothing to compare"),
            Err(CompareRefusal::Running) => reply.error("ERR a comparison of this group is under way already"),
            Err(CompareRefusal::NotLeader) if !is_known || leader == self.ctx.addr() => {
                reply.error("ERR nobody is known to lead the group now: try again");
            }
            Err(CompareRefusal::NotLeader) => {
                let at = self.cluster.map().node(leader.node).map(|node| node.core_addr(leader.core).to_string());
                let at = at.unwrap_or_default();
                reply.error(&format!("ERR this core does not lead the group: ask {leader}, the core port {at}"));
            }
        }
    }

    fn answer_command_log(&mut self, conn: ConnId, id: CommandId, args: Args<'_>, reply: &mut Reply<'_>) -> bool {
        let place = match id {
            CommandId::CommandLogGet => 3,
            CommandId::CommandLogLen | CommandId::CommandLogReset => 2,
            _ => return false,
        };
        let Some(kind) = logged_replies::kind_at(args, place, reply) else { return true };
        match id {
            CommandId::CommandLogGet => {
                logged_replies::get(&self.observed(self.clients.port(conn)).command_logs, kind, args, reply)
            }
            CommandId::CommandLogLen => {
                reply.integer(self.observed(self.clients.port(conn)).command_logs.len(kind) as i64)
            }
            _ => {
                self.reset_observed(conn, &Reset::CommandLog(kind));
                reply.ok();
            }
        }
        true
    }

    /// Decides which commands of this turn are looked at, for how long they took or are: those that are short, and are answered
    /// shortly, take no time worth a look at the clock, unless somebody wants to know of very short times, or is shown all.
    pub(super) fn begin_looking(&mut self) {
        self.is_monitored = self.clients.are_monitored(self.ctx.now);
        let is_all = self.is_monitored || self.logs_short_times();
        self.look_bytes_min = if is_all { 0 } else { LOOK_BYTES_MIN };
    }

    /// A client monitors from here on, as it may behind its own command MONITOR.
    pub(super) fn look_at_all(&mut self) {
        (self.is_monitored, self.look_bytes_min) = (true, 0);
    }

    fn logs_short_times(&self) -> bool {
        self.ctx.settings.slow_log_min.is_some_and(|min| min < LOOK_AT_ALL_BELOW)
    }

    /// Whether a command that was taken in is to be looked at.
    #[inline]
    pub(super) fn is_worth_a_look(&self, bytes: usize, reply_bytes: usize) -> bool {
        bytes.max(reply_bytes) >= self.look_bytes_min
    }

    /// Shows a command to whoever monitors, unless it was refused. Keeps one that was long, or slow if it is answered already;
    /// else it is looked at once it is.
    #[cold]
    pub(super) fn look_at_command(
        &mut self,
        conn: ConnId,
        args: Args<'_>,
        bytes: usize,
        reply_bytes: usize,
        is_refused: bool,
    ) {
        let Ok(command) = resp::resolve(args) else { return };
        if self.is_monitored && !is_refused {
            self.clients.note_monitored(&mut self.ctx, conn, command, args);
        }
        if bytes.max(reply_bytes) < LOOK_BYTES_MIN && !self.logs_short_times() {
            return;
        }
        let now = self.host.now();
        let Some(asker) = self.clients.asker_at(conn, self.ctx.now) else { return };
        let took = now.since(asker.since);
        let is_slow = reply_bytes > 0 && self.ctx.settings.slow_log_min.is_some_and(|min| took >= min);
        let found = [
            (LogKind::Slow, is_slow, took.as_micros() as u64),
            (LogKind::LargeRequest, bytes >= LARGE_BYTES_MIN, bytes as u64),
            (LogKind::LargeReply, reply_bytes >= LARGE_BYTES_MIN, reply_bytes as u64),
        ];
        for (kind, is_kept, measure) in found {
            if is_kept && self.ctx.command_logs.takes(kind) {
                let command = LoggedCommand {
                    number: 0,
                    sequence: 0,
                    core: self.ctx.addr(),
                    unix_us: self.ctx.unix_us_at(now),
                    measure,
                    args: shown_args(command, args),
                    asked_by: AskedBy::Client { addr: asker.addr, name: asker.name.clone() },
                    way: Way::AtOnce,
                    trace: TraceIds::default(),
                };
                self.ctx.log_command(kind, command);
            }
        }
    }

    /// Forgets something of the core, or of the node, as whoever asks may see.
    fn reset_observed(&mut self, conn: ConnId, reset: &Reset) {
        self.ctx.reset(reset);
        if self.clients.port(conn) == Some(Port::Gateway) {
            self.tell_node(|| MeshMessage::Reset(reset.clone()));
            self.reports.iter_mut().for_each(|report| report.reset(reset));
        }
    }

    /// Another core was told to forget something of the node.
    pub(super) fn on_reset(&mut self, reset: &Reset) {
        self.ctx.reset(reset);
        self.next_report = self.ctx.now;
    }
}
