//! `move` and `transfer`: a replica is to live elsewhere, another one is to lead.

use std::time::Duration;

use serde::Serialize;

use super::groups::standing_text;
use super::wait::Wait;
use crate::cluster::Cluster;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{Group, Standing};
use crate::screen::Screen;
use crate::text::duration;

#[derive(Serialize)]
struct Moved {
    group: i64,
    /// The id of the new replica.
    replica: i64,
    is_done: bool,
}

#[derive(Serialize)]
struct Led<'a> {
    group: i64,
    node: &'a str,
    is_done: bool,
}

/// Has a replica of a group live on another node or core, and waits, if that is wanted, until it votes there and the group is at full
/// strength.
///
/// # Errors
/// If the cluster refuses, or what is waited for lasts too long.
pub(crate) fn run_move(
    gateway: &Gateway,
    screen: &mut Screen,
    (group, from, to): (i64, &str, &str),
    wait: Option<Duration>,
) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    let reply = gateway.ask(&mut connection, &["CORACLE", "MOVE", &group.to_string(), from, to])?;
    let replica =
        reply.int().ok_or_else(|| CtlError::Refused(format!("{} names no new replica", connection.addr)))?;
    let begun = format!("Replica {replica} of group {group} begins on {to} in the place of the one on {from}.");
    screen.tell(&begun, &Moved { group, replica, is_done: false });
    let Some(limit) = wait else { return Ok(()) };
    let until = Wait { limit, left: &|cluster| left(cluster, group) };
    let (_, took) = until.wait(gateway, screen, |cluster| Ok(votes(one(cluster, group)?, replica)))?;
    let done = format!("It votes, and the group is at full strength, after {}.", duration(took));
    screen.tell(&done, &Moved { group, replica, is_done: true });
    Ok(())
}

/// Has the replica on a node lead a group, and waits, if that is wanted, until the cluster knows that it does.
///
/// # Errors
/// As [`run_move`].
pub(crate) fn transfer(
    gateway: &Gateway,
    screen: &mut Screen,
    group: i64,
    node: &str,
    wait: Option<Duration>,
) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    gateway.ask(&mut connection, &["CORACLE", "TRANSFER", &group.to_string(), node])?;
    let Some(limit) = wait else {
        screen.tell(&format!("Node {node} leads group {group}."), &Led { group, node, is_done: true });
        return Ok(());
    };
    let until = Wait { limit, left: &|cluster| format!("group {group} is led by {}", leader(cluster, group)) };
    let (_, took) =
        until.wait(gateway, screen, |cluster| Ok(one(cluster, group)?.leader.starts_with(&format!("{node}/"))))?;
    let done = format!("Node {node} leads group {group}, after {}.", duration(took));
    screen.tell(&done, &Led { group, node, is_done: true });
    Ok(())
}

fn one(cluster: &Cluster, id: i64) -> Result<&Group, CtlError> {
    let group = cluster.groups.iter().find(|group| group.id == id);
    group.ok_or_else(|| CtlError::Usage(format!("there is no group {id}: `coracle-ctl groups` shows them")))
}

/// Whether a replica votes in a group that lacks nothing.
fn votes(group: &Group, replica: i64) -> bool {
    let mut members = group.led.iter().flat_map(|led| &led.members);
    let is_member = members.any(|member| member.id == replica && member.role != "learner");
    is_member && group.standing() == Standing::Full
}

fn left(cluster: &Cluster, group: i64) -> String {
    one(cluster, group).map_or_else(|error| error.to_string(), |group| standing_text(cluster, group))
}

fn leader(cluster: &Cluster, group: i64) -> String {
    let leader = one(cluster, group).map(|group| group.leader.clone()).unwrap_or_default();
    if leader.is_empty() { "nobody".to_owned() } else { leader }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Led, Member};

    #[test]
    fn a_move_is_done_once_the_new_replica_votes_and_nothing_is_lacking() {
        let group = |role: &str, lacks: &[&str]| {
            let member = Member { id: 9, role: role.to_owned(), ..Member::default() };
            let lacks = lacks.iter().map(|lack| (*lack).to_owned()).collect();
            Group { led: Some(Led { members: vec![member], lacks, ..Led::default() }), ..Group::default() }
        };
        assert!(votes(&group("voter", &[]), 9) && votes(&group("leader", &[]), 9));
        assert!(!votes(&group("voter", &[]), 8), "the map may not have come to its leader");
        assert!(!votes(&group("learner", &[]), 9));
        assert!(!votes(&group("voter", &["replica 3 on 3/0 is to leave"]), 9));
        assert!(!votes(&Group::default(), 9));
    }
}
