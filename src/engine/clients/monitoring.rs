//! MONITOR: clients that are shown the commands of all others.
//!
//! Lines of a turn are written once, and handed to all monitors at its end. They take a bounded number of bytes, and so do those
//! that wait for a monitor: one that does not take them in time loses lines, is told how many, and holds up nobody.
//!
//! A monitor on a core port is shown what its core takes in from clients, one on the gateway what all cores of the node do: its
//! core asks the others to hand their lines over, again and again, since messages between cores may get lost.

use std::sync::Arc;
use std::time::Duration;

use host::ConnId;
use resp::monitor_line::{LOST_LINE_BYTES_MAX, MonitorLine, write_lost};
use resp::{Args, Command, Flags};
use types::{CoreId, Instant};

use crate::clients::Clients;
use crate::clients::client::Client;
use crate::clients::monitors::{Monitor, Monitored, Monitors, Wanted};
use crate::context::Context;
use crate::limits::{MONITOR_OUTPUT_BYTES_MAX, MONITORED_PER_TURN_BYTES_MAX, MONITORS_COUNT_MAX};
use crate::origin::Port;

/// How often a core with monitors on the gateway tells the others.
const WANT_EVERY: Duration = Duration::from_secs(1);
/// How long a core believes that another one wants its lines.
const WANTED_FOR: Duration = Duration::from_secs(4);

impl Clients {
    fn is_gateway_monitored(&self) -> bool {
        self.monitors.here.iter().any(|monitor| self.port(monitor.conn) == Some(Port::Gateway))
    }

    /// MONITOR. Returns whether the client may; one that monitors already may not once more, and is not told.
    pub(super) fn begin_monitoring(&mut self, conn: ConnId) -> Result<bool, &'static str> {
        let Some(client) = self.table.get_mut(conn).filter(|client| !client.is_monitor) else { return Ok(false) };
        if self.monitors.here.len() >= MONITORS_COUNT_MAX {
            return Err("ERR too many clients monitor this core");
        }
        client.is_monitor = true;
        self.monitors.here.push(Monitor { conn, lost_count: 0 });
        self.monitors.want_next = Instant::ZERO;
        Ok(true)
    }

    /// A client monitors no longer, or is gone.
    pub(super) fn end_monitoring(&mut self, conn: ConnId) {
        self.monitors.here.retain(|monitor| monitor.conn != conn);
        if let Some(client) = self.table.get_mut(conn) {
            client.is_monitor = false;
        }
    }

    /// Whether anybody is shown the commands of this core. A core that has not said so for long does not want them any more.
    pub(crate) fn are_monitored(&mut self, now: Instant) -> bool {
        let Monitors { here, elsewhere, lines, .. } = &mut self.monitors;
        elsewhere.retain(|wanted| wanted.until > now);
        let are_monitored = !here.is_empty() || !elsewhere.is_empty();
        if !are_monitored && lines.capacity() > 0 {
            *lines = Vec::new();
        }
        are_monitored
    }

    /// Another core wants the lines of this one for a while.
    pub(crate) fn monitoring_wanted(&mut self, by: CoreId, now: Instant) {
        let until = now + WANTED_FOR;
        match self.monitors.elsewhere.iter_mut().find(|wanted| wanted.by == by) {
            Some(wanted) => wanted.until = until,
            None => self.monitors.elsewhere.push(Wanted { by, until, lost_count: 0 }),
        }
    }

    /// Whether the other cores are to be told now that their lines are wanted.
    pub(crate) fn wants_monitored(&mut self, now: Instant) -> bool {
        if now < self.monitors.want_next || !self.is_gateway_monitored() {
            return false;
        }
        self.monitors.want_next = now + WANT_EVERY;
        true
    }

    /// A client's command was taken in: shows it, unless it is one for operators, as in Redis.
    pub(crate) fn note_monitored(&mut self, ctx: &mut Context, conn: ConnId, command: &Command, args: Args<'_>) {
        let Some(client) = self.table.get(conn) else { return };
        if command.flags.contains(Flags::ADMIN) {
            return;
        }
        let Monitors { lines, lines_count, lost_count, .. } = &mut self.monitors;
        if lines.len() >= MONITORED_PER_TURN_BYTES_MAX {
            *lost_count += 1;
            return;
        }
        *lines_count += 1;
        MonitorLine { unix_ms: ctx.unix_ms, addr: client.addr, id: command.id, args }.write(lines);
    }

    /// Hands the lines of this turn to the monitors here, and returns them for the cores that want them, each with its number.
    pub(crate) fn end_monitored_turn(&mut self, ctx: &mut Context) -> Vec<(CoreId, Monitored)> {
        let mut lines = std::mem::take(&mut self.monitors.lines);
        let lines_count = std::mem::take(&mut self.monitors.lines_count);
        let lost_count = std::mem::take(&mut self.monitors.lost_count);
        if lines_count == 0 {
            self.monitors.lines = lines;
            return Vec::new();
        }
        let mut handed = Vec::new();
        if !self.monitors.elsewhere.is_empty() {
            let shared: Arc<[u8]> = lines.as_slice().into();
            handed.extend(self.monitors.elsewhere.iter_mut().map(|wanted| {
                let lost_count = std::mem::take(&mut wanted.lost_count) + lost_count;
                (wanted.by, Monitored { lines: Arc::clone(&shared), lines_count, lost_count })
            }));
        }
        self.feed_monitors(ctx, &lines, lines_count, lost_count, |_| true);
        lines.clear();
        self.monitors.lines = lines;
        handed
    }

    /// What was to be handed to another core was not: it is told with what is handed to it next.
    pub(crate) fn monitored_not_handed(&mut self, to: CoreId, monitored: &Monitored) {
        if let Some(wanted) = self.monitors.elsewhere.iter_mut().find(|wanted| wanted.by == to) {
            wanted.lost_count += monitored.lines_count + monitored.lost_count;
        }
    }

    /// Another core has handed its lines over, for the monitors on the gateway.
    pub(crate) fn on_monitored(&mut self, ctx: &mut Context, monitored: &Monitored) {
        let Monitored { lines, lines_count, lost_count } = monitored;
        self.feed_monitors(ctx, lines, *lines_count, *lost_count, |client| client.port == Port::Gateway);
    }

    /// Writes lines for those monitors that are to have them and have room; behind them, how many were lost.
    fn feed_monitors(
        &mut self,
        ctx: &mut Context,
        lines: &[u8],
        lines_count: u64,
        lost_count: u64,
        is_meant: impl Fn(&Client) -> bool,
    ) {
        let is_full = self.budget.requests_are_full();
        let output_max = MONITOR_OUTPUT_BYTES_MAX.min(self.limits.output_bytes_max / 2);
        for monitor in &mut self.monitors.here {
            let Some(client) = self.table.get_mut(monitor.conn).filter(|client| is_meant(client)) else { continue };
            let has_room = client.output_bytes() + lines.len() + 2 * LOST_LINE_BYTES_MAX <= output_max;
            if is_full || !has_room || client.closes_when_sent {
                monitor.lost_count += lines_count + lost_count;
                ctx.counters.monitor_lines_lost += lines_count + lost_count;
                continue;
            }
            ctx.counters.monitor_lines_lost += lost_count;
            let lost_before = std::mem::take(&mut monitor.lost_count);
            client.replies.write_next(|out| {
                write_lost_if_any(out, ctx.unix_ms, lost_before);
                out.extend_from_slice(lines);
                write_lost_if_any(out, ctx.unix_ms, lost_count);
            });
            if !client.is_dirty {
                client.is_dirty = true;
                self.dirty.push(monitor.conn);
            }
        }
    }

    /// A monitor has taken what it was sent: it is told what it has lost meanwhile, though no further line may follow.
    pub(super) fn tell_lost(&mut self, unix_ms: u64, conn: ConnId) {
        let Some(monitor) = self.monitors.here.iter_mut().find(|monitor| monitor.conn == conn) else { return };
        let Some(client) = self.table.get_mut(conn).filter(|client| !client.replies.has_output()) else { return };
        let lost_count = std::mem::take(&mut monitor.lost_count);
        client.replies.write_next(|out| write_lost_if_any(out, unix_ms, lost_count));
    }
}

fn write_lost_if_any(out: &mut Vec<u8>, unix_ms: u64, lost_count: u64) {
    if lost_count > 0 {
        write_lost(out, unix_ms, lost_count);
    }
}
