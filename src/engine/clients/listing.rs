//! A CLIENT LIST over many clients, on its way.

use resp::ClientFilter;

use crate::budget::{Budget, Permit, Pool};
use crate::origin::Origin;

/// The reply to a CLIENT LIST, as far as it is written. A few clients are added in each turn.
pub(super) struct Listing {
    /// Who asks.
    pub(super) origin: Origin,
    pub(super) filter: ClientFilter,
    /// The place in the table of the next client.
    pub(super) next_place: usize,
    pub(super) text: Vec<u8>,
    /// For the text.
    pub(super) permit: Permit,
}

impl Listing {
    pub(super) fn new(origin: Origin, filter: ClientFilter, budget: &Budget) -> Listing {
        let permit = budget.permit(Pool::ClientOutput);
        Listing { origin, filter, next_place: 0, text: Vec::new(), permit }
    }
}
