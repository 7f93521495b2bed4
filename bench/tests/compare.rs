//! Comparisons: that they measure, and that they leave nothing behind.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn compare(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle-bench"));
    command.args(["compare", "--dir"]).arg(dir).args(args);
    command
}

fn is_empty(dir: &Path) -> bool {
    std::fs::read_dir(dir).unwrap().next().is_none()
}

/// The processes that run somewhere below a directory, whether it is still there or not. Redis is not to be found by its
/// arguments: it replaces them.
fn processes_in(dir: &Path) -> Vec<PathBuf> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let runs_there =
        |process: &PathBuf| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
    processes.filter(runs_there).collect()
}

#[test]
fn disk_and_redis_are_measured_and_cleaned_up() {
    // Not under /tmp, which may be a file system without direct I/O.
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let json = dir.path().join("results.json");
    let mut command = compare(dir.path(), &["--quick", "--only", "disk,redis", "--many", "60", "--json"]);
    let output = command.arg(&json).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    assert!(text.contains("SET c=50 P=16") && text.contains("overwrite 64 KiB"), "{text}");
    let document: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let samples = document["medians"].as_array().unwrap();
    assert_eq!(samples.len(), 8);
    assert!(samples.iter().all(|sample| sample["ops_per_s"].as_f64().unwrap() > 0.0), "{samples:?}");
    std::fs::remove_file(json).unwrap();
    assert!(is_empty(dir.path()), "the data is removed");
}

#[test]
fn an_interrupted_comparison_stops_its_servers() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let servers = || processes_in(&dir.path().canonicalize().unwrap());
    let mut command = compare(dir.path(), &["--only", "redis", "--seconds", "60"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let started = Instant::now();
    while servers().is_empty() {
        if let Some(status) = child.try_wait().unwrap() {
            let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
            panic!("it has ended before Redis was started: {status}: {said}");
        }
        assert!(started.elapsed() < Duration::from_secs(60), "Redis is started");
        std::thread::sleep(Duration::from_millis(10));
    }
    std::thread::sleep(Duration::from_millis(500));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(2));
    assert_eq!(servers(), Vec::<PathBuf>::new());
    assert!(is_empty(dir.path()));
}

#[test]
fn a_missing_server_is_an_error_with_its_name() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let output = compare(dir.path(), &["--quick", "--only", "coracle", "--coracle", "/nowhere/coracle"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("/nowhere/coracle") && said.contains("cargo build --release"), "{said}");
    assert!(is_empty(dir.path()));
    // Without a path it is the one that was built with this program, wherever that went.
    let beside = dir.path().join("coracle-bench");
    std::fs::hard_link(env!("CARGO_BIN_EXE_coracle-bench"), &beside).unwrap();
    let output = Command::new(&beside).args(["compare", "--only", "coracle"]).output().unwrap();
    std::fs::remove_file(beside).unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(dir.path().join("coracle").to_str().unwrap()), "{said}");
    // A program that is no server ends before it is ready, and what it said is shown.
    let output = compare(dir.path(), &["--quick", "--only", "coracle", "--coracle", "/bin/ls"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("ended before it was ready"));
}
