//! The commands, one file each, and what several of them do.

pub(crate) mod groups;
pub(crate) mod members;
pub(crate) mod moves;
pub(crate) mod nodes;
mod overview;
pub(crate) mod replace;
pub(crate) mod settings;
pub(crate) mod status;
pub(crate) mod wait;

use crate::model::Node;
use crate::text::{Cell, Tone, toned};

/// How a node stands, in a cell of a table.
pub(crate) fn state_cell(node: &Node) -> Cell {
    let tone = match node.state.as_str() {
        "here" | "up" => Tone::Good,
        "down" => Tone::Bad,
        _ => Tone::Doubtful,
    };
    let state = if node.state == "here" { "up" } else { &node.state };
    match node.heard_ms.filter(|_| !node.is_up()).and_then(|ms| u64::try_from(ms).ok()) {
        Some(ms) => toned(format!("{state} {}", crate::text::duration(std::time::Duration::from_millis(ms))), tone),
        None => toned(state, tone),
    }
}

/// What stands for nothing in a table.
pub(crate) fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
