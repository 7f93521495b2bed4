//! More different stacks than are kept. They are kept for the life of the process, so this is a process of its own.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::alloc::System;
use std::hint::black_box;

use profile::Sampled;

#[allow(unreachable_pub, reason = "the end-to-end tests have it from their library")]
#[path = "../../../tests/support/pprof.rs"]
mod pprof;

#[global_allocator]
static ALLOCATOR: Sampled<System> = Sampled(System);

/// Calls one function or the other at each level, by the bits of `way`, and allocates at the last.
#[inline(never)]
fn left(way: u32, levels: u32) -> Vec<u8> {
    black_box(if levels == 0 { Vec::with_capacity(100_000) } else { step(way, levels) })
}

#[inline(never)]
fn right(way: u32, levels: u32) -> Vec<u8> {
    black_box(if levels == 0 { Vec::with_capacity(100_000) } else { step(way, levels) })
}

fn step(way: u32, levels: u32) -> Vec<u8> {
    if way & 1 == 0 { left(way >> 1, levels - 1) } else { right(way >> 1, levels - 1) }
}

#[test]
fn stacks_beyond_the_limit_are_counted_and_told_and_the_others_stay_right() {
    const LEVELS: u32 = 15;
    // Each of these blocks is sampled.
    profile::heap::start(1_000);
    for way in 0..1 << LEVELS {
        let block = left(way, LEVELS);
        assert_eq!(block.capacity(), 100_000);
        drop(block);
    }
    let profile = pprof::read(&profile::heap().unwrap());
    let lost = profile.comments.first().unwrap().split(' ').next().unwrap().parse::<usize>().unwrap();
    let of_ways = profile.samples.iter().filter(|sample| sample.functions.iter().any(|name| name.contains("right")));
    let values: Vec<&Vec<i64>> = of_ways.map(|sample| &sample.values).collect();
    assert!(values.len() > 10_000 && values.len() + lost >= (1 << LEVELS) - 1, "{} kept, {lost} lost", values.len());
    assert!(values.iter().all(|values| **values == [1, 100_000, 0, 0]));
}
