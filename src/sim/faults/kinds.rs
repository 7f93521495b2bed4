//! Every kind of fault, one row each: what it does, what it is called, what it takes to happen, and how often a seed draws it.

use serde::{Deserialize, Serialize};

use super::leader_fault::LeaderFault;
use super::moment::Moment;
use crate::cluster_spec::NodeNumber;
use crate::prng::Ppm;

/// What a run must have for a fault to make sense in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: any cluster.
    Anything,
    /// More than one node.
    Peers,
    /// Nodes whose data at rest may be damaged.
    FaultyNodes,
}

/// What there is to know of a kind of fault.
#[derive(Clone, Copy, Debug)]
pub struct FaultRow {
    /// The kind.
    pub kind: FaultKind,
    /// What it is called in reports.
    pub name: &'static str,
    /// What it does, as a sentence.
    pub help: &'static str,
    /// How often it is drawn among the kinds of a run, in relation to their weights.
    pub weight: u32,
    /// What it takes.
    pub needs: Needs,
}

/// Makes the enum of faults, that of their kinds, and the table, from one row for each kind.
macro_rules! faults {
    ($(#[doc = $help:literal] $kind:ident { $($field:ident: $type:ty),* $(,)? } = $name:literal, weight $weight:literal, $needs:ident;)+) => {
        /// Something that goes wrong. Times are true time, in milliseconds unless the name says otherwise.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case", tag = "kind")]
        #[expect(missing_docs, reason = "nodes are numbers from 1, and every other field is named in the text of its fault")]
        pub enum Fault {
            $(#[doc = $help] $kind { $($field: $type),* },)+
        }

        /// The kind of a [`Fault`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum FaultKind {
            $(#[doc = $help] $kind,)+
        }

        /// All kinds, in the order of [`FaultKind`].
        pub const FAULTS: &[FaultRow] = &[
            $(FaultRow {
                kind: FaultKind::$kind,
                name: $name,
                help: $help,
                weight: $weight,
                needs: Needs::$needs,
            },)+
        ];

        impl Fault {
            /// Its kind.
            pub fn kind(&self) -> FaultKind {
                match self {
                    $(Fault::$kind { .. } => FaultKind::$kind,)+
                }
            }
        }
    };
}

faults! {
    /// The process dies at once; what was not synced is lost, whole, or torn. It is started again later.
    Crash { node: NodeNumber, down_ms: u64 } = "crash", weight 10, Anything;
    /// All processes die at the same moment.
    CrashAll { down_ms: u64 } = "crash of all", weight 10, Anything;
    /// An orderly stop, and a start.
    Stop { node: NodeNumber, down_ms: u64 } = "stop", weight 10, Anything;
    /// The process stands still while time goes on.
    Pause { node: NodeNumber, for_ms: u64 } = "pause", weight 10, Anything;
    /// A turn of a node is stopped right behind one of its readings of the clock, and goes on later.
    StopBehindClock { node: NodeNumber, reading: u32, for_ms: u64 } = "stop behind the clock", weight 10, Anything;
    /// For some time, a node one of whose replicas comes to such a moment dies within some microseconds.
    CrashBehind { moment: Moment, within_us: u64, down_ms: u64, for_ms: u64 } = "crash behind a moment", weight 20, Anything;
    /// For some time, behind an election another node's disk is several times slower, and the node dies in the middle of a log write.
    CrashHalfWay { factor: u64, within_us: u64, down_ms: u64, for_ms: u64 } = "crash half way", weight 20, Peers;
    /// The wall clock of a node jumps.
    ClockJump { node: NodeNumber, by_ms: i64 } = "clock jump", weight 10, Anything;
    /// A node's clocks run at another pace from now on.
    Drift { node: NodeNumber, ppm: i64 } = "drift", weight 10, Anything;
    /// Nothing gets from one node to another, but everything the other way.
    CutOneWay { from: NodeNumber, to: NodeNumber, for_ms: u64 } = "one-way cut", weight 10, Peers;
    /// A side of nodes hears nothing of the others, nor they of it. Clients reach both.
    Partition { side: Vec<NodeNumber>, for_ms: u64 } = "partition", weight 10, Peers;
    /// Everything from one node to another takes longer, this much on average.
    Delay { from: NodeNumber, to: NodeNumber, mean_ms: u64, for_ms: u64 } = "delay", weight 10, Peers;
    /// The connections between two nodes are reset.
    Reset { a: NodeNumber, b: NodeNumber } = "reset", weight 10, Peers;
    /// For some time, a connection over which a core forwards a `FLUSHALL` is reset within some microseconds.
    ResetBehindFlush { within_us: u64, for_ms: u64 } = "reset behind a FLUSHALL", weight 20, Peers;
    /// Frames from one node to another are lost, repeated or overtaken, with these likelihoods in millionths.
    Corrupt { from: NodeNumber, to: NodeNumber, lose: Ppm, repeat: Ppm, reorder: Ppm, for_ms: u64 } = "corruption", weight 10, Peers;
    /// Connections of clients with a node are reset.
    ResetClients { node: NodeNumber } = "reset of clients", weight 10, Anything;
    /// Every disk operation of a node takes this many times as long.
    SlowDisk { node: NodeNumber, factor: u64, for_ms: u64 } = "slow disk", weight 10, Anything;
    /// The next write of a node's disk fails.
    WriteError { node: NodeNumber, restart_ms: u64 } = "write error", weight 10, Anything;
    /// Reads of a node's disk fail, each with this likelihood in millionths.
    ReadErrors { node: NodeNumber, likely: Ppm, for_ms: u64 } = "read errors", weight 10, Anything;
    /// Reads of a node's disk come back long after others that began later, each with this likelihood in millionths.
    StalledReads { node: NodeNumber, likely: Ppm, for_ms: u64 } = "stalled reads", weight 10, Anything;
    /// A node's disk has no room for new files.
    DiskFull { node: NodeNumber, for_ms: u64 } = "full disk", weight 10, Anything;
    /// Bits of a node's files flip while it is down: it crashes and is started again.
    BitRot { node: NodeNumber, flips: u32, down_ms: u64 } = "bit rot", weight 10, FaultyNodes;
    /// Bits of a node's files flip while it runs. Drawn by itself where what lies at rest is scrubbed.
    RotAtRest { node: NodeNumber, flips: u32 } = "rot at rest", weight 10, FaultyNodes;
    /// The next write of a node's disk is acknowledged and not carried out.
    LostWrite { node: NodeNumber } = "lost write", weight 10, FaultyNodes;
    /// The next write of a node's disk goes to another place of the file.
    MisdirectedWrite { node: NodeNumber } = "misdirected write", weight 10, FaultyNodes;
    /// A whole file of a node's log is gone while it is down.
    LostFile { node: NodeNumber, down_ms: u64 } = "lost file", weight 10, FaultyNodes;
    /// A new node joins, on a machine to spare. Drawn by itself where there is one.
    Join {} = "join", weight 10, Anything;
    /// The node that has joined is removed. Drawn by itself, too.
    Remove {} = "removal", weight 10, Anything;
    /// Whoever leads a group meets with a fault made for leaders.
    TargetLeader { group: u32, fault: LeaderFault } = "leader targeted", weight 10, Peers;
    /// For some time, whoever is elected to lead any group meets with a fault so soon after it.
    TargetNewLeaders { fault: Box<LeaderFault>, within_ms: u64, for_ms: u64 } = "new leaders targeted", weight 10, Peers;
}

impl FaultKind {
    /// Its row in [`FAULTS`].
    pub fn row(self) -> &'static FaultRow {
        &FAULTS[self as usize]
    }

    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether it may damage data that was durable.
    pub fn damages(self) -> bool {
        self.row().needs == Needs::FaultyNodes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_finds_its_own_row() {
        for row in FAULTS {
            assert_eq!(row.kind.row().name, row.name);
            assert!(row.weight > 0 && row.help.ends_with('.'), "{row:?}");
            assert_eq!(FAULTS.iter().filter(|other| other.name == row.name).count(), 1, "{row:?}");
        }
    }
}
