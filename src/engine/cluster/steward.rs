//! What drives the planner on the core that leads group 0, for one term: reports come in, and every second a round says what is to be done.
//!
//! A round takes longer than a turn may in a large cluster. So it is work that a turn begins and another one takes up: what was reported goes
//! with it, and what comes meanwhile waits here, the latest of each node and group. Nothing of this outlives the term.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use meta::planner::{Action, Input, Knobs, Memory, Plan, Purpose, Step, forecast, plan};
use meta::reports::{Disk, Duty, GroupReport, NodeReport, Reports, Silence};
use meta::{ClusterMap, Detector, Health, Patience};
use types::{CoreAddr, GroupId, Instant, NodeId, Term};
use wire::{GroupFigures, Healths, NodeFigures, NodeHealth, Report};

use super::tasks::{Foretold, Picture, tasks};

/// How far apart rounds are.
const ROUND_EVERY: Duration = Duration::from_secs(1);
/// Loads are means over so long.
const LOADS_MEASURED_FOR: Duration = Duration::from_secs(60);
/// A node that reports every second is not suspect for one report that is late.
const SUSPECT_AFTER_MIN: Duration = Duration::from_millis(2_500);
/// Most steps that a forecast takes: enough to empty the fullest node.
const FORECAST_STEPS_COUNT_MAX: usize = 8_192;

/// What may be set of the planner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PlannerSettings {
    /// How long a node is silent before others take its place.
    pub(crate) node_down_after: Duration,
    /// Whether loads are made alike.
    pub(crate) balance: bool,
}

impl PlannerSettings {
    fn patience(self) -> Patience {
        let usual = Patience::default();
        Patience {
            suspect_after: (self.node_down_after / 2).clamp(SUSPECT_AFTER_MIN, usual.suspect_after),
            node_down_after: self.node_down_after,
            ..usual
        }
    }

    /// For how long loads are measured before anything is moved because of them: what nodes tell of the time behind an election says little.
    fn loads_known_after(self) -> Duration {
        self.node_down_after.min(LOADS_MEASURED_FOR)
    }

    fn knobs(self) -> Knobs {
        Knobs { balance: self.balance, silence_max: self.node_down_after, ..Knobs::default() }
    }
}

/// What is known for one term.
pub(crate) struct Steward {
    term: Term,
    began_at: Instant,
    /// What came since the last round began.
    heard: Reports,
    /// `None` while a round is under way.
    work: Option<Box<Work>>,
    next_round: Instant,
    /// What is to be done. The next round begins only once all of it is.
    steps: VecDeque<PlannedStep>,
    picture: Option<Picture>,
}

/// What rounds go on with.
#[derive(Clone)]
struct Work {
    reports: Reports,
    detector: Detector,
    patience: Patience,
    memory: Memory,
    /// Groups of which a replica was to be replaced and is not yet, as far as is known, and what for.
    moves: BTreeMap<GroupId, Purpose>,
}

/// A round, to be run wherever there is time.
pub(crate) struct Round {
    term: Term,
    work: Box<Work>,
    heard: Reports,
    map: Arc<ClusterMap>,
    settings: PlannerSettings,
    now: Instant,
    /// Whether somebody wants to know what would be if this node were to leave.
    leaver: Option<NodeId>,
}

/// What a round has come to.
pub(crate) struct RoundResult {
    term: Term,
    work: Box<Work>,
    steps: VecDeque<PlannedStep>,
    picture: Picture,
    /// Reports that came too late.
    pub(crate) refused_count: u64,
    /// What is to be run next, if somebody wants to know more.
    pub(crate) prospect: Option<Prospect>,
}

/// A forecast, to be run wherever there is time.
pub(crate) struct Prospect {
    /// The node that would leave.
    pub(crate) node: NodeId,
    map: Arc<ClusterMap>,
    work: Box<Work>,
    healths: BTreeMap<NodeId, Health>,
    settings: PlannerSettings,
    now: Instant,
}

/// A step, and where it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedStep {
    pub(crate) step: Step,
    /// Where whoever leads the group lives, if it is that one which is asked.
    pub(crate) leader: Option<CoreAddr>,
}

impl Steward {
    /// One that has heard nothing yet.
    pub(crate) fn new(term: Term, settings: PlannerSettings, now: Instant) -> Steward {
        let patience = settings.patience();
        let work = Work {
            reports: Reports::default(),
            detector: Detector::new(patience, now),
            patience,
            memory: Memory::default(),
            moves: BTreeMap::new(),
        };
        Steward {
            term,
            began_at: now,
            heard: Reports::default(),
            work: Some(Box::new(work)),
            // All nodes are heard first.
            next_round: now + ROUND_EVERY,
            steps: VecDeque::new(),
            picture: None,
        }
    }

    /// The term that it is for.
    pub(crate) fn term(&self) -> Term {
        self.term
    }

    /// What the last round has found.
    pub(crate) fn picture(&self) -> Option<&Picture> {
        self.picture.as_ref()
    }

    /// Takes in what a core reports. Returns how many of its groups are not believed: whoever leads a group lives where the report
    /// comes from, and nobody has led it in a later term.
    pub(crate) fn hear(&mut self, map: &ClusterMap, from: CoreAddr, report: Report, now: Instant) -> u64 {
        if let Some(figures) = report.node.filter(|_| map.node(from.node).is_some()) {
            self.heard.nodes.insert(from.node, node_report(figures, now));
        }
        let mut refused_count = 0;
        for figures in report.groups {
            let leads = |member: &wire::Member| member.id == figures.leader && member.place == from;
            let is_sound = map.group(figures.group).is_some() && figures.membership.members().any(leads);
            let group = figures.group;
            if !is_sound || !self.heard.hear_group(group, group_report(figures, now)) {
                refused_count += 1;
            }
        }
        refused_count
    }

    /// A round to be run, if it is time for one.
    pub(crate) fn begin_round(
        &mut self,
        map: &Arc<ClusterMap>,
        settings: PlannerSettings,
        leaver: Option<NodeId>,
        now: Instant,
    ) -> Option<Round> {
        if now < self.next_round || !self.steps.is_empty() {
            return None;
        }
        let work = self.work.take()?;
        self.next_round = now + ROUND_EVERY;
        let heard = std::mem::take(&mut self.heard);
        let balance = settings.balance && now >= self.began_at + settings.loads_known_after();
        let settings = PlannerSettings { balance, ..settings };
        Some(Round { term: self.term, work, heard, map: Arc::clone(map), settings, now, leaver })
    }

    /// Takes up what a round has come to. Returns whether it is of this term.
    pub(crate) fn end_round(&mut self, result: RoundResult) -> bool {
        let is_ours = result.term == self.term && self.work.is_none();
        if is_ours {
            self.work = Some(result.work);
            self.steps = result.steps;
            self.picture = Some(result.picture);
        }
        is_ours
    }

    /// The next step to be taken.
    pub(crate) fn next_step(&mut self) -> Option<PlannedStep> {
        self.steps.pop_front()
    }

    /// Whether steps are to be taken.
    pub(crate) fn has_steps(&self) -> bool {
        !self.steps.is_empty()
    }

    /// A step was proposed or asked for.
    pub(crate) fn note(&mut self, step: &Step, now: Instant) {
        let Some(work) = &mut self.work else { return };
        work.memory.note(step, now);
        if let (Action::Change(_) | Action::MoveCore { .. }, Some(group)) = (&step.action, step.action.group()) {
            work.moves.insert(group, step.purpose);
        }
    }

    /// How the nodes are, for all of them to know.
    pub(crate) fn healths(&self) -> Option<Healths> {
        let nodes = self.picture.as_ref()?.healths.iter().map(|(node, health)| (*node, named(health))).collect();
        Some(Healths { term: self.term, nodes })
    }
}

fn named(health: &Health) -> NodeHealth {
    match health {
        Health::Up => NodeHealth::Up,
        Health::Suspect { .. } => NodeHealth::Suspect,
        Health::Down { .. } => NodeHealth::Down,
    }
}

fn node_report(figures: NodeFigures, now: Instant) -> NodeReport {
    NodeReport {
        heard_at: now,
        write_stalled_for: Duration::from_micros(figures.write_stalled_us),
        disk: Disk {
            used_bytes: figures.disk_used_bytes,
            capacity_bytes: figures.disk_capacity_bytes,
            is_full: figures.disk_is_full,
        },
        snapshots_in: figures.snapshots_in,
        snapshots_out: figures.snapshots_out,
    }
}

fn group_report(figures: GroupFigures, now: Instant) -> GroupReport {
    let silence = |silent: &wire::SilentMember| Silence {
        replica: silent.replica,
        since: now - Duration::from_millis(silent.for_ms),
    };
    GroupReport {
        heard_at: now,
        term: figures.term,
        leader: figures.leader,
        membership: figures.membership,
        membership_index: figures.membership_index,
        silent: figures.silent.iter().map(silence).collect(),
        behind: figures.behind,
        bytes: figures.bytes,
        ops_per_s: figures.ops_per_s,
    }
}

impl Round {
    /// Runs it. The time that it takes grows with the cluster.
    pub(crate) fn run(self) -> RoundResult {
        let Round { term, mut work, heard, map, settings, now, leaver } = self;
        let refused_count = work.take_in(&map, heard);
        if work.patience != settings.patience() {
            work.patience = settings.patience();
            work.detector = Detector::new(work.patience, now);
        }
        work.detector.look(&map, &work.reports, now);
        let healths = work.detector.healths();
        let knobs = settings.knobs();
        let input =
            Input { map: &map, reports: &work.reports, healths: &healths, memory: &work.memory, now, knobs: &knobs };
        let plan = plan(&input);
        let picture = Picture {
            tasks: tasks(&map, &work.reports, &healths, &plan, &work.moves),
            alarm: plan.alarm.as_ref().map(ToString::to_string),
            emptied: emptied(&map, &plan),
            healths,
        };
        let steps = plan.steps.into_iter().map(|step| work.placed(step)).collect();
        let prospect = leaver.map(|node| Prospect {
            node,
            map: Arc::clone(&map),
            work: work.clone(),
            healths: picture.healths.clone(),
            settings,
            now,
        });
        RoundResult { term, work, steps, picture, refused_count, prospect }
    }
}

impl Work {
    /// Takes in what was heard since the last round. Returns how much of it came too late.
    fn take_in(&mut self, map: &ClusterMap, heard: Reports) -> u64 {
        self.reports.nodes.extend(heard.nodes);
        let mut refused_count = 0;
        for (group, report) in heard.groups {
            refused_count += u64::from(!self.reports.hear_group(group, report));
        }
        self.reports.nodes.retain(|node, _| map.node(*node).is_some());
        self.reports.groups.retain(|group, _| map.group(*group).is_some());
        self.reports.duties = map.duties.iter().map(|asked| (asked.id, asked.duty)).collect();
        // Nothing comes to a node that is being removed.
        self.reports.duties.extend(map.leaving.iter().map(|node| (node.id, Duty::Leaves)));
        let reports = &self.reports.groups;
        self.moves.retain(|group, _| match (map.group(*group), reports.get(group)) {
            (Some(spec), Some(report)) => !has_just(&report.membership, &spec.replicas),
            (spec, _) => spec.is_some(),
        });
        refused_count
    }

    fn placed(&self, step: Step) -> PlannedStep {
        let leader = match step.action {
            Action::Transfer { group, from, .. } => self.reports.groups.get(&group).and_then(|report| {
                report.membership.members().find(|member| member.id == from).map(|member| member.place)
            }),
            Action::Change(_) | Action::MoveCore { .. } => None,
        };
        PlannedStep { step, leader }
    }
}

/// Whether the members are just those that are wanted.
fn has_just(membership: &wire::Membership, wanted: &[meta::Replica]) -> bool {
    !membership.is_joint()
        && membership.learners.is_empty()
        && membership.voters.len() == wanted.len()
        && membership.voters.iter().all(|voter| wanted.iter().any(|replica| replica.id == voter.id))
}

/// The nodes that people have asked to leave, and on which nothing is left.
fn emptied(map: &ClusterMap, plan: &Plan) -> Vec<NodeId> {
    let left = plan.duties.iter().filter(|left| left.duty == Duty::Leaves && left.is_done());
    left.map(|left| left.node).filter(|node| map.leaving(*node).is_none()).collect()
}

impl Prospect {
    /// Runs it: many rounds.
    pub(crate) fn run(mut self) -> Foretold {
        self.work.reports.duties.insert(self.node, Duty::Leaves);
        let Work { reports, memory, .. } = &*self.work;
        let knobs = self.settings.knobs();
        let input = Input { map: &self.map, reports, healths: &self.healths, memory, now: self.now, knobs: &knobs };
        Foretold::of(self.node, &forecast(&input, FORECAST_STEPS_COUNT_MAX))
    }
}

#[cfg(test)]
#[path = "steward_tests.rs"]
mod tests;
