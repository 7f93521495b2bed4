//! Why a state cannot be loaded.

use thiserror::Error;
use wire::MembershipError;

/// Why a state cannot be loaded from its tables.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The tables cannot be read, or are damaged.
    #[error(transparent)]
    Store(#[from] lsm::Error),
    /// What is sealed beside them cannot be read.
    #[error("the state names {0}")]
    Membership(#[from] MembershipError),
    /// The tables are sound and hold what cannot be.
    #[error("the tables hold {0}")]
    Row(&'static str),
}

impl LoadError {
    /// Whether it is what the disk holds that is wrong: another attempt will find the same.
    pub fn is_damage(&self) -> bool {
        match self {
            LoadError::Store(error) => error.is_damage(),
            LoadError::Membership(_) | LoadError::Row(_) => true,
        }
    }
}
