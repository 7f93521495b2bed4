//! Real sockets and files: nodes of one process form a cluster, and strangers are no part of it.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::JoinHandle;

use meta::{Bootstrap, Node, Settings};
use types::NodeId;
use wire::{ANSWER_BYTES, Answer, AnswerCode, QuestionKind};

use super::*;

/// A cluster of one-core nodes on 127.0.0.1, each with its peer port; what else it would listen on is not used.
fn map(nodes_count: u16, groups_count: usize, ports: &[u16]) -> ClusterMap {
    let node = |idx: u16| Node {
        id: NodeId(u32::from(idx) + 1),
        host: [127, 0, 0, 1].into(),
        gateway_port: 1 + 3 * idx,
        core_port: 2 + 3 * idx,
        peer_port: ports[usize::from(idx)],
        admin_port: 3 + 3 * idx,
        cores: 1,
        rack: None,
    };
    let bootstrap = Bootstrap {
        cluster_id: ClusterId::from_name("test"),
        nodes: (0..nodes_count).map(node).collect(),
        groups_count,
        settings: Settings::default(),
    };
    ClusterMap::bootstrap(&bootstrap).expect("a sound map")
}

fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    listeners.iter().map(|listener| listener.local_addr().expect("it is bound").port()).collect()
}

struct Started {
    dir: tempfile::TempDir,
    stop: StopRequests,
    thread: JoinHandle<Result<Option<(Identity, ClusterId)>, Error>>,
}

fn identity(dir: &Path, map: &ClusterMap, node: u32) -> Identity {
    Identity::open(dir, map.cluster_id, Some(NodeId(node)), config_print(map).map).expect("a sound directory")
}

fn start(dir: tempfile::TempDir, map: &ClusterMap, node: u32) -> Started {
    let stop = StopRequests::default();
    let identity = identity(dir.path(), map, node);
    let (path, map, stopped) = (dir.path().to_owned(), map.clone(), stop.clone());
    let thread = std::thread::spawn(move || run(&path, &map, identity, &stopped));
    Started { dir, stop, thread }
}

fn start_new(map: &ClusterMap, node: u32) -> Started {
    start(tempfile::tempdir().expect("a temporary directory"), map, node)
}

#[test]
fn a_cluster_of_one_is_formed_at_once_and_for_ever() {
    let map = map(1, 2, &[9_000]);
    let started = start_new(&map, 1);
    let (formed, id) = started.thread.join().expect("no panic").expect("formed").expect("not stopped");
    assert_eq!(formed.stage, Stage::Formed(id));
    let again = start(started.dir, &map, 1);
    assert_eq!(again.thread.join().expect("no panic").expect("formed"), Some((formed, id)));
}

#[test]
fn three_nodes_agree_on_one_id_whatever_strangers_say() {
    let map = map(3, 2, &free_ports(3));
    let third = start_new(&map, 3);
    let addr = map.nodes[2].peer_addr(CoreId(0));
    let connect = || loop {
        if let Ok(stream) = TcpStream::connect(addr) {
            return stream;
        }
        std::thread::yield_now();
    };
    // A stranger that proposes, one that talks HTTP, one that says nothing.
    let print = config_print(&map);
    let cluster_id = Some([9; 16]);
    let (kind, from, to) = (QuestionKind::Propose, NodeId(7), NodeId(3));
    let mut stranger = connect();
    stranger.write_all(&Question { kind, from, to, config: print, cluster_id }.encode()).expect("it listens");
    let mut answer = [0; ANSWER_BYTES];
    stranger.read_exact(&mut answer).expect("an answer");
    assert_eq!(Answer::decode(&answer), Ok(Answer { from: to, code: AnswerCode::UnknownNode }));
    let mut web = connect();
    web.write_all(&b"GET / HTTP/1.1\r\nHost: somewhere\r\n\r\n".repeat(3)).expect("it listens");
    let mut rest = Vec::new();
    // Unread bytes behind what was read make the close a reset.
    let _ = web.read_to_end(&mut rest);
    assert!(rest.is_empty());
    let _silent = connect();
    // A core of a node whose cluster is formed.
    let mut core = connect();
    core.write_all(&greeting(&map)).expect("it listens");
    core.read_to_end(&mut rest).expect("a verdict");
    assert_eq!(rest, wire::Verdict::Empty.encode());

    let nodes = [start_new(&map, 2), start_new(&map, 1), third];
    let ends: Vec<_> =
        nodes.into_iter().map(|node| (node.thread.join().expect("no panic").expect("formed"), node.dir)).collect();
    let id = ends[0].0.expect("not stopped").1;
    for ((end, dir), node) in ends.iter().zip([2, 1, 3]) {
        let (formed, own_id) = end.expect("not stopped");
        assert_eq!((own_id, formed.stage), (id, Stage::Formed(id)));
        assert_eq!(identity(dir.path(), &map, node), formed, "it is durable");
    }
    TcpListener::bind(addr).expect("the port is free for the core");
}

#[test]
fn nodes_that_are_configured_otherwise_wait_and_can_be_stopped() {
    let ports = free_ports(2);
    let (one, other) = (map(2, 2, &ports), map(2, 3, &ports));
    let nodes = [start_new(&one, 1), start_new(&other, 2)];
    std::thread::sleep(Duration::from_millis(300));
    for node in nodes {
        assert!(!node.thread.is_finished(), "it waits");
        node.stop.add();
        assert_eq!(node.thread.join().expect("no panic").expect("no error"), None);
        let names = std::fs::read_dir(node.dir.path()).expect("readable").count();
        assert_eq!(names, 0, "nothing was agreed");
    }
}

#[test]
fn a_node_that_crashed_in_the_middle_goes_on_where_it_was() {
    let map = map(3, 2, &free_ports(3));
    let dirs = [1, 2, 3].map(|_| tempfile::tempdir().expect("a temporary directory"));
    // The coordinator has drawn an id and told node 2; then all of them ended.
    let id = ClusterId(77);
    for (node, dir) in [(1, &dirs[0]), (2, &dirs[1])] {
        identity(dir.path(), &map, node).store(dir.path(), Stage::Forming(id)).expect("written");
    }
    let nodes: Vec<_> = dirs.into_iter().zip(1..).map(|(dir, node)| start(dir, &map, node)).collect();
    for node in nodes {
        let (formed, formed_id) = node.thread.join().expect("no panic").expect("formed").expect("not stopped");
        assert_eq!((formed.stage, formed_id), (Stage::Formed(id), id));
    }
}

#[test]
fn a_coordinator_that_was_emptied_in_the_middle_does_not_begin_anew() {
    let map = map(2, 2, &free_ports(2));
    let dir = tempfile::tempdir().expect("a temporary directory");
    identity(dir.path(), &map, 2).store(dir.path(), Stage::Forming(ClusterId(77))).expect("written");
    let second = start(dir, &map, 2);
    let first = start_new(&map, 1);
    let error = first.thread.join().expect("no panic").expect_err("it must not draw another id").to_string();
    assert!(error.contains("node 2 at 127.0.0.1") && error.contains("was lost meanwhile"), "{error}");
    assert_eq!(std::fs::read_dir(first.dir.path()).expect("readable").count(), 0);
    second.stop.add();
    assert_eq!(second.thread.join().expect("no panic").expect("no error"), None);
    assert_eq!(identity(second.dir.path(), &map, 2).stage, Stage::Forming(ClusterId(77)));
}

fn greeting(map: &ClusterMap) -> [u8; wire::HELLO_BYTES] {
    let core = |node: u32| types::CoreAddr { node: NodeId(node), core: CoreId(0) };
    let cluster_id = [3; 16];
    wire::Hello { cluster_id, from: core(1), to: core(3), incarnation: 1, map: config_print(map).map }.encode()
}
