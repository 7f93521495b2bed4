//! What of planning goes on beside turns.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use types::{Instant, NodeId};

use crate::cluster::{Foretold, RoundResult};
use crate::groups::PlannerQuestion;
use crate::origin::Origin;

/// What a helper has come to, once it has.
pub(super) type Slot<T> = Rc<RefCell<Option<io::Result<T>>>>;

/// What of planning goes on beside turns, and who waits for it.
#[derive(Default)]
pub(super) struct Planning {
    pub(super) round: Slot<RoundResult>,
    pub(super) is_round_under_way: bool,
    pub(super) forecast: Slot<Foretold>,
    /// The node that a forecast under way is about.
    pub(super) forecast_of: Option<NodeId>,
    pub(super) asked: Vec<Asked>,
    /// The alarm that was told last.
    pub(super) alarm: Option<String>,
}

/// A question that waits.
pub(super) struct Asked {
    pub(super) origin: Origin,
    pub(super) question: PlannerQuestion,
    pub(super) until: Instant,
}

impl Planning {
    /// The node that somebody wants a forecast about.
    pub(super) fn next_leaver(&self) -> Option<NodeId> {
        let node = |asked: &Asked| match asked.question {
            PlannerQuestion::Decommission(node) => Some(node),
            PlannerQuestion::Tasks => None,
        };
        self.asked.iter().find_map(node).filter(|_| self.forecast_of.is_none())
    }
}
