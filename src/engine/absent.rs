//! Replicas that stay away because their checkpoint is lost, and come back with another replica's.
//!
//! What such a replica has voted and acknowledged stands in its log, which is sound. All that it lacks is the state
//! before the log's beginning, and a committed state is the same wherever it comes from. So it asks the others for their
//! checkpoints until one reaches into its log, and starts on that as it would have on its own.

use std::time::Duration;

use types::{CoreAddr, GroupId, Instant, ReplicaId};
use wal::RecoveredGroup;

use crate::checkpoint::Loaded;
use crate::core::{Core, CoreHost};
use crate::error::Error;
use crate::recovery::{self, Found};
use crate::replica::{Started, build_replica};

/// How long to wait between two replicas.
const ASK_EVERY: Duration = Duration::from_secs(2);

/// A replica of this core that has not started.
pub(crate) struct Absent {
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
    /// What its log holds.
    pub(crate) log: Box<RecoveredGroup>,
    /// Where the other replicas live.
    others: Vec<CoreAddr>,
    next_idx: usize,
    ask_at: Instant,
}

impl Absent {
    pub(crate) fn new(spec: &meta::Group, replica: ReplicaId, log: Box<RecoveredGroup>) -> Absent {
        let others = spec.replicas.iter().filter(|other| other.id != replica).map(|other| other.place);
        Absent { group: spec.id, replica, log, others: others.collect(), next_idx: 0, ask_at: Instant::ZERO }
    }
}

impl<H: CoreHost> Core<H> {
    /// Asks for what absent replicas lack.
    pub(crate) fn tick_absent(&mut self) {
        for at in 0..self.absent.len() {
            let absent = &mut self.absent[at];
            if absent.ask_at > self.now || self.fetches.is_fetching(absent.group) {
                continue;
            }
            absent.ask_at = self.now + ASK_EVERY;
            absent.next_idx = (absent.next_idx + 1) % absent.others.len().max(1);
            let link = absent.others.get(absent.next_idx).and_then(|place| self.out.links.to(*place));
            let Some(link) = link.filter(|link| self.out.links.get(*link).is_up()) else { continue };
            let group = absent.group;
            self.begin_fetch(group, link, 0);
        }
    }

    /// Whether an absent replica could start on this checkpoint.
    pub(crate) fn can_come_back(&self, group: GroupId, loaded: &Loaded) -> bool {
        let absent = self.absent.iter().find(|absent| absent.group == group);
        absent.is_some_and(|absent| recovery::fits(&absent.log, loaded))
    }

    /// Starts an absent replica on a checkpoint that fits its log and has its name on disk.
    pub(crate) fn come_back(&mut self, group: GroupId, loaded: Loaded) -> Result<(), Error> {
        let Some(at) = self.absent.iter().position(|absent| absent.group == group) else { return Ok(()) };
        let absent = self.absent.swap_remove(at);
        let config = self.config.clone();
        let spec = config.map.groups.iter().find(|spec| spec.id == group).expect("absent replicas are of the map");
        let fitted = recovery::fit_log(&config, group, &mut self.wal, Some(*absent.log), Some(&loaded))?;
        let log = fitted.map_err(|lost| Error::LostAlone { group, reason: lost.reason })?;
        let found = Found { log, checkpoint: Some(loaded) };
        let started = build_replica(&self.host, &config, spec, absent.replica, found)?;
        let Started { group: mut replica, event, map } =
            started.map_err(|lost| Error::LostAlone { group, reason: lost.reason })?;
        tracing::info!(%group, "the replica is back, with the checkpoint of another one");
        let idx = self.groups.len();
        replica.route = self.routes.set_local(group, idx).expect("routes are those of the map");
        self.groups.push(replica);
        self.note(idx, event);
        self.note_digest(idx);
        self.take_map(idx, &map)?;
        self.stats.snapshots_received += 1;
        self.mark_dirty(idx);
        Ok(())
    }
}
