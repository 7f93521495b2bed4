//! What the running cluster looks like: `dev.json` for programs, a table for people.

use std::fmt::Write;
use std::io;

use super::error::Error;
use super::plan::{NodePlan, Plan};
use crate::atomic_file;

const FILE_NAME: &str = "dev.json";

/// `DIR/dev.json`.
#[derive(serde::Serialize)]
struct DevJson<'a> {
    nodes: Vec<DevNode<'a>>,
}

#[derive(serde::Serialize)]
struct DevNode<'a> {
    id: u32,
    pid: u32,
    host: String,
    gateway: u16,
    cores: &'a [u16],
    peer: u16,
    admin: u16,
    data_dir: String,
}

/// Removes what an earlier run has left, so that the file appears only when this cluster is ready.
pub fn remove_dev_json(plan: &Plan) -> Result<(), Error> {
    match std::fs::remove_file(plan.dir.join(FILE_NAME)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::os(format!("removing {FILE_NAME}"))(error))
        }
        _ => Ok(()),
    }
}

/// Writes the file, as one step. `pids` are in the order of the nodes.
pub fn write_dev_json<'a>(plan: &'a Plan, pids: &[u32]) -> Result<(), Error> {
    assert_eq!(pids.len(), plan.nodes.len(), "one process per node");
    let node = |(node, pid): (&'a NodePlan, &u32)| DevNode {
        id: node.id,
        pid: *pid,
        host: node.host.to_string(),
        gateway: node.gateway,
        cores: &node.cores,
        peer: node.peer,
        admin: node.admin,
        data_dir: node.data_dir.display().to_string(),
    };
    let nodes = plan.nodes.iter().zip(pids).map(node).collect();
    let mut text = serde_json::to_string_pretty(&DevJson { nodes }).expect("plain numbers and texts are JSON");
    text.push('\n');
    let path = plan.dir.join(FILE_NAME);
    atomic_file::write(&path, text.as_bytes()).map_err(Error::os(format!("writing {}", path.display())))
}

/// The table of nodes.
pub fn table(plan: &Plan, pids: &[u32]) -> String {
    let heads = ["node", "host", "gateway", "cores", "peer", "admin", "pid", "data"];
    let mut rows = vec![heads.map(str::to_owned)];
    for (node, pid) in plan.nodes.iter().zip(pids) {
        let cores = match (node.cores.first(), node.cores.last()) {
            (Some(first), Some(last)) if first != last => format!("{first}-{last}"),
            (first, _) => first.map(u16::to_string).unwrap_or_default(),
        };
        rows.push([
            node.id.to_string(),
            node.host.to_string(),
            node.gateway.to_string(),
            cores,
            node.peer.to_string(),
            node.admin.to_string(),
            pid.to_string(),
            node.data_dir.display().to_string(),
        ]);
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut text = String::from("\n");
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "  {cell:width$}").expect("writing to a String cannot fail");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push('\n');
    text
}

/// The line that says the cluster is ready, and what to do with it. Programs wait for its first word, so nothing
/// stands before it, no colour either.
pub fn ready(plan: &Plan) -> String {
    let (nodes, groups) = (plan.nodes.len(), plan.cluster.groups);
    let Some(first) = plan.nodes.first() else { return String::new() };
    let (gateway, core) = (first.gateway, first.cores.first().copied().unwrap_or_default());
    let plural = |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    format!(
        "ready: {}, {}, each with a leader\n\n  \
         any client    redis-cli -p {gateway} set hello world\n  \
         cluster mode  redis-cli -c -p {core} get hello\n  \
         some load     redis-benchmark -p {gateway} -t set,get -n 100000 -P 16 -q\n  \
         one more node coracle dev add --data-dir {dir}\n  \
         logs          {dir}/node-*.log\n  \
         stop          Ctrl-C\n\n",
        plural(nodes, "node"),
        plural(groups as usize, "group"),
        dir = plan.dir.display()
    )
}
