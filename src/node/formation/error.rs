//! Why a cluster cannot be formed.

use std::net::SocketAddr;

use crate::identity::IdentityError;

/// Why a node does not come to serve.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node file cannot be written.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The peer port is taken.
    #[error("cannot listen on {addr} for the other nodes: {source}; stop what listens there, or choose another port")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the operating system answered.
        source: std::io::Error,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Os {
        /// What was being done.
        what: &'static str,
        /// What it answered.
        source: std::io::Error,
    },
    /// Only a person can tell what is right.
    #[error("{0}")]
    Conflict(String),
}
