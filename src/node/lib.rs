//! The `coracle` program: starts the cores of a node and wires them together, and runs whole clusters for
//! development.
//!
//! - `coracle server` runs one node: [`config`] says what it is, [`identity`] whose data it finds,
//!   [`acquaintances`] whom it has met, [`server`] joins the engine with the runtime.
//! - `coracle dev` runs a cluster on this machine, a `coracle server` process per node, and watches over it; see
//!   [`dev`].
//!
//! Invariants: a node starts only on a directory that it has locked and that is its own; nothing is written
//! before the whole configuration was found sound.
//!
//! Deliberately absent: unsafe code, and anything on the path of a request.
//!
//! Exit codes: 0 after a clean end, 1 after an error, 2 if the arguments or the configuration are wrong.
//!
//! Read [`cli`] first, then [`config`], [`server`] and [`dev`].

#![forbid(unsafe_code)]

pub mod acquaintances;
pub mod atomic_file;
pub mod cli;
pub mod config;
pub mod dev;
pub mod identity;
pub mod logging;
pub mod process_stats;
pub mod server;
pub mod signals;

pub use cli::main;
