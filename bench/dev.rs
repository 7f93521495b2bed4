//! Clusters of Coracle that this program starts: `coracle dev` with its data in a directory of ours.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use serde::Deserialize;

use crate::compare::process::{Server, free_ports};
use crate::error::Error;

/// Ports of one node, counted from the gateway: the gateway itself, one core, peers, admin.
const PORT_OFFSETS: [u16; 4] = [0, 1, 1_000, 2_000];
/// How often a base port is drawn before giving up.
const PORT_TRIES_MAX: usize = 200;

/// What `dev.json` says.
#[derive(Debug, Deserialize)]
struct DevJson {
    nodes: Vec<Node>,
}

/// One node of a cluster.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its process.
    pub pid: u32,
    host: IpAddr,
    cores: Vec<u16>,
}

impl Node {
    /// The ports of its cores.
    pub fn cores(&self) -> impl Iterator<Item = SocketAddr> {
        self.cores.iter().map(|port| SocketAddr::new(self.host, *port))
    }
}

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The binary of Coracle.
    pub binary: PathBuf,
    /// How many nodes, each with one core.
    pub nodes_count: usize,
    /// Settings of every node, as in its configuration file: `key=value`.
    pub set: Vec<String>,
    /// The CPU on which all of its processes stay, if that is asked for.
    pub cpu: Option<usize>,
}

impl Settings {
    /// That many nodes as they are by default.
    pub fn new(binary: &Path, nodes_count: usize) -> Settings {
        Settings { binary: binary.to_owned(), nodes_count, set: Vec::new(), cpu: None }
    }

    fn command(&self) -> Result<Command, Error> {
        let binary = self.binary.canonicalize();
        let binary = binary.map_err(Error::os(format!("finding {}", self.binary.display())))?;
        let Some(cpu) = self.cpu else { return Ok(Command::new(binary)) };
        // Of util-linux, which every distribution has; the nodes inherit it.
        let mut command = Command::new("taskset");
        command.args(["--cpu-list", &cpu.to_string()]).arg(binary);
        Ok(command)
    }
}

/// A running cluster. Dropping it stops all of its processes and leaves its data where it is.
pub struct Dev {
    // Held for its end.
    _server: Server,
    nodes: Vec<Node>,
}

impl Dev {
    /// Starts a cluster with its data and its log below `dir`, and waits until it serves.
    ///
    /// # Errors
    /// If it does not start within 30 s, or a signal arrives.
    pub fn start(settings: &Settings, dir: &Path, stop: &AtomicBool) -> Result<Dev, Error> {
        let nodes_count = settings.nodes_count;
        let data_dir = dir.join("data");
        let mut command = settings.command()?;
        command.args(["dev", "--cores", "1", "--groups", "8", "--nodes", &nodes_count.to_string()]);
        command.args(["--port", &free_base_port(nodes_count)?.to_string(), "--data-dir"]).arg(&data_dir);
        for setting in &settings.set {
            command.args(["--set", setting]);
        }
        let server = Server::start(&format!("coracle x{nodes_count}"), command, dir.join("log"))?;
        let nodes = server.await_ready(stop, |server| {
            let ready = server.printed().lines().any(|line| line.starts_with("ready"));
            ready.then(|| read_dev_json(&data_dir)).flatten()
        })?;
        Ok(Dev { _server: server, nodes })
    }

    /// Its nodes, by their numbers.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The processes of its nodes.
    pub fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.pid).collect()
    }

    /// The ports of all cores.
    pub fn cores(&self) -> Vec<SocketAddr> {
        self.nodes.iter().flat_map(Node::cores).collect()
    }
}

fn read_dev_json(data_dir: &Path) -> Option<Vec<Node>> {
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
