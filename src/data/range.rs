//! Runs of rows that commands look at, some of which are not in memory.

use std::collections::BTreeSet;

use lsm::Content;
use resp::{Args, Command};
use types::Slot;

use crate::commands;
use crate::keyspace::Keyspace;
use crate::row_range::{RowRange, position, slot_and_hash, stop_before};

/// The rows of a run that are in memory, as they are now.
pub struct RangeExcerpt {
    known: Keyspace,
    /// Keys that are known not to be there, by position.
    absent: BTreeSet<(u64, Box<[u8]>)>,
    range: RowRange,
    /// Whether rows behind the run belong to what was asked for.
    is_cut: bool,
}

impl Keyspace {
    /// The run of rows that a command looks at and that are not all in memory; `None` if there is none.
    pub fn missing_range(&self, command: &Command, slot: Slot, args: Args<'_>, clock_ms: u64) -> Option<RowRange> {
        if self.is_resident() {
            return None;
        }
        commands::find(command.id).ok()?.range.map(|range| range(&self.store, slot, args, clock_ms))
    }

    /// Copies the rows of a run that are in memory, without their values: those of the beginning if there are very many. What the run is then
    /// the excerpt tells.
    pub fn excerpt_of_range(&self, range: RowRange) -> RangeExcerpt {
        let mut excerpt = RangeExcerpt { known: self.of_same_kind(), absent: BTreeSet::new(), range, is_cut: false };
        let (mut count, mut at) = (0, range.from);
        while let Some(slot) = self.store.rows.next_known_slot(slot_and_hash(at).0) {
            at = at.max(position(slot.idx(), 0));
            if at >= range.to {
                break;
            }
            if count >= range.rows_max && stop_before(at) == at {
                (excerpt.range.to, excerpt.is_cut) = (at, true);
                break;
            }
            let Some((rows, behind)) = self.store.rows.some_known_in_slot(slot, slot_and_hash(at).1) else { break };
            for row in rows {
                count += 1;
                if row.is_absent() {
                    let place = position(slot.idx(), self.store.rows.hash_of(row.key()));
                    excerpt.absent.insert((place, row.key().into()));
                } else {
                    let content = Content { value: [b"", b""], ..row.content() };
                    excerpt.known.load(slot, row.key(), &content);
                }
            }
            at = behind.map_or(position(slot.idx() + 1, 0), |hash| position(slot.idx(), hash));
        }
        excerpt
    }
}

impl RangeExcerpt {
    /// The run.
    pub fn range(&self) -> RowRange {
        self.range
    }

    /// Bytes that it takes, about.
    pub fn bytes(&self) -> usize {
        self.known.bytes()
            + self.absent.iter().map(|(_, key)| key.len() + size_of::<(u64, Box<[u8]>)>()).sum::<usize>()
    }

    /// All rows of the run: those in memory, and what tables hold of the others. `reached` is where the rows of the tables end, if that is
    /// before the run does.
    pub fn with_rows<'r>(
        self,
        rows: impl Iterator<Item = (Slot, &'r [u8], Content<'r>)>,
        reached: Option<u64>,
    ) -> Keyspace {
        let RangeExcerpt { known, absent, range, is_cut } = self;
        let to = reached.unwrap_or(range.to);
        let place = |slot: Slot, key: &[u8]| position(slot.idx(), known.store.rows.hash_of(key));
        let mut all = known.of_same_kind();
        for (slot, row) in known.store.rows.iter() {
            if place(slot, row.key()) < to {
                all.load(slot, row.key(), &row.content());
            }
        }
        for (slot, key, content) in rows {
            let at = place(slot, key);
            if at < to && !absent.contains(&(at, key.into())) {
                // What is in memory is newer.
                all.load(slot, key, &content);
            }
        }
        all.store.known_until = (is_cut || reached.is_some()).then_some(to);
        all
    }
}
