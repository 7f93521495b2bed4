//! The rows of one slot: segments, found by the bits of the hash.
//!
//! A slot with few rows is one segment. One that is full is split by the next bit, and where its parent has no bit left it gets
//! a node of its own first: sixteen links, for four bits. Several links of a node lead to the same segment while that has
//! fewer bits than the node.

use std::ops::Range;
use std::ptr::NonNull;

use crate::rows::link::{LINKS_COUNT, Link, NODE_BITS, Node, Target};
use crate::rows::row::{HASH_BITS, Handle, Hash48};
use crate::rows::segment::{Position, ROWS_COUNT_MAX, Segment};
use crate::rows::slab::Slab;

/// Two neighbours with at most so many rows become one: half of what one holds, so that it is not split again at once.
const JOINED_COUNT_MAX: usize = ROWS_COUNT_MAX / 2;
const LEVELS_MAX: usize = (HASH_BITS / NODE_BITS) as usize;

/// The rows of one slot, in the memory of a slab. It stands in one line of the CPU's cache.
#[derive(Debug, Default)]
#[repr(align(16))]
pub(crate) struct SlotRows {
    root: Link,
    /// How many there are, tombstones among them.
    count: u32,
    /// How many of them are dirty. Whoever makes one dirty or clean tells of it.
    dirty_count: u32,
}

#[inline]
fn changed(count: u32, by: isize) -> u32 {
    count.checked_add_signed(by as i32).expect("what goes was counted when it came")
}

/// Where a row stands.
#[derive(Clone, Copy)]
pub(crate) struct Found {
    segment: Segment,
    position: Position,
}

impl Found {
    /// The row.
    #[inline]
    pub(crate) fn handle(&self) -> Handle {
        self.segment.get(self.position)
    }

    /// Puts another row for the same key in its place.
    ///
    /// # Safety
    /// The trie is borrowed mutably, and has not changed since the row was found.
    #[inline]
    pub(crate) unsafe fn replace(&self, handle: Handle) {
        self.segment.replace(self.position, handle);
    }

    /// The row has become dirty.
    ///
    /// # Safety
    /// The trie is borrowed mutably, and has not changed since the row was found.
    #[inline]
    pub(crate) unsafe fn note_dirty(&self) {
        self.segment.note_dirty(self.position);
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
    fn links(&self, hash: Hash48, segment_bits: u32) -> Range<usize> {
        let width = 1 << (self.bits() - segment_bits);
        let start = hash.nibble(self.bits() - NODE_BITS) & !(width - 1);
        start..start + width
    }
}

// Every function below relies on this: nodes and segments are reached by one trie alone, which is borrowed mutably for what
// changes them.
impl SlotRows {
    /// How many rows there are, tombstones among them.
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// How many are dirty.
    pub(crate) fn dirty_count(&self) -> u32 {
        self.dirty_count
    }

    #[inline]
    pub(crate) fn change_dirty(&mut self, by: isize) {
        self.dirty_count = changed(self.dirty_count, by);
    }

    /// What leads to all of them.
    #[inline]
    pub(crate) fn root(&self) -> Link {
        self.root
    }

    /// The row of a key.
    #[inline]
    pub(crate) fn find(&self, hash: Hash48, key: &[u8]) -> Option<Found> {
        let mut link = self.root;
        let mut bits = 0;
        loop {
            match link.target() {
                Target::None => return None,
                Target::Segment(segment) => {
                    return segment.find(hash, key).map(|position| Found { segment, position });
                }
                // SAFETY: the trie's nodes are there as long as it is borrowed.
                Target::Node(node) => link = unsafe { node.as_ref() }[hash.nibble(bits)],
            }
            bits += NODE_BITS;
        }
    }

    fn way(&self, hash: Hash48) -> (Way, Option<Segment>) {
        let mut way = Way { nodes: [None; LEVELS_MAX], len: 0 };
        let mut link = self.root;
        loop {
            match link.target() {
                Target::None => return (way, None),
                Target::Segment(segment) => return (way, Some(segment)),
                Target::Node(node) => {
                    // SAFETY: as above.
                    link = unsafe { node.as_ref() }[hash.nibble(way.bits())];
                    way.nodes[way.len] = Some(node);
                    way.len += 1;
                }
            }
        }
    }

    /// Sets what leads to the end of a way: the root, or some links of its last node.
    fn set_links(&mut self, way: &Way, links: Range<usize>, target: Target) {
        match way.len.checked_sub(1).and_then(|last| way.nodes[last]) {
            // SAFETY: the trie's nodes are there, and it is borrowed mutably.
            Some(mut node) => (unsafe { node.as_mut() })[links].fill(Link::to(target)),
            None => self.root = Link::to(target),
        }
    }

    fn set_segment(&mut self, way: &Way, hash: Hash48, segment: Segment) {
        let links = if way.len == 0 { 0..1 } else { way.links(hash, segment.bits()) };
        self.set_links(way, links, Target::Segment(segment));
    }

    /// Adds a row, of whose key there is none.
    pub(crate) fn insert(&mut self, slab: &mut Slab, hash: Hash48, handle: Handle, is_dirty: bool) {
        let (mut way, found) = self.way(hash);
        self.count += 1;
        self.dirty_count += u32::from(is_dirty);
        let mut segment = found.unwrap_or_else(|| {
            let segment = Segment::new(slab, 0, 0);
            self.root = Link::to(Target::Segment(segment));
            segment
        });
        while !segment.push(hash, handle, is_dirty) {
            segment = match segment.grow(slab) {
                Some(grown) => {
                    self.set_segment(&way, hash, grown);
                    grown
                }
                None => self.split(slab, &mut way, hash, segment),
            };
        }
    }

    /// Splits a full segment. Returns the part that is for the hash.
    fn split(&mut self, slab: &mut Slab, way: &mut Way, hash: Hash48, segment: Segment) -> Segment {
        let bits = segment.bits();
        assert!(bits < HASH_BITS, "{ROWS_COUNT_MAX} keys of a slot have the same keyed hash of {HASH_BITS} bits");
        if bits == way.bits() {
            let node = slab.alloc(size_of::<Node>()).cast::<Node>();
            // SAFETY: the block is that long, and aligned as links are.
            unsafe { node.write([Link::to(Target::Segment(segment)); LINKS_COUNT]) };
            let links = if way.len == 0 { 0..1 } else { way.links(hash, bits) };
            self.set_links(way, links, Target::Node(node));
            way.nodes[way.len] = Some(node);
            way.len += 1;
        }
        let links = way.links(hash, bits);
        let middle = links.start + links.len() / 2;
        let parts = segment.split(slab);
        self.set_links(way, links.start..middle, Target::Segment(parts[0]));
        self.set_links(way, middle..links.end, Target::Segment(parts[1]));
        parts[usize::from(hash.bit(bits))]
    }

    /// Takes out a row that was found and has this hash.
    pub(crate) fn remove(&mut self, slab: &mut Slab, hash: Hash48, found: Found, is_dirty: bool) -> Handle {
        let (handle, was_last_of_line) = found.segment.remove(hash, found.position);
        self.count -= 1;
        self.dirty_count -= u32::from(is_dirty);
        if was_last_of_line {
            let (way, segment) = self.way(hash);
            debug_assert!(segment == Some(found.segment), "the trie has not changed since the row was found");
            self.tidy(slab, way, hash, found.segment);
        }
        handle
    }

    /// Makes what leads to a segment shorter, and the segment itself, as far as it has few rows.
    fn tidy(&mut self, slab: &mut Slab, mut way: Way, hash: Hash48, segment: Segment) {
        let mut rest = segment.shrink(slab);
        if rest != segment {
            self.set_segment(&way, hash, rest);
        }
        while way.len > 0 {
            let Some(joined) = self.join_with_neighbour(slab, &way, hash, rest) else { return };
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
        if self.count == 0 {
            self.root = Link::default();
            // SAFETY: nothing leads to it any more.
            unsafe { rest.free(slab) };
        }
    }

    /// Makes one segment of a small one and the other half of what it was split from, if that is one and small, too.
    fn join_with_neighbour(&mut self, slab: &mut Slab, way: &Way, hash: Hash48, segment: Segment) -> Option<Segment> {
        let count = segment.count();
        if count > JOINED_COUNT_MAX {
            return None;
        }
        let links = way.links(hash, segment.bits());
        let node = way.nodes[way.len - 1].expect("the way leads through it");
        // SAFETY: the trie's nodes are there as long as it is borrowed.
        let link = unsafe { node.as_ref() }[links.start ^ links.len()];
        let Target::Segment(neighbour) = link.target() else { return None };
        if neighbour.bits() != segment.bits() || count + neighbour.count() > JOINED_COUNT_MAX {
            return None;
        }
        let joined = Segment::join(slab, [segment, neighbour])?;
        self.set_links(way, way.links(hash, joined.bits()), Target::Segment(joined));
        Some(joined)
    }

    /// The segment whose rows' hashes begin as this one does, and where the next one begins, if there is one.
    pub(crate) fn segment_at(&self, hash: Hash48) -> Option<(Segment, Option<Hash48>)> {
        let mut link = self.root;
        let mut bits = 0;
        loop {
            match link.target() {
                Target::None => return None,
                Target::Segment(segment) => return Some((segment, hash.behind_prefix(segment.bits()))),
                // SAFETY: the trie's nodes are there as long as it is borrowed.
                Target::Node(node) => link = unsafe { node.as_ref() }[hash.nibble(bits)],
            }
            bits += NODE_BITS;
        }
    }
}
