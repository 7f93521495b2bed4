//! Ids, slots, limits and time: the words that every layer shares.
//!
//! This crate holds data and arithmetic only. It does no I/O, allocates nothing and knows nothing of
//! Raft, logs or sockets.
//!
//! Reading order: [`ids`], [`slot`], [`time`], [`limits`].

#![no_std]

pub mod ids;
pub mod limits;
pub mod slot;
pub mod time;

pub use ids::{CoreAddr, CoreId, GroupId, Index, NodeId, ReplicaId, Term};
pub use slot::{SLOTS_COUNT, Slot};
pub use time::Instant;
