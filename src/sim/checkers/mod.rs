//! What must hold in every run, one checker per file.
//!
//! Those that watch replicas are fed [`Observation`] by [`Observation`] and object as soon as they see a contradiction;
//! those that judge clients' [`History`] do so at the end. An objection names what contradicts what. None of them looks
//! inside the engine: they know entries, terms and replies, and what the Raft paper and the protocol promise about them.
//!
//! Read `logs` first: what each replica's log holds, on which four checkers rest; then `memberships`: who votes.

mod accountant;
mod bounded_queues;
mod comparisons;
mod contradictions;
mod durability;
mod election_safety;
mod equal_digests;
mod exactly_once;
mod expiry;
mod hashing;
mod instances;
mod leader_completeness;
mod linearizability;
mod log_matching;
mod logs;
mod memberships;
mod object;
mod objects;
mod progress;
mod promises;
mod registers;
mod scrubs;
mod search;
mod sound_disks;
mod state_machine_safety;
mod strength;
mod unknowns;
mod value;
mod violation;

#[cfg(test)]
mod tests;

use std::time::Duration;

use serde::{Deserialize, Serialize};
use types::Instant;

use crate::history::History;
use crate::observation::Observation;

pub use accountant::Accountant;
pub use bounded_queues::BoundedQueues;
pub use election_safety::ElectionSafety;
pub use equal_digests::EqualDigests;
pub use expiry::{Expiry, GONE_WITHIN};
pub use instances::Instances;
pub use leader_completeness::LeaderCompleteness;
pub use log_matching::LogMatching;
pub use logs::{Log, Logs};
pub use memberships::Memberships;
pub use progress::Progress;
pub use promises::Promises;
pub use sound_disks::SoundDisks;
pub use state_machine_safety::StateMachineSafety;
pub use strength::Strength;
pub use violation::{Violation, Voters};

/// What a run gave the checkers to look at, so that a run that shows nothing is not taken for one that is right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Leaders elected.
    pub leaders: u64,
    /// Entries seen committed.
    pub committed: u64,
    /// Digests that were compared with an earlier one, of another replica or of another life of the same.
    pub digests_compared: u64,
    /// What the linearizability checker judged, and what it did not.
    pub linearizability: Judged,
    /// Tokens of logs seen once each.
    pub tokens: u64,
    /// Keys read back at the end and judged.
    pub keys_read_back: u64,
    /// Operations on keys that expire, judged.
    pub expiring: u64,
}

impl Coverage {
    /// Adds what another run gave to look at.
    pub fn add(&mut self, other: &Coverage) {
        let Coverage { leaders, committed, digests_compared, linearizability, tokens, keys_read_back, expiring } =
            other;
        self.leaders += leaders;
        self.committed += committed;
        self.digests_compared += digests_compared;
        self.linearizability.add(linearizability);
        self.tokens += tokens;
        self.keys_read_back += keys_read_back;
        self.expiring += expiring;
    }
}

/// All checkers.
pub struct Checkers {
    logs: Logs,
    memberships: Memberships,
    log_matching: LogMatching,
    election_safety: ElectionSafety,
    leader_completeness: LeaderCompleteness,
    state_machine_safety: StateMachineSafety,
    equal_digests: EqualDigests,
    accountant: Accountant,
    bounded_queues: BoundedQueues,
    sound_disks: SoundDisks,
    promises: Promises,
    progress: Progress,
    strength: Strength,
    instances: Instances,
    expiry: Expiry,
    recovery_max: Duration,
    /// Whether the engine's own comparisons are all that is looked at.
    sees_comparisons_only: bool,
}

impl Checkers {
    /// Checkers of a cluster with these groups. Once faults are over, everything must work again within
    /// `recovery_max`.
    pub fn new(voters: Voters, recovery_max: Duration) -> Checkers {
        Checkers {
            logs: Logs::default(),
            memberships: Memberships::new(voters.clone()),
            log_matching: LogMatching,
            election_safety: ElectionSafety::default(),
            leader_completeness: LeaderCompleteness::default(),
            state_machine_safety: StateMachineSafety::default(),
            equal_digests: EqualDigests::default(),
            accountant: Accountant,
            bounded_queues: BoundedQueues,
            sound_disks: SoundDisks,
            promises: Promises::default(),
            progress: Progress::new(voters.keys().copied().collect(), recovery_max),
            strength: Strength::new(voters),
            instances: Instances::default(),
            expiry: Expiry::default(),
            recovery_max,
            sees_comparisons_only: false,
        }
    }

    /// The same without all others than the one that tells of what the engine itself has found by comparing replicas.
    pub fn of_comparisons_only(mut self) -> Checkers {
        self.sees_comparisons_only = true;
        self
    }

    /// The same where rows may lie on disk alone, and nobody knows of them that they are due.
    pub fn with_rows_on_disk(mut self) -> Checkers {
        self.expiry = self.expiry.with_rows_on_disk();
        self
    }

    /// Takes in what a replica did. Call in the order of time.
    ///
    /// # Errors
    /// What contradicts what was seen before. The run has failed; what is seen later means nothing.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        comparisons::observe(seen)?;
        if self.sees_comparisons_only {
            return Ok(());
        }
        self.accountant.observe(seen)?;
        self.bounded_queues.observe(seen)?;
        self.sound_disks.observe(seen)?;
        scrubs::observe(seen)?;
        contradictions::observe(seen)?;
        self.instances.observe(seen)?;
        self.promises.observe(seen)?;
        self.leader_completeness.before(seen, &self.logs)?;
        self.log_matching.observe(seen, &self.logs)?;
        self.logs.observe(seen);
        self.election_safety.observe(seen, &self.memberships)?;
        self.state_machine_safety.observe(seen, &self.logs, &self.memberships)?;
        self.memberships.observe(seen);
        self.leader_completeness.observe(seen, &self.logs)?;
        self.equal_digests.observe(seen)?;
        self.expiry.observe(seen)?;
        self.progress.observe(seen);
        self.strength.observe(seen);
        Ok(())
    }

    /// Judges replicas that were left alone for long and have told their digests since.
    ///
    /// # Errors
    /// The first objection.
    pub fn at_rest(&self) -> Result<(), Violation> {
        if self.sees_comparisons_only {
            return Ok(());
        }
        self.equal_digests.at_rest()
    }

    /// Whether a node cannot be started any more: what needs all of them may wait for ever.
    pub fn has_lost_nodes(&self) -> bool {
        self.strength.has_lost_nodes()
    }

    /// Judges whether every group that was left alone for long is at full strength.
    ///
    /// # Errors
    /// A group is not.
    pub fn at_strength(&self) -> Result<(), Violation> {
        if self.sees_comparisons_only {
            return Ok(());
        }
        self.strength.at_rest(&self.memberships)
    }

    /// Judges the end of a run at `now` and everything clients have seen.
    ///
    /// # Errors
    /// The first objection.
    pub fn finish(&mut self, history: &History, now: Instant) -> Result<Coverage, Violation> {
        if self.sees_comparisons_only {
            return Ok(Coverage::default());
        }
        if let Some(objection) = history.objection() {
            return Err(Violation::new("replies", objection));
        }
        self.progress.finish(history, now)?;
        let tokens = exactly_once::check(history)?;
        let keys_read_back = durability::check(history)?;
        let judged = linearizability::check(history)?;
        let expiring = self.expiry.finish(history, self.recovery_max)?;
        Ok(Coverage {
            leaders: self.election_safety.leaders_count(),
            committed: self.state_machine_safety.committed_count(),
            digests_compared: self.equal_digests.compared_count(),
            linearizability: judged,
            tokens,
            keys_read_back,
            expiring,
        })
    }
}

pub use durability::check as check_durability;
pub use exactly_once::check as check_exactly_once;
pub use linearizability::{Judged, check as check_linearizability};
