//! What `coracle dev` is told.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

use super::ports::{CORES_COUNT_MAX, NODES_COUNT_MAX, PORT_MAX};

/// What `coracle dev` is told.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  coracle dev                                 three nodes, data in a temporary directory
  coracle dev --data-dir ./demo               the same, kept; start it again to go on
  coracle dev add --data-dir ./demo           one more node joins the cluster that runs there
  coracle dev stop 2 --data-dir ./demo        node 2 is down, until:
  coracle dev restart 2 --data-dir ./demo     it runs again, on its data
  coracle dev wipe 3 --data-dir ./demo        node 3 has lost its disk, and is down
  coracle dev --nodes 5 --cores 2 --groups 32
  coracle dev --set election_timeout_min_ms=1000 --set election_timeout_max_ms=2000

Then, in another terminal:
  redis-cli -p 7000 set hello world
  redis-benchmark -p 7000 -t set,get -n 100000 -P 16 -q")]
pub struct DevArgs {
    /// What is to be done to a cluster that runs, instead of running one
    #[command(subcommand)]
    pub change: Option<DevChange>,
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

/// What can be done to a cluster that runs.
#[derive(Clone, Debug, Subcommand)]
pub enum DevChange {
    /// Let one more node join the cluster that runs in a directory
    Add(RunningArgs),
    /// Remove a node that holds no replicas any more from the cluster that runs in a directory, for good
    Remove(NodeArgs),
    /// Stop a node, and have it stay down
    ///
    /// It is asked to end, as by an operator, or ended with SIGKILL, as by a crash. The others go on. `coracle dev restart` starts it again.
    Stop {
        /// End it at once, with SIGKILL
        #[arg(long)]
        kill: bool,
        /// Which node
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Start a node again, on its data
    ///
    /// One that runs is stopped before. One that has lost its data comes back without, once the others see that it is down: they give it
    /// a token, and what it held is sent to it.
    Restart(NodeArgs),
    /// Have a node lose its data, and stay down
    ///
    /// It is ended with SIGKILL and its directory is removed: what a lost disk does. `coracle dev restart` brings it back.
    Wipe(NodeArgs),
}

/// Which node of which cluster is meant.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// The node
    #[arg(value_name = "NODE")]
    pub node: u32,
    /// Of which cluster
    #[command(flatten)]
    pub running: RunningArgs,
}

/// Which cluster is meant.
#[derive(Clone, Debug, Args)]
pub struct RunningArgs {
    /// Directory with which `coracle dev` was started
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
}
