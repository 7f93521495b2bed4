//! CORACLE TASKS and PLAN: what is under way in the cluster, what of it is left, and what it waits for.

use std::collections::{BTreeMap, BTreeSet};

use meta::planner::{Action, Forecast, Plan, Purpose, Reason};
use meta::reports::{Duty, Reports};
use meta::{ClusterMap, Health};
use resp::Reply;
use types::{GroupId, NodeId};

use super::listings::{field, text};

/// How many groups and how many reasons one text names.
const GROUPS_NAMED_MAX: usize = 8;
const REASONS_NAMED_MAX: usize = 4;

/// What a task is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskKind {
    Drain,
    Decommission,
    Replace,
    Balance,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskState {
    Running,
    /// For what its reason says.
    Waiting,
    Done,
}

/// Something under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) kind: TaskKind,
    /// Which node it is about.
    pub(crate) node: NodeId,
    /// How many groups are to be led elsewhere.
    pub(crate) leaders: usize,
    /// How many replicas are to be elsewhere.
    pub(crate) replicas: usize,
    /// How many bytes are to be sent for them.
    pub(crate) bytes: u64,
    pub(crate) state: TaskState,
    /// Invariant: empty while it runs.
    pub(crate) reason: String,
}

/// What the last round has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Picture {
    /// How the nodes are.
    pub(crate) healths: BTreeMap<NodeId, Health>,
    /// What is under way.
    pub(crate) tasks: Vec<Task>,
    /// What a person should know at once.
    pub(crate) alarm: Option<String>,
    /// Nodes that are to leave and on which nothing is left.
    pub(crate) emptied: Vec<NodeId>,
}

impl TaskKind {
    fn name(self) -> &'static str {
        match self {
            TaskKind::Drain => "drain",
            TaskKind::Decommission => "decommission",
            TaskKind::Replace => "replace",
            TaskKind::Balance => "balance",
        }
    }

    /// What a step of the planner is a part of, and of which node.
    fn of(purpose: Purpose, duty: impl Fn(NodeId) -> Duty) -> (TaskKind, NodeId) {
        match purpose {
            Purpose::Drain(node) if duty(node) == Duty::Leaves => (TaskKind::Decommission, node),
            Purpose::Drain(node) => (TaskKind::Drain, node),
            Purpose::Leave(node) => (TaskKind::Decommission, node),
            Purpose::Dead(node) if duty(node) == Duty::Leaves => (TaskKind::Decommission, node),
            Purpose::Dead(node) | Purpose::Silent(node) | Purpose::Return(node) => (TaskKind::Replace, node),
            Purpose::Fitness(node)
            | Purpose::Racks(node)
            | Purpose::Room(node)
            | Purpose::Bytes(node)
            | Purpose::Leaders(node)
            | Purpose::Cores(node) => (TaskKind::Balance, node),
        }
    }
}

impl TaskState {
    fn name(self) -> &'static str {
        match self {
            TaskState::Running => "running",
            TaskState::Waiting => "waiting",
            TaskState::Done => "done",
        }
    }
}

/// What belongs to one task.
#[derive(Default)]
struct Parts {
    /// Groups that are to be led elsewhere, by steps of this round.
    leaders: BTreeSet<GroupId>,
    /// Groups of which a replica moves, or begins to.
    moving: BTreeSet<GroupId>,
    waiting: Vec<(Reason, Vec<GroupId>)>,
}

/// What is under way, as a round has found it. `moves` are the groups of which a replica is on its way.
pub(super) fn tasks(
    map: &ClusterMap,
    reports: &Reports,
    healths: &BTreeMap<NodeId, Health>,
    plan: &Plan,
    moves: &BTreeMap<GroupId, Purpose>,
) -> Vec<Task> {
    let parts = parts(reports, plan, moves);
    let bytes_of = |groups: &BTreeSet<GroupId>| {
        let reports = groups.iter().filter_map(|group| reports.groups.get(group));
        reports.fold(0, |sum: u64, report| sum.saturating_add(report.bytes))
    };
    let mut tasks = Vec::new();
    for left in &plan.duties {
        let kind = if left.duty == Duty::Leaves { TaskKind::Decommission } else { TaskKind::Drain };
        let moves_replicas = kind == TaskKind::Decommission;
        let (state, reason) = match map.leaving(left.node) {
            Some(leaving) => (TaskState::Waiting, unspoken(leaving)),
            None if left.is_done() && !moves_replicas => (TaskState::Done, String::new()),
            None => state_of(parts.get(&(kind, left.node))),
        };
        tasks.push(Task {
            kind,
            node: left.node,
            leaders: left.leaders,
            replicas: if moves_replicas { left.replicas } else { 0 },
            bytes: if moves_replicas { left.bytes } else { 0 },
            state,
            reason,
        });
    }
    for node in &map.nodes {
        let key = (TaskKind::Replace, node.id);
        let is_down = matches!(healths.get(&node.id), Some(Health::Down { .. }));
        let lost = if is_down && reports.duty(node.id) != Duty::Leaves {
            held(map, reports, node.id)
        } else {
            BTreeSet::new()
        };
        let groups: BTreeSet<GroupId> =
            parts.get(&key).map(|parts| parts.groups()).unwrap_or_default().union(&lost).copied().collect();
        if !groups.is_empty() {
            tasks.push(task(key, 0, &groups, bytes_of(&groups), parts.get(&key)));
        }
    }
    for (key, parts) in parts.iter().filter(|((kind, _), _)| *kind == TaskKind::Balance) {
        let (moving, leaders) = (&parts.moving, parts.leaders.len());
        if !parts.groups().is_empty() {
            tasks.push(task(*key, leaders, moving, bytes_of(moving), Some(parts)));
        }
    }
    tasks
}

fn task(
    (kind, node): (TaskKind, NodeId),
    leaders: usize,
    replicas: &BTreeSet<GroupId>,
    bytes: u64,
    parts: Option<&Parts>,
) -> Task {
    let (state, reason) = state_of(parts);
    Task { kind, node, leaders, replicas: replicas.len(), bytes, state, reason }
}

/// What each task consists of.
fn parts(reports: &Reports, plan: &Plan, moves: &BTreeMap<GroupId, Purpose>) -> BTreeMap<(TaskKind, NodeId), Parts> {
    let mut all: BTreeMap<(TaskKind, NodeId), Parts> = BTreeMap::new();
    let key = |purpose| TaskKind::of(purpose, |node| reports.duty(node));
    for step in &plan.steps {
        let parts = all.entry(key(step.purpose)).or_default();
        let groups = match step.action {
            Action::Transfer { .. } => &mut parts.leaders,
            Action::Change(_) | Action::MoveCore { .. } => &mut parts.moving,
        };
        groups.extend(step.action.group());
    }
    for (group, purpose) in moves {
        all.entry(key(*purpose)).or_default().moving.insert(*group);
    }
    for ((purpose, reason), groups) in &plan.waiting {
        // A group that rests is where it is to be for now, and one whose members change is on its way.
        if !matches!(reason, Reason::Rests | Reason::Moving) {
            all.entry(key(*purpose)).or_default().waiting.push((reason.clone(), groups.clone()));
        }
    }
    all
}

impl Parts {
    fn groups(&self) -> BTreeSet<GroupId> {
        let waiting = self.waiting.iter().flat_map(|(_, groups)| groups);
        self.leaders.iter().chain(&self.moving).chain(waiting).copied().collect()
    }
}

fn state_of(parts: Option<&Parts>) -> (TaskState, String) {
    match parts {
        Some(parts) if parts.leaders.is_empty() && parts.moving.is_empty() && !parts.waiting.is_empty() => {
            (TaskState::Waiting, told(&parts.waiting))
        }
        _ => (TaskState::Running, String::new()),
    }
}

/// Why groups wait, in words.
fn told(waiting: &[(Reason, Vec<GroupId>)]) -> String {
    let texts = waiting.iter().take(REASONS_NAMED_MAX);
    let mut texts: Vec<String> = texts.map(|(reason, groups)| format!("{}: {reason}", named(groups))).collect();
    if waiting.len() > REASONS_NAMED_MAX {
        texts.push("…".to_owned());
    }
    texts.join("; ")
}

fn named(groups: &[GroupId]) -> String {
    let mut names: Vec<String> = groups.iter().take(GROUPS_NAMED_MAX).map(|group| format!("g{group}")).collect();
    if groups.len() > GROUPS_NAMED_MAX {
        names.push("…".to_owned());
    }
    names.join(", ")
}

fn unspoken(leaving: &meta::LeavingNode) -> String {
    let groups: Vec<GroupId> = leaving.groups.iter().map(|group| group.0).collect();
    format!("{}: whoever leads has yet to say that no member is there", named(&groups))
}

/// The groups that want a replica on a node, or have a member there.
fn held(map: &ClusterMap, reports: &Reports, node: NodeId) -> BTreeSet<GroupId> {
    let members = reports.groups.iter().filter(|(_, report)| {
        let mut members = report.membership.members();
        members.any(|member| member.place.node == node)
    });
    map.groups_on(node).map(|group| group.id).chain(members.map(|(group, _)| *group)).collect()
}

/// CORACLE TASKS. Each thing under way: `kind` (`drain`, `decommission`, `replace` or `balance`), `node`, `leaders` (groups that are to be led
/// elsewhere), `replicas` (that are to be elsewhere), `bytes` (that are to be sent for them), `state` (`running`, `waiting` or `done`) and `reason`
/// (why it waits; empty if it does not). Last comes one of the kind `alarm`, about node 0, if there is an alarm.
pub(crate) fn write_tasks(picture: &Picture, reply: &mut Reply<'_>) {
    reply.array(picture.tasks.len() + usize::from(picture.alarm.is_some()));
    for task in &picture.tasks {
        let counts = [task.leaders as i64, task.replicas as i64, i64::try_from(task.bytes).unwrap_or(i64::MAX)];
        write_task(task.kind.name(), task.node, counts, task.state, &task.reason, reply);
    }
    if let Some(alarm) = &picture.alarm {
        write_task("alarm", NodeId(0), [0; 3], TaskState::Waiting, alarm, reply);
    }
}

fn write_task(kind: &str, node: NodeId, counts: [i64; 3], state: TaskState, reason: &str, reply: &mut Reply<'_>) {
    let [leaders, replicas, bytes] = counts;
    reply.map(7);
    text(reply, "kind", kind);
    field(reply, "node", i64::from(node.0));
    field(reply, "leaders", leaders);
    field(reply, "replicas", replicas);
    field(reply, "bytes", bytes);
    text(reply, "state", state.name());
    text(reply, "reason", reason);
}

/// What a forecast tells, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Foretold {
    node: NodeId,
    moves: Vec<String>,
    bytes: u64,
    seconds: u64,
    refusals: Vec<String>,
    digest: String,
    is_whole: bool,
}

impl Foretold {
    pub(super) fn of(node: NodeId, found: &Forecast) -> Foretold {
        let refused = |(_, reason, groups): (Purpose, &Reason, &[GroupId])| format!("{}: {reason}", named(groups));
        let mut refusals: Vec<String> = found.refused().map(refused).collect();
        refusals.extend(found.alarm.as_ref().map(ToString::to_string));
        Foretold {
            node,
            moves: found.steps.iter().map(|(_, step)| step.to_string()).collect(),
            bytes: found.bytes,
            seconds: found.takes.as_secs(),
            refusals,
            digest: found.digest().to_string(),
            is_whole: found.is_whole,
        }
    }
}

/// CORACLE PLAN DECOMMISSION: `node`, `moves` (each step, in words), `bytes` (that would be sent), `seconds` (that it would take, about), `refusals`
/// (what would not be done, in words), `digest` (the same as long as the same would be done), and `is_whole` (0 if more would be done than this
/// tells).
pub(crate) fn write_foretold(found: &Foretold, reply: &mut Reply<'_>) {
    let list = |name: &str, texts: &[String], reply: &mut Reply<'_>| {
        reply.bulk(name.as_bytes());
        reply.array(texts.len());
        texts.iter().for_each(|text| reply.bulk(text.as_bytes()));
    };
    reply.map(7);
    field(reply, "node", i64::from(found.node.0));
    list("moves", &found.moves, reply);
    field(reply, "bytes", i64::try_from(found.bytes).unwrap_or(i64::MAX));
    field(reply, "seconds", i64::try_from(found.seconds).unwrap_or(i64::MAX));
    list("refusals", &found.refusals, reply);
    text(reply, "digest", &found.digest);
    field(reply, "is_whole", i64::from(found.is_whole));
}
