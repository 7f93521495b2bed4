//! Commands that took long, as a node tells of them.

use std::fmt::Write;
use std::time::Duration;

/// A command that took long, or a part of one that another core has forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCommand {
    /// The core that has kept it, as `node/core`.
    pub core: String,
    /// Its number in the slow log of the node.
    pub number: u64,
    /// How many of the core have come before it.
    pub sequence: u64,
    /// What it did, without its arguments.
    pub name: String,
    /// When it came, since 1970.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// Which way it went.
    pub way: String,
    /// The client; `None` for what another core has forwarded.
    pub client: Option<String>,
    /// The other core, if one has forwarded it here.
    pub forwarded_by: Option<String>,
    /// What took the time, as far as it was measured.
    pub stages: Vec<SlowStage>,
    /// What it is told from others by, on all nodes that it came to.
    pub trace: Trace,
}

impl SlowCommand {
    /// Writes a line about it to the log.
    pub(crate) fn log(&self) {
        let stages: Vec<String> =
            self.stages.iter().map(|stage| format!("{} {}", stage.name, stage.took.as_micros())).collect();
        tracing::info!(
            trace = hex(&self.trace.trace_id),
            span = hex(&self.trace.span_id),
            parent = self.trace.parent_id.map(|id| hex(&id)),
            command = self.name,
            took_us = self.took.as_micros() as u64,
            core = self.core,
            slowlog_id = self.number,
            way = self.way,
            client = self.client,
            forwarded_by = self.forwarded_by,
            stages_us = stages.join(", "),
            "a command was slow"
        );
    }
}

/// A stage of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlowStage {
    /// Its name.
    pub name: &'static str,
    /// When it began, since the command came.
    pub offset: Duration,
    /// How long it took.
    pub took: Duration,
}

/// Ids as W3C Trace Context and OpenTelemetry have them. None of them is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Of the command.
    pub trace_id: [u8; 16],
    /// Of this part of it.
    pub span_id: [u8; 8],
    /// Of the part that has caused this one.
    pub parent_id: Option<[u8; 8]>,
}

/// An id as it is written.
pub fn hex(id: &[u8]) -> String {
    id.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes everything");
        text
    })
}
