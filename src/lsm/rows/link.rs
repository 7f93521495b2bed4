//! One word that leads to a segment, with what must be known of it, or to a node.

use std::ptr::{self, NonNull};

use crate::rows::segment::Segment;

/// Bits of a hash that a node tells apart.
pub(crate) const NODE_BITS: u32 = 4;
/// Links of a node.
pub(crate) const LINKS_COUNT: usize = 1 << NODE_BITS;

/// Sixteen links, for the next four bits of a hash.
pub(crate) type Node = [Link; LINKS_COUNT];

/// What a link leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// Nothing; only the root of a slot without rows.
    None,
    Segment(Segment),
    Node(NonNull<Node>),
}

/// An address in the lower 48 bits; above them the number of bits that a segment's hashes share (6 bits), the logarithm of its
/// number of lines (2), and whether it is a node (1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Link(u64);

const ADDR_BITS: u32 = 48;
const LINES_AT: u32 = 54;
const NODE_BIT: u64 = 1 << 56;

impl Link {
    /// A link to this.
    pub(crate) fn to(target: Target) -> Link {
        match target {
            Target::None => Link(0),
            Target::Segment(segment) => {
                let (lines, bits, lines_log) = segment.parts();
                Link(addr_of(lines) | u64::from(bits) << ADDR_BITS | u64::from(lines_log) << LINES_AT)
            }
            Target::Node(node) => Link(addr_of(node.cast()) | NODE_BIT),
        }
    }

    /// What it leads to.
    #[inline]
    pub(crate) fn target(self) -> Target {
        let addr = self.0 & ((1 << ADDR_BITS) - 1);
        let Some(at) = NonNull::new(ptr::with_exposed_provenance_mut::<u8>(addr as usize)) else {
            return Target::None;
        };
        if self.0 & NODE_BIT != 0 {
            return Target::Node(at.cast());
        }
        let (bits, lines_log) = (self.0 >> ADDR_BITS & 63, self.0 >> LINES_AT & 3);
        // SAFETY: `to` has made the link of these parts, and a trie has no links to segments that are gone.
        Target::Segment(unsafe { Segment::of_parts(at, bits as u32, lines_log as u32) })
    }
}

fn addr_of(at: NonNull<u8>) -> u64 {
    let addr = at.as_ptr().expose_provenance() as u64;
    assert!(addr >> ADDR_BITS == 0, "Linux gives addresses of 47 bits unless asked for more");
    addr
}
