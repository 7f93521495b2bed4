//! Going over segments a few at a time, while rows change.

use types::Slot;

use crate::rows::row::{Handle, Hash48};
use crate::rows::segment::{ROWS_COUNT_MAX, Segment};
use crate::rows::tables::Tables;

/// Where a tour of segments goes on. Segments that are split or joined meanwhile keep the order of their rows, so a row that is there
/// all the while is come across.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    slot: usize,
    hash: Hash48,
}

impl Default for Cursor {
    fn default() -> Cursor {
        Cursor { slot: 0, hash: Hash48::MIN }
    }
}

impl Cursor {
    /// The next segment of a slot that `next_slot` finds, and the hash from which on its rows were not come across: segments may have been
    /// joined. `None` at the end of the last one; the next round begins behind that.
    pub(crate) fn next(
        &mut self,
        tables: &Tables,
        next_slot: impl Fn(&Tables, usize) -> Option<Slot>,
    ) -> Option<(Slot, Segment, Hash48)> {
        let Some(slot) = next_slot(tables, self.slot) else {
            *self = Cursor::default();
            return None;
        };
        if slot.idx() != self.slot {
            *self = Cursor { slot: slot.idx(), hash: Hash48::MIN };
        }
        let from = self.hash;
        let (segment, behind) = tables.segment_at(slot, from).expect("a slot with rows has segments");
        *self = match behind {
            Some(hash) => Cursor { slot: self.slot, hash },
            None => Cursor { slot: self.slot + 1, hash: Hash48::MIN },
        };
        Some((slot, segment, from))
    }
}

/// Some rows of a segment, apart from it: they may be removed one after another, whatever becomes of it.
pub(crate) struct Few {
    handles: [Option<Handle>; ROWS_COUNT_MAX],
    count: usize,
}

impl Few {
    pub(crate) fn of(handles: impl Iterator<Item = Handle>) -> Few {
        let mut few = Few { handles: [None; ROWS_COUNT_MAX], count: 0 };
        for handle in handles {
            few.handles[few.count] = Some(handle);
            few.count += 1;
        }
        few
    }

    pub(crate) fn none() -> Few {
        Few::of(std::iter::empty())
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Handle> + '_ {
        self.handles[..self.count].iter().copied().flatten()
    }

    /// Orders them.
    pub(crate) fn sort_by(&mut self, mut compare: impl FnMut(Handle, Handle) -> std::cmp::Ordering) {
        let handle = |at: Option<Handle>| at.expect("the first ones are there");
        self.handles[..self.count].sort_unstable_by(|one, other| compare(handle(*one), handle(*other)));
    }
}
