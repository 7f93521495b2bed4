//! The commands, one file each, and what several of them do.

pub(crate) mod duties;
pub(crate) mod groups;
pub(crate) mod members;
pub(crate) mod moves;
pub(crate) mod nodes;
mod overview;
pub(crate) mod plan;
pub(crate) mod replace;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod tasks;
pub(crate) mod wait;

use crate::model::Node;
use crate::text::{Cell, Tone, toned};

/// How a node stands, in a cell of a table: as the node that was asked sees it, and as it was found by whoever looks after all nodes, where
/// that is another thing.
pub(crate) fn state_cell(node: &Node) -> Cell {
    let state = match (node.state.as_str(), node.health.as_str()) {
        ("here" | "up", health @ ("suspect" | "down")) => format!("up, {health}"),
        ("here", _) => "up".to_owned(),
        // Not heard for a moment is not down yet.
        ("down", "suspect") => "suspect".to_owned(),
        (state, _) => state.to_owned(),
    };
    let tone = match state.as_str() {
        "up" => Tone::Good,
        "down" => Tone::Bad,
        _ => Tone::Doubtful,
    };
    match node.heard_ms.filter(|_| !node.is_up()).and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) => toned(format!("{state} {}", crate::text::duration(std::time::Duration::from_millis(ms))), tone),
        None => toned(state, tone),
    }
}

/// What is asked of a node, in a cell of a table.
pub(crate) fn duty_cell(node: &Node) -> Cell {
    let tone = if matches!(node.duty.as_str(), "" | "serves") { Tone::Plain } else { Tone::Doubtful };
    toned(or_dash(&node.duty), tone)
}

/// What stands for nothing in a table.
pub(crate) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::Page;

    #[test]
    fn what_looks_after_the_nodes_counts_where_it_knows_better() {
        let shown = |state: &str, health: &str, heard_ms| {
            let (state, health) = (state.to_owned(), health.to_owned());
            let mut page = Page::new(false);
            page.table(&["X"], &[vec![state_cell(&Node { state, health, heard_ms, ..Node::default() })]]);
            page.finish().lines().last().map(str::to_owned)
        };
        for (state, health, heard_ms, expected) in [
            ("here", "", Some(0), "up"),
            ("here", "up", Some(0), "up"),
            ("up", "unknown", Some(2), "up"),
            ("up", "suspect", Some(2), "up, suspect"),
            ("down", "suspect", Some(3_000), "suspect 3s"),
            ("down", "down", Some(3_000), "down 3s"),
            ("down", "unknown", None, "down"),
            ("awaited", "down", Some(3_000), "awaited 3s"),
        ] {
            assert_eq!(shown(state, health, heard_ms).as_deref(), Some(expected), "{state} {health}");
        }
    }
}
