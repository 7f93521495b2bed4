//! The planner on the core that leads group 0: what is asked of nodes, what is reported, rounds and their steps.

use bytes::Bytes;
use meta::reports::Duty;
use meta::{Assign, ClusterMap, MapChange};
use wire::{GroupFigures, Healths, Member, Membership, NodeHealth, ReplicaNote, ReplicaNoteKind, Report};

use super::*;

const CLIENT: ConnId = ConnId { idx: 0, generation: 0 };

fn pass(world: &mut World, seconds: u64) {
    for _ in 0..seconds * 40 {
        world.host.disk.advance(Duration::from_millis(25));
        world.turn();
    }
}

/// Sends a command, lets three seconds pass, and returns the answer.
fn ask(world: &mut World, command: &str) -> String {
    world.send(CLIENT, &format!("{command}\r\n"));
    pass(world, 3);
    world.host.take_sent(CLIENT)
}

/// A node that joins, so that there is another one. It is never there.
fn join(world: &mut World) {
    let token = ask(world, "CORACLE TOKEN");
    let token = &token[5..37];
    let shown = format!("CORACLE JOIN {token} 5 {:024} 127.0.0.2 7000 7001 8001 9000 1", 0);
    assert_eq!(ask(world, &shown), "+WAIT\r\n");
    assert_eq!(world.core.cluster.map().nodes.len(), 2);
}

#[test]
fn what_is_asked_of_a_node_is_answered_once_group_0_has_agreed() {
    let mut world = World::new(1, 2, |_| {});
    world.connect(1);
    let duty = |world: &World| world.core.cluster.map().duty(NodeId(1));
    let before = world.core.cluster.map().epoch;
    world.disk_writes = false;
    world.send(CLIENT, "CORACLE DRAIN 1\r\n");
    pass(&mut world, 1);
    assert_eq!(world.host.take_sent(CLIENT), "", "nothing is durable yet");
    assert_eq!(duty(&world), Duty::Serves);
    world.disk_writes = true;
    pass(&mut world, 1);
    assert_eq!((world.host.take_sent(CLIENT), duty(&world)), ("+OK\r\n".to_owned(), Duty::Drains));
    assert_eq!(ask(&mut world, "coracle drain 1"), "+OK\r\n", "it drains");
    assert_eq!(ask(&mut world, "CORACLE UNDRAIN 1"), "+OK\r\n");
    assert_eq!((duty(&world), world.core.cluster.map().epoch), (Duty::Serves, before + 2));
    for (command, answer) in [
        ("CORACLE DRAIN 9", "-ERR there is no node 9"),
        ("CORACLE DRAIN one", "-ERR 'one' is no node"),
        (
            "CORACLE DECOMMISSION 1",
            "-ERR without node 1 0 nodes would remain for groups of 1 replicas: let another node join",
        ),
        ("CORACLE PLAN DRAIN 1", "-ERR there is a plan of DECOMMISSION"),
        ("CORACLE PLAN DECOMMISSION 9", "-ERR there is no node 9"),
        ("CORACLE DRAIN", "-ERR wrong number"),
    ] {
        let found = ask(&mut world, command);
        assert!(found.starts_with(answer), "{command}: {found}");
    }
    assert_eq!(duty(&world), Duty::Serves);
}

#[test]
fn a_node_that_leaves_and_holds_nothing_is_removed_by_the_planner() {
    let mut world = World::new(1, 2, |_| {});
    world.connect(1);
    join(&mut world);
    assert!(ask(&mut world, "CORACLE NODES").contains("$4\r\nduty\r\n$6\r\nserves\r\n"));
    assert_eq!(ask(&mut world, "CORACLE DECOMMISSION 2"), "+OK\r\n");
    pass(&mut world, 3);
    let map = world.core.cluster.map();
    assert!(map.is_removed(NodeId(2)) && map.duties.is_empty(), "{map:?}");
    assert_eq!(world.core.ctx.counters.planner_dismissals, 1);
    assert!(ask(&mut world, "CORACLE UNDRAIN 2").starts_with("-ERR node 2 was removed"));
    assert_eq!(ask(&mut world, "CORACLE TASKS"), "*0\r\n");
}

#[test]
fn what_drains_is_a_task_and_stands_beside_each_node_with_its_health() {
    let mut world = World::new(1, 2, |_| {});
    world.connect(1);
    join(&mut world);
    pass(&mut world, 8);
    assert_eq!(ask(&mut world, "CORACLE DRAIN 1"), "+OK\r\n");
    let tasks = ask(&mut world, "CORACLE TASKS");
    for part in ["drain", "leaders\r\n:3\r\n", "replicas\r\n:0\r\n", "waiting", "no other replica can lead it"] {
        assert!(tasks.contains(part), "{part}: {tasks}");
    }
    let nodes = ask(&mut world, "CORACLE NODES");
    let of_nodes: Vec<&str> = nodes.split("duty").skip(1).collect();
    assert!(of_nodes[0].starts_with("\r\n$6\r\ndrains\r\n$6\r\nhealth\r\n$2\r\nup\r\n"), "{nodes}");
    assert!(
        of_nodes[1].starts_with("\r\n$6\r\nserves\r\n$6\r\nhealth\r\n$7\r\nsuspect\r\n"),
        "nobody has heard it: {nodes}"
    );
    assert!(world.core.ctx.counters.reports_taken > 0 && world.core.ctx.counters.planner_rounds > 0);
}

#[test]
fn a_plan_is_told_and_changes_nothing() {
    let mut world = World::new(1, 2, |_| {});
    world.connect(1);
    join(&mut world);
    let before = ClusterMap::clone(world.core.cluster.map());
    let told = ask(&mut world, "CORACLE PLAN DECOMMISSION 2");
    for part in ["moves\r\n*0\r\n", "refusals", "digest\r\n$16\r\n", "bytes\r\n:0\r\n"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(**world.core.cluster.map(), before);
    pass(&mut world, 3);
    assert_eq!(**world.core.cluster.map(), before);
}

#[test]
fn what_is_asked_on_another_core_comes_as_a_change_that_compares() {
    let mut world = World::new(2, 2, |_| {});
    let assign = |duty| Bytes::from(MapChange::Assign(Assign { node: NodeId(1), duty }).to_bytes());
    let before = world.core.cluster.map().epoch;
    let changes = vec![assign(Duty::Drains), assign(Duty::Drains), assign(Duty::Leaves)];
    world.send_frame(1, Frame { changes, ..Frame::default() });
    pass(&mut world, 1);
    let map = world.core.cluster.map();
    assert_eq!((map.duty(NodeId(1)), map.epoch), (Duty::Drains, before + 1), "it cannot leave, and drains once");
}

/// What core 1 says of a group of this number: that it leads it, from this place.
fn figures(world: &World, group: u32, place: CoreAddr) -> GroupFigures {
    let replica = world.core.cluster.map().group(GroupId(group)).unwrap().replicas[0];
    GroupFigures {
        group: GroupId(group),
        term: 9,
        leader: replica.id,
        membership: Membership::of_voters([Member { id: replica.id, place }]),
        membership_index: 0,
        silent: Vec::new(),
        behind: Vec::new(),
        bytes: 1,
        ops_per_s: 1,
    }
}

#[test]
fn reports_come_over_the_mesh_and_those_of_whoever_does_not_lead_are_refused() {
    let mut world = World::new(2, 4, |_| {});
    let refused = |world: &World| world.core.ctx.counters.reports_refused;
    let (own, other) = (CoreAddr { node: NodeId(1), core: CoreId(0) }, CoreAddr { node: NodeId(1), core: CoreId(1) });
    let taken = world.core.ctx.counters.reports_taken;
    let report = |groups| Frame { report: Some(Report { node: None, groups }), ..Frame::default() };
    world.send_frame(1, report(vec![figures(&world, 2, other)]));
    world.turn();
    assert_eq!((refused(&world), world.core.ctx.counters.reports_taken), (0, taken + 1));
    world.send_frame(1, report(vec![figures(&world, 2, own)]));
    world.turn();
    assert_eq!(refused(&world), 1, "it says that another core leads");
}

#[test]
fn the_other_cores_of_the_node_hear_how_the_nodes_are_unless_somebody_later_has_said_it() {
    let mut world = World::new(2, 2, |_| {});
    world.connect(1);
    pass(&mut world, 3);
    let told: Vec<Healths> = world
        .host
        .take_mesh()
        .into_iter()
        .filter_map(|(_, message)| match message {
            MeshMessage::Healths(healths) => Some(healths),
            _ => None,
        })
        .collect();
    assert_eq!(told.last().map(|healths| healths.nodes.clone()), Some(vec![(NodeId(1), NodeHealth::Up)]));
    let term = told[0].term;
    let is = |health| Healths { term: 0, nodes: vec![(NodeId(1), health)] };
    for (term, health, shown) in [(term + 1, NodeHealth::Down, "down"), (term, NodeHealth::Suspect, "down")] {
        let healths = Healths { term, ..is(health) };
        world.send_frame(1, Frame { healths: Some(healths), ..Frame::default() });
        world.turn();
        world.send(CLIENT, "CORACLE NODES\r\n");
        world.turn();
        let nodes = world.host.take_sent(CLIENT);
        assert!(nodes.contains(&format!("health\r\n${}\r\n{shown}\r\n", shown.len())), "{nodes}");
    }
}

#[test]
fn rounds_end_with_the_leadership_and_steps_of_other_terms_do_nothing() {
    let mut world = World::new(1, 2, |_| {});
    pass(&mut world, 3);
    let group = world.core.router.local_of(GroupId(1)).unwrap();
    let (term, replica) = (world.core.groups.term(group), world.core.groups.replica_id(group));
    let note = ReplicaNote { group: GroupId(1), replica, term: term + 1, says: ReplicaNoteKind::Lead };
    assert!(!world.core.hand_over_as_told(note), "another one leads in that term, or nobody");
    assert!(!world.core.hand_over_as_told(ReplicaNote { term, ..note }), "it leads already");
    assert!(world.core.groups.is_leader(group));
    // A round whose term is over by the time it ends.
    let rounds = world.core.ctx.counters.planner_rounds;
    assert!(rounds > 0);
    let mut steward = None;
    for _ in 0..200 {
        world.host.disk.advance(Duration::from_millis(25));
        world.core.turn().unwrap();
        if world.core.planning_is_under_way() {
            steward = world.core.steward.take();
            break;
        }
        world.host.disk.run_tasks();
    }
    let term = steward.expect("a round begins each second").term();
    world.core.steward = Some(Steward::new(
        term + 1,
        crate::cluster::PlannerSettings { node_down_after: Duration::from_secs(9), balance: true },
        world.core.ctx.now,
    ));
    let lost = world.core.ctx.counters.planner_rounds_lost;
    world.host.disk.run_tasks();
    world.core.end_round();
    assert_eq!(world.core.ctx.counters.planner_rounds_lost, lost + 1);
    pass(&mut world, 3);
    assert!(world.core.ctx.counters.planner_rounds > rounds, "the steward of the term goes on");
}
