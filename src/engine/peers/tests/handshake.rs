//! Who is let in, and what comes before the first frame.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::*;
use crate::config::RememberPeer;

/// Says something else in a hello, with the checksum that belongs to it.
fn hello_with_version(hello: Hello, version: u16) -> Vec<u8> {
    let mut bytes = hello.encode().to_vec();
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    let checksum = crc32fast::hash(&bytes[..60]);
    bytes[60..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The connections of others that are closed at a tick.
fn closed_at_tick(world: &mut World) -> Vec<ConnId> {
    world.tick();
    let closed = |call| match call {
        NetCall::Close(conn) if conn.idx >= incoming(0).idx => Some(conn),
        _ => None,
    };
    world.net.take_calls().into_iter().filter_map(closed).collect()
}

#[test]
fn frames_behind_an_accepted_hello_are_taken_in_however_they_are_cut() {
    for step in [1, 7, 64, 65, 1_000] {
        let mut world = World::new(|_| {});
        let bytes = [&world.hello(OTHER).encode()[..], &frame(1), &frame(2)].concat();
        world.peers.accept(&world.ctx, incoming(0), SocketAddr::from(([127, 0, 0, 2], 9)));
        let frames: Vec<_> = bytes.chunks(step).flat_map(|run| world.receive(incoming(0), run)).collect();
        let link = world.link(OTHER);
        assert_eq!(frames, [(link, 1), (link, 2)], "in steps of {step}");
        assert_eq!(world.verdict(incoming(0)), Some(Verdict::Accepted));
        assert_eq!(world.peers.take_events(), [PeerEvent::Changed(link)], "it is heard now");
        assert_eq!((world.ctx.counters.frames_received, world.used(), world.take_closed()), (2, 0, vec![]));
    }
}

#[test]
fn each_reason_to_refuse_a_core_has_its_verdict() {
    let mut world = World::new(|config| config.known_peers = vec![(NodeId(2), 72)]);
    let good = world.hello(OTHER);
    let nobody = CoreAddr { node: NodeId(9), core: types::CoreId(0) };
    let no_core = CoreAddr { node: NodeId(2), core: types::CoreId(2) };
    let cases = [
        (good, Verdict::Accepted),
        (Hello { cluster_id: [9; 16], ..good }, Verdict::OtherCluster),
        (Hello { to: NEIGHBOUR, ..good }, Verdict::OtherPlace),
        (Hello { from: nobody, ..good }, Verdict::Unknown),
        (Hello { from: no_core, ..good }, Verdict::Unknown),
        (Hello { from: NEIGHBOUR, ..good }, Verdict::Unknown),
        (Hello { from: ME, ..good }, Verdict::Unknown),
        (Hello { map: [9; 12], ..good }, Verdict::OtherMap),
        (Hello { incarnation: 73, ..good }, Verdict::OtherIncarnation),
        (Hello { cluster_id: [9; 16], to: NEIGHBOUR, map: [9; 12], ..good }, Verdict::OtherCluster),
    ];
    for (idx, (hello, verdict)) in cases.into_iter().enumerate() {
        assert_eq!(world.introduce(incoming(idx as u32), &hello.encode()), Some(verdict), "{hello:?}");
    }
    assert_eq!(world.introduce(incoming(20), &hello_with_version(good, 1)), Some(Verdict::OtherVersion));
    assert_eq!((world.ctx.counters.peers_refused, world.take_closed()), (10, vec![]));
    let mut damaged = good.encode();
    damaged[33] ^= 1;
    for (idx, bytes) in [&damaged[..], &[b'x'; 64]].into_iter().enumerate() {
        let conn = incoming(30 + idx as u32);
        assert_eq!((world.introduce(conn, bytes), world.take_closed()), (None, vec![conn]), "no core at all");
    }
    assert_eq!(world.ctx.counters.peers_refused, 12);
}

#[test]
fn bytes_behind_a_refused_hello_are_not_looked_at() {
    let mut world = World::new(|_| {});
    let refused = Hello { map: [9; 12], ..world.hello(OTHER) };
    let bytes = [&refused.encode()[..], &world.hello(OTHER).encode(), &frame(1)].concat();
    assert_eq!(world.introduce(incoming(0), &bytes), Some(Verdict::OtherMap));
    assert_eq!(world.receive(incoming(0), &frame(2)), []);
    assert_eq!(world.receive(incoming(0), &world.hello(OTHER).encode()), []);
    assert_eq!((world.verdict(incoming(0)), world.used()), (None, 0));
    assert_eq!((world.ctx.counters.frames_received, world.ctx.counters.frames_refused), (0, 0));
    world.ctx.now += Duration::from_secs(2);
    assert_eq!(closed_at_tick(&mut world), [incoming(0)], "it does not stay for ever");
}

#[test]
fn the_first_data_directory_of_a_node_counts() {
    let mut world = World::new(|_| {});
    assert_eq!(world.introduce(incoming(0), &world.hello(OTHER).encode()), Some(Verdict::Accepted));
    let other_core = CoreAddr { core: types::CoreId(1), ..OTHER };
    let emptied = Hello { incarnation: 99, ..world.hello(other_core) };
    assert_eq!(world.introduce(incoming(1), &emptied.encode()), Some(Verdict::OtherIncarnation));
    world.admit(NodeId(2), 99);
    assert_eq!(world.introduce(incoming(2), &emptied.encode()), Some(Verdict::OtherIncarnation));
    assert_eq!(world.introduce(incoming(3), &world.hello(other_core).encode()), Some(Verdict::Accepted));
    let third = CoreAddr { node: NodeId(3), ..OTHER };
    assert_eq!(world.introduce(incoming(4), &world.hello(third).encode()), Some(Verdict::Accepted), "another node");
}

/// Nodes that somebody was asked to remember, with their incarnations.
type Remembered = Arc<Mutex<Vec<(NodeId, u64)>>>;

/// A world in which nodes that are seen for the first time are remembered by somebody else, and whom it was told.
fn remembering_world() -> (World, Remembered) {
    let remembered = Remembered::default();
    let asked = Arc::clone(&remembered);
    let world = World::new(|config| {
        config.remember_peer = Some(RememberPeer::new(move |node, seen| asked.lock().unwrap().push((node, seen))));
    });
    (world, remembered)
}

#[test]
fn a_node_is_let_in_once_it_is_remembered_durably() {
    let (mut world, remembered) = remembering_world();
    let (hello, other_node) = (world.hello(OTHER).encode(), CoreAddr { node: NodeId(3), ..OTHER });
    assert_eq!(world.introduce(incoming(0), &hello), None);
    assert_eq!(world.introduce(incoming(1), &world.hello(other_node).encode()), None);
    assert_eq!(*remembered.lock().unwrap(), [(NodeId(2), 72), (NodeId(3), 73)]);
    world.admit(NodeId(2), 72);
    assert_eq!((world.verdict(incoming(0)), world.verdict(incoming(1))), (Some(Verdict::Accepted), None));
    assert_eq!(world.receive(incoming(0), &frame(1)), [(world.link(OTHER), 1)]);
    world.admit(NodeId(3), 99);
    assert_eq!(world.verdict(incoming(1)), Some(Verdict::OtherIncarnation), "it was known with another directory");
    assert_eq!(world.take_closed(), []);
}

#[test]
fn who_waits_to_be_let_in_waits_a_moment_and_says_nothing() {
    let (mut world, _) = remembering_world();
    let hello = world.hello(OTHER).encode();
    assert_eq!(world.introduce(incoming(0), &hello), None);
    world.ctx.now += Duration::from_millis(299);
    assert_eq!(closed_at_tick(&mut world), []);
    world.ctx.now += Duration::from_millis(1);
    assert_eq!(closed_at_tick(&mut world), [incoming(0)]);
    world.peers.closed(&world.ctx, incoming(0), None);
    assert_eq!(world.ctx.counters.peers_refused, 0, "it comes again");
    assert_eq!(world.introduce(incoming(1), &hello), None);
    assert_eq!(world.receive(incoming(1), &frame(1)), []);
    assert_eq!(world.take_closed(), [incoming(1)]);
    assert_eq!(world.introduce(incoming(2), &[&hello[..], &frame(1)].concat()), None);
    assert_eq!(world.take_closed(), [incoming(2)]);
}

#[test]
fn a_core_that_greets_is_connected_to_at_once() {
    let (mut world, _) = remembering_world();
    let link = world.link(OTHER);
    let conn = world.connect(link);
    world.peers.closed(&world.ctx, conn, None);
    let connects = |world: &mut World| {
        let calls = world.net.take_calls();
        calls.iter().filter(|call| matches!(call, NetCall::Connect(..))).count()
    };
    connects(&mut world);
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    assert_eq!(connects(&mut world), 0, "it is not let in yet");
    world.admit(NodeId(2), 72);
    assert_eq!(connects(&mut world), 1, "sooner than the next attempt is due");
    world.introduce(incoming(1), &world.hello(OTHER).encode());
    assert_eq!(connects(&mut world), 0, "a connection is under way");
}

#[test]
fn a_second_connection_of_a_core_replaces_the_first() {
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    world.up(link);
    let hello = world.hello(OTHER).encode();
    world.introduce(incoming(0), &hello);
    assert_eq!(world.peers.take_events(), []);
    assert_eq!(world.receive(incoming(0), &frame(1)), [(link, 1)]);
    assert_eq!(world.peers.take_events(), [PeerEvent::Changed(link)]);
    assert!(world.peers.takes_commands(link));
    assert_eq!(world.introduce(incoming(1), &hello), Some(Verdict::Accepted));
    assert_eq!(world.take_closed(), [incoming(0)]);
    assert_eq!(world.peers.take_events(), [PeerEvent::AnswersLost(link)]);
    assert!(!world.peers.takes_commands(link), "not before it is heard over the new one");
    assert_eq!(world.receive(incoming(0), &frame(2)), [], "what the first still brings is too late");
    world.peers.closed(&world.ctx, incoming(0), None);
    assert_eq!(world.peers.take_events(), [], "nothing is lost with it");
    assert_eq!(world.receive(incoming(1), &frame(3)), [(link, 3)]);
    assert!(world.peers.takes_commands(link));
    world.peers.take_events();
    world.peers.closed(&world.ctx, incoming(1), None);
    assert_eq!(world.peers.take_events(), [PeerEvent::AnswersLost(link)]);
    assert!(!world.peers.takes_commands(link) && world.peers.is_up(link));
}

#[test]
fn a_wrong_frame_ends_its_connection_and_counts() {
    for at in [0, 30] {
        let mut world = World::new(|_| {});
        world.introduce(incoming(0), &world.hello(OTHER).encode());
        let mut damaged = frame(2);
        damaged[at] ^= 1;
        let (before, behind) = (frame(1), frame(3));
        let link = world.link(OTHER);
        assert_eq!(world.receive(incoming(0), &[before, damaged, behind].concat()), [(link, 1)]);
        assert_eq!(world.take_closed(), [incoming(0)]);
        assert_eq!((world.ctx.counters.frames_refused, world.ctx.counters.frames_received), (1, 1));
        world.peers.closed(&world.ctx, incoming(0), None);
        assert_eq!(world.used(), 0);
    }
}

#[test]
fn half_a_frame_is_held_with_a_permit_and_given_back() {
    let mut world = World::new(|_| {});
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    let long = encode(Frame { messages: vec![append(1, 100_000)], ..Frame::default() });
    assert_eq!(world.receive(incoming(0), &long[..50_000]), []);
    assert!(world.used() >= 100_000);
    assert_eq!(world.receive(incoming(0), &long[50_000..]).len(), 1);
    assert_eq!(world.used(), 0);
    world.receive(incoming(0), &long[..50_000]);
    world.peers.receive_ended(&world.net, incoming(0));
    assert_eq!(world.take_closed(), [incoming(0)]);
    world.peers.closed(&world.ctx, incoming(0), None);
    assert_eq!(world.used(), 0);
    world.peers.receive_ended(&world.net, incoming(0));
    assert_eq!(world.take_closed(), [], "it is gone");
}

#[test]
fn a_connection_that_does_not_introduce_itself_is_closed_in_time() {
    let mut world = World::new(|_| {});
    world.introduce(incoming(0), &world.hello(OTHER).encode());
    world.introduce(incoming(1), &world.hello(OTHER).encode()[..63]);
    world.ctx.now += Duration::from_millis(1_999);
    assert_eq!(closed_at_tick(&mut world), []);
    world.ctx.now += Duration::from_millis(1);
    assert_eq!(closed_at_tick(&mut world), [incoming(1)]);
}

#[test]
fn a_link_is_up_with_the_verdict_and_anything_else_ends_it() {
    let verdict = Verdict::Accepted.encode();
    let mut damaged = verdict;
    damaged[0] ^= 1;
    let answers = [&Verdict::Unknown.encode()[..], &damaged, &[&verdict[..], b"x"].concat()].map(<[u8]>::to_vec);
    for answer in answers {
        let mut world = World::new(|_| {});
        let link = world.link(OTHER);
        let conn = world.connect(link);
        world.peers.connected(&world.net, conn);
        assert_eq!(world.receive(conn, &answer), []);
        assert_eq!((world.take_closed(), world.peers.is_up(link)), (vec![conn], false), "{answer:?}");
        assert_eq!(world.peers.take_events(), []);
    }
    let mut world = World::new(|_| {});
    let link = world.link(OTHER);
    let conn = world.connect(link);
    world.peers.connected(&world.net, conn);
    let Some(SendBuf::Plain(hello)) = world.net.take_send(conn) else { panic!("a hello is one run of bytes") };
    let hello = Hello::decode(hello[..].try_into().unwrap()).unwrap();
    assert_eq!((hello.from, hello.to, hello.incarnation), (ME, OTHER, 1));
    verdict.chunks(3).for_each(|run| assert_eq!(world.receive(conn, run), []));
    assert_eq!(world.peers.take_events(), [PeerEvent::Up(link), PeerEvent::Changed(link)]);
    world.peers.message(&mut world.ctx, link, message(1));
    world.flush();
    assert_eq!(world.net.sends_count(), 0, "the hello is still on its way");
    world.receive(conn, b"x");
    assert_eq!(world.take_closed(), [conn], "nothing else comes back");
}
