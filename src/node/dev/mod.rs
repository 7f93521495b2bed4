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
//! Read [`plan`], then [`supervisor`]; [`checks`] and [`probe`] stand beside them.

pub mod checks;
pub mod child;
pub mod cluster_file;
pub mod console;
pub mod plan;
pub mod probe;
pub mod report;
pub mod supervisor;

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use clap::builder::RangedU64ValueParser;

use crate::atomic_file::private_dir;
use crate::signals::StopRequests;
use cluster_file::ClusterFile;
use console::Console;
use plan::{CORES_COUNT_MAX, NODES_COUNT_MAX, NodePlan, PORT_MAX, Plan};
use supervisor::Supervisor;

/// What `coracle dev --help` says first.
pub const LONG_ABOUT: &str = "\
Runs a whole cluster on this machine, a process per node, until Ctrl-C.

Node i listens on 127.0.0.i. Ports are the same on every node: PORT for any client and any key, PORT+1+c for \
cluster clients of core c, PORT+1000+c for other nodes, PORT+2000 for metrics (HTTP).";

/// What `coracle dev` is told.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  coracle dev                                 three nodes, data in a temporary directory
  coracle dev --data-dir ./demo               the same, kept; start it again to go on
  coracle dev --nodes 5 --cores 2 --groups 32
  coracle dev --set election_timeout_min_ms=1000 --set election_timeout_max_ms=2000

Then, in another terminal:
  redis-cli -p 7000 set hello world
  redis-benchmark -p 7000 -t set,get -n 100000 -P 16 -q")]
pub struct DevArgs {
    /// Nodes, each a process [default: 3, or as in DIR] [1 to 64]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..=NODES_COUNT_MAX as u64))]
    pub nodes: Option<u32>,
    /// Cores of each node, each a thread [default: 1, or as in DIR] [1 to 8]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u16>::new().range(1..=CORES_COUNT_MAX as u64))]
    pub cores: Option<u16>,
    /// Raft groups that share the keys [default: 8, or as in DIR] [1 to 16383]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..=16_383))]
    pub groups: Option<u32>,
    /// First port, the same on every node [1 to 63535]
    #[arg(long, value_name = "PORT", default_value_t = 7_000,
          value_parser = RangedU64ValueParser::<u16>::new().range(1..=PORT_MAX as u64))]
    pub port: u16,
    /// Directory for the data of all nodes, kept at the end [default: a temporary one, removed at the end]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Start a node that has died again, on its data
    #[arg(long)]
    pub restart: bool,
    /// A setting for every node, as in the configuration file; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Why a cluster cannot start or did not end cleanly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// A port is taken.
    #[error("{0}")]
    PortTaken(checks::PortTaken),
    /// The host lacks something that nodes need.
    #[error(transparent)]
    Host(#[from] rt::Error),
    /// The directory holds a damaged description of a cluster.
    #[error("{path} is damaged: {reason}; restore it, or choose another --data-dir")]
    ClusterFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A node ended before the cluster was ready.
    #[error("node {node} did not start: it ended with {status}\n{tail}")]
    NodeFailed {
        /// The node.
        node: u32,
        /// How it ended.
        status: String,
        /// Its last words.
        tail: String,
    },
    /// Some group found no leader in time.
    #[error("the cluster is not ready after {seconds} s: {state}\n{tail}")]
    NotReady {
        /// How long it was waited for.
        seconds: u64,
        /// What was reached.
        state: String,
        /// The last words of the nodes.
        tail: String,
    },
    /// Nodes that did not end cleanly when asked.
    #[error("not every node ended cleanly: {0}")]
    Unclean(String),
    /// The operating system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was being done.
        what: String,
        /// What it answered.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn os(what: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let what = what.into();
        move |source| Error::Os { what, source }
    }
}

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
