//! Coracle, as `coracle dev` runs it: one process per node, all on this machine.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

use crate::client;
use crate::compare::Context;
use crate::compare::measure::{Sample, Subject, Test, fill, measure as measure_one};
use crate::compare::process::{Server, free_ports};
use crate::error::Error;
use crate::load::mix::Kind;

/// Ports of one node, counted from the gateway: the gateway itself, one core, peers, admin.
const PORT_OFFSETS: [u16; 4] = [0, 1, 1_000, 2_000];
/// How often a base port is drawn before giving up.
const PORT_TRIES_MAX: usize = 200;

/// What `dev.json` says.
#[derive(Debug, Deserialize)]
struct DevJson {
    nodes: Vec<DevNode>,
}

#[derive(Debug, Deserialize)]
struct DevNode {
    pid: u32,
    host: IpAddr,
    cores: Vec<u16>,
}

/// Its name in the results.
pub fn system(nodes_count: usize) -> String {
    format!("coracle x{nodes_count}")
}

/// Starts a cluster of that many nodes, measures, and stops it.
///
/// # Errors
/// If it does not start, and those of the load.
pub fn measure(context: &Context<'_>, nodes_count: usize) -> Result<Vec<Sample>, Error> {
    let dir = context.dir.join(format!("coracle-{nodes_count}"));
    std::fs::create_dir(&dir).map_err(Error::os(format!("creating {}", dir.display())))?;
    let samples = with_cluster(context, nodes_count, &dir);
    std::fs::remove_dir_all(&dir).map_err(Error::os(format!("removing {}", dir.display())))?;
    samples
}

fn with_cluster(context: &Context<'_>, nodes_count: usize, dir: &Path) -> Result<Vec<Sample>, Error> {
    let system = system(nodes_count);
    context.say(&format!("{system}: starting"));
    let binary = context.options.coracle.canonicalize();
    let binary = binary.map_err(Error::os(format!("finding {}", context.options.coracle.display())))?;
    let data_dir = dir.join("data");
    let mut command = Command::new(binary);
    command.args(["dev", "--cores", "1", "--groups", "8", "--nodes", &nodes_count.to_string()]);
    command.args(["--port", &free_base_port(nodes_count)?.to_string(), "--data-dir"]).arg(&data_dir);
    let server = Server::start(&system, command, dir.join("log"))?;
    let nodes = server.await_ready(context, |server| {
        let ready = server.printed().lines().any(|line| line.starts_with("ready"));
        ready.then(|| read_dev_json(&data_dir)).flatten()
    })?;
    let pids: Vec<u32> = nodes.iter().map(|node| node.pid).collect();
    let cores: Vec<SocketAddr> =
        nodes.iter().flat_map(|node| node.cores.iter().map(|port| SocketAddr::new(node.host, *port))).collect();
    let syncs = || {
        let count = |addr: &SocketAddr| client::info_field(&client::info(*addr, None).ok()?, "log_blocks_written");
        // Every node logs every command, so the mean is what one log has done.
        cores.iter().map(count).sum::<Option<u64>>().map(|sum| sum / nodes_count.max(1) as u64)
    };
    let subject = Subject { system: &system, addrs: &cores, cluster: true, pids: &pids, syncs: &syncs };
    fill(context, &subject)?;
    measure_all(context, &subject)
}

fn measure_all(context: &Context<'_>, subject: &Subject<'_>) -> Result<Vec<Sample>, Error> {
    let many = context.options.connections_many;
    let tests = [
        Test::closed(Kind::Set, 1, 1),
        Test::closed(Kind::Set, many, 1),
        Test::shared(many),
        Test::closed(Kind::Set, many, 16),
        Test::closed(Kind::Set, 50, 16),
        Test::closed(Kind::Get, 50, 1),
        Test::closed(Kind::Get, 50, 16),
    ];
    let mut samples = tests.iter().map(|test| measure_one(context, subject, test)).collect::<Result<Vec<_>, _>>()?;
    let full = measure_one(context, subject, &Test::closed(Kind::Set, 50, 1))?;
    // An open loop sends commands one by one, so that its full load is that of P=1; the pipeline is only room.
    let rate = full.ops_per_s * 0.7;
    samples.push(full);
    if rate > 0.0 {
        samples.push(measure_one(context, subject, &Test { rate: Some(rate), ..Test::closed(Kind::Set, 50, 16) })?);
    }
    Ok(samples)
}

fn read_dev_json(data_dir: &Path) -> Option<Vec<DevNode>> {
    let text = std::fs::read_to_string(data_dir.join("dev.json")).ok()?;
    serde_json::from_str::<DevJson>(&text).ok().map(|dev| dev.nodes)
}

/// A port such that every port of every node is free just now.
fn free_base_port(nodes_count: usize) -> Result<u16, Error> {
    let host = |node: usize| IpAddr::from([127, 0, 0, node as u8]);
    let is_free = |addr: SocketAddr| std::net::TcpListener::bind(addr).is_ok();
    for _ in 0..PORT_TRIES_MAX {
        let Some(base) = free_ports(host(1), 1)?.pop() else { break };
        let mut addrs = (1..=nodes_count)
            .flat_map(|node| PORT_OFFSETS.iter().map(move |offset| (host(node), base.checked_add(*offset))));
        if addrs.all(|(ip, port)| port.is_some_and(|port| is_free(SocketAddr::new(ip, port)))) {
            return Ok(base);
        }
    }
    Err(Error::Usage("no run of free ports for Coracle".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_json_is_read() {
        let dir = tempfile::tempdir().unwrap();
        assert!(read_dev_json(dir.path()).is_none(), "not there yet");
        let text = r#"{"nodes": [{"id": 1, "pid": 77, "host": "127.0.0.1", "gateway": 7000, "cores": [7001, 7002],
            "peer": 8000, "admin": 9000, "data_dir": "/x/node-1"}]}"#;
        std::fs::write(dir.path().join("dev.json"), text).unwrap();
        let nodes = read_dev_json(dir.path()).unwrap();
        assert_eq!((nodes[0].pid, nodes[0].cores.as_slice()), (77, [7001, 7002].as_slice()));
    }

    #[test]
    fn a_base_port_leaves_room_for_all_ports() {
        let base = free_base_port(3).unwrap();
        assert!(u32::from(base) + 2_000 <= u32::from(u16::MAX));
    }
}
