//! The rows of one slot: segments, found by the bits of the hash.
//!
//! A slot with few rows is one segment. One that is full is split by the next bit, and where its parent has no bit left it gets
//! a node of its own first: sixteen links, for four bits. Several links of a node lead to the same segment while that has
//! fewer bits than the node.

use std::ptr::NonNull;

use crate::row::{HASH_BITS, Handle, Hash48};
use crate::segment::{ROWS_COUNT_MAX, Segment};
use crate::slab::Slab;

/// Bits that a node tells apart.
const NODE_BITS: u32 = 4;
const LINKS_COUNT: usize = 1 << NODE_BITS;
/// Two neighbours with at most so many rows become one: half of what one holds, so that it is not split again at once.
const JOINED_COUNT_MAX: usize = ROWS_COUNT_MAX / 2;
const LEVELS_MAX: usize = (HASH_BITS / NODE_BITS) as usize;

type Node = [Link; LINKS_COUNT];

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Nothing; only the root of a slot without rows.
    None,
    Segment(Segment),
    Node(NonNull<Node>),
}

/// The rows of one slot, in the memory of a slab.
#[derive(Debug)]
pub(crate) struct SlotRows {
    root: Link,
    /// How many there are.
    count: usize,
}

impl Default for SlotRows {
    fn default() -> SlotRows {
        SlotRows { root: Link::None, count: 0 }
    }
}

/// How a segment was reached.
struct Way {
    nodes: [Option<NonNull<Node>>; LEVELS_MAX],
    len: usize,
}

impl Way {
    /// Bits of the hash that led here.
    fn bits(&self) -> u32 {
        self.len as u32 * NODE_BITS
    }

    /// The links that lead to a segment at the end, in its node.
    fn links(&self, hash: Hash48, segment_bits: u32) -> std::ops::Range<usize> {
        let width = 1 << (self.bits() - segment_bits);
        let start = hash.nibble(self.bits() - NODE_BITS) & !(width - 1);
        start..start + width
    }
}

// Every function below relies on this: nodes and segments are reached by one trie alone, which is borrowed mutably for what
// changes them.
impl SlotRows {
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// The row of a key.
    #[inline]
    pub(crate) fn find(&self, hash: Hash48, key: &[u8]) -> Option<Handle> {
        let mut link = self.root;
        let mut bits = 0;
        loop {
            match link {
                Link::None => return None,
                Link::Segment(segment) => return segment.find(hash, key).map(|at| segment.get(at)),
                // SAFETY: the trie's nodes are there as long as it is borrowed.
                Link::Node(node) => link = unsafe { node.as_ref() }[hash.nibble(bits)],
            }
            bits += NODE_BITS;
        }
    }

    fn way(&self, hash: Hash48) -> (Way, Option<Segment>) {
        let mut way = Way { nodes: [None; LEVELS_MAX], len: 0 };
        let mut link = self.root;
        loop {
            match link {
                Link::None => return (way, None),
                Link::Segment(segment) => return (way, Some(segment)),
                Link::Node(node) => {
                    // SAFETY: as above.
                    link = unsafe { node.as_ref() }[hash.nibble(way.bits())];
                    way.nodes[way.len] = Some(node);
                    way.len += 1;
                }
            }
        }
    }

    /// Sets what leads to the end of a way: the root, or some links of its last node.
    fn set_links(&mut self, way: &Way, links: std::ops::Range<usize>, link: Link) {
        match way.len.checked_sub(1).and_then(|last| way.nodes[last]) {
            // SAFETY: the trie's nodes are there, and it is borrowed mutably.
            Some(mut node) => (unsafe { node.as_mut() })[links].fill(link),
            None => self.root = link,
        }
    }

    fn set_segment(&mut self, way: &Way, hash: Hash48, segment: Segment) {
        let links = if way.len == 0 { 0..1 } else { way.links(hash, segment.bits()) };
        self.set_links(way, links, Link::Segment(segment));
    }

    /// Adds a row, of whose key there is none, or puts it in the place of the key's old one, which is returned.
    pub(crate) fn put(
        &mut self,
        slab: &mut Slab,
        hash: Hash48,
        key: &[u8],
        make: impl FnOnce(&mut Slab) -> Handle,
    ) -> Option<Handle> {
        let (mut way, found) = self.way(hash);
        let mut segment = found.unwrap_or_else(|| Segment::new(slab, 0, 1));
        if let Some(at) = segment.find(hash, key) {
            let old = segment.get(at);
            segment.replace(at, make(slab));
            return Some(old);
        }
        while segment.is_full() {
            segment = self.split(slab, &mut way, hash, segment);
        }
        let handle = make(slab);
        let grown = segment.push(slab, hash, handle);
        if grown != segment || found.is_none() {
            self.set_segment(&way, hash, grown);
        }
        self.count += 1;
        None
    }

    /// Splits a full segment. Returns the part that is for the hash.
    fn split(&mut self, slab: &mut Slab, way: &mut Way, hash: Hash48, segment: Segment) -> Segment {
        let bits = segment.bits();
        assert!(bits < HASH_BITS, "{ROWS_COUNT_MAX} keys of a slot have the same keyed hash of {HASH_BITS} bits");
        if bits == way.bits() {
            let node = slab.alloc(size_of::<Node>()).cast::<Node>();
            // SAFETY: the block is that long, and aligned as links are.
            unsafe { node.write([Link::Segment(segment); LINKS_COUNT]) };
            let links = if way.len == 0 { 0..1 } else { way.links(hash, bits) };
            self.set_links(way, links, Link::Node(node));
            way.nodes[way.len] = Some(node);
            way.len += 1;
        }
        let links = way.links(hash, bits);
        let middle = links.start + links.len() / 2;
        let parts = segment.split(slab);
        self.set_links(way, links.start..middle, Link::Segment(parts[0]));
        self.set_links(way, middle..links.end, Link::Segment(parts[1]));
        parts[usize::from(hash.bit(bits))]
    }

    /// Takes out the row of a key.
    pub(crate) fn remove(&mut self, slab: &mut Slab, hash: Hash48, key: &[u8]) -> Option<Handle> {
        let (mut way, segment) = self.way(hash);
        let segment = segment?;
        let at = segment.find(hash, key)?;
        let (handle, mut rest) = segment.remove(slab, at);
        self.count -= 1;
        self.set_segment(&way, hash, rest);
        while way.len > 0 {
            let Some(joined) = self.join_with_neighbour(slab, &way, hash, rest) else { return Some(handle) };
            rest = joined;
            if joined.bits() == way.bits() - NODE_BITS {
                // All links of the node lead to it.
                let node = way.nodes[way.len - 1].take().expect("the way leads through it");
                way.len -= 1;
                self.set_segment(&way, hash, joined);
                // SAFETY: nothing leads to the node any more.
                unsafe { slab.free(node.cast(), size_of::<Node>()) };
            }
        }
        if rest.count() == 0 {
            self.root = Link::None;
            // SAFETY: nothing leads to it any more.
            unsafe { rest.free(slab) };
        }
        Some(handle)
    }

    /// Makes one segment of a small one and the other half of what it was split from, if that is one and small, too.
    fn join_with_neighbour(&mut self, slab: &mut Slab, way: &Way, hash: Hash48, segment: Segment) -> Option<Segment> {
        if segment.count() > JOINED_COUNT_MAX {
            return None;
        }
        let links = way.links(hash, segment.bits());
        let node = way.nodes[way.len - 1].expect("the way leads through it");
        // SAFETY: the trie's nodes are there as long as it is borrowed.
        let link = unsafe { node.as_ref() }[links.start ^ links.len()];
        let Link::Segment(neighbour) = link else { return None };
        if neighbour.bits() != segment.bits() || segment.count() + neighbour.count() > JOINED_COUNT_MAX {
            return None;
        }
        let joined = Segment::join(slab, [segment, neighbour]);
        self.set_links(way, way.links(hash, joined.bits()), Link::Segment(joined));
        Some(joined)
    }

    /// Shows every segment, in the order of the hashes.
    pub(crate) fn for_each_segment(&self, seen: &mut impl FnMut(Segment)) {
        show(self.root, 0, seen);
    }

    /// Gives all memory back: rows, segments and nodes.
    pub(crate) fn clear(&mut self, slab: &mut Slab) {
        clear(std::mem::replace(&mut self.root, Link::None), 0, slab);
        self.count = 0;
    }
}

fn show(link: Link, bits: u32, seen: &mut impl FnMut(Segment)) {
    match link {
        Link::None => {}
        Link::Segment(segment) => seen(segment),
        Link::Node(node) => {
            // SAFETY: whoever called has the trie borrowed.
            let node = unsafe { node.as_ref() };
            for_each_once(node, bits + NODE_BITS, &mut |link| show(link, bits + NODE_BITS, seen));
        }
    }
}

fn clear(link: Link, bits: u32, slab: &mut Slab) {
    match link {
        Link::None => {}
        Link::Segment(segment) => {
            for at in 0..segment.count() {
                // SAFETY: nothing leads to the row any more.
                unsafe { segment.get(at).free(slab) };
            }
            // SAFETY: nothing leads to the segment any more.
            unsafe { segment.free(slab) };
        }
        Link::Node(node) => {
            // SAFETY: nothing leads to the node any more, and it is there until it is freed below.
            let links = unsafe { node.read() };
            for_each_once(&links, bits + NODE_BITS, &mut |link| clear(link, bits + NODE_BITS, slab));
            // SAFETY: as above.
            unsafe { slab.free(node.cast(), size_of::<Node>()) };
        }
    }
}

/// Shows what the links of a node lead to, each once. `bits` are those that lead through the node.
fn for_each_once(node: &Node, bits: u32, seen: &mut impl FnMut(Link)) {
    let mut at = 0;
    while at < LINKS_COUNT {
        let link = node[at];
        at += match link {
            Link::Segment(segment) => 1 << (bits - segment.bits()),
            Link::Node(_) | Link::None => 1,
        };
        seen(link);
    }
}
