//! The registry: for each command one entry with all that this crate knows of it.
//!
//! An entry stands beside the functions that it names, in the file of its family. To add a command, write its functions
//! and its entry in such a file, and its line in the command table of `resp`.

mod arguments;
mod bounds;
mod dump;
#[cfg(test)]
mod dump_tests;
mod expire;
mod expiry;
#[cfg(test)]
mod expiry_tests;
mod keys;
mod keyspace;
mod numbers;
#[cfg(test)]
mod property_tests;
mod ranges;
mod registration;
mod scan;
#[cfg(test)]
mod scan_tests;
mod set;
mod strings;
#[cfg(test)]
mod tests;

use resp::{Args, Command, CommandId, FreesRoom};

use crate::outcome::Error;

pub use bounds::SHORT_REPLY_BYTES_MAX;
pub use registration::Rows;
pub(crate) use registration::{Action, Registration};

const FAMILIES: [&[Registration]; 8] = [
    strings::COMMANDS,
    ranges::COMMANDS,
    numbers::COMMANDS,
    keys::COMMANDS,
    expire::COMMANDS,
    keyspace::COMMANDS,
    scan::COMMANDS,
    dump::COMMANDS,
];

/// One more than the largest number of a command.
const IDS_END: usize = {
    let (mut end, mut idx) = (0, 0);
    while idx < CommandId::ALL.len() {
        let number = CommandId::ALL[idx].as_u16() as usize;
        end = if number < end { end } else { number + 1 };
        idx += 1;
    }
    end
};

/// The entries by the numbers of their commands.
static REGISTRY: [Option<&Registration>; IDS_END] = {
    let mut registry = [None; IDS_END];
    let mut family_idx = 0;
    while family_idx < FAMILIES.len() {
        let mut idx = 0;
        while idx < FAMILIES[family_idx].len() {
            let entry = &FAMILIES[family_idx][idx];
            let number = entry.id.as_u16() as usize;
            assert!(registry[number].is_none(), "a command is registered once");
            registry[number] = Some(entry);
            idx += 1;
        }
        family_idx += 1;
    }
    registry
};

/// Whether a command makes room on the disk, or changes nothing, by this time in milliseconds since 1970 or a later one.
pub fn frees_room(command: &Command, args: Args<'_>, time_ms: u64) -> bool {
    match command.frees_room {
        FreesRoom::No => false,
        FreesRoom::Yes => true,
        FreesRoom::IfPast => expire::is_past(command.id, args, time_ms),
    }
}

/// The entry of a command that works on the keys of a group.
#[inline]
pub(crate) fn find(id: CommandId) -> Result<&'static Registration, Error> {
    REGISTRY[usize::from(id.as_u16())].ok_or(Error::Unsupported)
}

/// Checks a command's arguments, its name being the first: their number, their lengths, options and numbers. A command
/// that passes may still fail on the state.
///
/// # Errors
///
/// The first error is the one that Redis 7.0 names. A command that does not work on keys is [`Error::Unsupported`].
pub fn check(id: CommandId, args: Args<'_>) -> Result<(), Error> {
    let command = find(id)?;
    (command.shape)(args)?;
    (command.options)(args)
}

/// Which rows a command needs; `None` if it does not work on the keys of a group.
pub fn rows(id: CommandId) -> Option<Rows> {
    find(id).ok().map(|command| command.rows)
}
