//! What waits, for how much of it there is room, and what becomes of it when the leadership goes.

use super::*;
use crate::budget::Pool;
use crate::groups::batch_queue::Waiter;
use crate::groups::waiting_reads;

fn by_index(config: &mut Config) {
    config.map.settings.read_mode = meta::ReadMode::ReadIndex;
}

fn take(world: &mut World, at: usize, (link, id): (u32, u64), line: &str) {
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[at];
    let origin = Origin::Peer { link: LinkId(link), id, protocol: resp::Protocol::Resp2 };
    with_request(origin, line, |request| {
        let arrival = Arrival { group: GROUP, resumes: true, must_wait: true };
        groups.take_forwarded(ctx, answers, effects, arrival, request);
    });
}

fn resume(world: &mut World, at: usize) {
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[at];
    groups.resume_full(ctx, answers, effects, |_| false);
}

#[test]
fn commands_of_other_cores_are_held_up_to_their_bound() {
    let bytes = with_request(client(0), "GET a", |request| request.bytes());
    let mut world = World::new(|config| config.limits.forwarded_bytes_max = bytes);
    let leader = world.leader();
    take(&mut world, leader, (0, 1), "GET a");
    assert_eq!(world.sides[leader].replica().forwarded.bytes(), bytes);
    assert!(world.sides[leader].answers.sent_back.is_empty());
    take(&mut world, leader, (0, 2), "GET a");
    assert_eq!(world.sides[leader].answers.sent_back, [(LinkId(0), 1), (LinkId(0), 2)]);
}

#[test]
fn held_commands_go_on_only_until_the_group_is_full() {
    let (mut world, leader) = stuck(|config| config.limits.batches_bytes_max = 1);
    take(&mut world, leader, (0, 1), "SET a 1");
    take(&mut world, leader, (0, 2), "SET b 1");
    let before = world.sides[leader].replica().forwarded.bytes();
    resume(&mut world, leader);
    assert_eq!(world.sides[leader].replica().forwarded.bytes(), before / 2, "the first fills the group");
    assert_eq!(world.sides[leader].unblocked, 0);
}

#[test]
fn held_reads_go_on_while_the_log_is_full_until_a_write_comes() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    // Another core has only a read.
    for (link, id, line) in [(0, 1, "GET a"), (0, 2, "SET a 1"), (0, 3, "GET a"), (1, 4, "GET a")] {
        take(&mut world, leader, (link, id), line);
    }
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
    groups.resume_full(ctx, answers, effects, |_| true);
    let none = "$-1\r\n".to_owned();
    assert_eq!(answers.to_peers, [(LinkId(0), 1, none.clone()), (LinkId(1), 4, none)]);
    assert_eq!(world.sides[leader].unblocked, 0);
    world.settle();
    let replies: Vec<u64> = world.sides[leader].answers.to_peers.iter().map(|(_, id, _)| *id).collect();
    assert_eq!(replies, [1, 4, 2, 3]);
}

#[test]
fn held_commands_do_not_run_while_the_group_is_handed_over() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    take(&mut world, leader, (0, 1), "GET a");
    let now = world.now;
    world.sides[leader].replica().raft.transfer_leader(None, now).unwrap();
    resume(&mut world, leader);
    assert!(world.sides[leader].answers.to_peers.is_empty());
    assert!(world.sides[leader].replica().forwarded.bytes() > 0);
    world.sides[leader].groups.mark(GROUP);
    world.settle();
    assert_eq!(world.sides[leader].answers.sent_back, [(LinkId(0), 1)]);
}

/// A check that is under way began before later reads came, and proves nothing for them.
#[test]
fn reads_of_later_turns_have_a_leadership_check_of_their_own() {
    let (mut world, leader) = stuck(by_index);
    world.cut = vec![leader];
    for seq in 1..=3 {
        world.execute(leader, client(seq), "GET a");
        world.execute(leader, client(10 * seq), "GET a");
        world.settle();
    }
    assert_eq!(world.sides[leader].replica().reads.counts_by_check(), [2, 2, 2]);
    assert_eq!(world.sides[leader].groups.watched, [GROUP], "it stands there once");
}

#[test]
fn reads_that_wait_are_held_for_and_let_go() {
    let (mut world, leader) = stuck(by_index);
    world.cut = vec![leader];
    world.execute(leader, client(1), "GET a");
    world.settle();
    let bytes = with_request(client(0), "GET a", |request| request.bytes()) + waiting_reads::OVERHEAD;
    let side = &mut world.sides[leader];
    assert_eq!((side.replica().waiting_bytes(), side.ctx.budget.used_by(Pool::Batches)), (bytes, bytes));
    assert_eq!(side.groups.sources.of(client(1).source()).reads, 1);
    world.cut.clear();
    world.run(Duration::from_millis(200));
    assert_eq!(world.replies(leader), [(1, "$-1\r\n")]);
    let side = &mut world.sides[leader];
    assert_eq!((side.replica().waiting_bytes(), side.ctx.budget.used_by(Pool::Batches)), (0, 0));
    assert_eq!(side.groups.sources.of(client(1).source()).reads, 0);
}

/// A client has 1,024 writes under way, each of whose waiters is longer than a short command.
#[test]
fn who_waits_for_a_write_is_held_for_until_it_is_answered() {
    let (mut world, leader) = stuck(|_| {});
    let used = |world: &World| world.sides[leader].ctx.budget.used_by(Pool::Batches);
    (1..=100).for_each(|seq| world.execute(leader, client(seq), "SET a 1"));
    assert!(
        used(&world) >= 100 * (size_of::<Waiter>() + "SETa1".len()),
        "{} bytes for what is collected",
        used(&world)
    );
    world.settle();
    assert_eq!(used(&world), 100 * size_of::<Waiter>(), "for what is proposed; Raft has the commands");
    assert_eq!(world.sides[leader].groups.requests_held_bytes(), used(&world));
    world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
    world.settle();
    assert_eq!((world.replies(leader).len(), used(&world)), (100, 0));
}

#[test]
fn who_waits_in_vain_is_held_for_until_it_is_told_so() {
    let (mut world, leader) = World::with_deposed_leader();
    let side = &mut world.sides[leader];
    while side.answers.replies.is_empty() {
        assert_eq!(side.ctx.budget.used_by(Pool::Batches), size_of::<Waiter>());
        side.ctx.now += Duration::from_millis(25);
        side.groups.tick(&mut side.ctx, &mut side.answers, &mut side.effects);
    }
    assert!(side.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"));
    assert_eq!(side.ctx.budget.used_by(Pool::Batches), 0);
}

#[test]
fn reads_behind_writes_are_held_for_until_their_batch_is_applied() {
    let (mut world, leader) = stuck(|_| {});
    world.execute(leader, client(1), "SET a 1");
    world.execute(leader, client(2), "GET a");
    world.settle();
    let side = &mut world.sides[leader];
    let bytes = "GETa".len() + 2 * size_of::<ArgRange>() + 2 * size_of::<Waiter>();
    assert_eq!((side.replica().waiting_bytes(), side.ctx.budget.used_by(Pool::Batches)), (bytes, bytes));
    world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
    world.settle();
    assert_eq!(world.sides[leader].replica().waiting_bytes(), 0);
}

#[test]
fn a_write_takes_only_the_reads_of_its_own_source_along() {
    let (mut world, leader) = stuck(by_index);
    world.execute(leader, client(1), "GET a");
    world.execute(leader, forwarded(2), "GET a");
    world.execute(leader, client(3), "SET a 1");
    assert_eq!(world.sides[leader].replica().reads.counts_by_check(), [1]);
    world.settle();
    assert_eq!(world.sides[leader].answers.to_peers, [(LinkId(0), 2, "$-1\r\n".to_owned())]);
    world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
    world.settle();
    assert_eq!(world.replies(leader), [(1, "$-1\r\n"), (3, "+OK\r\n")]);
    assert_eq!(world.sides[leader].replica().waiting_bytes(), 0);
}

/// A source's write took its reads along, and looked at those of all others for that.
#[test]
fn a_write_looks_at_the_reads_of_its_own_source_only() {
    let count = 2_000;
    let client = |idx| Origin::Client {
        conn: host::ConnId { idx, generation: 0 },
        seq: u64::from(idx),
        protocol: resp::Protocol::Resp2,
    };
    for mode in [meta::ReadMode::Lease, meta::ReadMode::ReadIndex] {
        let (mut world, leader) = stuck(|config| config.map.settings.read_mode = mode);
        // Reads that wait for what was proposed, under a lease, or for a check.
        (0..count).for_each(|idx| world.execute(leader, client(idx), "SET a 1"));
        world.settle();
        world.cut = vec![leader];
        (0..count).for_each(|idx| world.execute(leader, client(idx), "GET a"));
        world.settle();
        let looks = world.sides[leader].replica().reads.looks_count();
        (0..count).for_each(|idx| world.execute(leader, client(idx), "SET a 2"));
        (0..count).for_each(|idx| world.execute(leader, client(idx), "GET a"));
        assert!(world.sides[leader].replica().reads.is_empty(), "they wait in the batch");
        let looks = world.sides[leader].replica().reads.looks_count() - looks;
        assert!(looks <= 16 * count as usize, "{looks} for {count} reads in mode {mode:?}");
    }
}

/// Each read of a core that has many under way looked at all of them, and each turn at all that wait.
#[test]
fn reads_and_turns_do_not_look_at_all_reads_that_wait() {
    let count = 2_000;
    for mode in [meta::ReadMode::Lease, meta::ReadMode::ReadIndex] {
        let (mut world, leader) = stuck(|config| config.map.settings.read_mode = mode);
        world.execute(leader, forwarded(0), "SET a 1");
        world.settle();
        for id in 1..=count {
            world.execute(leader, forwarded(id), "GET a");
            if id % 100 == 0 {
                world.settle();
            }
        }
        let before = world.sides[leader].replica().reads.looks_count();
        assert!(before <= 30 * count as usize, "{before} for {count} reads in mode {mode:?}");
        for _ in 0..100 {
            world.sides[leader].groups.mark(GROUP);
            world.settle();
        }
        let looks = world.sides[leader].replica().reads.looks_count() - before;
        assert!(looks <= 10 * 100, "{looks} in 100 turns");
        world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
        world.settle();
        let replies: Vec<u64> = world.sides[leader].answers.to_peers.iter().map(|(_, id, _)| *id).collect();
        assert_eq!(replies, (0..=count).collect::<Vec<_>>(), "in mode {mode:?}");
    }
}

#[test]
fn newer_commands_wait_for_reads_that_wait_while_a_group_is_handed_over() {
    let (mut world, leader) = stuck(by_index);
    let has_unsettled = |world: &World| {
        let side = &world.sides[leader];
        side.groups.local(&side.ctx, GROUP).has_unsettled
    };
    world.execute(leader, client(1), "GET a");
    assert!(!has_unsettled(&world), "it leads");
    let now = world.now;
    world.sides[leader].replica().raft.transfer_leader(None, now).unwrap();
    assert!(has_unsettled(&world));
}

/// The message that deposes the leader comes behind the read in the same turn, and before Raft is asked for a check.
#[test]
fn reads_taken_in_by_the_turn_that_loses_the_leadership_look_for_the_next_leader() {
    let mut world = World::new(by_index);
    let leader = world.leader();
    let now = world.now;
    world.sides[leader].replica().raft.transfer_leader(None, now).unwrap();
    world.sides[leader].groups.mark(GROUP);
    while world.sides[leader].replica().raft.is_leader() {
        let turns = world.sides.iter_mut().map(Side::turn).collect::<Vec<_>>();
        for (from, messages) in turns.into_iter().enumerate() {
            for (to, message) in messages {
                if to == leader && message.term > world.sides[leader].replica().raft.term() {
                    world.execute(leader, client(1), "GET a");
                }
                let side = &mut world.sides[to];
                side.groups.step(&mut side.ctx, GROUP, testing::core(from as u32 + 1), message);
            }
        }
    }
    world.round();
    assert_eq!(world.sides[leader].requeued(), [1]);
    let side = &mut world.sides[leader];
    assert_eq!((side.replica().waiting_bytes(), side.ctx.counters.commands_requeued), (0, 1));
    assert_eq!(side.groups.sources.of(client(1).source()).reads, 0);
}

#[test]
fn several_batches_may_be_under_way_as_far_as_they_fit() {
    let (mut world, leader) = stuck(|config| {
        config.batch_bytes_max = 500;
        config.uncommitted_bytes_max = 10_000;
    });
    let line = format!("SET a {}", "x".repeat(600));
    (1..=20).for_each(|seq| world.execute(leader, client(seq), &line));
    world.settle();
    let uncommitted = world.sides[leader].replica().raft.uncommitted_bytes();
    assert!((8_000..=10_000).contains(&uncommitted), "{uncommitted}");
    assert!(!world.sides[leader].replica().batches.is_empty());
}

#[test]
fn a_batch_that_never_fits_goes_alone() {
    let mut world = World::new(|config| config.uncommitted_bytes_max = 100);
    let leader = world.leader();
    for seq in 1..=3 {
        world.execute(leader, client(seq), &format!("SET a {}", "x".repeat(1_000)));
        world.settle();
    }
    assert_eq!(world.replies(leader).len(), 3);
}

#[test]
fn a_write_whose_reply_alone_has_no_room_does_not_run() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), &format!("SET a {}", "x".repeat(2_000)));
    world.settle();
    world.sides[leader].answers.room_bytes = Some(1_000);
    world.execute(leader, client(2), "GETDEL a");
    world.settle();
    assert!(world.replies(leader)[1].1.starts_with("-TRYAGAIN"));
    assert_eq!(world.sides[leader].keys_count(), 1);
}

/// It was short when the write was taken in, and another write before it in the batch has made it long.
#[test]
fn a_reply_that_has_become_too_long_is_withheld_though_the_write_has_run() {
    for (len, is_withheld) in [(1_024, false), (1_025, true), (3_000, true)] {
        let mut world = World::new(|_| {});
        let leader = world.leader();
        world.sides[leader].answers.is_full = true;
        world.execute(leader, client(1), &format!("SET a {}", "x".repeat(len)));
        world.execute(leader, client(2), "GETDEL a");
        world.settle();
        let reply = world.replies(leader)[1].1.to_owned();
        assert_eq!(reply.starts_with("-ERR the command was applied"), is_withheld, "{len}: {reply}");
        assert_eq!(world.sides[leader].keys_count(), 0);
    }
}

/// A closer look at how long a reply will be is taken only while memory is tight.
#[test]
fn reads_need_room_for_their_replies_unless_these_are_known_to_be_short() {
    let mut world = World::new(|config| config.memory_bytes_max = 3_000_000);
    let leader = world.leader();
    world.execute(leader, client(1), "SET short 1");
    world.execute(leader, client(2), &format!("SET long {}", "x".repeat(2_000)));
    world.settle();
    world.sides[leader].answers.is_full = true;
    world.execute(leader, client(3), "GET short");
    assert!(world.replies(leader)[2].1.starts_with("-TRYAGAIN"), "nobody knows how long it is");
    let mut others = world.sides[leader].ctx.budget.permit(Pool::Links);
    others.set(900_000);
    world.execute(leader, client(4), "GET short");
    world.execute(leader, client(5), "GET long");
    assert_eq!(world.replies(leader)[3].1, "$1\r\n1\r\n");
    assert!(world.replies(leader)[4].1.starts_with("-TRYAGAIN"));
    world.sides[leader].answers.is_full = false;
    world.execute(leader, client(6), "GET long");
    assert!(world.replies(leader)[5].1.starts_with("$2000"));
}

#[test]
fn reads_beyond_what_raft_confirms_at_a_time_wait() {
    let (mut world, leader) = stuck(by_index);
    world.cut = vec![leader];
    let now = world.now;
    let raft = &mut world.sides[leader].replica().raft;
    (0..raft::READS_COUNT_MAX as u64).for_each(|number| raft.read_index(1_000_000 + number, now).unwrap());
    world.execute(leader, client(1), "GET a");
    world.settle();
    assert!(world.replies(leader).is_empty() && world.sides[leader].replica().reads.next_check().is_some());
    world.run(Duration::from_secs(4));
    assert_eq!(world.sides[leader].requeued(), [1], "they leave with the leadership");
}

#[test]
fn a_group_in_which_very_many_reads_wait_is_full() {
    let (mut world, leader) = stuck(by_index);
    let reads_count_max = WAITING_READS_COUNT_MAX as u64;
    let is_full = |world: &World| world.sides[leader].groups.local(&world.sides[leader].ctx, GROUP).is_full;
    (1..reads_count_max).for_each(|seq| world.execute(leader, client(seq), "GET a"));
    assert!(!is_full(&world));
    world.execute(leader, client(reads_count_max), "GET a");
    assert!(is_full(&world));
}
