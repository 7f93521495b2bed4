//! Where the replicas of a new group go.
//!
//! Greedy and deterministic: groups are placed one after the other, each replica where there is least so
//! far. First replicas (the preferred leaders) are counted by themselves, since leading is most of the work.

use std::collections::HashMap;

use types::{CoreAddr, CoreId, NodeId};

use crate::map::Node;

/// What has been placed on each core so far.
pub(crate) struct Load {
    nodes: Vec<NodeLoad>,
}

struct NodeLoad {
    id: NodeId,
    /// Nodes with equal numbers share a rack.
    rack: usize,
    cores: Vec<CoreLoad>,
    leaders: usize,
    replicas: usize,
    /// How often each node (by index) follows a leader placed here: what this node's death hands to it.
    followed_by: Vec<u32>,
}

#[derive(Clone, Copy, Default)]
struct CoreLoad {
    leaders: usize,
    replicas: usize,
}

impl Load {
    /// Nothing placed yet. Invariant: nodes are sorted by id and each has at least one core.
    pub(crate) fn new(nodes: &[Node]) -> Load {
        let racks = rack_numbers(nodes);
        let load_of = |(node, rack): (&Node, usize)| NodeLoad {
            id: node.id,
            rack,
            cores: vec![CoreLoad::default(); usize::from(node.cores)],
            leaders: 0,
            replicas: 0,
            followed_by: vec![0; nodes.len()],
        };
        Load { nodes: nodes.iter().zip(racks).map(load_of).collect() }
    }

    /// Chooses `replicas_count` cores of different nodes for a group, the preferred leader's first.
    /// Invariant: `1 <= replicas_count <= nodes`.
    pub(crate) fn place_group(&mut self, replicas_count: usize) -> Vec<CoreAddr> {
        assert!(replicas_count >= 1 && replicas_count <= self.nodes.len());
        let leader_idx = self.least(|_, node| (node.leaders_key(), node.replicas_key()));
        let mut chosen = vec![leader_idx];
        while chosen.len() < replicas_count {
            let next = self.least(|idx, node| {
                let taken = chosen.contains(&idx);
                let same_rack = chosen.iter().filter(|other| self.nodes[**other].rack == node.rack).count();
                let followed = self.nodes[leader_idx].followed_by[idx];
                (taken, same_rack, node.replicas_key(), followed)
            });
            chosen.push(next);
        }
        for idx in &chosen[1..] {
            self.nodes[leader_idx].followed_by[*idx] += 1;
        }
        let mut place = |(nth, idx): (usize, usize)| self.nodes[idx].add(nth == 0);
        chosen.into_iter().enumerate().map(&mut place).collect()
    }

    /// The node with the least key, the first of those.
    fn least<K: Ord>(&self, key: impl Fn(usize, &NodeLoad) -> K) -> usize {
        let nodes = self.nodes.iter().enumerate();
        let (idx, _) = nodes.min_by_key(|(idx, node)| key(*idx, node)).expect("a cluster has at least one node");
        idx
    }
}

impl NodeLoad {
    fn leaders_key(&self) -> (usize, usize) {
        self.key(self.leaders)
    }

    fn replicas_key(&self) -> (usize, usize) {
        self.key(self.replicas)
    }

    /// Orders nodes by what their least loaded core carries, then by how many such cores are left in
    /// proportion: so a node with twice the cores gets twice the groups.
    fn key(&self, count: usize) -> (usize, usize) {
        const SCALE: usize = 1 << 20;
        (count / self.cores.len(), count % self.cores.len() * SCALE / self.cores.len())
    }

    fn add(&mut self, leads: bool) -> CoreAddr {
        let by_load = |core: &CoreLoad| {
            let followers = core.replicas - core.leaders;
            if leads { (core.leaders, core.replicas) } else { (core.replicas, followers) }
        };
        let cores = self.cores.iter_mut().enumerate();
        let (idx, core) = cores.min_by_key(|(_, core)| by_load(core)).expect("a node has at least one core");
        core.replicas += 1;
        self.replicas += 1;
        if leads {
            core.leaders += 1;
            self.leaders += 1;
        }
        CoreAddr { node: self.id, core: CoreId(u16::try_from(idx).expect("at most CORES_COUNT_MAX cores")) }
    }
}

/// Up to `count_max` nodes, as many racks as possible among them, those with low ids first. Sorted by id.
pub(crate) fn spread_nodes(nodes: &[Node], count_max: usize) -> Vec<NodeId> {
    let racks = rack_numbers(nodes);
    let mut in_rack: HashMap<usize, usize> = HashMap::new();
    let mut ranked = Vec::with_capacity(nodes.len());
    for (node, rack) in nodes.iter().zip(racks) {
        let nth_of_rack = in_rack.entry(rack).or_default();
        ranked.push((*nth_of_rack, node.id));
        *nth_of_rack += 1;
    }
    ranked.sort();
    let mut chosen: Vec<NodeId> = ranked.into_iter().take(count_max).map(|(_, id)| id).collect();
    chosen.sort();
    chosen
}

/// A number per node, equal for nodes of one rack. A node without a rack is a rack of its own.
pub(crate) fn rack_numbers(nodes: &[Node]) -> Vec<usize> {
    let mut first_of: HashMap<&str, usize> = HashMap::new();
    let mut numbers = Vec::with_capacity(nodes.len());
    for (idx, node) in nodes.iter().enumerate() {
        numbers.push(node.rack.as_deref().map_or(idx, |rack| *first_of.entry(rack).or_insert(idx)));
    }
    numbers
}
