use meta::{Assign, MapChange, Replace};
use types::{CoreId, ReplicaId};
use wire::{Member, Membership, SilentMember};

use super::*;
use crate::cluster::tasks::{Task, TaskKind, TaskState};
use crate::config::Config;

const GIB: u64 = 1 << 30;
const SETTINGS: PlannerSettings = PlannerSettings { node_down_after: Duration::from_secs(60), balance: true };

/// A cluster in which every group does as the map wants, but for what a test does to it.
struct World {
    map: Arc<ClusterMap>,
    steward: Steward,
    now: Instant,
    /// Nodes that report nothing, and whose replicas nobody hears.
    dead: Vec<NodeId>,
    /// Groups whose members are still those of before, with these.
    stale: BTreeMap<GroupId, Membership>,
}

impl World {
    fn new(nodes: u8, groups: usize) -> World {
        let map = Arc::new(Config::of_test(nodes, 1, groups).map);
        let now = Instant::from_nanos(1_000_000_000_000);
        let steward = Steward::new(3, SETTINGS, now);
        World { map, steward, now, dead: Vec::new(), stale: BTreeMap::new() }
    }

    fn change(&mut self, change: &MapChange) {
        let mut map = ClusterMap::clone(&self.map);
        assert!(map.change(change), "{change:?}");
        self.map = Arc::new(map);
    }

    fn figures(&self, group: &meta::Group) -> Option<(CoreAddr, GroupFigures)> {
        let wanted = group.replicas.iter().map(|replica| Member { id: replica.id, place: replica.place });
        let membership = self.stale.get(&group.id).cloned().unwrap_or_else(|| Membership::of_voters(wanted));
        let is_dead = |member: &Member| self.dead.contains(&member.place.node);
        let leader = *membership.voters.iter().find(|member| !is_dead(member))?;
        let silent = membership.voters.iter().filter(|member| is_dead(member));
        let silent = silent.map(|member| SilentMember { replica: member.id, for_ms: 5_000 }).collect();
        let figures = GroupFigures {
            group: group.id,
            term: 5,
            leader: leader.id,
            membership,
            membership_index: 9,
            silent,
            behind: Vec::new(),
            bytes: GIB,
            ops_per_s: 0,
        };
        Some((leader.place, figures))
    }

    fn report(&mut self) {
        let map = Arc::clone(&self.map);
        for node in map.nodes.iter().filter(|node| !self.dead.contains(&node.id)) {
            let figures = NodeFigures { disk_capacity_bytes: 1 << 40, ..NodeFigures::default() };
            let from = CoreAddr { node: node.id, core: CoreId(0) };
            let report = Report { node: Some(figures), groups: Vec::new() };
            assert_eq!(self.steward.hear(&map, from, report, self.now), 0);
        }
        let all: Vec<_> = map.groups.iter().filter_map(|group| self.figures(group)).collect();
        for (from, figures) in all {
            let report = Report { node: None, groups: vec![figures] };
            assert_eq!(self.steward.hear(&map, from, report, self.now), 0);
        }
    }

    /// A second passes, with a round. Returns its steps, none of which is taken.
    fn round(&mut self) -> Vec<PlannedStep> {
        self.now += Duration::from_secs(1);
        self.report();
        let round = self.steward.begin_round(&self.map, SETTINGS, None, self.now).expect("it is time");
        assert!(self.steward.begin_round(&self.map, SETTINGS, None, self.now).is_none(), "one is under way");
        assert!(self.steward.end_round(round.run()));
        std::iter::from_fn(|| self.steward.next_step()).collect()
    }

    fn task(&self, kind: TaskKind, node: u32) -> Option<Task> {
        let mut tasks = self.steward.picture().unwrap().tasks.iter();
        tasks.find(|task| (task.kind, task.node) == (kind, NodeId(node))).cloned()
    }
}

fn assign(node: u32, duty: Duty) -> MapChange {
    MapChange::Assign(Assign { node: NodeId(node), duty })
}

/// A step for a node that leads what it should not, or has replicas that it should not.
fn is_for(planned: &PlannedStep, node: u32) -> bool {
    [Purpose::Drain(NodeId(node)), Purpose::Leave(NodeId(node)), Purpose::Dead(NodeId(node))]
        .contains(&planned.step.purpose)
}

#[test]
fn leaders_leave_a_node_that_drains_and_its_task_says_when_they_have() {
    let mut world = World::new(4, 8);
    assert!(world.round().iter().all(|planned| !is_for(planned, 1)));
    assert_eq!(world.task(TaskKind::Drain, 1), None);
    world.change(&assign(1, Duty::Drains));
    let led = |world: &World| {
        let leads = |group: &&meta::Group| world.figures(group).is_some_and(|(from, _)| from.node == NodeId(1));
        world.map.groups.iter().filter(leads).count()
    };
    assert!(led(&world) > 0);
    let steps = world.round();
    let transfers: Vec<_> = steps.iter().filter(|planned| is_for(planned, 1)).collect();
    assert_eq!(transfers.len(), led(&world));
    for planned in &transfers {
        assert!(matches!(planned.step.action, Action::Transfer { term: 5, .. }));
        assert_eq!(planned.leader.map(|place| place.node), Some(NodeId(1)), "it goes to whoever leads");
    }
    let task = world.task(TaskKind::Drain, 1).expect("it is under way");
    assert_eq!((task.leaders, task.replicas, task.state), (led(&world), 0, TaskState::Running));
    // Replicas on another node lead everything.
    let stays: Vec<_> = world.map.groups.iter().map(|group| (group.id, group.replicas.clone())).collect();
    world.dead = vec![NodeId(1)];
    let others: BTreeMap<_, _> =
        stays.iter().map(|(id, _)| (*id, world.figures(world.map.group(*id).unwrap()))).collect();
    world.dead.clear();
    world.now += Duration::from_secs(1);
    for (from, figures) in others.into_values().flatten() {
        let figures = GroupFigures { term: 6, silent: Vec::new(), ..figures };
        world.steward.hear(&world.map, from, Report { node: None, groups: vec![figures] }, world.now);
    }
    let round = world.steward.begin_round(&world.map, SETTINGS, None, world.now).unwrap();
    assert!(world.steward.end_round(round.run()));
    assert_eq!(world.task(TaskKind::Drain, 1).unwrap().state, TaskState::Done);
}

#[test]
fn a_node_that_leaves_is_emptied_only_once_no_group_has_a_member_there() {
    let mut world = World::new(6, 4);
    world.round();
    world.change(&assign(2, Duty::Leaves));
    let before: BTreeMap<_, _> =
        world.map.groups.iter().map(|group| (group.id, world.figures(group).unwrap().1.membership)).collect();
    let wanted = world.map.groups_on(NodeId(2)).count();
    let on_2 = |members: &Membership| members.members().any(|member| member.place.node == NodeId(2));
    for _ in 0..200 {
        let steps = world.round();
        assert!(
            world.map.groups_on(NodeId(2)).next().is_none() || world.steward.picture().unwrap().emptied.is_empty()
        );
        for planned in steps.iter().filter(|planned| is_for(planned, 2)) {
            world.steward.note(&planned.step, world.now);
            if let Action::Change(change) = &planned.step.action {
                world.change(&change.clone());
                let group = planned.step.action.group().unwrap();
                world.stale.insert(group, before[&group].clone());
            }
        }
        let task = world.task(TaskKind::Decommission, 2).expect("it is under way");
        if world.map.groups_on(NodeId(2)).next().is_none() {
            // The map wants none there any more, and all members are there still.
            world.round();
            let left = world.stale.values().filter(|members| on_2(members)).count();
            assert!(left > 0 && left <= wanted);
            assert_eq!(world.steward.picture().unwrap().emptied, []);
            let task = world.task(TaskKind::Decommission, 2).unwrap();
            assert_eq!((task.replicas, task.bytes, task.state), (left, left as u64 * GIB, TaskState::Running));
            world.stale.clear();
            world.round();
            assert_eq!(world.steward.picture().unwrap().emptied, [NodeId(2)]);
            return;
        }
        assert!(task.replicas > 0 && task.bytes >= GIB);
        // Others have changed their members meanwhile.
        world.stale.clear();
    }
    panic!("replicas stay");
}

#[test]
fn a_node_that_is_silent_for_long_enough_is_replaced_and_not_before() {
    let mut world = World::new(6, 4);
    world.round();
    world.dead = vec![NodeId(3)];
    let since = world.now;
    let mut first = None;
    for _ in 0..90 {
        let steps = world.round();
        let health = world.steward.picture().unwrap().healths[&NodeId(3)];
        let silent_for = world.now.since(since);
        assert_eq!(matches!(health, Health::Down { .. }), silent_for >= SETTINGS.node_down_after, "{silent_for:?}");
        if steps.iter().any(|planned| planned.step.purpose == Purpose::Dead(NodeId(3))) {
            first = first.or(Some(silent_for));
        }
    }
    assert_eq!(first, Some(SETTINGS.node_down_after));
    let task = world.task(TaskKind::Replace, 3).expect("it is under way");
    assert_eq!(task.replicas, world.map.groups_on(NodeId(3)).count());
    let named: Vec<_> =
        world.steward.healths().unwrap().nodes.into_iter().filter(|(_, it)| *it != NodeHealth::Up).collect();
    assert_eq!(named, [(NodeId(3), NodeHealth::Down)]);
}

#[test]
fn many_that_are_missing_are_an_alarm_and_nothing_is_replaced() {
    let mut world = World::new(6, 4);
    world.round();
    world.dead = vec![NodeId(3), NodeId(5)];
    for _ in 0..90 {
        let steps = world.round();
        assert!(steps.iter().all(|planned| !matches!(planned.step.purpose, Purpose::Dead(_))), "{steps:?}");
    }
    let picture = world.steward.picture().unwrap();
    assert!(picture.alarm.as_ref().is_some_and(|alarm| alarm.contains("2 of 6 are missing")), "{:?}", picture.alarm);
    let task = world.task(TaskKind::Replace, 3).expect("it is to be done");
    assert_eq!(
        (task.state, task.reason.contains("too many nodes are missing")),
        (TaskState::Waiting, true),
        "{task:?}"
    );
}

#[test]
fn a_core_is_not_believed_about_groups_that_are_led_elsewhere() {
    let mut world = World::new(4, 4);
    let group = world.map.groups[1].clone();
    let (from, figures) = world.figures(&group).unwrap();
    let other = group.replicas.iter().map(|replica| replica.place).find(|place| *place != from).unwrap();
    let hear = |world: &mut World, from: CoreAddr, figures: GroupFigures| {
        let (map, now) = (Arc::clone(&world.map), world.now);
        world.steward.hear(&map, from, Report { node: None, groups: vec![figures] }, now)
    };
    assert_eq!(hear(&mut world, other, figures.clone()), 1, "the leader lives on {from}");
    let unknown = GroupFigures { group: GroupId(99), ..figures.clone() };
    assert_eq!(hear(&mut world, from, unknown), 1, "there is no such group");
    assert_eq!(hear(&mut world, from, figures.clone()), 0);
    let deposed = GroupFigures { term: 4, leader: figures.leader, ..figures.clone() };
    assert_eq!(hear(&mut world, from, deposed.clone()), 1, "somebody has led it later");
    // What was heard in an earlier round counts, too.
    world.round();
    hear(&mut world, from, deposed);
    world.now += Duration::from_secs(1);
    let round = world.steward.begin_round(&world.map, SETTINGS, None, world.now).unwrap();
    assert_eq!(round.run().refused_count, 1);
}

#[test]
fn the_result_of_another_term_is_dropped() {
    let mut world = World::new(4, 4);
    world.now += Duration::from_secs(1);
    world.report();
    let round = world.steward.begin_round(&world.map, SETTINGS, None, world.now).unwrap();
    let mut next = Steward::new(4, SETTINGS, world.now);
    assert!(!next.end_round(round.run()));
    assert!(next.picture().is_none() && next.healths().is_none() && !next.has_steps());
    assert!(next.begin_round(&world.map, SETTINGS, None, world.now).is_none(), "all nodes are heard first");
    let later = world.now + Duration::from_secs(1);
    assert!(next.begin_round(&world.map, SETTINGS, None, later).is_some());
}

#[test]
fn a_forecast_tells_each_move_and_changes_nothing() {
    let mut world = World::new(6, 4);
    world.round();
    let before = Arc::clone(&world.map);
    let ask = |world: &mut World| {
        world.now += Duration::from_secs(1);
        world.report();
        let round = world.steward.begin_round(&world.map, SETTINGS, Some(NodeId(2)), world.now).unwrap();
        let mut result = round.run();
        let prospect = result.prospect.take().expect("somebody wants to know");
        assert!(world.steward.end_round(result));
        while world.steward.next_step().is_some() {}
        prospect.run()
    };
    let told = ask(&mut world);
    let mut bytes = Vec::new();
    let mut reply = resp::Reply::new(&mut bytes, resp::Protocol::Resp2);
    crate::cluster::write_foretold(&told, &mut reply);
    let text = String::from_utf8(bytes).unwrap();
    for part in ["moves", "digest", "refusals", "(node 2 leaves)", "another replica on"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(ask(&mut world), told, "the same would be done");
    assert_eq!(*world.map, *before);
    assert!(world.task(TaskKind::Decommission, 2).is_none());
}

#[test]
fn tasks_are_maps_with_seven_fields_and_an_alarm_comes_last() {
    let task = Task {
        kind: TaskKind::Decommission,
        node: NodeId(3),
        leaders: 1,
        replicas: 12,
        bytes: 7,
        state: TaskState::Waiting,
        reason: "g4: it rests".to_owned(),
    };
    let picture = Picture { tasks: vec![task], alarm: Some("two are missing".to_owned()), ..Picture::default() };
    let mut bytes = Vec::new();
    crate::cluster::write_tasks(&picture, &mut resp::Reply::new(&mut bytes, resp::Protocol::Resp3));
    let text = String::from_utf8(bytes).unwrap();
    let expected = "*2\r\n%7\r\n$4\r\nkind\r\n$12\r\ndecommission\r\n$4\r\nnode\r\n:3\r\n$7\r\nleaders\r\n:1\r\n$8\r\nreplicas\r\n:12\r\n\
                    $5\r\nbytes\r\n:7\r\n$5\r\nstate\r\n$7\r\nwaiting\r\n$6\r\nreason\r\n$12\r\ng4: it rests\r\n%7\r\n$4\r\nkind\r\n$5\r\nalarm\r\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("two are missing\r\n"));
}

/// A replica that the planner has moved is a part of the task until its group has followed.
#[test]
fn what_is_on_its_way_is_part_of_a_task() {
    let mut world = World::new(4, 4);
    world.round();
    let group = world.map.groups[1].clone();
    let old = group.replicas[1];
    let free = world.map.nodes.iter().map(|node| node.id);
    let free = free.into_iter().find(|id| group.replicas.iter().all(|one| one.place.node != *id)).unwrap();
    let place = CoreAddr { node: free, core: CoreId(0) };
    let change = MapChange::Replace(Replace { group: group.id, replica: old.id, place });
    let step = Step { action: Action::Change(change.clone()), purpose: Purpose::Bytes(old.place.node), bytes: GIB };
    let members = world.figures(&group).unwrap().1.membership;
    world.change(&change);
    world.stale.insert(group.id, members);
    world.steward.note(&step, world.now);
    world.round();
    let task = world.task(TaskKind::Balance, old.place.node.0).expect("it is on its way");
    assert_eq!((task.replicas, task.bytes, task.state), (1, GIB, TaskState::Running));
    assert_ne!(world.map.groups[1].replicas[1].id, ReplicaId(0));
    world.stale.clear();
    world.round();
    let again = world.task(TaskKind::Balance, old.place.node.0);
    assert!(again.is_none_or(|task| task.replicas == 0), "it has come");
}
