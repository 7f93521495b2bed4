//! Changes of membership, seen from one replica. The scenarios and the storms have more.

use raft::{Change, ChangeError, Purpose, Role};
use types::{CoreAddr, ReplicaId};
use wire::{Body, Entry, EntryKind, Member, Membership};

use crate::solo::{ONE, Solo, THREE, TWO, recovered};

const FOUR: ReplicaId = ReplicaId(4);

fn member(id: ReplicaId) -> Member {
    Member { id, place: CoreAddr::default() }
}

/// A leader with `entries_count` entries, all committed and applied.
fn leader(entries_count: u64) -> Solo {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.cache_bytes_max = 0);
    for _ in 1..entries_count {
        solo.propose(10);
    }
    settle(&mut solo, &[TWO, THREE]);
    solo
}

/// `peers` accept everything, and what is written is durable.
fn settle(solo: &mut Solo, peers: &[ReplicaId]) {
    solo.persist();
    let last_index = solo.raft.last_index();
    for peer in peers {
        solo.accept(*peer, last_index);
    }
    solo.drain();
}

fn change(solo: &mut Solo, change: Change) -> Result<(), ChangeError> {
    let changed = solo.raft.change_membership(&[change], solo.now);
    solo.drain();
    changed.map(|_| ())
}

#[test]
fn a_log_read_for_one_that_left_and_came_back_is_not_asked_for_twice() {
    let mut solo = leader(10);
    change(&mut solo, Change::AddLearner(member(FOUR))).unwrap();
    settle(&mut solo, &[TWO, THREE]);
    solo.step(FOUR, 1, Body::AppendRejected { prev_index: 10, hint_index: 0, hint_term: 0 });
    solo.accept(FOUR, 0);
    let reads_of_four =
        |solo: &Solo| solo.log_reads.iter().filter(|read| read.purpose == Purpose::Peer(FOUR)).count();
    assert_eq!(reads_of_four(&solo), 1, "the beginning of the log is not in memory");
    change(&mut solo, Change::Remove(FOUR)).unwrap();
    settle(&mut solo, &[TWO, THREE]);
    change(&mut solo, Change::AddLearner(member(FOUR))).unwrap();
    settle(&mut solo, &[TWO, THREE]);
    solo.step(FOUR, 1, Body::AppendRejected { prev_index: 12, hint_index: 0, hint_term: 0 });
    solo.accept(FOUR, 0);
    assert_eq!(reads_of_four(&solo), 1, "the first one is not answered yet");
    solo.raft.log_read_failed(Purpose::Peer(FOUR));
    solo.step(FOUR, 1, Body::HeartbeatReply { round: 1, priority: 0 });
    assert_eq!(reads_of_four(&solo), 2, "now it is");
}

#[test]
fn a_new_leader_changes_nothing_before_its_first_commit() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    assert_eq!(change(&mut solo, Change::AddLearner(member(FOUR))), Err(ChangeError::NotReady));
    settle(&mut solo, &[TWO]);
    assert_eq!(change(&mut solo, Change::AddLearner(member(FOUR))), Ok(()));
    assert_eq!(change(&mut solo, Change::Remove(THREE)), Err(ChangeError::Pending), "one at a time");
}

#[test]
fn only_a_learner_that_has_caught_up_becomes_a_voter() {
    let mut solo = leader(100);
    assert_eq!(change(&mut solo, Change::Promote(FOUR)), Err(ChangeError::NotALearner(FOUR)));
    change(&mut solo, Change::AddLearner(member(FOUR))).unwrap();
    settle(&mut solo, &[TWO, THREE]);
    assert_eq!(change(&mut solo, Change::Promote(FOUR)), Err(ChangeError::NotCaughtUp(FOUR)));
    settle(&mut solo, &[FOUR]);
    assert_eq!(change(&mut solo, Change::Promote(FOUR)), Ok(()));
    assert!(solo.raft.membership().is_joint());
}

#[test]
fn in_the_joint_state_both_majorities_commit() {
    let mut solo = leader(2);
    change(&mut solo, Change::AddLearner(member(FOUR))).unwrap();
    settle(&mut solo, &[TWO, THREE, FOUR]);
    let changes = [Change::Promote(FOUR), Change::Remove(TWO), Change::Remove(THREE)];
    solo.raft.change_membership(&changes, solo.now).unwrap();
    let joint = solo.raft.last_index();
    settle(&mut solo, &[TWO, THREE]);
    assert!(solo.raft.commit_index() < joint, "of the new voters only one holds it");
    settle(&mut solo, &[FOUR]);
    assert_eq!(solo.raft.commit_index(), joint);
    assert_eq!(solo.raft.last_index(), joint + 1, "and once it is applied the joint state ends");
    assert!(!solo.raft.membership().is_joint());
    settle(&mut solo, &[FOUR]);
    assert_eq!(solo.raft.commit_index(), joint + 1);
}

#[test]
fn a_leader_that_removed_itself_leads_until_that_is_committed() {
    let mut solo = leader(2);
    change(&mut solo, Change::Remove(ONE)).unwrap();
    settle(&mut solo, &[TWO, THREE]);
    assert!(!solo.raft.is_voter() && solo.raft.is_leader());
    settle(&mut solo, &[TWO]);
    assert!(solo.raft.is_leader(), "its own copy does not count any more");
    solo.messages.clear();
    settle(&mut solo, &[THREE]);
    assert_eq!(solo.raft.role(), Role::Follower);
    assert_eq!(solo.raft.counters().leaders_removed, 1);
    solo.wait_ms(1_000);
    solo.tick();
    assert_eq!(solo.raft.role(), Role::Follower, "and never campaigns");
}

#[test]
fn a_configuration_holds_when_appended_and_is_undone_when_cut_off() {
    let mut solo = Solo::with(recovered(1, &[1]), |_| {});
    let wider = Membership::of_voters([ONE, TWO, THREE, FOUR].map(member));
    let entry = Entry { term: 1, index: 2, kind: EntryKind::Membership, payload: wider.encode().into() };
    solo.step(TWO, 1, Body::Append { prev_index: 1, prev_term: 1, commit: 1, entries: vec![entry] });
    assert_eq!(solo.raft.membership(), &wider);
    solo.append(THREE, 2, (1, 1), &[2], 1);
    assert_eq!(solo.raft.membership(), &Membership::of_voters([ONE, TWO, THREE].map(member)));
    assert_eq!(solo.raft.counters().memberships_undone, 1);
}
