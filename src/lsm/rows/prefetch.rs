//! Having rows brought into the CPU's caches before they are looked at.
//!
//! What leads to a row and the row itself are one miss each in tables that no cache holds, one behind the other. A few keys at a time the
//! way is gone together, a step for each of them and then the next: so their misses overlap (group prefetching; Chen, Ailamaki,
//! Gibbons, Mowry 2004).

use types::Slot;

use crate::rows::cache::load;
use crate::rows::link::{Link, NODE_BITS, Target};
use crate::rows::row::Hash48;
use crate::rows::tables::Tables;

/// Keys that are looked for together.
pub const PREFETCH_KEYS_COUNT: usize = 16;
/// Tables up to this length lie in caches anyway.
const TABLES_BYTES_MIN: usize = 4 << 20;

/// Whether it is worth it.
#[inline]
pub(crate) fn is_worth_it(tables: &Tables) -> bool {
    tables.slab.used_bytes() > TABLES_BYTES_MIN
}

/// Has the rows of these keys loaded, with what leads to them: at most [`PREFETCH_KEYS_COUNT`].
pub(crate) fn load_rows(tables: &Tables, keys: impl Iterator<Item = (Slot, Hash48)>) {
    let mut ways = [(Hash48::MIN, Link::default()); PREFETCH_KEYS_COUNT];
    let mut count = 0;
    for (slot, hash) in keys.take(PREFETCH_KEYS_COUNT) {
        let Some(rows) = tables.slot(slot) else { continue };
        ways[count] = (hash, rows.root());
        step_towards(ways[count], 0);
        count += 1;
    }
    let ways = &mut ways[..count];
    let (mut bits, mut has_nodes) = (0, true);
    while has_nodes {
        has_nodes = false;
        for way in &mut *ways {
            // SAFETY: the trie's nodes are there as long as the tables are borrowed.
            let Target::Node(node) = way.1.target() else { continue };
            // SAFETY: as above.
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

/// Has loaded what is read next on a way.
#[inline]
fn step_towards((hash, link): (Hash48, Link), bits: u32) {
    match link.target() {
        Target::None => {}
        Target::Segment(segment) => segment.load_line(hash),
        Target::Node(node) => load(node.as_ptr().cast::<Link>().wrapping_add(hash.nibble(bits)).cast()),
    }
}
