//! `token` and `remove`: a new node is to join the cluster, another one is to leave it.

use std::time::Duration;

use serde::Serialize;

use super::wait::Wait;
use crate::cluster::Cluster;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::screen::Screen;
use crate::text::{Page, Tone, duration};

/// For how long the token of a new node is good if nobody says.
const TOKEN_TTL: Duration = Duration::from_secs(3_600);

#[derive(Serialize)]
struct Token<'a> {
    token: &'a str,
    good_for_s: u64,
}

#[derive(Serialize)]
struct Removed {
    node: i64,
    is_done: bool,
}

/// Asks for a token with which a new node joins, and says what to do with it.
///
/// # Errors
/// If a node refuses.
pub(crate) fn token(gateway: &Gateway, screen: &mut Screen, ttl: Option<Duration>) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    let seconds = ttl.map(|ttl| ttl.as_secs().max(1).to_string());
    let words = [&["CORACLE", "TOKEN"][..], &seconds.iter().flat_map(|ttl| ["EX", ttl.as_str()]).collect::<Vec<_>>()];
    let reply = gateway.ask(&mut connection, &words.concat())?;
    let token = reply.text().ok_or_else(|| CtlError::Refused(format!("{} sent no token", connection.addr)))?;
    let good_for = ttl.unwrap_or(TOKEN_TTL);
    if screen.is_json {
        screen.print_json(&Token { token, good_for_s: good_for.as_secs() });
        return Ok(());
    }
    let mut page = screen.page();
    show(token, good_for, &mut page);
    screen.print(page);
    Ok(())
}

fn show(token: &str, good_for: Duration, page: &mut Page) {
    page.named("token", token, Tone::Strong);
    page.gap();
    page.paragraph(
        &format!("With it one new node joins the cluster, within {}. On its machine:", duration(good_for)),
        0,
    );
    page.gap();
    page.paragraph(
        "1. Write its configuration: cluster_id as on the others, no node_id, its own host and cores, and some nodes that run as [[peers]].",
        2,
    );
    page.paragraph("2. Start it on an empty data_dir with the token:", 2);
    page.gap();
    page.verbatim(&format!("     coracle server --config FILE --join {token}"));
    page.gap();
    page.paragraph("It is given its number then, and its share of the replicas if `balance` is on.", 0);
}

/// Has a node leave that holds no replicas, and waits, if that is wanted, until the cluster does not name it any more.
///
/// # Errors
/// If the cluster refuses, or what is waited for lasts too long.
pub(crate) fn remove(
    gateway: &Gateway,
    screen: &mut Screen,
    id: i64,
    wait: Option<Duration>,
) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    gateway.ask(&mut connection, &["CORACLE", "REMOVE", &id.to_string()])?;
    let begun = format!("Node {id} leaves. Once no group has a member there any more, the cluster forgets it.");
    screen.tell(&begun, &Removed { node: id, is_done: false });
    let Some(limit) = wait else { return Ok(()) };
    let until = Wait { limit, left: &|_| format!("node {id} is still there") };
    let is_gone = |cluster: &Cluster| cluster.nodes.iter().all(|node| node.id != id);
    let (_, took) = until.wait(gateway, screen, |cluster| Ok(is_gone(cluster)))?;
    let done = format!("It is gone, after {}: its process ends, or may be stopped.", duration(took));
    screen.tell(&done, &Removed { node: id, is_done: true });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_new_node_needs_is_told_step_by_step() {
        let mut page = Page::new(false);
        show("0123456789abcdef0123456789abcdef", Duration::from_secs(3_600), &mut page);
        let expected = "\
token   0123456789abcdef0123456789abcdef

With it one new node joins the cluster, within 1h 0m. On its machine:

  1. Write its configuration: cluster_id as on the others, no node_id, its own
  host and cores, and some nodes that run as [[peers]].
  2. Start it on an empty data_dir with the token:

     coracle server --config FILE --join 0123456789abcdef0123456789abcdef

It is given its number then, and its share of the replicas if `balance` is on.
";
        assert_eq!(page.finish(), expected);
    }
}
