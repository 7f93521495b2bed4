//! The sampled blocks that are in use, by their addresses.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::BuildHasherDefault;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::countdown::Busy;
use super::stacks::{Share, Sums};

/// Sampled blocks begin at multiples of it, so others are told from them by their addresses, nearly always.
pub(super) const BLOCK_ALIGN: usize = 4_096;
/// A power of two: threads that free such blocks at the same time seldom meet.
const SHARDS_COUNT: usize = 64;

type Blocks = HashMap<usize, Block, BuildHasherDefault<DefaultHasher>>;

struct Block {
    share: Share,
    sums: &'static Sums,
}

struct Shard {
    /// How many blocks there are, for a look without the lock.
    count: AtomicUsize,
    blocks: Mutex<Blocks>,
}

static SHARDS: [Shard; SHARDS_COUNT] = [const {
    Shard { count: AtomicUsize::new(0), blocks: Mutex::new(HashMap::with_hasher(BuildHasherDefault::new())) }
}; SHARDS_COUNT];

/// Notes a block, which is in use from now on.
pub(super) fn add(address: usize, share: Share, sums: &'static Sums, _busy: &Busy) {
    let shard = shard(address);
    let mut blocks = lock(shard);
    blocks.insert(address, Block { share, sums });
    // Whoever frees the block was handed it by its owner, and sees this with it.
    shard.count.store(blocks.len(), Ordering::Relaxed);
}

/// Whether a block is one of these.
pub(super) fn contains(address: usize, _busy: &Busy) -> bool {
    let shard = shard(address);
    shard.count.load(Ordering::Relaxed) > 0 && lock(shard).contains_key(&address)
}

/// Counts a block as free and forgets it. Returns whether it was one of these.
pub(super) fn remove(address: usize, _busy: &Busy) -> bool {
    let shard = shard(address);
    if shard.count.load(Ordering::Relaxed) == 0 {
        return false;
    }
    let mut blocks = lock(shard);
    let Some(Block { share, sums }) = blocks.remove(&address) else { return false };
    shard.count.store(blocks.len(), Ordering::Relaxed);
    sums.freed(share);
    true
}

fn shard(address: usize) -> &'static Shard {
    // The low bits are zeros; Fibonacci hashing spreads the others.
    let hash = (address / BLOCK_ALIGN).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    &SHARDS[hash >> (usize::BITS - SHARDS_COUNT.trailing_zeros())]
}

fn lock(shard: &'static Shard) -> MutexGuard<'static, Blocks> {
    // Nothing here panics while it holds the lock.
    shard.blocks.lock().unwrap_or_else(PoisonError::into_inner)
}
