//! What the registry holds for each command.

use resp::{Args, CommandId, Reply};
use types::Slot;

use super::{arguments, bounds};
use crate::outcome::{Error, Outcome};
use crate::store::Store;

/// Which rows a command reads or writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// Those of the keys among its arguments, as the command table of `resp` finds them.
    Keys,
    /// All of one slot.
    Slot,
    /// All of the group.
    Group,
}

/// What a command does.
#[derive(Clone, Copy)]
pub(crate) enum Action {
    /// Changes keys, or leaves them as they are and fails.
    Apply(for<'s> fn(&'s mut Store, Slot, Args<'_>) -> Result<Outcome<'s>, Error>),
    /// Writes one reply, or none and fails.
    Query(fn(&Store, Slot, Args<'_>, &mut Reply<'_>) -> Result<(), Error>),
    /// The same of a read that asks how much time is left. The number is the leader's clock, in milliseconds since 1970 UTC.
    QueryByClock(fn(&Store, u64, Slot, Args<'_>, &mut Reply<'_>) -> Result<(), Error>),
}

/// The entry of one command.
#[derive(Clone, Copy)]
pub(crate) struct Registration {
    pub(crate) id: CommandId,
    pub(crate) rows: Rows,
    /// Checks the number of arguments, and the lengths of keys and values. It comes before every `action`.
    pub(crate) shape: fn(Args<'_>) -> Result<(), Error>,
    /// Checks options and numbers, the shape being right. An `action` reads them for itself and fails alike.
    pub(crate) options: fn(Args<'_>) -> Result<(), Error>,
    pub(crate) action: Action,
    /// See [`Keyspace::reply_bytes_bound`](crate::Keyspace::reply_bytes_bound). Invariant: right for any arguments,
    /// also those that the checks refuse.
    pub(crate) reply_bytes_bound: fn(&Store, Slot, Args<'_>) -> usize,
}

impl Registration {
    /// A command on the keys among its arguments, without options, whose reply is short.
    pub(super) const fn new(id: CommandId, shape: fn(Args<'_>) -> Result<(), Error>, action: Action) -> Registration {
        Registration {
            id,
            rows: Rows::Keys,
            shape,
            options: arguments::no_options,
            action,
            reply_bytes_bound: bounds::short,
        }
    }

    /// It needs these rows.
    pub(super) const fn rows(mut self, rows: Rows) -> Registration {
        self.rows = rows;
        self
    }

    /// It has options or numbers to be checked.
    pub(super) const fn options(mut self, options: fn(Args<'_>) -> Result<(), Error>) -> Registration {
        self.options = options;
        self
    }

    /// Its reply may be long.
    pub(super) const fn reply(mut self, bound: fn(&Store, Slot, Args<'_>) -> usize) -> Registration {
        self.reply_bytes_bound = bound;
        self
    }
}
