//! Logs that are damaged while their node is down: a replica that may have lost something never takes part again, and says so; the others
//! serve everything that was acknowledged, and another one takes its place.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_tests::client::ok;
use coracle_tests::load::{Known, check, under_load};
use coracle_tests::{Cluster, Options, alone, binary, process, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(30);
/// The groups of the keys and the one of the cluster map.
const GROUPS_COUNT: u64 = 9;
const BLOCK_BYTES: usize = 4_096;
/// Length of a block's header; records follow.
const HEADER_BYTES: usize = 52;
const FIRST_SEGMENT: &str = "000000000001.seg";

fn log_of(dir: &Path, node: usize) -> PathBuf {
    dir.join(format!("node-{node}/wal/core-00"))
}

/// Where the blocks of a segment begin.
fn blocks(segment: &[u8]) -> Vec<usize> {
    let magic = &segment[..8];
    assert_ne!(magic, [0; 8], "the segment is empty");
    (0..segment.len()).step_by(BLOCK_BYTES).filter(|at| &segment[*at..*at + 8] == magic).collect()
}

/// Flips a bit in the records of one of the blocks of the first segment.
fn flip(log: &Path, choose: impl Fn(&[usize]) -> usize) {
    let path = log.join(FIRST_SEGMENT);
    let mut segment = std::fs::read(&path).unwrap();
    let blocks = blocks(&segment);
    assert!(blocks.len() > 10, "only {} blocks", blocks.len());
    segment[choose(&blocks) + HEADER_BYTES + 3] ^= 0x10;
    std::fs::write(&path, segment).unwrap();
}

fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Starts the cluster on what node 2 has left, and looks at what becomes of it.
fn start_damaged(options: &Options, port: u16, known: &[Known], what: &str) {
    let cluster = Cluster::start_at(options.clone(), port);
    let dir = options.data_dir.as_ref().unwrap();
    let mut damaged = cluster.core(2, 0);
    // Those that lost something are replaced, and no others.
    wait_until("lost replicas are replaced", WITHIN, || {
        let begun = damaged.info("replicas_begun");
        assert!(begun <= GROUPS_COUNT, "{what}: {begun}");
        begun > 0 && damaged.info("groups_quarantined") == 0
    });
    println!("{what}: {} of {GROUPS_COUNT} replicas were replaced", damaged.info("replicas_begun"));
    assert_eq!(cluster.core(1, 0).info("replicas_begun"), 0, "{what}");
    let log = std::fs::read_to_string(dir.join("node-2.log")).unwrap();
    // It holds what earlier starts said, too.
    let told = log.lines().rfind(|line| line.contains("this replica is quarantined"));
    println!("{what}: {}", told.unwrap_or_else(|| panic!("{what}: {log}")).trim());
    check(&cluster, known, what);
    // Its gateway serves as ever, and once all replicas vote again the cluster can do without another node.
    let mut through = cluster.gateway(2);
    for key in 0..64 {
        assert_eq!(through.command(&format!("SET key:{key} {what}")), ok());
        assert_eq!(cluster.gateway(1).command(&format!("GET key:{key}")).text(), what);
    }
    wait_until("no group changes its members any more", WITHIN, || {
        let changes = || (1..=3).map(|node| cluster.core(node, 0).info("membership_changes")).sum::<u64>();
        let before = changes();
        std::thread::sleep(Duration::from_secs(1));
        before == changes()
    });
    cluster.kill(3);
    for key in 0..64 {
        assert_eq!(cluster.gateway(1).command(&format!("SET key:{key} {what}-again")), ok(), "{what}");
    }
    check(&cluster, known, what);
    assert!(cluster.stop(Signal::TERM).success());
}

#[test]
fn a_damaged_replica_is_replaced() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: Some(dir.path().to_owned()),
        set: vec!["segment_bytes=33554432".to_owned()],
        ..Options::default()
    };
    let cluster = Cluster::start(options.clone());
    let port = cluster.port();
    let known = under_load(&cluster, || std::thread::sleep(Duration::from_millis(800)));
    assert!(cluster.stop(Signal::TERM).success());
    let (log, copy) = (log_of(dir.path(), 2), dir.path().join("copy"));
    copy_dir(&log, &copy);
    let restore = || {
        std::fs::remove_dir_all(&log).unwrap();
        copy_dir(&copy, &log);
    };

    flip(&log, |blocks| blocks[blocks.len() / 2]);
    start_damaged(&options, port, &known, "flipped-in-the-middle");
    restore();
    // The last block is the mark that tells that the one before it was acknowledged.
    flip(&log, |blocks| blocks[blocks.len() - 2]);
    start_damaged(&options, port, &known, "flipped-at-the-end");
    restore();
    std::fs::remove_file(log.join(FIRST_SEGMENT)).unwrap();
    start_damaged(&options, port, &known, "segment-removed");
    restore();
    // It is that of replicas that were replaced meanwhile.
    start_damaged(&options, port, &known, "an-old-copy");
}

#[test]
fn a_node_alone_does_not_start_on_a_damaged_log() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { nodes: 1, groups: 2, data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options);
    let mut client = cluster.gateway(1);
    for key in 0..200 {
        assert_eq!(client.command(&format!("SET key:{key} value")), ok());
    }
    let port = cluster.node(1).gateway.to_string();
    assert!(cluster.stop(Signal::TERM).success());
    let log = log_of(dir.path(), 1);
    flip(&log, |blocks| blocks[blocks.len() / 2]);
    let damaged = std::fs::read(log.join(FIRST_SEGMENT)).unwrap();
    let program = binary();
    let (program, data) = (program.to_str().unwrap(), dir.path().to_str().unwrap());
    let args = ["dev", "--nodes", "1", "--groups", "2", "--port", &port, "--data-dir", data];
    let output = process::run(program, &args, b"", WITHIN);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in ["segment 1", "no other replica", "Restore the data directory from a backup", "accept the loss"] {
        assert!(told.contains(part), "`{part}` is missing in: {told}");
    }
    assert!(damaged == std::fs::read(log.join(FIRST_SEGMENT)).unwrap(), "nothing is changed");
}
