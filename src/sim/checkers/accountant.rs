//! What budgets count is what is held, and no more is held than a budget allows.

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// Objects to a budget that counts less or more than is held for it, or more than it allows.
#[derive(Debug, Default)]
pub struct Accountant;

const NAME: &str = "accountant";

impl Accountant {
    /// Takes in what a core did.
    ///
    /// # Errors
    /// The books are not in order.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        let ObservationKind::Budget { name, counted, held, max } = seen.kind else { return Ok(()) };
        let object = |what: &str| {
            let (at, place) = (seen.at.as_nanos(), seen.place);
            Err(Violation::new(
                NAME,
                format_args!(
                    "at {at} ns the budget `{name}` of core {place} {what}: it counts {counted} bytes of at most {max}, and \
                     {held} are held"
                ),
            ))
        };
        match () {
            () if counted < held => object("counts less than is held"),
            () if counted > held => object("counts more than is held"),
            () if counted > max => object("is overdrawn"),
            () => Ok(()),
        }
    }
}
