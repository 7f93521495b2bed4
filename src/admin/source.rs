//! Where the figures come from.

use std::time::Duration;

use crate::exposition::Exposition;
use crate::slow_command::SlowCommand;

/// What a node tells of itself. It is asked on threads of requests, and may let them wait for about a second.
pub trait Source: Send + Sync + 'static {
    /// All figures, also those of each group if they are asked for.
    ///
    /// # Errors
    /// Why there are none.
    fn metrics(&self, per_group: bool) -> Result<Exposition, Unavailable>;

    /// The slow commands that cores still keep.
    ///
    /// # Errors
    /// Why there is nothing to tell.
    fn slow_commands(&self) -> Result<Vec<SlowCommand>, Unavailable>;

    /// The same for people and scripts, as JSON, and how each group stands.
    ///
    /// # Errors
    /// Why there is nothing to tell.
    fn state(&self) -> Result<String, Unavailable>;

    /// Whether the process does its work, in words. A node that waits for others lives.
    ///
    /// # Errors
    /// Why it should be started again.
    fn live(&self) -> Result<String, Unavailable>;

    /// Whether the node serves clients, in words.
    ///
    /// # Errors
    /// Why it should be sent none.
    fn ready(&self) -> Result<String, Unavailable>;

    /// Where the process spends CPU time, as pprof reads it. It lets the request wait for all of `time`, or until `is_wanted` says no.
    ///
    /// # Errors
    /// Why there is none.
    fn cpu_profile(&self, time: Duration, is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, NoProfile>;

    /// What has allocated memory, and what of it is in use, as pprof reads it.
    ///
    /// # Errors
    /// Why there is none.
    fn heap_profile(&self) -> Result<Vec<u8>, NoProfile>;
}

/// Why there is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoProfile {
    /// A setting forbids it.
    #[error("{0}")]
    Off(String),
    /// One is being taken.
    #[error("{0}")]
    Busy(String),
    /// It cannot be taken here.
    #[error("{0}")]
    Failed(String),
}

/// Why a question has no good answer: all reasons, one a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Unavailable(pub Vec<String>);

impl Unavailable {
    /// For one reason.
    pub fn new(reason: impl Into<String>) -> Unavailable {
        Unavailable(vec![reason.into()])
    }
}
