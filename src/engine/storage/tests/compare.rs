//! Digests of states as of an entry, and what keeps a replica from making one.

use wire::{NoDigest, RowsDigest};

use super::super::fake::FakeHost;
use super::super::fake_core::{FakeCore, config};
use crate::comparison::DigestAnswer;

/// The answer of a core that is asked now, once it has one.
fn answer_of(core: &mut FakeCore) -> DigestAnswer {
    let before = core.digested.len();
    core.compare(1);
    core.turn_until("there is an answer", |core| core.digested.len() > before);
    core.digested[before].1.clone()
}

fn digest_of(core: &mut FakeCore) -> RowsDigest {
    answer_of(core).expect("it has a digest")
}

/// A core that has written so many entries, and has flushed this often meanwhile.
fn written(entries_count: u64, batches_count: u64) -> FakeCore {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    for _ in 0..batches_count {
        core.append(1, entries_count / batches_count);
        core.settle();
    }
    core
}

#[test]
fn replicas_with_the_same_rows_in_other_files_have_the_same_digest() {
    let (mut often, mut once) = (written(300, 3), written(300, 1));
    often.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    let (one, other) = (digest_of(&mut often), digest_of(&mut once));
    assert_eq!((one.rows, &one), (40, &other));
    assert_ne!(digest_of(&mut written(299, 1)), one);
    let mut again = often.restart();
    again.settle();
    assert_eq!(digest_of(&mut again), one, "a start changes nothing");
}

#[test]
fn what_is_applied_behind_the_entry_has_no_part_in_the_digest() {
    let mut core = written(100, 1);
    let expected = digest_of(&mut written(100, 1));
    core.compare(1);
    core.append(1, 40);
    core.turn_until("there is an answer", |core| !core.digested.is_empty());
    assert!(core.replicas.list[1].applied == 140, "it went on once the state was sealed");
    assert_eq!(core.digested[0].1.as_ref(), Ok(&expected));
    core.settle();
    assert_ne!(digest_of(&mut core), expected);
}

#[test]
fn a_follower_waits_for_the_flush_under_way_and_a_leader_does_not() {
    let expected = digest_of(&mut written(120, 1));
    for leads in [false, true] {
        let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
        core.replicas.list[1].leads = leads;
        core.append(1, 120);
        core.turn_until("a flush is under way", |core| core.begun_count == 1);
        core.compare(1);
        assert_eq!(core.replicas.list[1].is_held, !leads);
        core.append(1, 5);
        core.turn_until("there is an answer", |core| !core.digested.is_empty());
        assert_eq!(core.digested[0].1, if leads { Err(NoDigest::Busy) } else { Ok(expected.clone()) });
        core.settle();
        assert_eq!(core.replicas.list[1].applied, 125);
        core.check_state(1);
    }
}

#[test]
fn a_follower_waits_for_a_while_only() {
    let mut core = FakeCore::start(FakeHost::default(), config(1, 1));
    core.host.hold_syncs(true);
    core.append(1, 120);
    core.turn_until("a flush is under way", |core| core.begun_count == 1);
    core.compare(1);
    core.append(1, 5);
    core.turns(200);
    assert!(core.digested.is_empty() && core.replicas.list[1].is_held);
    core.turn_until("there is an answer", |core| !core.digested.is_empty());
    assert_eq!(core.digested[0].1, Err(NoDigest::Busy));
    core.host.hold_syncs(false);
    core.settle();
    assert_eq!(core.replicas.list[1].applied, 125);
}

#[test]
fn without_a_flush_there_is_no_digest() {
    let mut core = written(50, 1);
    core.host.fail_creations(true);
    assert_eq!(answer_of(&mut core), Err(NoDigest::NotFlushed));
    assert_eq!(answer_of(&mut core), Err(NoDigest::NotFlushed), "so soon it would fail again");
    core.host.fail_creations(false);
    core.turns(400);
    assert!(answer_of(&mut core).is_ok());
    core.ctx.is_stopping = true;
    assert_eq!(answer_of(&mut core), Err(NoDigest::Leaving));
}

#[test]
fn damage_that_a_digest_comes_across_is_treated_as_any_other() {
    let mut core = written(120, 1);
    core.turn_until("it is flushed", |core| core.storage.snapshot_index(1) > 0);
    core.settle();
    core.damage_tables();
    assert_eq!(answer_of(&mut core), Err(NoDigest::NotRead));
    assert_eq!(core.ctx.counters.tables_damaged, 1);
    core.turn_until("its rows are written anew", |core| core.storage.records.damaged().count() == 0);
    core.settle();
    assert!(answer_of(&mut core).is_ok());
}

#[test]
fn a_crash_forgets_a_comparison_and_nothing_else() {
    let mut whole = written(60, 1);
    whole.compare(1);
    let mut again = whole.restart();
    again.settle();
    again.turns(100);
    assert!(again.digested.is_empty());
    again.check_state(1);
}
