//! A node ends by itself only if the world gave it a reason: a disk that failed it, or that has lost what it held.

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Objects to nodes that end for no reason.
#[derive(Debug, Default)]
pub struct SoundEnds;

impl SoundEnds {
    /// Takes in what a node did.
    ///
    /// # Errors
    /// It has ended with an error that nothing explains.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        match &seen.kind {
            ObservationKind::Ended { error, is_provoked: false } => Err(Violation::new(
                "sound-ends",
                format_args!(
                    "at {} ns node {} ended although its disk had done nothing wrong: {error}",
                    seen.at.as_nanos(),
                    seen.place.node
                ),
            )),
            _ => Ok(()),
        }
    }
}
