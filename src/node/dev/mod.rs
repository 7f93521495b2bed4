//! `coracle dev`: a whole cluster on this machine, a `coracle server` process per node.
//!
//! Node `i` is the host `127.0.0.i`, so that a firewall rule between two of these addresses is a network
//! partition. Ports are the same on every node, counted from `--port`; see [`plan`]. The directory holds
//!
//! ```text
//! dev-cluster.toml   what the cluster is: id, nodes, cores, groups; never changes
//! dev.json           the running cluster, written once every group has a leader, and after each restart
//! node-i.toml        the configuration of node i, written at each start
//! node-i.log         what node i says
//! node-i/            the data of node i
//! ```
//!
//! Nodes are children in process groups of their own, so Ctrl-C at the terminal reaches the supervisor alone,
//! which then stops them in good order; the kernel kills them if the supervisor dies.
//!
//! Read [`args`], [`plan`] with [`ports`], [`cluster_file`] and [`checks`] (what holds before the start), then [`supervisor`] with
//! [`child`] and [`probe`], [`report`] and [`console`] (what the developer sees), [`error`].

pub mod args;
pub mod checks;
pub mod child;
pub mod cluster_file;
pub mod console;
pub mod error;
pub mod plan;
pub mod ports;
pub mod probe;
pub mod report;
pub mod supervisor;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::atomic_file::private_dir;
use crate::signals::StopRequests;
pub use args::DevArgs;
use cluster_file::ClusterFile;
use console::Console;
pub use error::Error;
use plan::{NodePlan, Plan};
use supervisor::Supervisor;

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

/// Runs a cluster until it is asked to stop.
pub fn run(args: &DevArgs) -> Result<(), Error> {
    let stop = StopRequests::listen().map_err(Error::os("listening for signals"))?;
    let console = Console::new();
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
    let launch = |node: &NodePlan| {
        let mut command = Command::new(&program);
        command.arg("server").arg("--config").arg(&node.config_file);
        command.arg("--stop-with-parent").arg(std::process::id().to_string());
        command
    };
    let supervisor = Supervisor::new(&plan, &launch, &probe::health, &console, stop, args.restart);
    let result = supervisor.run();
    if !kept && matches!(result, Err(Error::NodeFailed { .. } | Error::NotReady { .. })) {
        console.note("the logs were in a temporary directory; start with --data-dir DIR to keep them");
    }
    result
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
