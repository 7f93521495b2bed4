//! `nodes`: each node, as the one that is asked sees it.

use serde::Serialize;

use super::{duty_cell, or_dash, state_cell};
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{self, Node};
use crate::screen::Screen;
use crate::text::{Page, cell};

/// Digits of an incarnation that tell two apart for people.
const INCARNATION_DIGITS: usize = 8;

#[derive(Serialize)]
struct Nodes<'a> {
    nodes: &'a [Node],
}

/// Shows the nodes.
///
/// # Errors
/// If no node says which there are.
pub(crate) fn run(gateway: &Gateway, screen: &mut Screen) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    let nodes = model::nodes(&gateway.ask(&mut connection, &["CORACLE", "NODES"])?);
    if screen.is_json {
        screen.print_json(&Nodes { nodes: &nodes });
    } else {
        let mut page = screen.page();
        show(&nodes, &mut page);
        screen.print(page);
    }
    Ok(())
}

fn show(nodes: &[Node], page: &mut Page) {
    let row = |node: &Node| {
        vec![
            cell(node.id),
            cell(or_dash(&node.rack)),
            state_cell(node),
            duty_cell(node),
            cell(node.cores),
            cell(node.leads),
            cell(node.copies),
            cell(or_dash(node.incarnation.get(..INCARNATION_DIGITS).unwrap_or(&node.incarnation))),
            cell(&node.gateway),
        ]
    };
    let rows: Vec<_> = nodes.iter().map(row).collect();
    page.table(&[">NODE", "RACK", "STATE", "DUTY", ">CORES", ">LEADS", ">COPIES", "DATA", "GATEWAY"], &rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_a_table() {
        let up = Node {
            id: 1,
            gateway: "127.0.0.1:7000".to_owned(),
            state: "here".to_owned(),
            cores: 2,
            leads: 5,
            copies: 9,
            incarnation: "0123456789abcdef".to_owned(),
            heard_ms: Some(0),
            duty: "serves".to_owned(),
            health: "up".to_owned(),
            ..Node::default()
        };
        let down = Node {
            id: 12,
            rack: "b".to_owned(),
            state: "down".to_owned(),
            heard_ms: Some(72_000),
            incarnation: String::new(),
            duty: "leaves".to_owned(),
            health: "down".to_owned(),
            ..up.clone()
        };
        let mut page = Page::new(false);
        show(&[up, down], &mut page);
        let expected = "\
NODE  RACK  STATE        DUTY    CORES  LEADS  COPIES  DATA      GATEWAY
   1  -     up           serves      2      5       9  01234567  127.0.0.1:7000
  12  b     down 1m 12s  leaves      2      5       9  -         127.0.0.1:7000
";
        let shown = page.finish();
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.chars().count() <= 80));
    }
}
