//! Tests of storage with a disk in memory and replicas that know no Raft.

#![allow(clippy::unwrap_used, reason = "tests")]

mod compare;
mod destroy;
mod flush;
mod full;
mod log;
mod random;
mod restart;
mod rounds;
mod row_reads;
mod scrub;
mod transfer;
mod warm;
