//! Replicas move to other nodes while clients write: nothing is lost, the node that they leave holds none any more, and their files are
//! gone.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::path::Path;
use std::time::Duration;

use coracle_tests::client::ok;
use coracle_tests::load::{check, under_load};
use coracle_tests::{Client, Cluster, Options, Reply, alone, replicas, wait_until};

const LIMIT: Duration = Duration::from_secs(240);
const WITHIN: Duration = Duration::from_secs(60);
/// Groups of keys; group 0 moves, too.
const GROUPS_COUNT: u32 = 6;
/// The node that is emptied.
const EMPTIED: u32 = 2;

/// What CORACLE GROUPS shows of a group: its leader, the nodes of its replicas, and its members.
struct Shown {
    leader: String,
    nodes: Vec<u32>,
    members: Vec<String>,
}

fn items(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::Array(items) => items,
        other => panic!("{other:?}"),
    }
}

fn groups(client: &mut Client) -> Vec<Shown> {
    let reply = client.command("CORACLE GROUPS");
    let of = |group: &Reply| {
        let fields = items(group);
        let field = |name: &str| {
            let at = fields.iter().step_by(2).position(|field| field.text() == name).unwrap();
            fields[2 * at + 1].clone()
        };
        let replicas = field("replicas");
        let node = |replica: &Reply| replica.text().split(['@', '/']).nth(1).unwrap().parse().unwrap();
        Shown {
            leader: field("leader").text(),
            nodes: items(&replicas).iter().map(node).collect(),
            members: items(&field("members")).iter().map(Reply::text).collect(),
        }
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
    let set = vec!["group_log_bytes_max=1mb".to_owned()];
    let options =
        Options { nodes: 6, groups: GROUPS_COUNT, data_dir: Some(dir.to_owned()), set, ..Options::default() };
    let cluster = Cluster::start(options);
    let mut client = cluster.gateway(1);
    let before = groups(&mut client);
    let group = before.iter().position(|shown| shown.nodes.contains(&EMPTIED)).unwrap();
    let free = |shown: &Shown| (1..=6).find(|node| !shown.nodes.contains(node)).unwrap();
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

    wait_until("all groups are at rest", WITHIN, || {
        let shown = groups(&mut client);
        shown.iter().all(|shown| {
            let voters = shown.members.iter().filter(|member| member.ends_with(" voter")).count();
            !shown.nodes.contains(&EMPTIED) && (shown.members.is_empty() || voters == 3 && shown.members.len() == 3)
        })
    });
    // Leaderships go where an operator wants them.
    for (group, shown) in groups(&mut client).iter().enumerate().skip(1) {
        let heir = shown.nodes.iter().find(|node| !shown.leader.starts_with(&format!("{node}/"))).unwrap();
        order(&mut client, &format!("CORACLE TRANSFER {group} {heir}"), |reply| {
            *reply == ok() || reply.error().is_some_and(|error| error.contains("already"))
        });
    }
    // The node serves all the same, and started again it holds nothing.
    assert_eq!(cluster.gateway(EMPTIED as usize).command("SET key of-it"), ok());
    check(&cluster, &known, "in the end");
}
