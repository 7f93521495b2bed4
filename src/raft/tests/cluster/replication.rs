//! Replication: what is sent when, and what it commits.

use raft::{ProgressState, ProposeError, Purpose, Role};
use wire::{Body, Entry, Message};

use crate::sim::Sim;
use crate::solo::{Solo, THREE, TWO, entries, heartbeat, heartbeat_reply, recovered};

#[test]
fn a_leader_commits_only_entries_of_its_own_term_by_counting() {
    // Figure 8 of the Raft paper: entry 2 of an earlier term reaches a majority, and may still be replaced.
    let mut solo = Solo::with(recovered(2, &[1, 2]), |_| {});
    solo.elect();
    assert_eq!((solo.raft.term(), solo.raft.last_index()), (3, 3));
    solo.accept(TWO, 2);
    solo.accept(THREE, 2);
    assert_eq!(solo.raft.commit_index(), 0);
    solo.accept(TWO, 3);
    assert_eq!(solo.raft.commit_index(), 3, "with an entry of its own come all before");
}

#[test]
fn an_acknowledgement_of_an_earlier_term_is_not_counted_by_a_leader_elected_again() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    let first_term = solo.raft.term();
    solo.propose(10);
    solo.propose(10);
    solo.persist();
    // TWO holds all three entries; its answer is late. THREE leads meanwhile and replaces the last two.
    solo.append(THREE, first_term + 1, (1, first_term), &[first_term + 1], 1);
    solo.persist();
    solo.elect();
    assert_eq!((solo.raft.term(), solo.raft.last_index()), (first_term + 2, 3));
    let commit = solo.raft.commit_index();
    for late in [first_term, first_term + 1] {
        solo.step(TWO, late, Body::AppendAccepted { match_index: 3 });
        solo.step(THREE, late, heartbeat_reply(1));
        assert_eq!(solo.raft.commit_index(), commit, "an answer of term {late}");
        assert!(solo.raft.lease_read(solo.now).is_err());
    }
    assert!(solo.raft.peers().all(|peer| peer.match_index == 0), "nothing is known of them in this term");
    solo.accept(TWO, 3);
    assert_eq!(solo.raft.commit_index(), 3, "the same answer in its own term counts");
}

#[test]
fn what_followers_acknowledged_to_this_leader_in_an_earlier_term_is_forgotten() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    for _ in 0..5 {
        solo.propose(10);
    }
    solo.accept(TWO, 6);
    let term = solo.raft.term();
    solo.append(THREE, term + 1, (1, term), &[term + 1; 5], 1);
    solo.persist();
    solo.elect();
    assert!(solo.raft.peers().all(|peer| peer.match_index == 0));
    assert_eq!(solo.raft.commit_index(), 1, "TWO acknowledged six entries, and they were others");
}

#[test]
fn appends_are_sent_ahead_of_their_answers_up_to_the_window() {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.inflight_count_max = 2);
    assert_eq!(solo.raft.peers().next().unwrap().state, ProgressState::Probe);
    solo.propose(10);
    assert_eq!(solo.take_appends(TWO), [], "a probe is on its way");
    solo.accept(TWO, 1);
    assert_eq!(solo.take_appends(TWO), [(2, 2)]);
    solo.propose(10);
    solo.propose(10);
    assert_eq!(solo.take_appends(TWO), [(3, 3)], "two are on their way");
    solo.propose(10);
    solo.accept(TWO, 2);
    assert_eq!(solo.take_appends(TWO), [(4, 5)], "what has come together leaves together");
}

#[test]
fn the_window_closes_by_bytes_too() {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.inflight_bytes_max = 1_000);
    solo.accept(TWO, 1);
    solo.propose(990);
    solo.propose(10);
    assert_eq!(solo.take_appends(TWO), [(2, 2)]);
    solo.accept(TWO, 2);
    assert_eq!(solo.take_appends(TWO), [(3, 3)]);
}

#[test]
fn a_follower_catches_up_in_batches() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    let other = (leader + 1) % 3;
    sim.run(20);
    sim.isolate(other);
    for _ in 0..500 {
        sim.propose(leader, &[0; 100]).unwrap();
        sim.run(1);
    }
    sim.heal();
    let before = sim.nodes[leader].appends_sent;
    sim.run(40);
    assert_eq!(sim.nodes[other].applied, sim.check.commit_max());
    assert!(sim.nodes[leader].appends_sent - before < 10);
}

#[test]
fn appends_hold_no_more_than_append_bytes_max() {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.append_bytes_max = 400);
    for _ in 0..5 {
        solo.propose(100);
    }
    solo.propose(1_000);
    solo.messages.clear();
    solo.accept(TWO, 1);
    assert_eq!(solo.take_appends(TWO), [(2, 3), (4, 5), (6, 6), (7, 7)], "one entry may exceed it");
}

#[test]
fn back_off_skips_whole_terms() {
    // The follower's log went astray in term 2, the leader's in terms 3 and 4.
    let mut leader = Solo::with(recovered(4, &[1, 1, 1, 3, 3, 3, 4, 4, 4, 4]), |_| {});
    leader.elect();
    let mut follower = Solo::with(recovered(4, &[1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2]), |_| {});
    let term = leader.raft.term();
    follower.append(TWO, term, (10, 4), &[5], 0);
    follower.persist();
    let refusals = follower.take(TWO);
    let [Body::AppendRejected { prev_index: 10, hint_index: 10, hint_term: 2 }] = refusals[..] else {
        panic!("{refusals:?}");
    };
    leader.step(TWO, term, refusals.into_iter().next().unwrap());
    // Nothing is in memory after the restart, so the probe is empty; but it is at the right place.
    assert_eq!(leader.take_appends(TWO), [(4, 3)]);
    follower.append(TWO, term, (3, 1), &[], 0);
    follower.persist();
    assert_eq!(follower.take(TWO), [Body::AppendAccepted { match_index: 3 }]);
}

#[test]
fn a_follower_with_a_short_log_is_asked_once() {
    let mut solo = Solo::with(recovered(1, &[1; 50]), |_| {});
    solo.elect();
    let term = solo.raft.term();
    solo.step(TWO, term, Body::AppendRejected { prev_index: 50, hint_index: 7, hint_term: 1 });
    assert_eq!(solo.take_appends(TWO), [(8, 7)]);
    solo.step(TWO, term, Body::AppendRejected { prev_index: 50, hint_index: 3, hint_term: 1 });
    assert_eq!(solo.take_appends(TWO), [], "an old refusal, repeated");
}

#[test]
fn entries_no_longer_in_memory_are_read_from_the_log_for_a_follower() {
    let mut solo = Solo::with(recovered(1, &[1; 50]), |_| {});
    solo.elect();
    solo.accept(TWO, 40);
    let read = solo.log_reads.pop().unwrap();
    assert_eq!((read.purpose, read.first, read.last), (Purpose::Peer(TWO), 41, 50));
    solo.propose(10);
    solo.accept(TWO, 40);
    assert_eq!(solo.log_reads, [], "one read at a time");
    solo.messages.clear();
    solo.raft.log_read(read.purpose, entries(41, &[1; 4]), solo.now);
    solo.drain();
    assert_eq!(solo.take_appends(TWO), [(41, 44)], "a short answer is fine");
    let read = solo.log_reads.pop().unwrap();
    solo.raft.log_read(read.purpose, entries(45, &[1; 6]), solo.now);
    solo.drain();
    assert_eq!(solo.take_appends(TWO), [(45, 50), (51, 52)], "and on from memory");
}

#[test]
fn a_log_read_answered_too_late_is_dropped() {
    let mut solo = Solo::with(recovered(1, &[1; 50]), |_| {});
    solo.elect();
    solo.accept(TWO, 40);
    let read = solo.log_reads.pop().unwrap();
    // Another leads meanwhile and replaces the end of the log; then we lead again.
    let term = solo.raft.term() + 1;
    solo.append(THREE, term, (45, 1), &[term, term, term], 0);
    solo.persist();
    solo.elect();
    solo.accept(TWO, 40);
    assert_eq!(solo.log_reads, [], "the first read is still under way");
    solo.messages.clear();
    solo.raft.log_read(read.purpose, entries(41, &[1; 10]), solo.now);
    solo.drain();
    assert_eq!(solo.take_appends(TWO), []);
    assert_eq!(solo.raft.counters().log_reads_stale, 1);
    let read = solo.log_reads.pop().unwrap();
    assert_eq!((read.first, read.last), (41, 45), "what came since is in memory");
}

#[test]
fn a_failed_log_read_is_tried_again_at_the_next_heartbeat() {
    let mut solo = Solo::with(recovered(1, &[1; 50]), |_| {});
    solo.elect();
    solo.accept(TWO, 40);
    let read = solo.log_reads.pop().unwrap();
    solo.raft.log_read_failed(read.purpose);
    solo.propose(1);
    assert_eq!(solo.log_reads, []);
    solo.step(TWO, solo.raft.term(), heartbeat_reply(1));
    assert_eq!(solo.log_reads, [read]);
}

#[test]
fn the_cache_holds_what_is_needed_and_no_more() {
    let mut sim = Sim::with(3, 1, |config| {
        config.first_campaigner = config.id.0 == 1;
        config.cache_bytes_max = 1_000;
    });
    let leader = sim.elect();
    sim.run(20);
    for _ in 0..50 {
        sim.propose(leader, &[1; 100]).unwrap();
        sim.run(1);
    }
    sim.run(30);
    for idx in 0..3 {
        let bytes = sim.raft(idx).cache_bytes();
        assert!(bytes > 500 && bytes <= 1_000, "{bytes}");
    }
}

#[test]
fn lost_appends_are_noticed_by_the_heartbeats() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    // Both followers lose the Append, and nothing is proposed after it.
    sim.isolate(leader);
    sim.propose(leader, b"x").unwrap();
    sim.run(2);
    sim.heal();
    sim.run(40);
    assert_eq!(sim.raft(leader).commit_index(), 2);
    assert_eq!(sim.raft(leader).counters().quorum_lost, 0);
}

#[test]
fn lost_answers_are_given_again() {
    let mut sim = Sim::new(3);
    let leader = sim.elect();
    sim.run(20);
    sim.propose(leader, b"x").unwrap();
    sim.run(1);
    let others: Vec<_> = (0..3).filter(|other| *other != leader).collect();
    sim.cuts.extend(others.iter().map(|other| (*other, leader)));
    sim.run(5);
    assert_eq!(sim.raft(leader).commit_index(), 1);
    sim.heal();
    sim.run(40);
    assert_eq!(sim.raft(leader).commit_index(), 2);
}

#[test]
fn a_broken_connection_starts_a_new_probe() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.propose(10);
    solo.propose(10);
    solo.messages.clear();
    solo.raft.peer_unreachable(TWO);
    solo.drain();
    assert_eq!(solo.take_appends(TWO), [(2, 3)], "once more, and then only when it is answered");
    solo.propose(10);
    assert_eq!(solo.take_appends(TWO), []);
    solo.step(TWO, solo.raft.term(), heartbeat_reply(1));
    assert_eq!(solo.take_appends(TWO), [], "the answer may still be on its way");
    solo.wait_ms(10);
    solo.step(TWO, solo.raft.term(), heartbeat_reply(1));
    assert_eq!(solo.take_appends(TWO), [(2, 4)]);
}

/// A heartbeat interval passes; the follower TWO answers the heartbeat and refuses an Append behind what it lacks, as
/// one does whose disk is full: it drops entries. Returns the bytes of entries that were sent to it.
fn answer_without_taking(solo: &mut Solo, held: u64) -> usize {
    solo.wait_ms(10);
    solo.tick();
    let term = solo.raft.term();
    let mut bytes = 0;
    let mut waiting = solo.take(TWO);
    while !waiting.is_empty() {
        for body in waiting {
            match body {
                Body::Heartbeat { round, .. } => solo.step(TWO, term, heartbeat_reply(round)),
                Body::Append { entries, .. } if !entries.is_empty() => {
                    bytes += entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
                }
                Body::Append { prev_index, .. } if prev_index > held => {
                    solo.step(TWO, term, Body::AppendRejected { prev_index, hint_index: held, hint_term: term });
                }
                Body::Append { .. } => solo.accept(TWO, held),
                _ => {}
            }
        }
        waiting = solo.take(TWO);
    }
    // A driver answers log reads; this log holds entries of a thousand bytes.
    while let Some(read) = solo.log_reads.pop() {
        let count = (read.last + 1 - read.first).min((read.bytes_max as u64 / 1_000).max(1));
        let mut entries = entries(read.first, &vec![term; count as usize]);
        for entry in &mut entries {
            entry.payload = vec![0; 1_000].into();
        }
        solo.raft.log_read(read.purpose, entries, solo.now);
        solo.drain();
    }
    bytes
}

fn sends_little_to_a_full_follower(cache_bytes_max: usize) {
    let mut solo = Solo::leader(recovered(0, &[]), |config| {
        (config.append_bytes_max, config.inflight_bytes_max) = (100_000, 300_000);
        config.cache_bytes_max = cache_bytes_max;
    });
    solo.accept(TWO, 1);
    for _ in 0..1_000 {
        let index = solo.propose(1_000);
        solo.persist();
        solo.accept(THREE, index);
    }
    solo.messages.clear();
    let bytes: usize = (0..1_000).map(|_| answer_without_taking(&mut solo, 1)).sum();
    assert!(bytes <= 450_000, "{bytes} bytes in a thousand heartbeat intervals");
    let bytes: usize = (0..1_000).map(|_| answer_without_taking(&mut solo, 1)).sum();
    assert!((20_000..=50_000).contains(&bytes), "later one entry in 32 intervals: {bytes} bytes");
    assert!(solo.raft.counters().appends_untaken > 20);
    // There is room again, and the follower takes the next one.
    let mut held = 1;
    for _ in 0..80 {
        solo.wait_ms(10);
        solo.tick();
        let term = solo.raft.term();
        for body in solo.take(TWO) {
            match body {
                Body::Heartbeat { round, .. } => solo.step(TWO, term, heartbeat_reply(round)),
                Body::Append { prev_index, entries, .. } if prev_index <= held => {
                    held = held.max(prev_index + entries.len() as u64);
                    solo.accept(TWO, held);
                }
                _ => {}
            }
        }
        while let Some(read) = solo.log_reads.pop() {
            let count = (read.last + 1 - read.first).min((read.bytes_max as u64 / 1_000).max(1));
            solo.raft.log_read(read.purpose, entries(read.first, &vec![term; count as usize]), solo.now);
            solo.drain();
        }
    }
    assert_eq!(held, 1_001, "and then it catches up at full speed");
}

#[test]
fn a_follower_that_takes_no_entries_is_sent_one_at_a_time_ever_less_often() {
    sends_little_to_a_full_follower(64 << 20);
}

#[test]
fn a_follower_that_takes_no_entries_is_sent_one_at_a_time_from_the_log_too() {
    sends_little_to_a_full_follower(0);
}

#[test]
fn a_follower_whose_disk_is_slow_is_not_sent_the_same_megabyte_at_every_heartbeat() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.raft.peer_unreachable(TWO);
    for _ in 0..100 {
        solo.propose(1_000);
    }
    let mut sent = Vec::new();
    for round in 1..=50 {
        solo.wait_ms(10);
        solo.tick();
        sent.extend(solo.take_appends(TWO));
        solo.step(TWO, solo.raft.term(), heartbeat_reply(round));
        sent.extend(solo.take_appends(TWO));
    }
    let entries: u64 = sent.iter().map(|(first, last)| last + 1 - first).sum();
    assert!(entries < 210 && sent.len() < 10, "twice, and then one entry now and then: {sent:?}");
}

#[test]
fn an_append_behind_the_commit_index_is_acknowledged_as_committed() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1, 1, 1], 3);
    solo.persist();
    solo.messages.clear();
    solo.append(THREE, 2, (1, 1), &[1], 0);
    solo.persist();
    assert_eq!(solo.take(THREE), [Body::AppendAccepted { match_index: 3 }]);
    assert_eq!(solo.raft.last_index(), 3);
}

#[test]
fn what_matched_one_leader_is_not_acknowledged_to_the_next() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1, 1, 1], 0);
    solo.persist();
    solo.messages.clear();
    solo.append(THREE, 2, (1, 1), &[], 0);
    solo.persist();
    assert_eq!(solo.take(THREE), [Body::AppendAccepted { match_index: 1 }]);
}

#[test]
fn an_old_append_does_not_shorten_the_log() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1, 1, 1], 0);
    solo.append(TWO, 1, (0, 0), &[1], 0);
    assert_eq!(solo.raft.last_index(), 3);
    solo.append(THREE, 2, (0, 0), &[1, 2], 0);
    assert_eq!(solo.raft.last_index(), 2, "a contradiction does");
}

#[test]
fn an_append_that_contradicts_a_committed_entry_is_dropped_whole() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1, 1, 1], 2);
    solo.persist();
    solo.messages.clear();
    solo.append(THREE, 3, (1, 1), &[2, 2, 2], 4);
    solo.persist();
    let raft = &solo.raft;
    assert_eq!((raft.counters().appends_contradicting, raft.counters().contradictions()), (1, 1));
    assert_eq!((raft.last_index(), raft.commit_index(), raft.term_at(2)), (3, 2, Some(1)));
    assert!(solo.take(THREE).is_empty(), "nothing of it is acknowledged");
    solo.append(THREE, 3, (2, 1), &[3], 3);
    solo.persist();
    assert_eq!((solo.raft.term_at(3), solo.raft.commit_index()), (Some(3), 3), "what is not committed gives way");
}

#[test]
fn another_leader_of_the_term_is_not_followed_by_the_one_there_is() {
    let mut solo = Solo::new();
    solo.elect();
    let (term, last_index) = (solo.raft.term(), solo.raft.last_index());
    solo.append(THREE, term, (0, 0), &[1], 1);
    solo.step(THREE, term, heartbeat(1, 9));
    solo.step(THREE, term, Body::Snapshot { last_index: 9, last_term: term });
    assert_eq!((solo.raft.counters().rival_leaders, solo.raft.counters().contradictions()), (3, 3));
    assert_eq!((solo.raft.role(), solo.raft.last_index(), solo.raft.commit_index()), (Role::Leader, last_index, 0));
}

#[test]
fn a_malformed_append_is_dropped() {
    let mut solo = Solo::new();
    solo.append(TWO, 1, (0, 0), &[1], 0);
    let gap = vec![entries(2, &[1]).remove(0), entries(4, &[1]).remove(0)];
    solo.step(TWO, 1, Body::Append { prev_index: 1, prev_term: 1, commit: 0, entries: gap });
    solo.append(TWO, 1, (1, 1), &[5], 0);
    solo.append(TWO, 3, (1, 1), &[3, 2], 0);
    solo.step(TWO, 3, Body::Append { prev_index: u64::MAX, prev_term: 1, commit: 0, entries: entries(2, &[1]) });
    assert_eq!((solo.raft.counters().malformed, solo.raft.last_index()), (4, 1));
}

#[test]
fn a_follower_that_lost_its_log_is_not_believed() {
    let mut solo = Solo::new();
    solo.step(TWO, 1, heartbeat(9, 1));
    assert_eq!((solo.raft.commit_index(), solo.raft.counters().commits_beyond_log), (0, 1));
    let mut leader = Solo::leader(recovered(0, &[]), |_| {});
    leader.accept(TWO, 99);
    assert_eq!((leader.raft.commit_index(), leader.raft.counters().malformed), (0, 1));
}

#[test]
fn a_log_without_its_beginning_is_served_as_far_as_it_reaches() {
    let mut start = recovered(4, &[]);
    (start.base_index, start.base_term, start.last_index, start.applied) = (10, 2, 12, 10);
    start.runs = vec![raft::TermRun { first: 11, term: 4 }];
    let mut solo = Solo::leader(start, |_| {});
    solo.step(TWO, solo.raft.term(), Body::AppendRejected { prev_index: 12, hint_index: 10, hint_term: 2 });
    assert_eq!(solo.take_appends(TWO), [(11, 10)]);
    solo.step(THREE, solo.raft.term(), Body::AppendRejected { prev_index: 12, hint_index: 4, hint_term: 2 });
    assert_eq!((solo.take_appends(THREE).len(), solo.raft.counters().peers_behind_log), (0, 1));
}

#[test]
fn what_is_uncommitted_is_bounded_and_one_entry_always_fits() {
    let mut solo = Solo::leader(recovered(0, &[]), |config| config.uncommitted_bytes_max = 500);
    assert_eq!(solo.raft.propose(vec![0; 1_000].into(), solo.now), Err(ProposeError::Overloaded));
    solo.accept(TWO, 1);
    assert_eq!(solo.raft.uncommitted_bytes(), 0);
    solo.propose(1_000);
    assert_eq!(solo.raft.propose(vec![0; 1].into(), solo.now), Err(ProposeError::Overloaded));
    solo.persist();
    solo.accept(THREE, 2);
    solo.propose(100);
    solo.propose(100);
    assert_eq!(solo.raft.propose(vec![0; 200].into(), solo.now), Err(ProposeError::Overloaded));
    assert_eq!(solo.raft.counters().proposals_refused, 3);
}

#[test]
fn a_follower_takes_no_proposals_and_names_the_leader() {
    let mut solo = Solo::new();
    assert_eq!(solo.raft.propose(vec![0; 1].into(), solo.now), Err(ProposeError::NotLeader { leader: None }));
    solo.step(TWO, 1, heartbeat(0, 1));
    assert_eq!(solo.raft.propose(vec![0; 1].into(), solo.now), Err(ProposeError::NotLeader { leader: Some(TWO) }));
}

/// A frame in memory, and who knows when it is freed.
struct Frame {
    bytes: Vec<u8>,
    _freed: std::sync::Arc<()>,
}

impl AsRef<[u8]> for Frame {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[test]
fn what_a_follower_keeps_in_memory_holds_no_frames() {
    let mut solo = Solo::with(recovered(0, &[]), |config| config.cache_bytes_max = 8 << 20);
    let (frames, frame_bytes) = (std::sync::Arc::new(()), 1 << 20);
    for at in 0..100u64 {
        // Each frame brings one entry of this group, and much for others.
        let frame = bytes::Bytes::from_owner(Frame { bytes: vec![1; frame_bytes], _freed: frames.clone() });
        // Every tenth payload is long enough to stay a slice.
        let payload_len = if at % 10 == 5 { 200_000 } else { 1_000 };
        let mut entries = entries(at + 1, &[1]);
        entries[0].payload = wire::Payload::slice(frame.slice(500..500 + payload_len));
        let prev_term = u64::from(at > 0);
        solo.step(TWO, 1, Body::Append { prev_index: at, prev_term, commit: at, entries });
        solo.persist();
        solo.committed.clear();
    }
    solo.step(TWO, 1, heartbeat(100, 1));
    solo.persist();
    solo.committed.clear();
    assert_eq!(solo.raft.applied_index(), 100);
    let held = (std::sync::Arc::strong_count(&frames) - 1) * frame_bytes;
    assert_eq!(held, 0, "bytes in frames, and {} are counted", solo.raft.cache_bytes());
    assert!(solo.raft.cache_bytes() > 4_000, "short payloads are kept for slow followers all the same");
}

#[test]
fn a_leaders_own_payloads_are_not_copied() {
    let mut solo = Solo::leader(recovered(0, &[]), |_| {});
    solo.accept(TWO, 1);
    solo.messages.clear();
    let payload = bytes::Bytes::from(vec![1; 1_000]);
    solo.raft.propose(payload.clone(), solo.now).unwrap();
    solo.drain();
    let written = &solo.writes.last().unwrap().entries[0].payload;
    assert_eq!(written.as_ptr(), payload.as_ptr());
    solo.persist();
    solo.accept(TWO, 2);
    assert_eq!(solo.committed.last().unwrap().payload.as_ptr(), payload.as_ptr());
    let sent = solo.messages.iter().find_map(|message| match &message.body {
        Body::Append { entries, .. } => entries.last().map(|entry| entry.payload.as_ptr()),
        _ => None,
    });
    assert_eq!(sent, Some(payload.as_ptr()));
}

/// How many entries each `ready` hands out to be applied.
fn handed_out(solo: &mut Solo) -> Vec<usize> {
    let mut counts = Vec::new();
    while solo.raft.has_ready() {
        solo.raft.ready(&mut solo.ready);
        counts.push(solo.ready.committed.len());
        solo.log_reads.append(&mut solo.ready.log_reads);
        let last = solo.ready.committed.last().map(|entry| entry.index);
        solo.committed.append(&mut solo.ready.committed);
        last.into_iter().for_each(|index| solo.raft.applied(index));
    }
    counts.retain(|count| *count > 0);
    counts
}

/// Whoever applies them can stop in between.
#[test]
fn entries_to_apply_are_handed_out_a_few_at_a_time() {
    let long = |entry: &mut Entry| entry.payload = vec![0; 5 << 10].into();
    let mut sent = entries(1, &[1; 10]);
    sent.iter_mut().for_each(long);
    sent[4].payload = vec![0; 100 << 10].into();
    let mut solo = Solo::with(recovered(0, &[]), |_| {});
    let append = Body::Append { prev_index: 0, prev_term: 0, commit: 10, entries: sent.clone() };
    let message = Message { group: solo.raft.group(), from: TWO, to: solo.raft.id(), term: 1, body: append };
    solo.raft.step(message, solo.now);
    assert_eq!(handed_out(&mut solo), [3, 1, 1, 3, 2], "from memory, as many as fit, or one");
    assert_eq!(solo.committed, sent);

    let mut start = recovered(1, &[1; 10]);
    start.hard_state.commit = 10;
    let mut solo = Solo::with(start, |_| {});
    assert_eq!(handed_out(&mut solo), []);
    let read = solo.log_reads.pop().unwrap();
    solo.raft.log_read(read.purpose, sent.clone(), solo.now);
    assert_eq!(handed_out(&mut solo), [4, 1, 4, 1], "read back from the log, until it is enough");
    assert_eq!((&solo.committed, solo.raft.applied_index()), (&sent, 10));
}
