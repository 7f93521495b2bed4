//! Clients that know what was acknowledged to them, to be compared with what is there afterwards.
//!
//! Each client counts its increments and sets keys that nobody else sets. A counter that ends lower than what was
//! acknowledged has lost a write; one that ends higher than that plus what is unknown, or a `SET NX` of a fresh key
//! that is refused, has seen a write happen twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::{Client, Cluster, Reply};

const COUNTERS_COUNT: usize = 40;
const THREADS_COUNT: usize = 6;
/// Increments and keys that a client has under way at a time.
const DEPTH: usize = 8;

/// What a client knows of what it has asked for.
#[derive(Default)]
pub struct Known {
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
///
/// # Panics
/// If anything acknowledged is missing, anything was applied twice, or hardly anything was asked.
pub fn check(cluster: &Cluster, known: &[Known], when: &str) {
    for known in known {
        assert!(known.violations.is_empty(), "{when}: {:?}", known.violations);
    }
    let mut client = cluster.gateway(1);
    let (mut acked, mut unknown) = (0, 0);
    for counter in 0..COUNTERS_COUNT {
        let value: u64 = match client.command(&format!("GET counter:{counter}")) {
            Reply::Bulk(text) => String::from_utf8(text).expect("a number").parse().expect("a number"),
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
            client.send(requests.as_bytes()).expect("the cluster is well");
            for key in keys {
                let reply = client.reply().expect("the cluster is well");
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

/// Runs clients at all gateways while `faults` does its worst; returns what they know.
///
/// # Panics
/// If `faults` does.
pub fn under_load(cluster: &Cluster, faults: impl FnOnce()) -> Vec<Known> {
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
