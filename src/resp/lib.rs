//! The Redis protocol codec and the command table, pure.

pub mod args;
pub mod command;
pub mod reply;

pub use args::{ArgRange, Args};
pub use command::CommandId;
pub use reply::{Protocol, Reply};
