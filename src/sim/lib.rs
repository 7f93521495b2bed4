//! The deterministic simulator: whole clusters of real cores on a virtual clock, disk and network.
//!
//! Invariants:
//! - One seed decides everything that happens in a run; the same seed gives the same run, byte for byte.
//! - The engine sees the world through the I/O traits of `host` and nothing else; checkers see it through
//!   [`engine::Observer`] and the replies to clients.
//! - A checker objects only to what no sound engine may do under the fault model; a world that leaves the model says so
//!   ([`broken`]).
//!
//! Deliberately absent: the time that work takes (a turn takes a while by chance, whatever it does), packets (streams lose nothing,
//! they are late or end), and what `rt` does with real files: here a write that has ended is durable, as the trait says.
//!
//! Reading order: [`spec`] (what a run is), [`run`] and [`campaign`] with [`worker`], [`report`], [`describe`], [`shrink`]; the world:
//! [`prng`], [`queue`] (virtual time), [`clock`], [`executor`], `stopped_turn`, [`world`]; what the engine has of it: [`host`], [`disk`] and
//! [`operations`], [`net`], [`conns`] and [`corruption`], [`mesh`]; [`limits`] and [`cluster`] (nodes that start and end), `snapshots` (read
//! back); [`faults`]; clients: [`client`], [`history`], [`workload`]; what is seen: [`observation`], [`observer`], [`counters`],
//! [`coverage`], [`trace`], and [`checkers`]; [`broken`].

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
