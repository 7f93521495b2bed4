//! What a scrub calls sound is sound.
//!
//! Behind each pass the tables are read once more, as they lie on the disk. If nothing has rotted since the pass began, what is damaged there
//! has been passed over.

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Takes in what a replica did.
///
/// # Errors
/// Damage was called sound.
pub(super) fn observe(seen: &Observation) -> Result<(), Violation> {
    match &seen.kind {
        ObservationKind::OverlookedRot { error } => {
            let what = format!("was called sound by the scrub, which has passed over this: {error}");
            Err(Violation::of_replica("scrubs", seen, what))
        }
        _ => Ok(()),
    }
}
