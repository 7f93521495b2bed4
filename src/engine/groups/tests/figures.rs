//! What the groups tell of themselves.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;

use types::{Instant, ReplicaId};

use super::*;
use crate::budget::Pool;
use crate::groups::batch_queue::Waiter;
use crate::observe::CoreReport;
use crate::replicas::Replicas;

/// The figures of the queues by their names, each with its limit.
fn queues(side: &Side) -> HashMap<&'static str, (u64, u64)> {
    let mut figures = HashMap::new();
    side.groups.queues(&side.ctx, &mut |queue| {
        let former = figures.insert(queue.name, (queue.len, queue.max));
        assert!(former.is_none(), "{} is told twice", queue.name);
    });
    figures
}

#[test]
fn queues_tell_what_waits_and_how_much_may() {
    let (mut world, leader) = stuck(|config| {
        config.batch_bytes_max = 1 << 10;
        config.uncommitted_bytes_max = 3 << 10;
        config.limits.commands.command_bytes_max = 1 << 20;
        config.limits.batches_bytes_max = 5 << 30;
        config.limits.forwarded_bytes_max = 7 << 40;
    });
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.execute(leader, client(2), "SET b 1");
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
    with_request(forwarded(1), "GET a", |request| {
        let arrival = Arrival { group: GROUP, resumes: true, must_wait: true };
        groups.take_forwarded(ctx, answers, effects, arrival, request);
    });
    let figures = queues(&world.sides[leader]);
    let (command, overhead) = (1 << 20, ENTRY_OVERHEAD_BYTES as u64);
    let replica = world.sides[leader].replica();
    let batch = replica.batches.bytes() as u64;
    assert!(batch > 0 && replica.forwarded.bytes() > 0 && replica.raft.uncommitted_bytes() > 0);
    let waiters = 2 * size_of::<Waiter>() as u64;
    let waiting = batch + waiters / 2;
    assert_eq!(replica.waiting_bytes() as u64, waiting, "with who waits for what is proposed");
    assert_eq!(figures["commands that wait in a group, bytes"], (waiting, (5 << 30) + command + overhead));
    assert_eq!(figures["commands of a batch, bytes"], (batch - waiters / 2, (1 << 10) + command + overhead));
    let held = (replica.forwarded.bytes() as u64, (7 << 40) + command + overhead);
    assert_eq!(figures["commands of other cores held by a group, bytes"], held);
    // One entry always goes, however long.
    let uncommitted = (replica.raft.uncommitted_bytes() as u64, (1 << 10) + command + 2 * overhead);
    assert_eq!(figures["what a group has not committed, bytes"], uncommitted);
    let backlog = replica.batches.bytes() + replica.raft.uncommitted_bytes();
    assert_eq!(replica.backlog_bytes(), backlog);
}

#[test]
fn a_core_is_drained_once_nothing_is_under_way() {
    let (mut world, leader) = stuck(|_| {});
    let is_drained = |world: &World| world.sides[leader].groups.is_drained();
    assert!(is_drained(&world));
    world.execute(leader, client(1), "SET a 1");
    assert!(!is_drained(&world), "collected");
    world.settle();
    assert!(!is_drained(&world), "proposed");
    world.sides.iter_mut().for_each(|side| side.is_disk_stuck = false);
    world.settle();
    assert!(is_drained(&world));
    assert!(!world.sides[leader].groups.has_batches());
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
    with_request(forwarded(1), "GET a", |request| {
        let arrival = Arrival { group: GROUP, resumes: true, must_wait: true };
        groups.take_forwarded(ctx, answers, effects, arrival, request);
    });
    assert!(!is_drained(&world), "a command of another core waits");
    world.settle();
    assert!(is_drained(&world));
    let now = world.now;
    world.sides[leader].replica().raft.transfer_leader(None, now).unwrap();
    assert!(!is_drained(&world), "handing over");
}

#[test]
fn a_report_adds_up_what_the_replicas_know() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.execute(leader, client(2), "SET b 1");
    world.settle();
    world.run(Duration::from_millis(200));
    for at in 0..3 {
        let mut report = CoreReport::default();
        // As if there were two such groups.
        (0..2).for_each(|_| world.sides[at].groups.report(Instant::ZERO, &mut report, |_| 7));
        let leads = at == leader;
        assert_eq!((report.groups_led_count, report.keys_count), if leads { (2, 4) } else { (0, 0) });
        let replica = &report.replicas[0];
        assert_eq!(report.commit_index_sum, 2 * replica.commit);
        assert_eq!((replica.group, replica.keys_count, replica.snapshot), (GroupId(1), 2, 7));
        assert_eq!((replica.applied, replica.backlog_bytes), (replica.commit, 0));
        let keyspace = world.sides[at].groups.keyspace(GROUP);
        assert_eq!(keyspace.keys_count(), 2);
        assert_eq!(world.sides[at].groups.keyspace_mut(GROUP).keys_count(), 2);
    }
}

#[test]
fn replicas_of_several_groups_are_told_apart() {
    let ctx = testing::context(|_| {});
    let mut groups = Groups::new(&ctx.budget);
    assert_eq!((groups.count(), groups.next_timer(Instant::ZERO)), (0, Instant::NEVER));
    for id in [2, 1] {
        groups.add(&ctx, new_replica(&ctx, GroupId(id))).unwrap();
    }
    assert_eq!((groups.count(), groups.id(0), groups.id(1)), (2, GroupId(2), GroupId(1)));
    assert_eq!((groups.view(0).id, groups.view(1).id), (GroupId(2), GroupId(1)));
}

#[test]
fn the_next_timer_is_no_later_than_raft_wants_to_be_ticked() {
    let mut world = World::new(|_| {});
    for side in &mut world.sides {
        let next = side.replica().raft.next_wake().unwrap();
        assert!(side.ctx.now < side.groups.next_timer(side.ctx.now) && side.groups.next_timer(side.ctx.now) <= next);
    }
}

#[test]
fn counters_follow_what_is_done() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    for (seq, line) in [(1, "SET a 1"), (2, "SET b 1"), (3, "GET a"), (4, "SET b 2")] {
        world.execute(leader, client(seq), line);
    }
    world.settle();
    for (seq, line) in [(5, "GET a"), (6, "GET b"), (7, "GET c")] {
        world.execute(leader, client(seq), line);
    }
    let counters = &world.sides[leader].ctx.counters;
    assert_eq!((counters.commands_proposed, counters.batches_proposed, counters.commands_applied), (3, 1, 3));
    assert_eq!((counters.keyspace_hits, counters.keyspace_misses), (3, 1));
    world.run(Duration::from_millis(200));
    assert_eq!(world.sides[(leader + 1) % 3].ctx.counters.commands_applied, 3);
}

#[test]
fn permits_hold_entries_that_are_kept_and_those_that_are_not_committed() {
    let (mut world, leader) = stuck(|_| {});
    for seq in 1..=2 {
        world.execute(leader, client(seq), &format!("SET a {}", "x".repeat(1_000)));
        world.settle();
    }
    let raft = &world.sides[leader].groups.list[GROUP].raft;
    let (kept, uncommitted) = (raft.cache_bytes(), raft.uncommitted_bytes());
    assert!(kept > 0 && uncommitted > 2_000);
    assert_eq!(world.sides[leader].ctx.budget.used_by(Pool::Entries), kept + uncommitted);
}

#[test]
fn memory_of_keys_that_were_removed_at_once_goes_in_steps_and_is_counted_until_then() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let empty_bytes = world.sides[leader].ctx.budget.used_by(Pool::Keys);
    let value = "x".repeat(100_000);
    for seq in 1..=3 {
        world.execute(leader, client(seq), &format!("SET key{seq} {value}"));
    }
    world.execute(leader, client(4), "FLUSHALL");
    world.settle();
    let keys_bytes = |world: &World| world.sides[leader].ctx.budget.used_by(Pool::Keys) - empty_bytes;
    assert!(keys_bytes(&world) > 300_000);
    assert!(world.sides[leader].groups.release_some(), "one value of three");
    assert!((200_000..300_000).contains(&keys_bytes(&world)));
    while world.sides[leader].groups.release_some() {}
    assert_eq!(keys_bytes(&world), 0);
}

#[test]
fn replicas_that_have_applied_the_same_have_the_same_digest() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let digests =
        |world: &World| -> Vec<u128> { world.sides.iter().map(|side| side.groups.list[GROUP].digest()).collect() };
    let before = digests(&world);
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.run(Duration::from_millis(200));
    let after = digests(&world);
    assert!(before[1..].iter().all(|digest| *digest == before[0]), "{before:?}");
    assert!(after[1..].iter().all(|digest| *digest == after[0]), "{after:?}");
    assert_ne!(before[0], after[0]);
}

/// An observer that keeps the first word of what it sees.
#[derive(Default)]
struct FirstWords {
    seen: RefCell<Vec<String>>,
    counted: Cell<usize>,
    wants_digest: Cell<bool>,
}

impl Observer for FirstWords {
    fn observe(&self, _: CoreAddr, group: GroupId, _: ReplicaId, observation: Event<'_>) {
        assert_eq!(group, GroupId(1));
        let text = format!("{observation:?}");
        let word = text.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
        self.seen.borrow_mut().push(word.to_owned());
    }

    fn raft_counted(&self, _: CoreAddr, _: GroupId, _: &raft::Counters) {
        self.counted.set(self.counted.get() + 1);
    }

    fn wants_digest(&self, _: CoreAddr, _: GroupId, _: Index) -> bool {
        self.wants_digest.get()
    }
}

#[test]
fn an_observer_sees_what_happens_to_a_replica() {
    let observer = Rc::new(FirstWords::default());
    let mut side = Side::new(0, Some(Rc::clone(&observer) as Rc<dyn Observer>), &|_| {}, &|_| {});
    assert_eq!(observer.seen.take(), ["Started", "Digest"]);
    for (wants_digest, expected) in [(false, &[][..]), (true, &["Digest"][..])] {
        observer.wants_digest.set(wants_digest);
        side.groups.tick(&mut side.ctx, &mut side.answers, &mut side.effects);
        assert_eq!(observer.seen.take(), expected);
    }
    assert_eq!(observer.counted.get(), 2);
    side.groups.compact(&side.ctx, GROUP, 0);
    assert_eq!(observer.seen.take(), ["Compacted"]);
    side.groups.observe_digest(&side.ctx, GROUP);
    assert_eq!(observer.seen.take(), ["Digest"]);
}

#[test]
fn an_observer_sees_messages_that_contradict_what_is_known_and_no_others() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let observer = Rc::new(FirstWords::default());
    world.sides[leader].ctx.observer = Some(Rc::clone(&observer) as Rc<dyn Observer>);
    world.run(Duration::from_millis(200));
    assert_eq!(observer.seen.take(), [""; 0], "the followers have answered heartbeats");
    let other = testing::core((leader as u32 + 1) % 3 + 1);
    let side = &mut world.sides[leader];
    let raft = &side.groups.list[GROUP].raft;
    let from = raft.peers().next().unwrap().id;
    let body = wire::Body::Heartbeat { commit: 0, round: 1, quiesce: false, round_trip_us: 0 };
    let rival = Message { group: GroupId(1), from, to: raft.id(), term: raft.term(), body };
    side.groups.step(&mut side.ctx, GROUP, other, rival);
    assert_eq!(observer.seen.take(), ["Contradicted"]);
}
