//! Equal seeds give equal runs in different processes: no address, no hash seed of a process, no clock leaks in.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::process::Command;

fn hash_of(seed: u64) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle-sim"));
    let output = command.args(["--seed", &seed.to_string(), "--busy", "3", "--hash"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("trace "), "{text} {}", String::from_utf8_lossy(&output.stderr));
    text
}

#[test]
fn a_seed_gives_one_trace_in_every_process() {
    let mut traces = Vec::new();
    for seed in [2, 3, 7, 12] {
        let trace = hash_of(seed);
        assert_eq!(trace, hash_of(seed), "seed {seed}");
        traces.push(trace);
    }
    traces.sort();
    traces.dedup();
    assert_eq!(traces.len(), 4, "different seeds give different runs");
}
