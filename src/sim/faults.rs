//! What goes wrong in a run, as plain data, and how a seed decides it.
//!
//! The fault model: nodes crash and come back, with any part of what was not synced lost or torn; networks lose, delay,
//! repeat, reorder and cut; clocks step, and drift within the bound the cluster was told; disks fail, fill up, slow down
//! and rot, as long as each committed entry keeps one sound durable copy in a reachable majority. [`Schedule::generate`]
//! stays within it: what damages data at rest befalls only [`ClusterSpec::faulty_nodes`], a minority of the nodes chosen once for
//! the whole run.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::leader_faults::{LeaderFault, any_leader_fault, simple_leader_fault};
use crate::prng::{Ppm, Prng};
use crate::spec::ClusterSpec;

/// Number of a node, from 1.
pub type NodeNumber = u32;

/// Something that goes wrong. Times are true time, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
#[expect(missing_docs, reason = "nodes are numbers from 1, and every other field is named in the text of its fault")]
pub enum Fault {
    /// The process dies at once; what was not synced is lost, whole, or torn. It is started again later.
    Crash { node: NodeNumber, down_ms: u64 },
    /// All processes die at the same moment.
    CrashAll { down_ms: u64 },
    /// An orderly stop, and a start.
    Stop { node: NodeNumber, down_ms: u64 },
    /// The process stands still while time goes on.
    Pause { node: NodeNumber, for_ms: u64 },
    /// The wall clock of a node jumps.
    ClockJump { node: NodeNumber, by_ms: i64 },
    /// A node's clocks run at another pace from now on.
    Drift { node: NodeNumber, ppm: i64 },
    /// Nothing gets from one node to another, but everything the other way.
    CutOneWay { from: NodeNumber, to: NodeNumber, for_ms: u64 },
    /// A side of nodes hears nothing of the others, nor they of it. Clients reach both.
    Partition { side: Vec<NodeNumber>, for_ms: u64 },
    /// Everything from one node to another takes longer, this much on average.
    Delay { from: NodeNumber, to: NodeNumber, mean_ms: u64, for_ms: u64 },
    /// The connections between two nodes are reset.
    Reset { a: NodeNumber, b: NodeNumber },
    /// Frames from one node to another are lost, repeated or overtaken, with these likelihoods in millionths.
    Corrupt { from: NodeNumber, to: NodeNumber, lose: Ppm, repeat: Ppm, reorder: Ppm, for_ms: u64 },
    /// Connections of clients with a node are reset.
    ResetClients { node: NodeNumber },
    /// Every disk operation of a node takes this many times as long.
    SlowDisk { node: NodeNumber, factor: u64, for_ms: u64 },
    /// The next write of a node's disk fails.
    WriteError { node: NodeNumber, restart_ms: u64 },
    /// Reads of a node's disk fail, each with this likelihood in millionths.
    ReadErrors { node: NodeNumber, likely: Ppm, for_ms: u64 },
    /// A node's disk has no room for new files.
    DiskFull { node: NodeNumber, for_ms: u64 },
    /// Bits of a node's files flip while it is down: it crashes and is started again.
    BitRot { node: NodeNumber, flips: u32, down_ms: u64 },
    /// The next write of a node's disk is acknowledged and not carried out.
    LostWrite { node: NodeNumber },
    /// The next write of a node's disk goes to another place of the file.
    MisdirectedWrite { node: NodeNumber },
    /// A whole file of a node's log is gone while it is down.
    LostFile { node: NodeNumber, down_ms: u64 },
    /// Whoever leads a group is struck.
    TargetLeader { group: u32, leader_fault: LeaderFault },
    /// For some time, whoever is elected to lead any group is struck so soon after it.
    TargetNewLeaders { leader_fault: Box<LeaderFault>, within_ms: u64, for_ms: u64 },
}

/// Every name [`Fault::name`] gives, for reports.
pub const NAMES: &[&str] = &[
    "crash",
    "crash of all",
    "stop",
    "pause",
    "clock jump",
    "drift",
    "one-way cut",
    "partition",
    "delay",
    "reset",
    "corruption",
    "reset of clients",
    "slow disk",
    "write error",
    "read errors",
    "full disk",
    "bit rot",
    "lost write",
    "misdirected write",
    "lost file",
    "leader struck",
    "leaders hunted",
];

impl Fault {
    /// What it is called in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Crash { .. } => "crash",
            Fault::CrashAll { .. } => "crash of all",
            Fault::Stop { .. } => "stop",
            Fault::Pause { .. } => "pause",
            Fault::ClockJump { .. } => "clock jump",
            Fault::Drift { .. } => "drift",
            Fault::CutOneWay { .. } => "one-way cut",
            Fault::Partition { .. } => "partition",
            Fault::Delay { .. } => "delay",
            Fault::Reset { .. } => "reset",
            Fault::Corrupt { .. } => "corruption",
            Fault::ResetClients { .. } => "reset of clients",
            Fault::SlowDisk { .. } => "slow disk",
            Fault::WriteError { .. } => "write error",
            Fault::ReadErrors { .. } => "read errors",
            Fault::DiskFull { .. } => "full disk",
            Fault::BitRot { .. } => "bit rot",
            Fault::LostWrite { .. } => "lost write",
            Fault::MisdirectedWrite { .. } => "misdirected write",
            Fault::LostFile { .. } => "lost file",
            Fault::TargetLeader { .. } => "leader struck",
            Fault::TargetNewLeaders { .. } => "leaders hunted",
        }
    }

    /// Whether it may damage data that was durable.
    pub fn damages(&self) -> bool {
        matches!(
            self,
            Fault::BitRot { .. } | Fault::LostWrite { .. } | Fault::MisdirectedWrite { .. } | Fault::LostFile { .. }
        )
    }
}

/// A fault and when it happens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timed {
    /// True time since the start of the run, in milliseconds.
    pub at_ms: u64,
    /// What happens.
    #[serde(flatten)]
    pub fault: Fault,
}

/// Everything that goes wrong in a run, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// The faults.
    pub faults: Vec<Timed>,
}

/// Faults begin only once the cluster has had this long to elect its first leaders.
const QUIET_START_MS: u64 = 500;
/// The longest that an effect with a duration is drawn for, most of the time.
const SHORT_MS: u64 = 1_500;
const LONG_MS: u64 = 6_000;
/// How likely a run is about what befalls leaders, and little else.
const ABOUT_LEADERS_PPM: Ppm = 350_000;
/// From this factor on a disk stands still rather than works, and does so for a short time only.
pub(crate) const STALL_FACTOR: u64 = 1_000;

impl Schedule {
    /// The faults of a seed. They begin after a quiet start and none begins after `end`.
    pub fn generate(seed: u64, cluster_spec: &ClusterSpec, end: Duration) -> Schedule {
        let mut prng = Prng::stream(seed, "faults");
        let end_ms = end.as_millis() as u64;
        // What breaks when leaders are lost needs times of peace in between, in which something is written.
        let is_about_leaders = cluster_spec.nodes > 1 && prng.bernoulli(ABOUT_LEADERS_PPM);
        // A run concentrates on a few kinds, so that each is also seen without all the others.
        let kinds = if is_about_leaders { leader_kinds(&mut prng) } else { kinds_of_run(&mut prng, cluster_spec) };
        let mut faults = Vec::new();
        // Between hardly any and several a second.
        let mean_gap_ms =
            if is_about_leaders { prng.pick(&[500, 1_000, 2_000]) } else { prng.pick(&[150, 400, 1_000, 3_000]) };
        let mut at_ms = QUIET_START_MS;
        loop {
            at_ms += prng.range(1, 2 * mean_gap_ms);
            if at_ms >= end_ms || kinds.is_empty() {
                return Schedule { faults };
            }
            let kind = prng.pick(&kinds);
            faults.extend(draw(kind, &mut prng, cluster_spec).map(|fault| Timed { at_ms, fault }));
        }
    }

    /// One fault per line, as JSON.
    pub fn to_lines(&self) -> String {
        let line = |timed: &Timed| serde_json::to_string(timed).expect("plain data has a form in JSON") + "\n";
        self.faults.iter().map(line).collect()
    }

    /// Reads what [`Schedule::to_lines`] has written.
    ///
    /// # Errors
    /// Says which line is wrong and why.
    pub fn from_lines(text: &str) -> Result<Schedule, String> {
        let mut faults: Vec<Timed> = Vec::new();
        for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let timed = serde_json::from_str(line).map_err(|error| format!("line {}: {error}", number + 1))?;
            faults.push(timed);
        }
        faults.sort_by_key(|timed| timed.at_ms);
        Ok(Schedule { faults })
    }
}

/// The kinds of a run about leaders: blows to them, and what decides how these turn out.
fn leader_kinds(prng: &mut Prng) -> Vec<usize> {
    let always = ["leader struck"];
    let sometimes = ["leader struck", "leaders hunted", "slow disk", "drift", "delay", "corruption", "stop"];
    let mut names = always.to_vec();
    names.extend(sometimes.iter().filter(|_| prng.bernoulli(400_000)));
    names.iter().filter_map(|name| NAMES.iter().position(|other| other == name)).collect()
}

/// The kinds a run draws from, by their place in [`NAMES`].
fn kinds_of_run(prng: &mut Prng, cluster_spec: &ClusterSpec) -> Vec<usize> {
    let likely = prng.pick(&[100_000, 300_000, 600_000]);
    let mut kinds: Vec<usize> = (0..NAMES.len()).filter(|_| prng.bernoulli(likely)).collect();
    if cluster_spec.nodes == 1 {
        let between_nodes =
            ["one-way cut", "partition", "delay", "reset", "corruption", "leader struck", "leaders hunted"];
        kinds.retain(|kind| !between_nodes.contains(&NAMES[*kind]));
    }
    if cluster_spec.faulty_nodes.is_empty() {
        let damaging = ["bit rot", "lost write", "misdirected write", "lost file"];
        kinds.retain(|kind| !damaging.contains(&NAMES[*kind]));
    }
    kinds
}

fn lasting(prng: &mut Prng) -> u64 {
    if prng.bernoulli(200_000) { prng.range(1, LONG_MS) } else { prng.range(1, SHORT_MS) }
}

fn draw(kind: usize, prng: &mut Prng, cluster_spec: &ClusterSpec) -> Option<Fault> {
    let node = prng.range(1, u64::from(cluster_spec.nodes)) as NodeNumber;
    let other = if cluster_spec.nodes > 1 {
        (node - 1 + prng.range(1, u64::from(cluster_spec.nodes) - 1) as NodeNumber) % cluster_spec.nodes + 1
    } else {
        node
    };
    let faulty =
        if cluster_spec.faulty_nodes.is_empty() { None } else { Some(prng.pick(&cluster_spec.faulty_nodes)) };
    let for_ms = lasting(prng);
    let likely = |prng: &mut Prng| prng.pick(&[0, 10_000, 100_000, 400_000]);
    Some(match NAMES[kind] {
        "crash" => Fault::Crash { node, down_ms: for_ms },
        "crash of all" => Fault::CrashAll { down_ms: for_ms },
        "stop" => Fault::Stop { node, down_ms: for_ms },
        "pause" => Fault::Pause { node, for_ms },
        "clock jump" => Fault::ClockJump { node, by_ms: prng.range(0, 20_000) as i64 - 10_000 },
        "drift" => {
            // At the bound as often as anywhere below it: two clocks may then part as fast as they may at all.
            let bound = i64::from(cluster_spec.drift_ppm_max) / 2;
            let between = prng.range(0, 2 * bound as u64) as i64 - bound;
            Fault::Drift { node, ppm: prng.pick(&[between, between, -bound, bound]) }
        }
        "one-way cut" => Fault::CutOneWay { from: node, to: other, for_ms },
        "partition" => {
            let side: Vec<NodeNumber> = (1..=cluster_spec.nodes).filter(|_| prng.bernoulli(500_000)).collect();
            if side.is_empty() || side.len() == cluster_spec.nodes as usize {
                Fault::Partition { side: vec![node], for_ms }
            } else {
                Fault::Partition { side, for_ms }
            }
        }
        "delay" => Fault::Delay { from: node, to: other, mean_ms: prng.range(1, 400), for_ms },
        "reset" => Fault::Reset { a: node, b: other },
        "corruption" => Fault::Corrupt {
            from: node,
            to: other,
            lose: likely(prng),
            repeat: likely(prng),
            reorder: likely(prng),
            for_ms,
        },
        "reset of clients" => Fault::ResetClients { node },
        "slow disk" => {
            let factor = prng.pick(&[3, 10, 100, STALL_FACTOR]);
            Fault::SlowDisk {
                node,
                factor,
                for_ms: if factor >= STALL_FACTOR { for_ms.min(SHORT_MS) } else { for_ms },
            }
        }
        "write error" => Fault::WriteError { node, restart_ms: for_ms },
        "read errors" => Fault::ReadErrors { node, likely: prng.pick(&[10_000, 300_000]), for_ms },
        "full disk" => Fault::DiskFull { node, for_ms },
        "bit rot" => Fault::BitRot { node: faulty?, flips: prng.range(1, 3) as u32, down_ms: for_ms },
        "lost write" => Fault::LostWrite { node: faulty? },
        "misdirected write" => Fault::MisdirectedWrite { node: faulty? },
        "lost file" => Fault::LostFile { node: faulty?, down_ms: for_ms },
        "leader struck" => {
            // Group 0 has no keys.
            let group = prng.range(1, cluster_spec.groups as u64) as u32;
            Fault::TargetLeader { group, leader_fault: any_leader_fault(prng, cluster_spec) }
        }
        "leaders hunted" => Fault::TargetNewLeaders {
            leader_fault: Box::new(simple_leader_fault(prng)),
            within_ms: prng.pick(&[1, 5, 20, 100, 500]),
            for_ms: prng.range(500, LONG_MS),
        },
        name => unreachable!("a fault without a way to draw it: {name}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(seed: u64) -> Schedule {
        Schedule::generate(seed, &ClusterSpec::of_seed(seed), Duration::from_secs(20))
    }

    #[test]
    fn a_seed_decides_and_lines_keep_everything() {
        for seed in 0..200 {
            let drawn = schedule(seed);
            assert_eq!(drawn, schedule(seed));
            assert_eq!(Schedule::from_lines(&drawn.to_lines()).unwrap(), drawn);
        }
        let error = Schedule::from_lines("\n{\"at_ms\":1,\"kind\":\"flood\"}\n").unwrap_err();
        assert!(error.starts_with("line 2:"), "{error}");
    }

    #[test]
    fn every_kind_is_drawn_and_damage_befalls_a_minority() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..2_000 {
            let cluster_spec = ClusterSpec::of_seed(seed);
            assert!(2 * cluster_spec.faulty_nodes.len() < cluster_spec.nodes as usize);
            for timed in Schedule::generate(seed, &cluster_spec, Duration::from_secs(20)).faults {
                seen.insert(timed.fault.name());
                let faulty = match timed.fault {
                    Fault::BitRot { node, .. }
                    | Fault::LostWrite { node }
                    | Fault::MisdirectedWrite { node }
                    | Fault::LostFile { node, .. } => node,
                    _ => continue,
                };
                assert!(timed.fault.damages() && cluster_spec.faulty_nodes.contains(&faulty));
            }
        }
        assert_eq!(seen.len(), NAMES.len(), "{seen:?}");
    }
}
