//! What cores of different nodes say to each other, and how it is framed.
//!
//! Data only: no I/O, no clock, no state. Bytes from a peer are validated before they are looked at and
//! then used in place; a broken frame is a [`FrameError`], never a panic.
//!
//! Read [`entry`] (what a log holds) and [`message`] (what Raft says) first, then [`batch`] (what an
//! entry's payload is).

#![no_std]

extern crate alloc;

pub mod entry;
pub mod message;

pub use entry::{Entry, EntryKind, HardState};
pub use message::{Body, Message};
