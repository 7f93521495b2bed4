//! The deterministic simulator: whole clusters of real cores on a virtual clock, disk and network.
//!
//! One seed decides everything that happens in a run; the same seed gives the same run, byte for byte.

pub mod history;
pub mod observation;
