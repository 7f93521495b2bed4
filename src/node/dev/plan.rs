//! Who listens where, and what lies where: a pure function of the cluster, the directory and the first port.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::cluster_file::ClusterFile;
use super::error::Error;
use super::ports::{ADMIN_DISTANCE, CORE_DISTANCE, CORES_COUNT_MAX, NODES_COUNT_MAX, PEER_DISTANCE, PORT_MAX};
use crate::atomic_file;
use crate::config::{Config, Flags};

/// A development cluster.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its directory.
    pub dir: PathBuf,
    /// What it is.
    pub cluster: ClusterFile,
    /// Its first port.
    port: u16,
    /// Its nodes, by id.
    pub nodes: Vec<NodePlan>,
}

/// What each core gets of this machine, which all nodes share.
#[derive(Clone, Copy, Debug)]
pub struct Share {
    /// Most clients of each of its ports.
    pub clients_count_max: usize,
    /// Its memory, in bytes, unless `--set memory_bytes_max` says otherwise.
    pub memory_bytes_max: usize,
}

/// A node of a development cluster.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// Its id, from 1.
    pub id: u32,
    /// Its address: 127.0.0.id.
    pub host: IpAddr,
    /// Port for any client and any key.
    pub gateway: u16,
    /// Port of each core for cluster clients.
    pub cores: Vec<u16>,
    /// Port of core 0 for other nodes; core `c` has this plus `c`.
    pub peer: u16,
    /// Port for metrics.
    pub admin: u16,
    /// Its data.
    pub data_dir: PathBuf,
    /// Its configuration.
    pub config_file: PathBuf,
    /// Where its stdout and stderr go.
    pub log_file: PathBuf,
}

impl Plan {
    /// The plan of a cluster whose first port is `port`, at most [`PORT_MAX`].
    pub fn new(dir: &Path, cluster: &ClusterFile, port: u16) -> Plan {
        assert!(port <= PORT_MAX && cluster.nodes + cluster.joined <= NODES_COUNT_MAX);
        assert!(cluster.cores <= CORES_COUNT_MAX);
        let plan = Plan { dir: dir.to_owned(), cluster: cluster.clone(), port, nodes: Vec::new() };
        let nodes = cluster.ids().map(|id| plan.node(id)).collect();
        Plan { nodes, ..plan }
    }

    /// The node of this id, whether there is one or not.
    fn node(&self, id: u32) -> NodePlan {
        let Plan { dir, cluster, port, .. } = self;
        NodePlan {
            id,
            host: IpAddr::V4(Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 0, 0, 0)) + id)),
            gateway: *port,
            cores: (0..cluster.cores).map(|core| port + CORE_DISTANCE + core).collect(),
            peer: port + PEER_DISTANCE,
            admin: port + ADMIN_DISTANCE,
            data_dir: dir.join(format!("node-{id}")),
            config_file: dir.join(format!("node-{id}.toml")),
            log_file: dir.join(format!("node-{id}.log")),
        }
    }

    /// The node that may join next; `None` if there are as many as there may be. Its id is the one that the cluster gives it: that counts
    /// on from the last, too.
    pub fn next_node(&self) -> Option<NodePlan> {
        let id = self.cluster.nodes + self.cluster.joined + 1;
        (id <= NODES_COUNT_MAX).then(|| self.node(id))
    }

    /// The next node has joined.
    pub fn joined(&mut self, node: NodePlan) -> Result<(), Error> {
        self.cluster.joined += 1;
        self.nodes.push(node);
        self.cluster.store(&self.dir)
    }

    /// A node was removed.
    pub fn removed(&mut self, id: u32) -> Result<(), Error> {
        self.cluster.removed.push(id);
        self.nodes.retain(|node| node.id != id);
        self.cluster.store(&self.dir)
    }

    /// Writes the configuration of every node. `settings` are `key=value` pairs put over the defaults; one that
    /// does not fit is [`Error::Usage`].
    pub fn write_configs(&self, settings: &[String], share: Share) -> Result<(), Error> {
        self.nodes.iter().try_for_each(|node| self.write_config(node, settings, share))
    }

    /// Writes the configuration of one node, in the same way.
    pub fn write_config(&self, node: &NodePlan, settings: &[String], share: Share) -> Result<(), Error> {
        let text = self.config_text(node, settings, share)?;
        let path = &node.config_file;
        atomic_file::write(path, text.as_bytes()).map_err(Error::os(format!("writing {}", path.display())))?;
        // Found here rather than by every node in its own log.
        match Config::load(Some(path), &Flags::default()) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::Usage(error.to_string())),
        }
    }

    fn config_text(&self, node: &NodePlan, settings: &[String], share: Share) -> Result<String, Error> {
        let path = node.data_dir.to_str();
        let path = path.ok_or_else(|| Error::Usage("the path of --data-dir must be UTF-8".to_owned()))?;
        let mut pairs = vec![
            ("cluster_id", toml::Value::from(self.cluster.cluster_id.to_string())),
            ("data_dir", toml::Value::from(path)),
            ("groups", toml::Value::from(self.cluster.groups)),
            ("maxclients", toml_number(share.clients_count_max)),
            ("memory_bytes_max", toml_number(share.memory_bytes_max)),
            // Nodes share this machine with each other and with whatever else the developer runs.
            ("pin", toml::Value::from(false)),
            ("spin_us", toml::Value::from(0)),
        ];
        if node.id <= self.cluster.nodes {
            pairs.insert(0, ("node_id", toml::Value::from(node.id)));
        }
        let fixed = pairs.iter().position(|(name, _)| *name == "maxclients").expect("it is listed above");
        for setting in settings {
            let usage = |reason: &str| Error::Usage(format!("`--set {setting}`: {reason}"));
            let (key, value) = setting.split_once('=').ok_or_else(|| usage("it must be KEY=VALUE"))?;
            let (key, value) = (key.trim(), value.trim());
            if pairs[..fixed].iter().any(|(name, _)| *name == key) {
                return Err(usage("this is decided by the other flags"));
            }
            let value = value.parse().unwrap_or_else(|_| toml::Value::from(value));
            pairs.retain(|(name, _)| *name != key);
            pairs.push((key, value));
        }
        let mut text = String::from("# Written by `coracle dev` at each start.\n");
        for (key, value) in pairs {
            writeln!(text, "{key} = {value}").expect("writing to a String cannot fail");
        }
        let has_joined = node.id > self.cluster.nodes;
        if has_joined {
            text.push_str(&addresses_text(node));
        }
        // Those that form a cluster list each other; whoever joins it later asks those that are there.
        let formed: Vec<NodePlan> = (1..=self.cluster.nodes).map(|id| self.node(id)).collect();
        let others = self.nodes.iter().filter(|other| other.id != node.id);
        for peer in if has_joined { others.cloned().collect() } else { formed } {
            write!(text, "\n[[peers]]\nid = {}\n{}", peer.id, addresses_text(&peer))
                .expect("writing to a String cannot fail");
        }
        Ok(text)
    }
}

/// Where a node listens, as lines of a configuration.
fn addresses_text(node: &NodePlan) -> String {
    let NodePlan { host, gateway, peer, admin, .. } = node;
    let (core, cores) = (gateway + CORE_DISTANCE, node.cores.len());
    format!(
        "host = \"{host}\"\ngateway_port = {gateway}\ncore_port = {core}\npeer_port = {peer}\nadmin_port = {admin}\ncores = {cores}\n"
    )
}

fn toml_number(number: usize) -> toml::Value {
    toml::Value::from(i64::try_from(number).unwrap_or(i64::MAX))
}

impl NodePlan {
    /// Where any client may ask for any key.
    pub fn gateway_addr(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.gateway)
    }

    /// Every port it listens on, with what it is for.
    pub fn ports(&self) -> impl Iterator<Item = (u16, &'static str)> + '_ {
        let peers = (self.peer..).take(self.cores.len()).map(|port| (port, "peers"));
        let cores = self.cores.iter().map(|port| (*port, "a core"));
        [(self.gateway, "the gateway"), (self.admin, "admin")].into_iter().chain(cores).chain(peers)
    }
}
