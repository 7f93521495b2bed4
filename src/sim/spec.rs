//! What a run is: a seed, and what goes wrong.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::broken::{self, Broken};
use crate::cluster_spec::{ClusterSpec, Hostility};
use crate::faults::Schedule;

/// One run, complete: equal specs give equal runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Decides everything that the other fields do not.
    pub seed: u64,
    /// For how long clients are busy and faults may begin, in simulated milliseconds. Then everything is healed, and
    /// all that was written is read back.
    pub busy_ms: u64,
    /// What goes wrong.
    pub schedule: Schedule,
    /// A promise of the world that it breaks.
    pub broken: Option<Broken>,
    /// Whether hostile clients do what cores do not bear yet, too.
    #[serde(default)]
    pub all_attacks: bool,
}

impl Spec {
    /// The run of a seed.
    pub fn of_seed(seed: u64, busy: Duration, broken: Option<Broken>) -> Spec {
        let mut cluster_spec = ClusterSpec::of_seed(seed).with_moves(seed);
        broken::change_cluster(broken, &mut cluster_spec);
        let busy = cluster_spec.busy(busy);
        let busy_ms = busy.as_millis() as u64;
        let mut schedule = match cluster_spec.hostility {
            Hostility::WithoutFaults => Schedule::default(),
            _ => Schedule::generate(seed, &cluster_spec, busy),
        };
        broken::change_schedule(broken, seed, busy_ms, cluster_spec.nodes, &mut schedule);
        Spec { seed, busy_ms, schedule, broken, all_attacks: false }
    }
}
