//! Commands about the connection itself.

use super::builder::{ANY_TIME, VARYING};
use crate::command::{Categories, Command, Flags};
use crate::command_id::CommandId;

const LOGIN: Flags =
    ANY_TIME.union(Flags::FAST).union(Flags::NOSCRIPT).union(Flags::NO_AUTH).union(Flags::ALLOW_BUSY);
const ANY_TIME_FAST: Flags = ANY_TIME.union(Flags::FAST);
const CLIENT_FLAGS: Flags = ANY_TIME.union(Flags::NOSCRIPT);
const CLIENT_ADMIN: Flags = CLIENT_FLAGS.union(Flags::ADMIN);

const fn connection(id: CommandId, name: &'static str, arity: i32) -> Command {
    Command::new(id, name, arity, "connection").categories(Categories::CONNECTION)
}

pub(super) const COMMANDS: &[Command] = &[
    connection(CommandId::Ping, "ping", -1)
        .flags(Flags::FAST)
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .docs("[message]", "Answers PONG, or the message.", "1.0.0"),
    connection(CommandId::Echo, "echo", 2).flags(ANY_TIME_FAST).docs("message", "Returns the message.", "1.0.0"),
    connection(CommandId::Select, "select", 2).flags(ANY_TIME_FAST).docs(
        "index",
        "Chooses a database, of which there is one: 0.",
        "1.0.0",
    ),
    connection(CommandId::Quit, "quit", -1).flags(LOGIN).docs("", "Closes the connection.", "1.0.0"),
    connection(CommandId::Reset, "reset", 1).flags(LOGIN).docs(
        "",
        "Puts the connection back to how it began.",
        "6.2.0",
    ),
    connection(CommandId::Hello, "hello", -1).flags(LOGIN).docs(
        "[protover [AUTH username password] [SETNAME clientname]]",
        "Chooses the protocol, and logs in if asked to.",
        "6.0.0",
    ),
    connection(CommandId::Auth, "auth", -2).flags(LOGIN).docs("[username] password", "Logs in.", "1.0.0"),
    Command::new(CommandId::Client, "client", -2, "connection")
        .docs("", "Contains what is about clients.", "2.4.0")
        .complexity("That of the subcommand")
        .subcommands(CLIENT),
];

const CLIENT: &[Command] = &[
    connection(CommandId::ClientId, "client|id", 2).flags(CLIENT_FLAGS).docs(
        "",
        "Returns the number of this connection.",
        "5.0.0",
    ),
    connection(CommandId::ClientInfo, "client|info", 2).flags(CLIENT_FLAGS).tips(VARYING).docs(
        "",
        "Describes this connection.",
        "6.2.0",
    ),
    connection(CommandId::ClientList, "client|list", -2)
        .flags(CLIENT_ADMIN)
        .tips(VARYING)
        .docs("[TYPE <NORMAL | MASTER | REPLICA | PUBSUB>] [ID id ...]", "Describes the connections.", "2.4.0")
        .complexity("O(N) with N connections"),
    connection(CommandId::ClientSetName, "client|setname", 3).flags(CLIENT_FLAGS).docs(
        "name",
        "Names this connection.",
        "2.6.9",
    ),
    connection(CommandId::ClientGetName, "client|getname", 2).flags(CLIENT_FLAGS).docs(
        "",
        "Returns the name of this connection.",
        "2.6.9",
    ),
    connection(CommandId::ClientSetInfo, "client|setinfo", 4).flags(CLIENT_FLAGS).docs(
        "<LIB-NAME name | LIB-VER version>",
        "Notes which library this client uses.",
        "7.2.0",
    ),
    connection(CommandId::ClientNoEvict, "client|no-evict", 3).flags(CLIENT_ADMIN).docs(
        "<ON | OFF>",
        "Keeps this connection when memory is short.",
        "7.0.0",
    ),
    connection(CommandId::ClientNoTouch, "client|no-touch", 3).flags(CLIENT_FLAGS).docs(
        "<ON | OFF>",
        "Keeps this connection's reads from marking keys as used.",
        "7.2.0",
    ),
    connection(CommandId::ClientHelp, "client|help", 2).flags(ANY_TIME).docs("", "Returns this text.", "5.0.0"),
];
