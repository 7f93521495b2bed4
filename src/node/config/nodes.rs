//! The nodes that form the cluster, from `[[peers]]` or from the keys of this node alone.

use meta::Node;
use types::NodeId;

use super::keys::{self, Key};
use super::problem::Problem;
use super::table::{FileTables, Table, number};
use super::value::{Origin, Value};

/// This node, and all that form the cluster, this one included if it has an id. `None` if something is wrong, which is then added to
/// `problems`.
pub(super) fn nodes(
    tables: &FileTables,
    own: Option<NodeId>,
    problems: &mut Vec<Problem>,
) -> Option<(Node, Vec<Node>)> {
    let before = problems.len();
    if tables.peers.is_empty() {
        let Some(own) = own else {
            problems.push(Problem::new("`node_id` is missing", Origin::Default).help(
                "set it in the file or with --node-id; or list nodes of a cluster that this one is to join as [[peers]]",
            ));
            return None;
        };
        let node = node(&tables.top, own, &keys::HOST, problems)?;
        return Some((node.clone(), vec![node]));
    }
    let mut nodes = Vec::with_capacity(tables.peers.len());
    for peer in &tables.peers {
        let missing = [&keys::PEER_ID, &keys::PEER_HOST].into_iter().find(|key| peer.get(key).is_none());
        if let Some(key) = missing {
            let problem = Problem::new(format!("a peer without `{}`", key.name), peer.origin(key));
            problems.push(problem.help("every [[peers]] entry needs at least `id` and `host`"));
            continue;
        }
        let id = NodeId(number(peer, &keys::PEER_ID));
        let Some(node) = node(peer, id, &keys::PEER_HOST, problems) else { continue };
        if Some(id) == own {
            check_agreement(&tables.top, peer, &node, problems);
        }
        if nodes.iter().any(|other: &Node| other.id == id) {
            problems.push(Problem::new(format!("two peers have the id {id}"), peer.origin(&keys::PEER_ID)));
        }
        nodes.push(node);
    }
    let own_node = match own {
        None => node(&tables.top, NodeId(0), &keys::HOST, problems),
        Some(own) => nodes.iter().find(|node| node.id == own).cloned(),
    };
    if let (Some(own), None) = (own, &own_node)
        && problems.len() == before
    {
        let message = format!("no peer has the id {own}, which is this node's `node_id`");
        let problem = Problem::new(message, tables.top.origin(&keys::NODE_ID));
        problems.push(problem.help(
            "[[peers]] lists all nodes that form the cluster, this one included; one that joins a cluster has no `node_id`",
        ));
    }
    if problems.len() == before { Some((own_node?, nodes)) } else { None }
}

/// A node from a table. Ports that were not set follow from `gateway_port`.
fn node(table: &Table, id: NodeId, host_key: &Key, problems: &mut Vec<Problem>) -> Option<Node> {
    let gateway_port: u16 = number(table, &keys::GATEWAY_PORT);
    let mut port = |key: &'static Key, distance: u16| match table.int(key) {
        Some(port) => u16::try_from(port).ok(),
        None => gateway_port.checked_add(distance).or_else(|| {
            let message = format!("`{}` would be {gateway_port} + {distance}, which is no port", key.name);
            let help = format!("set `{}`, or a lower `gateway_port`", key.name);
            problems.push(Problem::new(message, table.origin(&keys::GATEWAY_PORT)).help(help));
            None
        }),
    };
    let core_port = port(&keys::CORE_PORT, 1);
    let peer_port = port(&keys::PEER_PORT, 1_000);
    let admin_port = port(&keys::ADMIN_PORT, 2_000);
    Some(Node {
        id,
        host: table.text(host_key)?.parse().ok()?,
        gateway_port,
        core_port: core_port?,
        peer_port: peer_port?,
        admin_port: admin_port?,
        cores: number(table, &keys::CORES),
        rack: table.text(&keys::RACK).map(str::to_owned),
    })
}

/// What the top of the file says about this node must be what its `[[peers]]` entry says.
fn check_agreement(top: &Table, peer: &Table, node: &Node, problems: &mut Vec<Problem>) {
    let pairs = [
        (&keys::HOST, Value::Text(node.host.to_string())),
        (&keys::GATEWAY_PORT, Value::Int(node.gateway_port.into())),
        (&keys::CORE_PORT, Value::Int(node.core_port.into())),
        (&keys::PEER_PORT, Value::Int(node.peer_port.into())),
        (&keys::ADMIN_PORT, Value::Int(node.admin_port.into())),
        (&keys::CORES, Value::Int(node.cores.into())),
        (&keys::RACK, Value::Text(node.rack.clone().unwrap_or_default())),
    ];
    for (key, listed) in pairs {
        let Some(given) = top.get(key).filter(|given| given.value != listed) else { continue };
        let listed = match (&listed, peer.get(key)) {
            (Value::Text(text), None) if text.is_empty() => "nothing".to_owned(),
            _ => listed.to_toml(),
        };
        let message =
            format!("`{}` is {} here and {listed} in this node's peer entry", key.name, given.value.to_toml());
        let origin = match &given.origin {
            Origin::Default => peer.origin(key),
            origin => origin.clone(),
        };
        let help = "the entry counts, as on the other nodes: leave the key out here";
        problems.push(Problem::new(message, origin).help(help));
    }
}
