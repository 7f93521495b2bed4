//! Profiles of nodes that serve, over HTTP.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use coracle_tests::client::{encode, ok};
use coracle_tests::{Client, Cluster, Node, Options, alone, http, pprof};

const LIMIT: Duration = Duration::from_secs(180);
/// A profile of a few seconds, and the names of its functions, which a build without optimization takes long to find.
const WITHIN: Duration = Duration::from_secs(90);
const DEPTH: usize = 50;

fn profile(node: &Node, query: &str) -> (u16, Vec<u8>) {
    http::get_bytes(&node.host, node.admin, &format!("/debug/pprof/profile{query}"), WITHIN).unwrap()
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
    assert_eq!(http::get(&node.host, node.admin, "/metrics").unwrap().0, 200);
}
