//! The core: turn loop, groups, apply, reads, routing.

pub mod keyspace;
