//! What the registry holds for each command.

use resp::{Args, CommandId, Reply};
use types::Slot;

use super::{arguments, bounds};
use crate::outcome::{Error, Outcome};
use crate::row_range::RowRange;
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

/// The run of rows that a command looks at. The number is the leader's clock.
pub(crate) type RangeOf = fn(&Store, Slot, Args<'_>, u64) -> RowRange;

/// The entry of one command.
#[derive(Clone, Copy)]
pub(crate) struct Registration {
    pub(crate) id: CommandId,
    pub(crate) rows: Rows,
    /// Whether it looks at what its keys have, with these arguments: what is written blindly does not depend on it, nor the answer.
    pub(crate) looks: fn(Args<'_>) -> bool,
    /// Whether it looks at the values of its keys, and not only at whether they are there and when they expire.
    pub(crate) needs_values: bool,
    /// The run of rows that it looks at, if it looks at rows that its arguments do not name.
    pub(crate) range: Option<RangeOf>,
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
            looks: |_| true,
            needs_values: true,
            range: None,
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

    /// It looks at what its keys have with some arguments only, or with none.
    pub(super) const fn looks(mut self, looks: fn(Args<'_>) -> bool) -> Registration {
        self.looks = looks;
        self
    }

    /// It does not look at the values of its keys.
    pub(super) const fn without_values(mut self) -> Registration {
        self.needs_values = false;
        self
    }

    /// It looks at a run of rows.
    pub(super) const fn range(mut self, range: RangeOf) -> Registration {
        self.range = Some(range);
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
