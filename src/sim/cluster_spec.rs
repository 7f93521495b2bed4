//! The shape of a run's cluster, as its seed decides it: how many nodes, groups and clients, and how much of everything.

use std::time::Duration;

use meta::ReadMode;

use crate::mesh::MESH_COUNT_MAX;
use crate::prng::{Ppm, Prng};

/// Number of a node, from 1.
pub type NodeNumber = u32;

/// What a run has an unusual amount of. Few runs have, since they take long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// Nothing.
    Usual,
    /// Groups: hundreds on each core, and fewer clients.
    ManyGroups,
    /// Values of up to 8 MiB, and few of them.
    LargeValues,
    /// Data, for the little memory that its cores have.
    SmallMemory,
}

/// Whether there are hostile clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hostility {
    /// There are none.
    None,
    /// There are, and the faults of the run besides.
    BesideFaults,
    /// There are, and no faults: then every command of others must be answered soon.
    WithoutFaults,
}

/// In how many of a thousand seeds there are hostile clients beside faults, and without any.
const HOSTILE_BESIDE_FAULTS_PER_MILLE: u64 = 50;
const HOSTILE_WITHOUT_FAULTS_PER_MILLE: u64 = 50;
/// In how many of a thousand seeds there are many groups, large values, and little memory.
const MANY_GROUPS_PER_MILLE: u64 = 10;
const LARGE_VALUES_PER_MILLE: u64 = 30;
const SMALL_MEMORY_PER_MILLE: u64 = 60;
/// How much shorter runs with many groups are.
const MANY_GROUPS_SHORTER: u32 = 4;
/// Memory of a core, in bytes: more than any run fills, and what runs with little of it have.
const MEMORY_BYTES_MAX: usize = 1 << 30;
const SMALL_MEMORY_BYTES: [usize; 3] = [320 << 10, 400 << 10, 512 << 10];

/// The cluster a seed gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSpec {
    /// How many nodes: 1, 3 or 5; one more where replicas move between them.
    pub nodes: u32,
    /// Machines beside those of the nodes, on which new nodes may join.
    pub spares: u32,
    /// How many replicas each group has at most: on every node one, unless some are kept free for replicas to move there.
    pub replicas: u32,
    /// Cores of each.
    pub cores: u16,
    /// Groups that own slots.
    pub groups: usize,
    /// What it has an unusual amount of.
    pub load: Load,
    /// Whether there are hostile clients.
    pub hostility: Hostility,
    /// How reads are answered.
    pub read_mode: ReadMode,
    /// Nodes whose data at rest may be damaged: a minority.
    pub faulty_nodes: Vec<NodeNumber>,
    /// Heartbeat interval, shortest and longest election timeout, in milliseconds.
    pub timing_ms: (u32, u32, u32),
    /// The bound on drift the cluster is told.
    pub drift_ppm_max: Ppm,
    /// Length of a log segment, in bytes.
    pub segment_bytes: u64,
    /// A block is closed at this length, in bytes.
    pub block_bytes_max: usize,
    /// A batch is closed at this length, in bytes.
    pub batch_bytes_max: usize,
    /// Entries a group keeps in memory for slow followers, in bytes.
    pub cache_bytes_max: usize,
    /// Messages of one core that wait for another of the same node.
    pub mesh_count_max: usize,
    /// A group is flushed behind so much log of its own, in bytes.
    pub group_log_bytes_max: u64,
    /// Length of a core's log beyond which groups that pin its beginning are flushed early, in bytes.
    pub log_bytes_max: u64,
    /// Log kept behind a snapshot for slow followers, in bytes.
    pub log_tail_bytes_max: u64,
    /// Room on the disk that a core keeps for when that is full, in bytes.
    pub disk_reserve_bytes: u64,
    /// Memory of a core, in bytes.
    pub memory_bytes_max: usize,
    /// How often the replicas of each group are compared; `None` for never.
    pub compare_interval: Option<Duration>,
    /// From the start of one pass of the scrub to the next; `None` for never.
    pub scrub_interval: Option<Duration>,
    /// How fast it reads, in bytes per second.
    pub scrub_bytes_per_s: u64,
    /// How long an operator waits between two orders to move a replica or a leadership, on average; `None` if there is none.
    pub moves_pause: Option<Duration>,
    /// Whether operators ask things of nodes, too, and the planner makes loads alike.
    pub has_planner: bool,
    /// How long a node is silent before others take the places of its replicas.
    pub node_down_after: Duration,
}

/// In most seeds replicas are compared, in some of them all the time.
const COMPARE_INTERVALS: [Option<Duration>; 5] = [
    None,
    Some(Duration::from_millis(500)),
    Some(Duration::from_secs(2)),
    Some(Duration::from_secs(2)),
    Some(Duration::from_secs(8)),
];

/// In most seeds what lies at rest is scrubbed, in some of them all the time.
const SCRUB_INTERVALS: [Option<Duration>; 5] = [
    None,
    Some(Duration::from_millis(500)),
    Some(Duration::from_secs(2)),
    Some(Duration::from_secs(2)),
    Some(Duration::from_secs(8)),
];
/// In how many of a thousand seeds replicas move, and how often.
const MOVES_PER_MILLE: u64 = 400;
const MOVES_PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(600), Duration::from_secs(2)];
/// In how many of a thousand of these seeds the planner does more than is asked of it, and after how long nodes are down then.
const PLANNER_PER_MILLE: u64 = 700;
const NODES_DOWN_AFTER: [Duration; 3] =
    [Duration::from_millis(1_500), Duration::from_secs(3), engine::defaults::NODE_DOWN_AFTER];
/// So slowly that a pass meets much of what happens, and so fast that there are many.
const SCRUB_RATES: [u64; 3] = [256 << 10, 2 << 20, 64 << 20];

impl Hostility {
    fn of_seed(seed: u64) -> Hostility {
        let drawn = Prng::stream(seed, "hostility").below(1_000);
        if drawn < HOSTILE_BESIDE_FAULTS_PER_MILLE {
            Hostility::BesideFaults
        } else if drawn < HOSTILE_BESIDE_FAULTS_PER_MILLE + HOSTILE_WITHOUT_FAULTS_PER_MILLE {
            Hostility::WithoutFaults
        } else {
            Hostility::None
        }
    }
}

impl ClusterSpec {
    /// The shape of a seed's cluster, of which every node has a replica of each group. Runs let replicas move as well.
    pub fn of_seed(seed: u64) -> ClusterSpec {
        let mut prng = Prng::stream(seed, "shape");
        let nodes = prng.pick(&[1, 3, 3, 3, 3, 3, 5]);
        let first = prng.range(1, u64::from(nodes)) as NodeNumber;
        let faulty_count = prng.range(0, u64::from((nodes - 1) / 2)) as u32;
        let faulty_nodes = (0..faulty_count).map(|next| (first + next - 1) % nodes + 1).collect();
        let cluster_spec = ClusterSpec {
            nodes,
            spares: Prng::stream(seed, "spares").pick(&[0, 0, 1]),
            replicas: 5,
            cores: prng.pick(&[1, 1, 2]),
            groups: prng.pick(&[1, 2, 3, 8]),
            load: Load::Usual,
            hostility: Hostility::of_seed(seed),
            read_mode: prng.pick(&[ReadMode::Lease, ReadMode::Lease, ReadMode::ReadIndex]),
            faulty_nodes,
            timing_ms: prng.pick(&[(50, 500, 1_000), (20, 150, 300), (100, 600, 1_500)]),
            drift_ppm_max: 0,
            segment_bytes: prng.pick(&[256 << 10, 1 << 20, 4 << 20]),
            block_bytes_max: prng.pick(&[16 << 10, 64 << 10, 256 << 10]),
            batch_bytes_max: prng.pick(&[1 << 10, 16 << 10, 1 << 20]),
            cache_bytes_max: prng.pick(&[4 << 10, 64 << 10, 8 << 20]),
            mesh_count_max: MESH_COUNT_MAX,
            group_log_bytes_max: prng.pick(&[16 << 10, 64 << 10, 256 << 10, 64 << 20]),
            log_bytes_max: prng.pick(&[512 << 10, 4 << 20, 1 << 30]),
            log_tail_bytes_max: prng.pick(&[0, 4 << 10, 64 << 10]),
            disk_reserve_bytes: Prng::stream(seed, "reserves").pick(&[0, 256 << 10, 1 << 20]),
            memory_bytes_max: MEMORY_BYTES_MAX,
            compare_interval: Prng::stream(seed, "comparisons").pick(&COMPARE_INTERVALS),
            scrub_interval: Prng::stream(seed, "scrubs").pick(&SCRUB_INTERVALS),
            scrub_bytes_per_s: Prng::stream(seed, "scrub rates").pick(&SCRUB_RATES),
            moves_pause: None,
            has_planner: false,
            node_down_after: engine::defaults::NODE_DOWN_AFTER,
        };
        // With the usual bound an election takes longer than clocks part meanwhile, and nobody would see a lease that lasts too
        // long.
        let drift_ppm_max = prng.pick(&[10_000, 200_000]);
        let mesh_count_max = prng.pick(&[2, 16, MESH_COUNT_MAX]);
        ClusterSpec { drift_ppm_max, mesh_count_max, ..cluster_spec }.with_load(seed)
    }

    /// Has replicas move if the seed wants that: three of each group on more nodes, or one on the cores of a single node.
    pub fn with_moves(self, seed: u64) -> ClusterSpec {
        let mut prng = Prng::stream(seed, "moves");
        if self.load == Load::ManyGroups || prng.below(1_000) >= MOVES_PER_MILLE {
            return self;
        }
        // So group 0, which has up to five replicas, moves as well.
        let nodes = if self.nodes == 1 { 1 } else { self.nodes + 1 };
        let replicas = nodes.min(3);
        let cores = if nodes == 1 { 2 } else { self.cores };
        // Of no group more than a minority.
        let faulty_nodes = self.faulty_nodes.into_iter().take((replicas as usize - 1) / 2).collect();
        let moves_pause = Some(prng.pick(&MOVES_PAUSES));
        ClusterSpec { nodes, replicas, cores, faulty_nodes, moves_pause, ..self }.with_planner(seed)
    }

    /// Has the planner do more than is asked of it, in most of the seeds in which replicas move.
    fn with_planner(self, seed: u64) -> ClusterSpec {
        let mut prng = Prng::stream(seed, "planner");
        if prng.below(1_000) >= PLANNER_PER_MILLE {
            return self;
        }
        ClusterSpec { has_planner: true, node_down_after: prng.pick(&NODES_DOWN_AFTER), ..self }
    }

    /// Changes it where the seed gives it an unusual load.
    fn with_load(self, seed: u64) -> ClusterSpec {
        let mut prng = Prng::stream(seed, "load");
        let drawn = prng.below(1_000);
        if drawn < MANY_GROUPS_PER_MILLE {
            return self.with_many_groups(prng.range(200, 500) as usize);
        }
        if drawn < MANY_GROUPS_PER_MILLE + LARGE_VALUES_PER_MILLE {
            return self.with_large_values();
        }
        if drawn < MANY_GROUPS_PER_MILLE + LARGE_VALUES_PER_MILLE + SMALL_MEMORY_PER_MILLE {
            return self.with_small_memory(prng.pick(&SMALL_MEMORY_BYTES));
        }
        self
    }

    /// The same with this number of groups on three nodes of one core.
    pub fn with_many_groups(self, groups: usize) -> ClusterSpec {
        let (nodes, replicas, faulty_nodes) =
            (3, 3, self.faulty_nodes.into_iter().filter(|node| *node <= 3).take(1).collect());
        ClusterSpec {
            load: Load::ManyGroups,
            hostility: Hostility::None,
            nodes,
            replicas,
            cores: 1,
            groups,
            faulty_nodes,
            timing_ms: (100, 600, 1_500),
            segment_bytes: 4 << 20,
            ..self
        }
    }

    /// The same with values of any length up to the longest.
    pub fn with_large_values(self) -> ClusterSpec {
        ClusterSpec {
            load: Load::LargeValues,
            groups: self.groups.min(2),
            segment_bytes: 64 << 20,
            group_log_bytes_max: self.group_log_bytes_max.max(16 << 20),
            log_bytes_max: 1 << 30,
            ..self
        }
    }

    /// The same with this much memory for each core. What is kept for followers leaves most of it to keys.
    pub fn with_small_memory(self, memory_bytes_max: usize) -> ClusterSpec {
        let groups = self.groups.min(3);
        ClusterSpec {
            load: Load::SmallMemory,
            // What one hostile client is answered may be more than all of it.
            hostility: Hostility::None,
            groups,
            cache_bytes_max: self.cache_bytes_max.min(memory_bytes_max / 16 / groups),
            memory_bytes_max,
            ..self
        }
    }

    /// For how long a run of it is busy, if it would usually be so long.
    pub(crate) fn busy(&self, usual: Duration) -> Duration {
        if self.load == Load::ManyGroups { usual / MANY_GROUPS_SHORTER } else { usual }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_seeds_have_an_unusual_load() {
        let loads: Vec<Load> = (0..2_000).map(|seed| ClusterSpec::of_seed(seed).load).collect();
        let count = |load| loads.iter().filter(|other| **other == load).count();
        assert!((10..40).contains(&count(Load::ManyGroups)), "{}", count(Load::ManyGroups));
        assert!((30..100).contains(&count(Load::LargeValues)), "{}", count(Load::LargeValues));
        assert!((80..180).contains(&count(Load::SmallMemory)), "{}", count(Load::SmallMemory));
    }
}
