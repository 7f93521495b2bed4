//! The command table: every command that is served, and nothing else.

mod builder;
mod cluster;
mod connection;
mod diagnostics;
mod keys;
mod server;
mod strings;

use std::sync::OnceLock;

use crate::args::Args;
use crate::command::Command;
use crate::command_id::CommandId;
use crate::errors::Refusal;

/// Longest name of a command.
const NAME_BYTES_MAX: usize = 16;
/// Places of the index: a power of two, several times the number of commands, so that most lookups hit at once.
const INDEX_LEN: usize = 512;
/// A free place.
const FREE: u8 = u8::MAX;

const PARTS: [&[Command]; 6] = [
    strings::COMMANDS,
    keys::COMMANDS,
    server::COMMANDS,
    diagnostics::COMMANDS,
    connection::COMMANDS,
    cluster::COMMANDS,
];

const COUNT: usize = {
    let (mut count, mut idx) = (0, 0);
    while idx < PARTS.len() {
        count += PARTS[idx].len();
        idx += 1;
    }
    count
};

static TABLE: [Command; COUNT] = {
    let mut table = [strings::COMMANDS[0]; COUNT];
    let (mut part_idx, mut table_idx) = (0, 0);
    while part_idx < PARTS.len() {
        let mut idx = 0;
        while idx < PARTS[part_idx].len() {
            table[table_idx] = PARTS[part_idx][idx];
            table_idx += 1;
            idx += 1;
        }
        part_idx += 1;
    }
    table
};

/// Where each command lies in the table, by the hash of its name; a taken place sends on to the next one.
static INDEX: [u8; INDEX_LEN] = {
    assert!(COUNT < FREE as usize && COUNT * 4 < INDEX_LEN, "the index is mostly free");
    let mut index = [FREE; INDEX_LEN];
    let (mut part_idx, mut table_idx) = (0, 0);
    while part_idx < PARTS.len() {
        let mut idx = 0;
        while idx < PARTS[part_idx].len() {
            let name = PARTS[part_idx][idx].name.as_bytes();
            assert!(name.len() <= NAME_BYTES_MAX && !name.is_empty(), "the length of a name is bounded");
            let mut place = hash(name);
            while index[place] != FREE {
                place = (place + 1) % INDEX_LEN;
            }
            index[place] = table_idx;
            table_idx += 1;
            idx += 1;
        }
        part_idx += 1;
    }
    index
};

/// A place for `name`, whatever the case of its letters: from its length and three of its bytes.
#[inline]
const fn hash(name: &[u8]) -> usize {
    let [first, .., last] = name else { return 0 };
    // In bounds: half a length is less than the length.
    let middle = name[name.len() / 2];
    let mixed = (*first | 0x20) as usize * 7 + (middle | 0x20) as usize * 31 + (*last | 0x20) as usize * 3;
    (mixed + name.len() * 59) % INDEX_LEN
}

/// Every command, without the subcommands.
pub fn commands() -> &'static [Command] {
    &TABLE
}

/// The command of that name, whatever the case of its letters. Neither allocates nor looks at more than a few
/// commands.
#[inline]
pub fn lookup(name: &[u8]) -> Option<&'static Command> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut place = hash(name);
    loop {
        // A free place holds an index beyond the table.
        let command = TABLE.get(usize::from(INDEX[place]))?;
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        place = (place + 1) % INDEX_LEN;
    }
}

/// The command or subcommand of that full name, `get` or `client|list`.
pub fn lookup_full(name: &[u8]) -> Option<&'static Command> {
    let mut parts = name.splitn(2, |byte| *byte == b'|');
    let command = lookup(parts.next()?)?;
    match parts.next() {
        Some(subcommand) => command.subcommand(subcommand),
        None => Some(command),
    }
}

/// The command or subcommand with this number.
pub fn by_id(id: CommandId) -> &'static Command {
    static BY_ID: OnceLock<Vec<Option<&'static Command>>> = OnceLock::new();
    let table = BY_ID.get_or_init(|| {
        let mut table = Vec::new();
        for command in commands().iter().chain(commands().iter().flat_map(|command| command.subcommands)) {
            let idx = usize::from(command.id.as_u16());
            table.resize(table.len().max(idx + 1), None);
            table[idx] = Some(command);
        }
        table
    });
    let found = table.get(usize::from(id.as_u16())).copied().flatten();
    found.expect("every number stands in the table: a test checks it")
}

/// The command or subcommand that `args` call, the number of arguments checked.
///
/// # Errors
///
/// [`Refusal`] says what the client is told: no such command, no such subcommand, or too many or few arguments;
/// or that the connection is to be closed ([`Refusal::CrossProtocol`]).
#[inline]
pub fn resolve(args: Args<'_>) -> Result<&'static Command, Refusal> {
    let command = find(args)?;
    if command.check_arity(args.len()) { Ok(command) } else { Err(Refusal::WrongArity(command)) }
}

/// As [`resolve`], without a look at the number of arguments.
#[inline]
pub(crate) fn find(args: Args<'_>) -> Result<&'static Command, Refusal> {
    let name = args.get(0).unwrap_or_default();
    let command = lookup(name).ok_or_else(|| Refusal::command(name))?;
    if command.subcommands.is_empty() {
        return Ok(command);
    }
    match args.get(1) {
        None => Ok(command),
        Some(name) => command.subcommand(name).ok_or_else(|| Refusal::subcommand(command, name)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::args::ArgRange;
    use crate::command::{Flags, FreesRoom, Scope};
    use crate::command_id::CommandId;

    fn all() -> Vec<&'static Command> {
        commands().iter().chain(commands().iter().flat_map(|command| command.subcommands)).collect()
    }

    #[test]
    fn every_command_is_found_in_any_case() {
        for command in commands() {
            let lower = command.name.to_owned();
            let upper = lower.to_uppercase();
            let mixed: String =
                lower.char_indices().map(|(idx, c)| if idx % 2 == 0 { c.to_ascii_uppercase() } else { c }).collect();
            for name in [lower, upper, mixed] {
                assert_eq!(lookup(name.as_bytes()).unwrap().id, command.id, "{name}");
            }
        }
    }

    #[test]
    fn no_other_name_is_found() {
        let names: [&[u8]; 9] =
            [b"", b"g", b"ge", b"gett", b"get ", b"g\0t", b"\x87et", b"incrbyfloatincrbyfloat", b"client|list"];
        for name in names {
            assert!(lookup(name).is_none(), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn first_words_of_http_are_told_from_unknown_commands() {
        let refusal_of = |words: &[&[u8]]| {
            let (mut buf, mut ranges) = (Vec::new(), Vec::new());
            for word in words {
                let start = buf.len() as u32;
                buf.extend_from_slice(word);
                ranges.push(ArgRange { start, end: buf.len() as u32 });
            }
            resolve(Args::new(&buf, &ranges)).expect_err("no command")
        };
        for words in [&[&b"POST"[..]][..], &[b"pOsT", b"/", b"HTTP/1.1"], &[b"Host:", b"x"], &[b"post\0x"]] {
            assert!(matches!(refusal_of(words), Refusal::CrossProtocol), "{words:?}");
        }
        for words in [&[&b"POSTS"[..]][..], &[b"Host", b":"], &[b"PUT", b"/"], &[b"x", b"POST"], &[b""]] {
            assert!(matches!(refusal_of(words), Refusal::UnknownCommand), "{words:?}");
        }
    }

    #[test]
    fn the_table_and_the_numbers_name_the_same_commands() {
        let in_table: HashSet<CommandId> = all().iter().map(|command| command.id).collect();
        assert_eq!(in_table.len(), all().len(), "a number stands twice");
        assert_eq!(in_table, CommandId::ALL.iter().copied().collect());
    }

    #[test]
    fn commands_that_make_room_are_those_that_remove_keys() {
        let of = |frees_room| {
            let commands = all().into_iter().filter(|command| command.frees_room == frees_room);
            commands.map(|command| command.name).collect::<HashSet<_>>()
        };
        let removing = ["del", "unlink", "delifeq", "getdel", "flushall", "flushdb"];
        assert_eq!(of(FreesRoom::Yes), removing.into());
        assert_eq!(of(FreesRoom::IfPast), ["expire", "pexpire", "expireat", "pexpireat"].into());
        let making_room = all().into_iter().filter(|command| command.frees_room != FreesRoom::No);
        making_room.for_each(|command| {
            assert!(command.is_write() && !command.flags.contains(Flags::DENYOOM), "{}", command.full_name);
        });
    }

    #[test]
    fn descriptions_hold_together() {
        for command in all() {
            let name = command.full_name;
            let keyed = matches!(command.scope, Scope::Read | Scope::Write);
            assert_eq!(command.key_spec.is_some(), keyed, "{name}");
            let both = Flags::WRITE.union(Flags::READONLY);
            assert!(!command.flags.contains(both), "{name}");
            match command.scope {
                Scope::Write => assert!(command.is_write(), "{name}"),
                Scope::Read => assert!(command.flags.contains(Flags::READONLY), "{name}"),
                Scope::Slot | Scope::Cursor | Scope::Leader | Scope::ClusterLeader | Scope::Local => {
                    assert!(!command.is_write(), "{name}")
                }
                Scope::Everywhere => {}
            }
            assert_ne!(command.arity, 0, "{name}");
            assert!(command.summary.ends_with('.') && !command.since.is_empty(), "{name}");
            assert!(!command.group.is_empty() && !command.complexity.is_empty(), "{name}");
            assert_eq!(lookup_full(name.as_bytes()).unwrap().id, command.id, "{name}");
        }
    }
}
