//! Why a cluster cannot start, or did not end cleanly.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a cluster cannot start or did not end cleanly.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// A port is taken.
    #[error("{0}")]
    PortTaken(PortTaken),
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
    /// No cluster runs in the directory.
    #[error(
        "no `coracle dev` can be asked at {path}: {source}; start it with this --data-dir, and name the same here"
    )]
    NoSupervisor {
        /// Its socket.
        path: PathBuf,
        /// What the operating system answered.
        source: io::Error,
    },
    /// A running cluster cannot be changed so.
    #[error("{0}")]
    Refused(String),
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

/// A port that a node needs is taken.
#[derive(Debug)]
pub struct PortTaken {
    /// The address and port.
    pub addr: SocketAddr,
    /// What it is needed for.
    pub what: &'static str,
    /// The process that listens there, as "name (process 123)", if it can be told.
    pub owner: Option<String>,
    /// What the operating system answered.
    pub source: io::Error,
}

impl fmt::Display for PortTaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PortTaken { addr, what, owner, source } = self;
        write!(f, "port {} of {}, needed for {what}, cannot be used: ", addr.port(), addr.ip())?;
        match (owner, source.kind()) {
            (Some(owner), _) => write!(f, "{owner} listens there")?,
            (None, io::ErrorKind::AddrInUse) => write!(f, "another process listens there")?,
            _ => write!(f, "{source}")?,
        }
        write!(f, "\n  = help: stop that process, or choose other ports with --port")
    }
}
