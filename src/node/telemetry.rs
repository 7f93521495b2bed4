//! What the node tells of its own accord, and to whom.

use std::time::Duration;

use ::admin::{SlowCommand, SlowStage, Telemetry, TelemetryChange, Trace};
use engine::CoreReport;

use crate::config::Config;

/// Whether the configuration wants anything to be told.
pub(crate) fn is_wanted(config: &Config) -> bool {
    config.otlp_endpoint.is_some() || config.log_slow_commands
}

/// What of that may change while the node runs.
pub(crate) fn change(config: &Config) -> TelemetryChange {
    TelemetryChange { interval: config.telemetry_interval, logs_slow_commands: config.log_slow_commands }
}

/// What the configuration wants to be told.
pub(crate) fn of(config: &Config) -> Telemetry {
    Telemetry {
        otlp_endpoint: config.otlp_endpoint.clone(),
        interval: config.telemetry_interval,
        logs_slow_commands: config.log_slow_commands,
        attributes: attributes(config),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

/// The node, by the names of OpenTelemetry's conventions for resources.
fn attributes(config: &Config) -> Vec<(String, String)> {
    // One that joins is given its number later.
    let instance = config.node_id.map_or_else(|| config.node().gateway_addr().to_string(), |id| id.to_string());
    let attributes = [
        ("service.name", "coracle".to_owned()),
        ("service.namespace", config.bootstrap.cluster_id.to_string()),
        ("service.instance.id", instance),
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
    ];
    attributes.map(|(key, value)| (key.to_owned(), value)).into()
}

/// The slow commands of a core.
pub(crate) fn slow_commands(report: &CoreReport) -> Vec<SlowCommand> {
    let core = report.addr().to_string();
    report.slow_commands().into_iter().map(|command| told(command, &core)).collect()
}

fn told(command: engine::SlowCommand, core: &str) -> SlowCommand {
    let (client, forwarded_by) = match command.asked_by {
        Ok(client) => (Some(client), None),
        Err(core) => (None, Some(core)),
    };
    let us = Duration::from_micros;
    let stages = command.stages.into_iter();
    SlowCommand {
        core: core.to_owned(),
        number: command.number,
        sequence: command.sequence,
        name: command.name,
        begun: us(command.begun_unix_us),
        took: us(command.took_us),
        way: command.way,
        client,
        forwarded_by,
        stages: stages.map(|(name, offset, took)| SlowStage { name, offset: us(offset), took: us(took) }).collect(),
        trace: Trace {
            trace_id: command.trace.trace_id.to_be_bytes(),
            span_id: command.trace.span_id.to_be_bytes(),
            parent_id: command.trace.parent_id.map(u64::to_be_bytes),
        },
    }
}
