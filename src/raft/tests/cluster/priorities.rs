//! Who should rather lead.

use raft::{PRIORITY_MAX, Role};
use types::ReplicaId;
use wire::Body;

use crate::sim::Sim;
use crate::solo::{ONE, Solo, THREE, TWO, heartbeat, recovered};

fn group(priorities: [u8; 3]) -> Sim {
    Sim::with(3, 1, |config| {
        config.first_campaigner = config.id == ONE;
        config.priority = priorities[config.id.0 as usize - 1];
    })
}

#[test]
fn a_replica_of_lower_priority_misses_its_leader_later() {
    for priority in 0..=PRIORITY_MAX {
        let mut solo = Solo::with(recovered(1, &[1]), |config| config.priority = priority);
        solo.step(TWO, 1, heartbeat(0, 1));
        let earliest = 50 + 50 * u64::from(PRIORITY_MAX - priority);
        solo.wait_ms(earliest - 1);
        solo.tick();
        assert_eq!(solo.raft.role(), Role::Follower, "priority {priority}");
        solo.wait_ms(51);
        solo.tick();
        assert_eq!(solo.raft.role(), Role::PreCandidate, "priority {priority}");
    }
}

#[test]
fn leadership_moves_to_the_highest_priority_and_returns_to_it() {
    let mut sim = group([1, 3, 2]);
    assert_eq!(sim.elect(), 0);
    sim.run(150);
    assert_eq!(sim.leader(), Some(0), "not before it is stable");
    sim.run(200);
    assert_eq!(sim.leader(), Some(1));
    assert_eq!(sim.raft(0).counters().transfers_by_priority, 1);
    sim.crash(1);
    sim.run(400);
    assert_eq!(sim.leader(), Some(2), "the next best");
    sim.restart(1);
    sim.run(500);
    assert_eq!(sim.leader(), Some(1));
    let leader = sim.leader().unwrap();
    sim.run(30);
    assert!(sim.lease_read(leader).is_ok());
    sim.run(3_000);
    assert_eq!(sim.leader(), Some(1), "and stays");
}

#[test]
fn a_leader_that_is_lowered_hands_over_even_out_of_silence() {
    let mut sim = Sim::with(3, 1, |config| {
        config.first_campaigner = config.id == ONE;
        config.quiesce_intervals_count = 3;
    });
    sim.elect();
    sim.run(600);
    assert!(sim.raft(0).is_quiescent(), "nothing happens");
    sim.set_priority(0, 0);
    sim.run(100);
    let successor = sim.leader().unwrap();
    assert_ne!(successor, 0);
    assert_eq!(sim.raft(0).counters().transfers_by_priority, 1);
    sim.set_priority(successor, 0);
    sim.run(500);
    let last = 3 - successor;
    assert_eq!(sim.leader(), Some(last), "the only one that is left, once its predecessor is stable");
    sim.set_priority(last, 0);
    sim.run(2_000);
    assert_eq!(sim.leader(), Some(last), "nobody would be better");
}

#[test]
fn nobody_is_too_low_to_lead() {
    let mut sim = group([0, 0, 0]);
    sim.elect();
    let mut sim = group([0, 3, 3]);
    sim.run(300);
    sim.crash(1);
    sim.run(600);
    let leader = sim.leader().unwrap();
    sim.propose(leader, b"x").unwrap();
    sim.crash(if leader == 2 { 0 } else { 2 });
    sim.restart(1);
    sim.run(600);
    assert!(sim.leader().is_some());
}

#[test]
fn a_voter_that_is_silent_or_far_behind_is_not_handed_leadership() {
    let mut sim = group([1, 3, 1]);
    sim.elect();
    sim.isolate(1);
    sim.run(2_000);
    assert_eq!(sim.raft(0).counters().transfers_by_priority, 0, "silent");
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.priority = 0);
    solo.accept(TWO, 1);
    for _ in 0..100 {
        solo.propose(1);
    }
    for _ in 0..60 {
        answer_heartbeats(&mut solo);
    }
    assert_eq!(solo.raft.counters().transfers_by_priority, 0, "far behind");
    solo.accept(THREE, 101);
    answer_heartbeats(&mut solo);
    assert_eq!((solo.raft.counters().transfers_by_priority, solo.raft.transferring_to()), (1, Some(THREE)));
}

/// Ten milliseconds pass; the peers answer heartbeats and nothing else.
fn answer_heartbeats(solo: &mut Solo) {
    solo.wait_ms(10);
    solo.tick();
    let term = solo.raft.term();
    for peer in [TWO, THREE] {
        for body in solo.take(peer) {
            if let Body::Heartbeat { round, .. } = body {
                solo.step(peer, term, Body::HeartbeatReply { round, priority: u8::MAX });
            }
        }
    }
}

#[test]
fn hand_overs_that_fail_become_rare() {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.priority = 0);
    solo.accept(TWO, 1);
    solo.accept(THREE, 1);
    for _ in 0..1_000 {
        answer_heartbeats(&mut solo);
    }
    let counters = solo.raft.counters();
    assert!((3..=6).contains(&counters.transfers_by_priority), "in ten seconds: {counters:?}");
    assert_eq!(solo.raft.role(), Role::Leader);
}

#[test]
fn a_group_is_not_silent_while_leadership_should_move() {
    let mut sim = Sim::with(3, 1, |config| {
        config.first_campaigner = config.id == ONE;
        config.quiesce_intervals_count = 3;
        config.priority = if config.id == ReplicaId(3) { 3 } else { 2 };
    });
    sim.elect();
    sim.run(600);
    assert_eq!(sim.leader(), Some(2));
    assert!(sim.raft(2).is_quiescent());
}

/// A leader of low priority whose hand-overs to TWO and THREE have failed for `ms`.
fn with_failed_hand_overs(ms: u64) -> Solo {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.priority = 0);
    solo.accept(TWO, 1);
    solo.accept(THREE, 1);
    for _ in 0..ms / 10 {
        answer_heartbeats(&mut solo);
    }
    assert_eq!(solo.raft.role(), Role::Leader);
    solo
}

#[test]
fn the_wait_between_failing_hand_overs_is_bounded() {
    let mut solo = with_failed_hand_overs(60_000);
    let before = solo.raft.counters().transfers_by_priority;
    for _ in 0..1_000 {
        answer_heartbeats(&mut solo);
    }
    let tries = solo.raft.counters().transfers_by_priority - before;
    assert!((2..=4).contains(&tries), "one in 32 election timeouts: {tries} in ten seconds");
}

#[test]
fn failed_hand_overs_are_forgotten_once_another_replica_led() {
    let mut solo = with_failed_hand_overs(20_000);
    let term = solo.raft.term() + 1;
    solo.step(TWO, term, heartbeat(1, 1));
    solo.persist();
    solo.elect();
    let last_index = solo.raft.last_index();
    solo.accept(TWO, last_index);
    solo.accept(THREE, last_index);
    let before = solo.raft.counters().transfers_by_priority;
    for _ in 0..25 {
        answer_heartbeats(&mut solo);
    }
    assert_eq!(solo.raft.counters().transfers_by_priority, before + 1, "two election timeouts are enough");
}

#[test]
fn a_change_of_priority_is_a_reason_to_try_again_soon() {
    // Its own priority.
    let mut solo = with_failed_hand_overs(20_000);
    let before = solo.raft.counters().transfers_by_priority;
    solo.raft.set_priority(1, solo.now);
    for _ in 0..30 {
        answer_heartbeats(&mut solo);
    }
    assert_eq!(solo.raft.counters().transfers_by_priority, before + 1);
    // A follower's.
    let mut solo = with_failed_hand_overs(20_000);
    let before = solo.raft.counters().transfers_by_priority;
    for priority in [1, 3] {
        solo.wait_ms(10);
        solo.tick();
        let Some(Body::Heartbeat { round, .. }) = solo.take(TWO).pop() else { panic!("a heartbeat is due") };
        solo.step(TWO, solo.raft.term(), Body::HeartbeatReply { round, priority });
    }
    for _ in 0..30 {
        answer_heartbeats(&mut solo);
    }
    assert_eq!(solo.raft.counters().transfers_by_priority, before + 1);
}

#[test]
fn a_successor_that_deposes_the_leader_and_is_not_elected_counts_as_a_failure() {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.priority = 0);
    let mut tries = 0;
    for _ in 0..2_000 {
        if solo.raft.role() == Role::Leader {
            let last_index = solo.raft.last_index();
            solo.accept(TWO, last_index);
            solo.accept(THREE, last_index);
            answer_heartbeats(&mut solo);
        } else {
            // The successor got no majority; we are elected again.
            solo.persist();
            solo.elect();
        }
        if solo.raft.transferring_to().is_some() {
            tries += 1;
            let request = Body::Vote { pre: false, transfer: true, last_index: 0, last_term: 0 };
            solo.step(TWO, solo.raft.term() + 1, request);
            assert_eq!(solo.raft.role(), Role::Follower);
        }
    }
    assert!((5..=11).contains(&tries), "deposed {tries} times in 20 seconds");
}
