//! The core: everything one thread of a node owns, and the turn that moves it.
//!
//! A [`Core`] has the replicas of some Raft groups, one log for all of them, the connections of its clients
//! and its links to the other cores of the cluster. It is driven by a host (the traits of `io`): each turn takes
//! in what has arrived, decides, and begins every write and send that follows, without ever waiting.
//!
//! Invariants:
//! - A reply to a write leaves only after the write was committed and applied here.
//! - A read is answered only by a leader whose lease holds at a time behind the read's arrival, or whose
//!   leadership a majority has confirmed since, or at its place in a batch proposed after it.
//! - Replies leave in the order of the requests of their connection.
//! - Every queue is bounded by [`limits`]; a full one holds its clients back.
//! - The log of a group shrinks only behind a checkpoint that is on stable storage, and a checkpoint counts only once
//!   the entries that it holds are durable here too.
//! - A command is never carried out twice: one whose fate is not known is answered so and not sent again.
//!
//! Deliberately absent: threads, locks, sockets and files (the host has them), expiry.
//!
//! Reading order: [`Core`] (`core`: the turn), `start`, `replica` and `recovery`, `events` (bytes of clients), `execute` (where a command
//! goes), `writes`, `reads`, `forwarding` and `forwards`, `give_back`, `peers` and `links`, `leadership`, `log_pace`, `cluster_map`, `local`,
//! `topology` and `info` (what is answered without a group), [`checkpoint`] (the file), `checkpoints`
//! (writing it and letting the log go), `serving` and `fetching` (handing it over to whom the log cannot help), `absent`;
//! [`Observer`] and `queues` (what checkers see).

mod absent;
pub mod checkpoint;
mod checkpoints;
mod client;
mod cluster_map;
mod config;
mod core;
mod error;
mod events;
mod execute;
mod fetching;
mod forming;
mod forwarding;
mod forwards;
mod give_back;
mod group;
mod held;
mod info;
mod lanes;
mod leadership;
pub mod limits;
mod links;
mod local;
mod log_pace;
mod origin;
mod outlets;
mod peers;
mod proposals;
mod queues;
mod reads;
mod recovery;
mod replica;
mod reply_queue;
mod routes;
mod serving;
mod start;
mod stats;
mod topology;
mod watch;
mod whole;
mod writes;

pub use config::{Acquaint, Config};
pub use core::{Core, CoreHost, MeshMessage};
pub use error::Error;
pub use watch::{Event, Observer, QueueLen};
