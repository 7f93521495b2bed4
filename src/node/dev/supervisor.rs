//! Starts the nodes, waits until they are a cluster, watches them, and stops them. What is wanted of the running cluster meanwhile is
//! made by [`changes`](super::changes) and [`outages`](super::outages).

use std::net::IpAddr;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use super::child::{NodeChild, log_tail, status_words};
use super::console::Console;
use super::control::Control;
use super::error::Error;
use super::plan::{NodePlan, Plan};
use super::probe::Health;
use super::report;
use crate::signals::StopRequests;

/// How long the cluster may take until every group has a leader.
const START_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long a node may take to end after SIGTERM.
const STOP_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often nodes are looked at.
const POLL: Duration = Duration::from_millis(50);
/// And until all are ready.
const START_POLL: Duration = Duration::from_millis(10);
/// A node that dies again soon waits longer and longer before its next start, within these bounds.
const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A node that ran this long is not crashing in a loop.
const STABLE_AFTER: Duration = Duration::from_secs(30);

/// What a node is, and how it is asked.
#[derive(Clone, Copy)]
pub struct NodeKind<'a> {
    /// The command that runs it, with a token if it is to join.
    pub launch: &'a dyn Fn(&NodePlan, Option<&str>) -> Command,
    /// How it sees its cluster.
    pub health: &'a dyn Fn(&NodePlan) -> Health,
    /// Whether it knows the node at another address, if it says so.
    pub knows: &'a dyn Fn(&NodePlan, IpAddr) -> Option<bool>,
    /// Makes everything ready for one more node.
    pub prepare: &'a dyn Fn(&Plan, &NodePlan) -> Result<(), Error>,
}

/// Watches over the nodes of a cluster. What a node is comes from outside.
pub struct Supervisor<'a> {
    pub(super) plan: Plan,
    pub(super) kind: NodeKind<'a>,
    pub(super) console: &'a Console,
    pub(super) stop: StopRequests,
    restart: bool,
    /// Invariant: in the order of the plan's nodes, behind which one may stand that is joining.
    pub(super) nodes: Vec<Watched>,
    /// By which changes are wanted, if it can be listened to.
    control: Option<Control>,
}

/// A node and its process, if it has one.
pub(super) struct Watched {
    pub(super) plan: NodePlan,
    pub(super) child: Option<NodeChild>,
    /// The last process it had; 0 before the first.
    pub(super) pid: u32,
    started: Instant,
    /// When it will be started again.
    restart_at: Option<Instant>,
    backoff: Duration,
    /// When it was last looked whether it was removed.
    looked: Option<Instant>,
}

impl<'a> Supervisor<'a> {
    /// Nothing runs yet.
    pub fn new(
        plan: Plan,
        kind: NodeKind<'a>,
        console: &'a Console,
        stop: StopRequests,
        restart: bool,
    ) -> Supervisor<'a> {
        let nodes = plan.nodes.iter().cloned().map(Watched::new).collect();
        Supervisor { plan, kind, console, stop, restart, nodes, control: None }
    }

    /// Runs the cluster until it is asked to stop. No process is left when this returns.
    pub fn run(mut self) -> Result<(), Error> {
        let started = self.start();
        self.console.progress_end();
        match started {
            Ok(true) => {}
            // Asked to stop before it was ready.
            Ok(false) => return self.stop_all(),
            Err(error) => {
                // The first failure is what matters, however the rest ends.
                let _ = self.stop_all();
                return Err(error);
            }
        }
        let watched = self.announce().and_then(|()| self.watch());
        let stopped = self.stop_all();
        watched.and(stopped)
    }

    /// Starts all nodes and waits until each knows a leader for every group. `false` if asked to stop.
    fn start(&mut self) -> Result<bool, Error> {
        let begin = Instant::now();
        for idx in 0..self.nodes.len() {
            self.start_node(idx, None)?;
        }
        loop {
            for node in &mut self.nodes {
                if let Some(status) = node.take_ended()? {
                    let (tail, status) = (log_tail(&node.plan.log_file), status_words(status));
                    return Err(Error::NodeFailed { node: node.plan.id, status, tail });
                }
            }
            let healths: Vec<Health> = self.plan.nodes.iter().map(self.kind.health).collect();
            if healths.iter().all(|health| *health == Health::Ready) {
                return Ok(true);
            }
            let state = self.state_words(&healths);
            self.console.progress(&state);
            if begin.elapsed() > START_WAIT_MAX {
                let tails: Vec<String> = self.plan.nodes.iter().map(|node| log_tail(&node.log_file)).collect();
                return Err(Error::NotReady { seconds: START_WAIT_MAX.as_secs(), state, tail: tails.join("\n") });
            }
            if self.stop.wait(0, START_POLL) {
                return Ok(false);
            }
        }
    }

    fn state_words(&self, healths: &[Health]) -> String {
        let count = healths.len();
        let answering = healths.iter().filter(|health| **health != Health::Silent).count();
        let leaderless = healths.iter().filter_map(|health| match health {
            Health::Leaderless(Some(groups)) => Some(*groups),
            _ => None,
        });
        // Each node tells of what it knows; the one that knows most is nearest to the truth.
        match leaderless.min() {
            Some(groups) => format!("{answering} of {count} nodes answer, elections to go: {groups}"),
            None => format!("{answering} of {count} nodes answer"),
        }
    }

    /// Starts a node, with a token if it is to join.
    pub(super) fn start_node(&mut self, idx: usize, token: Option<&str>) -> Result<(), Error> {
        let node = &mut self.nodes[idx];
        let started = NodeChild::start((self.kind.launch)(&node.plan, token), &node.plan.log_file);
        let child = started.map_err(Error::os(format!("starting node {}", node.plan.id)))?;
        node.pid = child.pid();
        node.child = Some(child);
        node.started = Instant::now();
        node.restart_at = None;
        Ok(())
    }

    fn announce(&mut self) -> Result<(), Error> {
        match Control::listen(&self.plan.dir) {
            Ok(control) => self.control = Some(control),
            Err(error) => self.console.note(&format!("no node can be added or removed meanwhile: {error}")),
        }
        self.write_dev_json()?;
        self.console.print(&report::table(&self.plan, &self.pids()));
        self.console.print(&report::ready(&self.plan));
        Ok(())
    }

    pub(super) fn write_dev_json(&self) -> Result<(), Error> {
        report::write_dev_json(&self.plan, &self.pids())
    }

    fn pids(&self) -> Vec<u32> {
        self.nodes.iter().map(|node| node.pid).collect()
    }

    /// Reports nodes that die, and starts them again if that is wanted, and makes changes, until asked to stop.
    fn watch(&mut self) -> Result<(), Error> {
        while !self.stop.wait(0, POLL) {
            if let Some((change, mut caller)) = self.control.as_ref().and_then(Control::next) {
                self.change(change, &mut caller)?;
            }
            self.forget_removed()?;
            for idx in 0..self.nodes.len() {
                if let Some(status) = self.nodes[idx].take_ended()? {
                    self.node_died(idx, status);
                }
                if self.nodes[idx].restart_at.is_some_and(|at| at <= Instant::now()) {
                    self.start_node(idx, None)?;
                    self.write_dev_json()?;
                    let node = &self.nodes[idx];
                    self.console.note(&format!("node {} was started again as process {}", node.plan.id, node.pid));
                }
            }
        }
        Ok(())
    }

    fn node_died(&mut self, idx: usize, status: ExitStatus) {
        let restart = self.restart;
        let node = &mut self.nodes[idx];
        let (id, pid) = (node.plan.id, node.pid);
        let words = format!("node {id} (process {pid}) ended with {}", status_words(status));
        let next = if restart {
            if node.started.elapsed() >= STABLE_AFTER {
                node.backoff = BACKOFF_MIN;
            }
            let wait = node.backoff;
            node.restart_at = Some(Instant::now() + wait);
            node.backoff = (wait * 2).min(BACKOFF_MAX);
            format!("it starts again in {:.1} s", wait.as_secs_f64())
        } else {
            "it stays down (--restart would start it again)".to_owned()
        };
        self.console.note(&format!("{words}; {next}\n{}", log_tail(&node.plan.log_file)));
        if !restart && self.nodes.iter().all(|node| node.child.is_none()) {
            self.console.note("no node is left; Ctrl-C ends this program");
        }
    }

    /// Stops all nodes: asks them, waits, and kills those that do not end in time or once asked again.
    fn stop_all(&mut self) -> Result<(), Error> {
        let asked = self.stop.count();
        if self.nodes.iter().any(|node| node.child.is_some()) {
            self.console.note("stopping all nodes (Ctrl-C again kills them)");
        }
        let mut unclean = Vec::new();
        for node in &mut self.nodes {
            if let Some(Err(error)) = node.child.as_mut().map(NodeChild::ask_to_end) {
                unclean.push(format!("node {} could not be asked to end: {error}", node.plan.id));
            }
        }
        let begin = Instant::now();
        loop {
            for node in &mut self.nodes {
                if let Some(status) = node.take_ended()?.filter(|status| !ended_cleanly(*status)) {
                    unclean.push(format!("node {} ended with {}", node.plan.id, status_words(status)));
                }
            }
            if self.nodes.iter().all(|node| node.child.is_none()) {
                break;
            }
            if self.stop.wait(asked, POLL) || begin.elapsed() > STOP_WAIT_MAX {
                self.kill_all(&mut unclean)?;
                break;
            }
        }
        if unclean.is_empty() { Ok(()) } else { Err(Error::Unclean(unclean.join(", "))) }
    }

    fn kill_all(&mut self, unclean: &mut Vec<String>) -> Result<(), Error> {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                child.kill().map_err(Error::os(format!("killing node {}", node.plan.id)))?;
                unclean.push(format!("node {} was killed", node.plan.id));
            }
        }
        Ok(())
    }
}

impl Watched {
    /// A node that does not run yet.
    pub(super) fn new(plan: NodePlan) -> Watched {
        let started = Instant::now();
        Watched { plan, child: None, pid: 0, started, restart_at: None, backoff: BACKOFF_MIN, looked: None }
    }

    /// It stays down until somebody wants it to run.
    pub(super) fn do_not_restart(&mut self) {
        self.restart_at = None;
    }

    /// Whether it does not run, and nobody has looked for `every` whether it was removed.
    pub(super) fn may_be_removed(&mut self, every: Duration) -> bool {
        let is_due = self.child.is_none() && self.looked.is_none_or(|looked| looked.elapsed() >= every);
        if is_due {
            self.looked = Some(Instant::now());
        }
        is_due
    }

    /// If its process has ended: how. Then it has none any more.
    pub(super) fn take_ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        let Some(child) = &mut self.child else { return Ok(None) };
        let ended = child.ended().map_err(Error::os(format!("looking after node {}", self.plan.id)))?;
        if ended.is_some() {
            self.child = None;
        }
        Ok(ended)
    }
}

/// Whether a node that was asked to end did so as it should. One that was asked before it had begun to listen
/// for signals dies of SIGTERM itself, with nothing lost.
fn ended_cleanly(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.success() || status.signal() == Some(rustix::process::Signal::TERM.as_raw())
}

#[cfg(test)]
#[path = "supervisor_tests.rs"]
mod tests;
