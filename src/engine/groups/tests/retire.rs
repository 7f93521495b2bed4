//! Replicas that are removed from their group: how they find out, and what they leave behind.

use meta::{ClusterMap, MapChange, Replace};
use raft::Change;
use types::ReplicaId;
use wire::{ReplicaNote, ReplicaNoteKind};

use super::*;
use crate::budget::Pool;

/// A core without the leader, and its replica.
fn follower(world: &World) -> (usize, ReplicaId) {
    let leader = world.leader();
    let side = (0..3).find(|side| *side != leader).unwrap();
    (side, world.sides[side].groups.replica_id(GROUP))
}

/// The map, and one that wants another replica in the place of this one.
fn maps(world: &World, replica: ReplicaId) -> (ClusterMap, ClusterMap) {
    let first = world.sides[0].ctx.config.map.clone();
    let mut later = first.clone();
    let group = GroupId(1);
    let place = first.group(group).unwrap().replicas.iter().find(|one| one.id == replica).unwrap().place;
    assert!(later.change(&MapChange::Replace(Replace { group, replica, place })));
    (first, later)
}

fn remove(world: &mut World, replica: ReplicaId) {
    let leader = world.leader();
    let side = &mut world.sides[leader];
    side.groups.list[GROUP].raft.change_membership(&[Change::Remove(replica)], side.ctx.now).unwrap();
    side.groups.mark(GROUP);
    world.settle();
}

fn ask(world: &mut World, side: usize, map: &ClusterMap, replica: ReplicaId) {
    let note = ReplicaNote { group: GroupId(1), replica, term: 7, says: ReplicaNoteKind::IsMember };
    let Side { ctx, groups, .. } = &mut world.sides[side];
    groups.take_question(ctx, map, GROUP, testing::core(9), note);
}

#[test]
fn a_leader_tells_a_replica_that_it_is_no_member_once_that_is_certain() {
    let mut world = World::new(|_| {});
    let (removed, replica) = follower(&world);
    let (first, later) = maps(&world, replica);
    let leader = world.leader();
    ask(&mut world, leader, &later, replica);
    world.settle();
    assert_eq!(world.sides[leader].gone, [], "it is a member");
    remove(&mut world, replica);
    ask(&mut world, leader, &first, replica);
    ask(&mut world, leader, &later, ReplicaId(later.next_replica.0));
    let other = (0..3).find(|side| *side != leader && *side != removed).unwrap();
    ask(&mut world, other, &later, replica);
    world.settle();
    assert!(
        world.sides.iter().all(|side| side.gone.is_empty()),
        "the map wants it or does not know it, or others lead"
    );
    world.cut = vec![leader];
    ask(&mut world, leader, &later, replica);
    world.settle();
    assert_eq!(world.sides[leader].gone, [], "nobody has confirmed that it leads");
    world.cut.clear();
    world.run(Duration::from_millis(200));
    let gone = world.sides[leader].gone.clone();
    let said = ReplicaNote { group: GroupId(1), replica, term: 7, says: ReplicaNoteKind::Gone };
    assert_eq!(gone, [(testing::core(9), said)]);
}

#[test]
fn a_leader_that_is_deposed_leaves_questions_unanswered() {
    let mut world = World::new(|_| {});
    let (_, replica) = follower(&world);
    let (_, later) = maps(&world, replica);
    remove(&mut world, replica);
    let leader = world.leader();
    world.cut = vec![leader];
    ask(&mut world, leader, &later, replica);
    world.run(Duration::from_secs(4));
    assert!(!world.sides[leader].groups.is_leader(GROUP));
    world.cut.clear();
    world.run(Duration::from_secs(1));
    assert_eq!(world.sides[leader].gone, []);
}

#[test]
fn a_replica_knows_that_it_has_left_by_the_entry_that_removes_it() {
    let mut world = World::new(|_| {});
    let (side, replica) = follower(&world);
    let of_sides: Vec<_> = world.sides.iter_mut().map(|side| side.replica().membership.clone()).collect();
    let replica_of = |world: &mut World, membership: &wire::Membership| {
        world.sides[side].replica().set_membership(membership.clone());
        world.sides[side].groups.has_left_group(GROUP)
    };
    let with = of_sides[side].clone();
    let mut without = with.clone();
    without.voters.retain(|voter| voter.id != replica);
    assert!(!replica_of(&mut world, &with) && replica_of(&mut world, &without) && replica_of(&mut world, &without));
    assert!(!replica_of(&mut world, &with), "it is a member again");
    // One that has just begun applies what there was before it.
    world.sides[side].replica().membership = without.clone();
    assert!(!replica_of(&mut world, &without) && !replica_of(&mut world, &with) && replica_of(&mut world, &without));
}

#[test]
fn a_retired_replica_gives_back_what_it_has_taken_in_and_says_nothing_more() {
    let (mut world, former) = World::with_deposed_leader();
    assert!(world.replies(former).is_empty());
    let side = &mut world.sides[former];
    side.groups.retire(&mut side.ctx, GROUP);
    world.cut.clear();
    world.run(Duration::from_millis(200));
    assert!(world.replies(former)[0].1.starts_with("-UNKNOWNOUTCOME"), "{:?}", world.replies(former));
    let side = &mut world.sides[former];
    assert_eq!(side.retired, [GROUP]);
    assert_eq!(side.ctx.budget.used_by(Pool::Batches), side.groups.requests_held_bytes());
    // Whatever comes it stays silent.
    let term = side.groups.term(GROUP);
    world.run(Duration::from_secs(5));
    let side = &mut world.sides[former];
    assert_eq!(side.groups.term(GROUP), term);
    assert!(!side.groups.is_leader(GROUP) && side.turn().is_empty());
    assert_eq!(side.groups.residents().count(), 0);
}

#[test]
fn another_replica_of_the_group_has_the_place_of_one_that_is_gone() {
    let mut world = World::new(|_| {});
    let (at, replica) = follower(&world);
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.run(Duration::from_millis(200));
    assert_eq!(world.sides[at].keys_count(), 1);
    let side = &mut world.sides[at];
    side.groups.retire(&mut side.ctx, GROUP);
    world.run(Duration::from_millis(100));
    let side = &mut world.sides[at];
    assert_eq!(side.groups.retired_of(GroupId(1)), Some(GROUP));
    side.groups.erase(&side.ctx, GROUP);
    assert_eq!((side.keys_count(), side.groups.retired_of(GroupId(1))), (0, None));
    while side.groups.release_some() {}
    assert_eq!(side.ctx.budget.used_by(Pool::Entries), side.groups.entries_held_bytes());
    let next = NewReplica { id: ReplicaId(replica.0 + 100), ..new_replica(&side.ctx, GroupId(1)) };
    let other = NewReplica { id: ReplicaId(77), ..new_replica(&side.ctx, GroupId(2)) };
    assert_eq!(side.groups.add(&side.ctx, other).unwrap(), GROUP + 1);
    assert_eq!(side.groups.add(&side.ctx, next).unwrap(), GROUP);
    assert_eq!(side.groups.residents().count(), 2);
}
