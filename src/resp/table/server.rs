//! Commands about the server: its size, its figures, its settings and its own commands.

use super::builder::{ANY_TIME, SECOND, UNORDERED, VARYING};
use crate::command::{Categories, Command, Flags, FreesRoom, KeyFlags, Scope};
use crate::command_id::CommandId;

const ALL_SUM: &[&str] = &["request_policy:all_shards", "response_policy:agg_sum"];
const ALL_SUCCEEDED: &[&str] = &["request_policy:all_shards", "response_policy:all_succeeded"];
const NODES_SUCCEEDED: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];
const INFO_TIPS: &[&str] = &["nondeterministic_output", "request_policy:all_shards", "response_policy:special"];
const ADMIN: Flags = ANY_TIME.union(Flags::ADMIN).union(Flags::NOSCRIPT);

const fn server(id: CommandId, name: &'static str, arity: i32) -> Command {
    Command::new(id, name, arity, "server")
}

/// `COMMAND` and what it contains.
const fn introspection(id: CommandId, name: &'static str, arity: i32) -> Command {
    server(id, name, arity).flags(ANY_TIME).categories(Categories::CONNECTION)
}

/// A command that removes every key.
const fn flush(id: CommandId, name: &'static str) -> Command {
    server(id, name, -1)
        .flags(Flags::WRITE)
        .scope(Scope::Everywhere)
        .frees_room(FreesRoom::Yes)
        .categories(Categories::KEYSPACE.union(Categories::DANGEROUS))
        .tips(ALL_SUCCEEDED)
        .complexity("O(N) with N keys")
}

pub(super) const COMMANDS: &[Command] = &[
    server(CommandId::DbSize, "dbsize", 1)
        .flags(Flags::READONLY.union(Flags::FAST))
        .scope(Scope::Everywhere)
        .categories(Categories::KEYSPACE)
        .tips(ALL_SUM)
        .docs("", "Counts the keys.", "1.0.0"),
    flush(CommandId::FlushAll, "flushall").docs("[ASYNC | SYNC]", "Removes every key.", "1.0.0"),
    flush(CommandId::FlushDb, "flushdb").docs("[ASYNC | SYNC]", "Removes every key.", "1.0.0"),
    server(CommandId::Time, "time", 1).flags(ANY_TIME.union(Flags::FAST)).tips(VARYING).docs(
        "",
        "Returns the server's clock: seconds since 1970, and microseconds.",
        "2.6.0",
    ),
    server(CommandId::Info, "info", -1).flags(ANY_TIME).categories(Categories::DANGEROUS).tips(INFO_TIPS).docs(
        "[section ...]",
        "Returns figures about the server.",
        "1.0.0",
    ),
    introspection(CommandId::Command, "command", -1)
        .tips(UNORDERED)
        .docs("", "Describes every command.", "2.8.13")
        .complexity("O(N) with N commands")
        .subcommands(ABOUT_COMMANDS),
    server(CommandId::Config, "config", -2)
        .docs("", "Contains what is about the settings.", "2.0.0")
        .complexity("That of the subcommand")
        .subcommands(CONFIG),
    server(CommandId::Memory, "memory", -2)
        .docs("", "Contains what is about memory.", "4.0.0")
        .complexity("That of the subcommand")
        .subcommands(MEMORY),
];

const ABOUT_COMMANDS: &[Command] = &[
    introspection(CommandId::CommandCount, "command|count", 2).docs("", "Counts the commands.", "2.8.13"),
    introspection(CommandId::CommandInfo, "command|info", -2)
        .tips(UNORDERED)
        .docs("[name ...]", "Describes some commands, or all.", "2.8.13")
        .complexity("O(N) with N commands"),
    introspection(CommandId::CommandDocs, "command|docs", -2)
        .tips(UNORDERED)
        .docs("[name ...]", "Documents some commands, or all.", "7.0.0")
        .complexity("O(N) with N commands"),
    introspection(CommandId::CommandList, "command|list", -2)
        .tips(UNORDERED)
        .docs("[FILTERBY <MODULE name | ACLCAT category | PATTERN pattern>]", "Lists the names of commands.", "7.0.0")
        .complexity("O(N) with N commands"),
    introspection(CommandId::CommandGetKeys, "command|getkeys", -4)
        .docs("command [arg ...]", "Tells which arguments of a command are its keys.", "2.8.13")
        .complexity("O(N) with N arguments"),
    introspection(CommandId::CommandHelp, "command|help", 2).docs("", "Returns this text.", "5.0.0"),
];

const MEMORY: &[Command] = &[
    server(CommandId::MemoryUsage, "memory|usage", -3).reads(SECOND, KeyFlags::empty()).docs(
        "key [SAMPLES count]",
        "Returns how many bytes a key takes in the memory of one replica.",
        "4.0.0",
    ),
    server(CommandId::MemoryHelp, "memory|help", 2).flags(ANY_TIME).docs("", "Returns this text.", "4.0.0"),
];

const CONFIG: &[Command] = &[
    server(CommandId::ConfigGet, "config|get", -3)
        .flags(ADMIN)
        .docs("pattern [pattern ...]", "Returns the settings whose names match a pattern.", "2.0.0")
        .complexity("O(N) with N settings and patterns"),
    server(CommandId::ConfigResetStat, "config|resetstat", 2).flags(ADMIN).docs(
        "",
        "Sets the figures of INFO back to zero.",
        "2.0.0",
    ),
    server(CommandId::ConfigSet, "config|set", -4)
        .flags(ADMIN)
        .tips(NODES_SUCCEEDED)
        .docs("name value [name value ...]", "Changes settings of the node while it runs, all or none.", "2.0.0")
        .complexity("O(N) with N settings"),
    server(CommandId::ConfigRewrite, "config|rewrite", 2).flags(ADMIN).docs(
        "",
        "Writes the settings that were changed into the node's configuration file.",
        "2.8.0",
    ),
    server(CommandId::ConfigHelp, "config|help", 2).flags(ANY_TIME).docs("", "Returns this text.", "5.0.0"),
];
