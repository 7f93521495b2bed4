//! Dropping the log's beginning and taking over a state, seen from one replica. The scenarios and the storms have more.

use raft::{ProgressState, Purpose, RestoreError};
use types::{CoreAddr, Index, ReplicaId, Term};
use wire::{Body, Member, Membership, SnapshotMeta};

use crate::solo::{ONE, Solo, THREE, TWO, entries, heartbeat_reply, recovered};

fn meta(last_index: Index, last_term: Term) -> SnapshotMeta {
    let member = |id: ReplicaId| Member { id, place: CoreAddr::default() };
    SnapshotMeta { last_index, last_term, membership: Membership::of_voters([ONE, TWO, THREE].map(member)) }
}

/// A leader with ten entries that TWO holds and THREE does not, and a snapshot of eight in their place.
fn compacted() -> Solo {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    for _ in 1..10 {
        solo.propose(10);
    }
    solo.persist();
    solo.accept(TWO, 10);
    solo.raft.set_snapshot(meta(8, 1));
    solo.raft.compact(8);
    solo.messages.clear();
    solo
}

#[test]
fn one_that_needs_what_was_dropped_is_offered_the_snapshot_at_every_heartbeat() {
    let mut solo = compacted();
    assert_eq!((solo.raft.base_index(), solo.raft.term_at(8), solo.raft.term_at(7)), (8, Some(1), None));
    solo.step(THREE, 1, Body::AppendRejected { prev_index: 0, hint_index: 0, hint_term: 0 });
    solo.accept(THREE, 0);
    solo.messages.clear();
    solo.propose(10);
    let offer = Body::Snapshot { last_index: 8, last_term: 1 };
    for _ in 0..3 {
        solo.step(THREE, 1, heartbeat_reply(1));
        let sent = solo.take(THREE);
        assert!(sent.contains(&offer), "{sent:?}");
        assert!(!sent.iter().any(|body| matches!(body, Body::Append { .. })), "nothing else: {sent:?}");
    }
    let state = |solo: &Solo| solo.raft.peers().find(|peer| peer.id == THREE).unwrap().state;
    assert_eq!(state(&solo), ProgressState::Snapshot);
    solo.accept(THREE, 8);
    assert_eq!(state(&solo), ProgressState::Replicate);
    assert_eq!(solo.take_appends(THREE), [(9, 11)], "what follows the snapshot, and nothing twice");
}

#[test]
#[should_panic(expected = "the snapshot reaches to 8 only")]
fn only_what_a_snapshot_covers_is_dropped() {
    compacted().raft.compact(9);
}

#[test]
fn a_state_that_is_taken_over_empties_a_log_that_does_not_lead_to_it() {
    let mut solo = Solo::with(recovered(1, &[1, 1, 1]), |_| {});
    solo.step(TWO, 2, Body::Snapshot { last_index: 8, last_term: 2 });
    solo.persist();
    solo.raft.restore(meta(8, 2), solo.now).unwrap();
    solo.drain();
    assert_eq!(solo.writes.last().unwrap().reset, Some((8, 2)));
    assert_eq!((solo.raft.commit_index(), solo.raft.applied_index(), solo.raft.last_index()), (8, 8, 8));
    assert_eq!((solo.raft.base_index(), solo.raft.term_at(8), solo.raft.term_at(3)), (8, Some(2), None));
    solo.persist();
    assert!(solo.take(TWO).contains(&Body::AppendAccepted { match_index: 8 }));
    solo.append(TWO, 2, (6, 2), &[2, 2, 2], 9);
    solo.persist();
    assert_eq!(solo.committed.iter().map(|entry| entry.index).collect::<Vec<_>>(), [9], "none is applied twice");
}

#[test]
fn appends_that_arrive_while_the_state_is_fetched_are_kept() {
    let mut solo = Solo::with(recovered(2, &[1, 2, 2]), |_| {});
    solo.step(TWO, 2, Body::Snapshot { last_index: 5, last_term: 2 });
    solo.append(TWO, 2, (3, 2), &[2, 2, 2], 3);
    solo.raft.restore(meta(5, 2), solo.now).unwrap();
    solo.persist();
    assert_eq!((solo.raft.commit_index(), solo.raft.last_index()), (5, 6), "the log leads to the state and beyond");
    solo.append(TWO, 2, (6, 2), &[2], 7);
    solo.persist();
    assert_eq!(solo.committed.iter().map(|entry| entry.index).filter(|index| *index > 5).count(), 2);
}

#[test]
fn a_state_that_the_log_has_overtaken_is_refused() {
    let mut solo = Solo::with(recovered(2, &[1, 2, 2]), |_| {});
    solo.append(TWO, 2, (3, 2), &[], 3);
    solo.persist();
    solo.raft.log_read(Purpose::Apply, entries(1, &[1, 2, 2]), solo.now);
    solo.persist();
    assert_eq!(solo.raft.applied_index(), 3);
    assert_eq!(solo.raft.restore(meta(3, 2), solo.now), Err(RestoreError::Stale));
    assert_eq!((solo.raft.counters().snapshots_stale, solo.raft.last_index()), (1, 3));
}

#[test]
fn a_state_that_is_older_takes_the_place_of_one_that_was_lost() {
    let mut solo = Solo::with(recovered(2, &[1, 2, 2]), |_| {});
    solo.append(TWO, 2, (3, 2), &[2, 2], 4);
    solo.persist();
    solo.raft.log_read(Purpose::Apply, entries(1, &[1, 2, 2]), solo.now);
    solo.persist();
    assert_eq!(solo.raft.applied_index(), 4);
    assert_eq!(solo.raft.rewind(meta(2, 1), solo.now), Err(RestoreError::Stale), "of another group, or damaged");
    assert_eq!(solo.raft.applied_index(), 4);
    solo.committed.clear();
    solo.raft.rewind(meta(2, 2), solo.now).unwrap();
    assert_eq!((solo.raft.applied_index(), solo.raft.commit_index(), solo.raft.last_index()), (2, 4, 5));
    solo.drain();
    solo.raft.log_read(Purpose::Apply, entries(3, &[2, 2]), solo.now);
    solo.persist();
    assert_eq!(
        solo.committed.iter().map(|entry| entry.index).collect::<Vec<_>>(),
        [3, 4],
        "once more, and no others"
    );
    // One that is newer is taken over as any other.
    solo.raft.rewind(meta(8, 2), solo.now).unwrap();
    assert_eq!((solo.raft.applied_index(), solo.raft.base_index()), (8, 8));
}

#[test]
fn a_state_of_what_is_committed_and_not_applied_spares_applying_it() {
    let mut solo = Solo::with(recovered(2, &[1, 2, 2]), |_| {});
    solo.raft.pause_applying(true);
    solo.append(TWO, 2, (3, 2), &[2, 2], 5);
    solo.persist();
    assert_eq!((solo.raft.commit_index(), solo.raft.applied_index(), solo.committed.len()), (5, 0, 0));
    solo.raft.restore(meta(4, 2), solo.now).unwrap();
    solo.raft.pause_applying(false);
    solo.persist();
    assert_eq!(solo.committed.iter().map(|entry| entry.index).collect::<Vec<_>>(), [5]);
    assert_eq!((solo.raft.applied_index(), solo.raft.last_index()), (5, 5), "the log stays as it is");
    assert!(solo.writes.iter().all(|write| write.reset.is_none()));
}
