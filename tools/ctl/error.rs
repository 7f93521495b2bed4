//! Why something was not done, and the exit code of that.

use std::fmt::Write as _;
use std::time::Duration;

use thiserror::Error;

use crate::text::duration;

/// Why something was not done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CtlError {
    /// A node has refused it; in its words.
    #[error("{0}")]
    Refused(String),
    /// The command line asks for what there is not.
    #[error("{0}")]
    Usage(String),
    /// It goes on, and was not waited for any longer.
    #[error("after {} it is still under way: {left}\nIt goes on by itself; `{again}` waits for it", duration(*waited))]
    StillRunning {
        /// For how long it was waited for.
        waited: Duration,
        /// What is left.
        left: String,
        /// The command that waits on.
        again: String,
    },
    /// No node could be asked: each address, and why not.
    #[error("{}", unreachable_text(.0))]
    Unreachable(Vec<(String, String)>),
    /// Some nodes could not be asked, or have refused it; the others have done it.
    #[error("{text}")]
    Partly {
        /// Which, and why.
        text: String,
        /// Whether one has refused it.
        is_refused: bool,
    },
}

impl CtlError {
    /// 1 if it was refused, 2 for a wrong command line, 3 if it is still under way, 4 if nodes could not be reached.
    pub fn exit_code(&self) -> u8 {
        match self {
            CtlError::Refused(_) | CtlError::Partly { is_refused: true, .. } => 1,
            CtlError::Usage(_) => 2,
            CtlError::StillRunning { .. } => 3,
            CtlError::Unreachable(_) | CtlError::Partly { .. } => 4,
        }
    }
}

fn unreachable_text(attempts: &[(String, String)]) -> String {
    let mut text = "no node can be reached".to_owned();
    for (addr, reason) in attempts {
        let _ = write!(text, "\n  {addr}: {reason}");
    }
    text + "\nGive the gateway of a node that runs with --addr HOST:PORT, several of them to try one after the other"
}
