//! `groups`: each group, as its leader sees it.

use serde::Serialize;

use super::or_dash;
use crate::cluster::Cluster;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{Group, Standing};
use crate::screen::Screen;
use crate::text::{Cell, Page, Tone, bytes, cell, count, toned};

/// Which groups are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Which {
    /// Those with a replica on this node.
    pub(crate) node: Option<i64>,
    /// Those that are not at full strength.
    pub(crate) is_unhealthy: bool,
}

#[derive(Serialize)]
struct Groups<'a> {
    groups: Vec<OneGroup<'a>>,
}

#[derive(Serialize)]
struct OneGroup<'a> {
    standing: Standing,
    #[serde(flatten)]
    group: &'a Group,
}

/// Shows groups.
///
/// # Errors
/// If no node says which there are, or there is no such node.
pub(crate) fn run(gateway: &Gateway, screen: &mut Screen, which: Which) -> Result<(), CtlError> {
    let cluster = Cluster::ask(gateway)?;
    if let Some(node) = which.node {
        cluster.node(node)?;
    }
    let groups = wanted(&cluster, which);
    if screen.is_json {
        let groups = groups.into_iter().map(|group| OneGroup { standing: group.standing(), group }).collect();
        screen.print_json(&Groups { groups });
    } else {
        let mut page = screen.page();
        show(&cluster, &groups, which, &mut page);
        screen.print(page);
    }
    Ok(())
}

fn wanted(cluster: &Cluster, which: Which) -> Vec<&Group> {
    let is_wanted = |group: &&Group| {
        which.node.is_none_or(|node| group.is_on(node)) && !(which.is_unhealthy && group.standing() == Standing::Full)
    };
    cluster.groups.iter().filter(is_wanted).collect()
}

fn show(cluster: &Cluster, groups: &[&Group], which: Which, page: &mut Page) {
    if groups.is_empty() {
        let all = count(cluster.groups.len(), "group");
        return match which.is_unhealthy {
            true => page.paragraph(&format!("All {all} in question are at full strength."), 0),
            false => page.paragraph("No group has a replica there.", 0),
        };
    }
    let row = |group: &&Group| {
        let led = |figure: String| if group.led.is_some() { cell(figure) } else { cell("-") };
        let (keys, table_bytes) = group.led.as_ref().map_or((0, 0), |led| (led.keys, led.table_bytes));
        vec![
            cell(group.id),
            cell(slots(group)),
            cell(or_dash(&group.leader)),
            cell(places(group)),
            led(keys.to_string()),
            led(bytes(table_bytes)),
            standing_cell(cluster, group),
        ]
    };
    let rows: Vec<_> = groups.iter().map(row).collect();
    page.table(&[">GROUP", "SLOTS", "LEADER", "REPLICAS", ">KEYS", ">TABLES", "STRENGTH"], &rows);
}

/// The first range of slots, and how many others there are.
fn slots(group: &Group) -> String {
    match group.slots.split_once(',') {
        Some((first, others)) => format!("{first} +{}", others.split(',').count()),
        None if group.slots.is_empty() => "the map".to_owned(),
        None => group.slots.clone(),
    }
}

/// Where its replicas live, or are to.
fn places(group: &Group) -> String {
    let place = |replica: &String| replica.split_once('@').map_or(replica.clone(), |(_, place)| place.to_owned());
    group.replicas.iter().map(place).collect::<Vec<_>>().join(" ")
}

/// How a group stands.
fn standing_cell(cluster: &Cluster, group: &Group) -> Cell {
    let tone = match group.standing() {
        Standing::Full => Tone::Good,
        Standing::Lacking | Standing::Unknown => Tone::Doubtful,
        Standing::NoLeader => Tone::Bad,
    };
    toned(standing_text(cluster, group), tone)
}

/// How a group stands, in words.
pub(crate) fn standing_text(cluster: &Cluster, group: &Group) -> String {
    match group.standing() {
        Standing::Full => "full".to_owned(),
        Standing::Lacking => group.led.iter().flat_map(|led| &led.lacks).cloned().collect::<Vec<_>>().join("; "),
        Standing::NoLeader => "nobody leads it".to_owned(),
        Standing::Unknown => {
            let node = group.leader.split('/').next().and_then(|id| id.parse().ok());
            let error = node.and_then(|node| cluster.answer(node)).and_then(|answer| answer.error.as_deref());
            let reason = error.unwrap_or("it has just begun to lead");
            format!("not known: its leader could not be asked ({reason})")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NodeAnswer;
    use crate::model::{Led, Member};

    fn cluster() -> Cluster {
        let replicas = |ids: [u64; 3]| ids.iter().map(|id| format!("{id}@{}/0", (id - 1) % 3 + 1)).collect();
        let led = |lacks: &[&str]| {
            let lacks = lacks.iter().map(|lack| (*lack).to_owned()).collect();
            Some(Led { lacks, keys: 120, table_bytes: 3 << 20, ..Led::default() })
        };
        let group = |id, slots: &str, leader: &str, replicas, led| Group {
            id,
            slots: slots.to_owned(),
            leader: leader.to_owned(),
            replicas,
            led,
        };
        let error = Some("nobody listens there".to_owned());
        Cluster {
            groups: vec![
                group(0, "", "1/0", replicas([1, 2, 3]), led(&[])),
                group(1, "0-8191", "1/0", replicas([4, 5, 6]), led(&["replica 6 on 3/0 is not heard"])),
                group(2, "8192-9000,9002-16383,9001-9001", "", replicas([7, 8, 9]), None),
                group(3, "", "3/0", vec!["10@3/0".to_owned()], None),
            ],
            answers: vec![NodeAnswer { node: 3, status: None, error }],
            ..Cluster::default()
        }
    }

    fn shown(which: Which) -> String {
        let (cluster, mut page) = (cluster(), Page::new(false));
        show(&cluster, &wanted(&cluster, which), which, &mut page);
        page.finish()
    }

    #[test]
    fn groups_are_a_table_that_says_what_each_lacks() {
        let expected = "\
GROUP  SLOTS         LEADER  REPLICAS     KEYS   TABLES  STRENGTH
    0  the map       1/0     1/0 2/0 3/0   120  3.0 MiB  full
    1  0-8191        1/0     1/0 2/0 3/0   120  3.0 MiB  replica 6 on 3/0 is not
                                                         heard
    2  8192-9000 +2  -       1/0 2/0 3/0     -        -  nobody leads it
    3  the map       3/0     3/0             -        -  not known: its leader
                                                         could not be asked
                                                         (nobody listens there)
";
        assert_eq!(shown(Which::default()), expected);
    }

    #[test]
    fn those_of_a_node_and_those_that_lack_something_are_picked() {
        let ids = |which| wanted(&cluster(), which).iter().map(|group| group.id).collect::<Vec<_>>();
        assert_eq!(ids(Which { is_unhealthy: true, ..Which::default() }), [1, 2, 3]);
        assert_eq!(ids(Which { node: Some(1), ..Which::default() }), [0, 1, 2]);
        assert_eq!(ids(Which { node: Some(1), is_unhealthy: true }), [1, 2]);
        let mut cluster = cluster();
        let guest = Member { id: 14, place: "9/0".to_owned(), ..Member::default() };
        cluster.groups[0].led = Some(Led { members: vec![guest], ..Led::default() });
        assert!(cluster.groups[0].is_on(9) && !cluster.groups[0].is_on(91));
    }
}
