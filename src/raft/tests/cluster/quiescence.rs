//! Idle groups fall silent, and wake again.

use raft::{ReadError, Role};
use types::ReplicaId;
use wire::Body;

use crate::sim::Sim;
use crate::solo::{ONE, Solo, THREE, TWO, heartbeat, heartbeat_reply, recovered};

/// Three replicas that fall silent after five intervals of ten milliseconds, and did. With the leader.
fn silent() -> (Sim, usize) {
    let mut sim = Sim::with(3, 1, |config| {
        config.first_campaigner = config.id == ONE;
        config.quiesce_intervals_count = 5;
    });
    let leader = sim.elect();
    sim.run(150);
    assert!((0..3).all(|idx| sim.raft(idx).is_quiescent()), "150 ms are enough");
    (sim, leader)
}

fn wake(sim: &mut Sim, idx: usize) {
    let clock = sim.clock(idx);
    sim.raft(idx).wake(clock);
    sim.drain(idx);
}

fn last_heartbeat(commit: u64, round: u64) -> Body {
    Body::Heartbeat { commit, round, quiesce: true, round_trip_us: 0 }
}

/// A follower of TWO in term 1 that may fall silent.
fn follower() -> Solo {
    let mut solo = Solo::with(recovered(1, &[1, 1]), |config| config.quiesce_intervals_count = 5);
    solo.append(TWO, 1, (2, 1), &[], 2);
    solo
}

#[test]
fn an_idle_group_is_silent_until_somebody_proposes() {
    let (mut sim, leader) = silent();
    let term = sim.raft(leader).term();
    assert_eq!(sim.raft(leader).next_wake(), None);
    sim.run(2_000);
    assert!((0..3).all(|idx| sim.raft(idx).is_quiescent()), "answers to the last heartbeat wake nobody");
    assert_eq!(sim.raft(leader).term(), term);
    sim.propose(leader, b"x").unwrap();
    assert!(!sim.raft(leader).is_quiescent());
    sim.run(20);
    assert!((0..3).all(|idx| !sim.raft(idx).is_quiescent()));
    let last_index = sim.raft(leader).last_index();
    assert!((0..3).all(|idx| sim.raft(idx).commit_index() == last_index));
    sim.run(150);
    assert!((0..3).all(|idx| sim.raft(idx).is_quiescent()), "and silent again");
    assert_eq!((sim.raft(leader).term(), sim.leader()), (term, Some(leader)));
    assert_eq!((sim.raft(leader).counters().quiesced, sim.raft(leader).counters().woken), (2, 1));
}

#[test]
fn without_the_setting_nobody_falls_silent() {
    let mut sim = Sim::new(3);
    sim.elect();
    sim.run(3_000);
    assert!((0..3).all(|idx| !sim.raft(idx).is_quiescent()));
    let mut solo = Solo::with(recovered(1, &[1, 1]), |_| {});
    solo.append(TWO, 1, (2, 1), &[], 2);
    solo.step(TWO, 1, last_heartbeat(2, 1));
    assert!(!solo.raft.is_quiescent(), "nor for a leader that has it");
}

#[test]
fn a_silent_leader_has_no_lease_and_a_read_by_read_index_brings_it_back() {
    let (mut sim, leader) = silent();
    assert_eq!(sim.lease_read(leader), Err(ReadError::LeaseExpired));
    assert!(!sim.raft(leader).is_quiescent(), "reads wake the group");
    sim.run(300);
    let (mut sim, leader) = silent();
    sim.read_index(leader).unwrap();
    sim.run(5);
    assert_eq!(sim.check.index_reads, 1);
    assert!(sim.lease_read(leader).is_ok());
}

#[test]
fn reads_by_lease_keep_a_group_awake() {
    let (mut sim, leader) = silent();
    let _ = sim.lease_read(leader);
    sim.run(5);
    for _ in 0..500 {
        assert!(sim.lease_read(leader).is_ok());
        sim.turn();
    }
}

#[test]
fn a_leader_that_dies_in_silence_is_missed_once_its_followers_are_woken() {
    let (mut sim, leader) = silent();
    sim.crash(leader);
    sim.run(1_000);
    assert_eq!(sim.leader(), None, "nobody knows");
    for idx in (0..3).filter(|idx| *idx != leader) {
        wake(&mut sim, idx);
    }
    sim.elect();
    sim.run(50);
    let heir = sim.leader().unwrap();
    sim.propose(heir, b"x").unwrap();
    sim.run(20);
    assert_eq!(sim.raft(heir).commit_index(), sim.raft(heir).last_index());
}

#[test]
fn one_follower_that_notices_is_enough() {
    let (mut sim, leader) = silent();
    sim.crash(leader);
    wake(&mut sim, (leader + 1) % 3);
    sim.run(500);
    assert!(sim.leader().is_some(), "its question woke the other, which granted it when it came again");
}

#[test]
fn a_false_alarm_wakes_the_group_and_unseats_nobody() {
    let (mut sim, leader) = silent();
    let term = sim.raft(leader).term();
    wake(&mut sim, (leader + 1) % 3);
    sim.run(110);
    assert_eq!((sim.leader(), sim.raft(leader).term()), (Some(leader), term));
    assert!(sim.raft(leader).counters().woken == 1, "the one that was woken asked");
    sim.run(300);
    assert!((0..3).all(|idx| sim.raft(idx).is_quiescent()));
    assert_eq!((sim.leader(), sim.raft(leader).term()), (Some(leader), term));
}

#[test]
fn a_follower_that_restarts_finds_its_leader() {
    let (mut sim, leader) = silent();
    let term = sim.raft(leader).term();
    let other = (leader + 1) % 3;
    sim.crash(other);
    sim.restart(other);
    sim.run(500);
    assert_eq!((sim.leader(), sim.raft(leader).term()), (Some(leader), term));
    assert_eq!(sim.raft(other).leader(), Some(sim.nodes[leader].config.id));
    assert!(sim.raft(other).is_quiescent());
}

#[test]
fn a_group_that_misses_somebody_is_not_silent() {
    let (mut sim, leader) = silent();
    sim.crash((leader + 1) % 3);
    wake(&mut sim, leader);
    sim.run(500);
    assert!(!sim.raft(leader).is_quiescent(), "it may come back and need something");
    sim.restart((leader + 1) % 3);
    sim.run(500);
    assert!(sim.raft(leader).is_quiescent());
}

#[test]
fn a_silent_leader_that_was_deposed_serves_nothing() {
    let (mut sim, old) = silent();
    sim.isolate(old);
    for idx in (0..3).filter(|idx| *idx != old) {
        wake(&mut sim, idx);
    }
    sim.run(300);
    let new = sim.leader().unwrap();
    assert_ne!(new, old);
    sim.propose(new, b"x").unwrap();
    sim.run(20);
    assert!(sim.raft(old).is_leader(), "it does not know");
    assert_eq!(sim.lease_read(old), Err(ReadError::LeaseExpired));
    sim.read_index(old).unwrap();
    sim.run(250);
    assert_eq!((sim.check.index_reads, sim.raft(old).role() == Role::Leader), (0, false), "nobody confirmed it");
    assert_eq!(sim.raft(old).counters().reads_failed, 1);
}

#[test]
fn silence_that_comes_late_or_twice_silences_nobody() {
    let mut solo = follower();
    solo.step(TWO, 1, heartbeat(2, 5));
    solo.step(TWO, 1, last_heartbeat(2, 4));
    assert!(!solo.raft.is_quiescent(), "overtaken by a later round");
    solo.step(TWO, 1, last_heartbeat(2, 6));
    assert!(solo.raft.is_quiescent());
    solo.step(TWO, 1, last_heartbeat(2, 6));
    assert!(solo.raft.is_quiescent(), "a repetition changes nothing");
    solo.raft.wake(solo.now);
    solo.step(TWO, 1, last_heartbeat(2, 6));
    assert!(!solo.raft.is_quiescent(), "nor does one from before it woke");
    assert_eq!(solo.raft.counters().quiesce_declined, 3);
}

#[test]
fn a_follower_that_lacks_something_is_not_silent() {
    let mut solo = follower();
    solo.step(TWO, 1, last_heartbeat(3, 1));
    assert!(!solo.raft.is_quiescent(), "an entry is missing");
    solo.append(TWO, 1, (2, 1), &[1], 2);
    solo.step(TWO, 1, last_heartbeat(2, 2));
    assert!(!solo.raft.is_quiescent(), "one is not committed");
    solo.step(TWO, 1, last_heartbeat(3, 3));
    assert!(!solo.raft.is_quiescent(), "it is not durable yet");
    solo.persist();
    solo.step(TWO, 1, last_heartbeat(3, 4));
    assert!(solo.raft.is_quiescent());
}

#[test]
fn a_silent_follower_waits_a_whole_timeout_after_it_woke() {
    let mut solo = follower();
    solo.step(TWO, 1, last_heartbeat(2, 1));
    solo.wait_ms(10_000);
    solo.tick();
    assert_eq!((solo.raft.role(), solo.raft.next_wake()), (Role::Follower, None));
    solo.raft.wake(solo.now);
    solo.wait_ms(49);
    solo.tick();
    assert_eq!(solo.raft.role(), Role::Follower);
    solo.wait_ms(52);
    solo.tick();
    assert_eq!(solo.raft.role(), Role::PreCandidate);
}

#[test]
fn whoever_asks_a_silent_follower_for_its_vote_must_wait_for_the_leader_first() {
    let mut solo = follower();
    solo.step(TWO, 1, last_heartbeat(2, 1));
    solo.wait_ms(10_000);
    solo.messages.clear();
    let question = Body::Vote { pre: true, transfer: false, last_index: 2, last_term: 1 };
    solo.step(THREE, 2, question.clone());
    assert_eq!(solo.take(THREE), [Body::VoteReply { pre: true, granted: false }]);
    assert!(!solo.raft.is_quiescent());
    solo.wait_ms(50);
    solo.step(THREE, 2, question);
    assert_eq!(solo.take(THREE), [Body::VoteReply { pre: true, granted: true }]);
}

#[test]
fn a_leader_wakes_for_a_transfer_and_for_a_stranger_to_the_silence_but_not_for_late_answers() {
    let new = || {
        let mut solo = Solo::leader(recovered(0, &[]), |config| config.quiesce_intervals_count = 3);
        solo.accept(TWO, 1);
        solo.accept(THREE, 1);
        for round in 1..10 {
            solo.step(TWO, 1, heartbeat_reply(round));
            solo.step(THREE, 1, heartbeat_reply(round));
            if solo.raft.is_quiescent() {
                return solo;
            }
            solo.wait_ms(10);
            solo.tick();
        }
        panic!("the leader is not silent");
    };
    let mut solo = new();
    solo.step(TWO, 1, heartbeat_reply(1));
    solo.accept(THREE, 1);
    assert!(solo.raft.is_quiescent());
    solo.step(THREE, 2, Body::Vote { pre: true, transfer: false, last_index: 1, last_term: 1 });
    assert!(!solo.raft.is_quiescent());
    let mut solo = new();
    solo.wait_ms(5_000);
    solo.raft.transfer_leader(Some(TWO), solo.now).unwrap();
    solo.tick();
    assert_eq!(solo.raft.role(), Role::Leader, "the silence is no lost quorum");
}

#[test]
fn a_replica_that_was_removed_and_does_not_know_wakes_nobody() {
    let mut solo = follower();
    solo.step(TWO, 1, last_heartbeat(2, 1));
    solo.wait_ms(10_000);
    let question = |pre| Body::Vote { pre, transfer: false, last_index: 1, last_term: 1 };
    solo.step(ReplicaId(9), 2, question(true));
    assert!(solo.raft.is_quiescent());
    solo.step(ReplicaId(9), 2, question(false));
    assert!(!solo.raft.is_quiescent(), "but a term that has begun is a reason to be awake");
}

/// A silent group whose member `dead` was not heard for so long that the others went without it.
fn silent_without_one() -> (Sim, usize, usize) {
    let (mut sim, leader) = silent();
    let dead = (leader + 1) % 3;
    sim.crash(dead);
    sim.propose(leader, b"while it is away").unwrap();
    sim.run(700);
    assert!(!sim.raft(leader).is_quiescent(), "eight election timeouts have not passed");
    sim.run(300);
    for idx in (0..3).filter(|idx| *idx != dead) {
        assert!(sim.raft(idx).is_quiescent(), "{idx}");
    }
    assert_eq!(sim.raft(leader).counters().quiesced_with_absent, 1);
    (sim, leader, dead)
}

#[test]
fn a_dead_member_does_not_keep_its_group_awake() {
    let (mut sim, leader, _) = silent_without_one();
    let term = sim.raft(leader).term();
    sim.run(3_000);
    assert!(sim.raft(leader).is_quiescent());
    // Once it is known to be absent, a short wake is not a long one.
    sim.propose(leader, b"x").unwrap();
    sim.run(150);
    assert!(sim.raft(leader).is_quiescent(), "the group need not wait for it again");
    assert_eq!((sim.raft(leader).term(), sim.raft(leader).counters().quiesced_with_absent), (term, 2));
}

#[test]
fn a_dead_member_that_starts_again_wakes_its_group_and_catches_up() {
    let (mut sim, leader, dead) = silent_without_one();
    let term = sim.raft(leader).term();
    sim.restart(dead);
    sim.run(400);
    let commit = sim.raft(leader).commit_index();
    assert_eq!((sim.leader(), sim.raft(leader).term()), (Some(leader), term), "it unseats nobody");
    assert_eq!((sim.nodes[dead].applied, sim.raft(dead).leader()), (commit, Some(sim.nodes[leader].config.id)));
    assert!((0..3).all(|idx| sim.raft(idx).is_quiescent()), "and then all of them are silent");
    assert_eq!(sim.raft(leader).counters().quiesced_with_absent, 1, "the last silence is one of all");
}

#[test]
fn a_member_that_was_cut_off_in_its_sleep_is_brought_up_to_date_once_the_driver_can_reach_it() {
    let (mut sim, leader) = silent();
    let cut_off = (leader + 1) % 3;
    sim.isolate(cut_off);
    sim.propose(leader, b"x").unwrap();
    sim.run(1_100);
    assert!(sim.raft(leader).is_quiescent() && sim.raft(cut_off).is_quiescent());
    sim.heal();
    sim.run(500);
    assert_eq!(sim.raft(cut_off).commit_index(), 1, "nobody has a reason to speak");
    let (clock, id) = (sim.clock(leader), sim.nodes[cut_off].config.id);
    let other = sim.nodes[(leader + 2) % 3].config.id;
    sim.raft(leader).peer_reachable(other, clock);
    assert!(sim.raft(leader).is_quiescent(), "that one was never absent");
    sim.raft(leader).peer_reachable(id, clock);
    sim.drain(leader);
    sim.run(150);
    assert_eq!(sim.raft(cut_off).commit_index(), 2);
    assert!((0..3).all(|idx| sim.raft(idx).is_quiescent()));
}

#[test]
fn an_absent_member_that_answers_wakes_a_silent_leader() {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.quiesce_intervals_count = 3);
    solo.accept(TWO, 1);
    let mut round = 1;
    for _ in 0..200 {
        solo.step(TWO, 1, heartbeat_reply(round));
        if solo.raft.is_quiescent() {
            break;
        }
        solo.wait_ms(10);
        solo.tick();
        round += 1;
    }
    assert!(solo.raft.is_quiescent(), "THREE was never heard");
    solo.messages.clear();
    solo.wait_ms(5_000);
    solo.step(TWO, 1, heartbeat_reply(round));
    assert!(solo.raft.is_quiescent(), "TWO was there");
    solo.step(THREE, 1, heartbeat_reply(round));
    assert!(!solo.raft.is_quiescent());
    assert!(solo.take(THREE).iter().any(|body| matches!(body, Body::Append { .. })), "it gets what it lacks");
    solo.wait_ms(10);
    solo.tick();
    assert_eq!(solo.raft.role(), Role::Leader, "the silence is no lost quorum");
}

#[test]
fn a_group_without_one_member_has_no_lease_in_its_silence_and_survives_its_leader() {
    let (mut sim, leader, dead) = silent_without_one();
    assert_eq!(sim.lease_read(leader), Err(ReadError::LeaseExpired));
    sim.run(1_000);
    // The leader dies in the silence, and the absent member returns: the two others elect one that has everything.
    sim.crash(leader);
    let last = 3 - leader - dead;
    wake(&mut sim, last);
    sim.restart(dead);
    sim.run(700);
    assert_eq!(sim.leader(), Some(last), "only it has what was committed");
    sim.propose(last, b"y").unwrap();
    sim.run(30);
    assert_eq!(sim.nodes[dead].applied, sim.check.commit_max());
}
