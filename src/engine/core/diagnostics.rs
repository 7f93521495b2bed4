//! LATENCY and others that tell how the core does, or on the gateway the node.

use host::ConnId;
use resp::{Args, CommandId, Reply};

use super::{Core, CoreHost, MeshMessage};
use crate::observe::{CoreReport, Reset, doctor, latency};
use crate::origin::Port;

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
            CommandId::LatencyHistogram => latency::histogram(&self.observed(conn).commands, args, reply),
            CommandId::LatencyLatest => latency::latest(&self.observed(conn).spikes, reply),
            CommandId::LatencyHistory => latency::history(&self.observed(conn).spikes, args, reply),
            CommandId::LatencyDoctor => {
                reply.verbatim(&doctor::report(&self.observed(conn), self.ctx.config.latency_threshold));
            }
            CommandId::LatencyReset => {
                let events = latency::events_to_reset(args);
                let count = self.observed(conn).spikes.reset(&events);
                self.reset_observed(conn, &Reset::Spikes(events));
                reply.integer(count as i64);
            }
            _ => return false,
        }
        true
    }

    /// What is told to a client: of the core on the core's own port, of the node on the gateway.
    pub(super) fn observed(&self, conn: ConnId) -> CoreReport {
        let own = self.report();
        match self.clients.port(conn) {
            Some(Port::Core) => own,
            _ => CoreReport::merged(std::iter::once(&own).chain(&self.reports)),
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
