//! Client libraries that know about clusters: redis-py and the crate `redis`.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use coracle_tests::{Cluster, Options, alone, process, root};
use redis::Commands;
use redis::cluster::{ClusterClient, ClusterConnection, cluster_pipe};

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(60);

/// The Python that has redis-py: `CORACLE_TEST_PYTHON`, else the one that tools/verify sets up.
fn python() -> String {
    let default = || root().join("target/venv/bin/python");
    let path = std::env::var_os("CORACLE_TEST_PYTHON").map_or_else(default, PathBuf::from);
    assert!(
        path.is_file(),
        "{} is missing; `python3 -m venv target/venv && target/venv/bin/pip install redis` makes it, and so does \
         tools/verify",
        path.display()
    );
    path.to_str().expect("a path of UTF-8").to_owned()
}

/// Runs a script of testdata with the first core port; `during` runs beside it.
fn script(cluster: &Cluster, name: &str, args: &[&str]) -> String {
    let path = root().join("tests/testdata").join(name);
    let node = cluster.node(1);
    let port = node.cores[0].to_string();
    let mut all = vec![path.to_str().expect("a path of UTF-8"), &node.host, &port];
    all.extend(args);
    let output = process::run(&python(), &all, b"", WITHIN);
    let (text, told) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{name} {args:?}: {}\n{text}\n{told}", output.status);
    text.into_owned()
}

#[test]
fn redis_py_in_both_protocols() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    for protocol in ["2", "3"] {
        assert_eq!(script(&cluster, "redis_py.py", &[protocol]).trim_end(), "done");
    }
}

#[test]
fn redis_py_while_nodes_die() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    for protocol in ["2", "3"] {
        let told = std::thread::scope(|scope| {
            let running = scope.spawn(|| script(&cluster, "redis_py_failover.py", &[protocol, "9"]));
            for id in [2, 3] {
                std::thread::sleep(Duration::from_secs(2));
                let pid = cluster.node(id).pid;
                cluster.kill(id);
                cluster.wait_restarted(id, pid);
            }
            running.join().expect("the script ends well")
        });
        println!("redis-py, RESP{protocol}: {}", told.trim_end());
    }
}

fn connect(cluster: &Cluster) -> ClusterConnection {
    let seeds: Vec<String> =
        cluster.nodes().iter().map(|node| format!("redis://{}:{}", node.host, node.cores[0])).collect();
    let client = ClusterClient::builder(seeds).retries(32).build().expect("sound addresses");
    client.get_connection().expect("the cluster is ready")
}

#[test]
fn the_crate_redis() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { cores: 2, ..Options::default() });
    let mut connection = connect(&cluster);
    for key in 0..300 {
        let _: () = connection.set(format!("rs:{key}"), key).unwrap();
    }
    for key in 0..300 {
        assert_eq!(connection.get::<_, i64>(format!("rs:{key}")).unwrap(), key);
        assert_eq!(connection.incr::<_, _, i64>(format!("rs:{key}"), 5).unwrap(), key + 5);
    }
    let keys: Vec<String> = (0..300).map(|key| format!("rs:{key}")).collect();
    let values: Vec<i64> = connection.mget(&keys).unwrap();
    assert_eq!(values, (5..305).collect::<Vec<i64>>(), "MGET is split by slot");
    let mut pipe = cluster_pipe();
    for key in &keys {
        pipe.incr(key, 1).ignore().get(key);
    }
    let values: Vec<i64> = pipe.query(&mut connection).unwrap();
    assert_eq!(values, (6..306).collect::<Vec<i64>>());
    assert_eq!(connection.del::<_, i64>(&keys).unwrap(), 300);
    assert_eq!(connection.get::<_, Option<i64>>("rs:7").unwrap(), None);
}

#[test]
fn the_crate_redis_while_a_node_dies() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    let mut connection = connect(&cluster);
    let (mut written, mut slowest) = (0_u32, Duration::ZERO);
    std::thread::scope(|scope| {
        let killer = scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            let pid = cluster.node(1).pid;
            cluster.kill(1);
            cluster.wait_restarted(1, pid);
            std::thread::sleep(Duration::from_secs(1));
        });
        while !killer.is_finished() {
            let begin = Instant::now();
            let key = format!("rs:{written}");
            // To set a key again is harmless: the client and this loop may repeat what failed.
            while let Err(error) = connection.set::<_, _, ()>(&key, written) {
                let waited = begin.elapsed();
                assert!(waited < Duration::from_secs(15), "no write for {waited:?}: {error}");
                std::thread::sleep(Duration::from_millis(50));
            }
            slowest = slowest.max(begin.elapsed());
            written += 1;
        }
    });
    println!("the crate redis: {written} writes, the slowest took {slowest:?} while a node died");
    let mut connection = connect(&cluster);
    for key in 0..written {
        assert_eq!(connection.get::<_, Option<u32>>(format!("rs:{key}")).unwrap(), Some(key));
    }
}
