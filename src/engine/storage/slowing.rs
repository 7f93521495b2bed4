//! Writers that are slowed down before they would have to be stopped.
//!
//! What is written makes work in the background: tables to be merged, log to be kept for a replica that was away. If that falls behind
//! for long, reads get slow, room runs out, and that replica must begin again and again. So writers wait for a share of the ticks that
//! grows with what is left to do, from nothing up to nearly all, until the two come to a balance. The ticks in which they wait are spread
//! evenly, and reads wait in none.

use std::collections::BTreeMap;

use crate::observe::StallReason;

/// The shares are of so many ticks.
const TICKS_COUNT: u64 = 16;
/// In the rest writers go on, whatever is left to do.
const SHARE_MAX: u64 = TICKS_COUNT - 1;

/// In how many of [`TICKS_COUNT`] ticks writers wait: in none up to `from`, and in all but one from `to` on.
pub(super) fn share(now: u64, from: u64, to: u64) -> u64 {
    (now.saturating_sub(from).saturating_mul(SHARE_MAX)).div_ceil(to.saturating_sub(from).max(1)).min(SHARE_MAX)
}

/// Whose writers are slowed down, and who waits in the present tick.
#[derive(Default)]
pub(super) struct Slowing {
    /// Groups whose tables are to be merged. Invariant: no share is 0.
    groups: BTreeMap<usize, u64>,
    /// Of all groups: a replica receives a snapshot, or the log behind one, and the log has grown long meanwhile.
    of_all: u64,
    ticks: u64,
}

impl Slowing {
    /// The writers of a group are to wait in such a share of the ticks from now on.
    pub(super) fn set(&mut self, group: usize, share: u64) {
        if share == 0 {
            self.groups.remove(&group);
        } else {
            self.groups.insert(group, share);
        }
    }

    /// The writers of all groups are.
    pub(super) fn set_all(&mut self, share: u64) {
        self.of_all = share;
    }

    /// Whether nobody is slowed down.
    pub(super) fn is_idle(&self) -> bool {
        self.groups.is_empty() && self.of_all == 0
    }

    /// The next tick.
    pub(super) fn tick(&mut self) {
        self.ticks += 1;
    }

    /// Why the writers of a group wait in this tick, if they do.
    #[inline]
    pub(super) fn waits(&self, group: usize) -> Option<StallReason> {
        if self.is_idle() {
            return None;
        }
        if self.is_waiting(self.of_all) {
            return Some(StallReason::ReplicaBehind);
        }
        let share = self.groups.get(&group)?;
        self.is_waiting(*share).then_some(StallReason::MergesBehind)
    }

    fn is_waiting(&self, share: u64) -> bool {
        (self.ticks + 1) * share / TICKS_COUNT > self.ticks * share / TICKS_COUNT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn share_grows_from_none_to_nearly_all() {
        let shares = [0, 16, 17, 24, 31, 32, 1_000, u64::MAX].map(|now| share(now, 16, 32));
        assert_eq!(shares, [0, 0, 1, 8, 15, 15, 15, 15]);
        assert_eq!(share(5, 3, 3), SHARE_MAX, "there is no way between them");
    }

    /// In which of 32 ticks the writers of a group wait.
    fn ticks(slowing: &mut Slowing, group: usize, reason: StallReason) -> Vec<usize> {
        let mut waits = |_: &usize| {
            slowing.tick();
            let why = slowing.waits(group);
            assert!(why.is_none_or(|why| why == reason));
            why.is_some()
        };
        (0..32).filter(|at| waits(at)).collect()
    }

    #[test]
    fn writers_wait_in_their_share_of_the_ticks_and_evenly() {
        let mut slowing = Slowing::default();
        slowing.set(1, 4);
        let waited = ticks(&mut slowing, 1, StallReason::MergesBehind);
        assert_eq!(waited.len(), 8);
        assert!(waited.windows(2).all(|pair| pair[1] - pair[0] == 4), "{waited:?}");
        assert_eq!(ticks(&mut slowing, 2, StallReason::MergesBehind), []);
        slowing.set(1, 0);
        assert!(slowing.is_idle());
        assert_eq!(ticks(&mut slowing, 1, StallReason::MergesBehind), []);
    }

    #[test]
    fn writers_of_all_groups_go_on_now_and_then_whatever_is_left_to_do() {
        let mut slowing = Slowing::default();
        slowing.set_all(share(u64::MAX, 0, 1));
        assert_eq!(ticks(&mut slowing, 7, StallReason::ReplicaBehind).len(), 30);
        slowing.set_all(0);
        assert!(slowing.is_idle());
    }
}
