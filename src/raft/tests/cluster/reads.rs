//! Reads by ReadIndex.

use raft::{READS_COUNT_MAX, ReadError, Role};
use wire::Body;

use crate::sim::Sim;
use crate::solo::{Solo, THREE, TWO, heartbeat, heartbeat_reply, recovered};

fn rounds(bodies: Vec<Body>) -> Vec<u64> {
    let round = |body| match body {
        Body::Heartbeat { round, .. } => Some(round),
        _ => None,
    };
    bodies.into_iter().filter_map(round).collect()
}

#[test]
fn reads_of_a_turn_share_a_round() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.messages.clear();
    for ctx in 10..13 {
        solo.raft.read_index(ctx, solo.now).unwrap();
    }
    solo.drain();
    assert_eq!(rounds(solo.take(TWO)), [2]);
    solo.step(TWO, solo.raft.term(), heartbeat_reply(1));
    assert_eq!(solo.reads, [], "an earlier round proves nothing");
    solo.step(TWO, solo.raft.term(), heartbeat_reply(2));
    assert_eq!(solo.reads, [(10, 1), (11, 1), (12, 1)]);
}

#[test]
fn a_read_before_the_first_commit_of_the_term_waits_for_it() {
    let mut solo = Solo::leader(recovered(1, &[1]), |_| {});
    solo.raft.read_index(5, solo.now).unwrap();
    solo.drain();
    assert!(rounds(solo.take(TWO)).is_empty());
    solo.accept(TWO, 2);
    assert_eq!(rounds(solo.take(TWO)), [2]);
    solo.step(TWO, solo.raft.term(), heartbeat_reply(2));
    assert_eq!(solo.reads, [(5, 2)]);
}

#[test]
fn a_lost_round_is_made_good_by_the_next() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.raft.read_index(5, solo.now).unwrap();
    solo.wait_ms(10);
    solo.drain();
    solo.tick();
    solo.step(THREE, solo.raft.term(), heartbeat_reply(3));
    assert_eq!(solo.reads, [(5, 1)]);
}

#[test]
fn reads_fail_when_leadership_is_lost() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.raft.read_index(4, solo.now).unwrap();
    solo.accept(TWO, 1);
    solo.raft.read_index(5, solo.now).unwrap();
    solo.step(THREE, 9, heartbeat(0, 1));
    assert_eq!(solo.raft.role(), Role::Follower);
    assert_eq!((&solo.reads[..], &solo.reads_failed[..]), (&[][..], &[4, 5][..]));
    assert_eq!(solo.raft.read_index(6, solo.now), Err(ReadError::NotLeader { leader: Some(THREE) }));
}

/// A leader that was asked for reads 1 and 2, which wait for a round, and 3, which is part of none yet.
fn with_reads() -> Solo {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.raft.read_index(1, solo.now).unwrap();
    solo.raft.read_index(2, solo.now).unwrap();
    solo.drain();
    solo.raft.read_index(3, solo.now).unwrap();
    solo
}

#[test]
fn every_read_is_answered_however_leadership_is_lost() {
    // No majority answers any more.
    let mut solo = with_reads();
    solo.wait_ms(200);
    solo.tick();
    assert_eq!((solo.raft.role(), &solo.reads_failed[..]), (Role::Follower, &[1, 2, 3][..]));
    // Another replica begins a term.
    let mut solo = with_reads();
    solo.step(THREE, solo.raft.term() + 1, Body::Vote { pre: false, transfer: true, last_index: 1, last_term: 1 });
    assert_eq!((solo.raft.role(), &solo.reads_failed[..]), (Role::Follower, &[1, 2, 3][..]));
    assert_eq!(solo.raft.counters().reads_failed, 3);
    // What was answered before is not answered again, and what is asked later belongs to the next leadership.
    let mut solo = with_reads();
    solo.drain();
    solo.step(TWO, solo.raft.term(), heartbeat_reply(2));
    assert_eq!((&solo.reads[..], &solo.reads_failed[..]), (&[(1, 1), (2, 1)][..], &[][..]));
    solo.step(THREE, solo.raft.term() + 1, heartbeat(1, 1));
    solo.persist();
    assert_eq!(solo.reads_failed, [3]);
    solo.elect();
    solo.raft.read_index(4, solo.now).unwrap();
    solo.accept(TWO, solo.raft.last_index());
    solo.step(TWO, solo.raft.term(), heartbeat_reply(2));
    assert_eq!((solo.reads.last().map(|read| read.0), &solo.reads_failed[..]), (Some(4), &[3][..]));
}

#[test]
fn a_leader_cut_off_serves_no_read() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(30);
    sim.isolate(leader);
    sim.read_index(leader).unwrap();
    sim.run(300);
    assert_eq!(sim.check.index_reads, 0);
    assert!(!sim.raft(leader).is_leader(), "and the read has failed");
}

#[test]
fn a_single_voter_answers_at_once() {
    let mut sim = Sim::new(1);
    sim.run(5);
    sim.read_index(0).unwrap();
    assert_eq!(sim.check.index_reads, 1);
}

#[test]
fn waiting_reads_are_bounded() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    for ctx in 0..READS_COUNT_MAX as u64 {
        solo.raft.read_index(ctx, solo.now).unwrap();
    }
    assert_eq!(solo.raft.read_index(0, solo.now), Err(ReadError::Overloaded));
}
