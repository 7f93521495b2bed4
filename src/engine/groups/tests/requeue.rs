//! Commands that a former leader gives back, a slice per turn.

use super::*;
use crate::budget::Pool;
use crate::refusal::Refusal;

/// A leader that has proposed a write, without which nothing more fits, and as many other commands after that, from 2 on: each third
/// of them is a read. A turn gives `per_turn_max` of them back.
fn with_unproposed(per_turn_max: usize, count: u64) -> (World, usize) {
    let mut world = World::new(|config| {
        config.limits.commands_per_turn_max = per_turn_max;
        config.uncommitted_bytes_max = 100;
        config.batch_bytes_max = 300;
        config.map.settings.read_mode = meta::ReadMode::ReadIndex;
    });
    let leader = world.leader();
    world.cut = vec![leader];
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    for seq in 2..2 + count {
        world.execute(leader, client(seq), if seq % 3 == 0 { "GET a" } else { "SET a 2" });
    }
    (world, leader)
}

/// Turns of one core alone, as long as it has commands to give back. Returns how many it was each time.
fn requeue_all(side: &mut Side) -> Vec<usize> {
    let begin = side.requeued_counts.len();
    while side.replica().is_requeuing {
        assert!(side.groups.has_work(), "what is left is more to do at once");
        side.turn();
        assert_eq!(side.ctx.budget.used_by(Pool::Batches), side.groups.requests_held_bytes());
    }
    side.requeued_counts[begin..].to_vec()
}

#[test]
fn a_deposed_leader_requeues_a_bounded_number_of_commands_per_turn_and_keeps_their_order() {
    let (mut world, leader) = with_unproposed(10, 1_000);
    // Reads that wait in no batch are another connection's.
    let other = |seq| {
        let Origin::Client { conn, protocol, .. } = client(seq) else { panic!("it is a client") };
        Origin::Client { conn: host::ConnId { idx: conn.idx + 1, ..conn }, seq, protocol }
    };
    (1_002..1_052).for_each(|seq| world.execute(leader, other(seq), "GET a"));
    assert!(world.sides[leader].replica().has_reads());
    while world.sides[leader].replica().raft.is_leader() {
        world.run(Duration::from_millis(25));
    }
    let side = &mut world.sides[leader];
    assert!(side.groups.local(&side.ctx, GROUP).has_unsettled);
    requeue_all(side);
    let counts: Vec<_> = side.requeued_counts.iter().copied().filter(|count| *count > 0).collect();
    assert_eq!(counts, [10; 105]);
    let (of_other, of_client): (Vec<_>, Vec<_>) = side.requeued().into_iter().partition(|seq| *seq >= 1_002);
    assert!(of_client.into_iter().eq(2..1_002) && of_other.into_iter().eq(1_002..1_052));
    assert_eq!(side.ctx.counters.commands_requeued, 1_050);
    assert_eq!(side.groups.sources.of(client(1).source()).writes, 1, "the one whose fate is not known");
    assert_eq!((side.replica().batches.bytes(), side.replica().leaving.bytes()), (0, 0));
    assert_eq!(side.ctx.counters.commands_sliced, 104, "all turns but the last have left some");
}

#[test]
fn reads_of_proposed_batches_leave_by_slices_too() {
    let mut world = World::new(|config| config.limits.commands_per_turn_max = 1);
    let leader = world.leader();
    world.cut = vec![leader];
    for part in 0..3 {
        for (seq, line) in [(1, "SET a 1"), (2, "GET a"), (3, "GET b")] {
            world.execute(leader, client(10 * part + seq), line);
        }
        world.settle();
    }
    world.execute(leader, client(31), "GET a");
    world.run(Duration::from_secs(4));
    let side = &mut world.sides[leader];
    assert_eq!(side.requeued(), [22, 23, 31]);
    assert!(side.requeued_counts.iter().all(|count| *count <= 1), "{:?}", side.requeued_counts);
    let lost: Vec<_> = side.answers.replies.iter().filter(|(_, text)| text.starts_with("-TRYAGAIN")).collect();
    assert_eq!(lost.into_iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [2, 3, 12, 13]);
    assert_eq!((side.replica().leaving.bytes(), side.replica().leaving.is_empty()), (0, true));
    assert_eq!(side.groups.sources.of(client(1).source()).batched_reads, 0);
}

/// What it took in would come before older commands that go back.
#[test]
fn a_leader_again_takes_commands_in_when_the_last_older_one_has_gone_back() {
    let mut world = World::new(|config| config.limits.commands_per_turn_max = 1);
    let leader = world.leader();
    let now = world.now;
    // Whoever is to take over does not hear so.
    let next = (leader + 1) % 3;
    world.cut = vec![next];
    let target = world.sides[next].replica().raft.id();
    world.sides[leader].replica().raft.transfer_leader(Some(target), now).unwrap();
    (1..=2_000).for_each(|seq| world.execute(leader, client(seq), "SET a 1"));
    while world.sides[leader].replica().raft.transferring_to().is_some() {
        world.run(Duration::from_millis(25));
    }
    let side = &mut world.sides[leader];
    assert!(side.replica().raft.is_leader());
    let unblocked = side.unblocked;
    let mut seen = side.requeued().len();
    assert!((1..2_000).contains(&seen), "{seen}");
    while seen < 2_000 {
        let local = side.groups.local(&side.ctx, GROUP);
        assert_eq!((local.leads, local.has_unsettled, side.unblocked), (false, true, unblocked));
        side.turn();
        let now = side.requeued().len();
        assert_eq!(now, seen + 1);
        seen = now;
    }
    let local = side.groups.local(&side.ctx, GROUP);
    assert_eq!((local.leads, local.has_unsettled, side.unblocked), (true, false, unblocked + 1));
    assert!(side.requeued().into_iter().eq(1..=2_000));
    assert!(!side.groups.has_batches() || side.replica().batches.is_empty());
}

#[test]
fn commands_of_another_core_go_back_by_slices_and_those_that_come_meanwhile_at_once() {
    let (mut world, leader) = stuck(|config| {
        config.limits.commands_per_turn_max = 4;
        config.limits.batches_bytes_max = 700;
    });
    let now = world.now;
    let take = |side: &mut Side, id: u64, resumes: bool| {
        let Side { ctx, groups, answers, effects, .. } = side;
        with_request(forwarded(id), "SET a 1", |request| {
            let arrival = Arrival { group: GROUP, resumes, must_wait: false };
            groups.take_forwarded(ctx, answers, effects, arrival, request);
        });
    };
    let side = &mut world.sides[leader];
    (1..=30).for_each(|id| take(side, id, id == 1));
    assert!(!side.replica().batches.is_empty() && !side.replica().forwarded.is_empty());
    side.replica().raft.transfer_leader(None, now).unwrap();
    side.groups.mark(GROUP);
    side.turn();
    assert_eq!(side.answers.sent_back.len(), 4);
    take(side, 31, false);
    assert_eq!(side.answers.sent_back.last(), Some(&(LinkId(0), 31)));
    let counts = requeue_all(side);
    assert_eq!(counts, [4 + 1, 4, 4, 4, 4, 4, 2], "the one that came meanwhile is not among those of the turn");
    let mut ids: Vec<u64> = side.answers.sent_back.iter().map(|(_, id)| *id).collect();
    let waited: Vec<u64> = ids.iter().copied().filter(|id| (20..31).contains(id)).collect();
    assert!(waited.is_sorted(), "those that waited for room go back in order: {waited:?}");
    ids.sort_unstable();
    assert!(ids.into_iter().eq(1..=31), "each goes back once");
    assert_eq!(side.replica().waiting_bytes() + side.replica().forwarded.bytes(), 0);
    assert!(side.replica().refuses(LinkId(0)), "until the other core has heard of it");
}

/// Turns of one core alone, as long as it has more to do at once. Returns how many commands were answered or went back each
/// time.
fn answered_in_turns(side: &mut Side) -> Vec<usize> {
    let answered = |side: &Side| side.answers.replies.len() + side.answers.sent_back.len();
    let (mut counts, mut seen) = (Vec::new(), answered(side));
    while side.groups.has_work() {
        side.turn();
        assert_eq!(side.ctx.budget.used_by(Pool::Batches), side.groups.requests_held_bytes());
        counts.push(answered(side) - seen);
        seen = answered(side);
    }
    counts
}

#[test]
fn writes_whose_fate_a_former_leader_does_not_learn_are_answered_by_slices() {
    let mut world = World::new(|config| config.limits.commands_per_turn_max = 10);
    let leader = world.leader();
    world.cut = vec![leader];
    // Two batches, so that one slice has the end of one and the beginning of the other.
    for seqs in [1..16, 16..46] {
        seqs.for_each(|seq| world.execute(leader, client(seq), "SET a 1"));
        let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
        groups.propose(ctx, answers, effects, false);
    }
    world.run(Duration::from_millis(1_500));
    let side = &mut world.sides[leader];
    assert!(!side.replica().raft.is_leader() && side.answers.replies.is_empty());
    side.ctx.now += side.ctx.config.leader_wait;
    side.begin_turn();
    side.groups.tick(&mut side.ctx, &mut side.answers, &mut side.effects);
    assert_eq!(side.answers.replies.len(), 10);
    assert!(!side.groups.is_drained(), "it owes answers");
    assert_eq!(answered_in_turns(side), [10, 10, 10, 5]);
    assert!(side.answers.replies.values().all(|reply| reply.starts_with("-UNKNOWNOUTCOME")));
    assert_eq!((side.groups.sources.of(client(1).source()).writes, side.replica().waiting_bytes()), (0, 0));
    assert!(side.groups.is_drained());
}

#[test]
fn writes_whose_place_another_entry_takes_are_answered_by_slices() {
    let mut world = World::new(|config| {
        config.limits.commands_per_turn_max = 10;
        config.leader_wait = Duration::from_secs(60);
    });
    let leader = world.leader();
    world.cut = vec![leader];
    (1..36).for_each(|seq| world.execute(leader, client(seq), "SET a 1"));
    world.settle();
    world.run(Duration::from_secs(4));
    let successor = world.leader();
    world.execute(successor, client(1), "SET b 1");
    world.settle();
    world.cut.clear();
    while world.sides[leader].answers.replies.is_empty() {
        world.now += Duration::from_millis(25);
        world.sides.iter_mut().for_each(|side| side.ctx.now = world.now);
        world.sides.iter_mut().for_each(|side| side.groups.run_timers(&side.ctx));
        assert!(world.round() || world.now < Instant::ZERO + Duration::from_secs(20));
    }
    let side = &mut world.sides[leader];
    let first_count = side.answers.replies.len();
    assert!(first_count <= 10, "{first_count}");
    let counts = answered_in_turns(side);
    assert!(counts.iter().all(|count| *count <= 10), "{counts:?}");
    assert_eq!(first_count + counts.iter().sum::<usize>(), 35);
    assert!(side.answers.replies.values().all(|reply| reply.starts_with("-TRYAGAIN")));
}

/// A read that has no place to be served at any more is not asked again: a write behind it may have run.
#[test]
fn a_read_of_a_batch_that_fails_is_lost() {
    let (mut world, leader) = stuck(|_| {});
    world.execute(leader, client(1), "SET a 1");
    world.execute(leader, client(2), "GET a");
    world.settle();
    let Side { ctx, groups, answers, .. } = &mut world.sides[leader];
    let replica = &mut groups.list[GROUP];
    let proposed = replica.proposed.pop_settled_by(Term::MAX, 0).unwrap();
    replica.failed.push(proposed.waiters, Refusal::OutcomeUnknownSnapshot);
    groups.answer_failed(ctx, answers, GROUP);
    let replies = world.replies(leader);
    assert!(replies[0].1.starts_with("-UNKNOWNOUTCOME") && replies[1].1.starts_with("-TRYAGAIN"), "{replies:?}");
    let under_way = *world.sides[leader].groups.sources.of(client(1).source());
    assert!(!under_way.is_in_batch());
}

#[test]
fn commands_of_another_core_beyond_the_bound_go_back_by_slices() {
    let bytes = with_request(client(0), "GET a", |request| request.bytes());
    let mut world = World::new(|config| {
        config.limits.commands_per_turn_max = 10;
        config.limits.forwarded_bytes_max = 35 * bytes;
    });
    let leader = world.leader();
    let side = &mut world.sides[leader];
    let Side { ctx, groups, answers, effects, .. } = side;
    for id in 0..36 {
        ctx.shares.begin();
        with_request(forwarded(id), "GET a", |request| {
            let arrival = Arrival { group: GROUP, resumes: id == 0, must_wait: true };
            groups.take_forwarded(ctx, answers, effects, arrival, request);
        });
    }
    let expected = (0..10).chain([35]).map(|id| (LinkId(0), id)).collect::<Vec<_>>();
    assert_eq!(side.answers.sent_back, expected, "the one that has come last does not wait");
    assert!(!side.groups.is_drained());
    assert_eq!(answered_in_turns(side), [10, 10, 5]);
    let ids = side.answers.sent_back.iter().map(|(_, id)| *id);
    assert!(ids.eq((0..10).chain([35]).chain(10..35)));
    assert!(side.replica().refuses(LinkId(0)) && side.groups.is_drained());
}

#[test]
fn batches_that_were_proposed_are_looked_through_for_reads_by_slices() {
    let mut world = World::new(|config| {
        config.limits.commands_per_turn_max = 10;
        config.limits.batch_commands_max = 40;
    });
    let leader = world.leader();
    world.cut = vec![leader];
    world.execute(leader, client(1), "SET a 1");
    world.execute(leader, client(2), "GET a");
    (3..=400).for_each(|seq| world.execute(leader, forwarded(seq), "SET a 1"));
    world.settle();
    let side = &mut world.sides[leader];
    assert_eq!(side.replica().proposed.len(), 10);
    side.ctx.now += Duration::from_secs(4);
    side.groups.run_timers(&side.ctx);
    let mut turns_count = 0;
    while side.requeued.is_empty() {
        side.turn();
        turns_count += 1;
        assert_eq!(side.ctx.budget.used_by(Pool::Batches), side.groups.requests_held_bytes());
    }
    assert_eq!((side.requeued(), turns_count), (vec![2], 11), "one batch in each turn, and then the read");
    assert!(!side.replica().is_requeuing && side.replica().leaving.bytes() == 0);
}

#[test]
fn a_leader_that_is_handing_over_gives_back_what_it_has_not_proposed() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let side = &mut world.sides[leader];
    side.groups.list[GROUP].raft.transfer_leader(None, world.now).unwrap();
    for (seq, line) in [(1, "SET a 1"), (2, "GET a"), (3, "SET b 1")] {
        world.execute(leader, client(seq), line);
    }
    world.settle();
    assert_eq!(world.sides[leader].requeued(), [1, 2, 3]);
    assert!(world.replies(leader).is_empty());
}
