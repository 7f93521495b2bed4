//! Reads by lease.

use std::time::Duration;

use raft::{ReadError, Role};
use wire::Body;

use crate::sim::{MS, Sim};
use crate::solo::{Solo, THREE, TWO, heartbeat, heartbeat_reply, recovered};

/// A leader with its first entry committed, and with no heartbeat answered yet.
fn leader() -> Solo {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.clock_drift_ppm_max = 100_000);
    solo.accept(TWO, 1);
    solo
}

fn answer(solo: &mut Solo, round: u64) {
    solo.step(TWO, solo.raft.term(), heartbeat_reply(round));
}

#[test]
fn the_lease_starts_when_the_round_was_sent_and_is_shortened_by_the_drift() {
    let mut solo = leader();
    let sent = solo.now;
    assert_eq!(solo.raft.lease_read(solo.now), Err(ReadError::LeaseExpired), "an Append's answer is no lease");
    solo.wait_ms(8);
    answer(&mut solo, 1);
    // 50 ms less a tenth, from the sending.
    assert_eq!(solo.raft.lease_read(sent + Duration::from_nanos(44_999_999)), Ok(1));
    assert_eq!(solo.raft.lease_read(sent + Duration::from_millis(45)), Err(ReadError::LeaseExpired));
}

#[test]
fn each_confirmed_round_prolongs_the_lease() {
    let mut solo = leader();
    let start = solo.now;
    answer(&mut solo, 1);
    solo.wait_ms(10);
    solo.tick();
    solo.wait_ms(10);
    solo.tick();
    answer(&mut solo, 2);
    assert_eq!(solo.raft.lease_read(start + Duration::from_millis(54)), Ok(1));
    assert_eq!(solo.raft.lease_read(start + Duration::from_millis(55)), Err(ReadError::LeaseExpired));
}

#[test]
fn a_new_leader_serves_no_read_before_it_has_committed_in_its_own_term() {
    let mut start = recovered(2, &[1, 2]);
    start.hard_state.commit = 2;
    let mut solo = Solo::leader(start, |_| {});
    answer(&mut solo, 1);
    assert_eq!(solo.raft.lease_read(solo.now), Err(ReadError::NotReady));
    solo.accept(TWO, 2);
    assert_eq!(solo.raft.lease_read(solo.now), Err(ReadError::NotReady));
    solo.accept(TWO, 3);
    assert_eq!(solo.raft.lease_read(solo.now), Ok(3));
}

#[test]
fn an_answer_of_a_voter_that_has_moved_on_confirms_nobody() {
    // A voter in term 9 is asked by a leader left behind in term 1.
    let mut voter = Solo::with(recovered(9, &[]), |_| {});
    voter.step(TWO, 1, heartbeat(0, 7));
    assert_eq!(voter.messages[0].term, 9);
    assert_eq!(voter.take(TWO), [heartbeat_reply(0)]);
}

#[test]
fn an_answer_to_a_round_never_sent_confirms_nobody() {
    let mut solo = leader();
    answer(&mut solo, 2);
    assert_eq!(solo.raft.counters().malformed, 1);
    assert_eq!(solo.raft.lease_read(solo.now), Err(ReadError::LeaseExpired));
}

#[test]
fn the_lease_ends_when_a_transfer_begins_and_stays_off_once_the_order_was_given() {
    let mut solo = leader();
    answer(&mut solo, 1);
    assert_eq!(solo.raft.lease_read(solo.now), Ok(1));
    solo.raft.transfer_leader(Some(TWO), solo.now).unwrap();
    assert_eq!(solo.raft.lease_read(solo.now), Err(ReadError::LeaseExpired));
    solo.drain();
    assert!(solo.take(TWO).contains(&Body::TimeoutNow));
    for round in 2..9 {
        solo.wait_ms(10);
        solo.tick();
        answer(&mut solo, round);
    }
    assert_eq!(solo.raft.transferring_to(), None, "given up");
    assert_eq!(solo.raft.lease_read(solo.now), Err(ReadError::LeaseExpired), "the order may arrive yet");
    solo.raft.read_index(1, solo.now).unwrap();
    solo.drain();
    answer(&mut solo, 9);
    assert_eq!(solo.reads, [(1, 1)], "ReadIndex needs no lease");
}

#[test]
fn a_transfer_given_up_before_the_order_leaves_the_lease_intact() {
    let mut solo = leader();
    answer(&mut solo, 1);
    // The other has not caught up, so it is not told anything.
    solo.raft.transfer_leader(Some(THREE), solo.now).unwrap();
    assert_eq!(solo.raft.lease_read(solo.now), Err(ReadError::LeaseExpired), "the order may be given any moment");
    for round in 2..9 {
        solo.wait_ms(10);
        solo.tick();
        answer(&mut solo, round);
    }
    assert!(!solo.take(THREE).contains(&Body::TimeoutNow));
    assert_eq!(solo.raft.lease_read(solo.now), Ok(1));
}

#[test]
fn a_leader_cut_off_has_no_lease_by_the_time_another_is_elected() {
    let mut sim = Sim::new(3);
    let old = sim.elect();
    sim.run(30);
    assert!(sim.lease_read(old).is_ok());
    sim.isolate(old);
    for _ in 0..300 {
        sim.turn();
        if let Some(new) = sim.leader().filter(|leader| *leader != old) {
            assert!(sim.lease_read(old).is_err());
            let _ = sim.propose(new, b"x");
        }
        // The checker compares each read that is served with everything committed anywhere.
        let _ = sim.lease_read(old);
    }
    assert_ne!(sim.leader(), Some(old));
    assert!(sim.check.lease_reads > 40, "it went on serving while it was safe");
}

#[test]
fn a_leader_paused_sees_its_lease_expired_when_it_wakes() {
    let mut sim = Sim::new(3);
    let old = sim.elect();
    sim.run(30);
    sim.nodes[old].paused_until = sim.now + 500 * MS;
    sim.run(499);
    let new = sim.leader().filter(|leader| *leader != old).unwrap();
    sim.propose(new, b"x").unwrap();
    assert_eq!(sim.raft(old).role(), Role::Leader, "it does not know yet");
    assert_eq!(sim.lease_read(old), Err(ReadError::LeaseExpired));
    sim.run(20);
    assert_eq!(sim.raft(old).role(), Role::Follower);
}

#[test]
fn a_single_voter_needs_no_lease() {
    let mut sim = Sim::new(1);
    sim.run(5);
    assert_eq!(sim.lease_read(0), Ok(1));
    sim.now += 3_600_000 * MS;
    assert_eq!(sim.lease_read(0), Ok(1));
}

/// A follower has not heard the leader for long and is about to campaign; then the leader is cut off, its lease
/// just confirmed by the other follower. Runs until well after the lease, reading at every step: the checker
/// compares each read with everything committed anywhere.
fn campaign_against_a_lease(forget: impl Fn(&mut Sim, usize)) {
    let mut sim = Sim::new(3);
    let old = sim.elect();
    sim.run(30);
    let (candidate, voter) = ((old + 1) % 3, (old + 2) % 3);
    sim.cuts.insert((old, candidate));
    while sim.raft(candidate).next_wake().unwrap() > sim.clock(candidate) + Duration::from_millis(1) {
        sim.turn();
    }
    assert!(sim.lease_read(old).is_ok());
    sim.isolate(old);
    forget(&mut sim, voter);
    let before = sim.check.lease_reads;
    for _ in 0..500 {
        sim.turn();
        let _ = sim.propose(candidate, b"x");
        let _ = sim.propose(voter, b"x");
        let _ = sim.lease_read(old);
    }
    assert!(sim.check.lease_reads > before + 20, "the lease went on for a while");
    assert!(sim.check.commit_max() > 10, "and then another led");
}

#[test]
fn a_sticky_voter_guards_the_lease() {
    campaign_against_a_lease(|_, _| {});
}

#[test]
fn a_voter_that_forgot_whom_it_heard_guards_the_lease_all_the_same() {
    campaign_against_a_lease(|sim, voter| {
        sim.crash(voter);
        sim.restart(voter);
    });
}
