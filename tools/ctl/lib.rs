//! `coracle-ctl`, the operator's tool: shows how a cluster does, and asks it for what an operator wants of it.
//!
//! It speaks RESP with the gateway of any node, and decides nothing: what is possible, and why something is not, the nodes say. What only
//! the leader of a group knows, such as whether its replicas keep up, it asks all nodes for and puts together.
//!
//! Invariants: whatever it waits for has a time-out; bytes of a node give an error, never a panic; text is at most 80 columns wide and has
//! colours on a terminal only; `--json` says the same as text does; each outcome has its exit code ([`CtlError::exit_code`]).
//!
//! Deliberately absent: state of its own, retries of what was refused, and anything that the nodes do not do themselves.
//!
//! Reading order: `error`, `value` and `connection` (RESP), `gateway` (which node answers), `model` (what nodes say), `cluster` (asking all of
//! them), `text` (tables), `screen` (what stays on a terminal); `commands`, one file each; `cli`, which joins them.

#![forbid(unsafe_code)]

pub mod cli;
mod cluster;
mod commands;
mod connection;
mod error;
mod gateway;
mod model;
mod screen;
mod text;
mod value;

use std::process::ExitCode;

use clap::Parser;

pub use error::CtlError;

/// Does what the command line asks for.
pub fn main() -> ExitCode {
    match cli::Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("coracle-ctl: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}
