//! Groups without a host: three cores, each with its replicas, whose effects are carried by hand.

mod cold;
mod comparing;
mod expiry;
mod figures;
mod forwarded;
mod full_disk;
mod leaders;
mod log;
mod peers;
mod reads;
mod requeue;
mod retire;
mod waiting;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use data::Keyspace;
use raft::Recovered;
use types::Index;
use wire::Entry;

use super::*;
use crate::config::Config;
use crate::observe::Observer;
use crate::origin::{LinkId, Origin};
use crate::shares::Kind;
use crate::testing::{self, Answers, client, with_request};

/// One of three cores.
struct Side {
    ctx: Context,
    groups: Groups,
    answers: Answers,
    effects: Vec<GroupEffect>,
    /// Writes that Raft waits for, while they are held back.
    unwritten: Vec<(usize, u64)>,
    requeued: Vec<OwnedRequest>,
    /// How many commands each turn has given back.
    requeued_counts: Vec<usize>,
    /// Whether the next turn has begun, with a tick.
    has_begun_turn: bool,
    unblocked: usize,
    is_disk_stuck: bool,
    /// The entries that the log holds, and what was wanted of them.
    log: BTreeMap<Index, Entry>,
    log_reads: Vec<LogRead>,
    /// What was told about leaders, with whether it is this core that has won the election.
    leaders: Vec<(LeaderNote, bool)>,
    maps: Vec<Bytes>,
    /// The states that were to be fetched: from where, and up to which entry.
    fetches: Vec<(CoreAddr, Index)>,
    /// Entries behind which states are to be digested, and what is to be said about comparisons.
    compared: Vec<(usize, ComparePoint)>,
    notes: Vec<(CoreAddr, ComparisonNote)>,
    /// Who is to be told that a replica is no member, replicas that have retired, and changes of the map that are to be asked for.
    gone: Vec<(CoreAddr, ReplicaNote)>,
    retired: Vec<usize>,
    asked: Vec<MapChange>,
}

/// Three cores with a replica each of one group, and the messages between them.
struct World {
    sides: Vec<Side>,
    now: Instant,
    /// Cores that are cut off.
    cut: Vec<usize>,
}

/// The group of the tests: the first behind the one of the map.
const GROUP: usize = 0;

impl World {
    fn new(change: impl Fn(&mut Config)) -> World {
        World::starting(change, |_| {})
    }

    /// A world whose replicas start on something else than nothing.
    fn starting(change: impl Fn(&mut Config), alter: impl Fn(&mut NewReplica)) -> World {
        let sides = (0..3).map(|node| Side::new(node, None, &change, &alter)).collect();
        let mut world = World { sides, now: Instant::ZERO, cut: Vec::new() };
        // Long enough to elect a leader, and too short to become quiescent.
        world.run(Duration::from_secs(1));
        world
    }

    fn leader(&self) -> usize {
        let leads = |side: &usize| self.sides[*side].groups.list[GROUP].leads() && !self.cut.contains(side);
        (0..3).find(leads).expect("one of them leads")
    }

    /// Lets time pass, in steps of a tick.
    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now += Duration::from_millis(25);
            for side in &mut self.sides {
                side.ctx.now = self.now;
                side.ctx.unix_ms += 25;
                side.begin_turn();
                side.has_begun_turn = true;
                side.groups.run_timers(&side.ctx);
                side.groups.sweep_expired(&mut side.ctx);
                side.groups.tick(&mut side.ctx, &mut side.answers, &mut side.effects);
            }
            self.settle();
        }
    }

    /// Proposes, drives and delivers until nothing happens any more.
    fn settle(&mut self) {
        while self.round() {}
    }

    /// One turn of each core, whose messages are delivered. Returns whether there were any.
    fn round(&mut self) -> bool {
        let mut messages = Vec::new();
        for (at, side) in self.sides.iter_mut().enumerate() {
            messages.extend(side.turn().into_iter().map(|(to, message)| (at, to, message)));
        }
        let has_messages = !messages.is_empty();
        for (from, to, message) in messages {
            if !self.cut.contains(&from) && !self.cut.contains(&to) {
                let (side, addr) = (&mut self.sides[to], testing::core(from as u32 + 1));
                side.groups.step(&mut side.ctx, GROUP, addr, message);
            }
        }
        has_messages
    }

    /// A world whose leader, returned, was cut off with a write that it had proposed, and then deposed.
    fn with_deposed_leader() -> (World, usize) {
        let mut world = World::new(|_| {});
        let leader = world.leader();
        world.cut = vec![leader];
        world.execute(leader, client(1), "SET a 1");
        world.settle();
        world.run(Duration::from_secs(4));
        (world, leader)
    }

    fn execute(&mut self, side: usize, origin: Origin, line: &str) {
        let Side { ctx, groups, answers, .. } = &mut self.sides[side];
        with_request(origin, line, |request| groups.execute(ctx, answers, GROUP, request));
    }

    fn replies(&self, side: usize) -> Vec<(u64, &str)> {
        self.sides[side].answers.replies.iter().map(|(seq, text)| (*seq, text.as_str())).collect()
    }
}

impl Side {
    fn new(
        node: usize,
        observer: Option<Rc<dyn Observer>>,
        change: &impl Fn(&mut Config),
        alter: &impl Fn(&mut NewReplica),
    ) -> Side {
        let mut ctx = testing::context(|config| {
            config.place = testing::core(node as u32 + 1);
            change(config);
        });
        ctx.observer = observer;
        let mut new = new_replica(&ctx, GroupId(1));
        alter(&mut new);
        let mut groups = Groups::new(&ctx.budget);
        assert_eq!(groups.add(&ctx, new).unwrap(), GROUP);
        Side {
            ctx,
            groups,
            answers: Answers::default(),
            effects: Vec::new(),
            unwritten: Vec::new(),
            requeued: Vec::new(),
            requeued_counts: Vec::new(),
            has_begun_turn: false,
            unblocked: 0,
            is_disk_stuck: false,
            log: BTreeMap::new(),
            log_reads: Vec::new(),
            leaders: Vec::new(),
            maps: Vec::new(),
            fetches: Vec::new(),
            compared: Vec::new(),
            notes: Vec::new(),
            gone: Vec::new(),
            retired: Vec::new(),
            asked: Vec::new(),
        }
    }

    fn begin_turn(&mut self) {
        self.ctx.shares.begin();
        self.groups.begin_turn(&mut self.ctx, &mut self.answers, &mut self.effects);
    }

    /// One turn. Returns the messages for other cores, by their number here.
    fn turn(&mut self) -> Vec<(usize, Message)> {
        if !self.is_disk_stuck {
            for (group, seq) in std::mem::take(&mut self.unwritten) {
                self.groups.persisted(&mut self.ctx, group, seq);
            }
        }
        if !std::mem::take(&mut self.has_begun_turn) {
            self.begin_turn();
        }
        self.groups.resume_full(&mut self.ctx, &mut self.answers, &mut self.effects, |_| false);
        if self.groups.has_batches() {
            self.groups.propose(&mut self.ctx, &mut self.answers, &mut self.effects, false);
        }
        while !self.ctx.shares.is_spent(Kind::Applied)
            && let Some(group) = self.groups.next_with_work()
        {
            self.groups.drive(&mut self.ctx, &mut self.answers, &mut self.effects, group).unwrap();
        }
        let effects = std::mem::take(&mut self.effects);
        let messages: Vec<_> = effects.into_iter().filter_map(|effect| self.carry(effect)).collect();
        let before: usize = self.requeued_counts.iter().sum();
        self.requeued_counts.push(self.requeued.len() + self.answers.sent_back.len() - before);
        let is_durable = self.unwritten.is_empty() || self.is_disk_stuck;
        if messages.is_empty() && !(is_durable && self.groups.left_over.is_empty()) {
            return self.turn();
        }
        messages
    }

    /// Carries an effect. Returns a message for another core, with its number here.
    fn carry(&mut self, effect: GroupEffect) -> Option<(usize, Message)> {
        match effect {
            GroupEffect::Send { to, message } => return Some((to.node.0 as usize - 1, message)),
            GroupEffect::Persist { group, persist } => {
                self.log.extend(persist.entries.into_iter().map(|entry| (entry.index, entry)));
                self.unwritten.push((group, persist.seq));
            }
            GroupEffect::ReadLog { read, .. } => self.log_reads.push(read),
            GroupEffect::WantSnapshot { from, last_index, .. } => self.fetches.push((from, last_index)),
            // They go before all that waits for the group.
            GroupEffect::Requeue { requests, .. } => drop(self.requeued.splice(0..0, requests)),
            GroupEffect::Unblocked { .. } => self.unblocked += 1,
            GroupEffect::Leader { note, is_elected } => self.leaders.push((note, is_elected)),
            GroupEffect::Compare { group, point } => {
                self.compared.push((group, point));
                // Its state is sealed at once.
                self.groups.hold_applying(group, false);
            }
            GroupEffect::ComparisonNote { to, note } => self.notes.push((to, note)),
            GroupEffect::Map { payload } | GroupEffect::MapChange { payload } => self.maps.push(payload),
            GroupEffect::Gone { to, note, .. } => self.gone.push((to, note)),
            GroupEffect::Retired { group } => self.retired.push(group),
            GroupEffect::AskChange { change } => self.asked.push(change),
            GroupEffect::AskPlanner { .. } => panic!("nobody asks here"),
            GroupEffect::NoLeader { .. } | GroupEffect::Applied { .. } | GroupEffect::Committed { .. } => {}
        }
        None
    }

    /// The one replica of most tests.
    fn replica(&mut self) -> &mut Replica {
        &mut self.groups.list[GROUP]
    }

    fn keys_count(&self) -> usize {
        self.groups.list[GROUP].keyspace.keys_count()
    }

    fn requeued(&self) -> Vec<u64> {
        let seq = |request: &OwnedRequest| match request.origin {
            Origin::Client { seq, .. } => seq,
            _ => panic!("not of these tests"),
        };
        self.requeued.iter().map(seq).collect()
    }
}

/// The replica of a group on a core, brand new.
fn new_replica(ctx: &Context, group: GroupId) -> NewReplica {
    let spec = ctx.config.map.groups.iter().find(|spec| spec.id == group).unwrap();
    let replica = spec.replicas.iter().find(|replica| replica.place == ctx.addr()).unwrap();
    let member = |replica: &meta::Replica| wire::Member { id: replica.id, place: replica.place };
    NewReplica {
        group,
        id: replica.id,
        recovered: Recovered::default(),
        membership: wire::Membership::of_voters(spec.replicas.iter().map(member)),
        keyspace: Keyspace::new(),
        seed: u64::from(ctx.addr().node.0) - 1,
    }
}

/// A leader whose followers make nothing durable, so that what it proposes stays under way.
fn stuck(change: impl Fn(&mut Config)) -> (World, usize) {
    let mut world = World::new(change);
    let leader = world.leader();
    for (at, side) in world.sides.iter_mut().enumerate() {
        side.is_disk_stuck = at != leader;
    }
    (world, leader)
}

/// A command that another core has forwarded, under this number.
fn forwarded(id: u64) -> Origin {
    Origin::Peer { link: LinkId(0), id, protocol: resp::Protocol::Resp2 }
}

#[test]
fn a_write_is_answered_once_a_majority_has_it_durable() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let followers: Vec<usize> = (0..3).filter(|side| *side != leader).collect();
    followers.iter().for_each(|side| world.sides[*side].is_disk_stuck = true);
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    assert!(world.replies(leader).is_empty(), "only the leader has it");
    world.sides[followers[0]].is_disk_stuck = false;
    world.settle();
    assert_eq!(world.replies(leader), [(1, "+OK\r\n")]);
    assert_eq!(world.sides[leader].keys_count(), 1);
    world.run(Duration::from_millis(200));
    assert_eq!(world.sides[followers[0]].keys_count(), 1);
}

#[test]
fn a_read_is_answered_at_once_under_a_lease_and_behind_the_writes_of_its_connection() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), "GET a");
    assert_eq!(world.replies(leader), [(1, "$-1\r\n")]);
    world.execute(leader, client(2), "SET a 1");
    world.execute(leader, client(3), "GET a");
    world.execute(leader, client(4), "SET a 2");
    world.execute(leader, client(5), "GET a");
    assert_eq!(world.replies(leader).len(), 1, "the reads wait in the batch");
    world.settle();
    let replies = world.replies(leader);
    assert_eq!(replies[2..], [(3, "$1\r\n1\r\n"), (4, "+OK\r\n"), (5, "$1\r\n2\r\n")]);
    assert_eq!(world.sides[leader].ctx.counters.reads_in_batch, 2);
}

#[test]
fn read_index_confirms_the_leadership_before_a_read() {
    let mut world = World::new(|config| config.map.settings.read_mode = meta::ReadMode::ReadIndex);
    let leader = world.leader();
    world.execute(leader, client(1), "GET a");
    assert!(world.replies(leader).is_empty());
    world.settle();
    assert_eq!(world.replies(leader), [(1, "$-1\r\n")]);
}

#[test]
fn a_deposed_leader_gives_reads_back_unless_a_write_behind_them_may_have_run() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.cut = vec![leader];
    for (seq, line) in [(1, "SET a 1"), (2, "GET a"), (3, "SET b 1"), (4, "GET b"), (5, "GET a")] {
        world.execute(leader, client(seq), line);
    }
    world.settle();
    assert!(world.replies(leader).is_empty(), "nothing can be committed");
    world.run(Duration::from_secs(4));
    assert_ne!(world.leader(), leader);
    assert_eq!(world.sides[leader].requeued(), [4, 5], "they look for the next leader, in order");
    let replies = world.replies(leader);
    assert_eq!(replies.len(), 1);
    assert!(replies[0].0 == 2 && replies[0].1.starts_with("-TRYAGAIN"), "{replies:?}");
}

#[test]
fn a_write_that_was_proposed_by_a_deposed_leader_is_answered_when_its_fate_is_known() {
    let (mut world, leader) = World::with_deposed_leader();
    let successor = world.leader();
    world.execute(successor, client(1), "SET b 1");
    world.settle();
    world.cut.clear();
    world.run(Duration::from_secs(1));
    assert!(world.replies(leader)[0].1.starts_with("-TRYAGAIN"), "another entry took its place");
    assert_eq!(world.sides[leader].ctx.counters.batches_not_applied, 1);
    assert_eq!(world.sides[leader].keys_count(), 1);
    assert_eq!(world.sides[leader].groups.list[GROUP].waiting_bytes(), 0);
    assert_eq!(world.sides[leader].unblocked, 1, "newer commands have waited for that");
}

#[test]
fn commands_of_other_cores_wait_while_the_group_is_full_and_keep_their_order() {
    let mut world = World::new(|config| config.limits.batches_bytes_max = 1);
    let leader = world.leader();
    let take = |world: &mut World, id: u64, line: &str| {
        let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
        with_request(forwarded(id), line, |request| {
            let arrival = Arrival { group: GROUP, resumes: id == 1, must_wait: false };
            groups.take_forwarded(ctx, answers, effects, arrival, request);
        });
    };
    for (id, line) in [(1, "SET a 1"), (2, "GET a"), (3, "SET a 2"), (4, "GET a")] {
        take(&mut world, id, line);
    }
    assert!(world.sides[leader].groups.local(&world.sides[leader].ctx, GROUP).is_full);
    assert!(world.sides[leader].groups.list[GROUP].forwarded.bytes() > 0);
    for _ in 0..4 {
        world.settle();
        world.run(Duration::from_millis(25));
    }
    let replies: Vec<(u64, &str)> =
        world.sides[leader].answers.to_peers.iter().map(|(_, id, text)| (*id, text.as_str())).collect();
    assert_eq!(replies, [(1, "+OK\r\n"), (2, "$1\r\n1\r\n"), (3, "+OK\r\n"), (4, "$1\r\n2\r\n")]);
    assert_eq!(world.sides[leader].groups.list[GROUP].forwarded.bytes(), 0);
    assert!(world.sides[leader].unblocked > 0, "whoever waited elsewhere hears of it");
}

#[test]
fn beyond_what_may_wait_all_commands_of_other_cores_go_back_until_the_sender_has_heard() {
    let mut world = World::new(|config| {
        config.limits.batches_bytes_max = 1;
        config.limits.forwarded_bytes_max = 1;
    });
    let leader = world.leader();
    let take = |world: &mut World, id: u64, resumes: bool| {
        let Side { ctx, groups, answers, effects, .. } = &mut world.sides[leader];
        with_request(forwarded(id), "SET a 1", |request| {
            let arrival = Arrival { group: GROUP, resumes, must_wait: false };
            groups.take_forwarded(ctx, answers, effects, arrival, request);
        });
    };
    (1..=4).for_each(|id| take(&mut world, id, id == 1));
    let sent_back: Vec<u64> = world.sides[leader].answers.sent_back.iter().map(|(_, id)| *id).collect();
    assert_eq!(sent_back, [2, 3, 4], "the first is taken in, the second waited");
    world.settle();
    take(&mut world, 5, false);
    take(&mut world, 6, true);
    world.settle();
    let sent_back: Vec<u64> = world.sides[leader].answers.sent_back.iter().map(|(_, id)| *id).collect();
    assert_eq!(sent_back, [2, 3, 4, 5]);
    assert_eq!(world.sides[leader].answers.to_peers.len(), 2);
}

#[test]
fn a_follower_sends_forwarded_commands_back() {
    let mut world = World::new(|_| {});
    let follower = (world.leader() + 1) % 3;
    let Side { ctx, groups, answers, effects, .. } = &mut world.sides[follower];
    with_request(forwarded(7), "GET a", |request| {
        let arrival = Arrival { group: GROUP, resumes: true, must_wait: false };
        groups.take_forwarded(ctx, answers, effects, arrival, request);
    });
    assert_eq!(answers.sent_back, [(LinkId(0), 7)]);
}

#[test]
fn writes_are_refused_while_the_disk_is_full_and_reads_go_on() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.sides[leader].ctx.disk_full = Some("no space".into());
    world.execute(leader, client(1), "SET a 1");
    world.execute(leader, client(2), "GET a");
    assert!(world.replies(leader)[0].1.starts_with("-DISKFULL"));
    assert_eq!(world.replies(leader)[1], (2, "$-1\r\n"));
}

#[test]
fn writes_that_add_data_are_refused_while_memory_is_full_and_deletes_go_on() {
    let mut world = World::new(|config| config.memory_bytes_max = 9_000);
    let leader = world.leader();
    world.execute(leader, client(1), &format!("SET a {}", "x".repeat(10_000)));
    world.settle();
    let mut keys = world.sides[leader].ctx.budget.permit(crate::budget::Pool::Keys);
    keys.set(6_000);
    world.sides[leader].ctx.rows_can_leave = false;
    world.execute(leader, client(2), "DEL a");
    world.execute(leader, client(3), "GET a");
    world.settle();
    let replies = world.replies(leader);
    assert!(replies[0].1.starts_with("-OOM"), "{replies:?}");
    assert_eq!(replies[1..], [(2, ":0\r\n"), (3, "$-1\r\n")]);
}

/// While rows leave memory, and only then, writes wait for that; reads go on.
#[test]
fn writes_wait_while_rows_leave_full_memory() {
    let mut world = World::new(|config| config.memory_bytes_max = 9_000_000);
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    let fill = |world: &World, side: usize| {
        let mut others = world.sides[side].ctx.budget.permit(crate::budget::Pool::Keys);
        others.set(6_100_000);
        others
    };
    let full: Vec<_> = (0..world.sides.len()).map(|side| fill(&world, side)).collect();
    world.execute(leader, client(2), "SET a 2");
    world.settle();
    let another =
        Origin::Client { conn: host::ConnId { idx: 9, generation: 0 }, seq: 3, protocol: resp::Protocol::Resp2 };
    world.execute(leader, another, "GET a");
    assert_eq!(world.replies(leader), [(1, "+OK\r\n"), (3, "$1\r\n1\r\n")]);
    assert!(world.sides[leader].groups.wants_ticks());
    drop(full);
    for side in &mut world.sides {
        side.ctx.now += Duration::from_millis(3);
        side.groups.evict_some(&mut side.ctx);
    }
    world.settle();
    assert!(world.replies(leader).contains(&(2, "+OK\r\n")));
    let counters = &world.sides[leader].ctx.counters;
    assert_eq!((counters.write_stalls, counters.write_stall_us), (1, 3_000));
}

/// A follower whose memory is full applies no more, and takes entries in all the same.
#[test]
fn followers_wait_while_rows_leave_full_memory() {
    let mut world = World::new(|config| config.memory_bytes_max = 9_000_000);
    let leader = world.leader();
    let follower = (leader + 1) % world.sides.len();
    let mut full = world.sides[follower].ctx.budget.permit(crate::budget::Pool::Keys);
    full.set(6_100_000);
    for seq in 1..=20 {
        world.execute(leader, client(seq), &format!("SET {seq} 1"));
        world.settle();
    }
    assert_eq!((world.replies(leader).len(), world.sides[leader].keys_count()), (20, 20));
    assert_eq!(world.sides[follower].keys_count(), 0);
    drop(full);
    let side = &mut world.sides[follower];
    assert!(side.groups.evict_some(&mut side.ctx), "it goes on at once");
    world.run(Duration::from_millis(200));
    assert_eq!(world.sides[follower].keys_count(), 20);
}

#[test]
fn a_write_whose_reply_has_no_room_does_not_run() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.execute(leader, client(1), &format!("SET a {}", "x".repeat(2_000)));
    world.settle();
    world.sides[leader].answers.is_full = true;
    world.execute(leader, client(2), "GETDEL a");
    world.execute(leader, client(3), "SET a y");
    world.settle();
    let replies = world.replies(leader);
    assert!(replies[1].1.starts_with("-TRYAGAIN"), "{replies:?}");
    assert_eq!(replies[2], (3, "+OK\r\n"), "a short reply always has room");
    assert_eq!(world.sides[leader].keys_count(), 1);
}

#[test]
fn permits_follow_what_is_held_and_end_at_nothing() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    let held = |world: &World, pool| world.sides[leader].ctx.budget.used_by(pool);
    let before = (held(&world, crate::budget::Pool::Batches), held(&world, crate::budget::Pool::Keys));
    assert_eq!(before.0, 0);
    world.execute(leader, client(1), &format!("SET a {}", "x".repeat(5_000)));
    assert!(held(&world, crate::budget::Pool::Batches) >= 5_000);
    world.settle();
    assert_eq!(held(&world, crate::budget::Pool::Batches), 0);
    assert!(held(&world, crate::budget::Pool::Keys) >= before.1 + 5_000);
}

#[test]
fn an_idle_group_becomes_quiescent_and_stands_in_no_list() {
    let mut world = World::new(|_| {});
    world.run(Duration::from_secs(10));
    for side in &mut world.sides {
        let replica = &side.groups.list[GROUP];
        assert!(replica.raft.is_quiescent());
        assert!(side.groups.with_work.is_empty() && side.groups.watched.is_empty());
        assert!(side.groups.timers.next().is_none() && side.groups.next_timer(side.ctx.now) == Instant::NEVER);
        assert_eq!(replica.raft.next_wake(), None, "no timer runs");
    }
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    assert_eq!(world.replies(leader), [(1, "+OK\r\n")]);
}

#[test]
fn a_state_that_was_fetched_answers_what_it_may_hold() {
    let mut world = World::new(|_| {});
    let leader = world.leader();
    world.cut = vec![leader];
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    world.run(Duration::from_secs(3));
    let side = &mut world.sides[leader];
    let membership = side.groups.list[GROUP].membership.clone();
    let last: (Index, Term) = (1_000, side.groups.list[GROUP].raft.term() + 1);
    let state = InstalledState { last_index: last.0, last_term: last.1, membership, keyspace: Keyspace::new() };
    assert!(side.groups.install(&mut side.ctx, &mut side.answers, GROUP, state));
    assert!(side.answers.replies[&1].starts_with("-UNKNOWNOUTCOME"));
    assert_eq!(side.groups.list[GROUP].raft.applied_index(), 1_000);
}
