//! The Redis protocol: reading requests, knowing commands, writing replies. Pure: no I/O, no clock, no state but a
//! connection's parser.
//!
//! Invariants:
//! - Arguments are ranges of the input that they arrived in; nothing is copied but what inline quotes change.
//! - Memory follows the bytes that came, never a length that was claimed, and every outcome is the same however the
//!   input was cut.
//! - Bytes of a client give an error reply, never a panic. A [`ProtocolError`] ends the connection; any other error
//!   leaves it usable.
//! - One table describes every command that is served, and `COMMAND` tells just that.
//! - A [`CommandId`] number stands in logs and never changes.
//!
//! Deliberately absent: what commands do to keys, sockets, authentication beyond "no password is set", push
//! messages, and anything about a command that is not served.
//!
//! Reading order: [`args`], [`parser`] with `inline`, `ahead` (a look at what comes next), [`command_id`],
//! [`command`], [`table`] with the files of its folder,
//! [`errors`], [`reply`], [`command_info`], [`hello`], [`client_filter`], [`client_line`], [`monitor_line`],
//! [`answer`](mod@answer), then the
//! leaves [`number`], [`secrets`] and [`glob`].

mod ahead;
pub mod answer;
pub mod args;
pub mod client_filter;
pub mod client_line;
pub mod command;
pub mod command_id;
pub mod command_info;
pub mod errors;
pub mod glob;
pub mod hello;
mod inline;
pub mod monitor_line;
pub mod number;
pub mod parser;
pub mod reply;
pub mod secrets;
pub mod table;

pub use ahead::first_arguments;
pub use answer::answer;
pub use args::{ArgRange, Args};
pub use client_filter::ClientFilter;
pub use client_line::ClientLine;
pub use command::{Command, Flags, FreesRoom, Keys, Scope};
pub use command_id::CommandId;
pub use errors::Refusal;
pub use hello::{Greeting, HelloRequest};
pub use parser::{Limits, Parsed, Parser, ProtocolError};
pub use reply::{Protocol, Reply};
pub use table::{lookup, resolve};

/// The version of Redis whose behaviour is followed, for clients that decide by it.
pub const REDIS_VERSION_COMPATIBLE: &str = "7.0.15";
