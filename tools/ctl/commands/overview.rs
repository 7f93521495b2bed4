//! The cluster on one screen, for `status` and for whatever is waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{duty_cell, groups, or_dash, state_cell, tasks};
use crate::cluster::Cluster;
use crate::model::{Group, Node, Standing, Task};
use crate::text::{Cell, Page, Tone, cell, count, duration, toned};

/// Groups whose lack of replicas is told one by one.
const LACKS_COUNT_MAX: usize = 4;
/// Tasks that are told one by one.
const TASKS_COUNT_MAX: usize = 3;

/// What is not as it should be, in one line.
pub(crate) fn left(cluster: &Cluster) -> String {
    let down: Vec<_> = cluster.nodes.iter().filter(|node| !node.is_up()).collect();
    let nodes = down.iter().map(|node| format!("node {} is {}", node.id, node.state));
    let full = cluster.groups_that_are(Standing::Full);
    let groups = format!("{full} of {} at full strength", count(cluster.groups.len(), "group"));
    nodes.chain([groups]).collect::<Vec<_>>().join(", ")
}

/// Shows the cluster.
pub(crate) fn show(cluster: &Cluster, page: &mut Page) {
    let status = &cluster.status;
    page.named("cluster", &status.cluster, Tone::Strong);
    page.named("id", &status.cluster_id, Tone::Plain);
    page.named("map", &format!("epoch {}, as node {} knows it", status.epoch, status.node), Tone::Plain);
    page.gap();
    let rows: Vec<_> = cluster.nodes.iter().map(|node| node_row(cluster, node)).collect();
    page.table(&[">NODE", "RACK", "STATE", "DUTY", ">LEADS", ">COPIES", ">FULL", "VERSION", "RUNS FOR"], &rows);
    page.gap();
    nodes_line(cluster, page);
    groups_line(cluster, page);
    tasks_line(cluster, page);
    let alarms = alarms(cluster);
    if alarms.is_empty() {
        page.named("alarms", "none", Tone::Good);
    } else {
        page.heading(&count(alarms.len(), "alarm"));
        page.named_all(&alarms, Tone::Doubtful);
    }
}

fn node_row(cluster: &Cluster, node: &Node) -> Vec<Cell> {
    let answer = cluster.answer(node.id);
    let status = answer.and_then(|answer| answer.status.as_ref());
    let uptime = status.and_then(|status| u64::try_from(status.uptime_s).ok()).map(Duration::from_secs);
    let last = match (uptime, answer.and_then(|answer| answer.error.as_deref())) {
        (Some(uptime), _) => cell(duration(uptime)),
        (None, Some(error)) => toned(format!("not reached: {error}"), Tone::Doubtful),
        (None, None) => cell("-"),
    };
    let full = status.map_or("-".to_owned(), |status| format!("{}/{}", status.groups_full, status.groups_led));
    let is_short = status.is_some_and(|status| status.groups_full < status.groups_led);
    vec![
        cell(node.id),
        cell(or_dash(&node.rack)),
        state_cell(node),
        duty_cell(node),
        cell(node.leads),
        cell(node.copies),
        toned(full, if is_short { Tone::Doubtful } else { Tone::Plain }),
        cell(status.map_or("-", |status| or_dash(&status.version))),
        last,
    ]
}

fn nodes_line(cluster: &Cluster, page: &mut Page) {
    let up = cluster.nodes.iter().filter(|node| node.is_up()).count();
    let all = cluster.nodes.len();
    if up == all {
        return page.named("nodes", &format!("{all}, all up"), Tone::Good);
    }
    let mut by_state: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for node in cluster.nodes.iter().filter(|node| !node.is_up()) {
        by_state.entry(&node.state).or_default().push(node.id.to_string());
    }
    let others = by_state.iter().map(|(state, ids)| format!("{state}: {}", ids.join(", ")));
    let text = std::iter::once(format!("{up} of {all} up")).chain(others).collect::<Vec<_>>().join("; ");
    page.named("nodes", &text, Tone::Bad);
}

fn groups_line(cluster: &Cluster, page: &mut Page) {
    let all = cluster.groups.len();
    let of = |standing| cluster.groups_that_are(standing);
    if of(Standing::Full) == all {
        return page.named("groups", &format!("{all}, all at full strength"), Tone::Good);
    }
    let parts = [
        (of(Standing::Full), "at full strength"),
        (of(Standing::Lacking), "lack something"),
        (of(Standing::NoLeader), "without a leader"),
        (of(Standing::Unknown), "whose leader could not be asked"),
    ];
    let parts: Vec<_> =
        parts.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")).collect();
    let tone = if of(Standing::NoLeader) > 0 { Tone::Bad } else { Tone::Doubtful };
    page.named("groups", &format!("{all}: {}", parts.join(", ")), tone);
}

/// What is under way, and what waits.
fn tasks_line(cluster: &Cluster, page: &mut Page) {
    // For a moment a node is gone, and its task is not.
    let is_there = |task: &&Task| task.kind != "alarm" && cluster.nodes.iter().any(|node| node.id == task.node);
    let lines: Vec<_> = cluster.tasks.iter().filter(is_there).map(tasks::line).collect();
    let text = match lines.len() {
        // An earlier version does not tell them, and a cluster without a leader cannot.
        0 => return,
        1..=TASKS_COUNT_MAX => lines.join("; "),
        others => format!("{}: `coracle-ctl tasks` shows them", count(others, "task")),
    };
    let is_waiting = cluster.tasks.iter().any(|task| task.state == "waiting");
    page.named("tasks", &text, if is_waiting { Tone::Doubtful } else { Tone::Plain });
}

/// What somebody should look at, and who says so: nodes that are not up, groups that lack something, and what nodes say of themselves.
fn alarms(cluster: &Cluster) -> Vec<(String, String)> {
    let mut alarms: Vec<_> = cluster.nodes.iter().filter_map(of_node).collect();
    // Most often a node says the same.
    let says = |text: &str| {
        let statuses = cluster.answers.iter().filter_map(|answer| answer.status.as_ref());
        statuses.flat_map(|status| &status.alarms).any(|alarm| alarm.text == text)
    };
    let told = cluster.tasks.iter().filter(|task| task.kind == "alarm" && !says(&task.reason));
    alarms.extend(told.map(|task| ("cluster".to_owned(), task.reason.clone())));
    let lacking: Vec<&Group> = cluster.groups.iter().filter(|group| group.standing() == Standing::Lacking).collect();
    for group in lacking.iter().take(LACKS_COUNT_MAX) {
        alarms.push((format!("group {}", group.id), groups::standing_text(cluster, group)));
    }
    if lacking.len() > LACKS_COUNT_MAX {
        let more = count(lacking.len() - LACKS_COUNT_MAX, "more group");
        alarms.push(("groups".to_owned(), format!("{more}: `coracle-ctl groups --unhealthy` shows them")));
    }
    // What several nodes say is shown once.
    let mut said: Vec<(String, Vec<String>)> = Vec::new();
    for answer in &cluster.answers {
        for alarm in answer.status.iter().flat_map(|status| &status.alarms) {
            match said.iter_mut().find(|(text, _)| *text == alarm.text) {
                Some((_, nodes)) => nodes.push(answer.node.to_string()),
                None => said.push((alarm.text.clone(), vec![answer.node.to_string()])),
            }
        }
    }
    let of_nodes = |(text, nodes): (String, Vec<String>)| {
        let who = if nodes.len() == 1 { format!("node {}", nodes[0]) } else { "nodes".to_owned() };
        let text = if nodes.len() == 1 { text } else { format!("{}: {text}", nodes.join(", ")) };
        (who, text)
    };
    alarms.extend(said.into_iter().map(of_nodes));
    alarms
}

fn of_node(node: &Node) -> Option<(String, String)> {
    let heard = match node.heard_ms.and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) => format!("last heard {} ago", duration(Duration::from_millis(ms))),
        None => "not heard since the node that says so was started".to_owned(),
    };
    let text = match node.state.as_str() {
        "here" | "up" => return None,
        "down" if node.duty == "leaves" => {
            format!("is down, {heard}, and leaves: `coracle-ctl tasks` tells how far that is")
        }
        "down" if node.health == "down" && node.copies == 0 => format!(
            "is down, {heard}: others hold all that it held; start it again, or have it leave for good with `coracle-ctl decommission {}`",
            node.id
        ),
        "down" if node.health == "down" => format!(
            "is down, {heard}: what it held begins on other nodes as far as they have room (`coracle-ctl tasks`); start it again, or have it \
             leave for good with `coracle-ctl decommission {}`",
            node.id
        ),
        "down" => format!(
            "is down, {heard}: start it again; if its data is lost, `coracle-ctl replace {}` says how it comes back",
            node.id
        ),
        "awaited" => format!("is awaited without data, {heard}: start it with --join and the token"),
        other => format!("is {other}, {heard}"),
    };
    Some((format!("node {}", node.id), text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NodeAnswer;
    use crate::model::{Alarm, Led, Status};

    fn status(node: i64, groups_led: i64, groups_full: i64) -> Status {
        Status {
            cluster: "shop".to_owned(),
            cluster_id: "6c1f0c5e2d8f4a7b9e3d1c2b4a5f6071".to_owned(),
            epoch: 7,
            node,
            version: "0.1.0".to_owned(),
            uptime_s: 7_400,
            groups_led,
            groups_full,
            alarms: Vec::new(),
        }
    }

    fn node(id: i64, state: &str, leads: i64) -> Node {
        let heard_ms = if state == "down" { Some(42_000) } else { Some(3) };
        let gateway = format!("10.0.0.{id}:7000");
        let duty = "serves".to_owned();
        Node { id, state: state.to_owned(), leads, copies: 5, gateway, heard_ms, duty, ..Node::default() }
    }

    fn group(id: i64, leader: &str, lacks: Option<&str>) -> Group {
        let lacks = lacks.map(str::to_owned).into_iter().collect();
        Group { id, leader: leader.to_owned(), led: Some(Led { lacks, ..Led::default() }), ..Group::default() }
    }

    fn well() -> Cluster {
        let answer = |node| NodeAnswer { node, status: Some(status(node, 2, 2)), error: None };
        Cluster {
            status: status(1, 2, 2),
            nodes: vec![node(1, "here", 2), node(2, "up", 2), node(3, "up", 2)],
            groups: (0..6).map(|id| group(id, &format!("{}/0", id % 3 + 1), None)).collect(),
            answers: (1..=3).map(answer).collect(),
            tasks: Vec::new(),
        }
    }

    /// Node 3 is down, and its groups are led by node 2, which could not be asked.
    fn ill() -> Cluster {
        let mut cluster = well();
        cluster.nodes = vec![node(1, "here", 6), node(2, "up", 0), node(3, "down", 0)];
        cluster.groups = (0..6).map(|id| group(id, "1/0", Some("replica 3 on 3/0 is not heard"))).collect();
        cluster.groups[5].led = None;
        cluster.groups[4] = Group { id: 4, ..Group::default() };
        let failed = |node, error: &str| NodeAnswer { node, status: None, error: Some(error.to_owned()) };
        let mut own = status(1, 4, 0);
        let text = "1 group is without a leader that is known here".to_owned();
        own.alarms = vec![Alarm { alarm: "groups_without_leader".to_owned(), text }];
        cluster.answers = vec![
            NodeAnswer { node: 1, status: Some(own), error: None },
            failed(2, "no answer within 3000 ms"),
            failed(3, "nobody listens there"),
        ];
        cluster
    }

    fn shown(cluster: &Cluster) -> String {
        let mut page = Page::new(false);
        show(cluster, &mut page);
        page.finish()
    }

    #[test]
    fn a_cluster_that_is_well_is_told_in_a_few_lines() {
        let expected = "\
cluster shop
id      6c1f0c5e2d8f4a7b9e3d1c2b4a5f6071
map     epoch 7, as node 1 knows it

NODE  RACK  STATE  DUTY    LEADS  COPIES  FULL  VERSION  RUNS FOR
   1  -     up     serves      2       5   2/2  0.1.0    2h 3m
   2  -     up     serves      2       5   2/2  0.1.0    2h 3m
   3  -     up     serves      2       5   2/2  0.1.0    2h 3m

nodes   3, all up
groups  6, all at full strength
alarms  none
";
        assert_eq!(shown(&well()), expected);
        assert!(well().is_whole());
    }

    #[test]
    fn what_is_not_well_is_named_with_what_to_do() {
        let expected = "\
cluster shop
id      6c1f0c5e2d8f4a7b9e3d1c2b4a5f6071
map     epoch 7, as node 1 knows it

NODE  RACK  STATE     DUTY    LEADS  COPIES  FULL  VERSION  RUNS FOR
   1  -     up        serves      6       5   0/4  0.1.0    2h 3m
   2  -     up        serves      0       5     -  -        not reached: no
                                                            answer within 3000
                                                            ms
   3  -     down 42s  serves      0       5     -  -        not reached: nobody
                                                            listens there

nodes   2 of 3 up; down: 3
groups  6: 4 lack something, 1 without a leader, 1 whose leader could not be
        asked

6 alarms
node 3  is down, last heard 42s ago: start it again; if its data is lost,
        `coracle-ctl replace 3` says how it comes back
group 0 replica 3 on 3/0 is not heard
group 1 replica 3 on 3/0 is not heard
group 2 replica 3 on 3/0 is not heard
group 3 replica 3 on 3/0 is not heard
node 1  1 group is without a leader that is known here
";
        assert_eq!(shown(&ill()), expected);
        assert_eq!(left(&ill()), "node 3 is down, 0 of 6 groups at full strength");
    }

    #[test]
    fn what_several_nodes_say_is_told_once() {
        let mut cluster = well();
        let alarm = Alarm { alarm: "x".to_owned(), text: "it is so".to_owned() };
        for answer in &mut cluster.answers[..2] {
            answer.status.as_mut().expect("they have answered").alarms.push(alarm.clone());
        }
        assert_eq!(alarms(&cluster), [("nodes".to_owned(), "1, 2: it is so".to_owned())]);
    }

    #[test]
    fn duties_tasks_and_what_the_cluster_itself_says_are_shown() {
        let mut cluster = well();
        cluster.nodes[1].duty = "leaves".to_owned();
        cluster.nodes[2] = Node { rack: "rack-a".to_owned(), health: "down".to_owned(), ..node(3, "down", 0) };
        let task = |kind: &str, node, state: &str, reason: &str| Task {
            kind: kind.to_owned(),
            node,
            replicas: 3,
            bytes: 5 << 20,
            state: state.to_owned(),
            reason: reason.to_owned(),
            ..Task::default()
        };
        cluster.tasks = vec![
            task("decommission", 2, "waiting", "no node can take it: 2 have one already"),
            task("alarm", 0, "running", "no node is replaced, as 1 of 3 is missing (3)"),
        ];
        let text = shown(&cluster);
        assert!(text.contains("   2  -       up        leaves"), "{text}");
        let tasks = "
tasks   decommission of node 2 waits: no node can take it: 2 have one already; 3
        replicas (5.0 MiB) left
";
        assert!(text.contains(tasks), "{text}");
        let alarms = "
2 alarms
node 3  is down, last heard 42s ago: what it held begins on other nodes as far
        as they have room (`coracle-ctl tasks`); start it again, or have it
        leave for good with `coracle-ctl decommission 3`
cluster no node is replaced, as 1 of 3 is missing (3)
";
        assert!(text.ends_with(alarms), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        let mut leaving = cluster.clone();
        leaving.nodes[2].duty = "leaves".to_owned();
        assert!(shown(&leaving).contains("last heard 42s ago, and leaves:"), "{}", shown(&leaving));
        cluster.nodes[2].copies = 0;
        assert!(shown(&cluster).contains("last heard 42s ago: others hold all that it held;"), "{}", shown(&cluster));
        cluster.tasks = vec![task("decommission", 9, "running", "")];
        assert!(!shown(&cluster).contains("\ntasks"), "node 9 has just gone");
        cluster.tasks = vec![task("replace", 3, "running", ""); TASKS_COUNT_MAX + 1];
        assert!(shown(&cluster).contains("\ntasks   4 tasks: `coracle-ctl tasks` shows them\n"));
    }
}
