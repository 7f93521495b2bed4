//! Worlds that break what the engine relies on: the checkers must object, or their silence elsewhere means nothing.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::process::Command;

/// Within so many seeds each broken promise must be noticed.
const SEEDS: u64 = 10;

fn is_caught(mode: &str) {
    is_caught_by(mode, |said| !said.contains("\nprogress:"));
}

/// Whether an objection that `counts` is made within a few seeds.
fn is_caught_by(mode: &str, counts: impl Fn(&str) -> bool) {
    let mut verdicts = Vec::new();
    for seed in 1..=SEEDS {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coracle-sim"));
        command.args(["--busy", "20", "--hash", "--broken", mode, "--seed", &seed.to_string()]);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        // An objection about what is safe: neither a panic, nor an error of the command line, nor mere slowness counts.
        if output.status.code() == Some(1) && counts(&said) {
            return;
        }
        verdicts.push(said);
    }
    panic!("nobody objected to {mode}: {verdicts:?}");
}

#[test]
fn a_disk_that_forgets_is_noticed() {
    is_caught("forgetful-disk");
}

#[test]
fn a_voter_that_forgets_is_noticed() {
    is_caught("forgotten-vote");
}

#[test]
fn clocks_without_a_bound_are_noticed() {
    is_caught("wild-clocks");
}

#[test]
fn a_majority_that_lost_its_disks_is_noticed() {
    is_caught("lost-majority");
}

#[test]
fn forged_frames_are_noticed() {
    is_caught("forged-frames");
}

/// A scrub that calls sound what is damaged.
#[test]
fn rot_that_the_scrub_passes_over_is_noticed() {
    is_caught_by("flattering-disk", |said| said.contains("scrubs:"));
}

/// Nothing else looks there: it is the comparison of the replicas that finds it.
#[test]
fn an_altered_row_is_found_by_comparing_replicas() {
    is_caught_by("altered-row", |said| said.contains("comparisons:"));
}
