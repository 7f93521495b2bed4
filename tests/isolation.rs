//! Who is in trouble is in trouble alone: a group without a majority, a log that nobody reads.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use coracle_tests::client::{encode, ok};
use coracle_tests::{Client, Cluster, Node, Options, Reply, alone, binary, ports, process, replicas, wait_until};

const LIMIT: Duration = Duration::from_secs(180);
const GROUPS: u32 = 5;
const PHASE: Duration = Duration::from_secs(6);
/// How much longer than before a command to another group may take, in the worst case.
const STALL_MAX: Duration = Duration::from_secs(1);
const KEYS_COUNT: usize = 200;
/// Clients of the lost group at each node, and how many commands each has under way: more than any queue takes.
const CLIENTS_COUNT: usize = 24;
const PIPELINE: usize = 1_000;

/// Which nodes hold a replica of which group.
fn holders(cluster: &Cluster) -> BTreeMap<u32, BTreeSet<usize>> {
    let mut holders: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
    for id in 1..=5 {
        for group in replicas::of_core(&mut cluster.core(id, 0)).into_keys() {
            holders.entry(group).or_default().insert(id);
        }
    }
    holders
}

/// Two nodes without which exactly one group, other than that of the map, has no majority; and that group.
fn faulty_nodes(holders: &BTreeMap<u32, BTreeSet<usize>>) -> ([usize; 2], u32) {
    for one in 1..=5 {
        for other in one + 1..=5 {
            let has_lost = |nodes: &BTreeSet<usize>| {
                let left = nodes.iter().filter(|node| ![one, other].contains(node)).count();
                2 * left <= nodes.len()
            };
            let lost: Vec<u32> =
                holders.iter().filter(|(_, nodes)| has_lost(nodes)).map(|(group, _)| *group).collect();
            if let [group] = lost[..] {
                return ([one, other], group);
            }
        }
    }
    panic!("no two nodes share exactly one group: {holders:?}");
}

/// How long commands took, in the order in which they came.
#[derive(Default)]
struct Latencies(Vec<Duration>);

impl Latencies {
    fn measure(&mut self, ask: impl FnOnce() -> Reply) {
        let begin = Instant::now();
        let reply = ask();
        assert!(reply.error().is_none(), "{}", reply.text());
        self.0.push(begin.elapsed());
    }

    fn worst(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// That of which this share took less.
    fn at(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort();
        sorted.get((sorted.len() as f64 * share) as usize).copied().unwrap_or_default()
    }

    fn show(&self, what: &str) {
        let per_second = self.0.len() as f64 / PHASE.as_secs_f64();
        let (p50, p99, worst) = (self.at(0.5), self.at(0.99), self.worst());
        println!("  {what}: {per_second:.0}/s, p50 {p50:?}, p99 {p99:?}, worst {worst:?}");
    }
}

/// What clients of the other groups see, by command.
struct Seen(BTreeMap<&'static str, Latencies>);

impl Seen {
    /// Asks through each of these nodes for a while, each command over a connection of its own.
    fn of(nodes: &[Node], keys: &[usize], name: &str) -> Seen {
        let ask = |command: &'static str, node: &Node| {
            let mut client = Client::connect(&node.host, node.gateway).unwrap();
            let (mut latencies, begin, mut round) = (Latencies::default(), Instant::now(), 0);
            while begin.elapsed() < PHASE {
                round += 1;
                let key = keys[round % keys.len()];
                latencies.measure(|| match command {
                    "GET" => client.command(&format!("GET key:{key}")),
                    "SET" => client.command(&format!("SET key:{key} {round}")),
                    other => client.command(other),
                });
                // Enough to notice a stall, and not a load that makes one.
                std::thread::sleep(Duration::from_micros(500));
            }
            (command, latencies)
        };
        let mut seen: BTreeMap<&'static str, Latencies> = BTreeMap::new();
        std::thread::scope(|scope| {
            let commands = ["GET", "SET", "PING", "INFO"];
            let asking: Vec<_> = commands
                .into_iter()
                .flat_map(|command| nodes.iter().map(move |node| (command, node)))
                .map(|(command, node)| scope.spawn(move || ask(command, node)))
                .collect();
            for asked in asking {
                let (command, latencies) = asked.join().expect("no command to another group fails");
                seen.entry(command).or_default().0.extend(latencies.0);
            }
        });
        println!("{name}:");
        seen.iter().for_each(|(command, latencies)| latencies.show(command));
        Seen(seen)
    }
}

/// A client of a group that cannot commit: it sends more than the group takes, hears that nothing was done, and tries again.
/// Returns how often it heard which error.
fn insist(node: &Node, key: usize, value: &str, stop: &AtomicBool) -> BTreeMap<String, usize> {
    let mut requests = Vec::new();
    (0..PIPELINE).for_each(|_| encode(&[b"SET", format!("key:{key}").as_bytes(), value.as_bytes()], &mut requests));
    let mut errors = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Client::connect(&node.host, node.gateway) else { continue };
        // It may be held back while it sends, and what it did send is answered.
        let _ = client.send(&requests);
        for _ in 0..PIPELINE {
            let Ok(reply) = client.reply() else { break };
            let error = reply.error().unwrap_or_else(|| panic!("a group without a majority says {reply:?}"));
            let kind = error.split(' ').next().unwrap_or_default().to_owned();
            *errors.entry(kind).or_default() += 1;
        }
        // A client that was refused waits a little before it tries again; else it would compete for the CPU, and not for a queue.
        std::thread::sleep(Duration::from_secs(3));
    }
    errors
}

/// What clients of the other groups see while many insist on a group that cannot commit.
fn beside_insisting(alive: &[Node], of_others: &[usize], of_lost: &[usize]) -> Seen {
    let stop = AtomicBool::new(false);
    // Many small commands, or large ones: a queue may be full of either.
    let (small, large) = ("v".to_owned(), "v".repeat(4 << 10));
    std::thread::scope(|scope| {
        let mut insisting = Vec::new();
        for node in alive {
            for number in 0..CLIENTS_COUNT {
                let value = if number % 4 == 0 { &large } else { &small };
                let (key, stop) = (of_lost[number % of_lost.len()], &stop);
                insisting.push(scope.spawn(move || insist(node, key, value, stop)));
            }
        }
        std::thread::sleep(Duration::from_millis(500));
        let seen = std::panic::catch_unwind(|| Seen::of(alive, of_others, "beside clients of the lost group"));
        stop.store(true, Ordering::Relaxed);
        let mut errors: BTreeMap<String, usize> = BTreeMap::new();
        for heard in insisting {
            heard.join().unwrap().into_iter().for_each(|(kind, count)| *errors.entry(kind).or_default() += count);
        }
        println!("clients of the lost group heard: {errors:?}");
        assert!(!errors.is_empty(), "clients of the lost group are told nothing");
        seen.unwrap_or_else(|_| panic!("clients of the other groups are served no more"))
    })
}

#[test]
fn a_group_without_a_majority_stops_no_other() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { nodes: 5, groups: GROUPS, ..Options::default() });
    let (faulty_nodes, lost) = faulty_nodes(&holders(&cluster));
    let mut client = cluster.gateway(1);
    let (mut of_others, mut of_lost) = (Vec::new(), Vec::new());
    for key in 0..KEYS_COUNT {
        assert_eq!(client.command(&format!("SET key:{key} value")), ok());
        let group = replicas::group_of(&mut client, &format!("key:{key}"), GROUPS);
        if group == lost { of_lost.push(key) } else { of_others.push(key) }
    }
    assert!(!of_lost.is_empty() && !of_others.is_empty(), "every group has keys");
    let nodes = cluster.nodes().into_iter();
    let alive: Vec<Node> = nodes.filter(|node| !faulty_nodes.contains(&(node.id as usize))).collect();
    faulty_nodes.iter().for_each(|id| cluster.kill(*id));
    println!("nodes {faulty_nodes:?} are gone, and with them the majority of group {lost}");
    for node in &alive {
        wait_until("the other groups have leaders again", Duration::from_secs(20), || {
            let mut client = Client::connect(&node.host, node.gateway).unwrap();
            of_others.iter().all(|key| client.command(&format!("SET key:{key} value")).error().is_none())
        });
    }
    let before = Seen::of(&alive, &of_others, "before");
    let during = beside_insisting(&alive, &of_others, &of_lost);
    for (command, latencies) in &during.0 {
        let before = &before.0[command];
        let (worst, bound) = (latencies.worst(), before.worst() + STALL_MAX);
        assert!(worst <= bound, "{command} took {worst:?}; before, {:?} at worst", before.worst());
    }
}

/// `O_NONBLOCK` on Linux.
const NONBLOCK: i32 = 0o4000;

#[test]
fn a_log_that_nobody_reads_stops_nobody() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let port = ports::free(1, 1);
    let (reader, writer) = std::io::pipe().unwrap();
    // Opened anew, so that only the test's own writes do not wait.
    let pipe = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let mut filler = OpenOptions::new().write(true).custom_flags(NONBLOCK).open(pipe).unwrap();
    let mut node = process::bound(binary())
        .args(["server", "--cluster-id", "test", "--node-id", "1", "--gateway-port", &port.to_string()])
        .args(["--maxclients", "1000"])
        .arg("--data-dir")
        .arg(dir.path().join("data"))
        .stderr(writer)
        .spawn()
        .unwrap();
    let connect = |port| Client::connect("127.0.0.1", port);
    wait_until("the node answers", Duration::from_secs(20), || {
        connect(port).and_then(|mut client| client.ask(&[b"SET", b"k", b"v"])).is_ok_and(|reply| reply == ok())
    });
    while filler.write(&[b'\n'; 512]).is_ok() || filler.write(b"\n").is_ok() {}
    // Each of these is told in the log: somebody who is no node connects to the port for nodes.
    let strangers: Vec<Client> = (0..200)
        .map(|_| {
            let mut stranger = connect(port + 1_000).unwrap();
            let _ = stranger.send(&[b'x'; 4_096]);
            stranger
        })
        .collect();
    let begin = Instant::now();
    let (mut worst, mut count) = (Duration::ZERO, 0);
    while begin.elapsed() < Duration::from_secs(5) {
        let asked = Instant::now();
        let mut client = connect(port).unwrap();
        client.set_wait(Duration::from_secs(2));
        let told = client.ask(&[b"SET", b"k", b"v"]);
        assert_eq!(told.ok(), Some(ok()), "a node that cannot write its log answers no more, after {count} commands");
        worst = worst.max(asked.elapsed());
        count += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("with a log that nobody reads: {count} writes, the slowest {worst:?}");
    assert!(worst < Duration::from_secs(1), "{worst:?}");
    drop(strangers);
    // It also stops as it should, though nobody hears that it does.
    process::signal(node.id(), rustix::process::Signal::TERM);
    let status = process::wait(&mut node, Duration::from_secs(15));
    assert!(status.is_some_and(|status| status.success()), "it does not stop: {status:?}");
    drop(reader);
}
