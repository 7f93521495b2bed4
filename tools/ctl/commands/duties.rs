//! `drain`, `undrain` and `decommission`: a node is to lead nothing, to serve again, or to leave.

use std::time::Duration;

use serde::Serialize;

use super::wait::{Look, Looks};
use super::{plan, tasks};
use crate::error::CtlError;
use crate::gateway::Gateway;
use crate::model::{self, Node, Task};
use crate::screen::Screen;
use crate::text::{Page, duration};

/// What is asked of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// To lead nothing.
    Drain,
    /// To give all that it holds away, and to be removed then.
    Decommission,
}

/// How a decommission is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decommission {
    /// Nothing is to be changed.
    pub(crate) is_plan: bool,
    /// Only if the plan has this digest.
    pub(crate) if_plan: Option<String>,
    /// For how long to wait, if at all.
    pub(crate) wait: Option<Duration>,
}

/// How far that is.
#[derive(Clone, Debug, Default)]
struct Seen {
    nodes: Vec<Node>,
    tasks: Vec<Task>,
}

#[derive(Serialize)]
struct Progress<'a> {
    node: i64,
    is_done: bool,
    /// What the cluster says of it, once it does.
    task: Option<&'a Task>,
}

impl Duty {
    /// Of the command, of its task, and of `coracle-ctl`.
    fn name(self) -> &'static str {
        match self {
            Duty::Drain => "drain",
            Duty::Decommission => "decommission",
        }
    }

    /// What the cluster calls it where it lists nodes.
    fn duty(self) -> &'static str {
        match self {
            Duty::Drain => "drains",
            Duty::Decommission => "leaves",
        }
    }

    fn begun(self, id: i64) -> String {
        match self {
            Duty::Drain => format!(
                "Node {id} drains: it hands over what it leads. It keeps its replicas; `coracle-ctl undrain {id}` has it serve again."
            ),
            Duty::Decommission => format!(
                "Node {id} leaves: its replicas begin on other nodes, and once it holds nothing the cluster forgets it. Until then \
                 `coracle-ctl undrain {id}` takes that back."
            ),
        }
    }

    fn done(self, id: i64, took: Duration) -> String {
        let took = duration(took);
        match self {
            Duty::Drain => format!("Node {id} leads nothing, after {took}: it may be stopped."),
            Duty::Decommission => format!(
                "Node {id} is removed, after {took}: its process ends, or may be stopped. Its number is never used again."
            ),
        }
    }
}

/// Has a node lead nothing, and waits, if that is wanted, until that is so.
///
/// # Errors
/// If the cluster refuses, or what is waited for is taken back or lasts too long.
pub(crate) fn drain(gateway: &Gateway, screen: &mut Screen, id: i64, wait: Option<Duration>) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    gateway.ask(&mut connection, &["CORACLE", "DRAIN", &id.to_string()])?;
    follow(gateway, screen, Duty::Drain, id, wait)
}

/// Has a node that drains or leaves serve again.
///
/// # Errors
/// If the cluster refuses.
pub(crate) fn undrain(gateway: &Gateway, screen: &mut Screen, id: i64) -> Result<(), CtlError> {
    let mut connection = gateway.connect()?;
    gateway.ask(&mut connection, &["CORACLE", "UNDRAIN", &id.to_string()])?;
    let done = format!("Node {id} serves. It is given leaders again, and keeps the replicas that it has.");
    screen.tell(&done, &Progress { node: id, is_done: true, task: None });
    Ok(())
}

/// Has a node leave with all that it holds, or shows what that would do.
///
/// # Errors
/// As [`drain`]; and if the plan is another one than was expected.
pub(crate) fn decommission(
    gateway: &Gateway,
    screen: &mut Screen,
    id: i64,
    how: &Decommission,
) -> Result<(), CtlError> {
    if how.is_plan {
        return plan::run(gateway, screen, id);
    }
    let mut connection = gateway.connect()?;
    if let Some(digest) = &how.if_plan {
        plan::expect(gateway, &mut connection, id, digest)?;
    }
    gateway.ask(&mut connection, &["CORACLE", "DECOMMISSION", &id.to_string()])?;
    follow(gateway, screen, Duty::Decommission, id, how.wait)
}

/// Says that it is begun, and waits, if that is wanted, until it is done.
fn follow(
    gateway: &Gateway,
    screen: &mut Screen,
    duty: Duty,
    id: i64,
    wait: Option<Duration>,
) -> Result<(), CtlError> {
    screen.tell(&duty.begun(id), &Progress { node: id, is_done: false, task: None });
    let Some(limit) = wait else { return Ok(()) };
    let looks = Looks {
        limit,
        again: &format!("coracle-ctl {} {id} --wait", duty.name()),
        ask: &|| Seen::ask(gateway),
        draw: &|seen: &Seen, page: &mut Page| tasks::show(&seen.tasks, page),
        tell: &|seen, screen| {
            screen.print_json_if_new(&Progress { node: id, is_done: false, task: seen.task(duty, id) });
        },
    };
    let (_, took) = looks.until(screen, |seen| seen.look(duty, id))?;
    screen.tell(&duty.done(id, took), &Progress { node: id, is_done: true, task: None });
    Ok(())
}

impl Seen {
    fn ask(gateway: &Gateway) -> Result<Seen, CtlError> {
        let mut connection = gateway.connect()?;
        let nodes = model::nodes(&gateway.ask(&mut connection, &["CORACLE", "NODES"])?);
        // Whoever has just begun to lead the cluster does not know yet.
        let tasks = match gateway.ask(&mut connection, &["CORACLE", "TASKS"]) {
            Ok(told) => model::tasks(&told),
            Err(CtlError::Refused(_)) => Vec::new(),
            Err(other) => return Err(other),
        };
        Ok(Seen { nodes, tasks })
    }

    fn task(&self, duty: Duty, id: i64) -> Option<&Task> {
        self.tasks.iter().find(|task| task.node == id && task.kind == duty.name())
    }

    /// Whether the node has done what is asked of it, or what it has left to do.
    fn look(&self, duty: Duty, id: i64) -> Result<Look, CtlError> {
        let node = self.nodes.iter().find(|node| node.id == id);
        let task = self.task(duty, id);
        match (duty, node) {
            (Duty::Decommission, None) => return Ok(Look::Done),
            (Duty::Drain, None) => return Err(CtlError::Refused(format!("node {id} was removed meanwhile"))),
            (_, Some(node)) if node.duty == "serves" => {
                let text = format!("somebody has taken that back: node {id} serves");
                return Err(CtlError::Refused(text));
            }
            (Duty::Drain, Some(node)) if node.duty == "leaves" => {
                return Err(CtlError::Refused(format!("somebody wants more by now: node {id} leaves")));
            }
            (Duty::Decommission, Some(node)) if node.duty == "drains" => {
                return Err(CtlError::Refused(format!("somebody wants less by now: node {id} drains, and stays")));
            }
            _ => {}
        }
        Ok(match task {
            Some(task) if task.state == "done" && duty == Duty::Drain => Look::Done,
            Some(task) if task.state == "done" => {
                Look::Left(format!("node {id} holds nothing, and is being removed"))
            }
            Some(task) => Look::Left(tasks::line(task)),
            None => {
                Look::Left(format!("node {id} {}: the cluster has yet to look at what is left there", duty.duty()))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Node 3 has this duty, and the cluster says this of it.
    fn seen(duty: &str, told: Option<(&str, &str)>) -> Seen {
        let node = Node { id: 3, duty: duty.to_owned(), state: "up".to_owned(), ..Node::default() };
        let task = |(kind, state): (&str, &str)| Task {
            kind: kind.to_owned(),
            node: 3,
            leaders: 2,
            replicas: 5,
            bytes: 1 << 20,
            state: state.to_owned(),
            reason: if state == "waiting" { "no node can take it".to_owned() } else { String::new() },
        };
        let other = Task { kind: "decommission".to_owned(), node: 7, state: "done".to_owned(), ..Task::default() };
        let tasks = [other].into_iter().chain(told.map(task)).collect();
        Seen { nodes: vec![Node { id: 1, ..Node::default() }, node], tasks }
    }

    fn left(duty: Duty, seen: &Seen) -> String {
        match seen.look(duty, 3) {
            Ok(Look::Left(left)) => left,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_drain_is_done_once_the_cluster_says_so() {
        let drain = |duty, told| seen(duty, told).look(Duty::Drain, 3).map_err(|error| error.exit_code());
        assert_eq!(drain("drains", Some(("drain", "done"))), Ok(Look::Done));
        // What is said of another node, or of another task, counts nothing.
        assert!(matches!(drain("drains", None), Ok(Look::Left(_))));
        assert!(matches!(drain("drains", Some(("balance", "done"))), Ok(Look::Left(_))));
        let running = left(Duty::Drain, &seen("drains", Some(("drain", "running"))));
        assert_eq!(running, "drain of node 3 is running; 2 leaders left");
        assert_eq!((drain("serves", None), drain("leaves", None)), (Err(1), Err(1)));
        let gone = Seen { nodes: Vec::new(), ..seen("drains", None) };
        assert_eq!(gone.look(Duty::Drain, 3).map_err(|error| error.exit_code()), Err(1));
    }

    #[test]
    fn a_decommission_is_done_once_the_node_is_gone() {
        let leave = |seen: &Seen| seen.look(Duty::Decommission, 3).map_err(|error| error.exit_code());
        let waiting = seen("leaves", Some(("decommission", "waiting")));
        let expected = "decommission of node 3 waits: no node can take it; 2 leaders, 5 replicas (1.0 MiB) left";
        assert_eq!(left(Duty::Decommission, &waiting), expected);
        let emptied = seen("leaves", Some(("decommission", "done")));
        assert!(left(Duty::Decommission, &emptied).contains("is being removed"));
        assert!(left(Duty::Decommission, &seen("leaves", None)).contains("has yet to look"));
        let gone = Seen { nodes: Vec::new(), ..seen("leaves", None) };
        assert_eq!(leave(&gone), Ok(Look::Done));
        assert_eq!((leave(&seen("serves", None)), leave(&seen("drains", None))), (Err(1), Err(1)));
        // A node of an earlier version does not tell its duty.
        assert!(matches!(leave(&seen("", None)), Ok(Look::Left(_))));
    }
}
