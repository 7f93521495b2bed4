//! A node: a machine with its clocks and its disk, and a process while there is one.

use std::net::IpAddr;
use std::ops::Range;

use meta::ClusterMap;
use types::NodeId;

use super::stopped_turn::StopOrder;
use crate::clock::NodeClock;
use crate::disk::NodeDisk;
use crate::prng::Ppm;

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeState {
    /// Its process runs.
    Up,
    /// Its process has ended; the machine still answers that nobody is there.
    Down,
    /// The whole machine is dark.
    Dark,
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The process alone: its machine answers for it.
    Process,
    /// The machine: it falls silent.
    Machine,
}

/// A node: a machine with its clocks and its disk, and a process while there is one.
pub struct Node {
    /// Its number in the cluster. A machine that joins again has another one.
    pub id: NodeId,
    /// The map on which it starts; `None` for a machine that is no part of the cluster.
    pub latest_map: Option<ClusterMap>,
    /// Whether an operator removes it, and whether it has ended since it has heard so.
    pub(crate) is_leaving: bool,
    pub(crate) is_told_removed: bool,
    /// How it stands.
    pub state: NodeState,
    /// Whether the process stands still.
    pub is_paused: bool,
    /// Number of its process, growing.
    pub epoch: u32,
    /// Its address.
    pub host: IpAddr,
    /// Its clocks.
    pub clock: NodeClock,
    /// Its disk.
    pub disk: NodeDisk,
    /// How long a disk operation takes at least, and what is added on average, in nanoseconds.
    pub disk_latency: (u64, u64),
    /// How likely a read fails.
    pub read_errors: Ppm,
    /// How likely a read that is not of the log stands still for a while.
    pub stalled_reads: Ppm,
    /// Tasks that would run if it did not stand still.
    pub(crate) owed_tasks: Vec<u32>,
    /// Index of its first core.
    pub first_core: usize,
    /// How many cores it has.
    pub cores_count: usize,
    /// Cores of its process that have ended well.
    pub(crate) cores_ended: usize,
    /// Drawn when its data directory was made.
    pub incarnation: u64,
    /// Whether it has lost its data and come back.
    pub has_come_back: bool,
    /// How often its process has ended by itself with an error since the last deliberate start.
    pub failures: u32,
    /// When it ends by itself: how long it stays down, in nanoseconds.
    pub(crate) restart_after: Option<u64>,
    /// Its next turn is to be stopped.
    pub(crate) stop_order: Option<StopOrder>,
    /// Whether its process dies in the middle of a log write, and how many more come before that one.
    pub(crate) dies_writing: Option<u32>,
    /// Whether its process dies in the middle of a disk operation, of whatever kind, and how many more come before that one.
    pub dies_operating: Option<u32>,
    /// Whether its disk has lost or changed something that it had called durable.
    pub is_damaged: bool,
    /// When its disk last lost or changed something while its process ran, in nanoseconds.
    pub(crate) damaged_at: u64,
    /// Whether its disk has failed a request of its process.
    pub has_disk_failed: bool,
    /// Whether a replica of its process stays away because of what its disk holds.
    pub has_quarantined: bool,
}

impl Node {
    /// A machine on which nothing has run yet. Its cores are `cores`, of all nodes' cores.
    pub(crate) fn new(id: NodeId, host: IpAddr, cores: Range<usize>, clock: NodeClock, disk: NodeDisk) -> Node {
        Node {
            id,
            latest_map: None,
            is_leaving: false,
            is_told_removed: false,
            state: NodeState::Down,
            is_paused: false,
            epoch: 0,
            host,
            clock,
            disk,
            disk_latency: (0, 0),
            read_errors: 0,
            stalled_reads: 0,
            owed_tasks: Vec::new(),
            first_core: cores.start,
            cores_count: cores.len(),
            cores_ended: 0,
            incarnation: 0,
            has_come_back: false,
            failures: 0,
            restart_after: None,
            stop_order: None,
            dies_writing: None,
            dies_operating: None,
            is_damaged: false,
            damaged_at: 0,
            has_disk_failed: false,
            has_quarantined: false,
        }
    }

    /// The indices of its cores.
    pub(crate) fn cores(&self) -> Range<usize> {
        self.first_core..self.first_core + self.cores_count
    }
}
