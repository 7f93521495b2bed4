//! What goes wrong in a run, as plain data, and how a seed decides it. What it does to a cluster is the affair of
//! [`injector`](crate::injector).
//!
//! The fault model: nodes crash and come back, with any part of what was not synced lost or torn; networks lose, delay,
//! repeat, reorder and cut; clocks step, and drift within the bound the cluster was told; disks fail, fill up, slow down
//! and rot, as long as each committed entry keeps one sound durable copy in a reachable majority. [`Schedule::generate`]
//! stays within it: what damages data at rest happens only to [`ClusterSpec::faulty_nodes`](crate::cluster_spec::ClusterSpec), a
//! minority of the nodes chosen once for the whole run.
//!
//! A new fault is a row in `kinds`, a line in `draw`, and what it does in `carry_out` of the injector; the compiler asks for the last two.
//!
//! Read `kinds` (the table), `schedule`, `leader_fault` and `leader_faults` (faults made of others, for whoever leads),
//! `old_answers` (one of those), `moment`, `draw`.

mod draw;
mod kinds;
mod leader_fault;
mod leader_faults;
mod moment;
mod old_answers;
mod schedule;

pub use kinds::{FAULTS, Fault, FaultKind, FaultRow, Needs};
pub use leader_fault::LeaderFault;
pub use moment::Moment;
pub use schedule::{Schedule, Timed};

/// From this factor on a disk stands still rather than works, and does so for a short time only.
pub(crate) const STALL_FACTOR: u64 = 1_000;

/// Behind which reading of the clock a turn is stopped, one of these. Behind the first, the time of the turn is old and what has come
/// meanwhile is seen.
const READINGS: [u32; 4] = [1, 1, 2, 3];
