//! `coracle dev`: a whole cluster on this machine, a `coracle server` process per node.
//!
//! Node `i` is the host `127.0.0.i`, so that a firewall rule between two of these addresses is a network
//! partition. Ports are the same on every node, counted from `--port`; see [`plan`]. The directory holds
//!
//! ```text
//! dev-cluster.toml   what the cluster is: id, nodes, cores, groups; and which nodes have joined or were removed since
//! dev.json           the running cluster, written once every group has a leader, and after each restart and change
//! dev.sock           by which `coracle dev add` and its like speak to the supervisor
//! node-i.toml        the configuration of node i, written at each start
//! node-i.log         what node i says
//! node-i/            the data of node i
//! ```
//!
//! Nodes are children in process groups of their own, so Ctrl-C at the terminal reaches the supervisor alone,
//! which then stops them in good order; the kernel kills them if the supervisor dies.
//!
//! Read [`args`], [`plan`] with [`ports`], [`cluster_file`] and [`checks`] (what holds before the start), then [`supervisor`] with
//! [`child`] and [`probe`], [`control`], `changes` (nodes that join and are removed) and `outages` (nodes that stop, come back and lose
//! their data), [`report`] and [`console`] (what the developer sees), [`error`].

pub mod args;
mod changes;
pub mod checks;
pub mod child;
pub mod cluster_file;
pub mod console;
pub mod control;
pub mod error;
mod outages;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod report;
pub mod supervisor;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::atomic_file::private_dir;
use crate::signals::StopRequests;
pub use args::{DevArgs, DevChange};
use cluster_file::ClusterFile;
use console::Console;
use control::Change;
pub use error::Error;
use plan::{NodePlan, Plan};
use supervisor::{NodeKind, Supervisor};

/// What `coracle dev --help` says first.
pub const LONG_ABOUT: &str = "\
Runs a whole cluster on this machine, a process per node, until Ctrl-C.

Node i listens on 127.0.0.i. Ports are the same on every node: PORT for any client and any key, PORT+1+c for \
cluster clients of core c, PORT+1000+c for other nodes, PORT+2000 for metrics (HTTP).";

/// The directory of the cluster. A temporary one is removed when dropped.
enum Directory {
    Kept(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Directory {
    fn path(&self) -> &Path {
        match self {
            Directory::Kept(path) => path,
            Directory::Temporary(dir) => dir.path(),
        }
    }
}

/// Runs a cluster until it is asked to stop, or changes one that runs.
pub fn run(args: &DevArgs) -> Result<(), Error> {
    let console = Console::new();
    if let Some(change) = &args.change {
        return change_running(change, &console);
    }
    let stop = StopRequests::listen().map_err(Error::os("listening for signals"))?;
    let directory = directory(args.data_dir.as_deref())?;
    let _lock = rt::DirLock::acquire(directory.path())?;
    let cluster = ClusterFile::open(directory.path(), args)?;
    let plan = Plan::new(directory.path(), &cluster, args.port);
    checks::ports(&plan)?;
    let share = checks::host(&plan)?;
    let kept = matches!(directory, Directory::Kept(_));
    report::remove_dev_json(&plan)?;
    plan.write_configs(&args.set, share)?;
    let program = std::env::current_exe().map_err(Error::os("finding this program"))?;
    let launch = |node: &NodePlan, token: Option<&str>| {
        let mut command = Command::new(&program);
        command.arg("server").arg("--config").arg(&node.config_file);
        command.arg("--stop-with-parent").arg(std::process::id().to_string());
        command.args(token.iter().flat_map(|token| ["--join", token]));
        command
    };
    let prepare = |plan: &Plan, node: &NodePlan| {
        checks::ports_of(node)?;
        plan.write_config(node, &args.set, share)
    };
    let kind = NodeKind { launch: &launch, health: &probe::health, knows: &probe::knows, prepare: &prepare };
    let supervisor = Supervisor::new(plan, kind, &console, stop, args.restart);
    let result = supervisor.run();
    if !kept && matches!(result, Err(Error::NodeFailed { .. } | Error::NotReady { .. })) {
        console.note("the logs were in a temporary directory; start with --data-dir DIR to keep them");
    }
    result
}

/// Changes the cluster that runs in a directory.
fn change_running(change: &DevChange, console: &Console) -> Result<(), Error> {
    let (running, change) = match change {
        DevChange::Add(running) => (running, Change::Add),
        DevChange::Remove(of) => (&of.running, Change::Remove(of.node)),
        DevChange::Stop { kill: false, node: of } => (&of.running, Change::Stop(of.node)),
        DevChange::Stop { kill: true, node: of } => (&of.running, Change::Kill(of.node)),
        DevChange::Restart(of) => (&of.running, Change::Restart(of.node)),
        DevChange::Wipe(of) => (&of.running, Change::Wipe(of.node)),
    };
    let last = control::ask(&running.data_dir, change, |line| console.note(line))?;
    console.print(&format!("{last}\n"));
    Ok(())
}

fn directory(data_dir: Option<&Path>) -> Result<Directory, Error> {
    let Some(dir) = data_dir else {
        let made = tempfile::Builder::new().prefix("coracle-dev-").tempdir();
        return Ok(Directory::Temporary(made.map_err(Error::os("making a temporary directory"))?));
    };
    private_dir(dir).map_err(Error::os(format!("making {}", dir.display())))?;
    let absolute = dir.canonicalize().map_err(Error::os(format!("finding {}", dir.display())))?;
    Ok(Directory::Kept(absolute))
}
