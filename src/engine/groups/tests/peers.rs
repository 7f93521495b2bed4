//! What the groups make of news about other cores, and of their own fitness.

use types::ReplicaId;
use wire::Body;

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
    let lost = side.groups.list[GROUP].addrs.at(addr(follower)).next().unwrap();
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
    let mut groups = Groups::new(&ctx.budget);
    groups.set_priority(&ctx, 1);
    let group = groups.add(&ctx, new_replica(&ctx, GroupId(2))).unwrap();
    assert_eq!(groups.list[group].raft.config().priority, 1);
}

/// A message for the replica of `side` from a core that no configuration knows, in the term of the replica.
fn of_stranger(side: &Side, id: u64, body: Body) -> Message {
    let raft = &side.groups.list[GROUP].raft;
    Message { group: GroupId(1), from: ReplicaId(id), to: raft.id(), term: raft.term(), body }
}

fn pre_vote() -> Body {
    Body::Vote { pre: true, transfer: false, last_index: 0, last_term: 0 }
}

/// Where the answer to a stranger's message goes, if there is one.
fn answered_at(side: &mut Side, from: CoreAddr, message: Message) -> Option<usize> {
    let stranger = message.from;
    side.groups.step(&mut side.ctx, GROUP, from, message);
    side.turn().into_iter().find(|(_, message)| message.to == stranger).map(|(to, _)| to)
}

#[test]
fn a_replica_of_a_configuration_that_has_not_come_here_is_answered_whoever_makes_numbers_up() {
    let mut world = World::new(|_| {});
    let follower = (world.leader() + 1) % 3;
    let side = &mut world.sides[follower];
    for id in 1_000..2_000 {
        let message = of_stranger(side, id, pre_vote());
        assert_eq!(answered_at(side, addr(7), message), Some(7), "{id}");
    }
    let remembered = side.groups.list[GROUP].addrs.at(addr(7)).count();
    assert_eq!(remembered, 36, "no more than there may be");
    let message = of_stranger(side, 99, pre_vote());
    assert_eq!(answered_at(side, addr(8), message), Some(8));
}

#[test]
fn who_sends_what_raft_does_not_take_is_not_remembered() {
    let mut world = World::new(|_| {});
    let follower = (world.leader() + 1) % 3;
    let side = &mut world.sides[follower];
    let answer = of_stranger(side, 99, Body::VoteReply { pre: false, granted: true });
    let mut elsewhere = of_stranger(side, 99, pre_vote());
    elsewhere.to = ReplicaId(98);
    let mut far = of_stranger(side, 99, pre_vote());
    far.term = Term::MAX;
    for message in [answer, elsewhere, far] {
        side.groups.step(&mut side.ctx, GROUP, addr(7), message);
        assert_eq!(side.groups.list[GROUP].addrs.at(addr(7)).count(), 0);
    }
}

/// Somebody else, or a replica of an earlier configuration, may have lived there: the member was told to be reachable.
#[test]
fn all_replicas_are_lost_that_live_at_an_address() {
    let (mut world, leader, [follower, _]) = quiet();
    let side = &mut world.sides[leader];
    let lost = side.groups.list[GROUP].addrs.at(addr(follower)).next().unwrap();
    // Lower than any member's.
    let message = of_stranger(side, 0, pre_vote());
    side.groups.step(&mut side.ctx, GROUP, addr(follower), message);
    assert_eq!(side.groups.list[GROUP].addrs.at(addr(follower)).count(), 2);
    side.groups.peer_lost(&side.ctx, addr(follower));
    let state = side.groups.list[GROUP].raft.peers().find(|peer| peer.id == lost).map(|peer| peer.state);
    assert_eq!(state, Some(raft::ProgressState::Probe));
}
