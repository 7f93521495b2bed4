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
//! Reading order: [`prng`], [`queue`] (virtual time), [`clock`], [`trace`]; what a run is: [`cluster_spec`], [`faults`], [`broken`],
//! [`spec`]; the world: [`disk`], [`net`], [`mesh`], [`observation`] (what checkers see of it), [`world`], and [`host`] (what the
//! engine has of it); clients: [`history`], [`client`], [`workload`]; [`cluster`] (nodes that start and
//! end), `operator` (nodes that join and are removed), [`injector`] (what faults do to it); [`checkers`]; [`run`] with [`report`], and [`campaign`].

pub mod broken;
pub mod campaign;
pub mod checkers;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod cluster_spec;
pub mod disk;
pub mod faults;
pub mod history;
pub mod host;
pub mod injector;
pub mod mesh;
pub mod net;
pub mod observation;
pub(crate) mod operator;
pub mod prng;
pub mod queue;
pub mod report;
pub mod run;
pub mod spec;
pub mod trace;
pub mod workload;
pub mod world;
