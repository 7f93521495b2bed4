//! What can go wrong in a run.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why a run could not start or could not be finished. Error replies of a server are no such reason: they
/// are counted, and reported with the results.
#[derive(Debug, Error)]
pub enum Error {
    /// A call of the system failed.
    #[error("{doing}: {source}")]
    Os {
        /// What was being done, for the reader.
        doing: String,
        /// The error of the system.
        source: io::Error,
    },
    /// A server sent bytes that are not RESP.
    #[error("{addr} sent a malformed reply: {what}")]
    MalformedReply {
        /// Who sent them.
        addr: String,
        /// What is wrong with them.
        what: String,
    },
    /// A server does not want to talk to this client.
    #[error("{addr} refused {what}: {reply}")]
    Refused {
        /// Who refused.
        addr: String,
        /// What it was asked for.
        what: &'static str,
        /// The text of its reply, and what to do.
        reply: String,
    },
    /// A server did not answer in time.
    #[error("{addr} is stalled: {what} for {:.1} s", waited.as_secs_f64())]
    Stalled {
        /// Who is silent.
        addr: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        waited: Duration,
    },
    /// A program started by a comparison ended, or did not become ready.
    #[error("{name}: {what}\n{log}")]
    Server {
        /// The program.
        name: String,
        /// What happened.
        what: String,
        /// The end of what it printed.
        log: String,
    },
    /// A store that runs within a process failed.
    #[error("{name}: {what}")]
    Store {
        /// The store, or what belongs to it.
        name: &'static str,
        /// What happened.
        what: String,
    },
    /// An RPC failed.
    #[error("etcd at {addr}: {what}")]
    Rpc {
        /// The endpoint.
        addr: String,
        /// What happened.
        what: String,
    },
    /// The arguments contradict each other or the server.
    #[error("{0}")]
    Usage(String),
    /// SIGINT or SIGTERM arrived.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// For `map_err`: says what was being done when the system refused.
    pub fn os(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
        let doing = doing.into();
        move |source| Error::Os { doing, source }
    }
}
