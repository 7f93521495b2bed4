//! Election safety (Raft paper, §5.2): a term has at most one leader, and a majority has voted for it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use raft::Role;
use types::{GroupId, ReplicaId, Term};
use wire::HardState;

use super::{Violation, Voters, majority};
use crate::observation::{Observation, ObservationKind};

/// Objects to two leaders of one term, to a leader without a majority of logged votes, to a replica that votes twice or
/// goes back to an older term, and to a vote that counted and that a restart does not find.
#[derive(Debug)]
pub struct ElectionSafety {
    voters: Voters,
    states: BTreeMap<(GroupId, ReplicaId), HardState>,
    leaders: HashMap<(GroupId, Term), ReplicaId>,
    /// Who has ever logged a vote, by group, term and candidate.
    votes: HashMap<(GroupId, Term, ReplicaId), BTreeSet<ReplicaId>>,
    /// The highest term in which a replica's vote was needed for a majority: it must be durable.
    needed: HashMap<(GroupId, ReplicaId), (Term, ReplicaId)>,
}

const NAME: &str = "election-safety";

impl ElectionSafety {
    /// For groups with these voters.
    pub fn new(voters: Voters) -> ElectionSafety {
        ElectionSafety {
            voters,
            states: BTreeMap::new(),
            leaders: HashMap::new(),
            votes: HashMap::new(),
            needed: HashMap::new(),
        }
    }

    /// How many leaders were elected.
    pub fn leaders_count(&self) -> u64 {
        self.leaders.len() as u64
    }

    /// Takes in what a replica did.
    ///
    /// # Errors
    /// Election safety is broken.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        let key = (seen.group, seen.replica);
        match &seen.kind {
            ObservationKind::Started { hard_state, .. } => self.started(seen, *hard_state),
            ObservationKind::Logged { hard_state: Some(state), .. } => self.logged(seen, *state),
            ObservationKind::Role { role: Role::Leader, term, .. } => self.elected(seen, *term),
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

    fn elected(&mut self, seen: &Observation, term: Term) -> Result<(), Violation> {
        let other = *self.leaders.entry((seen.group, term)).or_insert(seen.replica);
        if other != seen.replica {
            return Err(Violation::of_replica(
                NAME,
                seen,
                format!("leads in term {term}, in which replica {other} has led"),
            ));
        }
        let voters_count = self.voters.get(&seen.group).map_or(1, Vec::len);
        let votes = self.votes.get(&(seen.group, term, seen.replica));
        let votes_count = votes.map_or(0, BTreeSet::len);
        if votes_count < majority(voters_count) {
            let what = format!("leads in term {term} with {votes_count} logged votes of {voters_count} voters");
            return Err(Violation::of_replica(NAME, seen, &what));
        }
        if votes_count == majority(voters_count) {
            // Each of these votes was needed, so each had to be durable before it counted.
            for voter in votes.into_iter().flatten() {
                let needed = self.needed.entry((seen.group, *voter)).or_insert((term, seen.replica));
                if needed.0 < term {
                    *needed = (term, seen.replica);
                }
            }
        }
        Ok(())
    }
}
