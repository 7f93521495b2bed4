//! How the planner fares with a hundred nodes of 64 cores each: `cargo run --release -p coracle-meta --example planner [GROUPS...]`.
//!
//! Each line is a cluster to which something has happened, and the model of it that carries out steps, 30 s per round, until nothing is
//! left to do: steps, bytes, the time that passes in the model, and how much CPU time a round takes. `bytes` and `leading` are what the fullest
//! node has, in percent of what is possible at best, before and after: the greater of the heaviest group and the mean.
//! Snapshots take as long as their bytes at 64 MiB/s.

use std::collections::BTreeMap;
use std::time::Duration;

use meta::planner::{Action, Input, Knobs, Memory, Model};
use meta::reports::{Disk, Duty, GroupReport, NodeReport, Reports};
use meta::{Bootstrap, ClusterId, ClusterMap, Group, Health, MapChange, Node, Replica, Settings};
use types::limits::GROUPS_COUNT_MAX;
use types::{GroupId, Instant, NodeId, ReplicaId};
use wire::{Member, Membership};

const NODES_COUNT: u32 = 100;
const CORES_COUNT: u16 = 64;
const RACKS_COUNT: u32 = 10;
const ROUND: Duration = Duration::from_secs(30);
const ROUNDS_COUNT_MAX: usize = 20_000;

/// What happens to a cluster: its name, how many nodes it has at first, and what is done to it.
type Scenario = (&'static str, u32, fn(&mut Model));

const SCENARIOS: &[Scenario] = &[
    ("nothing happens", NODES_COUNT, |_| {}),
    ("1 node dies", NODES_COUNT, |model| lose(model, 1)),
    ("10 nodes die", NODES_COUNT, |model| lose(model, 10)),
    ("10 nodes join 90", NODES_COUNT - 10, join),
    ("5 nodes leave", NODES_COUNT, leave),
    ("one group has half of the load", NODES_COUNT, skew_one),
    ("loads and bytes by a power law", NODES_COUNT, skew_all),
];

fn main() {
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![GROUPS_COUNT_MAX - 1, 100_000] } else { asked };
    println!(
        "{:<31} {:>7} {:>7} {:>8} {:>9} {:>7} {:>9} {:>7} {:>8} {:>8} {:>13} {:>13}",
        "",
        "groups",
        "rounds",
        "replaced",
        "transfers",
        "cores",
        "TiB moved",
        "hours",
        "ms/round",
        "most ms",
        "bytes %",
        "leading %"
    );
    for groups_count in sizes {
        for (name, nodes_count, happens_to) in SCENARIOS {
            let mut model = cluster(*nodes_count, groups_count);
            happens_to(&mut model);
            println!("{name:<31} {groups_count:>7} {}", run(&mut model));
        }
    }
}

/// Runs until it is still, and returns a line about it.
fn run(model: &mut Model) -> String {
    let (began, before) = (model.now, (most_bytes(model), most_leading(model)));
    let (mut replaced, mut transfers, mut cores, mut bytes) = (0, 0, 0, 0);
    let (mut rounds, mut in_all, mut longest) = (0, Duration::ZERO, Duration::ZERO);
    let (mut quiet, mut ended) = (false, model.now);
    while rounds < ROUNDS_COUNT_MAX {
        let began = cpu_time();
        let plan = model.plan();
        let took = cpu_time() - began;
        (rounds, in_all, longest) = (rounds + 1, in_all + took, longest.max(took));
        for step in &plan.steps {
            match step.action {
                Action::Change(MapChange::Replace(_)) => replaced += 1,
                Action::Transfer { .. } => transfers += 1,
                Action::MoveCore { .. } => cores += 1,
                Action::Change(_) => {}
            }
            bytes += step.bytes;
            model.take(step);
        }
        let is_quiet = plan.steps.is_empty() && !model.is_busy();
        if is_quiet && quiet {
            break;
        }
        // Groups that rest, or may not go back, may move once more after that.
        model.advance(if is_quiet { Knobs::default().no_return } else { ROUND });
        ended = if is_quiet { ended } else { model.now };
        quiet = is_quiet;
    }
    let (mean, hours) = (in_all.as_secs_f64() * 1e3 / rounds as f64, ended.since(began).as_secs_f64() / 3_600.0);
    let spread = |before: u64, after: u64| format!("{before} → {after}");
    format!(
        "{rounds:>7} {replaced:>8} {transfers:>9} {cores:>7} {:>9.2} {hours:>7.2} {mean:>8.1} {:>8.1} {:>13} {:>13}",
        bytes as f64 / (1u64 << 40) as f64,
        longest.as_secs_f64() * 1e3,
        spread(before.0, most_bytes(model)),
        spread(before.1, most_leading(model)),
    )
}

/// The time that this thread has run: others may be using the machine.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

fn cluster(nodes_count: u32, groups_count: usize) -> Model {
    let nodes = (1..=nodes_count).map(node).collect();
    let placed = groups_count.min(GROUPS_COUNT_MAX - 1);
    let settings = Settings::default();
    let bootstrap = Bootstrap { cluster_id: ClusterId(7), nodes, groups_count: placed, settings };
    let mut map = ClusterMap::bootstrap(&bootstrap).expect("a sound bootstrap");
    // More groups than slots: what the planner is to bear, placed like the others.
    for nth in placed..groups_count {
        let like = map.groups[nth % placed + 1].replicas.clone();
        let replicas = like.into_iter().map(|replica| {
            map.next_replica = ReplicaId(map.next_replica.0 + 1);
            Replica { id: ReplicaId(map.next_replica.0 - 1), ..replica }
        });
        let replicas = replicas.collect();
        map.groups.push(Group { id: GroupId(nth as u32 + 1), slots: Vec::new(), replicas });
    }
    let now = Instant::ZERO + Duration::from_secs(1_000_000);
    let mut reports = Reports::default();
    for group in &map.groups {
        reports.groups.insert(group.id, group_report(group, now));
    }
    for node in &map.nodes {
        reports.nodes.insert(node.id, node_report(now));
    }
    model_of(&map, &reports, now)
}

fn model_of(map: &ClusterMap, reports: &Reports, now: Instant) -> Model {
    let (healths, memory, knobs) = (BTreeMap::new(), Memory::default(), Knobs::default());
    Model::new(&Input { map, reports, healths: &healths, memory: &memory, now, knobs: &knobs })
}

fn node(id: u32) -> Node {
    let [_, b, c, d] = id.to_be_bytes();
    Node {
        id: NodeId(id),
        host: [10, b, c, d].into(),
        gateway_port: 7_000,
        core_port: 7_001,
        peer_port: 8_001,
        admin_port: 9_000,
        cores: CORES_COUNT,
        rack: Some(format!("rack {}", id % RACKS_COUNT)),
    }
}

fn node_report(heard_at: Instant) -> NodeReport {
    let disk = Disk { used_bytes: 1 << 40, capacity_bytes: 16 << 40, is_full: false };
    NodeReport { heard_at, write_stalled_for: Duration::ZERO, disk, snapshots_in: 0, snapshots_out: 0 }
}

/// Groups of 192 to 319 MiB with 900 to 1,099 commands per second.
fn group_report(group: &Group, heard_at: Instant) -> GroupReport {
    let voters = group.replicas.iter().map(|replica| Member { id: replica.id, place: replica.place });
    GroupReport {
        heard_at,
        term: 1,
        leader: group.replicas[0].id,
        membership: Membership::of_voters(voters),
        membership_index: 1,
        silent: Vec::new(),
        behind: Vec::new(),
        bytes: (192 + drawn(group.id) % 128) << 20,
        ops_per_s: 900 + drawn(group.id) % 200,
    }
}

/// A number that looks like chance and is the same each time.
fn drawn(group: GroupId) -> u64 {
    let mixed = (u64::from(group.0) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

fn lose(model: &mut Model, count: u32) {
    for id in 1..=count {
        // One per rack.
        model.set_health(NodeId(id), Health::Down { since: model.now });
    }
}

fn join(model: &mut Model) {
    for id in NODES_COUNT - 9..=NODES_COUNT {
        model.map.nodes.push(node(id));
        model.reports.nodes.insert(NodeId(id), node_report(model.now));
    }
}

fn leave(model: &mut Model) {
    for id in 1..=5 {
        model.reports.duties.insert(NodeId(id), Duty::Leaves);
    }
}

fn skew_one(model: &mut Model) {
    let others = model.reports.groups.values().map(|report| report.ops_per_s).sum();
    if let Some(report) = model.reports.groups.get_mut(&GroupId(77)) {
        report.ops_per_s = others;
    }
}

fn skew_all(model: &mut Model) {
    for (group, report) in &mut model.reports.groups {
        // A few groups have hundreds of times what most have.
        let rank = 1 + drawn(*group) % 10_000;
        (report.bytes, report.ops_per_s) = ((64 << 20) * (1 + 1_000 / rank), 100 * (1 + 10_000 / rank));
    }
}

fn most_bytes(model: &Model) -> u64 {
    let mut sums = BTreeMap::new();
    for group in &model.map.groups {
        for replica in &group.replicas {
            *sums.entry(replica.place.node).or_insert(0) += model.reports.groups[&group.id].bytes;
        }
    }
    percent_of_best(model, &sums, |report| report.bytes)
}

fn most_leading(model: &Model) -> u64 {
    let mut sums = BTreeMap::new();
    for report in model.reports.groups.values() {
        let leader = report.membership.voters.iter().find(|voter| voter.id == report.leader);
        *sums.entry(leader.expect("a leader that votes").place.node).or_insert(0) += report.ops_per_s;
    }
    percent_of_best(model, &sums, |report| report.ops_per_s)
}

fn percent_of_best(model: &Model, sums: &BTreeMap<NodeId, u64>, figure: impl Fn(&GroupReport) -> u64) -> u64 {
    let serves = |node: &&Node| {
        model.reports.duty(node.id) == Duty::Serves
            && model.healths.get(&node.id).is_none_or(|health| *health == Health::Up)
    };
    let nodes_count = model.map.nodes.iter().filter(serves).count() as u64;
    let heaviest = model.reports.groups.values().map(figure).max().unwrap_or(0);
    let best = heaviest.max(sums.values().sum::<u64>() / nodes_count).max(1);
    sums.values().max().unwrap_or(&0) * 100 / best
}
