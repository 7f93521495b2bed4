//! What is counted: small pieces of work that depend on nothing but the code. Seeds, keys, hashes and times are fixed.

mod keys;
mod protocol;
mod replicated;
mod replication;
mod tables;

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use resp::CommandId;

use crate::micro::key_of;

/// Commands of a pipeline, of a batch and of a block.
const PIPELINE: u32 = 16;
/// Keys there are, and rows of a table.
const KEYS_COUNT: u32 = 4_096;
/// Commands on them in one go.
const OPERATIONS: u32 = 1_024;
/// Bytes of a value.
const VALUE_BYTES: usize = 256;

/// A piece of work, done again and again.
pub trait Workload {
    /// How many operations one run consists of: what the figure is told per.
    fn operations_count(&self) -> u32;

    /// What comes before each run and is not counted.
    fn prepare(&mut self) {}

    /// The work.
    fn run(&mut self);
}

/// A workload by its name.
pub struct Listed {
    /// The part of Coracle that it is about, a slash, and what is done there. A name in the file of accepted figures.
    pub name: &'static str,
    /// What one operation is.
    pub per: &'static str,
    /// Makes it ready.
    pub make: fn() -> Box<dyn Workload>,
}

/// All of them, in the order in which they are shown.
pub const ALL: &[Listed] = &[
    Listed { name: "types/slot", per: "key of 16 B", make: protocol::Slots::make },
    Listed { name: "resp/parse SET", per: "SET of 256 B, 16 in a pipeline", make: protocol::Parse::sets },
    Listed { name: "resp/parse GET", per: "GET, 16 in a pipeline", make: protocol::Parse::gets },
    Listed { name: "resp/reply", per: "reply: OK, 256 B, integer, nil", make: protocol::Replies::make },
    Listed {
        name: "wire/batch build",
        per: "SET of 256 B, 16 in a batch",
        make: || Box::new(protocol::BatchBuild::new()),
    },
    Listed { name: "wire/batch access", per: "SET of 256 B, 16 in a batch", make: protocol::BatchAccess::make },
    Listed { name: "wire/frame encode", per: "Append of 4.7 KB, 8 in a frame", make: protocol::FrameEncode::make },
    Listed { name: "wire/frame decode", per: "Append of 4.7 KB, 8 in a frame", make: protocol::FrameDecode::make },
    Listed {
        name: "data/SET same length",
        per: "key in memory",
        make: || keys::OnKeys::make(CommandId::Set, &[VALUE_BYTES]),
    },
    Listed {
        name: "data/SET other length",
        per: "key in memory",
        make: || keys::OnKeys::make(CommandId::Set, &[VALUE_BYTES / 2, VALUE_BYTES]),
    },
    Listed { name: "data/SET, DEL", per: "new key, and gone again", make: keys::OnKeys::new_and_gone },
    Listed { name: "data/GET", per: "key in memory", make: || keys::OnKeys::make(CommandId::Get, &[0]) },
    Listed { name: "data/INCR", per: "key in memory", make: || keys::OnKeys::make(CommandId::Incr, &[0]) },
    Listed { name: "lsm/flush copy", per: "dirty row", make: keys::FlushCopy::make },
    Listed { name: "lsm/table write", per: "row", make: tables::TableWrite::make },
    Listed { name: "lsm/table get cached", per: "row, in the older of two runs", make: tables::TableGet::cached },
    Listed { name: "lsm/table get read", per: "row, a block decoded for each", make: tables::TableGet::read },
    Listed { name: "lsm/table scan", per: "row, of two runs", make: tables::TableScan::make },
    Listed { name: "lsm/merge", per: "row written, of three runs", make: tables::Merge::make },
    Listed { name: "raft/leader", per: "entry, alone, two followers", make: replication::Leader::make },
    Listed { name: "raft/follower", per: "entry, alone", make: replication::Follower::make },
    Listed { name: "wal/replicated SET", per: "SET of 4 KiB, three replicas", make: replicated::ReplicatedSet::make },
    Listed { name: "wal/block", per: "entry of 1 KiB, 16 in a block", make: replication::LogBlock::make },
];

/// The key with a number.
fn key(number: u32) -> [u8; 16] {
    key_of("key:", number)
}

/// Numbers of keys in an order that looks like chance.
fn spread(at: u32) -> u32 {
    at.wrapping_mul(2_654_435_761) % KEYS_COUNT
}

/// The outcome of what waits for nobody.
///
/// # Panics
/// If it waits.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("a disk in memory lets nobody wait"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_workload_runs_again_and_again() {
        for listed in ALL {
            let mut workload = (listed.make)();
            assert!(workload.operations_count() > 0);
            for _ in 0..3 {
                workload.prepare();
                workload.run();
            }
        }
    }

    #[test]
    fn names_are_different_and_fit_the_table() {
        let names: BTreeSet<_> = ALL.iter().map(|listed| listed.name).collect();
        assert_eq!(names.len(), ALL.len());
        for listed in ALL {
            assert!(
                listed.name.contains('/') && listed.name.len() <= 22 && listed.per.len() <= 32,
                "{}",
                listed.name
            );
        }
    }
}
