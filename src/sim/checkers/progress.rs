//! Once faults are over, everything works again within a bound.

use std::collections::BTreeMap;
use std::time::Duration;

use raft::Role;
use types::{GroupId, Instant, ReplicaId};

use super::Violation;
use crate::history::{History, Operation, Outcome};
use crate::observation::{Observation, ObservationKind};

/// Most failed operations that an objection lists.
const LISTED_COUNT_MAX: usize = 8;

/// Objects to a group without a leader, and to operations that fail or stay without an answer, after the bound.
#[derive(Debug)]
pub struct Progress {
    groups: Vec<GroupId>,
    recovery_max: Duration,
    leaders: BTreeMap<(GroupId, ReplicaId), u64>,
    /// When replicas lost their states, since their disks had rotted: the fault may have been long before.
    lost_at: Vec<Instant>,
}

const NAME: &str = "progress";
/// How long after a command has met rot the replica has lost its state.
const NOTICED_WITHIN: Duration = Duration::from_secs(1);
/// By when a cluster without faults has its first leaders.
const FIRST_LEADERS: Instant = Instant::from_nanos(10_000_000_000);

impl Progress {
    /// All of `groups` must have leaders `recovery_max` after the last fault.
    pub fn new(groups: Vec<GroupId>, recovery_max: Duration) -> Progress {
        Progress { groups, recovery_max, leaders: BTreeMap::new(), lost_at: Vec::new() }
    }

    /// Takes in what a replica did.
    pub fn observe(&mut self, seen: &Observation) {
        let key = (seen.group, seen.replica);
        match &seen.kind {
            ObservationKind::Role { role: Role::Leader, term, .. } => {
                self.leaders.insert(key, *term);
            }
            ObservationKind::Role { .. }
            | ObservationKind::Started { .. }
            | ObservationKind::Stopped
            | ObservationKind::Destroyed
            | ObservationKind::Quarantined { .. } => {
                self.leaders.remove(&key);
            }
            ObservationKind::StateLost { is_provoked: true } => self.lost_at.push(seen.at),
            _ => {}
        }
    }

    /// Whether a group has a leader, as far as was seen.
    pub fn has_leader(&self, group: GroupId) -> bool {
        self.leaders.range((group, ReplicaId(0))..=(group, ReplicaId(u64::MAX))).next().is_some()
    }

    /// Looks at the end of a run.
    ///
    /// # Errors
    /// Something does not work again although it is time.
    pub fn finish(&self, history: &History, now: Instant) -> Result<(), Violation> {
        let Some(healed) = history.healed_at() else { return Ok(()) };
        let due = healed + self.recovery_max;
        if now < due {
            return Ok(());
        }
        let leaderless: Vec<_> = self.groups.iter().filter(|group| !self.has_leader(**group)).collect();
        if !leaderless.is_empty() {
            let what =
                format!("{} s after the last fault these groups have no leader: {leaderless:?}", self.seconds());
            return Err(Violation::new(NAME, what));
        }
        if let Some(latency_max) = history.latency_max() {
            check_latency(history, latency_max)?;
        }
        let mut reasons = BTreeMap::<&str, (usize, String)>::new();
        let mut failed_count = 0;
        for operation in history.operations() {
            let is_failed = !operation.is_known() && operation.begin >= due && !self.is_beside_loss(operation);
            let is_stuck = operation.outcome == Outcome::Unknown
                && operation.end == Instant::NEVER
                && now.since(operation.begin.max(healed)) > self.recovery_max;
            if is_failed || is_stuck {
                failed_count += 1;
                let reason = operation.reason.as_deref().unwrap_or("no answer");
                let example = || {
                    let at = operation.begin.as_nanos();
                    format!("{:?} of session {}, sent at {at} ns", operation.call, operation.client)
                };
                reasons.entry(reason).or_insert_with(|| (0, example())).0 += 1;
            }
        }
        if failed_count == 0 {
            return Ok(());
        }
        let listed: Vec<_> = reasons
            .iter()
            .take(LISTED_COUNT_MAX)
            .map(|(reason, (count, example))| format!("{count} times \"{reason}\", for example {example}"))
            .collect();
        let seconds = self.seconds();
        let what =
            format!("{seconds} s after the last fault {failed_count} operations failed: {}", listed.join("; "));
        Err(Violation::new(NAME, what))
    }

    /// Whether an operation ended behind the moment at which rot was found somewhere, or just before, and began before all must work again behind that.
    fn is_beside_loss(&self, operation: &Operation) -> bool {
        let is_beside = |lost_at: &Instant| {
            operation.end + NOTICED_WITHIN >= *lost_at && operation.begin < *lost_at + self.recovery_max
        };
        self.lost_at.iter().any(is_beside)
    }

    fn seconds(&self) -> f64 {
        self.recovery_max.as_secs_f64()
    }
}

/// Where no fault happens, commands are answered soon once the first leaders are there.
fn check_latency(history: &History, latency_max: Duration) -> Result<(), Violation> {
    let late = |operation: &&Operation| {
        operation.begin >= FIRST_LEADERS && operation.end.since(operation.begin) > latency_max
    };
    let Some(late) = history.operations().iter().find(late) else { return Ok(()) };
    let (at, took) = (late.begin.as_nanos(), late.end.since(late.begin).as_secs_f64());
    let what = format!(
        "{:?} of session {}, sent at {at} ns, took {took:.3} s to come to {:?} though no fault has happened: {}",
        late.call,
        late.client,
        late.outcome,
        late.reason.as_deref().unwrap_or_default()
    );
    Err(Violation::new(NAME, what))
}
