//! What waits until rows have left memory.

use types::Instant;

use crate::context::Context;

/// What waits until keys have room again.
#[derive(Default)]
pub(super) struct Pressure {
    /// Rows that were looked at since one last left memory.
    pub(super) vain_looks: usize,
    /// Since when something waits.
    since: Option<Instant>,
    /// Groups that follow and apply no more.
    followers: Vec<usize>,
}

impl Pressure {
    /// Whether a leader or follower is to wait until keys have room again. However much comes next, it comes then: rows leave until there is
    /// some room, and not until there is enough for it.
    pub(super) fn must_wait(&mut self, ctx: &mut Context) -> bool {
        let must_wait = ctx.makes_room() && !ctx.budget.has_room_for_keys(0);
        if must_wait && self.since.is_none() {
            self.since = Some(ctx.now);
            ctx.counters.write_stalls += 1;
        }
        must_wait
    }

    /// Whether something waits.
    pub(super) fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// Nothing need wait any more. Returns since when something did, and the groups that follow and go on, if something waited.
    pub(super) fn end(&mut self) -> Option<(Instant, Vec<usize>)> {
        self.since.take().map(|since| (since, std::mem::take(&mut self.followers)))
    }

    /// A replica is gone.
    pub(super) fn forget(&mut self, group: usize) {
        self.followers.retain(|follower| *follower != group);
    }

    /// A group follows and applies no more until keys have room.
    pub(super) fn hold_follower(&mut self, group: usize) {
        if !self.followers.contains(&group) {
            self.followers.push(group);
        }
    }
}
