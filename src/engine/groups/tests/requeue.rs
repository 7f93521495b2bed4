//! Commands that a former leader gives back, a slice per turn.

use super::*;
use crate::budget::Pool;

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
