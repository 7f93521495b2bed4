//! Replicas that have applied the same entries hold the same state.

use std::collections::HashMap;

use types::{GroupId, Index, Place};

use super::Violation;
use crate::observation::{Observation, What};

/// Objects to two digests of one group at one index that differ.
#[derive(Debug, Default)]
pub struct EqualDigests {
    known: HashMap<(GroupId, Index), (u128, Place)>,
    compared_count: u64,
}

impl EqualDigests {
    /// How many digests could be compared with that of another replica.
    pub fn compared_count(&self) -> u64 {
        self.compared_count
    }

    /// Takes in what a replica did.
    ///
    /// # Errors
    /// Two states differ.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        let What::Digest { index, digest } = seen.what else { return Ok(()) };
        let (known, place) = *self.known.entry((seen.group, index)).or_insert((digest, seen.place));
        self.compared_count += u64::from(place != seen.place);
        if known == digest {
            return Ok(());
        }
        let (group, here) = (seen.group, seen.place);
        Err(Violation::new(
            "equal-digests",
            format_args!(
                "behind entry {index} of group {group} the state on {here} has digest {digest:032x}, that on {place} \
                 {known:032x}"
            ),
        ))
    }
}
