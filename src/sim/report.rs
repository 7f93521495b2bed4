//! What a run has to say for itself. Workers of a campaign send it as one line of JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::checkers::Coverage;
use crate::faults::FaultKind;

/// The outcome of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// What went wrong; `None` if every checker is content.
    pub failure: Option<Failure>,
    /// Hash over everything that happened.
    pub trace_hash: u64,
    /// How many events that were.
    pub events: u64,
    /// Simulated time, in milliseconds.
    pub simulated_ms: u64,
    /// Operations of clients, by outcome: answered, refused, unknown.
    pub operations: [u64; 3],
    /// What the checkers had to look at, if none objects.
    pub coverage: Coverage,
    /// The fullest that queues have been, by kind: how much was in one, of how much at most.
    pub queues: BTreeMap<String, (u64, u64)>,
    /// How often each kind of fault took effect.
    pub faults: BTreeMap<FaultKind, u64>,
    /// How often rare paths were reached, by name.
    pub counters: BTreeMap<String, u64>,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The checker that objects, or `panic`, `stuck`, `world`.
    pub checker: String,
    /// What contradicts what.
    pub message: String,
}

/// Adds up counts by what they count.
pub fn add<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, counts: &BTreeMap<K, u64>) {
    for (name, count) in counts {
        *into.entry(name.clone()).or_default() += count;
    }
}
