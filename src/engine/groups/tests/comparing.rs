//! Comparisons of the replicas of a group: who is found to differ, and what becomes of it.

use std::sync::Arc;

use wire::{ComparisonNote, LEAVES_COUNT, NoDigest, RowsDigest};

use super::*;
use crate::comparison::{Comparison, DigestAnswer, Outcome};
use crate::groups::CompareRefusal;
use crate::replicas::Replicas;
use crate::settings::NodeSettings;

/// The digest of a replica whose rows are altered in this many ways.
fn digest(altered: u64) -> DigestAnswer {
    let mut leaves = vec![7; LEAVES_COUNT];
    leaves[5] += altered;
    Ok(RowsDigest { rows: 9, leaves })
}

/// Lets time pass, with comparisons: each core answers with the digest that `answer` gives it, if it does.
fn run(world: &mut World, duration: Duration, answer: impl Fn(usize) -> Option<DigestAnswer>) {
    let end = world.now + duration;
    while world.now < end {
        world.run(Duration::from_millis(25));
        let mut notes: Vec<(usize, CoreAddr, ComparisonNote)> = Vec::new();
        for (at, side) in world.sides.iter_mut().enumerate() {
            side.groups.tick_comparing(&mut side.ctx, &mut side.effects);
            for (group, point) in std::mem::take(&mut side.compared) {
                if let Some(answer) = answer(at) {
                    side.groups.digested(&mut side.ctx, &mut side.effects, group, point, answer);
                }
            }
            let own = side.ctx.addr();
            notes.extend(
                std::mem::take(&mut side.notes).into_iter().map(|(to, note)| (to.node.0 as usize - 1, own, note)),
            );
        }
        for (to, from, note) in notes {
            let is_cut = world.cut.contains(&to) || world.cut.contains(&(from.node.0 as usize - 1));
            if !is_cut {
                world.sides[to].groups.keep_comparison_note(GROUP, from, note);
            }
        }
        world.settle();
    }
}

/// Only what is asked for is compared.
fn world() -> World {
    World::new(|config| config.settings.compare_interval = None)
}

fn last(world: &World, side: usize) -> Option<&Comparison> {
    world.sides[side].groups.comparing.results().next()
}

fn outcome(world: &World, side: usize) -> Option<Outcome> {
    last(world, side).map(|found| found.outcome)
}

#[test]
fn replicas_that_agree_are_compared_and_go_on() {
    let mut world = world();
    let leader = world.leader();
    world.execute(leader, client(1), "SET a 1");
    world.settle();
    assert_eq!(world.sides[(leader + 1) % 3].groups.compare_soon(GROUP), Err(CompareRefusal::NotLeader));
    assert_eq!(world.sides[leader].groups.compare_soon(GROUP), Ok(()));
    assert_eq!(world.sides[leader].groups.compare_soon(GROUP), Err(CompareRefusal::Running));
    run(&mut world, Duration::from_secs(1), |_| Some(digest(0)));
    let found = last(&world, leader).unwrap();
    assert_eq!((found.outcome, found.rows, found.members.len()), (Outcome::Equal, 9, 3));
    let counters = &world.sides[leader].ctx.counters;
    assert_eq!((counters.comparisons, counters.comparisons_differing, counters.digests_made), (1, 0, 1));
    world.execute(leader, client(2), "SET a 2");
    world.settle();
    assert_eq!(world.replies(leader).len(), 2);
    assert_eq!(world.sides[leader].groups.compare_soon(GROUP), Ok(()), "another one may begin");
}

#[test]
fn comparisons_come_at_an_interval_and_only_from_leaders() {
    let mut world = World::new(|config| config.settings.compare_interval = Some(Duration::from_secs(4)));
    run(&mut world, Duration::from_secs(20), |_| Some(digest(0)));
    let leader = world.leader();
    let counts: Vec<u64> = world.sides.iter().map(|side| side.ctx.counters.comparisons).collect();
    assert!((3..=7).contains(&counts[leader]), "{counts:?}");
    assert_eq!(counts.iter().sum::<u64>(), counts[leader]);
}

#[test]
fn another_interval_counts_from_when_it_is_set() {
    let mut world = world();
    let count = |world: &World| world.sides.iter().map(|side| side.ctx.counters.comparisons).sum::<u64>();
    let set = |world: &mut World, compare_interval: Option<Duration>| {
        for side in &mut world.sides {
            side.ctx.settings = Arc::new(NodeSettings { compare_interval, ..NodeSettings::default() });
            side.groups.compare_interval_changed(&side.ctx);
        }
    };
    run(&mut world, Duration::from_secs(20), |_| Some(digest(0)));
    assert_eq!(count(&world), 0);
    set(&mut world, Some(Duration::from_secs(4)));
    run(&mut world, Duration::from_secs(20), |_| Some(digest(0)));
    let compared = count(&world);
    assert!((3..=8).contains(&compared), "{compared}");
    set(&mut world, None);
    run(&mut world, Duration::from_secs(20), |_| Some(digest(0)));
    assert_eq!(count(&world), compared);
}

#[test]
fn a_follower_that_differs_leaves_and_comes_back_with_the_state_of_another() {
    let mut world = world();
    let leader = world.leader();
    let altered = (leader + 1) % 3;
    world.execute(leader, client(1), "SET a 1");
    world.sides[leader].groups.compare_soon(GROUP).unwrap();
    run(&mut world, Duration::from_secs(1), |side| Some(digest(u64::from(side == altered))));
    let found = last(&world, leader).unwrap();
    assert_eq!((found.outcome, found.differing().count()), (Outcome::Minority, 1));
    assert_eq!(world.sides[altered].ctx.counters.replicas_left, 1);
    assert!(world.sides[altered].replica().is_mute());
    assert_eq!(world.sides[leader].groups.comparing.differing_count(), 1);
    let applied = world.sides[altered].groups.view(GROUP).applied;
    // The others go on without it.
    world.execute(leader, client(2), "SET a 2");
    world.settle();
    assert_eq!(world.replies(leader).len(), 2);
    // The next comparison is the moment at which the leader has a snapshot that is newer than what it holds.
    run(&mut world, Duration::from_secs(12), |side| Some(digest(u64::from(side == altered))));
    let index = world.sides[leader].groups.view(GROUP).applied;
    let (side, from) = (&mut world.sides[altered], testing::core(leader as u32 + 1));
    assert_eq!((side.groups.view(GROUP).applied, side.fetches.last()), (applied, Some(&(from, 0))));
    assert!(index > applied);
    install(&mut world, leader, altered);
    assert!(!world.sides[altered].replica().is_mute());
    assert_eq!(world.sides[altered].ctx.counters.replicas_rebuilt, 1);
    run(&mut world, Duration::from_secs(20), |_| Some(digest(0)));
    assert_eq!(outcome(&world, leader), Some(Outcome::Equal));
    assert_eq!(world.sides[leader].groups.comparing.differing_count(), 0);
    let reached = [leader, altered].map(|side| world.sides[side].groups.view(GROUP).applied);
    assert_eq!(reached[0], reached[1], "it follows again");
}

/// The state of one core is taken into use by another one.
fn install(world: &mut World, from: usize, to: usize) {
    let view = world.sides[from].groups.view(GROUP);
    let membership = world.sides[from].groups.sealed_state(GROUP).membership;
    let (last_index, last_term) = (view.applied, view.applied_term.unwrap());
    let state = InstalledState { last_index, last_term, membership, keyspace: Keyspace::new() };
    let Side { ctx, groups, answers, .. } = &mut world.sides[to];
    assert!(groups.install(ctx, answers, GROUP, state));
    world.settle();
}

#[test]
fn a_leader_that_differs_hands_over_and_serves_nobody() {
    let mut world = world();
    let leader = world.leader();
    world.sides[leader].groups.compare_soon(GROUP).unwrap();
    run(&mut world, Duration::from_millis(100), |side| Some(digest(u64::from(side == leader))));
    assert!(!world.sides[leader].groups.list[GROUP].leads());
    run(&mut world, Duration::from_secs(2), |_| None);
    let next = world.leader();
    assert_ne!(next, leader);
    assert!(world.sides[leader].replica().is_mute());
    // Whoever leads now hears that it has left, and makes it a snapshot.
    run(&mut world, Duration::from_secs(12), |side| Some(digest(u64::from(side == leader))));
    assert!(world.sides[next].groups.comparing.differing_count() == 1);
    let from = testing::core(next as u32 + 1);
    assert_eq!(world.sides[leader].fetches.last(), Some(&(from, 0)));
}

#[test]
fn without_a_majority_there_is_an_alarm_and_nothing_is_done() {
    let mut world = world();
    let leader = world.leader();
    world.sides[leader].groups.compare_soon(GROUP).unwrap();
    run(&mut world, Duration::from_secs(1), |side| Some(digest(side as u64)));
    assert_eq!(outcome(&world, leader), Some(Outcome::NoMajority));
    assert_eq!(world.sides[leader].ctx.counters.comparisons_differing, 1);
    assert!(world.sides.iter().all(|side| side.ctx.counters.replicas_left == 0));
}

#[test]
fn the_leader_waits_for_a_while_and_compares_those_that_answered() {
    let mut world = world();
    let leader = world.leader();
    let silent = (leader + 1) % 3;
    world.sides[leader].groups.compare_soon(GROUP).unwrap();
    let answer = |side| (side != silent).then(|| digest(0));
    run(&mut world, Duration::from_secs(20), answer);
    assert_eq!(outcome(&world, leader), None, "it waits");
    run(&mut world, Duration::from_secs(15), answer);
    let found = last(&world, leader).unwrap();
    assert_eq!(found.outcome, Outcome::Equal);
    assert!(found.shown_members().contains("did not answer"), "{}", found.shown_members());
}

#[test]
fn a_comparison_ends_with_its_leadership_and_says_so() {
    let mut world = world();
    let leader = world.leader();
    world.sides[leader].groups.compare_soon(GROUP).unwrap();
    run(&mut world, Duration::from_millis(100), |_| None);
    world.cut = vec![leader];
    run(&mut world, Duration::from_secs(5), |_| None);
    assert_eq!(outcome(&world, leader), Some(Outcome::Unfinished("the leadership moved meanwhile")));
    assert_eq!(world.sides[leader].ctx.counters.comparisons_unfinished, 1);
}

#[test]
fn what_was_busy_is_compared_again_before_long() {
    let mut world = world();
    let leader = world.leader();
    world.sides[leader].groups.compare_soon(GROUP).unwrap();
    run(&mut world, Duration::from_secs(1), |_| Some(Err(NoDigest::Busy)));
    assert!(matches!(outcome(&world, leader), Some(Outcome::Unfinished(_))));
    run(&mut world, Duration::from_secs(35), |_| Some(digest(0)));
    assert_eq!(outcome(&world, leader), Some(Outcome::Equal));
}

#[test]
fn only_the_leader_can_tell_a_replica_that_it_differs_and_only_of_its_present_state() {
    let mut world = world();
    let leader = world.leader();
    let (follower, other) = ((leader + 1) % 3, (leader + 2) % 3);
    world.sides[leader].groups.compare_soon(GROUP).unwrap();
    run(&mut world, Duration::from_secs(1), |_| Some(digest(0)));
    let point = last(&world, leader).unwrap().point;
    let tell = |world: &mut World, from: usize, index| {
        let note = ComparisonNote { group: point.group, index, term: point.term, body: wire::NoteBody::Differs };
        world.sides[follower].groups.keep_comparison_note(GROUP, testing::core(from as u32 + 1), note);
        run(world, Duration::from_millis(50), |_| None);
        world.sides[follower].ctx.counters.replicas_left
    };
    assert_eq!(tell(&mut world, other, point.index), 0);
    assert_eq!(tell(&mut world, leader, point.index - 1), 0);
    assert_eq!(tell(&mut world, leader, point.index), 1);
}
