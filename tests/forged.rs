//! A peer that has got in and then misbehaves: it knows the cluster's id and map, a node's number and the incarnation
//! of its directory, and what it sends is nonsense. Its frames are dropped and counted, its connection is closed, and
//! the cluster does not feel it.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use coracle_tests::client::{bulk, ok};
use coracle_tests::replicas::Replica;
use coracle_tests::{Client, Cluster, Node, Options, alone, binary, process, replicas, wait_until};
use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId};
use wire::{
    Body, Entry, EntryKind, Frame, HELLO_BYTES, Hello, LeaderNote, Message, RequestHead, RequestsBuilder, Verdict,
};

const LIMIT: Duration = Duration::from_secs(120);
const WITHIN: Duration = Duration::from_secs(30);
const KEYS_COUNT: usize = 64;
/// The groups of the keys and the one of the cluster map.
const GROUPS_COUNT: usize = 9;

/// The CRC32 that frames carry, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

/// What a node greets others with, learned by listening in the place of one that is down.
fn overhear(place: &Node) -> Hello {
    let listener = TcpListener::bind((&*place.host, place.peer)).unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = [0; HELLO_BYTES];
    stream.read_exact(&mut bytes).unwrap();
    Hello::decode(&bytes).unwrap()
}

/// A connection to a node's peer port that was let in as another node.
fn connect(to: &Node, hello: &Hello) -> Client {
    let mut client = Client::connect(&to.host, to.peer).unwrap();
    client.set_wait(Duration::from_secs(15));
    client.send(&hello.encode()).unwrap();
    let mut verdict = [0; wire::VERDICT_BYTES];
    client.socket().read_exact(&mut verdict).unwrap();
    assert_eq!(Verdict::decode(&verdict), Some(Verdict::Accepted));
    client
}

fn encoded(mut frame: Frame) -> Vec<u8> {
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    parts.concat()
}

/// A frame with any metadata and payloads, whose checksums are right.
fn sealed(metadata: &[u8], payloads: &[u8], lengths: (u32, u32)) -> Vec<u8> {
    let mut bytes = b"CRF1".to_vec();
    for word in [lengths.0, lengths.1, crc32(metadata), crc32(payloads)] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(&crc32(&bytes).to_le_bytes());
    [&bytes, metadata, payloads].concat()
}

fn message(group: u32, from: u64, body: Body) -> Frame {
    let message = Message { group: GroupId(group), from: ReplicaId(from), to: ReplicaId(1), term: 1, body };
    Frame { messages: vec![message], ..Frame::default() }
}

/// An Append of one entry whose payload is no batch.
fn append() -> Body {
    let entry = Entry { term: 1, index: 1_000_001, kind: EntryKind::Batch, payload: vec![7; 100].into() };
    Body::Append { prev_index: 1_000_000, prev_term: 1, commit: 1_000_001, entries: vec![entry] }
}

/// What no sound replica says, to those of a core: messages of a second leader of the term in which it leads, and of the
/// leader that it follows with another entry than is committed.
fn contradictions(replicas: &BTreeMap<u32, Replica>) -> Vec<Message> {
    // Whose replica has which number is not known here: most of these are for others, or of others, and dropped.
    let ids = || (1..=3 * GROUPS_COUNT as u64).map(ReplicaId);
    let mut messages = Vec::new();
    for (group, replica) in replicas {
        let group = GroupId(*group);
        let message = |from, to, body| Message { group, from, to, term: replica.term, body };
        for to in ids() {
            if replica.leads {
                let body = Body::Heartbeat { commit: 0, round: 1, quiesce: false, round_trip_us: 0 };
                messages.push(message(ReplicaId(u64::MAX), to, body));
                continue;
            }
            for from in ids().filter(|from| *from != to) {
                let entry =
                    Entry { term: 0, index: replica.applied, kind: EntryKind::Empty, payload: Vec::new().into() };
                let prev_index = replica.applied - 1;
                let body = Body::Append { prev_index, prev_term: 0, commit: replica.applied, entries: vec![entry] };
                messages.push(message(from, to, body));
            }
        }
    }
    messages
}

fn request(group: u32, command: u16, slot: u16, arguments: &[&[u8]]) -> Frame {
    let head = RequestHead { id: 1, group, arguments_count: 0, command, slot, resp3: false, resumes: true };
    let mut requests = RequestsBuilder::default();
    requests.push(head, arguments.iter().copied());
    Frame { requests: requests.finish(), ..Frame::default() }
}

/// What no frame of a node looks like.
fn broken_frames() -> Vec<(&'static str, Vec<u8>)> {
    let sound = encoded(message(1, 77, append()));
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 0x20;
        bytes
    };
    let garbage: Vec<u8> = (0..100_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let mut uncounted = request(1, 1, 1, &[b"key"]);
    uncounted.requests.heads[0].arguments_count = 1_000_000;
    let mut beyond = request(1, 1, 1, &[b"key", b"value"]);
    beyond.requests.ends[1] = u32::MAX;
    let mut backwards = request(1, 1, 1, &[b"key", b"value"]);
    backwards.requests.ends.reverse();
    vec![
        ("garbage", garbage.clone()),
        ("zeros", vec![0; 1 << 20]),
        ("a client's command", b"*1\r\n$4\r\nPING\r\n".repeat(10)),
        ("a second greeting", vec![b'C'; 64]),
        ("a header with a flipped bit", flipped(9)),
        ("metadata with a flipped bit", flipped(40)),
        ("a payload with a flipped bit", flipped(sound.len() - 1)),
        ("lengths beyond all limits", sealed(b"", b"", (u32::MAX, u32::MAX))),
        ("metadata beyond the limit", sealed(b"", b"", (1 << 30, 0))),
        ("metadata that is garbage", sealed(&garbage[..5_000], b"", (5_000, 0))),
        ("no metadata", sealed(b"", b"", (0, 0))),
        ("payloads that belong to nobody", sealed(b"", &garbage[..5_000], (0, 5_000))),
        ("more arguments than there are", encoded(uncounted)),
        ("arguments beyond the end", encoded(beyond)),
        ("arguments that end before they begin", encoded(backwards)),
    ]
}

/// What node 3, which is down, greets node 1 with.
fn forged_hello(cluster: &Cluster, third: &Node) -> Hello {
    let overheard = overhear(third);
    let identity = std::fs::read_to_string(cluster.dir().join("node-3/node.toml")).unwrap();
    let identity: toml::Table = identity.parse().unwrap();
    let incarnation = u64::from_str_radix(identity["incarnation"].as_str().unwrap(), 16).unwrap();
    Hello { from: place(3), to: place(1), incarnation, ..overheard }
}

fn place(node: u32) -> CoreAddr {
    CoreAddr { node: NodeId(node), core: CoreId(0) }
}

fn set_all(client: &mut Client, value: &str) -> bool {
    (0..KEYS_COUNT).all(|key| client.command(&format!("SET key:{key} {value}")) == ok())
}

fn holds_all(client: &mut Client, value: &str) -> bool {
    (0..KEYS_COUNT).all(|key| client.command(&format!("GET key:{key}")) == bulk(value))
}

/// Frames that nobody can read: each is counted, and its connection is closed.
fn send_broken_frames(core: &mut Client, to: &Node, hello: &Hello) {
    for (what, bytes) in broken_frames() {
        let refused = core.info("frames_refused");
        let mut forger = connect(to, hello);
        // It may be closed before all is sent.
        let _ = forger.send(&bytes);
        let rest = forger.rest().unwrap_or_else(|error| panic!("{what}: not closed: {error}"));
        assert!(rest.is_empty(), "{what}: answered");
        assert_eq!(core.info("frames_refused"), refused + 1, "{what}");
    }
}

/// Sound frames about what is not there, or cannot be: they are dropped; the connection lives.
fn send_lies(core: &mut Client, forger: &mut Client) {
    let misdirected = core.info("messages_misdirected");
    forger.send(&encoded(message(12_345, 77, append()))).unwrap();
    wait_until("a message for no group here is counted", WITHIN, || core.info("messages_misdirected") > misdirected);
    for body in [append(), Body::TimeoutNow, Body::HeartbeatReply { round: u64::MAX, priority: u8::MAX }] {
        forger.send(&encoded(message(1, u64::MAX, body))).unwrap();
    }
    let replicas = replicas::of_core(core);
    let led_count = replicas.values().filter(|replica| replica.leads).count() as u64;
    assert!(
        (1..replicas.len() as u64).contains(&led_count),
        "it leads some groups and follows in others: {replicas:?}"
    );
    forger.send(&encoded(Frame { messages: contradictions(&replicas), ..Frame::default() })).unwrap();
    wait_until("contradictions are counted", WITHIN, || {
        core.info("raft_rival_leaders") >= led_count
            && core.info("raft_appends_contradicting") >= replicas.len() as u64 - led_count
    });
    let note = LeaderNote { group: GroupId(12_345), term: 9, place: place(99) };
    forger.send(&encoded(Frame { leaders: vec![note], ..Frame::default() })).unwrap();
    forger.send(&encoded(request(1, u16::MAX, 1, &[b"key"]))).unwrap();
    forger.send(&encoded(request(12_345, 1, u16::MAX, &[b"key"]))).unwrap();
}

/// Every command with arguments that no parser would have let through. Some of these are commands like any other.
fn send_wrong_commands(forger: &mut Client) {
    let wrong: [&[&[u8]]; 4] = [&[], &[b""], &[b"k", b""], &[b"k", b"NX", b"XX", b"EX"]];
    for group in 1..GROUPS_COUNT as u32 {
        for command in 0..200 {
            for arguments in wrong {
                forger.send(&encoded(request(group, command, 16_383, arguments))).unwrap();
            }
        }
    }
}

/// The true node 3 comes back while the forger still holds its connection.
fn bring_back_the_third(cluster: &Cluster, forger: &mut Client) {
    let mut command = process::bound(binary());
    command.arg("server").arg("--config").arg(cluster.dir().join("node-3.toml"));
    let log = std::fs::File::create(cluster.dir().join("node-3-again.log")).unwrap();
    let mut third = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
    cluster.wait_healthy(3, WITHIN);
    replicas::wait_equal(cluster, &[1, 2, 3], GROUPS_COUNT, WITHIN);
    assert!(forger.rest().unwrap().is_empty(), "its place belongs to the true node again");
    assert!(holds_all(&mut cluster.gateway(3), "after"));
    third.kill().unwrap();
    third.wait().unwrap();
}

#[test]
fn a_peer_that_sends_nonsense_is_cut_off_and_not_felt() {
    let _alone = alone(LIMIT);
    let cluster = Cluster::start(Options { set: vec!["segment_bytes=33554432".to_owned()], ..Options::default() });
    let nodes = cluster.nodes();
    let [one, _, three]: &[Node; 3] = nodes.as_slice().try_into().unwrap();
    let mut client = cluster.gateway(1);
    assert!(set_all(&mut client, "before"));
    cluster.kill(3);
    let hello = forged_hello(&cluster, three);
    wait_until("the others go on", WITHIN, || set_all(&mut client, "without-3"));
    let mut core = cluster.core(1, 0);
    let resident = process::resident_bytes(one.pid);

    send_broken_frames(&mut core, one, &hello);
    let mut forger = connect(one, &hello);
    send_lies(&mut core, &mut forger);
    assert!(holds_all(&mut client, "without-3"));
    send_wrong_commands(&mut forger);
    assert!(set_all(&mut client, "after"), "the node goes on");
    assert_eq!(cluster.nodes()[0].pid, one.pid);
    assert!(process::exists(one.pid));
    let grown = process::resident_bytes(one.pid).saturating_sub(resident);
    assert!(grown < 64 << 20, "memory grew by {grown} bytes");

    bring_back_the_third(&cluster, &mut forger);
}
