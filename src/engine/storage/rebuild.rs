//! Replicas that lack their state, and go on with another replica's.
//!
//! What such a replica has voted and acknowledged stands in its log, which is sound. All that it lacks is the state
//! before the log's beginning, and a committed state is the same wherever it comes from. So it asks the others for their
//! snapshots until one reaches into its log. One that found tables and log apart at its start stays away until then, and starts on that as
//! it would have on its own. One that has lost its state while it ran takes it over as any snapshot, but that it may be older than
//! what was applied here before: then that is applied again.

use std::time::Duration;

use types::{GroupId, Index};

use super::load::Loaded;
use super::recovery::{self, Found, Sealed};
use super::{Storage, StorageEffect, StorageHost};
use crate::context::Context;
use crate::error::Error;

/// How long to wait between two replicas.
const ASK_EVERY: Duration = Duration::from_secs(2);

impl<H: StorageHost> Storage<H> {
    /// Asks for what replicas lack that stay away.
    pub(super) fn tick_rebuilding(&mut self, ctx: &Context) {
        for at in 0..self.rebuilding.len() {
            let one = &mut self.rebuilding[at];
            if one.ask_at > ctx.now || self.receiving.is_receiving(one.group) {
                continue;
            }
            one.ask_at = ctx.now + ASK_EVERY;
            let (group, base) = (one.group, one.base);
            let wanted = self.map.group(group).into_iter().flat_map(|spec| &spec.replicas);
            let others: Vec<_> =
                wanted.map(|other| other.place).filter(|place| *place != self.config.place).collect();
            one.next_idx = (one.next_idx + 1) % others.len().max(1);
            let link = others.get(one.next_idx).and_then(|addr| self.links.up_to(*addr));
            if let Some(link) = link {
                // One that is as new will do; if there is none the other side sees to it.
                self.begin_receiving(ctx, group, link, base);
            }
        }
    }

    /// Whether a replica that stays away could start on this snapshot.
    pub(super) fn can_rejoin(&self, group: GroupId, loaded: &Loaded) -> bool {
        let log = self.rebuilding.iter().find(|one| one.group == group).and_then(|one| one.log.as_ref());
        log.is_some_and(|log| recovery::fits(log, loaded))
    }

    /// Whether a snapshot is of no use to a replica that lacks its state, as its log begins behind that one's end.
    pub(super) fn is_too_old(&self, group: GroupId, last_index: Index) -> bool {
        self.rebuilding.iter().any(|one| one.group == group && last_index < one.base)
    }

    /// Starts a replica that stayed away on a snapshot that fits its log and is installed.
    pub(super) fn rejoin(
        &mut self,
        group: GroupId,
        loaded: Loaded,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let at = self.rebuilding.iter().position(|one| one.group == group && one.log.is_some());
        let Some(at) = at else { return Ok(()) };
        let one = self.rebuilding.swap_remove(at);
        let config = self.config.clone();
        let spec = config.map.group(group).expect("replicas here are of the map");
        let fitted = self.fit_log(group, one.log.map(|log| *log), Some(Sealed::installed(&loaded)))?;
        let found = fitted.map(|log| Found { log, state: Some(loaded) });
        let started = found.and_then(|found| self.start(spec, one.replica, found));
        let replica = started.map_err(|lost| Error::LostAlone { group, reason: lost.reason })?;
        effects.push(StorageEffect::Rejoin { replica: Box::new(replica) });
        Ok(())
    }
}
