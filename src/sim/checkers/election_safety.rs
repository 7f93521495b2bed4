//! Election safety (Raft paper, §5.2): a term has at most one leader, and a majority has voted for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use raft::Role;
use types::{GroupId, ReplicaId, Term};
use wire::HardState;

use super::{Memberships, Violation};
use crate::observation::{Observation, ObservationKind};

/// Objects to two leaders of one term, to a leader without a majority of logged votes, to a replica that votes twice or
/// goes back to an older term, and to a vote that counted and that a restart does not find.
#[derive(Debug, Default)]
pub struct ElectionSafety {
    states: BTreeMap<(GroupId, ReplicaId), HardState>,
    leaders: HashMap<(GroupId, Term), ReplicaId>,
    /// Who has ever logged a vote, by group, term and candidate.
    votes: HashMap<(GroupId, Term, ReplicaId), BTreeSet<ReplicaId>>,
    /// The highest term in which a replica's vote was needed for a majority: it must be durable.
    needed: HashMap<(GroupId, ReplicaId), (Term, ReplicaId)>,
}

const NAME: &str = "election-safety";

impl ElectionSafety {
    /// How many leaders were elected.
    pub fn leaders_count(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// Takes in what a replica did; `memberships` are as they were before.
    ///
    /// # Errors
    /// Election safety is broken.
    pub fn observe(&mut self, seen: &Observation, memberships: &Memberships) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        match &seen.kind {
            ObservationKind::Started { hard_state, .. } => self.started(seen, *hard_state),
            ObservationKind::Logged { hard_state: Some(state), .. } => self.logged(seen, *state),
            ObservationKind::Role { role: Role::Leader, term, .. } => self.elected(seen, *term, memberships),
            ObservationKind::Damaged | ObservationKind::Quarantined { .. } => {
                self.states.remove(&key);
                self.needed.remove(&key);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn started(&mut self, seen: &Observation, state: HardState) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        if let Some((term, candidate)) = self.needed.get(&key).copied() {
            let is_kept = state.term > term || state.term == term && state.vote == Some(candidate);
            if !is_kept {
                let what = format!(
                    "starts in term {} with vote {:?}, but its vote for {candidate} made that one leader of term {term}",
                    state.term, state.vote
                );
                return Err(Violation::of_replica(NAME, seen, &what));
            }
        }
        self.states.insert(key, state);
        Ok(())
    }

    fn logged(&mut self, seen: &Observation, state: HardState) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        let before = self.states.insert(key, state).unwrap_or_default();
        if state.term < before.term {
            return Err(Violation::of_replica(
                NAME,
                seen,
                format!("goes from term {} back to {}", before.term, state.term),
            ));
        }
        if state.term == before.term && before.vote.is_some() && state.vote != before.vote {
            let what = format!("votes in term {} first for {:?}, then {:?}", state.term, before.vote, state.vote);
            return Err(Violation::of_replica(NAME, seen, &what));
        }
        if let Some(candidate) = state.vote {
            self.votes.entry((seen.group, state.term, candidate)).or_default().insert(seen.replica);
        }
        Ok(())
    }

    fn elected(&mut self, seen: &Observation, term: Term, memberships: &Memberships) -> Result<(), Violation> {
        let other = *self.leaders.entry((seen.group, term)).or_insert(seen.replica);
        if other != seen.replica {
            return Err(Violation::of_replica(
                NAME,
                seen,
                format!("leads in term {term}, in which replica {other} has led"),
            ));
        }
        let none = BTreeSet::new();
        let votes = self.votes.get(&(seen.group, term, seen.replica)).unwrap_or(&none);
        let elects = |without: Option<ReplicaId>| {
            let has_voted = |id| votes.contains(&id) && Some(id) != without;
            memberships.in_effect(seen.group).any(|electorate| electorate.is_majority(has_voted))
        };
        if !elects(None) {
            let among: Vec<_> = memberships.in_effect(seen.group).map(ToString::to_string).collect();
            let what = format!("leads in term {term} with {} logged votes of {}", votes.len(), among.join(" or "));
            return Err(Violation::of_replica(NAME, seen, &what));
        }
        // A vote that was needed had to be durable before it counted.
        for voter in votes.iter().filter(|voter| !elects(Some(**voter))) {
            let needed = self.needed.entry((seen.group, *voter)).or_insert((term, seen.replica));
            if needed.0 < term {
                *needed = (term, seen.replica);
            }
        }
        Ok(())
    }
}
