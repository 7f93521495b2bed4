//! Tables that turn out not to be what was written, wherever they are read: by a command, a merge, whoever warms or sends them.
//!
//! While all rows are in memory they are written anew from there. Else this replica has lost its state, and nothing but that: its log is sound,
//! and what it has voted and acknowledged stands there. So it goes on voting and acknowledging, applies nothing, rather does not lead, and
//! asks the other replicas for a snapshot until one has come behind which its log goes on ([`super::rebuild`]). A group without
//! other replicas goes on with what can be read; commands that need what cannot are answered with an error, and a write of
//! that kind stops the group.

use std::fmt::Display;
use std::time::Duration;

use types::GroupId;

use super::rebuilding::Rebuilding;
use super::{Storage, StorageEffect, StorageHost};
use crate::context::Context;
use crate::replicas::Replicas;

/// When the tables of a group without other replicas are read again from the first row on.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

impl<H: StorageHost> Storage<H> {
    /// The tables of a group turned out not to be what was written. What becomes of it the next tick says.
    pub(crate) fn tables_are_damaged(&mut self, ctx: &mut Context, id: GroupId, error: &impl Display) {
        let Some(group) = self.records.index_of(id) else { return };
        if self.records.is_lost(group) {
            return;
        }
        let index = self.records.snapshot_index(group);
        if self.records.set_damaged(group, index) {
            self.newly_damaged.push(group);
            ctx.counters.tables_damaged += 1;
            tracing::error!(group = %id, %error, "tables are damaged");
        }
        self.merging.give_up(id);
        self.warming.remove(id);
    }

    /// Rows of groups whose tables are damaged stay in memory until they are written anew, if they are all there. At every tick.
    pub(super) fn hold_damaged(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) {
        for group in std::mem::take(&mut self.newly_damaged) {
            let keyspace = replicas.keyspace_mut(group);
            if keyspace.is_resident() {
                keyspace.hold();
                let id = self.records.get(group).group;
                tracing::error!(group = %id, "all rows of damaged tables are in memory: they are written anew");
                continue;
            }
            keyspace.give_up_warming();
            self.lose(ctx, replicas, group, effects);
        }
    }

    /// A replica has lost its state.
    pub(super) fn lose(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        group: usize,
        effects: &mut Vec<StorageEffect>,
    ) {
        let view = replicas.view(group);
        let spec = self.config.map.group(view.id).expect("replicas here are of the map");
        if spec.replicas.len() == 1 {
            // A disk that could not read for a while may read again.
            self.records.is_sound_again(group);
            self.warming.push(view.id);
            self.warming.not_before = ctx.now + READ_AGAIN_AFTER;
            ctx.counters.states_lost += 1;
            tracing::error!(
                group = %view.id,
                "a part of the keys cannot be read, and no other replica holds them: commands that need them fail. If this lasts, restore \
                 the data directory from a backup"
            );
            return;
        }
        if !self.records.lose(group) {
            return;
        }
        self.warming.remove(view.id);
        ctx.counters.states_lost += 1;
        tracing::error!(group = %view.id, "memory does not hold all rows of damaged tables: the state is taken over from another replica");
        self.rebuilding.push(Rebuilding::of_state(view.id, view.replica, view.base));
        effects.push(StorageEffect::StateLost { group });
    }
}
