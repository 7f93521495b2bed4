//! The `coracle` program: starts the cores of a node and wires them together, and runs whole clusters for
//! development.
//!
//! - `coracle server` runs one node: [`config`] says what it is, [`identity`] whose data it finds, [`formation`] agrees with
//!   the other nodes on a new cluster if it finds none, [`join`] brings a node without data into a cluster that is formed, [`kept_map`] keeps the
//!   cluster's map, [`known_peers`] remembers the directories of the others, [`server`] joins the engine with the runtime.
//! - `coracle dev` runs a cluster on this machine, a `coracle server` process per node, and watches over it; see
//!   [`dev`].
//!
//! Invariants: a node starts only on a directory that it has locked and that is its own; nothing is written before the
//! whole configuration was found sound; no core starts before the cluster is formed, and a node without data never serves
//! beside one that has some.
//!
//! Deliberately absent: unsafe code, and anything on the path of a request.
//!
//! Exit codes: 0 after a clean end, 1 after an error, 2 if the arguments or the configuration are wrong.
//!
//! Reading order: [`cli`], [`config`], [`server`] and what it calls in its order ([`identity`], [`kept_map`], [`formation`], [`join`], [`known_peers`],
//! [`shown`], [`settings_keeper`], [`admin`], `telemetry`, [`service_manager`]), then [`dev`]; [`atomic_file`], [`conns`], [`memory`], `port_wait`, [`process_stats`], [`signals`] and [`logging`] are small and stand by
//! themselves.

#![forbid(unsafe_code)]

pub mod admin;
pub mod atomic_file;
pub mod cli;
pub mod config;
pub mod conns;
pub mod dev;
pub mod formation;
pub mod identity;
pub mod join;
pub mod kept_map;
pub mod known_peers;
pub mod logging;
pub mod memory;
mod port_wait;
pub mod process_stats;
pub mod server;
pub mod service_manager;
pub mod settings_keeper;
pub mod shown;
pub mod signals;
mod telemetry;

pub use cli::main;
