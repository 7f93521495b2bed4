//! The core: turn loop, groups, apply, reads, routing.
