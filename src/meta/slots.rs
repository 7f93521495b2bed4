//! From slot to group, in one step.

use types::{GroupId, SLOTS_COUNT, Slot};

use crate::error::Error;
use crate::map::ClusterMap;

/// The owner of every slot.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotTable {
    // Invariant: SLOTS_COUNT elements.
    owners: Box<[GroupId]>,
}

impl SlotTable {
    /// The table of a map. An error if a slot has no owner, or two, or if group 0 owns one.
    pub fn new(map: &ClusterMap) -> Result<SlotTable, Error> {
        let mut owners: Vec<Option<GroupId>> = vec![None; SLOTS_COUNT];
        for group in &map.groups {
            for range in &group.slots {
                if group.id == GroupId(0) {
                    return Err(Error::GroupZeroOwnsSlots);
                }
                let (first, last) = (range.first, range.last);
                let owned = owners.get_mut(usize::from(first)..=usize::from(last));
                let owned = owned.filter(|slots| !slots.is_empty());
                let owned = owned.ok_or(Error::SlotRange { group: group.id, first, last })?;
                for (slot, owner) in (first..).zip(owned) {
                    if let Some(first) = owner.replace(group.id) {
                        return Err(Error::SlotTwice { slot, first, second: group.id });
                    }
                }
            }
        }
        let owner_of = |(slot, owner): (usize, Option<GroupId>)| owner.ok_or(Error::SlotUnowned(slot as u16));
        let owners = owners.into_iter().enumerate().map(owner_of).collect::<Result<_, _>>()?;
        Ok(SlotTable { owners })
    }

    /// The group that owns a slot.
    pub fn group_of(&self, slot: Slot) -> GroupId {
        // A slot is below SLOTS_COUNT by construction.
        self.owners[slot.idx()]
    }
}

impl std::fmt::Debug for SlotTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SlotTable").finish_non_exhaustive()
    }
}
