//! Elections, leader stickiness, and who is let in again.

use std::time::Duration;

use raft::Role;
use types::{GroupId, Instant, ReplicaId};
use wire::{Body, HardState, Message};

use crate::sim::Sim;
use crate::solo::{ONE, Solo, THREE, TWO, heartbeat, recovered};

fn request(last_index: u64, last_term: u64) -> Body {
    Body::Vote { pre: false, transfer: false, last_index, last_term }
}

const GRANTED: Body = Body::VoteReply { pre: false, granted: true };
const DENIED: Body = Body::VoteReply { pre: false, granted: false };

#[test]
fn a_replica_cut_off_raises_no_term_and_disturbs_nobody_when_it_is_back() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    let term = sim.raft(leader).term();
    let other = (leader + 1) % 3;
    sim.isolate(other);
    sim.run(500);
    assert_eq!(sim.raft(other).role(), Role::PreCandidate);
    assert_eq!(sim.raft(other).term(), term, "a pre-vote raises no term");
    sim.heal();
    sim.run(200);
    assert_eq!((sim.leader(), sim.raft(leader).term()), (Some(leader), term));
    assert_eq!(sim.raft(other).leader(), Some(ReplicaId(leader as u64 + 1)));
}

#[test]
fn a_rejoining_replica_with_a_higher_term_is_not_shut_out() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    let other = (leader + 1) % 3;
    sim.run(20);
    sim.crash(other);
    sim.nodes[other].disk.hard_state.term = 9;
    sim.nodes[other].disk.hard_state.vote = Some(ReplicaId(other as u64 + 1));
    sim.propose(leader, b"x").unwrap();
    sim.run(20);
    sim.restart(other);
    sim.run(500);
    let leader = sim.leader().unwrap();
    assert!(sim.raft(leader).term() > 9, "the group has taken over its term");
    assert_ne!(leader, other, "its log is behind");
    sim.propose(leader, b"y").unwrap();
    sim.run(30);
    assert_eq!(sim.nodes[other].applied, sim.check.commit_max());
}

#[test]
fn a_leader_that_no_majority_answers_steps_down() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    sim.isolate(leader);
    sim.run(120);
    assert!(!sim.raft(leader).is_leader());
    assert_eq!(sim.raft(leader).counters().quorum_lost, 1);
    sim.run(200);
    assert_ne!(sim.leader(), Some(leader), "the others have elected one of theirs");
    assert!(sim.leader().is_some());
}

#[test]
fn a_follower_that_hears_nothing_but_is_heard_does_not_unseat_the_leader() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    let term = sim.raft(leader).term();
    let deaf = (leader + 1) % 3;
    sim.cuts.insert((leader, deaf));
    sim.run(1_000);
    assert_eq!((sim.leader(), sim.raft(leader).term()), (Some(leader), term));
    assert!(sim.raft(leader).counters().votes_denied > 0);
}

#[test]
fn a_leader_that_is_not_heard_makes_room() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    for other in (0..3).filter(|other| *other != leader) {
        sim.cuts.insert((leader, other));
    }
    sim.run(500);
    assert_ne!(sim.leader(), Some(leader));
    let new = sim.leader().unwrap();
    sim.propose(new, b"x").unwrap();
    sim.run(20);
    assert_eq!(sim.nodes[new].applied, sim.check.commit_max());
}

#[test]
fn voters_stick_to_a_leader_they_heard_until_election_timeout_min_has_passed() {
    let mut solo = Solo::new();
    solo.step(TWO, 1, heartbeat(0, 1));
    solo.persist();
    solo.messages.clear();
    solo.wait_ms(49);
    solo.step(THREE, 2, request(0, 0));
    assert_eq!((solo.raft.term(), solo.raft.counters().votes_denied), (1, 1), "not even the term is taken over");
    let pre = Body::Vote { pre: true, transfer: false, last_index: 0, last_term: 0 };
    solo.step(THREE, 2, pre);
    assert_eq!(solo.take(THREE), [Body::VoteReply { pre: true, granted: false }]);
    solo.wait_ms(1);
    solo.step(THREE, 2, request(0, 0));
    solo.persist();
    assert_eq!(solo.take(THREE), [GRANTED]);
}

#[test]
fn stickiness_outlives_a_higher_term() {
    let mut solo = Solo::new();
    solo.step(TWO, 1, heartbeat(0, 1));
    solo.step(THREE, 7, Body::VoteReply { pre: true, granted: false });
    assert_eq!(solo.raft.term(), 7);
    solo.persist();
    solo.step(THREE, 7, request(0, 0));
    assert_eq!(solo.take(THREE), [DENIED], "the leader of term 1 may hold a lease");
}

#[test]
fn a_restarted_voter_waits_as_if_it_had_just_heard_a_leader() {
    let mut solo = Solo::with(recovered(1, &[1]), |_| {});
    solo.wait_ms(49);
    solo.tick();
    assert_eq!(solo.raft.role(), Role::Follower, "it does not campaign either");
    solo.step(TWO, 2, request(1, 1));
    assert_eq!((solo.raft.term(), solo.messages.len()), (1, 0));
    solo.wait_ms(1);
    solo.step(TWO, 2, request(1, 1));
    solo.persist();
    assert_eq!(solo.take(TWO), [GRANTED]);
}

#[test]
fn a_brand_new_voter_has_nobody_to_wait_for() {
    let mut solo = Solo::new();
    solo.step(TWO, 1, request(0, 0));
    solo.persist();
    assert_eq!(solo.take(TWO), [GRANTED]);
}

#[test]
fn a_vote_repeated_after_a_restart_is_the_same() {
    let mut start = recovered(3, &[1]);
    start.hard_state = HardState { term: 3, vote: Some(TWO), commit: 0 };
    let mut solo = Solo::with(start, |_| {});
    solo.step(TWO, 3, request(1, 1));
    solo.step(THREE, 3, request(5, 2));
    assert_eq!((solo.take(TWO), solo.take(THREE)), (vec![GRANTED], vec![DENIED]));
}

#[test]
fn votes_go_only_to_logs_that_are_up_to_date() {
    for (last_index, last_term, reply) in [(3, 2, GRANTED), (2, 3, GRANTED), (2, 2, DENIED), (9, 1, DENIED)] {
        let mut solo = Solo::with(recovered(2, &[1, 2, 2]), |_| {});
        solo.wait_ms(50);
        solo.step(TWO, 3, request(last_index, last_term));
        solo.persist();
        assert_eq!(solo.take(TWO), [reply], "{last_index} of term {last_term}");
    }
}

#[test]
fn answers_to_an_earlier_campaign_do_not_count() {
    let mut solo = Solo::with(recovered(1, &[]), |_| {});
    solo.wait_ms(100);
    solo.tick();
    solo.step(TWO, 2, Body::VoteReply { pre: true, granted: true });
    solo.persist();
    assert_eq!((solo.raft.role(), solo.raft.term()), (Role::Candidate, 2));
    solo.step(TWO, 2, Body::VoteReply { pre: true, granted: true });
    solo.step(TWO, 1, GRANTED);
    assert_eq!(solo.raft.role(), Role::Candidate, "a pre-vote is no vote, and an old vote none either");
    solo.step(TWO, 2, GRANTED);
    assert_eq!(solo.raft.role(), Role::Leader);
}

#[test]
fn a_candidate_turned_down_by_a_majority_waits() {
    let mut solo = Solo::with(recovered(1, &[]), |_| {});
    solo.wait_ms(100);
    solo.tick();
    solo.step(TWO, 1, Body::VoteReply { pre: true, granted: false });
    assert_eq!(solo.raft.role(), Role::PreCandidate);
    solo.step(THREE, 1, Body::VoteReply { pre: true, granted: false });
    assert_eq!((solo.raft.role(), solo.raft.term()), (Role::Follower, 1));
    assert!(solo.raft.next_wake().unwrap() >= solo.now + Duration::from_millis(50));
}

#[test]
fn strangers_and_messages_for_others_are_dropped_and_counted() {
    let mut solo = Solo::new();
    // A stranger may ask, since our configuration may be the older one; it has nothing to answer.
    solo.step(ReplicaId(9), 5, Body::VoteReply { pre: false, granted: false });
    solo.step(ONE, 5, request(0, 0));
    for (group, to) in [(GroupId(4), ONE), (GroupId(3), TWO)] {
        solo.raft.step(Message { group, from: TWO, to, term: 5, body: request(0, 0) }, solo.now);
    }
    assert_eq!(solo.raft.term(), 0);
    let counters = solo.raft.counters();
    assert_eq!((counters.unknown_sender, counters.not_addressed_here), (2, 2));
    solo.step(TWO, u64::MAX, request(0, 0));
    assert_eq!((solo.raft.term(), solo.raft.counters().terms_refused), (0, 1), "a term nobody gets to");
}

#[test]
fn time_does_not_go_backwards() {
    let mut solo = Solo::new();
    solo.step(TWO, 1, heartbeat(0, 1));
    solo.raft.tick(Instant::ZERO);
    let sticky_until = solo.now + Duration::from_millis(50);
    assert!(solo.raft.next_wake().unwrap() >= sticky_until);
}
