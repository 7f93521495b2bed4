//! `get` and `set`: settings of the nodes, which each node has for itself.

use std::collections::BTreeMap;
use std::thread;

use serde::Serialize;

use crate::connection::{Connection, reason};
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{self, Node};
use crate::screen::Screen;
use crate::text::{Page, Tone, cell, toned};
use crate::value::Value;

/// What became of a command on a node: its reply, or why there is none.
type Answer = Result<Value, Failure>;

/// Why a node has not done something.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failure {
    text: String,
    /// Whether the node has refused it; else it could not be asked.
    is_refused: bool,
}

#[derive(Serialize)]
struct Settings<'a> {
    /// By node.
    settings: BTreeMap<i64, BTreeMap<&'a str, &'a str>>,
    failures: BTreeMap<i64, &'a str>,
}

#[derive(Serialize)]
struct Done<'a> {
    done: Vec<i64>,
    failures: BTreeMap<i64, &'a str>,
}

/// Shows the settings whose names match one of the patterns.
///
/// # Errors
/// If no node says which nodes there are, there is no such node, or not all of them have answered.
pub(crate) fn get(
    gateway: &Gateway,
    screen: &mut Screen,
    patterns: &[String],
    nodes: &[i64],
) -> Result<(), CtlError> {
    let patterns: Vec<&str> =
        if patterns.is_empty() { vec!["*"] } else { patterns.iter().map(String::as_str).collect() };
    let answers = on_nodes(gateway, nodes, &[[&["CONFIG", "GET"], patterns.as_slice()].concat()])?;
    if screen.is_json {
        let answered = answers.iter().filter_map(|(node, answer)| Some((*node, answer.as_ref().ok()?)));
        let settings = answered.map(|(node, reply)| {
            (node, reply.pairs().filter_map(|(name, value)| Some((name, value.text()?))).collect())
        });
        screen.print_json(&Settings { settings: settings.collect(), failures: failures(&answers) });
    } else {
        let mut page = screen.page();
        show(&answers, &mut page);
        screen.print(page);
    }
    all_done(&answers)
}

/// Changes settings of nodes while they run, and writes them into their files if they are to be kept.
///
/// # Errors
/// As [`get`].
pub(crate) fn set(
    gateway: &Gateway,
    screen: &mut Screen,
    pairs: &[(String, String)],
    is_kept: bool,
    nodes: &[i64],
) -> Result<(), CtlError> {
    let words = pairs.iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    let set: Vec<&str> = ["CONFIG", "SET"].into_iter().chain(words).collect();
    let commands = if is_kept { vec![set, vec!["CONFIG", "REWRITE"]] } else { vec![set] };
    let answers = on_nodes(gateway, nodes, &commands)?;
    let done: Vec<i64> = answers.iter().filter(|(_, answer)| answer.is_ok()).map(|(node, _)| *node).collect();
    if screen.is_json {
        screen.print_json(&Done { done, failures: failures(&answers) });
    } else if !done.is_empty() {
        let mut page = screen.page();
        let ids: Vec<_> = done.iter().map(i64::to_string).collect();
        let on = if ids.len() == 1 { "node" } else { "nodes" };
        let until = if is_kept {
            "It stands in their files too."
        } else {
            "It holds until they end; --keep writes it into their files."
        };
        page.paragraph(&format!("Done on {on} {}. {until}", ids.join(", ")), 0);
        screen.print(page);
    }
    all_done(&answers)
}

/// Has nodes do something, one command after the other as long as they succeed: these, or all that there are.
fn on_nodes(gateway: &Gateway, ids: &[i64], commands: &[Vec<&str>]) -> Result<Vec<(i64, Answer)>, CtlError> {
    let mut connection = gateway.connect()?;
    let nodes = model::nodes(&gateway.ask(&mut connection, &["CORACLE", "NODES"])?);
    if let Some(id) = ids.iter().find(|id| nodes.iter().all(|node| node.id != **id)) {
        let known: Vec<_> = nodes.iter().map(|node| node.id.to_string()).collect();
        return Err(CtlError::Usage(format!("there is no node {id}: the nodes are {}", known.join(", "))));
    }
    let wanted = nodes.iter().filter(|node| ids.is_empty() || ids.contains(&node.id));
    Ok(thread::scope(|scope| {
        let asked: Vec<_> =
            wanted.map(|node| (node.id, scope.spawn(move || on_node(gateway, node, commands)))).collect();
        let joined = asked.into_iter();
        joined.map(|(id, answer)| (id, answer.join().expect("what asks a node does not panic"))).collect()
    }))
}

fn on_node(gateway: &Gateway, node: &Node, commands: &[Vec<&str>]) -> Answer {
    let not_reached = |error: std::io::Error| Failure { text: reason(&error, gateway.timeout), is_refused: false };
    let mut connection = Connection::open(&node.gateway, gateway.timeout).map_err(not_reached)?;
    let mut last = Value::Null;
    for words in commands {
        last = connection.ask(words).map_err(not_reached)?;
        if let Value::Error(text) = last {
            return Err(Failure { text: text.strip_prefix("ERR ").unwrap_or(&text).to_owned(), is_refused: true });
        }
    }
    Ok(last)
}

/// Each setting once, with the nodes that have it so, if not all do.
fn show(answers: &[(i64, Answer)], page: &mut Page) {
    let mut by_value: BTreeMap<(&str, &str), Vec<i64>> = BTreeMap::new();
    let answered: Vec<_> = answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().ok()?))).collect();
    for (node, reply) in &answered {
        for (name, value) in reply.pairs() {
            by_value.entry((name, value.text().unwrap_or_default())).or_default().push(**node);
        }
    }
    if by_value.is_empty() && !answered.is_empty() {
        return page.paragraph("No setting has such a name; `coracle-ctl get` shows all of them.", 0);
    }
    let row = |((name, value), nodes): (&(&str, &str), &Vec<i64>)| {
        let is_same = nodes.len() == answered.len();
        let ids: Vec<_> = nodes.iter().map(i64::to_string).collect();
        let nodes = if is_same { cell("all") } else { toned(ids.join(","), Tone::Doubtful) };
        vec![cell(name), nodes, cell(value)]
    };
    let rows: Vec<_> = by_value.iter().map(row).collect();
    if !rows.is_empty() {
        page.table(&["SETTING", "NODES", "VALUE"], &rows);
    }
}

fn failures(answers: &[(i64, Answer)]) -> BTreeMap<i64, &str> {
    answers.iter().filter_map(|(node, answer)| Some((*node, answer.as_ref().err()?.text.as_str()))).collect()
}

fn all_done(answers: &[(i64, Answer)]) -> Result<(), CtlError> {
    let failed = || answers.iter().filter_map(|(node, answer)| Some((node, answer.as_ref().err()?)));
    if failed().next().is_none() {
        return Ok(());
    }
    // What several nodes say is told once.
    let mut told: Vec<(&Failure, Vec<String>)> = Vec::new();
    for (node, failure) in failed() {
        match told.iter_mut().find(|(other, _)| *other == failure) {
            Some((_, nodes)) => nodes.push(node.to_string()),
            None => told.push((failure, vec![node.to_string()])),
        }
    }
    let line = |(failure, nodes): &(&Failure, Vec<String>)| {
        let (who, has) = if nodes.len() == 1 { ("node", "has") } else { ("nodes", "have") };
        let nodes = nodes.join(", ");
        match failure.is_refused {
            true => format!("{who} {nodes} {has} refused it: {}", failure.text),
            false => format!("{who} {nodes} could not be asked: {}", failure.text),
        }
    };
    let text = told.iter().map(line).collect::<Vec<_>>().join("\n");
    Err(CtlError::Partly { text, is_refused: failed().any(|(_, failure)| failure.is_refused) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(pairs: &[(&str, &str)]) -> Answer {
        let text = |text: &str| Value::Text(text.to_owned());
        Ok(Value::List(pairs.iter().flat_map(|(name, value)| [text(name), text(value)]).collect()))
    }

    #[test]
    fn settings_in_which_nodes_differ_name_the_nodes() {
        let same = ("log_level", "info");
        let down = Err(Failure { text: "nobody listens there".to_owned(), is_refused: false });
        let answers =
            [(1, reply(&[same, ("spin_us", "50")])), (2, reply(&[same, ("spin_us", "7")])), (3, down.clone())];
        let mut page = Page::new(false);
        show(&answers, &mut page);
        let expected = "\
SETTING    NODES  VALUE
log_level  all    info
spin_us    1      50
spin_us    2      7
";
        assert_eq!(page.finish(), expected);
        let error = all_done(&answers).expect_err("one is down");
        assert_eq!(
            (error.exit_code(), error.to_string().as_str()),
            (4, "node 3 could not be asked: nobody listens there")
        );
        let refused = Err(Failure { text: "`x` is unknown".to_owned(), is_refused: true });
        let error = all_done(&[(1, refused.clone()), (2, refused), (3, down)]).expect_err("none has done it");
        let told = "nodes 1, 2 have refused it: `x` is unknown\nnode 3 could not be asked: nobody listens there";
        assert_eq!((error.exit_code(), error.to_string().as_str()), (1, told));
        assert!(all_done(&answers[..2]).is_ok());
    }
}
