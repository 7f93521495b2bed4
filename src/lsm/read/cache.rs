//! Units that were read and may be needed again.
//!
//! What leads to rows, leaves and tops, and the rows themselves have a room each. A leaf is asked for as often as all of its rows together, some
//! hundreds, and is not much larger than a data unit: in a common room the data units of rows that nobody asks for again, most of them, would
//! push leaves out, and each lookup would read two units instead of one.

use std::collections::BTreeMap;

use crate::ids::TableId;
use crate::table::{Unit, UnitKind};

/// How much of tables is kept, in bytes of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheLimits {
    /// Of what leads to rows: leaves and tops.
    pub index_bytes_max: usize,
    /// Of rows.
    pub data_bytes_max: usize,
}

impl CacheLimits {
    /// Nothing is kept.
    pub const NONE: CacheLimits = CacheLimits::of_each(0);

    /// The same of either.
    pub const fn of_each(bytes_max: usize) -> CacheLimits {
        CacheLimits { index_bytes_max: bytes_max, data_bytes_max: bytes_max }
    }
}

/// Units by table and offset.
pub struct UnitCache {
    index: Room,
    data: Room,
}

impl UnitCache {
    /// Keeps no more than that.
    pub fn new(limits: CacheLimits) -> UnitCache {
        let room = |bytes_max| Room { bytes_max, ..Room::default() };
        UnitCache { index: room(limits.index_bytes_max), data: room(limits.data_bytes_max) }
    }

    /// The unit of this kind at an offset of a table, if it is here.
    pub fn get(&mut self, kind: UnitKind, table: TableId, offset: u64) -> Option<Unit> {
        self.room(kind).get((table, offset))
    }

    /// Keeps a unit, unless it is larger than all there may be.
    pub fn insert(&mut self, kind: UnitKind, table: TableId, offset: u64, unit: Unit) {
        self.room(kind).insert((table, offset), unit);
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.index.bytes + self.data.bytes
    }

    /// How often a unit was here and was not: one that leads to rows, and one with rows.
    pub fn hits_and_misses(&self) -> [(u64, u64); 2] {
        [&self.index, &self.data].map(|room| (room.hits, room.misses))
    }

    fn room(&mut self, kind: UnitKind) -> &mut Room {
        match kind {
            UnitKind::Leaf | UnitKind::Top | UnitKind::Properties => &mut self.index,
            UnitKind::Data => &mut self.data,
        }
    }
}

type Key = (TableId, u64);

struct Entry {
    key: Key,
    unit: Unit,
    bytes: usize,
    /// Whether it was asked for since the hand came by.
    is_referenced: bool,
}

/// As many units as a number of bytes allows; those go that were not asked for lately (CLOCK).
#[derive(Default)]
struct Room {
    bytes_max: usize,
    /// Invariant: the sum over all entries; at most `bytes_max`.
    bytes: usize,
    entries: Vec<Entry>,
    /// Invariant: where each entry stands in `entries`.
    places: BTreeMap<Key, usize>,
    hand: usize,
    hits: u64,
    misses: u64,
}

/// What an entry takes beside its unit.
const ENTRY_BYTES: usize = size_of::<Entry>() + size_of::<Key>() + size_of::<usize>();

impl Room {
    fn get(&mut self, key: Key) -> Option<Unit> {
        let Some(idx) = self.places.get(&key) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        let entry = &mut self.entries[*idx];
        entry.is_referenced = true;
        Some(entry.unit.clone())
    }

    fn insert(&mut self, key: Key, unit: Unit) {
        let bytes = unit.bytes() + ENTRY_BYTES;
        if bytes > self.bytes_max || self.places.contains_key(&key) {
            return;
        }
        self.shrink(self.bytes_max - bytes);
        self.bytes += bytes;
        self.places.insert(key, self.entries.len());
        self.entries.push(Entry { key, unit, bytes, is_referenced: false });
    }

    fn shrink(&mut self, bytes_max: usize) {
        while self.bytes > bytes_max {
            self.hand %= self.entries.len();
            if std::mem::take(&mut self.entries[self.hand].is_referenced) {
                self.hand += 1;
                continue;
            }
            let gone = self.entries.swap_remove(self.hand);
            self.bytes -= gone.bytes;
            self.places.remove(&gone.key);
            if let Some(moved) = self.entries.get(self.hand) {
                self.places.insert(moved.key, self.hand);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::table::Top;
    use crate::table::block::Block;

    const TABLE: TableId = TableId { file: crate::FileId { store: 0, number: 0 }, offset: 0 };

    fn top() -> Unit {
        Unit::Top(Rc::new(Top::default()))
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let each = top().bytes() + ENTRY_BYTES;
        let mut cache = UnitCache::new(CacheLimits { index_bytes_max: each * 10, data_bytes_max: 0 });
        for offset in 0..100 {
            cache.insert(UnitKind::Top, TABLE, offset, top());
            assert!(cache.get(UnitKind::Top, TABLE, 0).is_some(), "it is asked for all the time");
            assert!(cache.bytes() <= each * 10);
        }
        let there = (0..100).filter(|offset| cache.get(UnitKind::Top, TABLE, *offset).is_some()).count();
        assert_eq!(there, 10);
        assert_eq!(cache.bytes(), each * 10);
        assert_eq!(cache.hits_and_misses(), [(110, 90), (0, 0)]);
        let mut none = UnitCache::new(CacheLimits::NONE);
        none.insert(UnitKind::Top, TABLE, 5, top());
        assert_eq!((none.bytes(), none.get(UnitKind::Top, TABLE, 5).is_some()), (0, false));
    }

    #[test]
    fn rows_push_nothing_out_that_leads_to_rows() {
        let data = || Unit::Data(Rc::new(Block::decode(vec![0; 4]).unwrap()));
        let each = (top().bytes() + ENTRY_BYTES).max(data().bytes() + ENTRY_BYTES);
        let mut cache = UnitCache::new(CacheLimits::of_each(2 * each));
        cache.insert(UnitKind::Top, TABLE, 0, top());
        for offset in 1..100 {
            cache.insert(UnitKind::Data, TABLE, offset, data());
        }
        assert!(cache.get(UnitKind::Top, TABLE, 0).is_some());
        assert!(cache.get(UnitKind::Data, TABLE, 99).is_some());
        assert!(cache.get(UnitKind::Data, TABLE, 1).is_none());
    }
}
