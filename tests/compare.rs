//! A replica whose rows were altered is found by comparing the replicas of its group, named, and rebuilt from the others.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

#[path = "support/plain_disk.rs"]
mod plain_disk;

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use coracle_tests::client::ok;
use coracle_tests::{Cluster, Options, Reply, Server, alone, wait_until};
use futures_lite::future::block_on;
use host::IoClass;
use lsm::files::Files;
use lsm::manifest::{Edit, EditKind, Manifest, ManifestSettings};
use lsm::read::{CacheLimits, Reader, Scan, ScanSettings};
use lsm::table::{Content, Put, StoredRow, Value};
use lsm::version::{Change, NewRun};
use lsm::write::{Output, Pace, RunWriter, WriteSettings};
use plain_disk::PlainDisk;
use types::{GroupId, Slot};

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);
const KEYS_COUNT: usize = 2_000;
/// The key whose value is altered on one node.
const KEY: &str = "key:77";

/// Never waits.
struct NoPace;

impl Pace for NoPace {
    async fn pause(&self, _: usize) {}
}

/// Alters the last byte of a key's value in the tables of a stopped node, which are sound all the same: as a fault of memory might before
/// checksums are made. Returns the key's group.
fn alter_row(store: PathBuf, key: &str) -> GroupId {
    block_on(async {
        let files = Rc::new(Files::open(PlainDisk::default(), store).await.unwrap());
        let mut manifest = Manifest::open(Rc::clone(&files), ManifestSettings::default(), 0).await.unwrap();
        let reader = Reader::new(Rc::clone(&files), CacheLimits::of_each(1 << 20));
        let (set, settings) = (manifest.files().clone(), WriteSettings::default());
        let output = Rc::new(Output::new(files, set, manifest.store(), settings));
        let groups: Vec<_> = manifest.state().groups().map(|(group, state)| (group, state.clone())).collect();
        for (group, state) in groups {
            let how = ScanSettings { class: IoClass::Scrub, time_ms: 0, is_single_row: |_| true };
            let mut scan = Scan::new(&reader, Rc::clone(&state.version), how);
            while let Some(row) = scan.next(&NoPace).await.unwrap() {
                if !row.key.ends_with(key.as_bytes()) {
                    continue;
                }
                let mut value = row.value.to_vec();
                *value.last_mut().unwrap() ^= 1;
                let put = Put { value_type: row.value_type, expiry_ms: row.expiry_ms, value: Value::Inline(&value) };
                let mut writer = RunWriter::new(Rc::clone(&output), NoPace, IoClass::Flush, None);
                writer.push(StoredRow { key: row.key, content: Content::Put(put) }).await.unwrap();
                let (written, file) = writer.finish().await.unwrap();
                file.unwrap().finish().await.unwrap();
                output.sync_names().await.unwrap();
                let run = NewRun { age: state.version.next_age(), level: 0, tables: written.tables.clone() };
                let change = Change { added: vec![run], ..Change::default() };
                let kind = EditKind::Flush { seal: state.seal.clone(), change };
                manifest.commit(vec![Edit::Group { group, replica: state.replica, kind }]).await.unwrap();
                return group;
            }
        }
        panic!("{key} is in no table");
    })
}

/// Has all groups compared.
fn compare_all(cluster: &Cluster) {
    for node in 1..=3 {
        let reply = cluster.core(node, 0).command("CORACLE COMPARE");
        assert!(matches!(&reply, Reply::Simple(text) if text.starts_with("OK")), "{reply:?}");
    }
}

/// The fields of the last comparison of a group on a node, if that has made one.
fn comparison(cluster: &Cluster, node: usize, group: GroupId) -> Option<Vec<(String, String)>> {
    let node = cluster.node(node);
    let mut client = coracle_tests::Client::connect(&node.host, node.cores[0]).ok()?;
    let Reply::Array(found) = client.command(&format!("CORACLE COMPARISON {group}")) else { return None };
    let Some(Reply::Array(fields)) = found.into_iter().next() else { return None };
    let text = |reply: &Reply| match reply {
        Reply::Int(number) => number.to_string(),
        other => other.text(),
    };
    Some(fields.chunks(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
}

/// The newest comparison of a group that any node has made: the value of a field of it.
fn newest(cluster: &Cluster, group: GroupId, field: &str) -> Option<String> {
    let get = |found: &[(String, String)], name: &str| {
        found.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    };
    let all = (1..=3).filter_map(|node| comparison(cluster, node, group));
    let newest = all.max_by_key(|found| get(found, "unix_ms").and_then(|ms| ms.parse::<u64>().ok()))?;
    get(&newest, field)
}

#[test]
fn an_altered_row_is_found_named_and_taken_over_from_the_others() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(Options { groups: 2, data_dir: Some(dir.path().to_owned()), ..Options::default() });
    let mut client = cluster.gateway(1);
    for key in 0..KEYS_COUNT {
        assert_eq!(client.command(&format!("SET key:{key} value-{key}")), ok());
    }
    compare_all(&cluster);
    for group in [GroupId(1), GroupId(2)] {
        wait_until("the replicas were compared and agree", WITHIN, || {
            newest(&cluster, group, "outcome").as_deref() == Some("equal")
        });
    }
    let rows = |group| newest(&cluster, GroupId(group), "rows").unwrap().parse::<usize>().unwrap();
    assert_eq!(rows(1) + rows(2), KEYS_COUNT);

    cluster.kill(3);
    let group = alter_row(dir.path().join("node-3/store/core-00"), KEY);
    let _third = Server::start_again(dir.path(), 3);
    cluster.wait_healthy(3, WITHIN);
    let ask = || {
        let asked = (1..=3).filter_map(|node| {
            let reply = cluster.core(node, 0).command(&format!("CORACLE COMPARE {group}"));
            // Whoever does not lead says who does.
            assert!(reply.error().is_none_or(|error| error.contains("lead")), "{reply:?}");
            reply.error().is_none().then_some(())
        });
        asked.count() == 1
    };
    wait_until("the leader is asked", WITHIN, ask);
    wait_until("the altered row is found", WITHIN, || {
        newest(&cluster, group, "outcome").as_deref() == Some("minority-differs")
    });
    let replicas = newest(&cluster, group, "replicas").unwrap();
    println!("{replicas}; {}", newest(&cluster, group, "ranges").unwrap());
    assert!(replicas.contains("on 3/0 differs") && replicas.matches("agrees").count() == 2, "{replicas}");
    assert!(newest(&cluster, group, "ranges").unwrap().contains(&range_of(KEY)), "{KEY} is in {}", range_of(KEY));
    let alarm = |node: usize| {
        let text = cluster.core(node, 0).command("INFO").text();
        text.lines().find(|line| line.starts_with(&format!("rows_differ_group{group}:"))).map(str::to_owned)
    };
    let shown = (1..=3).find_map(alarm).expect("the alarm stands in INFO");
    println!("{shown}");
    assert!(shown.contains("@3/0") && shown.contains(&range_of(KEY)), "{shown}");

    wait_until("it is rebuilt", WITHIN, || cluster.core(3, 0).info("replicas_rebuilt") == 1);
    wait_until("all replicas agree again", WITHIN, || {
        newest(&cluster, group, "outcome").as_deref() == Some("equal")
            && newest(&cluster, group, "replicas").is_some_and(|replicas| replicas.matches("agrees").count() == 3)
    });
    assert_eq!((1..=3).find_map(alarm), None, "the alarm is over");
    let log = std::fs::read_to_string(dir.path().join("node-3.log")).unwrap();
    assert!(log.contains("holds other rows than most") && log.contains("takes part again"), "{log}");
    // What it holds now shows when it has to answer itself.
    cluster.kill(1);
    cluster.wait_healthy(3, WITHIN);
    assert_eq!(cluster.gateway(3).command(&format!("GET {KEY}")).text(), "value-77");
}

/// The leaf of a key, as it is shown: with two groups, each has 8,192 slots, eight in a leaf.
fn range_of(key: &str) -> String {
    let slot = Slot::of_key(key.as_bytes()).number();
    format!("slots {}-{}", slot / 8 * 8, slot / 8 * 8 + 7)
}
