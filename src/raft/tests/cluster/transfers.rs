//! Leadership transfer.

use raft::{ProposeError, TransferError};
use types::{GroupId, ReplicaId};
use wire::Body;

use crate::sim::Sim;
use crate::solo::{Solo, THREE, TWO, heartbeat, recovered};

#[test]
fn leadership_moves_to_the_voter_named() {
    let mut sim = Sim::new(3);
    for to in [1, 2, 0, 2] {
        let leader = sim.elect();
        sim.run(30);
        let clock = sim.clock(leader);
        let id = ReplicaId(to as u64 + 1);
        assert_eq!(sim.raft(leader).transfer_leader(Some(id), clock), Ok(id));
        sim.drain(leader);
        sim.run(10);
        assert_eq!(sim.leader(), Some(to), "at once, though everybody has just heard the old leader");
    }
}

#[test]
fn the_order_is_given_once_the_other_has_caught_up() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(THREE, 1);
    solo.propose(10);
    solo.messages.clear();
    solo.raft.transfer_leader(Some(THREE), solo.now).unwrap();
    solo.drain();
    assert_eq!(solo.take(THREE), []);
    assert_eq!(solo.raft.propose(vec![1].into(), solo.now), Err(ProposeError::Transferring));
    solo.accept(THREE, 2);
    assert_eq!(solo.take(THREE), [Body::TimeoutNow]);
}

#[test]
fn without_a_name_the_voter_furthest_ahead_is_chosen() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.propose(10);
    solo.accept(THREE, 2);
    assert_eq!(solo.raft.transfer_leader(None, solo.now), Ok(THREE));
    assert_eq!(solo.raft.transfer_leader(None, solo.now), Err(TransferError::Transferring));
}

#[test]
fn the_groups_of_a_node_spread_over_voters_that_are_equally_fit() {
    let chosen = (0..100).filter(|group| {
        let mut solo = Solo::leader(recovered(0, &[]), |config| config.group = GroupId(*group));
        solo.accept(TWO, 1);
        solo.accept(THREE, 1);
        solo.raft.transfer_leader(None, solo.now) == Ok(TWO)
    });
    let chosen = chosen.count();
    assert!((30..70).contains(&chosen), "{chosen} of 100 groups went to the same voter");
}

#[test]
fn a_voter_that_is_silent_is_not_chosen_however_much_it_holds() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.propose(10);
    solo.accept(THREE, 2);
    solo.wait_ms(60);
    solo.accept(TWO, 1);
    assert_eq!(solo.raft.transfer_leader(None, solo.now), Ok(TWO));
}

#[test]
fn a_transfer_that_does_not_succeed_is_given_up() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(30);
    let other = (leader + 1) % 3;
    sim.crash(other);
    let (clock, id) = (sim.clock(leader), ReplicaId(other as u64 + 1));
    sim.raft(leader).transfer_leader(Some(id), clock).unwrap();
    sim.run(49);
    assert_eq!(sim.propose(leader, b"x"), Err(ProposeError::Transferring));
    sim.run(2);
    sim.propose(leader, b"x").unwrap();
    sim.run(10);
    assert_eq!(sim.raft(leader).commit_index(), sim.raft(leader).last_index());
    assert_eq!(sim.raft(leader).counters().transfers_timed_out, 1);
}

#[test]
fn an_order_of_an_earlier_term_is_ignored() {
    let mut solo = Solo::with(recovered(5, &[]), |_| {});
    solo.step(TWO, 4, Body::TimeoutNow);
    assert_eq!(solo.raft.term(), 5);
    solo.step(TWO, 5, heartbeat(0, 1));
    solo.step(THREE, 5, Body::TimeoutNow);
    assert_eq!(solo.raft.term(), 5, "only the leader may give it");
    solo.messages.clear();
    solo.step(TWO, 5, Body::TimeoutNow);
    assert_eq!(solo.raft.term(), 6);
    solo.persist();
    assert_eq!(solo.take(THREE), [Body::Vote { pre: false, transfer: true, last_index: 0, last_term: 0 }]);
}

#[test]
fn only_a_leader_hands_over_and_only_to_a_voter() {
    let mut solo = Solo::new();
    assert_eq!(solo.raft.transfer_leader(None, solo.now), Err(TransferError::NotLeader));
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    assert_eq!(solo.raft.transfer_leader(Some(ReplicaId(9)), solo.now), Err(TransferError::NoSuchVoter));
    assert_eq!(solo.raft.transfer_leader(Some(ReplicaId(1)), solo.now), Err(TransferError::NoSuchVoter));
    let mut sim = Sim::new(1);
    sim.run(5);
    let clock = sim.clock(0);
    assert_eq!(sim.raft(0).transfer_leader(None, clock), Err(TransferError::NoSuchVoter));
}
