//! A whole core whose cluster a node joins and leaves, as clients ask for it.

use meta::ClusterMap;
use wire::MapNote;

use super::*;
use crate::limits::peer_conns_count_max;

/// The listener that other nodes connect to.
const PEERS: ListenerId = ListenerId(0);
const CLIENT: ConnId = ConnId { idx: 0, generation: 0 };
const OF_NODE: &str = "127.0.0.2 7000 7001 8001 9000 1";

/// Sends a command, lets two seconds pass, and returns the answer.
fn ask(world: &mut World, command: &str) -> String {
    world.send(CLIENT, &format!("{command}\r\n"));
    for _ in 0..80 {
        world.host.disk.advance(Duration::from_millis(25));
        world.turn();
    }
    world.host.take_sent(CLIENT)
}

fn token(world: &mut World) -> String {
    let answer = ask(world, "CORACLE TOKEN");
    assert!(answer.starts_with("$32\r\n"), "{answer}");
    answer[5..37].to_owned()
}

fn join(world: &mut World, token: &str, incarnation: u64, name: u8) -> String {
    ask(world, &format!("CORACLE JOIN {token} {incarnation:x} {name:024} {OF_NODE}"))
}

#[test]
fn a_node_joins_and_is_removed_while_the_core_runs() {
    let mut world = World::new(1, 2, |_| {});
    world.connect(1);
    let first = ClusterMap::clone(world.core.cluster.map());
    assert!(ask(&mut world, "CORACLE REMOVE 2").starts_with("-ERR there is no such node"));
    assert!(ask(&mut world, "CORACLE REMOVE 1").starts_with("-ERR node 1 holds replicas of 3 groups (0, 1, 2)"));
    let token = token(&mut world);
    assert_eq!(world.core.cluster.map().invitations.len(), 1);
    assert!(
        join(&mut world, &token, 5, 1).starts_with("-REFUSED the node is configured for a cluster of another name")
    );
    assert_eq!(join(&mut world, &token, 5, 0), "+WAIT\r\n", "the map is to change");
    for _ in 0..2 {
        assert!(join(&mut world, &token, 5, 0).starts_with("*3\r\n:2\r\n$"), "and has");
    }
    assert!(join(&mut world, &token, 6, 0).starts_with("-REFUSED the token was used"));
    assert_eq!((world.core.peers.counts(), world.core.cluster.map().nodes.len()), ((1, 0), 2));
    assert_eq!(world.host.limit_of(PEERS), Some(peer_conns_count_max(1)));
    let nodes = ask(&mut world, "CLUSTER NODES");
    let newcomer = nodes.lines().find(|line| line.contains("127.0.0.2:7001")).expect("it is shown");
    assert!(newcomer.ends_with("disconnected"), "without slots: {newcomer}");

    assert!(ask(&mut world, "CORACLE REMOVE 2").starts_with("+OK"));
    let map = ClusterMap::clone(world.core.cluster.map());
    assert!(map.is_removed(NodeId(2)) && map.nodes == first.nodes && map.next_node == NodeId(3), "{map:?}");
    assert_eq!(world.core.peers.counts(), (0, 0));
    assert_eq!(world.host.limit_of(PEERS), Some(peer_conns_count_max(0)));
    assert!(!ask(&mut world, "CLUSTER NODES").contains("127.0.0.2"));
    assert!(ask(&mut world, "CORACLE REMOVE 2").starts_with("-ERR there is no such node"));
}

#[test]
fn a_core_ends_once_the_map_does_not_name_its_node() {
    let mut world = World::new(2, 2, |_| {});
    let mut later = ClusterMap::clone(world.core.cluster.map());
    let place = CoreAddr { node: NodeId(2), core: CoreId(0) };
    let other = meta::Node { id: NodeId(2), host: [127, 0, 0, 2].into(), ..later.nodes[0].clone() };
    (later.nodes, later.next_node) = (vec![other], NodeId(3));
    later.groups.iter_mut().flat_map(|group| &mut group.replicas).for_each(|replica| replica.place = place);
    later.removed = vec![meta::RemovedNode(NodeId(1))];
    later.epoch += 1;
    let note = MapNote { epoch: later.epoch, is_wanted: false, map: later.to_bytes().into() };
    world.send_frame(1, Frame { map: note, ..Frame::default() });
    world.host.disk.advance(Duration::from_secs(2));
    let error = (0..10).find_map(|_| world.core.turn().err()).expect("it ends");
    assert!(matches!(error, Error::Removed { node: NodeId(1) }), "{error}");
}

/// Each is asked for until group 0 has agreed on it, which may take long.
#[test]
fn no_more_tokens_are_handed_out_than_the_map_holds() {
    let mut world = World::new(1, 2, |_| {});
    world.connect(1);
    let answers = ask(&mut world, &"CORACLE TOKEN\r\n".repeat(meta::INVITATIONS_COUNT_MAX + 10));
    assert_eq!(answers.matches("$32\r\n").count(), meta::INVITATIONS_COUNT_MAX, "{answers}");
    assert!(answers.contains("-ERR 64 tokens are good"), "{answers}");
    assert_eq!(world.core.cluster.map().invitations.len(), meta::INVITATIONS_COUNT_MAX);
}
