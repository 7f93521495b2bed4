//! A cluster under `coracle dev`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::{binary, ports, process, wait_until};

/// How long a cluster may take to be ready.
pub const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long it may take to stop.
pub const STOPPED_WITHIN: Duration = Duration::from_secs(15);
/// Lines of each log that a failing test shows.
const TAIL_LINES: usize = 25;

/// What cluster to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// Nodes.
    pub nodes: u8,
    /// Cores of each.
    pub cores: u16,
    /// Groups.
    pub groups: u32,
    /// Whether nodes that die are started again.
    pub restart: bool,
    /// Settings as `key=value`.
    pub set: Vec<String>,
    /// Where its data lies; a temporary directory of the test if nobody says.
    pub data_dir: Option<PathBuf>,
    /// How long it may take to be ready.
    pub ready_within: Duration,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            nodes: 3,
            cores: 1,
            groups: 8,
            restart: false,
            set: Vec::new(),
            data_dir: None,
            ready_within: READY_WITHIN,
        }
    }
}

/// A node as `dev.json` describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number, from 1.
    pub id: u32,
    /// Its process.
    pub pid: u32,
    /// Its address.
    pub host: String,
    /// Port for any key.
    pub gateway: u16,
    /// Port of each core.
    pub cores: Vec<u16>,
    /// Port for other nodes.
    pub peer: u16,
    /// Port for metrics and health.
    pub admin: u16,
}

/// A running cluster. Dropping it ends every process of it, and shows its logs if the test fails.
pub struct Cluster {
    dev: Child,
    dir: PathBuf,
    port: u16,
    output: Arc<Mutex<String>>,
    _temporary: Option<TempDir>,
}

/// The command that runs a cluster on this port.
pub fn dev_command(options: &Options, port: u16) -> Command {
    let mut command = process::bound(binary());
    command.args(["dev", "--nodes", &options.nodes.to_string(), "--cores", &options.cores.to_string()]);
    command.args(["--groups", &options.groups.to_string(), "--port", &port.to_string()]);
    for setting in &options.set {
        command.args(["--set", setting]);
    }
    if options.restart {
        command.arg("--restart");
    }
    if let Some(dir) = &options.data_dir {
        command.arg("--data-dir").arg(dir);
    }
    command
}

impl Cluster {
    /// Starts a cluster and waits until it is ready.
    ///
    /// # Panics
    /// If it does not become ready in time; the message shows what it printed.
    pub fn start(options: Options) -> Cluster {
        let port = ports::free(options.nodes, options.cores);
        Cluster::start_at(options, port)
    }

    /// As [`Cluster::start`], with this first port.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub fn start_at(mut options: Options, port: u16) -> Cluster {
        let temporary = options.data_dir.is_none().then(|| {
            let dir = tempfile::Builder::new().prefix("coracle-test-").tempdir().expect("a temporary directory");
            options.data_dir = Some(dir.path().to_owned());
            dir
        });
        let dir = options.data_dir.clone().expect("it was set above");
        let ready_within = options.ready_within;
        let mut command = dev_command(&options, port);
        let mut dev = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("setpriv is part of util-linux");
        let output = Arc::new(Mutex::new(String::new()));
        gather(dev.stdout.take().expect("it is piped"), &output);
        gather(dev.stderr.take().expect("it is piped"), &output);
        let mut cluster = Cluster { dev, dir, port, output, _temporary: temporary };
        wait_until("the cluster is ready", ready_within, || {
            let ended = cluster.dev.try_wait().expect("a child can be waited for");
            assert!(ended.is_none(), "coracle dev ended ({ended:?}):\n{}", cluster.output());
            cluster.output().lines().any(|line| line.starts_with("ready"))
        });
        cluster
    }

    /// What `coracle dev` has printed so far.
    pub fn output(&self) -> String {
        self.output.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Its first port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process of `coracle dev`.
    pub fn dev_pid(&self) -> u32 {
        self.dev.id()
    }

    /// Its nodes, as `dev.json` has them now.
    ///
    /// # Panics
    /// If the file is not what it should be.
    pub fn nodes(&self) -> Vec<Node> {
        let text = std::fs::read_to_string(self.dir.join("dev.json")).expect("a ready cluster has dev.json");
        let json: serde_json::Value = serde_json::from_str(&text).expect("dev.json is JSON");
        let nodes = json["nodes"].as_array().expect("dev.json has nodes");
        let number = |value: &serde_json::Value| value.as_u64().unwrap_or_else(|| panic!("no number: {value}"));
        let port = |value: &serde_json::Value| u16::try_from(number(value)).expect("a port");
        let node = |node: &serde_json::Value| Node {
            id: number(&node["id"]) as u32,
            pid: number(&node["pid"]) as u32,
            host: node["host"].as_str().expect("a host").to_owned(),
            gateway: port(&node["gateway"]),
            cores: node["cores"].as_array().expect("cores").iter().map(port).collect(),
            peer: port(&node["peer"]),
            admin: port(&node["admin"]),
        };
        nodes.iter().map(node).collect()
    }

    /// Node `id`, from 1.
    pub fn node(&self, id: usize) -> Node {
        self.nodes().swap_remove(id - 1)
    }

    /// A client at the gateway of node `id`.
    pub fn gateway(&self, id: usize) -> Client {
        let node = self.node(id);
        Client::connect(&node.host, node.gateway).unwrap_or_else(|error| panic!("gateway of node {id}: {error}"))
    }

    /// A client at a core of node `id`.
    pub fn core(&self, id: usize, core: usize) -> Client {
        let node = self.node(id);
        Client::connect(&node.host, node.cores[core])
            .unwrap_or_else(|error| panic!("core {core} of node {id}: {error}"))
    }

    /// Has `coracle dev` change the cluster: `add`, `stop 2` and the like. Returns whether it has, and what it said.
    pub fn change(&self, words: &[&str]) -> (bool, String) {
        let mut command = process::bound(binary());
        command.arg("dev").args(words).arg("--data-dir").arg(&self.dir);
        let output = command.output().expect("setpriv is part of util-linux");
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), format!("{stdout}{stderr}"))
    }

    /// Ends a node with SIGKILL, and waits until it is gone.
    pub fn kill(&self, id: usize) {
        let pid = self.node(id).pid;
        process::signal(pid, Signal::KILL);
        wait_until("a killed node is gone", Duration::from_secs(10), || !process::exists(pid));
    }

    /// Waits until node `id` runs as another process than `old_pid` and knows all leaders.
    pub fn wait_restarted(&self, id: usize, old_pid: u32) {
        wait_until("the node has a new process", READY_WITHIN, || self.node(id).pid != old_pid);
        self.wait_healthy(id, READY_WITHIN);
    }

    /// Waits until node `id` knows a leader of every group.
    pub fn wait_healthy(&self, id: usize, within: Duration) {
        let node = self.node(id);
        wait_until("a node knows all leaders", within, || {
            let Ok(mut client) = Client::connect(&node.host, node.gateway) else { return false };
            let reply = client.ask(&[b"CLUSTER", b"INFO"]);
            reply.is_ok_and(|reply| reply.text().contains("cluster_state:ok"))
        });
    }

    /// Asks the cluster to stop, and tells how `coracle dev` ended.
    ///
    /// # Panics
    /// If it does not stop in time, or a process of it is left.
    pub fn stop(mut self, signal: Signal) -> ExitStatus {
        let pids: Vec<u32> = self.nodes().iter().map(|node| node.pid).collect();
        process::signal(self.dev.id(), signal);
        let status = process::wait(&mut self.dev, STOPPED_WITHIN);
        let status = status.unwrap_or_else(|| panic!("no stop within {STOPPED_WITHIN:?}:\n{}", self.output()));
        for pid in pids {
            assert!(!process::exists(pid), "process {pid} of a node is left");
        }
        status
    }

    fn show_logs(&self) {
        eprintln!("--- coracle dev\n{}", tail(&self.output()));
        let mut id = 1;
        while let Ok(log) = std::fs::read(self.dir.join(format!("node-{id}.log"))) {
            eprintln!("--- log of node {id}\n{}", tail(&String::from_utf8_lossy(&log)));
            id += 1;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        // The nodes end with their parent. Errors mean that it has ended already.
        let _ = self.dev.kill();
        let _ = self.dev.wait();
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

fn gather(pipe: impl std::io::Read + Send + 'static, into: &Arc<Mutex<String>>) {
    let into = Arc::clone(into);
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines() {
            // Output that is no text ends the gathering; the tests that need more of it fail.
            let Ok(line) = line else { return };
            let mut text = into.lock().unwrap_or_else(PoisonError::into_inner);
            text.push_str(&line);
            text.push('\n');
        }
    });
}
