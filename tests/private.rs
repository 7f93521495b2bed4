//! What a node writes is for its user alone.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_tests::client::ok;
use coracle_tests::{Cluster, Options, alone, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
/// Enough for a group to be flushed.
const VALUES_COUNT: usize = 64;
const KEYS_COUNT: usize = 8;
const VALUE_BYTES: usize = 64 << 10;

/// Everything in a directory and below, the directory included.
fn all_below(dir: &Path, found: &mut Vec<PathBuf>) {
    found.push(dir.to_owned());
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { all_below(&path, found) } else { found.push(path) }
    }
}

#[test]
fn files_and_directories_are_for_the_user_of_the_node_alone() {
    let _alone = alone(LIMIT);
    let set = vec!["group_log_bytes_max=1048576".to_owned()];
    let cluster = Cluster::start(Options { nodes: 2, groups: 1, set, ..Options::default() });
    let mut client = cluster.gateway(1);
    for written in 0..VALUES_COUNT {
        let value = vec![b'v'; VALUE_BYTES];
        let key = format!("key:{}", written % KEYS_COUNT);
        assert_eq!(client.ask(&[b"SET", key.as_bytes(), &value]).unwrap(), ok());
    }
    let below = |node: &str| {
        let mut found = Vec::new();
        all_below(&cluster.dir().join(node), &mut found);
        found
    };
    let kinds = ["LOCK", "node.toml", "cluster.map", "peers.toml", "manifest.a", ".data", ".seg"];
    let has = |found: &[PathBuf], kind: &str| found.iter().any(|path| path.display().to_string().ends_with(kind));
    wait_until("there is a file of every kind", WITHIN, || kinds.iter().all(|kind| has(&below("node-1"), kind)));
    let mut found = [below("node-1"), below("node-2")].concat();
    for name in ["dev.json", "dev-cluster.toml", "dev.sock", "node-1.toml", "node-1.log"] {
        found.push(cluster.dir().join(name));
    }
    for path in found {
        // A temporary file may have got its name since.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(mode, expected, "{} has mode {mode:o}", path.display());
    }
}
