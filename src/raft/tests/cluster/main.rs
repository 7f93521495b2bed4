//! Replicas on a virtual clock, network and disk: a test for each rule of the protocol, and random faults under
//! checkers that look at every step.
//!
//! `sim` is the world, `node` one replica with its disk, `check` what must hold at all times.

// Helpers of tests are tests, too.
#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod check;
mod node;
mod sim;
mod solo;

mod durability;
mod elections;
mod far_terms;
mod leases;
mod memberships;
mod priorities;
mod quiescence;
mod quiet;
mod random;
mod reads;
mod replication;

mod snapshots;
mod start;
mod timings;
mod transfers;
