//! Giving memory back of keys that were removed all at once, and of what a flush leaves behind, a little per turn.

use crate::groups::Groups;

/// Rows that are looked at in one go: about 50 us.
const TIDY_ROWS_COUNT: usize = 500;

impl Groups {
    /// Notes that a group may have memory to give back, or rows to look at behind a flush or before one.
    pub(crate) fn release_later(&mut self, group: usize) {
        if !std::mem::replace(&mut self.list[group].is_releasing, true) {
            self.releasing.push(group);
        }
    }

    /// Gives a part of that memory back. Returns whether there is more.
    pub(crate) fn release_some(&mut self) -> bool {
        let Some(group) = self.releasing.last() else { return false };
        let replica = &mut self.list[*group];
        let has_more = replica.keyspace.release_some();
        if !(replica.keyspace.tidy_some(TIDY_ROWS_COUNT) || has_more) {
            replica.is_releasing = false;
            self.releasing.pop();
        }
        replica.settle_permits();
        !self.releasing.is_empty()
    }
}
