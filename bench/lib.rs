//! `coracle-bench`: a load generator for servers that speak the Redis protocol, and comparisons of Coracle with
//! Redis, etcd and the bare disk, side by side in one run; what background work costs clients; what a command costs where the keys lie; and how many
//! instructions small pieces of the engine's work take.
//!
//! Invariants: everything is bounded in time; only servers named on the command line or started here are
//! spoken to; a process started here is stopped here, by its id, whatever happens. A reply that is not what its
//! command should give is an error and is counted, so that a rate is never made of failures.
//!
//! Deliberately absent: retries of commands, TLS.
//!
//! Reading order: [`reply`] (the bytes), [`client`] (questions outside a run), [`topology`] (who owns what), [`load`] (the
//! generator), [`slo`] (the highest rate that keeps a promise), [`dev`] (clusters that are started here), [`compare`] (servers side by side),
//! [`disturb`] (a load beside background work), `stores` (data larger than memory, beside stores within a process; only with the
//! feature of that name), [`micro`] (tables of keys side by side), [`counts`] (instructions, against accepted figures), [`hgrm`] and
//! [`plot`] (files of results), [`cli`] (the arguments), [`text`] (how figures are written), [`error`].

pub mod cli;
pub mod client;
pub mod compare;
pub mod counts;
pub mod dev;
pub mod disturb;
pub mod error;
pub mod hgrm;
pub mod load;
pub mod micro;
pub mod plot;
pub mod reply;
pub mod slo;
#[cfg(feature = "stores")]
pub mod stores;
pub mod text;
pub mod topology;

pub use error::Error;
