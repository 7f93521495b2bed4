//! Terms that are far ahead: from damaged or hostile messages, or true ones.

use raft::{Raft, RestoreError, Role, StartError};
use types::{ReplicaId, Term};
use wire::{Body, Entry, EntryKind, Membership, Message, SnapshotMeta};

use crate::sim::{Dice, Sim};
use crate::solo::{ONE, Solo, THREE, TWO, heartbeat, recovered};

const FAR: Term = Term::MAX / 2;

fn request(last_index: u64, last_term: Term) -> Body {
    Body::Vote { pre: false, transfer: true, last_index, last_term }
}

#[test]
fn a_term_far_ahead_told_once_changes_nothing() {
    for term in [FAR, FAR + 1, Term::MAX - 1, Term::MAX, 1 << 40] {
        let mut sim = Sim::new(3);
        let leader = sim.elect();
        sim.run(30);
        for idx in 0..3 {
            let (clock, group, to) = (sim.clock(idx), sim.raft(idx).group(), sim.raft(idx).id());
            let from = ReplicaId(to.0 % 3 + 1);
            for body in [request(9, 1), heartbeat(0, 9), Body::TimeoutNow] {
                sim.raft(idx).step(Message { group, from, to, term, body }, clock);
            }
            sim.drain(idx);
            assert_eq!(sim.raft(idx).counters().terms_refused, 3, "term {term}");
        }
        sim.run(500);
        assert_eq!(sim.leader(), Some(leader), "term {term}");
        sim.propose(leader, b"x").unwrap();
        sim.run(30);
        assert_eq!(sim.raft(leader).commit_index(), 2, "term {term}");
    }
}

#[test]
fn a_group_whose_term_is_at_the_highest_that_is_believed_still_elects() {
    for term in [FAR - 1, FAR, FAR + 1_000] {
        let mut sim = Sim::new(3);
        sim.elect();
        sim.run(30);
        for idx in 0..3 {
            sim.crash(idx);
            sim.nodes[idx].disk.hard_state.term = term;
            sim.restart(idx);
        }
        for _ in 0..3 {
            sim.run(300);
            let leader = sim.leader().unwrap();
            assert!(sim.raft(leader).term() > term);
            sim.propose(leader, b"x").unwrap();
            sim.run(30);
            sim.crash(leader);
            sim.run(300);
            sim.restart(leader);
        }
        assert_eq!(sim.check.leaders_count(), 5, "term {term}");
    }
}

#[test]
fn a_replica_that_was_away_for_very_long_believes_a_sender_that_insists() {
    for away in 0..3 {
        let mut sim = Sim::new(3);
        let leader = sim.elect();
        sim.run(30);
        for idx in (0..3).filter(|idx| *idx != away) {
            sim.crash(idx);
            sim.nodes[idx].disk.hard_state.term = 1 << 40;
        }
        for idx in (0..3).filter(|idx| *idx != away) {
            sim.restart(idx);
        }
        let _ = leader;
        sim.run(1_500);
        let leader = sim.leader().unwrap();
        assert!(sim.raft(leader).term() > 1 << 40);
        sim.propose(leader, b"x").unwrap();
        sim.run(100);
        assert_eq!(sim.nodes[away].applied, sim.check.commit_max(), "{away} follows");
    }
}

#[test]
fn a_far_term_is_believed_only_from_one_sender_that_repeats_it_for_a_while() {
    let mut solo = Solo::with(recovered(1, &[1]), |_| {});
    // Many in one moment may be one damaged frame.
    for _ in 0..100 {
        solo.step(TWO, 1 << 40, heartbeat(0, 1));
    }
    assert_eq!(solo.raft.term(), 1);
    solo.wait_ms(49);
    solo.step(TWO, 1 << 40, heartbeat(0, 1));
    assert_eq!(solo.raft.term(), 1);
    solo.step(THREE, 1 << 40, heartbeat(0, 1));
    solo.wait_ms(1);
    solo.step(TWO, 1 << 40, heartbeat(0, 1));
    assert_eq!(solo.raft.term(), 1, "another sender begins anew");
    // Few in a long time are damage, too.
    for _ in 0..20 {
        solo.wait_ms(6_400);
        solo.step(TWO, 1 << 40, heartbeat(0, 1));
    }
    assert_eq!(solo.raft.term(), 1);
    for _ in 0..6 {
        solo.wait_ms(10);
        solo.step(TWO, 1 << 40, heartbeat(0, 1));
    }
    assert_eq!(solo.raft.term(), 1, "seven times");
    solo.wait_ms(10);
    solo.step(TWO, 1 << 40, heartbeat(0, 1));
    assert_eq!(solo.raft.term(), 1 << 40);
    // However often it is told, a term must leave room for others.
    for _ in 0..100 {
        solo.wait_ms(10);
        solo.step(TWO, Term::MAX, heartbeat(0, 1));
        solo.step(TWO, FAR + 1, heartbeat(0, 1));
    }
    assert_eq!(solo.raft.term(), 1 << 40);
}

#[test]
fn terms_a_little_ahead_are_believed_at_once() {
    let mut solo = Solo::with(recovered(1, &[1]), |_| {});
    solo.step(TWO, 1 + (1 << 16), heartbeat(0, 1));
    assert_eq!(solo.raft.term(), 1 + (1 << 16));
    let term = solo.raft.term() + (1 << 16) + 1;
    solo.step(TWO, term, heartbeat(0, 1));
    assert_eq!((solo.raft.term(), solo.raft.counters().terms_refused), (1 + (1 << 16), 1));
}

#[test]
fn nothing_absurd_is_started_on_or_restored() {
    let config = crate::sim::config(1, 3);
    let mut start = recovered(1, &[1]);
    start.hard_state.term = Term::MAX;
    let refused = Raft::new(config, start, types::Instant::ZERO).err();
    assert_eq!(refused, Some(StartError::Recovered("the term is absurd")));
    let mut solo = Solo::new();
    for (last_index, last_term) in [(5, Term::MAX), (u64::MAX, 5)] {
        let meta = SnapshotMeta { last_index, last_term, membership: Membership::default() };
        assert_eq!(solo.raft.restore(meta, solo.now), Err(RestoreError::Absurd));
    }
    assert_eq!((solo.raft.term(), solo.raft.applied_index()), (0, 0));
}

#[test]
fn absurd_numbers_in_messages_stop_nobody() {
    let mut roles = std::collections::BTreeSet::new();
    for seed in 1..200 {
        let mut dice = Dice(seed);
        let mut solo = Solo::with(recovered(3, &[1, 2, 3]), |_| {});
        if seed % 3 == 0 {
            solo.elect();
        }
        for _ in 0..200 {
            let own = (solo.raft.term(), solo.raft.last_index(), solo.raft.role());
            roles.insert(format!("{:?}", own.2));
            let mut number = |own: u64| match dice.below(8) {
                0 => own,
                1 => own + 1,
                2 => 0,
                3 => u64::MAX,
                4 => FAR,
                5 => FAR + 1,
                6 => 1 << 40,
                _ => own.saturating_sub(1),
            };
            let term = number(own.0);
            let (one, other, last) = (number(own.1), number(own.0), number(own.1));
            let index = last.wrapping_add(1);
            let (kind, payload) = (EntryKind::Batch, vec![0; 10].into());
            let entries = vec![Entry { term: other, index, kind, payload }];
            let round = number(3);
            let body = match dice.below(9) {
                0 => Body::Vote {
                    pre: dice.chance(500),
                    transfer: dice.chance(500),
                    last_index: one,
                    last_term: other,
                },
                1 => Body::VoteReply { pre: dice.chance(500), granted: dice.chance(500) },
                2 => Body::Append { prev_index: last, prev_term: other, commit: 0, entries },
                3 => Body::AppendAccepted { match_index: one },
                4 => Body::AppendRejected { prev_index: one, hint_index: last, hint_term: other },
                5 => Body::Snapshot { last_index: one, last_term: other },
                6 => Body::Heartbeat { commit: 0, round, quiesce: dice.chance(500), round_trip_us: u32::MAX },
                7 => Body::HeartbeatReply { round, priority: u8::MAX },
                _ => Body::TimeoutNow,
            };
            // Two leaders in one term are no absurd number.
            let leads = matches!(body, Body::Append { .. } | Body::Heartbeat { .. } | Body::Snapshot { .. });
            if leads && own.2 == Role::Leader && term == own.0 {
                continue;
            }
            let from = [ONE, TWO, THREE, ReplicaId(u64::MAX)][dice.below(4) as usize];
            solo.step(from, term, body);
            if dice.chance(200) {
                solo.persist();
            }
            if dice.chance(100) {
                solo.wait_ms(dice.below(120));
                solo.tick();
            }
        }
    }
    assert_eq!(roles.len(), 4, "all roles are met: {roles:?}");
}
