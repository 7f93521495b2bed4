//! Reads and the writes before and behind them.

use super::*;

#[test]
fn a_read_behind_a_proposed_write_waits_for_it_in_either_mode() {
    for mode in [meta::ReadMode::Lease, meta::ReadMode::ReadIndex] {
        let (mut world, leader) = stuck(|config| config.map.settings.read_mode = mode);
        world.execute(leader, client(1), "SET a 1");
        world.settle();
        world.execute(leader, client(2), "GET a");
        world.settle();
        world.run(Duration::from_millis(50));
        assert!(world.replies(leader).is_empty(), "{mode:?}: the write is not committed");
        world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
        world.settle();
        world.run(Duration::from_millis(50));
        assert_eq!(world.replies(leader), [(1, "+OK\r\n"), (2, "$1\r\n1\r\n")], "{mode:?}");
        assert_eq!(world.sides[leader].groups.list[GROUP].waiting_bytes(), 0);
    }
}

#[test]
fn a_read_that_waits_does_not_see_the_write_behind_it() {
    let mut world = World::new(|config| config.map.settings.read_mode = meta::ReadMode::ReadIndex);
    let leader = world.leader();
    world.execute(leader, client(1), "GET a");
    world.execute(leader, client(2), "SET a 1");
    world.settle();
    assert_eq!(world.replies(leader), [(1, "$-1\r\n"), (2, "+OK\r\n")]);
    let counters = &world.sides[leader].ctx.counters;
    assert_eq!((counters.reads_in_batch, counters.reads_by_index), (1, 0));
    world.execute(leader, client(3), "GET a");
    world.settle();
    assert_eq!(world.sides[leader].ctx.counters.reads_by_index, 1, "nothing of before is under way");
}

#[test]
fn a_read_behind_an_answered_write_needs_no_batch() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.execute(leader, client(2), "GET a");
    assert_eq!(world.replies(leader), [(1, "+OK\r\n"), (2, "$1\r\n1\r\n")]);
    assert_eq!(world.sides[leader].ctx.counters.reads_by_lease, 1);
    world.execute(leader, forwarded(1), "SET a 2");
    world.execute(leader, client(3), "GET a");
    assert_eq!(world.replies(leader)[2..], [(3, "$1\r\n1\r\n")], "the write of another source is none of its own");
}

#[test]
fn a_former_leader_gives_up_on_writes_and_says_that_newer_ones_may_go() {
    let (mut world, leader) = World::with_deposed_leader();
    assert_eq!((world.replies(leader).len(), world.sides[leader].unblocked), (0, 0));
    assert!(world.sides[leader].groups.local(&world.sides[leader].ctx, GROUP).has_unsettled);
    world.run(Duration::from_secs(2));
    assert!(world.replies(leader)[0].1.starts_with("-UNKNOWNOUTCOME"));
    assert_eq!(world.sides[leader].unblocked, 1);
    assert!(!world.sides[leader].groups.local(&world.sides[leader].ctx, GROUP).has_unsettled);
    assert_eq!(world.sides[leader].ctx.counters.leaderships_lost, 1);
}

#[test]
fn replies_of_writes_under_way_count_before_the_next_is_taken_in() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for (seq, key) in [(1, "a"), (2, "b")] {
        world.execute(leader, client(seq), &format!("SET {key} {}", "x".repeat(2_000)));
    }
    world.settle();
    world.sides[leader].answers.room_bytes = Some(3_000);
    world.execute(leader, client(3), "GETDEL a");
    world.execute(leader, client(4), "GETDEL b");
    world.settle();
    let replies = world.replies(leader);
    assert!(replies[2].1.starts_with("$2000") && replies[3].1.starts_with("-TRYAGAIN"), "{replies:?}");
    world.execute(leader, client(5), "GETDEL b");
    world.settle();
    assert!(world.replies(leader)[4].1.starts_with("$2000"), "the first is answered");
}

/// A link between two busy cores always has a write under way: what its former replies might have needed must not add up.
#[test]
fn replies_of_answered_writes_do_not_count_though_others_are_under_way() {
    let (mut world, leader) = stuck(|_| {});
    world.sides[leader].answers.room_bytes = Some(3_000);
    world.execute(leader, client(1), &format!("SET a {}", "x".repeat(2_000)));
    let unstick = |world: &mut World, is_stuck: bool| {
        let followers = world.sides.iter_mut().enumerate().filter(|(at, _)| *at != leader);
        followers.for_each(|(_, side)| side.is_disk_stuck = is_stuck);
    };
    unstick(&mut world, false);
    world.settle();
    for seq in [2, 4, 6] {
        unstick(&mut world, true);
        world.execute(leader, client(seq), &format!("GETSET a {}", "x".repeat(2_000)));
        world.settle();
        // The answers of the followers are there, and the next command comes before they are looked at.
        let mut acks = Vec::new();
        unstick(&mut world, false);
        for side in (0..3).filter(|side| *side != leader) {
            acks.extend(world.sides[side].turn().into_iter().map(|(_, message)| (side, message)));
        }
        world.execute(leader, client(seq + 1), "SET b 1");
        for (from, message) in acks {
            let side = &mut world.sides[leader];
            side.groups.step(&mut side.ctx, GROUP, testing::core(from as u32 + 1), message);
        }
        let messages = world.sides[leader].turn();
        let replies = world.replies(leader);
        assert_eq!(replies.last().unwrap().0, seq, "the last SET is under way");
        assert!(replies.last().unwrap().1.starts_with("$2000"), "{seq}: {replies:?}");
        for (to, message) in messages {
            let side = &mut world.sides[to];
            side.groups.step(&mut side.ctx, GROUP, testing::core(leader as u32 + 1), message);
        }
    }
}

#[test]
fn reads_behind_the_last_write_of_a_batch_are_answered_with_it() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.execute(leader, client(2), "GET a");
    world.execute(leader, client(3), "GET a");
    world.settle();
    assert_eq!(world.replies(leader), [(1, "+OK\r\n"), (2, "$1\r\n1\r\n"), (3, "$1\r\n1\r\n")]);
}

#[test]
fn a_batch_that_is_full_is_proposed_at_once_and_no_more_than_may_be_under_way() {
    let (mut world, leader) = stuck(|config| {
        config.batch_bytes_max = 500;
        config.uncommitted_bytes_max = 4_000;
    });
    let proposed = world.sides[leader].ctx.counters.batches_proposed;
    let line = format!("SET a {}", "x".repeat(600));
    world.execute(leader, client(1), &line);
    assert_eq!(world.sides[leader].ctx.counters.batches_proposed, proposed + 1, "without waiting for the turn's end");
    (2..=20).for_each(|seq| world.execute(leader, client(seq), &line));
    world.settle();
    let replica = &world.sides[leader].groups.list[GROUP];
    assert!(replica.raft.uncommitted_bytes() <= 4_000 && !replica.batches.is_empty());
    world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
    world.settle();
    world.run(Duration::from_millis(100));
    assert_eq!(world.replies(leader).len(), 20);
}

#[test]
fn the_time_of_a_group_does_not_go_back_with_the_clock() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for (seq, unix_ms) in [(1, 5_000), (2, 3_000), (3, 6_000)] {
        world.sides[leader].ctx.unix_ms = unix_ms;
        world.execute(leader, client(seq), "SET a 1");
        world.settle();
        assert_eq!(world.sides[leader].groups.list[GROUP].keyspace.time_ms(), unix_ms.max(5_000));
    }
}

#[test]
fn only_a_leader_that_has_applied_an_entry_of_its_term_is_settled() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.run(Duration::from_millis(100));
    let terms: Vec<bool> = world.sides.iter().map(|side| side.groups.settled_leader_term(GROUP).is_some()).collect();
    assert_eq!(terms.iter().filter(|is_settled| **is_settled).count(), 1);
    assert!(terms[leader]);
}

#[test]
fn a_stop_hands_a_group_over_once() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let hand_over = |world: &mut World, at: usize| {
        let side = &mut world.sides[at];
        side.groups.hand_over(&side.ctx);
        world.settle();
        world.run(Duration::from_millis(500));
    };
    hand_over(&mut world, leader);
    let next = world.leader();
    assert_ne!(next, leader);
    // As if it had been handed back.
    world.sides[next].groups.list[GROUP].is_handed_over = true;
    hand_over(&mut world, next);
    assert_eq!(world.leader(), next, "both would hand it to and fro");
}

#[test]
fn a_full_disk_refuses_entries_and_takes_part_in_elections() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for side in world.sides.iter_mut() {
        side.ctx.is_log_backlogged = true;
    }
    let refused = |world: &World| world.sides.iter().map(|side| side.ctx.counters.appends_refused).sum::<u64>();
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    assert!(world.replies(leader).is_empty() && refused(&world) > 0);
    let before = refused(&world);
    world.sides.iter_mut().for_each(|side| side.ctx.is_log_backlogged = false);
    world.run(Duration::from_secs(1));
    assert_eq!((world.replies(leader), refused(&world)), (vec![(1, "+OK\r\n")], before));
    world.sides.iter_mut().for_each(|side| side.ctx.is_log_backlogged = true);
    world.run(Duration::from_secs(2));
    assert_eq!((world.leader(), refused(&world)), (leader, before), "heartbeats bring no commands");
}

/// The first read stands in a batch behind another source's write, as a write of its own connection was under way when it
/// came, and that write is answered when the second read comes.
#[test]
fn a_read_does_not_overtake_one_that_waits_in_a_batch() {
    let (mut world, leader) = stuck(|_| {});
    world.execute(leader, client(1), "SET b 1");
    world.settle();
    let mut acks = Vec::new();
    for side in (0..3).filter(|side| *side != leader) {
        world.sides[side].is_disk_stuck = false;
        acks.extend(world.sides[side].turn().into_iter().map(|(_, message)| (side, message)));
    }
    for (from, message) in acks {
        let side = &mut world.sides[leader];
        side.groups.step(&mut side.ctx, GROUP, testing::core(from as u32 + 1), message);
    }
    world.execute(leader, forwarded(1), "SET a 1");
    world.execute(leader, client(2), "GET a");
    let messages = world.sides[leader].turn();
    assert_eq!(world.replies(leader), [(1, "+OK\r\n")]);
    world.execute(leader, client(3), "GET a");
    for (to, message) in messages {
        let side = &mut world.sides[to];
        side.groups.step(&mut side.ctx, GROUP, testing::core(leader as u32 + 1), message);
    }
    world.settle();
    world.run(Duration::from_millis(50));
    assert_eq!(world.replies(leader)[1..], [(2, "$1\r\n1\r\n"), (3, "$1\r\n1\r\n")]);
}

/// A lease comes back, by the answers to a heartbeat that was sent before, while a read waits for its own.
#[test]
fn a_read_does_not_overtake_one_whose_leadership_check_is_under_way() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.sides[leader].groups.list[GROUP].raft.wake(world.now);
    let followers: Vec<usize> = (0..3).filter(|side| *side != leader).collect();
    world.cut = followers.clone();
    while {
        let raft = &mut world.sides[leader].groups.list[GROUP].raft;
        raft.lease_read(world.now).is_ok()
    } {
        world.run(Duration::from_millis(25));
    }
    let mut answers = Vec::new();
    for _ in 0..20 {
        world.now += Duration::from_millis(25);
        let side = &mut world.sides[leader];
        side.ctx.now = world.now;
        side.groups.run_timers(&side.ctx);
        let beats = side.turn();
        if beats.is_empty() {
            continue;
        }
        for (to, message) in beats {
            let side = &mut world.sides[to];
            side.ctx.now = world.now;
            side.groups.step(&mut side.ctx, GROUP, testing::core(leader as u32 + 1), message);
            answers.extend(side.turn().into_iter().map(|(_, message)| (to, message)));
        }
        break;
    }
    assert!(!answers.is_empty());
    world.execute(leader, client(1), "GET a");
    assert!(world.replies(leader).is_empty(), "there is no lease");
    for (from, message) in answers {
        let side = &mut world.sides[leader];
        side.groups.step(&mut side.ctx, GROUP, testing::core(from as u32 + 1), message);
    }
    world.execute(leader, client(2), "GET a");
    assert!(world.replies(leader).is_empty(), "the first waits: {:?}", world.replies(leader));
}

#[test]
fn reads_are_confirmed_and_answered_by_slices_in_their_order() {
    let (mut world, leader) = stuck(|config| {
        config.limits.commands_per_turn_max = 10;
        config.map.settings.read_mode = meta::ReadMode::ReadIndex;
    });
    (1..=20).for_each(|seq| world.execute(leader, client(seq), "GET a"));
    let Side { ctx, groups, answers, .. } = &mut world.sides[leader];
    groups.list[GROUP].reads.begin_next_check();
    groups.confirm_index_reads(GROUP, raft::ReadState { ctx: 0, index: 1 });
    let mut counts = Vec::new();
    loop {
        let seen = answers.replies.len();
        ctx.shares.begin();
        groups.serve_waiting_reads(ctx, answers, GROUP);
        counts.push(answers.replies.len() - seen);
        assert!(answers.replies.keys().copied().eq(1..=answers.replies.len() as u64));
        if std::mem::take(&mut groups.left_over).is_empty() {
            break;
        }
    }
    assert_eq!(counts, [0, 0, 10, 10], "each is looked at twice");
}
