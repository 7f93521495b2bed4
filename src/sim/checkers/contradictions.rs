//! No replica is ever told what cannot be: of a second leader of its term, or of other entries than are committed.
//!
//! A replica drops such a message, as whoever sends it may be forging. Here nobody forges unless a world is broken on
//! purpose, so it shows that the group has lost its safety.

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Takes in what a replica did.
///
/// # Errors
/// It was told what cannot be.
pub(super) fn observe(seen: &Observation) -> Result<(), Violation> {
    match seen.kind {
        ObservationKind::Contradicted => {
            let what = "was told of another leader of its term, or of other entries than are committed there";
            Err(Violation::of_replica("contradictions", seen, what))
        }
        _ => Ok(()),
    }
}
