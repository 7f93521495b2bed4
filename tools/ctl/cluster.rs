//! The whole cluster: one node is asked for the map, and all that can be reached for what they alone know.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use crate::connection::{Connection, reason};
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{self, Group, Node, Standing, Status, Task};

/// How long the picture of a cluster waits for its tasks.
const TASKS_WAIT_MAX: Duration = Duration::from_secs(1);

/// What is known of the cluster at a moment.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Cluster {
    /// As the node that was asked first sees it.
    pub(crate) status: Status,
    /// As that one sees them.
    pub(crate) nodes: Vec<Node>,
    /// As their leaders see them, as far as those could be asked.
    pub(crate) groups: Vec<Group>,
    /// What each node says of itself, or why it could not be asked, in the order of the nodes.
    pub(crate) answers: Vec<NodeAnswer>,
    /// What is under way. None if that was not told: by an earlier version, or as nobody leads the cluster.
    pub(crate) tasks: Vec<Task>,
}

/// What a node says of itself.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct NodeAnswer {
    pub(crate) node: i64,
    pub(crate) status: Option<Status>,
    /// Why there is none.
    pub(crate) error: Option<String>,
}

impl Cluster {
    /// Asks for all of it.
    ///
    /// # Errors
    /// Those of the node that is asked first: what the others do not say is left open.
    pub(crate) fn ask(gateway: &Gateway) -> Result<Cluster, CtlError> {
        let mut connection = gateway.connect()?;
        let status = model::status(&gateway.ask(&mut connection, &["CORACLE", "STATUS"])?);
        let nodes = model::nodes(&gateway.ask(&mut connection, &["CORACLE", "NODES"])?);
        let groups = model::groups(&gateway.ask(&mut connection, &["CORACLE", "GROUPS"])?);
        let tasks = ask_tasks(gateway, &connection.addr);
        let mut cluster = Cluster { status, nodes, groups, answers: Vec::new(), tasks: Vec::new() };
        let others: Vec<_> = cluster.nodes.iter().filter(|node| node.id != cluster.status.node).cloned().collect();
        // A node that does not answer takes its time-out, so all are asked at once.
        let asked = others.into_iter().map(|node| {
            let gateway = gateway.clone();
            thread::spawn(move || (node.id, ask_node(&gateway, &node)))
        });
        let asked: Vec<_> = asked.collect();
        let own = NodeAnswer { node: cluster.status.node, status: Some(cluster.status.clone()), error: None };
        cluster.answers.push(own);
        for answer in asked {
            let (node, answer) = answer.join().expect("what asks a node does not panic");
            cluster.take(node, answer);
        }
        cluster.answers.sort_by_key(|answer| answer.node);
        cluster.tasks = tasks.join().expect("what asks a node does not panic");
        Ok(cluster)
    }

    /// Takes in what another node says.
    fn take(&mut self, node: i64, answer: Result<(Status, Vec<Group>), String>) {
        let (status, error) = match answer {
            Ok((status, groups)) => {
                for told in groups.into_iter().filter(|group| group.led.is_some()) {
                    if let Some(group) = self.groups.iter_mut().find(|group| group.id == told.id) {
                        // For a moment two may say so; the one that the map's node knows to lead counts.
                        let is_named = |leader: &str| group.leader.starts_with(&format!("{leader}/"));
                        if group.led.is_none() || is_named(&node.to_string()) {
                            group.led = told.led;
                            group.leader = told.leader;
                        }
                    }
                }
                (Some(status), None)
            }
            Err(error) => (None, Some(error)),
        };
        self.answers.push(NodeAnswer { node, status, error });
    }

    /// What a node says of itself.
    pub(crate) fn answer(&self, node: i64) -> Option<&NodeAnswer> {
        self.answers.iter().find(|answer| answer.node == node)
    }

    /// How many groups stand so.
    pub(crate) fn groups_that_are(&self, standing: Standing) -> usize {
        self.groups.iter().filter(|group| group.standing() == standing).count()
    }

    /// Whether all nodes are up and all groups at full strength.
    pub(crate) fn is_whole(&self) -> bool {
        self.nodes.iter().all(Node::is_up) && self.groups_that_are(Standing::Full) == self.groups.len()
    }

    /// The node of this id.
    ///
    /// # Errors
    /// [`CtlError::Usage`] that there is none, and which there are.
    pub(crate) fn node(&self, id: i64) -> Result<&Node, CtlError> {
        self.nodes.iter().find(|node| node.id == id).ok_or_else(|| {
            let ids: Vec<_> = self.nodes.iter().map(|node| node.id.to_string()).collect();
            CtlError::Usage(format!("there is no node {id}: the nodes are {}", ids.join(", ")))
        })
    }
}

/// Asks for the tasks meanwhile: without a leader of the cluster that takes a while, and fails.
fn ask_tasks(gateway: &Gateway, addr: &str) -> JoinHandle<Vec<Task>> {
    let (gateway, addr) = (gateway.clone(), addr.to_owned());
    let timeout = gateway.timeout.min(TASKS_WAIT_MAX);
    thread::spawn(move || {
        let asked = Connection::open(&addr, timeout)
            .ok()
            .and_then(|mut connection| gateway.ask(&mut connection, &["CORACLE", "TASKS"]).ok());
        asked.as_ref().map(model::tasks).unwrap_or_default()
    })
}

fn ask_node(gateway: &Gateway, node: &Node) -> Result<(Status, Vec<Group>), String> {
    let mut connection =
        Connection::open(&node.gateway, gateway.timeout).map_err(|error| reason(&error, gateway.timeout))?;
    let mut ask = |words: &[&str]| {
        gateway.ask(&mut connection, words).map_err(|error| match error {
            CtlError::Unreachable(attempts) => attempts.into_iter().map(|(_, reason)| reason).collect(),
            other => other.to_string(),
        })
    };
    Ok((model::status(&ask(&["CORACLE", "STATUS"])?), model::groups(&ask(&["CORACLE", "GROUPS"])?)))
}
