//! Tests of what CLUSTER answers.

use std::cell::Cell;
use std::collections::BTreeMap;

use resp::Protocol;
use types::{CoreId, GroupId, NodeId, ReplicaId};

use super::*;
use crate::observe::{LedGroup, MemberReport, MemberRole};
use crate::origin::Origin;
use crate::testing::with_request;
use crate::topology_view::{Leader, LinkView};
use types::CoreAddr;

/// Leaders and links as a test sets them.
#[derive(Default)]
struct World {
    version: u64,
    leaders: BTreeMap<GroupId, Leader>,
    links: Vec<LinkView>,
    /// When cores were last heard.
    heard: Vec<(CoreAddr, Instant)>,
    /// How often somebody asked for a leader.
    asked: Cell<usize>,
}

impl LeaderTable for World {
    fn version(&self) -> u64 {
        self.version
    }

    fn leader_of(&self, group: GroupId) -> Option<Leader> {
        self.asked.set(self.asked.get() + 1);
        self.leaders.get(&group).copied()
    }
}

impl LinkTable for World {
    fn is_connected(&self, addr: CoreAddr) -> bool {
        self.links.iter().any(|link| link.addr == addr && link.to_since_ms.is_some())
    }

    fn heard_at(&self, addr: CoreAddr) -> Option<Instant> {
        self.heard.iter().find(|(core, _)| *core == addr).map(|(_, at)| *at)
    }

    fn incarnation(&self, node: NodeId) -> Option<u64> {
        self.heard.iter().find(|(core, _)| core.node == node).map(|(core, _)| u64::from(core.node.0) << 4)
    }

    fn each_link(&self, visit: &mut dyn FnMut(LinkView)) {
        self.links.iter().for_each(|link| visit(*link));
    }
}

fn addr(node: u32, core: u16) -> CoreAddr {
    CoreAddr { node: NodeId(node), core: CoreId(core) }
}

/// Three nodes of one core, four groups of which each node leads one and node 1 also the last.
fn world() -> (Cluster, World) {
    let cluster = Cluster::new(Rc::new(Config::of_test(3, 1, 4)));
    let mut world = World::default();
    for (group, node) in [(0, 1), (1, 1), (2, 2), (3, 3), (4, 1)] {
        world.lead(group, node, true);
    }
    (cluster, world)
}

impl World {
    fn lead(&mut self, group: u32, node: u32, is_known: bool) {
        self.version += 1;
        self.leaders.insert(GroupId(group), Leader { addr: addr(node, 0), is_known });
    }
}

fn ask(cluster: &mut Cluster, world: &World, line: &str, protocol: Protocol) -> String {
    let counters = Counters { frames_sent: 11, frames_received: 12, ..Counters::default() };
    let mut bytes = Vec::new();
    let mut reply = Reply::new(&mut bytes, protocol);
    with_request(Origin::NONE, line, |request| {
        cluster.answer(request.command, request.args, world, world, &counters, &mut reply);
    });
    String::from_utf8(bytes).expect("these replies are text")
}

fn lines(cluster: &mut Cluster, world: &World, line: &str) -> Vec<String> {
    let reply = ask(cluster, world, line, Protocol::Resp2);
    reply.split(['\r', '\n']).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn nodes_show_every_core_with_the_slots_that_it_leads() {
    let (mut cluster, mut world) = world();
    let link = LinkView { addr: addr(2, 0), to_since_ms: Some(1), from_since_ms: None, send_bytes: 0 };
    world.links.push(link);
    let ids = [1, 2, 3].map(|node| cluster.config.map.id40(addr(node, 0)).as_str().to_owned());
    let text = lines(&mut cluster, &world, "CLUSTER NODES");
    assert_eq!(
        text[1..],
        [
            format!("{} 127.0.0.1:7001@8001 myself,master - 0 0 1 connected 0-4095 12288-16383", ids[0]),
            format!("{} 127.0.0.2:7001@8001 master - 0 0 1 connected 4096-8191", ids[1]),
            format!("{} 127.0.0.3:7001@8001 master - 0 0 1 disconnected 8192-12287", ids[2]),
        ]
    );
}

#[test]
fn neighbouring_slots_of_one_leader_are_one_range() {
    let (mut cluster, mut world) = world();
    for group in 1..=4 {
        world.lead(group, 2, true);
    }
    let slots = lines(&mut cluster, &world, "CLUSTER SLOTS");
    assert_eq!(slots[..4], ["*1", "*3", ":0", ":16383"]);
    let nodes = lines(&mut cluster, &world, "CLUSTER NODES");
    assert!(nodes[2].ends_with(" 0-16383") && nodes[1].ends_with(" connected"), "{nodes:?}");
}

#[test]
fn slots_and_shards_are_those_of_the_protocol() {
    let (mut cluster, world) = world();
    let id = cluster.config.map.id40(addr(2, 0)).as_str().to_owned();
    let slots = ask(&mut cluster, &world, "CLUSTER SLOTS", Protocol::Resp2);
    let of_two = format!("*3\r\n:4096\r\n:8191\r\n*4\r\n$9\r\n127.0.0.2\r\n:7001\r\n$40\r\n{id}\r\n*0\r\n");
    assert!(slots.starts_with("*4\r\n") && slots.contains(&of_two), "{slots}");
    let slots = ask(&mut cluster, &world, "CLUSTER SLOTS", Protocol::Resp3);
    assert!(slots.contains(&of_two.replace("*0", "%0")), "{slots}");
    let shards = ask(&mut cluster, &world, "CLUSTER SHARDS", Protocol::Resp3);
    let of_two = format!(
        "%2\r\n$5\r\nslots\r\n*2\r\n:4096\r\n:8191\r\n$5\r\nnodes\r\n*1\r\n%7\r\n$2\r\nid\r\n$40\r\n{id}\r\n"
    );
    assert!(shards.starts_with("*3\r\n") && shards.contains(&of_two), "{shards}");
}

#[test]
fn replies_are_made_once_per_change_of_a_leader() {
    let (mut cluster, mut world) = world();
    let before = ask(&mut cluster, &world, "CLUSTER SLOTS", Protocol::Resp2);
    let asked = world.asked.get();
    for line in ["CLUSTER SLOTS", "CLUSTER SHARDS", "CLUSTER NODES", "CLUSTER INFO"] {
        ask(&mut cluster, &world, line, Protocol::Resp2);
    }
    assert_eq!(ask(&mut cluster, &world, "CLUSTER SLOTS", Protocol::Resp2), before);
    assert_eq!(world.asked.get(), asked, "nothing has changed");
    world.lead(2, 3, true);
    assert_ne!(ask(&mut cluster, &world, "CLUSTER SLOTS", Protocol::Resp2), before);
    assert!(world.asked.get() > asked);
}

#[test]
fn slots_without_a_leader_are_shown_where_they_were_and_info_tells_of_them() {
    let (mut cluster, mut world) = world();
    let info = lines(&mut cluster, &world, "CLUSTER INFO");
    assert_eq!(
        info[1..],
        [
            "cluster_state:ok",
            "cluster_slots_assigned:16384",
            "cluster_slots_ok:16384",
            "cluster_slots_pfail:0",
            "cluster_slots_fail:0",
            "cluster_known_nodes:3",
            "cluster_size:3",
            "cluster_current_epoch:1",
            "cluster_my_epoch:1",
            "cluster_stats_messages_sent:11",
            "cluster_stats_messages_received:12",
        ]
    );
    world.lead(2, 2, false);
    let info = lines(&mut cluster, &world, "CLUSTER INFO");
    assert_eq!(
        info[1..5],
        ["cluster_state:fail", "cluster_slots_assigned:16384", "cluster_slots_ok:12288", "cluster_slots_pfail:4096",]
    );
    assert!(lines(&mut cluster, &world, "CLUSTER NODES")[2].ends_with(" 4096-8191"));
}

#[test]
fn links_are_shown_both_ways() {
    let (mut cluster, mut world) = world();
    world.links = vec![
        LinkView { addr: addr(2, 0), to_since_ms: Some(5), from_since_ms: Some(6), send_bytes: 70 },
        LinkView { addr: addr(3, 0), to_since_ms: None, from_since_ms: Some(7), send_bytes: 80 },
    ];
    let (two, three) = (cluster.config.map.id40(addr(2, 0)), cluster.config.map.id40(addr(3, 0)));
    let entry = |direction: &str, id: &str, since: u64, events: &str, bytes: u64| {
        format!(
            "%6\r\n$9\r\ndirection\r\n${}\r\n{direction}\r\n$4\r\nnode\r\n$40\r\n{id}\r\n$11\r\ncreate-time\r\n:{since}\r\n\
             $6\r\nevents\r\n${}\r\n{events}\r\n$21\r\nsend-buffer-allocated\r\n:{bytes}\r\n$16\r\nsend-buffer-used\r\n:{bytes}\r\n",
            direction.len(),
            events.len()
        )
    };
    assert_eq!(
        ask(&mut cluster, &world, "CLUSTER LINKS", Protocol::Resp3),
        "*3\r\n".to_owned()
            + &entry("to", two.as_str(), 5, "rw", 70)
            + &entry("from", two.as_str(), 6, "r", 0)
            + &entry("from", three.as_str(), 7, "r", 0)
    );
}

#[test]
fn a_core_knows_itself_and_cores_have_no_replicas() {
    let (mut cluster, world) = world();
    let id = cluster.config.map.id40(addr(1, 0)).as_str().to_owned();
    for line in ["CLUSTER MYID", "CLUSTER MYSHARDID"] {
        assert_eq!(ask(&mut cluster, &world, line, Protocol::Resp2), format!("$40\r\n{id}\r\n"));
    }
    assert_eq!(ask(&mut cluster, &world, &format!("CLUSTER REPLICAS {id}"), Protocol::Resp2), "*0\r\n");
    assert_eq!(ask(&mut cluster, &world, "CLUSTER REPLICAS x", Protocol::Resp2), "-ERR Unknown node x\r\n");
}

#[test]
fn the_map_is_proposed_by_a_settled_leader_and_taken_in_once_it_is_agreed_on() {
    let (mut cluster, _) = world();
    assert_eq!(cluster.wants_to_propose(false, 1), None);
    assert_eq!(cluster.agreed_map(), None);
    let map = cluster.wants_to_propose(true, 1).expect("nothing is agreed on");
    cluster.map_proposed(1);
    assert_eq!(cluster.wants_to_propose(true, 1), None);
    cluster.on_state(b"").expect("a snapshot from before the agreement says nothing");
    assert_eq!(cluster.agreed_map(), None);
    cluster.on_entry(&map).expect("it is the configured one");
    assert_eq!(cluster.agreed_map().as_deref(), Some(&map[..]));
    assert_eq!(cluster.wants_to_propose(true, 2), None);
}

/// What CORACLE tells, of a cluster in which core 0 of node 2 was heard `ms` ago, and node 3 never.
fn told(ms: u64, protocol: Protocol, tell: impl FnOnce(&Cluster, &Context, &World, &mut Reply<'_>)) -> Vec<String> {
    let (cluster, mut world) = world();
    let link = LinkView { addr: addr(2, 0), to_since_ms: Some(1), from_since_ms: None, send_bytes: 0 };
    world.links.push(link);
    let now = Instant::from_nanos(60_000_000_000);
    world.heard.push((addr(2, 0), now - Duration::from_millis(ms)));
    let ctx = Context::new(Rc::clone(&cluster.config), now, None);
    let mut bytes = Vec::new();
    tell(&cluster, &ctx, &world, &mut Reply::new(&mut bytes, protocol));
    let text = String::from_utf8(bytes).expect("these replies are text");
    let is_length = |line: &&str| !line.starts_with('$');
    text.split("\r\n").filter(|line| !line.is_empty()).filter(is_length).map(str::to_owned).collect()
}

/// The value behind a name.
fn value<'a>(told: &'a [String], name: &str) -> Vec<&'a str> {
    told.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1].as_str()).collect()
}

fn led(group: u32, members: &[(u64, u32, MemberRole)]) -> LedGroup {
    let member = |(id, node, role): &(u64, u32, MemberRole)| MemberReport {
        id: ReplicaId(*id),
        place: addr(*node, 0),
        role: *role,
        is_live: true,
        lag: 0,
    };
    let members = members.iter().map(member).collect();
    LedGroup { group: GroupId(group), members, is_joint: false, keys_count: 7, table_bytes: 9 }
}

#[test]
fn a_node_is_up_while_it_is_heard_and_not_only_connected() {
    let states = |ms| {
        let told =
            told(ms, Protocol::Resp3, |cluster, ctx, world, reply| cluster.tell_nodes(ctx, world, world, reply));
        (value(&told, "state").join(" "), value(&told, "heard_ms").join(" "), value(&told, "incarnation").join(" "))
    };
    let (state, heard, incarnation) = states(5);
    assert_eq!((state.as_str(), heard.as_str()), ("here up down", ":0 :5 :-1"));
    assert_eq!(incarnation, "0000000000000001 0000000000000020 heard_ms");
    assert_eq!(states(60_000).0, "here down down");
}

#[test]
fn a_group_that_is_led_here_shows_its_members_and_what_it_lacks() {
    let leader = |id| (id, 1, MemberRole::Leader);
    let whole = led(1, &[leader(4), (5, 2, MemberRole::Voter), (6, 3, MemberRole::Voter)]);
    let short = led(4, &[leader(13), (14, 2, MemberRole::Voter)]);
    let report = CoreReport { led: vec![whole, short], ..CoreReport::default() };
    let told = told(5, Protocol::Resp2, |cluster, _, world, reply| cluster.tell_groups(&report, world, reply));
    assert_eq!(value(&told, "is_led_here"), [":0", ":1", ":0", ":0", ":1"]);
    assert_eq!(value(&told, "lacks"), ["*0", "*0", "*0", "*0", "*1"]);
    assert_eq!(value(&told, "progress"), ["*0", "*3", "*0", "*0", "*2"]);
    assert_eq!(value(&told, "keys"), [":0", ":7", ":0", ":0", ":7"]);
    assert_eq!(value(&told, "*1"), ["replica 15 is not on 3/0 yet"]);
}

#[test]
fn the_status_counts_nodes_and_groups_and_names_alarms() {
    let whole = led(1, &[(4, 1, MemberRole::Leader), (5, 2, MemberRole::Voter), (6, 3, MemberRole::Voter)]);
    let short = led(4, &[(13, 1, MemberRole::Leader), (14, 2, MemberRole::Voter)]);
    let report = CoreReport { led: vec![whole, short], groups_quarantined_count: 1, ..CoreReport::default() };
    for (protocol, begin) in [(Protocol::Resp2, "*32"), (Protocol::Resp3, "%16")] {
        let told = told(5, protocol, |cluster, ctx, world, reply| {
            cluster.tell_status(ctx, &report, world, world, reply);
        });
        assert_eq!(told[0], begin);
        let expected = [
            ("node", ":1"),
            ("epoch", ":1"),
            ("nodes", ":3"),
            ("nodes_up", ":2"),
            ("nodes_down", ":1"),
            ("nodes_awaited", ":0"),
            ("groups", ":5"),
            ("groups_with_leader", ":5"),
            ("groups_led", ":2"),
            ("groups_full", ":1"),
            ("alarms", "*1"),
            ("alarm", "replicas_quarantined"),
        ];
        for (name, expected) in expected {
            assert_eq!(value(&told, name), [expected], "{name}: {told:?}");
        }
    }
}
