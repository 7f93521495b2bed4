//! Commands about the cluster, as cluster clients know them.

use super::builder::{ANY_TIME, VARYING};
use crate::command::{Categories, Command, Flags, Scope};
use crate::command_id::CommandId;

const fn cluster(id: CommandId, name: &'static str, arity: i32) -> Command {
    Command::new(id, name, arity, "cluster")
}

const fn sub(id: CommandId, name: &'static str, arity: i32) -> Command {
    cluster(id, name, arity).flags(Flags::STALE)
}

/// A mode of the connection.
const fn mode(id: CommandId, name: &'static str, flags: Flags) -> Command {
    cluster(id, name, 1).flags(flags.union(Flags::FAST)).categories(Categories::CONNECTION)
}

pub(super) const COMMANDS: &[Command] = &[
    cluster(CommandId::Cluster, "cluster", -2)
        .docs("", "Contains what is about the cluster.", "3.0.0")
        .complexity("That of the subcommand")
        .subcommands(CLUSTER),
    mode(CommandId::ReadOnly, "readonly", ANY_TIME).docs(
        "",
        "Agrees to reads from replicas; reads stay linearizable.",
        "3.0.0",
    ),
    mode(CommandId::ReadWrite, "readwrite", ANY_TIME).docs("", "Takes READONLY back.", "3.0.0"),
    mode(CommandId::Asking, "asking", Flags::empty()).docs(
        "",
        "Announces a command that follows an ASK redirection.",
        "3.0.0",
    ),
];

const CLUSTER: &[Command] = &[
    sub(CommandId::ClusterSlots, "cluster|slots", 2)
        .tips(VARYING)
        .docs("", "Returns the ranges of slots and who serves them.", "3.0.0")
        .complexity("O(N) with N cores")
        .deprecated("7.0.0", "`CLUSTER SHARDS`"),
    sub(CommandId::ClusterShards, "cluster|shards", 2)
        .tips(VARYING)
        .docs("", "Returns who serves slots, and which.", "7.0.0")
        .complexity("O(N) with N cores"),
    sub(CommandId::ClusterNodes, "cluster|nodes", 2)
        .tips(VARYING)
        .docs("", "Returns a line for each that serves slots.", "3.0.0")
        .complexity("O(N) with N cores"),
    sub(CommandId::ClusterInfo, "cluster|info", 2).tips(VARYING).docs(
        "",
        "Returns the state of the cluster.",
        "3.0.0",
    ),
    sub(CommandId::ClusterMyId, "cluster|myid", 2).docs("", "Returns the id of whom this port belongs to.", "3.0.0"),
    sub(CommandId::ClusterMyShardId, "cluster|myshardid", 2).tips(VARYING).docs(
        "",
        "Returns the shard id of whom this port belongs to.",
        "7.2.0",
    ),
    sub(CommandId::ClusterKeySlot, "cluster|keyslot", 3)
        .docs("key", "Returns the slot of a key.", "3.0.0")
        .complexity("O(N) with N bytes of key"),
    sub(CommandId::ClusterCountKeysInSlot, "cluster|countkeysinslot", 3).scope(Scope::Slot).docs(
        "slot",
        "Counts the keys of a slot.",
        "3.0.0",
    ),
    sub(CommandId::ClusterGetKeysInSlot, "cluster|getkeysinslot", 4)
        .tips(VARYING)
        .scope(Scope::Slot)
        .docs("slot count", "Returns some keys of a slot.", "3.0.0")
        .complexity("O(N) with N keys returned"),
    sub(CommandId::ClusterReplicas, "cluster|replicas", 3).flags(Flags::ADMIN).tips(VARYING).docs(
        "node-id",
        "Lists replicas that may be asked: none.",
        "5.0.0",
    ),
    sub(CommandId::ClusterLinks, "cluster|links", 2).tips(VARYING).docs(
        "",
        "Lists the connections between nodes.",
        "7.0.0",
    ),
    sub(CommandId::ClusterHelp, "cluster|help", 2).flags(Flags::LOADING).docs("", "Returns this text.", "5.0.0"),
];
