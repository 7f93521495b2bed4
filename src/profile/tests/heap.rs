//! Heap profiles of this process, read as pprof reads them.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::alloc::System;
use std::hint::black_box;
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;

use pprof::Profile;
use profile::{Error, Sampled};

#[allow(unreachable_pub, reason = "the end-to-end tests have it from their library")]
#[path = "../../../tests/support/pprof.rs"]
mod pprof;

#[global_allocator]
static ALLOCATOR: Sampled<System> = Sampled(System);

/// Far less than is allocated, and far more than most blocks are long.
const MEAN_BYTES: u64 = 16 << 10;

/// Samples are those of the whole process.
static ALONE: Mutex<()> = Mutex::new(());

fn read() -> Profile {
    pprof::read(&profile::heap().unwrap())
}

/// The values of all samples with such a function.
fn of(profile: &Profile, function: &str) -> [i64; 4] {
    let mut sums = [0; 4];
    for sample in &profile.samples {
        if sample.functions.iter().any(|name| name.contains(function)) {
            sums.iter_mut().zip(&sample.values).for_each(|(sum, value)| *sum += value);
        }
    }
    sums
}

/// Whether an estimate is right but for chance: within six times the standard deviation of a count of `samples`, which more than one
/// in 100 million are.
fn assert_near(estimate: i64, exact: usize, samples: f64) {
    let wrong = (estimate as f64 - exact as f64).abs() / exact as f64;
    assert!(wrong < 6.0 / samples.sqrt(), "{estimate} is far from {exact}, by {samples} samples");
}

/// How many of so many blocks of one size are sampled, about.
fn samples(count: usize, bytes: usize) -> f64 {
    count as f64 * (1.0 - (-(bytes as f64) / MEAN_BYTES as f64).exp())
}

#[inline(never)]
#[allow(clippy::vec_box, reason = "each block is to be allocated")]
fn keep_small(count: usize) -> Vec<Box<[u8; 48]>> {
    let mut all = Vec::with_capacity(count);
    (0..count).for_each(|idx| all.push(black_box(Box::new([idx as u8; 48]))));
    all
}

#[inline(never)]
fn keep_medium(count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::with_capacity(count);
    (0..count).for_each(|_| all.push(black_box(vec![7; 5_000])));
    all
}

#[inline(never)]
fn keep_large(count: usize) -> Vec<Vec<u8>> {
    let mut all = Vec::with_capacity(count);
    // Zeroed memory is asked for in another way.
    (0..count).for_each(|_| all.push(black_box(vec![0; 300_000])));
    all
}

#[inline(never)]
fn use_for_a_moment(count: usize) {
    (0..count).for_each(|_| drop(black_box(Vec::<u8>::with_capacity(2_000))));
}

#[test]
fn what_was_allocated_and_what_is_in_use_are_found_whatever_the_sizes_are() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    profile::heap::start(MEAN_BYTES);
    let small = keep_small(400_000);
    let mut medium = keep_medium(4_000);
    let large = keep_large(100);
    use_for_a_moment(50_000);
    medium.truncate(1_000);
    let profile = read();
    let types = ["alloc_objects count", "alloc_space bytes", "inuse_objects count", "inuse_space bytes"];
    let found: Vec<String> = profile.types.iter().map(|(name, unit)| format!("{name} {unit}")).collect();
    assert_eq!(found, types);
    assert_eq!(profile.period, (("space".to_owned(), "bytes".to_owned()), MEAN_BYTES as i64));
    assert!(profile.comments.is_empty(), "{:?}", profile.comments);
    for (function, bytes, allocated, used) in [
        ("keep_small", 48, 400_000, 400_000),
        ("keep_medium", 5_000, 4_000, 1_000),
        ("keep_large", 300_000, 100, 100),
        ("use_for_a_moment", 2_000, 50_000, 0),
    ] {
        let values = of(&profile, function);
        // Beside the blocks there is the vector of them, which is one block more and counts for its length.
        let list = if used == 0 { 0 } else { allocated * if bytes == 48 { 8 } else { 24 } };
        let of_allocated = samples(allocated, bytes);
        assert_near(values[0], allocated, of_allocated);
        assert_near(values[1], allocated * bytes + list, of_allocated);
        if used == 0 {
            assert_eq!(values[2..], [0, 0], "{function}");
        } else {
            assert_near(values[2], used, samples(used, bytes));
            assert_near(values[3], used * bytes + list, samples(used, bytes));
        }
        let sample = profile.samples.iter().find(|sample| sample.functions.iter().any(|it| it.contains(function)));
        let leaf = &sample.unwrap().files[0];
        assert!(!leaf.contains("profile/heap/m") && !leaf.contains("backtrace"), "{leaf} takes samples itself");
    }
    drop((small, medium, large));
    let after = read();
    for function in ["keep_small", "keep_medium", "keep_large"] {
        assert_eq!(of(&after, function)[2..], [0, 0], "{function}");
    }
    profile::heap::start(0);
    assert!(matches!(profile::heap(), Err(Error::NotStarted)));
}

#[inline(never)]
fn grow_step_by_step(to: usize) -> Vec<u64> {
    let mut all = Vec::new();
    for number in 0..to as u64 {
        all.push(black_box(number));
    }
    all.shrink_to_fit();
    all
}

#[test]
fn a_block_that_grows_counts_with_the_length_that_it_has() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    profile::heap::start(MEAN_BYTES);
    let grown: Vec<Vec<u64>> = (0..200).map(|_| grow_step_by_step(3_000)).collect();
    assert!(grown.iter().all(|all| all.iter().copied().eq(0..3_000)), "what was in it is in it");
    let values = of(&read(), "grow_step_by_step");
    assert_near(values[2], 200, samples(200, 24_000));
    assert_near(values[3], 200 * 24_000, samples(200, 24_000));
    assert!(values[1] > 2 * values[3], "the shorter ones were allocated, too: {values:?}");
    drop(grown);
    assert_eq!(of(&read(), "grow_step_by_step")[2..], [0, 0]);
    profile::heap::start(0);
}

#[inline(never)]
fn hand_over(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|idx| black_box(vec![idx as u8 | 1; 700])).collect()
}

#[test]
fn blocks_are_freed_by_other_threads_than_those_that_allocate_while_profiles_are_written() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    profile::heap::start(MEAN_BYTES);
    let (rounds, count) = (60, 2_000);
    thread::scope(|scope| {
        let (sender, receiver) = channel::<Vec<Vec<u8>>>();
        let freeing = scope.spawn(move || {
            let mut bytes = 0;
            while let Ok(blocks) = receiver.recv() {
                bytes += blocks.iter().map(Vec::len).sum::<usize>();
            }
            bytes
        });
        let makers: Vec<_> = (0..3)
            .map(|_| {
                let sender = sender.clone();
                scope.spawn(move || (0..rounds).for_each(|_| sender.send(hand_over(count)).unwrap()))
            })
            .collect();
        drop(sender);
        (0..3).for_each(|_| drop(read()));
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        assert_eq!(freeing.join().unwrap(), 3 * rounds * count * 700);
    });
    let values = of(&read(), "hand_over");
    let all = 3 * rounds * count;
    assert_near(values[0], all, samples(all, 700));
    assert_eq!(values[2..], [0, 0], "all of it was freed");
    profile::heap::start(0);
}
