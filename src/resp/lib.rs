//! The Redis protocol codec and the command table, pure.

pub mod args;
pub mod command_id;
pub mod glob;
mod inline;
pub mod number;
pub mod parser;
pub mod reply;

pub use args::{ArgRange, Args};
pub use command_id::CommandId;
pub use parser::{Limits, Parsed, Parser, ProtocolError};
pub use reply::{Protocol, Reply};
