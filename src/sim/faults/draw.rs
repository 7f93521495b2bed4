//! How a seed decides what goes wrong in its run.

use std::time::Duration;

use super::kinds::{FAULTS, Fault, FaultKind, Needs};
use super::leader_faults::{any_leader_fault, simple_leader_fault};
use super::moment::MOMENTS;
use super::schedule::{Schedule, Timed};
use super::{READINGS, STALL_FACTOR, old_answers};
use crate::cluster_spec::{ClusterSpec, NodeNumber};
use crate::prng::{Ppm, Prng};

/// Faults begin only once the cluster has had this long to elect its first leaders.
const QUIET_START_MS: u64 = 500;
/// The longest that an effect with a duration is drawn for, most of the time.
const SHORT_MS: u64 = 1_500;
const LONG_MS: u64 = 6_000;
/// How likely a run is about what happens to leaders, and little else.
const ABOUT_LEADERS_PPM: Ppm = 350_000;

/// In a run about leaders these kinds decide how what happens to them turns out.
const BESIDE_LEADER_FAULTS: &[FaultKind] = &[
    FaultKind::TargetLeader,
    FaultKind::TargetNewLeaders,
    FaultKind::SlowDisk,
    FaultKind::Drift,
    FaultKind::Delay,
    FaultKind::Corrupt,
    FaultKind::Stop,
    FaultKind::StopBehindClock,
    FaultKind::CrashBehind,
    FaultKind::CrashHalfWay,
];

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
        let mean_gap_ms = match is_about_leaders {
            // Old answers take some seconds of peace.
            true if cluster_spec.nodes >= old_answers::NODES_MIN => prng.pick(&[1_000, 2_000, 4_000]),
            true => prng.pick(&[500, 1_000, 2_000]),
            false => prng.pick(&[150, 400, 1_000, 3_000]),
        };
        let mut at_ms = QUIET_START_MS;
        loop {
            at_ms += prng.range(1, 2 * mean_gap_ms);
            if at_ms >= end_ms || kinds.is_empty() {
                break;
            }
            let kind = pick_by_weight(&mut prng, &kinds);
            faults.extend(draw(kind, &mut prng, cluster_spec).map(|fault| Timed { at_ms, fault }));
        }
        faults.extend(rot_at_rest(seed, cluster_spec, end_ms));
        faults.extend(comings_and_goings(seed, cluster_spec, end_ms));
        faults.sort_by_key(|timed| timed.at_ms);
        Schedule { faults }
    }
}

/// What rots under a scrub, in most of the runs that have one, whatever else happens there.
fn rot_at_rest(seed: u64, cluster_spec: &ClusterSpec, end_ms: u64) -> Vec<Timed> {
    let mut prng = Prng::stream(seed, "rot at rest");
    let is_scrubbed = cluster_spec.scrub_interval.is_some() && !cluster_spec.faulty_nodes.is_empty();
    if !is_scrubbed || end_ms <= QUIET_START_MS || !prng.bernoulli(800_000) {
        return Vec::new();
    }
    let count = prng.range(2, 6);
    let one = |_| {
        let fault = Fault::RotAtRest { node: prng.pick(&cluster_spec.faulty_nodes), flips: prng.range(1, 8) as u32 };
        Timed { at_ms: prng.range(QUIET_START_MS, end_ms - 1), fault }
    };
    (0..count).map(one).collect()
}

/// A new node joins and is removed, perhaps more than once, and meets with faults of its own meanwhile.
fn comings_and_goings(seed: u64, cluster_spec: &ClusterSpec, end_ms: u64) -> Vec<Timed> {
    let mut prng = Prng::stream(seed, "comings and goings");
    let mut faults = Vec::new();
    if cluster_spec.spares == 0 {
        return faults;
    }
    let node = cluster_spec.nodes + 1;
    let mut at_ms = QUIET_START_MS;
    let mut is_in = false;
    loop {
        at_ms += prng.range(1, 4_000);
        if at_ms >= end_ms {
            return faults;
        }
        let fault = if is_in { Fault::Remove {} } else { Fault::Join {} };
        is_in = !is_in;
        faults.push(Timed { at_ms, fault });
        for _ in 0..prng.below(3) {
            let (behind_ms, for_ms) = (prng.pick(&[1, 50, 300, 2_000]), lasting(&mut prng));
            let fault = match prng.below(4) {
                0 => Fault::Crash { node, down_ms: for_ms },
                1 => Fault::Stop { node, down_ms: for_ms },
                2 => Fault::Pause { node, for_ms },
                _ => Fault::Partition { side: vec![node], for_ms },
            };
            let at_ms = at_ms + prng.range(0, behind_ms);
            faults.extend((at_ms < end_ms).then_some(Timed { at_ms, fault }));
        }
    }
}

fn leader_kinds(prng: &mut Prng) -> Vec<FaultKind> {
    let mut kinds = vec![FaultKind::TargetLeader];
    kinds.extend(BESIDE_LEADER_FAULTS.iter().filter(|_| prng.bernoulli(400_000)));
    kinds
}

/// The kinds that a run draws from.
fn kinds_of_run(prng: &mut Prng, cluster_spec: &ClusterSpec) -> Vec<FaultKind> {
    let likely = prng.pick(&[100_000, 300_000, 600_000]);
    let is_drawn_apart = |kind| matches!(kind, FaultKind::RotAtRest | FaultKind::Join | FaultKind::Remove);
    let is_drawn = FAULTS.iter().filter(|row| !is_drawn_apart(row.kind) && prng.bernoulli(likely));
    let makes_sense = is_drawn.filter(|row| match row.needs {
        Needs::Anything => true,
        Needs::Peers => cluster_spec.nodes > 1,
        Needs::FaultyNodes => !cluster_spec.faulty_nodes.is_empty(),
    });
    makes_sense.map(|row| row.kind).collect()
}

fn pick_by_weight(prng: &mut Prng, kinds: &[FaultKind]) -> FaultKind {
    let weight = |kind: &FaultKind| u64::from(kind.row().weight);
    let mut left = prng.below(kinds.iter().map(weight).sum());
    for kind in kinds {
        match left.checked_sub(weight(kind)) {
            Some(rest) => left = rest,
            None => return *kind,
        }
    }
    unreachable!("a number below the sum of the weights falls on one of them")
}

fn lasting(prng: &mut Prng) -> u64 {
    if prng.bernoulli(200_000) { prng.range(1, LONG_MS) } else { prng.range(1, SHORT_MS) }
}

fn any_side(prng: &mut Prng, cluster_spec: &ClusterSpec, node: NodeNumber) -> Vec<NodeNumber> {
    let side: Vec<NodeNumber> = (1..=cluster_spec.nodes).filter(|_| prng.bernoulli(500_000)).collect();
    if side.is_empty() || side.len() == cluster_spec.nodes as usize { vec![node] } else { side }
}

/// At the bound as often as anywhere below it: two clocks may then part as fast as they may at all.
fn any_drift(prng: &mut Prng, cluster_spec: &ClusterSpec) -> i64 {
    let bound = i64::from(cluster_spec.drift_ppm_max) / 2;
    let between = prng.range(0, 2 * bound as u64) as i64 - bound;
    prng.pick(&[between, between, -bound, bound])
}

/// Another node than this one, if there is any.
fn any_other(prng: &mut Prng, cluster_spec: &ClusterSpec, node: NodeNumber) -> NodeNumber {
    match cluster_spec.nodes {
        1 => node,
        nodes => (node - 1 + prng.range(1, u64::from(nodes) - 1) as NodeNumber) % nodes + 1,
    }
}

/// `None` if there is nobody to whom it may happen.
fn draw(kind: FaultKind, prng: &mut Prng, cluster_spec: &ClusterSpec) -> Option<Fault> {
    let node = prng.range(1, u64::from(cluster_spec.nodes)) as NodeNumber;
    let other = any_other(prng, cluster_spec, node);
    let faulty =
        if cluster_spec.faulty_nodes.is_empty() { None } else { Some(prng.pick(&cluster_spec.faulty_nodes)) };
    let for_ms = lasting(prng);
    let likely = |prng: &mut Prng| prng.pick(&[0, 10_000, 100_000, 400_000]);
    Some(match kind {
        FaultKind::Crash => Fault::Crash { node, down_ms: for_ms },
        FaultKind::CrashAll => Fault::CrashAll { down_ms: for_ms },
        FaultKind::Stop => Fault::Stop { node, down_ms: for_ms },
        FaultKind::Pause => Fault::Pause { node, for_ms },
        FaultKind::StopBehindClock => Fault::StopBehindClock { node, reading: prng.pick(&READINGS), for_ms },
        FaultKind::CrashBehind => Fault::CrashBehind {
            moment: prng.pick(&MOMENTS),
            within_us: prng.pick(&[5, 50, 500, 5_000]),
            down_ms: prng.pick(&[1, for_ms]),
            for_ms: prng.range(500, LONG_MS),
        },
        FaultKind::CrashHalfWay => Fault::CrashHalfWay {
            factor: prng.pick(&[10, 100, STALL_FACTOR]),
            within_us: prng.pick(&[50, 5_000, 100_000]),
            down_ms: prng.pick(&[1, for_ms]),
            for_ms: prng.range(500, LONG_MS),
        },
        FaultKind::ClockJump => Fault::ClockJump { node, by_ms: prng.range(0, 20_000) as i64 - 10_000 },
        FaultKind::Drift => Fault::Drift { node, ppm: any_drift(prng, cluster_spec) },
        FaultKind::CutOneWay => Fault::CutOneWay { from: node, to: other, for_ms },
        FaultKind::Partition => Fault::Partition { side: any_side(prng, cluster_spec, node), for_ms },
        FaultKind::Delay => Fault::Delay { from: node, to: other, mean_ms: prng.range(1, 400), for_ms },
        FaultKind::Reset => Fault::Reset { a: node, b: other },
        FaultKind::ResetBehindFlush => {
            Fault::ResetBehindFlush { within_us: prng.pick(&[500, 3_000, 20_000]), for_ms: prng.range(500, LONG_MS) }
        }
        FaultKind::Corrupt => {
            let [lose, repeat, reorder] = [(); 3].map(|()| likely(prng));
            Fault::Corrupt { from: node, to: other, lose, repeat, reorder, for_ms }
        }
        FaultKind::ResetClients => Fault::ResetClients { node },
        FaultKind::SlowDisk => {
            let factor = prng.pick(&[3, 10, 100, STALL_FACTOR]);
            let for_ms = if factor >= STALL_FACTOR { for_ms.min(SHORT_MS) } else { for_ms };
            Fault::SlowDisk { node, factor, for_ms }
        }
        FaultKind::WriteError => Fault::WriteError { node, restart_ms: for_ms },
        FaultKind::ReadErrors => Fault::ReadErrors { node, likely: prng.pick(&[10_000, 300_000]), for_ms },
        FaultKind::StalledReads => Fault::StalledReads { node, likely: prng.pick(&[20_000, 200_000]), for_ms },
        FaultKind::DiskFull => Fault::DiskFull { node, for_ms },
        FaultKind::BitRot => Fault::BitRot { node: faulty?, flips: prng.range(1, 3) as u32, down_ms: for_ms },
        FaultKind::RotAtRest => Fault::RotAtRest { node: faulty?, flips: prng.range(1, 3) as u32 },
        FaultKind::LostWrite => Fault::LostWrite { node: faulty? },
        FaultKind::MisdirectedWrite => Fault::MisdirectedWrite { node: faulty? },
        FaultKind::LostFile => Fault::LostFile { node: faulty?, down_ms: for_ms },
        FaultKind::Join => Fault::Join {},
        FaultKind::Remove => Fault::Remove {},
        FaultKind::TargetLeader => Fault::TargetLeader {
            // Group 0 has no keys.
            group: prng.range(1, cluster_spec.groups as u64) as u32,
            fault: any_leader_fault(prng, cluster_spec),
        },
        FaultKind::TargetNewLeaders => Fault::TargetNewLeaders {
            fault: Box::new(simple_leader_fault(prng)),
            within_ms: prng.pick(&[1, 5, 20, 100, 500]),
            for_ms: prng.range(500, LONG_MS),
        },
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
    fn every_kind_is_drawn_and_only_a_minority_is_damaged() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..2_000 {
            let cluster_spec = ClusterSpec::of_seed(seed);
            assert!(2 * cluster_spec.faulty_nodes.len() < cluster_spec.nodes as usize);
            for timed in Schedule::generate(seed, &cluster_spec, Duration::from_secs(20)).faults {
                seen.insert(timed.fault.kind());
                let faulty = match timed.fault {
                    Fault::BitRot { node, .. }
                    | Fault::RotAtRest { node, .. }
                    | Fault::LostWrite { node }
                    | Fault::MisdirectedWrite { node }
                    | Fault::LostFile { node, .. } => node,
                    _ => continue,
                };
                assert!(timed.fault.kind().damages() && cluster_spec.faulty_nodes.contains(&faulty));
            }
        }
        assert_eq!(seen.len(), FAULTS.len(), "{seen:?}");
    }
}
