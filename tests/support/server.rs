//! A node that is started by itself.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::{binary, process};

/// How long a node may take to end by itself.
const ENDED_WITHIN: Duration = Duration::from_secs(30);

/// A node that is started by itself, besides a cluster or instead of one. Ended when dropped.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts it with a configuration file. What it says goes to `log`.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start(config: &Path, log: PathBuf) -> Server {
        let output = File::create(&log).expect("the log's directory is there");
        Server::spawn(config, log, output, &[])
    }

    /// Starts a node of `coracle dev` again that has died, as that would, from the directory of the cluster. Its log goes on.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_again(dir: &Path, node: usize) -> Server {
        Server::start_again_with(dir, node, &[])
    }

    /// The same, with more arguments.
    ///
    /// # Panics
    /// If it cannot be started.
    pub fn start_again_with(dir: &Path, node: usize, args: &[&str]) -> Server {
        let log = dir.join(format!("node-{node}.log"));
        let output = File::options().append(true).create(true).open(&log).expect("the log's directory is there");
        Server::spawn(&dir.join(format!("node-{node}.toml")), log, output, args)
    }

    fn spawn(config: &Path, log: PathBuf, output: File, args: &[&str]) -> Server {
        let mut command = process::bound(binary());
        command.arg("server").arg("--config").arg(config).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output);
        Server { child: command.spawn().expect("setpriv is part of util-linux"), log }
    }

    /// What it has said so far.
    pub fn told(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    ///
    /// # Panics
    /// If the system does not say.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it is a child of this process").is_some()
    }

    /// Waits until it ends by itself with exit code 1, and returns what it has said.
    ///
    /// # Panics
    /// If it ends otherwise, or not at all.
    pub fn end(&mut self) -> String {
        let status = process::wait(&mut self.child, ENDED_WITHIN);
        let told = self.told();
        assert_eq!(status.and_then(|status| status.code()), Some(1), "{status:?}: {told}");
        assert!(!told.contains("panicked"), "{told}");
        told
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
