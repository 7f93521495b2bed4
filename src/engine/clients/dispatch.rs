//! What kind of command a client has sent.

use host::ConnId;
use resp::command::{Command, Scope};
use resp::{Args, CommandId, Flags, Reply};
use types::{GroupId, Slot};

use crate::clients::Clients;
use crate::context::Context;
use crate::origin::Port;
use crate::refusal::Refusal;

pub(crate) use super::fan_out::Merge;

/// Where a command of a client belongs.
pub(crate) enum Dispatch {
    /// It is answered already, with an error.
    Answered,
    /// This core answers it without a group.
    Local(&'static Command),
    /// It belongs to the group of this slot.
    Slot { port: Port, command: &'static Command, slot: Slot },
    /// It is for whoever leads this group.
    Group { command: &'static Command, group: GroupId },
    /// It goes on among the keys at this slot.
    Cursor { port: Port, command: &'static Command, slot: Slot },
    /// It concerns every group, whose replies are merged.
    FanOut { port: Port, command: &'static Command, merge: Merge },
}

impl Clients {
    /// Says what kind of command this is. It has no place in the client's order yet, unless it is answered here.
    pub(crate) fn classify(&mut self, ctx: &mut Context, conn: ConnId, args: Args<'_>) -> Dispatch {
        let Some(client) = self.table.get(conn) else { return Dispatch::Answered };
        let port = client.port;
        let command = match resp::resolve(args) {
            Ok(command) => command,
            Err(resp::Refusal::CrossProtocol) => {
                ctx.counters.cross_protocol_refused += 1;
                tracing::warn!(addr = %client.addr, "{}", resp::errors::CROSS_PROTOCOL);
                self.close_when_sent(conn);
                return Dispatch::Answered;
            }
            Err(refusal) => {
                self.note_unknown(ctx, conn);
                let message = refusal.message(args);
                self.answer_now(ctx, conn, &message);
                return Dispatch::Answered;
            }
        };
        // As Redis has it, which takes a monitor for something like a replica.
        if client.is_monitor && (command.is_write() || command.flags.contains(Flags::READONLY)) {
            return self.reject(ctx, conn, command, resp::errors::MONITOR_KEYSPACE.as_bytes());
        }
        let refused = match command.scope {
            Scope::Local => return Dispatch::Local(command),
            Scope::Read | Scope::Write => match slot_of_keys(command, args) {
                Ok(slot) => return Dispatch::Slot { port, command, slot },
                Err(refusal) => refusal,
            },
            Scope::Slot => match slot_named(command, args) {
                Ok(slot) => return Dispatch::Slot { port, command, slot },
                Err(refusal) => refusal,
            },
            Scope::Leader | Scope::ClusterLeader => match group_named(command, args) {
                Some(group) => return Dispatch::Group { command, group },
                None => Refusal::NoGroup,
            },
            Scope::Cursor => match args.get(1).and_then(data::ScanCursor::parse) {
                Some(cursor) => return Dispatch::Cursor { port, command, slot: cursor.slot },
                None => {
                    return self.reject(ctx, conn, command, data::Error::InvalidCursor.message().as_bytes());
                }
            },
            Scope::Everywhere => {
                if command.is_write()
                    && let Err(error) = data::check(command.id, args)
                {
                    return self.reject(ctx, conn, command, error.message().as_bytes());
                }
                let merge = match command.id {
                    CommandId::Keys => Merge::Concat,
                    CommandId::RandomKey => Merge::Pick(ctx.now.as_nanos() ^ ctx.counters.commands_processed),
                    _ if command.is_write() => Merge::AllOk,
                    _ => Merge::Sum,
                };
                return Dispatch::FanOut { port, command, merge };
            }
        };
        ctx.refused(refused, None);
        self.reject(ctx, conn, command, refused.message().as_bytes())
    }

    /// A command that was understood is not executed, and this is said instead.
    fn reject(&mut self, ctx: &mut Context, conn: ConnId, command: &'static Command, message: &[u8]) -> Dispatch {
        self.note_command(ctx, conn, command.full_name);
        ctx.commands.reject(command.id);
        self.answer_now(ctx, conn, message);
        Dispatch::Answered
    }

    /// Notes that a command was taken in.
    pub(crate) fn note_command(&mut self, ctx: &mut Context, conn: ConnId, name: &'static str) {
        ctx.counters.commands_processed += 1;
        if let Some(client) = self.table.get_mut(conn) {
            client.commands_count += 1;
            client.last_command = Some(name);
        }
    }

    /// Notes that something was taken in that is no command.
    fn note_unknown(&mut self, ctx: &mut Context, conn: ConnId) {
        ctx.counters.commands_processed += 1;
        if let Some(client) = self.table.get_mut(conn) {
            client.commands_count += 1;
            client.last_command = None;
        }
    }

    /// Answers with an error.
    fn answer_now(&mut self, ctx: &mut Context, conn: ConnId, message: &[u8]) {
        ctx.count_error(message);
        let Some(client) = self.table.get_mut(conn) else { return };
        let protocol = client.protocol;
        client.replies.write_next(|out| Reply::new(out, protocol).error_bytes(message));
        self.touch(conn);
    }
}

/// The group that a command is about which its leader carries out.
fn group_named(command: &Command, args: Args<'_>) -> Option<GroupId> {
    match command.scope {
        Scope::ClusterLeader => Some(GroupId(0)),
        _ => args.get(2).and_then(resp::number::parse_i64).and_then(|id| u32::try_from(id).ok()).map(GroupId),
    }
}

/// The slot that all keys of a command share.
fn slot_of_keys(command: &Command, args: Args<'_>) -> Result<Slot, Refusal> {
    let mut keys = command.keys(args);
    let Some(first) = keys.next() else { return Err(Refusal::NoKeys) };
    let slot = Slot::of_key(first);
    if keys.all(|key| Slot::of_key(key) == slot) { Ok(slot) } else { Err(Refusal::CrossSlot) }
}

/// The slot that COUNTKEYSINSLOT and GETKEYSINSLOT name.
fn slot_named(command: &Command, args: Args<'_>) -> Result<Slot, Refusal> {
    let number = args.get(2).and_then(resp::number::parse_i64).and_then(|number| u16::try_from(number).ok());
    let slot = number.and_then(Slot::new).ok_or(Refusal::InvalidSlot)?;
    if command.id == CommandId::ClusterGetKeysInSlot
        && args.get(3).and_then(resp::number::parse_i64).is_none_or(|count| count < 0)
    {
        return Err(Refusal::InvalidKeysCount);
    }
    Ok(slot)
}
