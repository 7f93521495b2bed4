//! Answers that follow from the request alone: they need no keys, no clock and no state.

use types::Slot;

use crate::args::Args;
use crate::command::Command;
use crate::command_id::CommandId;
use crate::number::parse_i64;
use crate::reply::Reply;
use crate::table::lookup;
use crate::{command_info, errors};

/// Answers `args` if `command`, which they resolved to, is one that can be answered here, and says whether it was:
/// `PING`, `ECHO`, `SELECT`, `READONLY`, `READWRITE`, `COMMAND` with all it contains, every `HELP`, and `CLUSTER
/// KEYSLOT`.
pub fn answer(command: &Command, args: Args<'_>, reply: &mut Reply<'_>) -> bool {
    let first = args.get(1).unwrap_or_default();
    match command.id {
        CommandId::Ping => ping(args, reply),
        CommandId::Echo => reply.bulk(first),
        CommandId::Select => select(first, reply),
        // Every core both leads and follows, and every read is linearizable: there is nothing to switch.
        CommandId::ReadOnly | CommandId::ReadWrite => reply.ok(),
        CommandId::Command => command_info::all(reply),
        CommandId::CommandCount => command_info::count(reply),
        CommandId::CommandInfo => command_info::info(args, reply),
        CommandId::CommandDocs => command_info::docs(args, reply),
        CommandId::CommandList => command_info::list(args, reply),
        CommandId::CommandGetKeys => command_info::getkeys(args, reply),
        CommandId::ClusterKeySlot => {
            reply.integer(i64::from(Slot::of_key(args.get(2).unwrap_or_default()).number()));
        }
        CommandId::ClientHelp
        | CommandId::ClusterHelp
        | CommandId::CommandHelp
        | CommandId::ConfigHelp
        | CommandId::LatencyHelp
        | CommandId::SlowLogHelp
        | CommandId::CommandLogHelp
        | CommandId::CoracleHelp
        | CommandId::MemoryHelp
        | CommandId::ObjectHelp => {
            let container = args.get(0).and_then(lookup).expect("the request has resolved to a part of it");
            command_info::help(container, reply);
        }
        _ => return false,
    }
    true
}

fn ping(args: Args<'_>, reply: &mut Reply<'_>) {
    match (args.len(), args.get(1)) {
        (..=1, _) => reply.simple("PONG"),
        (2, Some(message)) => reply.bulk(message),
        _ => reply.error(&errors::wrong_arity("ping")),
    }
}

/// A cluster has one database.
fn select(index: &[u8], reply: &mut Reply<'_>) {
    match parse_i64(index) {
        Some(0) => reply.ok(),
        Some(_) => reply.error(errors::SELECT_IN_CLUSTER),
        None => reply.error(errors::NOT_AN_INTEGER),
    }
}
