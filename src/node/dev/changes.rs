//! Nodes that join a development cluster, and are removed from it, while it runs.

use std::time::{Duration, Instant};

use super::child::{log_tail, status_words};
use super::control::{Caller, Change};
use super::error::Error;
use super::probe::{Health, ask_gateway};
use super::supervisor::{Supervisor, Watched};

/// How long a node may take to join, or to be gone.
const CHANGE_WAIT_MAX: Duration = Duration::from_secs(60);
/// How long one that serves may look for the leaders of all groups: some may have none.
const LEADERS_WAIT_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Supervisor<'_> {
    /// Makes a change that somebody wants, and tells how that ends.
    ///
    /// # Errors
    /// What ends the supervisor; a change that cannot be made does not.
    pub(super) fn change(&mut self, change: Change, caller: &mut Caller) -> Result<(), Error> {
        let made = match change {
            Change::Add => self.add(caller)?,
            Change::Remove(node) => self.remove(node, caller)?,
            Change::Stop(node) => self.stop_node(node, false)?,
            Change::Kill(node) => self.stop_node(node, true)?,
            Change::Restart(node) => self.restart(node, caller)?,
            Change::Wipe(node) => self.wipe(node)?,
        };
        match made {
            Ok(words) => {
                self.console.note(&words);
                caller.say(&format!("ok {words}"));
            }
            Err(words) => {
                self.console.note(&format!("the cluster stays as it is: {words}"));
                caller.say(&format!("error {words}"));
            }
        }
        Ok(())
    }

    /// One more node joins. Returns what to tell.
    fn add(&mut self, caller: &mut Caller) -> Result<Result<String, String>, Error> {
        let Some(node) = self.plan.next_node() else {
            return Ok(Err("there are as many nodes as such a cluster may have".to_owned()));
        };
        let id = node.id;
        let prepared = (self.kind.prepare)(&self.plan, &node).map_err(|error| error.to_string());
        let token = prepared.and_then(|()| self.asked(None, "CORACLE TOKEN"));
        let token = match token {
            Ok(token) => token,
            Err(why) => return Ok(Err(why)),
        };
        caller.say(&format!(
            "node {id} joins, on {}:{}; its log is {}",
            node.host,
            node.gateway,
            node.log_file.display()
        ));
        let idx = self.nodes.len();
        self.nodes.push(Watched::new(node));
        self.start_node(idx, Some(&token))?;
        let begin = Instant::now();
        let failure = loop {
            if let Some(status) = self.nodes[idx].take_ended()? {
                break format!("node {id} did not join: it ended with {}", status_words(status));
            }
            let has_joined = match (self.kind.health)(&self.nodes[idx].plan) {
                Health::Ready => true,
                Health::Leaderless(_) => begin.elapsed() > LEADERS_WAIT_MAX,
                Health::Silent => false,
            };
            if has_joined {
                self.plan.joined(self.nodes[idx].plan.clone())?;
                self.write_dev_json()?;
                let node = &self.nodes[idx];
                let gateway = node.plan.gateway_addr();
                return Ok(Ok(format!("node {id} has joined and serves on {gateway} (process {})", node.pid)));
            }
            if begin.elapsed() > CHANGE_WAIT_MAX || self.stop.wait(0, LOOK_EVERY) {
                break format!("node {id} did not join in time");
            }
        };
        let failed = self.nodes.remove(idx);
        Ok(Err(format!("{failure}\n{}", log_tail(&failed.plan.log_file))))
    }

    /// A node is removed for good. Returns what to tell.
    fn remove(&mut self, id: u32, caller: &mut Caller) -> Result<Result<String, String>, Error> {
        let Some(idx) = self.nodes.iter().position(|node| node.plan.id == id) else {
            return Ok(Err(format!("there is no node {id} here")));
        };
        let command = format!("CORACLE REMOVE {id}");
        if let Err(why) = self.asked(Some(id), &command) {
            return Ok(Err(why));
        }
        caller.say(&format!("node {id} leaves"));
        let begin = Instant::now();
        // It is gone once the others do not know it any more.
        while !matches!(self.asked(Some(id), &command), Err(why) if why.contains("no such node")) {
            if begin.elapsed() > CHANGE_WAIT_MAX || self.stop.wait(0, LOOK_EVERY) {
                return Ok(Err(format!("node {id} has not left in time; CORACLE NODES tells when it has")));
            }
        }
        let begin = Instant::now();
        while self.nodes[idx].take_ended()?.is_none() && self.nodes[idx].child.is_some() {
            // It ends once it has heard so.
            if begin.elapsed() > CHANGE_WAIT_MAX || self.stop.wait(0, LOOK_EVERY) {
                break;
            }
        }
        let removed = self.nodes.remove(idx);
        self.plan.removed(id)?;
        self.write_dev_json()?;
        let dir = removed.plan.data_dir.display();
        Ok(Ok(format!("node {id} was removed and its id is never used again; what it held is left in {dir}")))
    }

    /// What the first node that can be asked answers, of all but `except`.
    pub(super) fn asked(&self, except: Option<u32>, command: &str) -> Result<String, String> {
        let mut why = "no other node runs".to_owned();
        for node in self.nodes.iter().filter(|node| Some(node.plan.id) != except && node.child.is_some()) {
            match ask_gateway(node.plan.gateway_addr(), command) {
                Ok(answer) => return answer,
                Err(error) => why = format!("node {} cannot be asked: {error}", node.plan.id),
            }
        }
        Err(why)
    }
}
