//! What the groups make of news about other cores, and of their own fitness.

use super::*;

fn quiet() -> (World, usize, [usize; 2]) {
    let mut world = World::new(|_| {});
    world.run(Duration::from_secs(10));
    let leader = world.leader();
    let followers = [(leader + 1) % 3, (leader + 2) % 3];
    assert!(world.sides.iter_mut().all(|side| side.replica().raft.is_quiescent()));
    (world, leader, followers)
}

fn addr(side: usize) -> CoreAddr {
    testing::core(side as u32 + 1)
}

#[test]
fn a_quiescent_replica_wakes_when_its_leader_falls_silent() {
    let (mut world, leader, [follower, other]) = quiet();
    let mut hears = |at: usize, silent: &[usize]| {
        let side = &mut world.sides[at];
        let addrs: Vec<CoreAddr> = silent.iter().copied().map(addr).collect();
        side.groups.peers_silent(&side.ctx, &addrs);
        !side.replica().raft.is_quiescent() && side.groups.next_with_work().is_some()
    };
    assert!(!hears(leader, &[leader, follower, other]), "whoever leads follows nobody");
    assert!(!hears(follower, &[follower, other]));
    assert!(hears(follower, &[other, leader]));
}

#[test]
fn a_replica_wakes_when_its_leader_is_lost() {
    let (mut world, leader, [follower, other]) = quiet();
    let side = &mut world.sides[follower];
    side.groups.peer_lost(&side.ctx, addr(other));
    assert!(side.replica().raft.is_quiescent());
    side.groups.peer_lost(&side.ctx, testing::core(9));
    assert!(side.replica().raft.is_quiescent(), "nobody knows that core");
    side.groups.peer_lost(&side.ctx, addr(leader));
    assert!(!side.replica().raft.is_quiescent());
}

#[test]
fn a_leader_looks_anew_where_the_log_of_a_lost_follower_ends() {
    let (mut world, leader, [follower, _]) = quiet();
    let side = &mut world.sides[leader];
    side.groups.peer_lost(&side.ctx, addr(follower));
    let id_of = |addr: CoreAddr| side.groups.list[GROUP].addrs.iter().find(|(_, at)| **at == addr).map(|(id, _)| *id);
    let lost = id_of(addr(follower)).unwrap();
    for peer in side.groups.list[GROUP].raft.peers() {
        assert_eq!(peer.state == raft::ProgressState::Probe, peer.id == lost, "{peer:?}");
    }
}

#[test]
fn a_leader_wakes_when_a_follower_that_was_away_is_found_again() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let (follower, away) = ((leader + 1) % 3, (leader + 2) % 3);
    world.cut = vec![away];
    world.run(Duration::from_secs(30));
    let side = &mut world.sides[leader];
    assert!(side.replica().raft.is_quiescent());
    side.groups.peer_found(&side.ctx, addr(follower));
    assert!(side.replica().raft.is_quiescent());
    side.groups.peer_found(&side.ctx, addr(away));
    assert!(!side.replica().raft.is_quiescent() && side.groups.next_with_work().is_some());
}

#[test]
fn a_core_that_is_not_fit_hands_its_groups_over() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let side = &mut world.sides[leader];
    side.groups.set_priority(&side.ctx, 0);
    world.run(Duration::from_secs(10));
    assert_ne!(world.leader(), leader);
}

#[test]
fn how_fit_a_core_is_holds_for_replicas_that_come_later() {
    let ctx = testing::context(|_| {});
    let mut groups = Groups::new();
    groups.set_priority(&ctx, 1);
    let group = groups.add(&ctx, new_replica(&ctx, GroupId(2))).unwrap();
    assert_eq!(groups.list[group].raft.config().priority, 1);
}
