//! Replicas that stay away because their tables are lost, and come back with another replica's.
//!
//! What such a replica has voted and acknowledged stands in its log, which is sound. All that it lacks is the state
//! before the log's beginning, and a committed state is the same wherever it comes from. So it asks the others for their
//! snapshots until one reaches into its log, and starts on that as it would have on its own.

use std::time::Duration;

use types::GroupId;

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
            one.next_idx = (one.next_idx + 1) % one.others.len().max(1);
            let link = one.others.get(one.next_idx).and_then(|addr| self.links.up_to(*addr));
            let group = one.group;
            if let Some(link) = link {
                self.begin_receiving(ctx, group, link, 0);
            }
        }
    }

    /// Whether a replica that stays away could start on this snapshot.
    pub(super) fn can_rejoin(&self, group: GroupId, loaded: &Loaded) -> bool {
        let one = self.rebuilding.iter().find(|one| one.group == group);
        one.is_some_and(|one| recovery::fits(&one.log, loaded))
    }

    /// Starts a replica that stayed away on a snapshot that fits its log and is installed.
    pub(super) fn rejoin(
        &mut self,
        group: GroupId,
        loaded: Loaded,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let Some(at) = self.rebuilding.iter().position(|one| one.group == group) else { return Ok(()) };
        let one = self.rebuilding.swap_remove(at);
        let config = self.config.clone();
        let spec = config.map.group(group).expect("replicas here are of the map");
        let fitted = self.fit_log(group, Some(*one.log), Some(Sealed::installed(&loaded)))?;
        let found = fitted.map(|log| Found { log, state: Some(loaded) });
        let started = found.and_then(|found| self.start(spec, one.replica, found));
        let replica = started.map_err(|lost| Error::LostAlone { group, reason: lost.reason })?;
        effects.push(StorageEffect::Rejoin { replica: Box::new(replica) });
        Ok(())
    }
}
