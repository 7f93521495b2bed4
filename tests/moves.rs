//! Replicas move to other nodes while clients write: nothing is lost, the node that they leave holds none any more, and their files are
//! gone.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::Path;
use std::time::Duration;

use coracle_tests::client::{bulk, ok};
use coracle_tests::load::{check, under_load};
use coracle_tests::server::Server;
use coracle_tests::{Client, Cluster, Options, Reply, alone, replicas, wait_until};

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);
/// Groups of keys; group 0 moves, too.
const GROUPS_COUNT: u32 = 6;
/// The node that is emptied.
const EMPTIED: u32 = 2;

/// What CORACLE GROUPS shows of a group: its leader, the nodes of its replicas, and, if the node that was asked leads it, those of its
/// members and what it lacks.
struct Shown {
    leader: String,
    nodes: Vec<u32>,
    is_led_here: bool,
    members: Vec<u32>,
    lacks: Vec<String>,
}

fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) => items,
        other => panic!("{other:?}"),
    }
}

/// The value of a name of a map.
fn field<'a>(map: &'a Reply, name: &str) -> &'a Reply {
    let pairs = items(map);
    let at = pairs.iter().step_by(2).position(|known| known.text() == name);
    &pairs[2 * at.unwrap_or_else(|| panic!("{name} is missing in {map:?}")) + 1]
}

fn groups(client: &mut Client) -> Vec<Shown> {
    let reply = client.command("CORACLE GROUPS");
    let node = |place: &str| place.split('/').next().unwrap().parse().unwrap();
    let of = |group: &Reply| Shown {
        leader: field(group, "leader").text(),
        nodes: items(field(group, "replicas"))
            .iter()
            .map(|one| node(one.text().split('@').nth(1).unwrap()))
            .collect(),
        is_led_here: *field(group, "is_led_here") == Reply::Int(1),
        members: items(field(group, "progress")).iter().map(|member| node(&field(member, "place").text())).collect(),
        lacks: items(field(group, "lacks")).iter().map(Reply::text).collect(),
    };
    items(&reply).iter().map(of).collect()
}

fn refusal(client: &mut Client, line: &str) -> String {
    match client.command(line) {
        Reply::Error(error) => error,
        other => panic!("{line}: {other:?}"),
    }
}

/// Asks again where nobody was known to lead, or an earlier change is under way.
fn order(client: &mut Client, line: &str, expected: impl Fn(&Reply) -> bool) {
    wait_until(line, WITHIN, || {
        let reply = client.command(line);
        let may_ask_again = reply.error().is_some_and(|error| {
            ["CLUSTERDOWN", "TRYAGAIN", "under way", "led elsewhere", "in time"]
                .iter()
                .any(|again| error.contains(again))
        });
        assert!(expected(&reply) || may_ask_again, "{line}: {reply:?}");
        expected(&reply)
    });
}

/// A node without a replica of the group.
fn free(shown: &Shown) -> u32 {
    (1..=6).find(|node| !shown.nodes.contains(node)).unwrap()
}

/// Whether all groups have the replicas that they want, none of them on the node that was emptied, and lack nothing.
fn are_at_rest(cluster: &Cluster) -> bool {
    let asked = cluster.nodes().into_iter().filter_map(|node| Client::connect(&node.host, node.gateway).ok());
    let told = asked.flat_map(|mut client| groups(&mut client));
    let led: Vec<Shown> = told.filter(|shown| shown.is_led_here).collect();
    let is_at_rest = |shown: &Shown| {
        let stays_away = !shown.nodes.contains(&EMPTIED) && !shown.members.contains(&EMPTIED);
        stays_away && shown.members.len() == shown.nodes.len() && shown.lacks.is_empty()
    };
    // One that has lost its leadership may say for a moment that it leads; then there are more.
    led.len() == GROUPS_COUNT as usize + 1 && led.iter().all(is_at_rest)
}

/// Files of tables and blobs of the node.
fn table_files(dir: &Path) -> Vec<String> {
    let store = dir.join(format!("node-{EMPTIED}/store/core-00"));
    let names = std::fs::read_dir(store).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".data")).collect()
}

#[test]
fn a_node_gives_all_of_its_replicas_away_under_load() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    // Group 0 has five replicas. The logs are small enough that tables are written meanwhile.
    let set = vec!["group_log_bytes_max=1048576".to_owned()];
    let options =
        Options { nodes: 6, groups: GROUPS_COUNT, data_dir: Some(dir.to_owned()), set, ..Options::default() };
    let cluster = Cluster::start(options);
    let mut client = cluster.gateway(1);
    let before = groups(&mut client);
    let group = before.iter().position(|shown| shown.nodes.contains(&EMPTIED)).unwrap();
    let there = before[group].nodes.iter().find(|node| **node != EMPTIED).unwrap();
    for (line, reason) in [
        (format!("CORACLE MOVE 99 {EMPTIED} 1"), "no such group"),
        (format!("CORACLE MOVE {group} {EMPTIED} 9"), "no node 9"),
        (format!("CORACLE MOVE {group} {EMPTIED} {there}"), "has a replica on node"),
        (format!("CORACLE MOVE {group} {} {EMPTIED}", free(&before[group])), "has no replica on node"),
        (format!("CORACLE MOVE {group} {EMPTIED} up"), "names no node"),
        (format!("CORACLE TRANSFER {group} {}", free(&before[group])), "has no replica on node"),
    ] {
        let refused = refusal(&mut client, &line);
        assert!(refused.contains(reason), "{line}: {refused}");
    }

    let known = under_load(&cluster, || {
        std::thread::sleep(Duration::from_secs(2));
        let mut client = cluster.gateway(3);
        for (group, shown) in before.iter().enumerate().filter(|(_, shown)| shown.nodes.contains(&EMPTIED)) {
            order(&mut client, &format!("CORACLE MOVE {group} {EMPTIED} {}", free(shown)), |reply| {
                matches!(reply, Reply::Int(_))
            });
        }
        wait_until("the node holds no replica", WITHIN, || {
            replicas::of_core(&mut cluster.core(EMPTIED as usize, 0)).is_empty()
        });
        std::thread::sleep(Duration::from_secs(1));
    });
    check(&cluster, &known, "after the moves");
    wait_until("the files of the replicas are gone", WITHIN, || table_files(dir).is_empty());
    let moved = before.iter().filter(|shown| shown.nodes.contains(&EMPTIED)).count() as u64;
    let mut emptied = cluster.core(EMPTIED as usize, 0);
    assert_eq!((emptied.info("replicas_destroyed"), emptied.info("groups")), (moved, 0));

    wait_until("all groups are at rest", WITHIN, || are_at_rest(&cluster));
    // Leaderships go where an operator wants them.
    for (group, shown) in groups(&mut client).iter().enumerate().skip(1) {
        let heir = shown.nodes.iter().find(|node| !shown.leader.starts_with(&format!("{node}/"))).unwrap();
        order(&mut client, &format!("CORACLE TRANSFER {group} {heir}"), |reply| {
            *reply == ok() || reply.error().is_some_and(|error| error.contains("already"))
        });
    }
    // The node serves all the same, and started again it holds nothing.
    assert_eq!(cluster.gateway(EMPTIED as usize).command("SET key of-it"), ok());
    cluster.kill(EMPTIED as usize);
    let _node = Server::start_again(dir, EMPTIED as usize);
    let at = cluster.node(EMPTIED as usize);
    wait_until("the node serves again", WITHIN, || {
        let asked = Client::connect(&at.host, at.gateway).and_then(|mut client| client.ask(&[b"GET", b"key"]));
        asked.is_ok_and(|reply| reply == bulk("of-it"))
    });
    assert_eq!(cluster.core(EMPTIED as usize, 0).info("groups"), 0);
    assert!(replicas::of_core(&mut cluster.core(EMPTIED as usize, 0)).is_empty() && table_files(dir).is_empty());
    check(&cluster, &known, "in the end");
}

#[test]
fn a_node_that_comes_back_destroys_what_was_moved_away_meanwhile() {
    let _alone = alone(LIMIT);
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let options = Options { nodes: 6, groups: GROUPS_COUNT, data_dir: Some(dir.to_owned()), ..Options::default() };
    let cluster = Cluster::start(options);
    let mut client = cluster.gateway(1);
    let before = groups(&mut client);
    let moved = before.iter().filter(|shown| shown.nodes.contains(&EMPTIED)).count() as u64;
    let known = under_load(&cluster, || {
        std::thread::sleep(Duration::from_secs(1));
        cluster.kill(EMPTIED as usize);
        let mut client = cluster.gateway(3);
        for (group, shown) in before.iter().enumerate().filter(|(_, shown)| shown.nodes.contains(&EMPTIED)) {
            order(&mut client, &format!("CORACLE MOVE {group} {EMPTIED} {}", free(shown)), |reply| {
                matches!(reply, Reply::Int(_))
            });
        }
    });
    wait_until("all groups are at rest", WITHIN, || are_at_rest(&cluster));
    let _node = Server::start_again(dir, EMPTIED as usize);
    let at = cluster.node(EMPTIED as usize);
    wait_until("the node has destroyed its replicas", WITHIN, || {
        let figure = |name: &str| Client::connect(&at.host, at.cores[0]).map(|mut client| client.info(name));
        figure("replicas_destroyed").is_ok_and(|destroyed| destroyed == moved) && table_files(dir).is_empty()
    });
    assert_eq!(cluster.core(EMPTIED as usize, 0).info("groups"), 0);
    check(&cluster, &known, "with the node back");
    let mut client = cluster.gateway(EMPTIED as usize);
    assert_eq!(client.command("SET key of-it"), ok());
}
