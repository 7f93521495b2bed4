//! The Redis protocol codec and the command table, pure.

pub mod about_commands;
pub mod answer;
pub mod args;
pub mod command;
pub mod command_id;
pub mod errors;
pub mod glob;
pub mod hello;
mod inline;
pub mod number;
pub mod parser;
pub mod reply;
pub mod table;

pub use answer::answer;
pub use args::{ArgRange, Args};
pub use command::{Command, Flags, Keys, Scope};
pub use command_id::CommandId;
pub use errors::Refusal;
pub use hello::{Greeting, HelloRequest};
pub use parser::{Limits, Parsed, Parser, ProtocolError};
pub use reply::{Protocol, Reply};
pub use table::{lookup, resolve};

/// The version of Redis whose behaviour is followed, for clients that decide by it.
pub const REDIS_VERSION_COMPATIBLE: &str = "7.0.15";
