//! Commands that tell how the server does: what takes long, what is asked for most.

use super::builder::ANY_TIME;
use crate::command::{Command, Flags};
use crate::command_id::CommandId;

const OPERATOR: Flags = ANY_TIME.union(Flags::ADMIN);
const LATENCY_FLAGS: Flags = OPERATOR.union(Flags::NOSCRIPT);
const NODES_VARYING: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
const NODES_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

const fn server(id: CommandId, name: &'static str, arity: i32) -> Command {
    Command::new(id, name, arity, "server")
}

/// `HELP` of a command with subcommands.
const fn help(id: CommandId, name: &'static str, since: &'static str) -> Command {
    server(id, name, 2).flags(ANY_TIME).docs("", "Returns this text.", since)
}

const fn latency(id: CommandId, name: &'static str, arity: i32) -> Command {
    server(id, name, arity).flags(LATENCY_FLAGS).tips(NODES_VARYING)
}

pub(super) const COMMANDS: &[Command] = &[server(CommandId::Latency, "latency", -2)
    .docs("", "Contains what is about latency.", "2.8.13")
    .complexity("That of the subcommand")
    .subcommands(LATENCY)];

const LATENCY: &[Command] = &[
    latency(CommandId::LatencyHistogram, "latency|histogram", -2)
        .docs("[command ...]", "Returns how long commands took, as a cumulative distribution.", "7.0.0")
        .complexity("O(N) with N commands"),
    latency(CommandId::LatencyLatest, "latency|latest", 2).docs(
        "",
        "Returns the latest of each event that took too long.",
        "2.8.13",
    ),
    latency(CommandId::LatencyHistory, "latency|history", 3).docs(
        "event",
        "Returns when an event took too long, and how long.",
        "2.8.13",
    ),
    latency(CommandId::LatencyReset, "latency|reset", -2).tips(NODES_ALL).docs(
        "[event [event ...]]",
        "Forgets the events that took too long.",
        "2.8.13",
    ),
    latency(CommandId::LatencyDoctor, "latency|doctor", 2).docs(
        "",
        "Says in words which stages of commands take the time.",
        "2.8.13",
    ),
    help(CommandId::LatencyHelp, "latency|help", "2.8.13"),
];
