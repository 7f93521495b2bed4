//! The configuration in force, as a file that could be given again.

use std::fmt::Write;

use meta::Node;

use super::keys::{self, Fallback, KEYS, Key};
use super::problem::Source;
use super::table::FileTables;
use super::value::{Origin, Value};

/// A key with the value in force and where it comes from.
pub(super) type Effective = (&'static Key, Value, Origin);

/// Every key that has a value; those that were not given follow from the node and its memory. With a list of nodes in which this one is, what stands there is left out.
pub(super) fn effective(tables: &FileTables, node: &Node, memory_bytes_max: usize) -> Vec<Effective> {
    let listed = !tables.peers.is_empty() && tables.top.get(&keys::NODE_ID).is_some();
    let is_listed = |key: &Key| listed && keys::PEER_KEYS.iter().any(|peer_key| peer_key.name == key.name);
    let value_of = |key: &'static Key| {
        let (value, origin) = match (tables.top.get(key), &key.default) {
            (Some(setting), _) => (setting.value.clone(), setting.origin.clone()),
            (None, Fallback::Int(number)) => (Value::Int(*number), Origin::Default),
            (None, Fallback::Bool(on)) => (Value::Bool(*on), Origin::Default),
            (None, Fallback::Text(word)) => (Value::Text((*word).to_owned()), Origin::Default),
            (None, Fallback::Optional(_) | Fallback::Required) => {
                (derived(key, node, memory_bytes_max)?, Origin::Default)
            }
        };
        Some((key, value, origin))
    };
    KEYS.iter().filter(|key| !is_listed(key)).filter_map(|key| value_of(key)).collect()
}

/// A key and its value as CONFIG GET shows them.
pub(super) fn shown_pair((key, value, _): &Effective) -> (String, String) {
    let text = match value {
        Value::Text(text) => text.clone(),
        other => other.to_toml(),
    };
    (key.name.to_owned(), text)
}

/// Every key with its value and, as a comment, where the value comes from.
pub(super) fn print(effective: &[Effective], tables: &FileTables, nodes: &[Node], source: Option<&Source>) -> String {
    let mut text = String::new();
    let listed = !tables.peers.is_empty();
    for (key, value, origin) in effective {
        let pair = format!("{} = {}", key.name, value.to_toml());
        line(&mut text, &pair, &origin_words(origin, source));
    }
    for node in nodes.iter().filter(|_| listed) {
        text.push_str("\n[[peers]]\n");
        peer(&mut text, node);
    }
    text
}

fn peer(text: &mut String, node: &Node) {
    let numbers = [
        ("gateway_port", node.gateway_port),
        ("core_port", node.core_port),
        ("peer_port", node.peer_port),
        ("admin_port", node.admin_port),
        ("cores", node.cores),
    ];
    line(text, &format!("id = {}", node.id), "");
    line(text, &format!("host = \"{}\"", node.host), "");
    for (name, number) in numbers {
        line(text, &format!("{name} = {number}"), "");
    }
    if let Some(rack) = &node.rack {
        line(text, &format!("rack = {}", Value::Text(rack.clone()).to_toml()), "");
    }
}

fn derived(key: &Key, node: &Node, memory_bytes_max: usize) -> Option<Value> {
    let port = |port: u16| Some(Value::Int(port.into()));
    match key.name {
        "core_port" => port(node.core_port),
        "peer_port" => port(node.peer_port),
        "admin_port" => port(node.admin_port),
        "admin_host" => Some(Value::Text(node.host.to_string())),
        "memory_bytes_max" => i64::try_from(memory_bytes_max).ok().map(Value::Int),
        _ => None,
    }
}

fn origin_words(origin: &Origin, source: Option<&Source>) -> String {
    match (origin, source) {
        (Origin::Flag(flag), _) => format!("--{flag}"),
        (Origin::File(span), Some(source)) => {
            let line_number = source.text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1;
            format!("{}:{line_number}", source.name)
        }
        (Origin::Run, _) => "CONFIG SET".to_owned(),
        _ => "default".to_owned(),
    }
}

fn line(text: &mut String, pair: &str, origin: &str) {
    const PAIR_WIDTH: usize = 40;
    let result = match origin {
        "" => writeln!(text, "{pair}"),
        _ => writeln!(text, "{pair:PAIR_WIDTH$} # {origin}"),
    };
    result.expect("writing to a String cannot fail");
}
