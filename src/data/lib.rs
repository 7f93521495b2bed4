//! The state machine of one Raft group: its keys and their values, of which memory may hold a part.
//!
//! Every replica applies the same commands in the same order and so holds the same keys. A write therefore
//! depends on nothing but the keyspace, the logged command and the logged time: no clock, no chance, no iteration order.
//! [`Keyspace::apply`] is total. Whatever a log holds, it changes the state or answers an error, the same one
//! on every replica, and never panics.
//!
//! A command is looked at twice. [`check`] sees its arguments alone; the leader calls it before it proposes,
//! so that a misspelt command costs no log entry. [`Keyspace::apply`] checks again, because a log may
//! have been written by another version, and then decides what depends on the state.
//!
//! Applying answers an [`Outcome`], which formats nothing: a leader writes it with [`Outcome::write`], a
//! follower drops it. Reads go straight into a [`Reply`](resp::Reply).
//!
//! Invariants:
//! - Replicas that apply the same log hold the same keys and answer alike.
//! - A command that fails changes nothing.
//! - No reply is longer than [`types::limits::REPLY_BYTES_MAX`], nor than [`Keyspace::reply_bytes_bound`] said before.
//!
//! Deliberately absent: types other than strings, and anything that spans groups.
//!
//! Reading order: [`outcome`], [`keyspace`], `commands` (the registry; in its folder `registration`, then
//! `arguments`, `bounds` and `expiry`, which the commands share, then the families `strings` with `set`, `ranges`, `numbers`, `keys`,
//! `expire`, `keyspace`, `scan` and `dump`), `scan_cursor`, `float`, `rdb` (values as Redis serializes them), `store` (the rows as commands
//! see them; where they lie says `lsm`), and for rows that are not in memory [`row_range`], `cold` and `range`.

mod cold;
mod commands;
mod float;
pub mod keyspace;
pub mod outcome;
mod range;
mod rdb;
pub mod row_range;
mod scan_cursor;
mod store;

pub use cold::ColdKey;
pub use commands::{Rows, SHORT_REPLY_BYTES_MAX, check, frees_room, rows};
pub use keyspace::Keyspace;
pub use outcome::{Error, ExpiryCommand, Outcome};
pub use range::RangeExcerpt;
pub use row_range::RowRange;
pub use scan_cursor::ScanCursor;
pub use store::Lookups;
