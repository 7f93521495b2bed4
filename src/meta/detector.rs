//! Which nodes are there: up, suspect, down.
//!
//! A node that is not heard for a moment is *suspect*: nothing new is given to it. It is *down*, and its replicas are replaced, only if
//! two witnesses agree for a whole [`Patience::node_down_after`]: the leader of group 0 has not heard it, or hears that its disk
//! has stopped; and the leaders of the groups that have replicas there say that they do not hear these. One that
//! says it does is enough against it. A node without replicas has no second witness and stays suspect; nothing is to be replaced there.
//!
//! The interval is that of one detector, and so of one leader of group 0: a new one waits for all of it, whatever the one before has
//! seen. A node that comes back after it was down is given twice as long the next time, and twice that the time after; after
//! it has been up for twice as long as it is given, half of that again.

use std::collections::BTreeMap;
use std::time::Duration;

use types::{Instant, NodeId};

use crate::map::ClusterMap;
use crate::reports::Reports;

/// A node is given at most `2^RETURNS_COUNT_MAX` times [`Patience::node_down_after`].
const RETURNS_COUNT_MAX: u32 = 6;

/// How long nodes may be silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// A node that was not heard for this long is suspect.
    pub suspect_after: Duration,
    /// One that is suspect for this long is down, if groups' leaders do not hear it either.
    pub node_down_after: Duration,
    /// A node is as good as not heard while a write to its log takes longer than this.
    pub write_stall_max: Duration,
    /// What a leader said of its group this long ago counts no more.
    pub report_age_max: Duration,
}

impl Default for Patience {
    fn default() -> Patience {
        Patience {
            suspect_after: Duration::from_secs(5),
            node_down_after: Duration::from_secs(600),
            write_stall_max: Duration::from_secs(10),
            report_age_max: Duration::from_secs(30),
        }
    }
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It is heard, and its disk writes.
    Up,
    /// It is not heard, or its disk does not write.
    Suspect {
        /// Since when.
        since: Instant,
        /// When it will be down, if groups' leaders do not hear it either until then.
        down_at: Instant,
    },
    /// Two witnesses have agreed for long enough.
    Down {
        /// Since when it is not heard.
        since: Instant,
    },
}

/// Watches the nodes of a cluster for one leader of group 0.
#[derive(Clone, Debug)]
pub struct Detector {
    patience: Patience,
    began_at: Instant,
    nodes: BTreeMap<NodeId, Record>,
}

#[derive(Clone, Copy, Debug)]
struct Record {
    health: Health,
    /// When it was last heard with a disk that writes, or the detector began.
    sound_at: Instant,
    /// When a leader of a group last said that it hears it, or the detector began.
    heard_by_group_at: Instant,
    /// How often it came back after it was down, less what was forgiven. Invariant: at most RETURNS_COUNT_MAX.
    returns_count: u32,
    /// When it last came back, or was last forgiven.
    returned_at: Instant,
}

/// What leaders of groups say of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Witnesses {
    hear_it: bool,
    miss_it: bool,
}

impl Detector {
    /// One that begins now, and has seen nothing yet: all nodes count as heard just now.
    pub fn new(patience: Patience, now: Instant) -> Detector {
        Detector { patience, began_at: now, nodes: BTreeMap::new() }
    }

    /// Looks at what was reported. To be called every second or so: a node that comes and goes between two calls was always there.
    pub fn look(&mut self, map: &ClusterMap, reports: &Reports, now: Instant) {
        let (patience, began_at) = (self.patience, self.began_at);
        self.nodes.retain(|id, _| map.node(*id).is_some());
        let witnesses = self.witnesses(reports, now);
        for node in &map.nodes {
            let fresh = Record {
                health: Health::Up,
                sound_at: began_at,
                heard_by_group_at: began_at,
                returns_count: 0,
                returned_at: began_at,
            };
            let record = self.nodes.entry(node.id).or_insert(fresh);
            if let Some(report) = reports.nodes.get(&node.id)
                && report.write_stalled_for <= patience.write_stall_max
            {
                record.sound_at = record.sound_at.max(report.heard_at);
            }
            record.judge_node(patience, witnesses.get(&node.id).copied().unwrap_or_default(), now);
        }
    }

    /// How a node is. One that was not looked at yet is up.
    pub fn health(&self, node: NodeId) -> Health {
        self.nodes.get(&node).map_or(Health::Up, |record| record.health)
    }

    /// How each node is.
    pub fn healths(&self) -> BTreeMap<NodeId, Health> {
        self.nodes.iter().map(|(id, record)| (*id, record.health)).collect()
    }

    fn witnesses(&self, reports: &Reports, now: Instant) -> BTreeMap<NodeId, Witnesses> {
        let mut witnesses: BTreeMap<NodeId, Witnesses> = BTreeMap::new();
        let is_fresh = |heard_at: Instant| now.since(heard_at) <= self.patience.report_age_max;
        for report in reports.groups.values().filter(|report| is_fresh(report.heard_at)) {
            for member in report.membership.members().filter(|member| member.id != report.leader) {
                let of_node = witnesses.entry(member.place.node).or_default();
                match report.hears(member.id) {
                    true => of_node.hear_it = true,
                    false => of_node.miss_it = true,
                }
            }
        }
        witnesses
    }
}

impl Record {
    fn judge_node(&mut self, patience: Patience, witnesses: Witnesses, now: Instant) {
        if witnesses.hear_it {
            self.heard_by_group_at = now;
        }
        let was_down = matches!(self.health, Health::Down { .. });
        if now.since(self.sound_at) < patience.suspect_after {
            if was_down {
                self.returns_count = (self.returns_count + 1).min(RETURNS_COUNT_MAX);
                self.returned_at = now;
            } else if self.returns_count > 0 && now.since(self.returned_at) >= 2 * self.down_after(patience) {
                self.returns_count -= 1;
                self.returned_at = now;
            }
            self.health = Health::Up;
            return;
        }
        let since = self.sound_at;
        let down_at = since.max(self.heard_by_group_at) + self.down_after(patience);
        // Once down it stays that until it is heard again: a leader of a group that changes its mind does not bring it back.
        let is_down = was_down || (now >= down_at && witnesses.miss_it);
        self.health = if is_down { Health::Down { since } } else { Health::Suspect { since, down_at } };
    }

    fn down_after(&self, patience: Patience) -> Duration {
        patience.node_down_after * (1 << self.returns_count)
    }
}

#[cfg(test)]
#[path = "detector_tests.rs"]
mod tests;
