//! What a slow command is told from others by, on every node that it came to.
//!
//! Nothing is sent for that. A command in flight bears a number which its sender has chosen for the link, from a random beginning each
//! time it starts; so the two cores and that number name it on both sides, and both make the same id of them. It is made only
//! for commands that turn out to be slow.

use types::CoreAddr;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128};

/// Which part of a command an id is of.
#[derive(Clone, Copy)]
enum Part {
    /// That of the core which the client has asked.
    Asked = 1,
    /// That of the core which it was forwarded to.
    Forwarded = 2,
}

/// Ids of a command and of what one core did for it. None of them is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TraceIds {
    /// The same on all nodes.
    pub trace_id: u128,
    /// Of this core's part.
    pub span_id: u64,
    /// Of the part that has caused it.
    pub parent_id: Option<u64>,
}

impl TraceIds {
    /// Of a command that the core answers itself: its `sequence`-th, then.
    pub(crate) fn local(core: CoreAddr, sequence: u64, unix_us: u64) -> TraceIds {
        let trace_id = id_of(&[bits(core), bits(core), sequence, unix_us]);
        TraceIds { trace_id, span_id: span_id(trace_id, Part::Asked), parent_id: None }
    }

    /// Of a command that the core `from` has forwarded to `to` under this number, as `from` sees it.
    pub(crate) fn sent(from: CoreAddr, to: CoreAddr, number: u64) -> TraceIds {
        let trace_id = id_of(&[bits(from), bits(to), number]);
        TraceIds { trace_id, span_id: span_id(trace_id, Part::Asked), parent_id: None }
    }

    /// The same, as `to` sees it.
    pub(crate) fn received(from: CoreAddr, to: CoreAddr, number: u64) -> TraceIds {
        let TraceIds { trace_id, span_id: parent_id, .. } = TraceIds::sent(from, to, number);
        TraceIds { trace_id, span_id: span_id(trace_id, Part::Forwarded), parent_id: Some(parent_id) }
    }
}

fn bits(core: CoreAddr) -> u64 {
    u64::from(core.node.0) << 16 | u64::from(core.core.0)
}

fn id_of(words: &[u64]) -> u128 {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    xxh3_128(&bytes).max(1)
}

fn span_id(trace_id: u128, part: Part) -> u64 {
    xxh3_64_with_seed(&trace_id.to_le_bytes(), part as u64).max(1)
}

#[cfg(test)]
mod tests {
    use types::{CoreId, NodeId};

    use super::*;

    #[test]
    fn both_sides_know_a_command_by_one_id_and_their_parts_by_others() {
        let core = |node, core| CoreAddr { node: NodeId(node), core: CoreId(core) };
        let (from, to) = (core(1, 0), core(2, 1));
        let (sent, received) = (TraceIds::sent(from, to, 7), TraceIds::received(from, to, 7));
        assert_eq!((sent.trace_id, Some(sent.span_id)), (received.trace_id, received.parent_id));
        assert!(sent.parent_id.is_none() && sent.span_id != received.span_id);
        let others = [
            TraceIds::sent(from, to, 8),
            TraceIds::sent(to, from, 7),
            TraceIds::sent(from, core(2, 0), 7),
            TraceIds::local(from, 7, 7),
            TraceIds::local(from, 8, 7),
            TraceIds::local(to, 7, 7),
        ];
        let ids: std::collections::BTreeSet<u128> = others.iter().chain([&sent]).map(|ids| ids.trace_id).collect();
        assert_eq!(ids.len(), 7);
    }
}
