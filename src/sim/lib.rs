//! The deterministic simulator: whole clusters of real cores on a virtual clock, disk and network.
//!
//! One seed decides everything that happens in a run; the same seed gives the same run, byte for byte.

pub mod broken;
pub mod campaign;
pub mod checkers;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod conns;
pub mod corruption;
pub mod counters;
pub mod coverage;
pub mod describe;
pub mod disk;
pub mod executor;
pub mod faults;
pub mod history;
pub mod host;
pub mod limits;
pub mod mesh;
pub mod net;
pub mod observation;
pub mod observer;
pub mod operations;
pub mod prng;
pub mod queue;
pub mod report;
pub mod run;
pub mod shrink;
mod snapshots;
pub mod spec;
mod stopped_turn;
pub mod trace;
pub mod worker;
pub mod workload;
pub mod world;
