//! Commands that tell how the server does: what takes long, what is asked for most.

use super::builder::ANY_TIME;
use crate::command::{Command, Flags, Scope};
use crate::command_id::CommandId;

const OPERATOR: Flags = ANY_TIME.union(Flags::ADMIN);
const LATENCY_FLAGS: Flags = OPERATOR.union(Flags::NOSCRIPT);
const NODES_VARYING: &[&str] = &["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"];
const NODES_ALL: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const NODES_SUM: &[&str] = &["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"];
const NODES_GET: &[&str] = &["request_policy:all_nodes", "nondeterministic_output"];

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

/// What an operator asks of the logs of commands.
const fn logged(id: CommandId, name: &'static str, arity: i32, tips: &'static [&'static str]) -> Command {
    server(id, name, arity).flags(OPERATOR).tips(tips)
}

const fn container(id: CommandId, name: &'static str, since: &'static str, of: &'static str) -> Command {
    server(id, name, -2).docs("", of, since).complexity("That of the subcommand")
}

pub(super) const COMMANDS: &[Command] = &[
    container(CommandId::Latency, "latency", "2.8.13", "Contains what is about latency.").subcommands(LATENCY),
    container(CommandId::SlowLog, "slowlog", "2.2.12", "Contains what is about slow commands.").subcommands(SLOWLOG),
    container(CommandId::CommandLog, "commandlog", "8.1.0", "Contains what is about slow and long commands.")
        .subcommands(COMMANDLOG),
    server(CommandId::Monitor, "monitor", 1).flags(LATENCY_FLAGS).docs(
        "",
        "Shows this connection every command that clients send, as it is taken in.",
        "1.0.0",
    ),
    container(CommandId::Coracle, "coracle", "1.0.0", "Contains what only Coracle has.").subcommands(CORACLE),
];

const SLOWLOG: &[Command] = &[
    logged(CommandId::SlowLogGet, "slowlog|get", -2, NODES_GET)
        .docs("[count]", "Returns the newest slow commands, ten if no count is given, all if it is -1.", "2.2.12")
        .complexity("O(N) with N commands returned"),
    logged(CommandId::SlowLogLen, "slowlog|len", 2, NODES_SUM).docs("", "Counts the slow commands.", "2.2.12"),
    logged(CommandId::SlowLogReset, "slowlog|reset", 2, NODES_ALL).docs("", "Forgets the slow commands.", "2.2.12"),
    help(CommandId::SlowLogHelp, "slowlog|help", "6.2.0"),
];

const KIND: &str = "<SLOW | LARGE-REQUEST | LARGE-REPLY>";

const COMMANDLOG: &[Command] = &[
    logged(CommandId::CommandLogGet, "commandlog|get", 4, NODES_GET)
        .docs(
            "count <SLOW | LARGE-REQUEST | LARGE-REPLY>",
            "Returns the newest commands of a kind, all if the count is -1.",
            "8.1.0",
        )
        .complexity("O(N) with N commands returned"),
    logged(CommandId::CommandLogLen, "commandlog|len", 3, NODES_SUM).docs(
        KIND,
        "Counts the commands of a kind.",
        "8.1.0",
    ),
    logged(CommandId::CommandLogReset, "commandlog|reset", 3, NODES_ALL).docs(
        KIND,
        "Forgets the commands of a kind.",
        "8.1.0",
    ),
    help(CommandId::CommandLogHelp, "commandlog|help", "8.1.0"),
];

const CORACLE: &[Command] = &[
    logged(CommandId::CoracleCompare, "coracle|compare", -2, NODES_VARYING)
        .docs("[group]", "Has the replicas of a group compared, or of all groups that the core leads.", "1.0.0")
        .complexity("O(1); the comparison itself reads all rows in the background"),
    logged(CommandId::CoracleComparison, "coracle|comparison", -2, NODES_GET)
        .docs("[group]", "Returns what the last comparisons of groups that are led here have found.", "1.0.0")
        .complexity("O(N) with N groups"),
    logged(CommandId::CoracleDecommission, "coracle|decommission", 3, NODES_VARYING)
        .scope(Scope::ClusterLeader)
        .docs("node", "Has replicas and leaders leave a node, and removes it then.", "1.0.0")
        .complexity("O(N) with N groups; the replicas are copied in the background"),
    logged(CommandId::CoracleDrain, "coracle|drain", 3, NODES_VARYING).scope(Scope::ClusterLeader).docs(
        "node",
        "Has leaders leave a node, and gives it no further replicas.",
        "1.0.0",
    ),
    logged(CommandId::CoracleGroups, "coracle|groups", 2, NODES_GET)
        .docs("", "Returns the groups: who leads each, where its replicas are to live, and who takes part.", "1.0.0")
        .complexity("O(N) with N groups"),
    logged(CommandId::CoracleHotKeys, "coracle|hotkeys", -2, NODES_GET).docs(
        "[COUNT count]",
        "Returns which keys and slots commands are about most often, of those led here.",
        "1.0.0",
    ),
    logged(CommandId::CoracleJoin, "coracle|join", -11, NODES_VARYING).docs(
        "token incarnation name host gateway-port core-port peer-port admin-port cores [rack]",
        "Admits a new node, or one that comes back without data. The node itself says it.",
        "1.0.0",
    ),
    logged(CommandId::CoracleMove, "coracle|move", 5, NODES_VARYING)
        .scope(Scope::Leader)
        .docs(
            "group from-node[/core] to-node[/core]",
            "Has a replica of a group live on another node or core. Returns the id of the new replica.",
            "1.0.0",
        )
        .complexity("O(1); the replica is copied in the background"),
    logged(CommandId::CoracleNodes, "coracle|nodes", 2, NODES_GET)
        .docs("", "Returns the nodes: their state, and how many groups each leads and has copies of.", "1.0.0")
        .complexity("O(N) with N groups"),
    logged(CommandId::CoraclePlan, "coracle|plan", 4, NODES_VARYING)
        .scope(Scope::ClusterLeader)
        .docs("DECOMMISSION node", "Returns what a decommission would do and refuse, and changes nothing.", "1.0.0")
        .complexity("O(N) with N groups, times the rounds that it would take"),
    logged(CommandId::CoracleRemove, "coracle|remove", 3, NODES_VARYING).docs(
        "node",
        "Removes a node that holds no replicas. Its id is never used again.",
        "1.0.0",
    ),
    logged(CommandId::CoracleReplace, "coracle|replace", 3, NODES_VARYING).docs(
        "node",
        "Returns a token with which a node that has lost its data comes back with an empty directory.",
        "1.0.0",
    ),
    logged(CommandId::CoracleScrub, "coracle|scrub", -2, NODES_VARYING)
        .docs(
            "[STATUS]",
            "Has all that lies at rest checked, or tells how far that is and what was damaged.",
            "1.0.0",
        )
        .complexity("O(1); the check itself reads all files in the background"),
    logged(CommandId::CoracleSlowLog, "coracle|slowlog", -2, NODES_GET)
        .docs("[count]", "Returns the newest slow commands with how long their stages took.", "1.0.0")
        .complexity("O(N) with N commands returned"),
    logged(CommandId::CoracleStatus, "coracle|status", 2, NODES_GET)
        .docs("", "Returns the cluster on one screen: nodes and groups, counted, and alarms of this node.", "1.0.0")
        .complexity("O(N) with N groups"),
    logged(CommandId::CoracleTasks, "coracle|tasks", 2, NODES_GET)
        .scope(Scope::ClusterLeader)
        .docs("", "Returns what is under way in the cluster: how much of it is left, and what it waits for.", "1.0.0")
        .complexity("O(N) with N nodes"),
    logged(CommandId::CoracleToken, "coracle|token", -2, NODES_VARYING).docs(
        "[EX seconds]",
        "Returns a token with which a new node joins the cluster, once, within an hour or as many seconds.",
        "1.0.0",
    ),
    logged(CommandId::CoracleTransfer, "coracle|transfer", 4, NODES_VARYING).scope(Scope::Leader).docs(
        "group node",
        "Has the replica on another node lead a group.",
        "1.0.0",
    ),
    logged(CommandId::CoracleUndrain, "coracle|undrain", 3, NODES_VARYING).scope(Scope::ClusterLeader).docs(
        "node",
        "Takes back that a node is drained or decommissioned.",
        "1.0.0",
    ),
    help(CommandId::CoracleHelp, "coracle|help", "1.0.0"),
];

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
