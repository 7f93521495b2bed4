//! The checks, by topic. In each file the functions that judge take text and numbers, and one function reads those.
//!
//! Reading order: [`kernel`], [`cpu`], [`disk`] with [`mount`], [`net`], [`memory`], [`clock`].

pub mod clock;
pub mod cpu;
pub mod disk;
pub mod kernel;
pub mod memory;
pub mod mount;
pub mod net;

use crate::finding::Finding;
use crate::plan::Plan;
use crate::source::Source;

/// All checks of a host for a node, in the order in which they are shown.
pub fn all(source: &Source, plan: &Plan) -> Vec<Finding> {
    [
        kernel::run(source, plan),
        disk::run(source, plan),
        cpu::run(source, plan),
        net::run(source, plan),
        memory::run(source, plan),
        clock::run(source),
    ]
    .concat()
}
