//! Which functions have allocated how much, and how much of it is in use.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, BuildHasherDefault};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::countdown::Busy;

/// Most functions of a stack. Those at its root are left out of a deeper one.
pub(super) const FRAMES_COUNT_MAX: usize = 64;
/// Most different stacks. What others have allocated is not in any sum, and is counted ([`lost_count`]).
const STACKS_COUNT_MAX: usize = 16_384;
/// A power of two: threads that keep samples at the same time seldom meet.
const SHARDS_COUNT: usize = 16;
/// Numbers of allocations are kept in such parts of one.
const PARTS: f64 = 65_536.0;

type Hasher = BuildHasherDefault<DefaultHasher>;
type Shard = HashMap<Box<[usize]>, &'static Sums, Hasher>;

/// What a sampled allocation stands for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    /// Allocations, in 65,536ths.
    parts: u64,
    bytes: u64,
}

impl Share {
    /// Of one allocation that stands for `weight` of its kind.
    pub(super) fn new(bytes: usize, weight: f64) -> Share {
        Share { parts: (weight * PARTS).round() as u64, bytes: (bytes as f64 * weight).round() as u64 }
    }
}

/// Sums over the sampled allocations of a stack.
#[derive(Debug, Default)]
pub(super) struct Sums {
    allocated_parts: AtomicU64,
    allocated_bytes: AtomicU64,
    freed_parts: AtomicU64,
    freed_bytes: AtomicU64,
}

impl Sums {
    fn allocated(&self, share: Share) {
        self.allocated_parts.fetch_add(share.parts, Ordering::Relaxed);
        self.allocated_bytes.fetch_add(share.bytes, Ordering::Relaxed);
    }

    /// What has been allocated here is free.
    pub(super) fn freed(&self, share: Share) {
        self.freed_parts.fetch_add(share.parts, Ordering::Relaxed);
        self.freed_bytes.fetch_add(share.bytes, Ordering::Relaxed);
    }

    fn read(&self) -> Totals {
        // What is freed meanwhile was allocated before: so the other way round more could be free than was allocated.
        let freed = [&self.freed_parts, &self.freed_bytes].map(|sum| sum.load(Ordering::Acquire));
        let allocated = [&self.allocated_parts, &self.allocated_bytes].map(|sum| sum.load(Ordering::Acquire));
        let count = |parts: u64| (parts as f64 / PARTS).round() as u64;
        Totals {
            allocated_count: count(allocated[0]),
            allocated_bytes: allocated[1],
            used_count: count(allocated[0].saturating_sub(freed[0])),
            used_bytes: allocated[1].saturating_sub(freed[1]),
        }
    }
}

/// Estimates of what a stack has allocated since samples are taken, and of what of it is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) allocated_count: u64,
    pub(super) allocated_bytes: u64,
    pub(super) used_count: u64,
    pub(super) used_bytes: u64,
}

static SHARDS: [Mutex<Shard>; SHARDS_COUNT] =
    [const { Mutex::new(HashMap::with_hasher(Hasher::new())) }; SHARDS_COUNT];
static STACKS_COUNT: AtomicUsize = AtomicUsize::new(0);
static LOST_COUNT: AtomicU64 = AtomicU64::new(0);

/// Adds an allocation to those of its stack. `None` if there are too many stacks.
pub(super) fn allocated(stack: &[usize], share: Share, _busy: &Busy) -> Option<&'static Sums> {
    let mut shard = lock(Hasher::new().hash_one(stack) as usize % SHARDS_COUNT);
    let known = shard.get(stack).copied();
    let sums = match known {
        Some(sums) => sums,
        None if STACKS_COUNT.load(Ordering::Relaxed) >= STACKS_COUNT_MAX => {
            LOST_COUNT.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        None => {
            STACKS_COUNT.fetch_add(1, Ordering::Relaxed);
            // Stacks are never forgotten: whoever frees what was allocated there finds the sums without a lock.
            let sums: &'static Sums = Box::leak(Box::default());
            shard.insert(stack.into(), sums);
            sums
        }
    };
    sums.allocated(share);
    Some(sums)
}

/// A stack that has allocated something.
#[derive(Debug)]
pub(super) struct Allocating {
    /// The innermost return address first.
    pub(super) stack: Box<[usize]>,
    pub(super) totals: Totals,
}

/// All stacks.
pub(super) fn read(_busy: &Busy) -> Vec<Allocating> {
    let mut all = Vec::new();
    for idx in 0..SHARDS_COUNT {
        let shard = lock(idx);
        all.extend(shard.iter().map(|(stack, sums)| Allocating { stack: stack.clone(), totals: sums.read() }));
    }
    all
}

/// Samples that were not kept as there were too many stacks.
pub(super) fn lost_count() -> u64 {
    LOST_COUNT.load(Ordering::Relaxed)
}

fn lock(idx: usize) -> MutexGuard<'static, Shard> {
    // Nothing here panics while it holds the lock, and sums that are a little wrong harm nobody.
    SHARDS[idx].lock().unwrap_or_else(PoisonError::into_inner)
}
