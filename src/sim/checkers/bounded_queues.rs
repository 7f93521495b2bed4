//! No queue holds more than its limit.

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Objects to a queue beyond its limit.
#[derive(Debug, Default)]
pub struct BoundedQueues;

impl BoundedQueues {
    /// Takes in what a replica did.
    ///
    /// # Errors
    /// A queue holds too much.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        match seen.kind {
            ObservationKind::Queue { name, len, max } if len > max => Err(Violation::new(
                "bounded-queues",
                format_args!(
                    "at {} ns the queue `{name}` of core {} holds {len}, more than its limit of {max}",
                    seen.at.as_nanos(),
                    seen.place
                ),
            )),
            _ => Ok(()),
        }
    }
}
