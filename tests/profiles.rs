//! Profiles of nodes that serve, over HTTP.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use coracle_tests::client::{encode, ok};
use coracle_tests::{Client, Cluster, Node, Options, alone, http, pprof, process};

const LIMIT: Duration = Duration::from_secs(180);
/// A profile of a few seconds, and the names of its functions, which a build without optimization takes long to find.
const WITHIN: Duration = Duration::from_secs(90);
const DEPTH: usize = 50;

fn profile(node: &Node, query: &str) -> (u16, Vec<u8>) {
    http::get_bytes(&node.host, node.admin, &format!("/debug/pprof/profile{query}"), WITHIN).unwrap()
}

fn heap_profile(node: &Node) -> (u16, Vec<u8>) {
    http::get_bytes(&node.host, node.admin, "/debug/pprof/heap", WITHIN).unwrap()
}

fn text((status, body): (u16, Vec<u8>)) -> (u16, String) {
    (status, String::from_utf8(body).unwrap())
}

/// Sets keys in pipelines until it is told to stop, and sees that each is acknowledged. Returns how many were.
fn load(mut client: Client, stop: &AtomicBool) -> usize {
    let mut count = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut requests = Vec::new();
        (0..DEPTH)
            .for_each(|idx| encode(&[b"SET", format!("k{}", count + idx).as_bytes(), &[b'v'; 200]], &mut requests));
        client.send(&requests).unwrap();
        (0..DEPTH).for_each(|_| assert_eq!(client.reply().unwrap(), ok(), "a profile fails no write"));
        count += DEPTH;
    }
    count
}

/// Ends the load also where a test fails.
struct StopWhenDropped<'a>(&'a AtomicBool);

impl Drop for StopWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_profile_under_load_shows_the_functions_of_each_core_and_fails_nothing() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 1, cores: 2, ..Options::default() });
    let node = cluster.node(1);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let loads: Vec<_> = (0..4).map(|_| scope.spawn(|| load(cluster.gateway(1), &stop))).collect();
        let _stopping = StopWhenDropped(&stop);
        // Whichever comes first is taken, and the other one comes while it is.
        let asked: Vec<_> = (0..2).map(|_| scope.spawn(|| profile(&node, "?seconds=4"))).collect();
        for path in ["/metrics", "/livez", "/readyz"] {
            assert_eq!(http::get(&node.host, node.admin, path).unwrap().0, 200, "{path}");
        }
        let mut answers: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(loads.into_iter().all(|load| load.join().unwrap() > 0));
        answers.sort_by_key(|(status, _)| *status);
        let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
        assert_eq!(statuses, [200, 409]);
        let (_, refusal) = text(answers.remove(1));
        assert!(refusal.contains("taken already"), "{refusal}");
        let (_, body) = answers.remove(0);
        let profile = pprof::read(&body);
        let samples: i64 = profile.samples.iter().map(|sample| sample.values[0]).sum();
        assert!(samples > 20, "{samples} samples");
        for core in ["coracle-core-0", "coracle-core-1"] {
            let of_core = profile.samples.iter().filter(|sample| sample.labels["thread"] == core);
            let ours = of_core.filter(|sample| sample.functions.iter().any(|name| name.contains("engine::")));
            assert!(ours.count() > 0, "{core} is found in functions of the engine");
        }
        let nanoseconds = profile.time.1;
        assert!((4_000_000_000..20_000_000_000).contains(&nanoseconds), "{nanoseconds} ns");
    });
    assert_eq!(cluster.gateway(1).command("SET after v"), ok());
}

#[test]
fn a_heap_profile_under_load_shows_who_holds_the_memory_and_fails_nothing() {
    let _alone = alone(LIMIT);
    let set = vec!["heap_profile_bytes=65536".to_owned()];
    let cluster = Cluster::start(Options { nodes: 1, cores: 2, set, ..Options::default() });
    let node = cluster.node(1);
    let stop = AtomicBool::new(false);
    let (profile, count) = thread::scope(|scope| {
        let _stopping = StopWhenDropped(&stop);
        let loads: Vec<_> = (0..2).map(|_| scope.spawn(|| load(cluster.gateway(1), &stop))).collect();
        thread::sleep(Duration::from_secs(3));
        let (status, body) = heap_profile(&node);
        assert_eq!(status, 200);
        stop.store(true, Ordering::Relaxed);
        let counts: Vec<usize> = loads.into_iter().map(|load| load.join().unwrap()).collect();
        // Both set the same keys.
        (pprof::read(&body), counts.into_iter().max().unwrap())
    });
    assert!(count > 10_000, "{count} keys");
    let names: Vec<&str> = profile.types.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"]);
    let used_by = |folder: &str| {
        // In a release build the names of many functions lack their module.
        let has = |sample: &&pprof::Sample| sample.files.iter().any(|file| file.contains(folder));
        profile.samples.iter().filter(has).map(|sample| sample.values[3]).sum::<i64>()
    };
    // Rows lie in chunks of the memory of their group, and each chunk is asked for by the command that needed it.
    let (rows, engine) = (used_by("/src/lsm/rows/"), used_by("/src/engine/"));
    assert!(rows > 2 << 20, "{rows} bytes of rows");
    assert!(engine >= rows, "{engine} bytes that the engine has asked for, {rows} of them for rows");
    let of_samplers = |sample: &&pprof::Sample| sample.files.first().is_some_and(|file| file.contains("/backtrace-"));
    assert_eq!(profile.samples.iter().find(of_samplers), None, "what takes samples is not shown");
    let of_all: i64 = profile.samples.iter().map(|sample| sample.values[3]).sum();
    let resident = process::resident_bytes(node.pid) as i64;
    assert!(of_all < 2 * resident, "{of_all} bytes in use, of {resident} that are resident");
    assert_eq!(cluster.gateway(1).command("SET after v"), ok());
}

#[test]
fn what_is_no_number_of_seconds_is_refused_and_a_setting_forbids_profiles() {
    let _alone = alone(LIMIT);
    let set = vec!["profiling=false".to_owned()];
    let cluster = Cluster::start(Options { nodes: 1, groups: 1, set, ..Options::default() });
    let node = cluster.node(1);
    for wrong in ["0", "61", "many"] {
        let (status, told) = text(profile(&node, &format!("?seconds={wrong}")));
        assert_eq!((status, told.as_str()), (400, "`seconds` must be a whole number from 1 to 60\n"), "{wrong}");
    }
    let (status, told) = text(profile(&node, "?seconds=1"));
    assert!(status == 403 && told.contains("`profiling` is false"), "{status} {told}");
    let (status, told) = text(heap_profile(&node));
    assert!(status == 403 && told.contains("`profiling` is false"), "{status} {told}");
    assert_eq!(http::get(&node.host, node.admin, "/metrics").unwrap().0, 200);
}
