//! Entries that are read back from the log, and what stands for those that are gone.

use raft::{Purpose, TermRun};
use wire::{BatchBuilder, EntryKind, HardState};

use super::*;
use crate::replicas::Replicas;

/// Answers what was wanted from the log of a core.
fn answer_log_reads(world: &mut World, at: usize) {
    let side = &mut world.sides[at];
    for read in std::mem::take(&mut side.log_reads) {
        let entries = side.log.range(read.first..=read.last).map(|(_, entry)| entry.clone()).collect();
        side.groups.log_read(&side.ctx, GROUP, read.purpose, entries);
    }
    world.settle();
}

/// A group without caches whose replicas, one aside, have written what that one lacks.
fn with_laggard() -> (World, usize, usize) {
    let mut world = World::new(|config| config.cache_bytes_max = 0);
    let leader = world.leader();
    let laggard = (leader + 1) % 3;
    world.cut = vec![laggard];
    world.run(Duration::from_secs(1));
    for seq in 1..=5 {
        world.execute(leader, client(seq), &format!("SET key-{seq} 1"));
        world.settle();
    }
    assert_eq!(world.replies(leader).len(), 5);
    (world, leader, laggard)
}

#[test]
fn a_follower_gets_what_the_leader_reads_back() {
    let (mut world, leader, laggard) = with_laggard();
    world.cut.clear();
    world.run(Duration::from_secs(1));
    assert!(matches!(world.sides[leader].log_reads[..], [LogRead { purpose: Purpose::Peer(_), .. }]));
    assert_eq!(world.sides[laggard].keys_count(), 0);
    answer_log_reads(&mut world, leader);
    world.run(Duration::from_millis(200));
    assert_eq!(world.sides[laggard].keys_count(), 5);
}

#[test]
fn what_could_not_be_read_back_is_asked_for_again() {
    let (mut world, leader, laggard) = with_laggard();
    world.cut.clear();
    world.run(Duration::from_secs(1));
    let side = &mut world.sides[leader];
    let read = side.log_reads.pop().unwrap();
    side.groups.log_read_failed(&side.ctx, GROUP, read.purpose);
    assert!(side.groups.list[GROUP].has_work);
    world.run(Duration::from_secs(1));
    assert_eq!(world.sides[leader].log_reads.len(), 1);
    answer_log_reads(&mut world, leader);
    world.run(Duration::from_millis(200));
    assert_eq!(world.sides[laggard].keys_count(), 5);
}

#[test]
fn a_follower_whose_entries_are_gone_is_to_fetch_the_snapshot() {
    let (mut world, leader, laggard) = with_laggard();
    let side = &mut world.sides[leader];
    let applied = side.groups.view(GROUP).applied;
    let sealed = side.groups.sealed_state(GROUP);
    assert_eq!((side.keys_count(), side.groups.view(GROUP).offered), (5, 0));
    let last_term = side.groups.view(GROUP).applied_term.unwrap();
    let meta = wire::SnapshotMeta { last_index: applied, last_term, membership: sealed.membership };
    side.groups.offer_snapshot(GROUP, meta);
    side.groups.compact(&side.ctx, GROUP, applied);
    assert!(side.groups.list[GROUP].has_work);
    let view = side.groups.view(GROUP);
    assert_eq!((view.base, view.offered), (applied, applied));
    world.cut.clear();
    world.run(Duration::from_secs(1));
    let from = world.sides[leader].ctx.addr();
    assert_eq!(world.sides[laggard].fetches.first(), Some(&(from, applied)));
}

/// All replicas start on a log of one write that none of them knows to be committed.
#[test]
fn reads_wait_for_what_was_committed_before_to_be_read_back_and_applied() {
    for mode in [meta::ReadMode::ReadIndex, meta::ReadMode::Lease] {
        let recovered = || Recovered {
            hard_state: HardState { term: 1, vote: None, commit: 0 },
            last_index: 1,
            runs: vec![TermRun { first: 1, term: 1 }],
            ..Recovered::default()
        };
        let change = |config: &mut Config| config.map.settings.read_mode = mode;
        let mut world = World::starting(change, |new| new.recovered = recovered());
        let mut batch = BatchBuilder::default();
        let set = resp::lookup(b"set").unwrap();
        batch.push(set.id.as_u16(), 0, [&b"a"[..], b"1"].into_iter());
        let entry = Entry { term: 1, index: 1, kind: EntryKind::Batch, payload: batch.finish(7).into() };
        world.sides.iter_mut().for_each(|side| _ = side.log.insert(1, entry.clone()));
        world.run(Duration::from_secs(4));
        let leader = world.leader();
        assert!(matches!(world.sides[leader].log_reads[..], [LogRead { purpose: Purpose::Apply, first: 1, .. }]));
        world.execute(leader, client(1), "GET a");
        world.run(Duration::from_millis(100));
        assert!(world.replies(leader).is_empty(), "{mode:?}: nothing is applied yet");
        assert!(world.sides[leader].groups.list[GROUP].waiting_bytes() > 0);
        answer_log_reads(&mut world, leader);
        assert_eq!(world.replies(leader), [(1, "$1\r\n1\r\n")], "{mode:?}");
        assert_eq!(world.sides[leader].groups.list[GROUP].waiting_bytes(), 0);
    }
}

/// What is to be done with all of them at once, should they fail, is little.
#[test]
fn a_bounded_number_of_batches_is_under_way_and_what_comes_behind_them_collects() {
    let (mut world, leader) = stuck(|_| {});
    let proposals_count_max = crate::limits::PROPOSALS_COUNT_MAX as u64;
    for seq in 1..=proposals_count_max + 3 {
        world.execute(leader, client(seq), "SET a 1");
        let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
        groups.propose(ctx, answers, effects, false);
    }
    let side = &mut world.sides[leader];
    assert_eq!(side.ctx.counters.batches_proposed, proposals_count_max);
    assert!(side.groups.has_batches(), "they go on when others are applied");
    world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
    world.settle();
    world.run(Duration::from_millis(100));
    let counters = &world.sides[leader].ctx.counters;
    assert_eq!(counters.batches_proposed, proposals_count_max + 1);
    assert_eq!(counters.commands_applied, proposals_count_max + 3);
}
