//! What each fuzz target checks, as functions of plain bytes: libFuzzer calls them with what it makes up, the test
//! `kept` with every input that is kept.

pub mod batch;
pub mod cluster_map;
pub mod dump;
pub mod frame;
mod input;
pub mod log_block;
pub mod log_dir;
pub mod manifest;
pub mod resp;
pub mod resp_differential;
pub mod snapshot;
pub mod table;

/// The model and the disk in memory of the log's own tests.
#[path = "../../../src/wal/tests/support/mod.rs"]
mod support;
