//! Having rows brought into the CPU's caches before they are looked at.
//!
//! What leads to a row and the row itself are one miss each in tables that no cache holds, one behind the other. A few keys at a time the
//! way is gone together, a step for each of them and then the next: so their misses overlap (group prefetching; Chen, Ailamaki,
//! Gibbons, Mowry 2004).

use std::marker::PhantomData;

use types::Slot;

use crate::rows::Rows;
use crate::rows::cache::load;
use crate::rows::link::{Link, NODE_BITS, Target};
use crate::rows::row::Hash48;

/// Keys that are looked for together.
pub const PREFETCH_KEYS_COUNT: usize = 16;

/// The ways to a few rows, which may be those of several groups. They are borrowed until the rows are loaded.
pub struct Prefetch<'r> {
    ways: [(Hash48, Link); PREFETCH_KEYS_COUNT],
    count: usize,
    rows: PhantomData<&'r Rows>,
}

impl Default for Prefetch<'_> {
    fn default() -> Self {
        Prefetch { ways: [(Hash48::MIN, Link::default()); PREFETCH_KEYS_COUNT], count: 0, rows: PhantomData }
    }
}

impl<'r> Prefetch<'r> {
    /// Adds the row of a key, unless there are [`PREFETCH_KEYS_COUNT`] already.
    #[inline]
    pub fn add(&mut self, rows: &'r Rows, slot: Slot, key: &[u8]) {
        let Some(slot_rows) = rows.tables.slot(slot).filter(|_| self.count < PREFETCH_KEYS_COUNT) else { return };
        let way = (rows.hash(key), slot_rows.root());
        step_towards(way, 0);
        self.ways[self.count] = way;
        self.count += 1;
    }

    /// Has the rows loaded, with what leads to them.
    pub fn load(mut self) {
        let ways = &mut self.ways[..self.count];
        let (mut bits, mut has_nodes) = (0, true);
        while has_nodes {
            has_nodes = false;
            for way in &mut *ways {
                let Target::Node(node) = way.1.target() else { continue };
                // SAFETY: the trie's nodes are there as long as the rows are borrowed.
                way.1 = unsafe { node.as_ref() }[way.0.nibble(bits)];
                step_towards(*way, bits + NODE_BITS);
                has_nodes = true;
            }
            bits += NODE_BITS;
        }
        for (hash, link) in ways {
            if let Target::Segment(segment) = link.target() {
                segment.load_row(*hash);
            }
        }
    }
}

/// Has loaded what is read next on a way.
#[inline]
fn step_towards((hash, link): (Hash48, Link), bits: u32) {
    match link.target() {
        Target::None => {}
        Target::Segment(segment) => segment.load_line(hash),
        Target::Node(node) => load(node.as_ptr().cast::<Link>().wrapping_add(hash.nibble(bits)).cast()),
    }
}
