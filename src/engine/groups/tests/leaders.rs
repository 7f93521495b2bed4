//! Who leads, where replicas live, and what only a leader proposes.

use super::*;

#[test]
fn the_replica_that_the_map_prefers_leads_first_and_everybody_hears_of_it_once() {
    let world = World::new(|_| {});
    let leader = world.leader();
    let preferred = world.sides[0].ctx.config.map.groups[1].preferred_leader().unwrap().place;
    assert_eq!(world.sides[leader].ctx.addr(), preferred);
    for (at, side) in world.sides.iter().enumerate() {
        let [(note, is_elected)] = side.leaders[..] else { panic!("told more than once: {:?}", side.leaders) };
        assert_eq!((note.place, note.group, is_elected), (preferred, GroupId(1), at == leader));
        assert_eq!(side.ctx.counters.leaderships_gained, u64::from(at == leader));
        assert_eq!(side.ctx.counters.leaderships_lost, 0);
    }
    let led: Vec<usize> = world.sides.iter().map(|side| side.groups.led(side.ctx.addr()).count()).collect();
    assert_eq!(led.iter().sum::<usize>(), led[leader]);
}

/// The members that a group begins with are known to Raft by their ids alone.
#[test]
fn the_map_tells_where_replicas_live_whose_members_do_not_say() {
    let forget = |new: &mut NewReplica| {
        new.membership.voters.iter_mut().for_each(|voter| voter.place = CoreAddr::default());
    };
    let world = World::starting(|_| {}, forget);
    world.leader();
    for at in 0..3 {
        let addrs = &world.sides[at].groups.list[GROUP].addrs;
        assert!((1..=3).all(|node| addrs.at(testing::core(node)).count() == 1));
    }
}

#[test]
fn members_that_join_are_spoken_to_where_they_live() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    // Nobody lives there in these tests.
    world.cut = vec![8];
    let joins = wire::Member { id: ReplicaId(99), place: testing::core(9) };
    let side = &mut world.sides[leader];
    side.replica().raft.change_membership(&[raft::Change::AddLearner(joins)], world.now).unwrap();
    side.groups.mark(GROUP);
    world.settle();
    world.run(Duration::from_millis(200));
    for side in &world.sides {
        assert_eq!(side.groups.list[GROUP].addrs.get(joins.id), Some(joins.place));
        assert_eq!(side.groups.list[GROUP].membership.learners, [joins]);
    }
}

#[test]
fn only_the_leader_proposes_a_map_and_all_apply_it() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for at in 0..3 {
        let side = &mut world.sides[at];
        let proposed =
            side.groups.propose_map(&side.ctx, GROUP, wire::EntryKind::ClusterMap, Bytes::from_static(b"map"));
        assert_eq!(proposed, (at == leader).then(|| side.groups.list[GROUP].raft.term()));
        assert_eq!(side.groups.list[GROUP].has_work, at == leader);
    }
    world.settle();
    world.run(Duration::from_millis(200));
    assert!(world.sides.iter().all(|side| side.maps == [&b"map"[..]]));
}

/// A turn may come to the proposals of a leader before it has come to its election.
#[test]
fn what_a_leader_has_proposed_is_not_given_up_before_anybody_was_told_that_it_leads() {
    let (mut world, leader) = stuck(|_| {});
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.sides[leader].replica().leader_term = None;
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
    ctx.now += ctx.config.leader_wait;
    groups.tick(ctx, answers, effects);
    assert!(answers.replies.is_empty(), "it may well be committed: {:?}", answers.replies);
}

#[test]
fn a_replica_that_leads_no_more_or_is_alone_is_not_handed_over() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for at in (0..3).filter(|at| *at != leader) {
        let side = &mut world.sides[at];
        side.groups.hand_over(&side.ctx);
        assert!(!side.replica().is_handed_over);
    }
    let side = &mut world.sides[leader];
    side.groups.hand_over(&side.ctx);
    assert!(side.replica().is_handed_over && side.replica().raft.transferring_to().is_some());
}

/// It may hear who has followed it before it has told anybody that it leads no more.
#[test]
fn a_leader_that_follows_another_one_is_not_elected() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let successor = testing::core((leader as u32 + 1) % 3 + 1);
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
    let replica = &groups.list[GROUP];
    let id = replica.addrs.at(successor).next();
    let state = raft::SoftState { role: raft::Role::Follower, leader: id, term: replica.raft.term() + 1 };
    groups.on_soft_state(ctx, answers, effects, GROUP, state);
    let [GroupEffect::Leader { note, is_elected: false }] = effects[..] else { panic!("{effects:?}") };
    assert_eq!((note.place, note.term), (successor, state.term));
    assert_eq!((ctx.counters.leaderships_gained, ctx.counters.leaderships_lost), (1, 1));
}
