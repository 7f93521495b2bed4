//! What checkers object to, and whom they count.

use std::collections::BTreeMap;
use std::fmt;

use types::{GroupId, ReplicaId};

use crate::observation::Observation;

/// A checker's objection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{checker}: {message}")]
pub struct Violation {
    /// Which checker.
    pub checker: &'static str,
    /// What contradicts what.
    pub message: String,
}

impl Violation {
    /// An objection of `checker`.
    pub fn new(checker: &'static str, message: impl fmt::Display) -> Violation {
        Violation { checker, message: message.to_string() }
    }

    /// An objection to what a replica did.
    pub(super) fn of_replica(checker: &'static str, seen: &Observation, what: impl fmt::Display) -> Violation {
        let Observation { at, place, group, replica, .. } = seen;
        let at = at.as_nanos();
        Violation::new(checker, format_args!("at {at} ns replica {replica} of group {group} on {place} {what}"))
    }
}

/// The replicas that vote in each group.
pub type Voters = BTreeMap<GroupId, Vec<ReplicaId>>;
