//! The cluster as clients see it: every core a master of the slots whose groups it leads.

use std::collections::BTreeMap;

use meta::ClusterMap;
use types::{CoreAddr, SLOTS_COUNT};

use crate::topology_view::LeaderTable;

/// What one core leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LedSlots {
    pub(crate) addr: CoreAddr,
    /// Slots as ranges, both ends included. Invariant: ascending, and no two that could be one.
    pub(crate) ranges: Vec<(u16, u16)>,
}

/// Who leads which slots. Made from the leaders once per change of one, or of the map, since clients ask for it whenever they connect
/// or are redirected.
#[derive(Debug, Default)]
pub(crate) struct Topology {
    /// The epoch of the map and the version of the leaders that it was made from.
    made_from: Option<(u64, u64)>,
    /// Every core of the cluster, by node and core.
    cores: Vec<LedSlots>,
    /// Where each core stands in `cores`.
    places: BTreeMap<CoreAddr, usize>,
    /// Slots of groups whose leader is not known right now.
    leaderless_slots_count: usize,
}

impl Topology {
    /// Makes it anew if a leader or the map has changed since it was last made. Returns whether that was so.
    pub(crate) fn update(&mut self, map: &ClusterMap, leaders: &impl LeaderTable) -> bool {
        let made_from = Some((map.epoch, leaders.version()));
        if self.made_from == made_from {
            return false;
        }
        self.made_from = made_from;
        self.leaderless_slots_count = 0;
        // A core without slots is shown, too.
        self.cores = map.places().map(|addr| LedSlots { addr, ranges: Vec::new() }).collect();
        self.places = self.cores.iter().enumerate().map(|(idx, core)| (core.addr, idx)).collect();
        for group in &map.groups {
            let Some(leader) = leaders.leader_of(group.id) else { continue };
            if !leader.is_known {
                self.leaderless_slots_count += group.slots.iter().map(|range| range.count()).sum::<usize>();
            }
            // A group whose leader is not known right now is shown where it was last led: clients need all slots
            // covered, and are corrected by MOVED.
            if let Some(idx) = self.places.get(&leader.addr) {
                self.cores[*idx].ranges.extend(group.slots.iter().map(|range| (range.first, range.last)));
            }
        }
        self.cores.iter_mut().for_each(|core| join(&mut core.ranges));
        true
    }

    /// Every core of the cluster with what it leads.
    pub(crate) fn cores(&self) -> &[LedSlots] {
        &self.cores
    }

    /// Slots whose group has no known leader.
    pub(crate) fn leaderless_slots_count(&self) -> usize {
        self.leaderless_slots_count
    }

    /// Slots whose group has a known leader.
    pub(crate) fn led_slots_count(&self) -> usize {
        SLOTS_COUNT - self.leaderless_slots_count
    }
}

/// Sorts ranges and joins neighbours.
fn join(ranges: &mut Vec<(u16, u16)>) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = last.1.checked_add(1) == Some(next.0);
        if joins {
            last.1 = next.1;
        }
        joins
    });
}
