//! What a node finds on its disk it can trust, unless a fault of the disk explains why not.

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Objects to nodes that end for no reason, to replicas that stay away for none, and to snapshots that cannot be read back.
#[derive(Debug, Default)]
pub struct SoundDisks;

const NAME: &str = "sound-disks";

impl SoundDisks {
    /// Takes in what a node did.
    ///
    /// # Errors
    /// Its disk is said to be at fault, and nothing was done to it.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        match &seen.kind {
            ObservationKind::Ended { error, is_provoked: false } => Err(Violation::new(
                NAME,
                format_args!(
                    "at {} ns node {} ended although its disk had done nothing wrong: {error}",
                    seen.at.as_nanos(),
                    seen.place.node
                ),
            )),
            ObservationKind::Quarantined { is_provoked: false } => {
                Err(Violation::of_replica(NAME, seen, "stays away although its disk had done nothing wrong"))
            }
            ObservationKind::StateLost { is_provoked: false } => {
                Err(Violation::of_replica(NAME, seen, "has lost its state although its disk had done nothing wrong"))
            }
            ObservationKind::BadTables { error, is_provoked: false } => Err(Violation::of_replica(
                NAME,
                seen,
                format_args!(
                    "has a snapshot that cannot be read back although its disk had done nothing wrong: {error}"
                ),
            )),
            _ => Ok(()),
        }
    }
}
