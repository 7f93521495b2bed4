//! Nodes of a development cluster that stop, lose their data, and come back, as somebody wants it; and those that the cluster has removed.

use std::io;
use std::time::{Duration, Instant};

use super::child::{NodeChild, log_tail, status_words};
use super::control::Caller;
use super::error::Error;
use super::probe::Health;
use super::supervisor::{Supervisor, Watched};

/// How long a node may take to end once it was asked to, to be given a token, and to serve again.
const END_WAIT_MAX: Duration = Duration::from_secs(10);
const TOKEN_WAIT_MAX: Duration = Duration::from_secs(60);
const SERVE_WAIT_MAX: Duration = Duration::from_secs(60);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How often it is looked whether a node that does not run was removed.
const REMOVED_LOOK_EVERY: Duration = Duration::from_secs(1);

/// What to tell of what somebody wanted.
type Words = Result<String, String>;

impl Supervisor<'_> {
    /// A node ends, if it runs, and stays down.
    pub(super) fn stop_node(&mut self, id: u32, is_killed: bool) -> Result<Words, Error> {
        let Some(idx) = self.position(id) else { return Ok(Err(no_such_node(id))) };
        let restart = format!("`coracle dev restart {id} --data-dir {}` starts it again", self.plan.dir.display());
        Ok(Ok(match self.end(idx, is_killed)? {
            Some(how) => format!("node {id} {how}, and stays down; {restart}"),
            None => format!("node {id} does not run; {restart}"),
        }))
    }

    /// A node ends at once, if it runs, and its data is removed.
    pub(super) fn wipe(&mut self, id: u32) -> Result<Words, Error> {
        let Some(idx) = self.position(id) else { return Ok(Err(no_such_node(id))) };
        self.end(idx, true)?;
        let dir = &self.nodes[idx].plan.data_dir;
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Ok(Err(format!("removing {}: {error}", dir.display())))
            }
            _ => Ok(Ok(format!(
                "node {id} has lost its data and is down; `coracle dev restart {id} --data-dir {}` brings it back",
                self.plan.dir.display()
            ))),
        }
    }

    /// A node runs again, whether it did before or not. One without data is let in again.
    pub(super) fn restart(&mut self, id: u32, caller: &mut Caller) -> Result<Words, Error> {
        let Some(idx) = self.position(id) else { return Ok(Err(no_such_node(id))) };
        if let Some(how) = self.end(idx, false)? {
            caller.say(&format!("node {id} {how}"));
        }
        let mut token = None;
        if !self.nodes[idx].plan.data_dir.exists() {
            caller.say(&format!("node {id} has no data: once the others see that it is down they give it a token"));
            match self.token_of(id) {
                Ok(given) => token = Some(given),
                Err(why) => return Ok(Err(why)),
            }
        }
        self.start_node(idx, token.as_deref())?;
        self.write_dev_json()?;
        let begin = Instant::now();
        while (self.kind.health)(&self.nodes[idx].plan) != Health::Ready {
            if let Some(status) = self.nodes[idx].take_ended()? {
                let tail = log_tail(&self.nodes[idx].plan.log_file);
                return Ok(Err(format!("node {id} ended with {}\n{tail}", status_words(status))));
            }
            if begin.elapsed() > SERVE_WAIT_MAX || self.stop.wait(0, LOOK_EVERY) {
                return Ok(Err(format!("node {id} runs, and does not know a leader of every group yet")));
            }
        }
        let node = &self.nodes[idx];
        let how = if token.is_some() { "without what it had held" } else { "on its data" };
        Ok(Ok(format!(
            "node {id} runs again, {how}, and serves on {} (process {})",
            node.plan.gateway_addr(),
            node.pid
        )))
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.nodes.iter().position(|node| node.plan.id == id)
    }

    /// Ends a node. Returns how it ended, or `None` if it did not run.
    fn end(&mut self, idx: usize, is_killed: bool) -> Result<Option<String>, Error> {
        let node = &mut self.nodes[idx];
        node.do_not_restart();
        let id = node.plan.id;
        if node.child.is_none() || node.take_ended()?.is_some() {
            return Ok(None);
        }
        if !is_killed && let Some(Err(error)) = node.child.as_mut().map(NodeChild::ask_to_end) {
            return Err(Error::os(format!("asking node {id} to end"))(error));
        }
        let begin = Instant::now();
        while !is_killed && begin.elapsed() < END_WAIT_MAX {
            if node.take_ended()?.is_some() {
                return Ok(Some("has ended".to_owned()));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        if let Some(mut child) = node.child.take() {
            child.kill().map_err(Error::os(format!("killing node {id}")))?;
        }
        Ok(Some("was killed".to_owned()))
    }

    /// A token with which a node comes back that has lost its data.
    fn token_of(&self, id: u32) -> Words {
        let begin = Instant::now();
        loop {
            let why = match self.asked(Some(id), &format!("CORACLE REPLACE {id}")) {
                Ok(token) => return Ok(token),
                Err(why) => why,
            };
            if why.contains("no such node") || begin.elapsed() > TOKEN_WAIT_MAX || self.stop.wait(0, LOOK_EVERY) {
                return Err(why);
            }
        }
    }

    /// Forgets nodes that do not run and that the cluster has removed, by itself or as somebody has asked for it.
    pub(super) fn forget_removed(&mut self) -> Result<(), Error> {
        for idx in (0..self.nodes.len()).rev() {
            if !self.nodes[idx].may_be_removed(REMOVED_LOOK_EVERY) {
                continue;
            }
            let host = self.nodes[idx].plan.host;
            let others = self.nodes.iter().filter(|other| other.plan.host != host && other.child.is_some());
            // One that can be asked is enough: nobody forgets a node that was not removed.
            let is_known = others.map(|other| (self.kind.knows)(&other.plan, host)).find_map(|told| told);
            if is_known == Some(false) {
                let removed: Watched = self.nodes.remove(idx);
                let (id, dir) = (removed.plan.id, removed.plan.data_dir.display().to_string());
                self.plan.removed(id)?;
                self.write_dev_json()?;
                self.console.note(&format!(
                    "node {id} was removed from the cluster and its id is never used again; what it held is left in {dir}"
                ));
            }
        }
        Ok(())
    }
}

fn no_such_node(id: u32) -> String {
    format!("there is no node {id} here")
}
