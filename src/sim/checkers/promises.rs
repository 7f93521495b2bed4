//! What a replica has told others to be on its disk is there when it starts again (Raft paper, §5.1 and figure 2: persistent state is
//! updated on stable storage before an answer leaves).
//!
//! Others see this only once so many replicas have forgotten that a committed entry or a leader is gone.

use std::collections::HashMap;

use types::{GroupId, Index, ReplicaId, Term};

use super::Violation;
use crate::observation::{Observation, ObservationKind};

/// What a replica has promised, and knows.
#[derive(Debug, Default)]
struct Promise {
    /// The latest term that was seen of it.
    term: Term,
    /// The latest term in which it has answered.
    answered: Term,
    /// Up to here its log is on its disk. Lowered when it is told to replace some of that.
    accepted: Index,
    /// For whom it has voted, and in which term.
    vote: Option<(Term, ReplicaId)>,
    /// Its disk has lost something: nothing is demanded of it any more.
    is_damaged: bool,
}

/// Objects to replicas that start without what they have promised.
#[derive(Debug, Default)]
pub struct Promises {
    replicas: HashMap<(GroupId, ReplicaId), Promise>,
}

const NAME: &str = "promises";

impl Promises {
    /// Takes in what a replica did.
    ///
    /// # Errors
    /// It has forgotten something.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        let promise = self.replicas.entry((seen.group, seen.replica)).or_default();
        match &seen.kind {
            ObservationKind::Damaged | ObservationKind::Quarantined { .. } => promise.is_damaged = true,
            ObservationKind::Role { term, .. } => promise.term = promise.term.max(*term),
            ObservationKind::Logged { hard_state, first, entries } => {
                promise.term = promise.term.max(hard_state.map_or(0, |state| state.term));
                if !entries.is_empty() {
                    promise.accepted = promise.accepted.min(first - 1);
                }
            }
            ObservationKind::Restored { last } => promise.accepted = promise.accepted.min(last.0),
            // What it has said of an earlier term may have been replaced before that left.
            ObservationKind::Accepted { term, index } if *term >= promise.term => {
                promise.answered = promise.answered.max(*term);
                promise.accepted = promise.accepted.max(*index);
            }
            ObservationKind::Voted { term, candidate } => {
                promise.answered = promise.answered.max(*term);
                promise.vote = Some((*term, *candidate));
            }
            ObservationKind::Started { hard_state, last, applied, .. } if !promise.is_damaged => {
                let Promise { answered, accepted, vote, .. } = *promise;
                *promise = Promise { term: hard_state.term, accepted: last.0.max(*applied), ..Promise::default() };
                let end = last.0.max(*applied);
                if end < accepted {
                    let what =
                        format!("starts on a log that ends at {end}, but has accepted entries up to {accepted}");
                    return Err(Violation::of_replica(NAME, seen, &what));
                }
                let forgot_vote = |(term, candidate)| term == hard_state.term && hard_state.vote != Some(candidate);
                if hard_state.term < answered || vote.is_some_and(forgot_vote) {
                    let what = format!(
                        "starts in term {} with vote {:?}, but has answered in term {answered} and its last vote was {vote:?}",
                        hard_state.term, hard_state.vote
                    );
                    return Err(Violation::of_replica(NAME, seen, &what));
                }
            }
            _ => {}
        }
        Ok(())
    }
}
