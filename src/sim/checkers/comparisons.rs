//! Replicas that the engine compares hold the same rows.
//!
//! Nothing that a sound disk, network or clock does makes them differ, nor does damage, which is noticed: so a difference is one that the
//! engine has made, or a false alarm. Only a world that alters rows explains it, and there the objection is what is wanted.

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Takes in what a replica did.
///
/// # Errors
/// It has found that replicas differ.
pub(super) fn observe(seen: &Observation) -> Result<(), Violation> {
    match seen.kind {
        ObservationKind::RowsDiffer { index } => {
            let what = format!("has found that replicas hold different rows behind entry {index}");
            Err(Violation::of_replica("comparisons", seen, what))
        }
        _ => Ok(()),
    }
}
