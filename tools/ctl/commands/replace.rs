//! `replace`: a token with which a node comes back that has lost its data, and what to do with it.

use std::time::Duration;

use serde::Serialize;

use super::overview;
use super::wait::Wait;
use crate::cluster::Cluster;
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{Node, Standing};
use crate::screen::Screen;
use crate::text::{Page, Tone, count, duration};

#[derive(Serialize)]
struct Token<'a> {
    node: i64,
    token: &'a str,
}

#[derive(Serialize)]
struct Back {
    node: i64,
    is_back: bool,
    took_ms: u64,
}

/// Asks for the token of a node and says what to do with it; waits, if that is wanted, until the node is back and all groups are at full
/// strength.
///
/// # Errors
/// If a node refuses, or what is waited for lasts too long.
pub(crate) fn run(gateway: &Gateway, screen: &mut Screen, id: i64, wait: Option<Duration>) -> Result<(), CtlError> {
    let node = Cluster::ask(gateway)?.node(id)?.clone();
    let mut connection = gateway.connect()?;
    let reply = gateway.ask(&mut connection, &["CORACLE", "REPLACE", &id.to_string()])?;
    let token = reply.text().ok_or_else(|| CtlError::Refused(format!("{} sent no token", connection.addr)))?;
    if screen.is_json {
        screen.print_json(&Token { node: id, token });
    } else {
        let mut page = screen.page();
        show(&node, token, wait.is_some(), &mut page);
        screen.print(page);
    }
    let Some(limit) = wait else { return Ok(()) };
    let until = Wait { limit, left: &overview::left };
    let (cluster, took) = until.wait(gateway, screen, |cluster| Ok(is_back(cluster, id)))?;
    if screen.is_json {
        screen.print_json(&Back { node: id, is_back: true, took_ms: took.as_millis() as u64 });
    } else {
        let mut page = screen.page();
        let groups = count(cluster.groups.len(), "group");
        page.paragraph(
            &format!("Node {id} is back and all {groups} are at full strength, after {}.", duration(took)),
            0,
        );
        screen.print(page);
    }
    Ok(())
}

/// Whether a node is up and all groups are at full strength.
fn is_back(cluster: &Cluster, id: i64) -> bool {
    let is_up = cluster.nodes.iter().any(|node| node.id == id && node.is_up());
    is_up && cluster.groups_that_are(Standing::Full) == cluster.groups.len()
}

fn show(node: &Node, token: &str, is_waited_for: bool, page: &mut Page) {
    page.named("token", token, Tone::Strong);
    page.gap();
    let copies = count(usize::try_from(node.copies).unwrap_or(0), "replica");
    let text = format!(
        "With it node {} comes back once, and receives the {copies} that it has lost. Do this on its machine, {}:",
        node.id, node.host
    );
    page.paragraph(&text, 0);
    page.gap();
    page.paragraph("1. See that its old process has ended and stays so (systemctl stop coracle).", 2);
    page.paragraph("2. Empty its data_dir, or name another one; keep the old files elsewhere.", 2);
    page.paragraph("3. Start it with its configuration and the token:", 2);
    page.gap();
    page.verbatim(&format!("     coracle server --config FILE --join {token}"));
    page.gap();
    page.paragraph(
        "From then on it starts as before, without --join. Its old directory is refused: what it had promised with that is given up.",
        0,
    );
    if !is_waited_for {
        page.paragraph("`coracle-ctl status --wait` waits until all groups are at full strength.", 0);
    } else {
        page.gap();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_done_is_told_step_by_step() {
        let node = Node { id: 3, host: "10.0.0.3".to_owned(), copies: 9, ..Node::default() };
        let mut page = Page::new(false);
        show(&node, "0123456789abcdef0123456789abcdef", false, &mut page);
        let expected = "\
token   0123456789abcdef0123456789abcdef

With it node 3 comes back once, and receives the 9 replicas that it has lost. Do
this on its machine, 10.0.0.3:

  1. See that its old process has ended and stays so (systemctl stop coracle).
  2. Empty its data_dir, or name another one; keep the old files elsewhere.
  3. Start it with its configuration and the token:

     coracle server --config FILE --join 0123456789abcdef0123456789abcdef

From then on it starts as before, without --join. Its old directory is refused:
what it had promised with that is given up.
`coracle-ctl status --wait` waits until all groups are at full strength.
";
        assert_eq!(page.finish(), expected);
    }
}
