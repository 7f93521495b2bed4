//! Nothing acknowledged is lost and nothing happens twice, whatever is killed meanwhile.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coracle_tests::cluster::READY_WITHIN;
use coracle_tests::{Client, Cluster, Options, Reply, alone, process, wait_until};
use rustix::process::Signal;

const LIMIT: Duration = Duration::from_secs(240);
const COUNTERS_COUNT: usize = 40;
const THREADS_COUNT: usize = 6;
/// Increments and keys that a client has under way at a time.
const DEPTH: usize = 8;

/// What a client knows of what it has asked for.
#[derive(Default)]
struct Known {
    /// Per counter: increments acknowledged, and those whose outcome is unknown.
    acknowledged: Vec<u64>,
    unknown: Vec<u64>,
    /// Unique keys that were acknowledged.
    keys: Vec<String>,
    /// Unique keys whose outcome is unknown, or that certainly were not set.
    keys_unknown: Vec<String>,
    keys_refused: Vec<String>,
    violations: Vec<String>,
}

/// How a write ended.
enum Outcome {
    Done,
    NotDone,
    Unknown,
}

fn outcome(reply: &std::io::Result<Reply>, is_done: impl Fn(&Reply) -> bool) -> Result<Outcome, String> {
    match reply {
        Ok(reply) if is_done(reply) => Ok(Outcome::Done),
        Ok(Reply::Error(error)) => match error.split(' ').next() {
            Some("UNKNOWNOUTCOME") => Ok(Outcome::Unknown),
            Some("TRYAGAIN" | "CLUSTERDOWN" | "MOVED") => Ok(Outcome::NotDone),
            _ => Err(format!("an unexpected error: {error}")),
        },
        Ok(other) => Err(format!("an unexpected reply: {other:?}")),
        // A connection that broke says nothing.
        Err(_) => Ok(Outcome::Unknown),
    }
}

/// Increments counters and sets unique keys through whatever node answers, until told to stop.
fn work(nodes: &[(String, u16)], thread: usize, stop: &AtomicBool) -> Known {
    let mut known =
        Known { acknowledged: vec![0; COUNTERS_COUNT], unknown: vec![0; COUNTERS_COUNT], ..Known::default() };
    let mut client: Option<Client> = None;
    let (mut at, mut round) = (thread, 0_usize);
    while !stop.load(Ordering::Relaxed) {
        let Some(open) = client.as_mut() else {
            at += 1;
            let (host, port) = &nodes[at % nodes.len()];
            client = Client::connect(host, *port).ok();
            if client.is_none() {
                std::thread::sleep(Duration::from_millis(20));
            }
            continue;
        };
        round += 1;
        let counters: Vec<usize> =
            (0..DEPTH).map(|idx| (round * DEPTH + idx + thread * 7) % COUNTERS_COUNT).collect();
        let keys: Vec<String> = (0..DEPTH).map(|idx| format!("unique:{thread}:{round}:{idx}")).collect();
        let mut requests = String::new();
        for (counter, key) in counters.iter().zip(&keys) {
            requests.push_str(&format!("INCR counter:{counter}\r\nSET {key} {key} NX\r\n"));
        }
        let sent = open.send(requests.as_bytes());
        let mut is_broken = sent.is_err();
        for (counter, key) in counters.iter().zip(keys) {
            let mut next = || {
                if is_broken {
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                let reply = open.reply();
                is_broken = reply.is_err();
                reply
            };
            match outcome(&next(), |reply| matches!(reply, Reply::Int(_))) {
                Ok(Outcome::Done) => known.acknowledged[*counter] += 1,
                Ok(Outcome::Unknown) => known.unknown[*counter] += 1,
                Ok(Outcome::NotDone) => {}
                Err(violation) => known.violations.push(format!("INCR counter:{counter}: {violation}")),
            }
            // Nobody else sets this key: `nil` would mean that this very command was carried out twice.
            match outcome(&next(), |reply| *reply == Reply::Simple("OK".to_owned())) {
                Ok(Outcome::Done) => known.keys.push(key),
                Ok(Outcome::Unknown) => known.keys_unknown.push(key),
                Ok(Outcome::NotDone) => known.keys_refused.push(key),
                Err(violation) => known.violations.push(format!("SET {key} NX: {violation}")),
            }
        }
        if is_broken {
            client = None;
        }
    }
    known
}

/// Compares what the clients know with what is there.
fn check(cluster: &Cluster, known: &[Known], when: &str) {
    for known in known {
        assert!(known.violations.is_empty(), "{when}: {:?}", known.violations);
    }
    let mut client = cluster.gateway(1);
    let (mut acked, mut unknown) = (0, 0);
    for counter in 0..COUNTERS_COUNT {
        let value: u64 = match client.command(&format!("GET counter:{counter}")) {
            Reply::Bulk(text) => String::from_utf8(text).unwrap().parse().unwrap(),
            Reply::Nil => 0,
            other => panic!("{when}: counter {counter}: {other:?}"),
        };
        let least: u64 = known.iter().map(|known| known.acknowledged[counter]).sum();
        let most = least + known.iter().map(|known| known.unknown[counter]).sum::<u64>();
        assert!(
            (least..=most).contains(&value),
            "{when}: counter {counter} is {value}, with {least} increments acknowledged and {} unknown",
            most - least
        );
        (acked, unknown) = (acked + least, unknown + most - least);
    }
    let there = |client: &mut Client, keys: &[String]| -> Vec<bool> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(500) {
            let requests: String = keys.iter().map(|key| format!("GET {key}\r\n")).collect();
            client.send(requests.as_bytes()).unwrap();
            for key in keys {
                let reply = client.reply().unwrap();
                assert!(reply == Reply::Nil || reply.text() == *key, "{when}: {key} holds {}", reply.text());
                found.push(reply != Reply::Nil);
            }
        }
        found
    };
    let (mut set, mut refused) = (0, 0);
    for known in known {
        for (key, is_there) in known.keys.iter().zip(there(&mut client, &known.keys)) {
            assert!(is_there, "{when}: {key} was acknowledged and is lost");
        }
        for (key, is_there) in known.keys_refused.iter().zip(there(&mut client, &known.keys_refused)) {
            assert!(!is_there, "{when}: {key} was refused and is there");
        }
        there(&mut client, &known.keys_unknown);
        (set, refused) = (set + known.keys.len(), refused + known.keys_refused.len());
    }
    println!("{when}: {acked} increments acknowledged, {unknown} unknown; {set} keys set, {refused} refused");
    assert!(acked > 1_000, "{when}: there was hardly any work");
}

/// Runs clients while `faults` does its worst; returns what they know.
fn under_load(cluster: &Cluster, faults: impl FnOnce()) -> Vec<Known> {
    let nodes: Vec<(String, u16)> = cluster.nodes().into_iter().map(|node| (node.host, node.gateway)).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS_COUNT)
            .map(|thread| {
                let (nodes, stop) = (&nodes, &stop);
                scope.spawn(move || work(nodes, thread, stop))
            })
            .collect();
        // The clients end even if this panics.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(faults));
        stop.store(true, Ordering::Relaxed);
        let known = clients.into_iter().map(|client| client.join().expect("clients do not panic")).collect();
        if let Err(panic) = done {
            std::panic::resume_unwind(panic);
        }
        known
    })
}

fn wait_all_restarted(cluster: &Cluster, old: &[u32]) {
    wait_until("all nodes run again", READY_WITHIN, || {
        cluster.nodes().iter().zip(old).all(|(node, old)| node.pid != *old)
    });
    (1..=old.len()).for_each(|id| cluster.wait_healthy(id, READY_WITHIN));
}

#[test]
fn one_node_after_another_is_killed() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let options = Options { restart: true, data_dir: Some(dir.path().to_owned()), ..Options::default() };
    let cluster = Cluster::start(options.clone());
    let known = under_load(&cluster, || {
        for id in [1, 2, 3, 2] {
            std::thread::sleep(Duration::from_millis(700));
            let pid = cluster.node(id).pid;
            cluster.kill(id);
            cluster.wait_restarted(id, pid);
        }
        std::thread::sleep(Duration::from_millis(700));
    });
    check(&cluster, &known, "after single crashes");
    let port = cluster.port();
    assert!(cluster.stop(Signal::TERM).success());
    let cluster = Cluster::start_at(options, port);
    check(&cluster, &known, "and after a start anew");
}

#[test]
fn all_nodes_are_killed_at_once() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { restart: true, ..Options::default() });
    let known = under_load(&cluster, || {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(1_500));
            let pids: Vec<u32> = cluster.nodes().iter().map(|node| node.pid).collect();
            pids.iter().for_each(|pid| process::signal(*pid, Signal::KILL));
            wait_all_restarted(&cluster, &pids);
        }
        std::thread::sleep(Duration::from_millis(500));
    });
    check(&cluster, &known, "after crashes of all nodes");
}

#[test]
fn a_frozen_node_serves_nothing_old() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options::default());
    let pid = cluster.node(1).pid;
    let mut frozen = cluster.gateway(1);
    frozen.set_wait(Duration::from_secs(20));
    let mut other = cluster.gateway(2);
    for key in 0..50 {
        other.command(&format!("SET f:{key} old"));
    }
    process::freeze(pid);
    // What the frozen node will find when it wakes: reads that arrived while it slept.
    let reads: String = (0..50).map(|key| format!("GET f:{key}\r\n")).collect();
    frozen.send(reads.as_bytes()).unwrap();
    let begin = Instant::now();
    for key in 0..50 {
        while other.command(&format!("SET f:{key} new")) != Reply::Simple("OK".to_owned()) {
            assert!(begin.elapsed() < Duration::from_secs(20), "no write while one node is frozen");
        }
    }
    let socket = frozen.socket().try_clone().unwrap();
    socket.set_nonblocking(true).unwrap();
    assert!(socket.peek(&mut [0]).is_err(), "a frozen node has answered");
    socket.set_nonblocking(false).unwrap();
    process::signal(pid, Signal::CONT);
    for key in 0..50 {
        let reply = frozen.reply().unwrap();
        assert!(reply.text() == "new" || reply.error().is_some(), "key {key}: {reply:?}");
    }
}
