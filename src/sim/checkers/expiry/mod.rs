//! Keys expire when they should: judged by what stands in the logs, and by the clocks of all nodes.
//!
//! The logs of a group's batches tell the order of all writes and the time at which each takes effect. So it is known what every
//! key was at every batch, and nothing has to be searched for: a write must answer what it does at its place; a read must answer
//! what the key was at a batch that the read can have seen. This is linearizability for keys with a single writer each, and a
//! clock that is part of the state.
//!
//! What the time of a batch may be is judged by the clocks. It never goes back; it is never ahead of what the fastest clock may
//! have led it to, so that no key is gone before its time by every clock there ever was; and where nothing is wrong any more it
//! is not far behind the slowest clock while a key in memory waits for it, though nobody asks for the key and nobody writes. To that end
//! leaders propose batches without commands: a few in a second, no more.
//!
//! Read `bounds`, `clocks`, `timeline` (what a group's log tells), `model` (what commands do), `key` (judging one); `time_batches`.

mod bounds;
mod clocks;
mod key;
mod model;
mod time_batches;
mod timeline;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use types::{CoreAddr, GroupId};

use super::Violation;
use crate::history::{ExpiringOperation, History};
use crate::observation::{Observation, ObservationKind};

pub use bounds::GONE_WITHIN;

use bounds::{NAME, ROUNDING_MS};
use clocks::Clocks;
use key::{Healthy, KeyJudge};
use time_batches::TimeBatches;
use timeline::Timeline;

/// Judges keys that expire.
#[derive(Debug, Default)]
pub struct Expiry {
    clocks: Clocks,
    groups: BTreeMap<GroupId, Timeline>,
    counts: BTreeMap<CoreAddr, TimeBatches>,
    /// Whether rows may lie on disk alone: time goes on for their sake once somebody asks for them.
    has_rows_on_disk: bool,
}

impl Expiry {
    /// Where rows may lie on disk alone.
    pub(super) fn with_rows_on_disk(mut self) -> Expiry {
        self.has_rows_on_disk = true;
        self
    }

    /// Takes in what a replica did, or how clocks run from now on.
    ///
    /// # Errors
    /// Replicated time goes back, or is ahead of all clocks, or too much is proposed for its sake.
    pub fn observe(&mut self, seen: &Observation) -> Result<(), Violation> {
        match &seen.kind {
            ObservationKind::Clocks(clocks) => self.clocks.change(seen.at, clocks.clone()),
            ObservationKind::Batch { term, index, payload } => {
                let reach_ms = self.clocks.reach_ms(seen.at) + ROUNDING_MS;
                let timeline = self.groups.entry(seen.group).or_default();
                let applied = timeline.apply(seen.at, (*term, *index), payload, reach_ms);
                applied.map_err(|what| Violation::of_replica(NAME, seen, what))?;
            }
            ObservationKind::TimeBatches(count) => {
                let counts = self.counts.entry(seen.place).or_default();
                let counted = counts.count(seen.at, *count, self.groups.len());
                counted.map_err(|what| Violation::of_replica(NAME, seen, what))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Judges everything that clients were answered. Returns how many operations were judged. Everything works again
    /// `recovery_max` after the last fault.
    ///
    /// # Errors
    /// The first objection.
    pub fn finish(&self, history: &History, recovery_max: Duration) -> Result<u64, Violation> {
        let mut keys = BTreeMap::<_, Vec<&ExpiringOperation>>::new();
        for operation in history.expiring.list() {
            keys.entry(&operation.key).or_default().push(operation);
        }
        let healthy = history.healed_at().map(|at| Healthy { since: at + recovery_max, healed: at });
        let nothing = Timeline::default();
        let mut judged = 0;
        for (key, operations) in keys {
            let timeline = self.groups.values().find(|timeline| timeline.names(key)).unwrap_or(&nothing);
            let is_noticed = !self.has_rows_on_disk;
            let judge = KeyJudge { key, operations: &operations, timeline, clocks: &self.clocks, is_noticed };
            judged += judge.judge(healthy.as_ref())?;
        }
        Ok(judged)
    }
}
