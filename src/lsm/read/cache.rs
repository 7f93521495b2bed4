//! Units that were read and may be needed again.

use std::collections::BTreeMap;

use crate::ids::TableId;
use crate::table::Unit;

struct Entry {
    key: (TableId, u64),
    unit: Unit,
    bytes: usize,
    /// Whether it was asked for since the hand came by.
    is_referenced: bool,
}

/// Units by table and offset, as many as a number of bytes allows; those go that were not asked for lately (CLOCK).
#[derive(Default)]
pub struct UnitCache {
    bytes_max: usize,
    /// Invariant: the sum over all entries; at most `bytes_max`.
    bytes: usize,
    entries: Vec<Entry>,
    /// Invariant: where each entry stands in `entries`.
    places: BTreeMap<(TableId, u64), usize>,
    hand: usize,
    hits: u64,
    misses: u64,
}

impl UnitCache {
    /// Holds at most so many bytes.
    pub fn new(bytes_max: usize) -> UnitCache {
        UnitCache { bytes_max, ..UnitCache::default() }
    }

    /// The unit at an offset of a table, if it is here.
    pub fn get(&mut self, table: TableId, offset: u64) -> Option<Unit> {
        let Some(idx) = self.places.get(&(table, offset)) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        let entry = &mut self.entries[*idx];
        entry.is_referenced = true;
        Some(entry.unit.clone())
    }

    /// Keeps a unit, unless it is larger than all there may be.
    pub fn insert(&mut self, table: TableId, offset: u64, unit: Unit) {
        let (key, bytes) = ((table, offset), unit.bytes());
        if bytes > self.bytes_max || self.places.contains_key(&key) {
            return;
        }
        self.shrink(self.bytes_max - bytes);
        self.bytes += bytes;
        self.places.insert(key, self.entries.len());
        self.entries.push(Entry { key, unit, bytes, is_referenced: false });
    }

    /// Sets how many bytes it holds at most.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.shrink(bytes_max);
    }

    /// Bytes that it holds.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How often a unit was here and was not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits, self.misses)
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

    fn unit() -> Unit {
        Unit::Top(Rc::new(Top::default()))
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_goes() {
        let each = unit().bytes();
        let mut cache = UnitCache::new(each * 10);
        let table = TableId::default();
        for offset in 0..100 {
            cache.insert(table, offset, unit());
            assert!(cache.get(table, 0).is_some(), "it is asked for all the time");
            assert!(cache.bytes() <= each * 10);
        }
        let there = (0..100).filter(|offset| cache.get(table, *offset).is_some()).count();
        assert_eq!(there, 10);
        cache.set_bytes_max(each * 3);
        assert_eq!(cache.bytes(), each * 3);
        cache.set_bytes_max(0);
        cache.insert(table, 5, unit());
        assert_eq!((cache.bytes(), cache.get(table, 5).is_some()), (0, false));
    }
}
