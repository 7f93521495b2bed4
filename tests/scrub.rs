//! Rot in the files of a node is found by the scrub, named, and healed while the node runs.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle_tests::client::ok;
use coracle_tests::{Cluster, Options, Reply, alone, wait_until};

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);
const KEYS_COUNT: usize = 3_000;

/// The longest file of tables of a node.
fn longest_table(store: &Path) -> PathBuf {
    let files = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let tables = files.filter(|path| path.extension().is_some_and(|extension| extension == "data"));
    tables.max_by_key(|path| path.metadata().unwrap().len()).expect("there are tables")
}

fn flip_byte(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    file.sync_all().unwrap();
}

/// Has a node scrubbed by its gateway, and waits until that has ended.
fn scrub(cluster: &Cluster, node: usize) {
    let passes = cluster.core(node, 0).info("scrub_passes");
    let reply = cluster.gateway(node).command("CORACLE SCRUB");
    assert!(matches!(&reply, Reply::Simple(text) if text.starts_with("OK")), "{reply:?}");
    wait_until("a pass has ended", WITHIN, || cluster.core(node, 0).info("scrub_passes") > passes);
}

/// INFO tells of one thing that the last pass has found.
fn assert_alarm(cluster: &Cluster, node: usize, what: &str, file: &str) {
    let text = cluster.core(node, 0).command("INFO").text();
    let alarms: Vec<&str> =
        text.lines().filter(|line| line.starts_with("scrub_damage") && line.contains("what=")).collect();
    println!("{alarms:?}");
    assert!(
        matches!(alarms[..], [one] if one.contains(what) && one.contains(file) && one.contains("offset=")),
        "{alarms:?}"
    );
}

fn status(cluster: &Cluster, node: usize) -> String {
    shown(&cluster.core(node, 0).command("CORACLE SCRUB STATUS"))
}

fn shown(reply: &Reply) -> String {
    match reply {
        Reply::Array(all) => all.iter().map(shown).collect::<Vec<_>>().join(" "),
        Reply::Int(number) => number.to_string(),
        other => other.text(),
    }
}

#[test]
fn a_flipped_byte_is_found_named_and_healed() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Options { groups: 2, data_dir: Some(dir.path().to_owned()), ..Options::default() });
    let mut client = cluster.gateway(1);
    for key in 0..KEYS_COUNT {
        assert_eq!(client.command(&format!("SET key:{key} value-{key}-{}", "x".repeat(100))), ok());
    }
    // A comparison flushes every replica.
    for node in 1..=3 {
        cluster.core(node, 0).command("CORACLE COMPARE");
    }
    wait_until("all is in tables", WITHIN, || {
        (1..=3).map(|node| cluster.core(node, 0).info("comparisons")).sum::<u64>() >= 2
    });
    scrub(&cluster, 2);
    assert_eq!(cluster.core(2, 0).info("scrub_damaged"), 0);
    assert!(cluster.core(2, 0).info("scrub_bytes") > 0 && !status(&cluster, 2).contains("offset"));

    let store = dir.path().join("node-2/store/core-00");
    flip_byte(&store.join("manifest.b"), 70);
    scrub(&cluster, 2);
    assert_alarm(&cluster, 2, "what=manifest", "manifest.b");
    let table = longest_table(&store);
    let name = table.file_name().unwrap().to_str().unwrap();
    flip_byte(&table, 1_000);
    scrub(&cluster, 2);
    assert_alarm(&cluster, 2, "what=table", name);
    let mut core = cluster.core(2, 0);
    assert_eq!((core.info("scrub_damaged"), core.info("tables_damaged")), (2, 1));
    assert!(status(&cluster, 2).contains(name), "{}", status(&cluster, 2));
    let log = fs::read_to_string(dir.path().join("node-2.log")).unwrap();
    let found: Vec<&str> = log.lines().filter(|line| line.contains("the scrub has found damage at rest")).collect();
    println!("{found:#?}");
    assert!(
        matches!(found[..], [first, second] if first.contains("manifest.b") && second.contains(name)),
        "{found:?}"
    );

    wait_until("the damaged file is gone", WITHIN, || !table.exists());
    scrub(&cluster, 2);
    assert_eq!(core.info("scrub_damaged"), 2, "all is sound again");
    assert!(!core.command("INFO").text().contains("scrub_damage0:"), "the alarm is over");
    // What it holds now shows when it has to answer itself, behind a start.
    cluster.kill(2);
    let _second = coracle_tests::Server::start_again(dir.path(), 2);
    cluster.wait_healthy(2, WITHIN);
    cluster.kill(1);
    cluster.wait_healthy(2, WITHIN);
    let mut client = cluster.gateway(2);
    for key in (0..KEYS_COUNT).step_by(7) {
        let value = client.command(&format!("GET key:{key}")).text();
        assert_eq!(value, format!("value-{key}-{}", "x".repeat(100)));
    }
}
