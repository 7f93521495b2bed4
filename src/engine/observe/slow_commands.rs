//! Slow commands as they are told to others than clients: with where their time went, and without their arguments.

use crate::observe::command_log::{AskedBy, LogKind, LoggedCommand};
use crate::observe::report::CoreReport;
use crate::observe::trace::TraceIds;

/// A command that took long here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowCommand {
    /// Its number in the slow log of the node.
    pub number: u64,
    /// How many of the core came before it.
    pub sequence: u64,
    /// Its name.
    pub name: String,
    /// When it began, in microseconds since 1970.
    pub begun_unix_us: u64,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Which way it went.
    pub way: String,
    /// Who has asked: the address of a client, or the address of another core, which has forwarded it.
    pub asked_by: Result<String, String>,
    /// Its stages: the name of each, when it began and how long it took, in microseconds since the command began.
    pub stages: Vec<(&'static str, u64, u64)>,
    /// What it is told from others by.
    pub trace: TraceIds,
}

impl CoreReport {
    /// The slow commands that the core keeps, those included that other cores have forwarded to it.
    pub fn slow_commands(&self) -> Vec<SlowCommand> {
        let kinds = [LogKind::Slow, LogKind::Forwarded];
        kinds.into_iter().flat_map(|kind| self.command_logs.newest(kind)).map(told).collect()
    }
}

fn told(command: &LoggedCommand) -> SlowCommand {
    let name =
        command.args.first().map_or_else(String::new, |name| String::from_utf8_lossy(name).to_ascii_uppercase());
    SlowCommand {
        number: command.number,
        sequence: command.sequence,
        name,
        begun_unix_us: command.unix_us.saturating_sub(command.measure),
        took_us: command.measure,
        way: command.way.name(),
        asked_by: match &command.asked_by {
            AskedBy::Client { addr, .. } => Ok(addr.to_string()),
            AskedBy::Core(core) => Err(core.to_string()),
        },
        stages: command.way.placed_stages(command.measure),
        trace: command.trace,
    }
}
