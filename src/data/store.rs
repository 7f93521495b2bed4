//! The rows of the group as commands see them: what has expired is not there, whether its row is gone yet or not.

use core::cell::Cell;
use std::collections::BTreeMap;

use lsm::{Content, Row, RowMut, Rows, Swept};
use types::Slot;

/// How many keys reads have looked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lookups {
    /// Keys that were there.
    pub hits: u64,
    /// Keys that were not.
    pub misses: u64,
}

/// What tables have of a key, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowHead {
    pub(crate) kind: u8,
    pub(crate) expiry_ms: Option<u64>,
}

/// The rows of a group, and the time by which they expire.
pub(crate) struct Store {
    pub(crate) rows: Rows,
    /// Replicated time, in milliseconds since 1970 UTC: that of the last batch applied. It never goes back.
    time_ms: u64,
    /// Rows that were removed because their time had come, since somebody took the count.
    expired_count: u64,
    /// What reads have looked for since somebody took the count.
    lookups: Cell<Lookups>,
    /// The runs of slots that the group owns, ascending, both ends included; none if it owns all.
    owned: Vec<(Slot, Slot)>,
    /// How often a key was drawn, so that each draw is another one.
    draws: Cell<u64>,
    /// About how many keys there are, if not all are in memory: as many as tables have rows.
    stored_count: usize,
    /// When the first row of the tables expires.
    pub(crate) stored_expiry_ms: Option<u64>,
    /// Keys that tables have, of which more need not be known for now: see [`crate::cold`].
    pub(crate) heads: BTreeMap<(Slot, Box<[u8]>), RowHead>,
    /// Of a part of the rows: the position up to which it goes, if there may be more behind. See [`crate::row_range`].
    pub(crate) known_until: Option<u64>,
}

impl Store {
    pub(crate) fn new(hash_seed: u64) -> Store {
        Store {
            rows: Rows::new(hash_seed),
            time_ms: 0,
            expired_count: 0,
            lookups: Cell::default(),
            owned: Vec::new(),
            draws: Cell::new(0),
            stored_count: 0,
            stored_expiry_ms: None,
            heads: BTreeMap::new(),
            known_until: None,
        }
    }

    /// How many keys there are, about if not all are in memory.
    pub(crate) fn keys_count(&self) -> usize {
        let in_memory = self.rows.count();
        if self.rows.is_resident() { in_memory } else { in_memory.max(self.stored_count) }
    }

    /// The tables have about so many rows that are not hidden by others, of which the first expires then.
    pub(crate) fn set_stored(&mut self, count: usize, earliest_expiry_ms: Option<u64>) {
        (self.stored_count, self.stored_expiry_ms) = (count, earliest_expiry_ms);
    }

    pub(crate) fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Time goes on, never back.
    #[inline]
    pub(crate) fn advance_time(&mut self, time_ms: u64) {
        self.time_ms = self.time_ms.max(time_ms);
    }

    /// Rows that were removed because their time had come, since this was last called.
    pub(crate) fn take_expired(&mut self) -> u64 {
        std::mem::take(&mut self.expired_count)
    }

    /// Whether a key is there by replicated time and due by a clock.
    pub(crate) fn is_due(&self, slot: Slot, key: &[u8], clock_ms: u64) -> bool {
        let expiry_ms = self.get(slot, key).and_then(|row| row.expiry_ms());
        expiry_ms.is_some_and(|expiry_ms| expiry_ms <= clock_ms)
    }

    /// Looks at about so many rows and removes those whose time has come.
    pub(crate) fn sweep(&mut self, rows_count: usize, clock_ms: u64) -> Swept {
        let swept = self.rows.sweep(rows_count, self.time_ms, clock_ms);
        self.expired_count += swept.removed_count as u64;
        swept
    }

    /// The group owns these runs of slots, ascending, both ends included.
    pub(crate) fn own(&mut self, owned: Vec<(Slot, Slot)>) {
        self.owned = owned;
    }

    /// The runs of slots that the group owns.
    pub(crate) fn owned(&self) -> &[(Slot, Slot)] {
        &self.owned
    }

    /// The last slot of the run that this one is in.
    pub(crate) fn last_of_run(&self, slot: Slot) -> Slot {
        let run = self.owned.iter().find(|(first, last)| (*first..=*last).contains(&slot));
        run.map_or(Slot::MAX, |(_, last)| *last)
    }

    /// A number that differs from call to call. What it is nobody depends on.
    pub(crate) fn draw(&self, seed: u64) -> u64 {
        let number = self.draws.get().wrapping_add(1);
        self.draws.set(number);
        // The finish of SplitMix64 (Steele, Lea, Flood 2014).
        let mut z = seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Whether the time of a row has come.
    #[inline]
    pub(crate) fn has_expired(&self, row: Row<'_>) -> bool {
        row.expiry_ms().is_some_and(|expiry_ms| expiry_ms <= self.time_ms)
    }

    #[inline]
    pub(crate) fn get(&self, slot: Slot, key: &[u8]) -> Option<Row<'_>> {
        self.rows.get(slot, key).filter(|row| !self.has_expired(*row))
    }

    /// The row of a key that a read looks for; it counts as found or not.
    #[inline]
    pub(crate) fn look_up(&self, slot: Slot, key: &[u8]) -> Option<Row<'_>> {
        let row = self.get(slot, key);
        let mut lookups = self.lookups.get();
        lookups.hits += u64::from(row.is_some());
        lookups.misses += u64::from(row.is_none());
        self.lookups.set(lookups);
        row
    }

    /// What reads have looked for since this was last called.
    #[inline]
    pub(crate) fn take_lookups(&self) -> Lookups {
        self.lookups.take()
    }

    #[inline]
    pub(crate) fn contains(&self, slot: Slot, key: &[u8]) -> bool {
        self.get(slot, key).is_some()
    }

    /// Whether a key is there, of which perhaps only the head is known.
    pub(crate) fn exists(&self, slot: Slot, key: &[u8]) -> bool {
        let exists_in_tables = || {
            let head = self.heads.get(&(slot, key.into()));
            head.is_some_and(|head| head.expiry_ms.is_none_or(|expiry_ms| expiry_ms > self.time_ms))
        };
        self.contains(slot, key) || !self.heads.is_empty() && !self.rows.is_known(slot, key) && exists_in_tables()
    }

    /// How long the value of a key is; 0 if there is none.
    pub(crate) fn value_len(&self, slot: Slot, key: &[u8]) -> usize {
        self.get(slot, key).map_or(0, |row| row.value().len())
    }

    /// The row of a key, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, slot: Slot, key: &[u8]) -> Option<RowMut<'_>> {
        self.remove_expired(slot, key);
        self.rows.get_mut(slot, key)
    }

    /// Gives a key a string as its value, whether it exists or not. It does not expire then.
    #[inline]
    pub(crate) fn set(&mut self, slot: Slot, key: &[u8], value: &[u8]) {
        self.put(slot, key, &Content::plain(value));
    }

    /// Gives a key this content, whether it exists or not.
    #[inline]
    pub(crate) fn put(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) {
        self.remove_expired(slot, key);
        self.rows.put(slot, key, content);
    }

    /// Gives a key this content, and shows what it had, if it existed.
    pub(crate) fn replace(&mut self, slot: Slot, key: &[u8], content: &Content<'_>) -> Option<Row<'_>> {
        self.remove_expired(slot, key);
        if self.rows.get(slot, key).is_some() {
            return self.rows.get_mut(slot, key).map(|row| row.replace(content));
        }
        self.rows.put(slot, key, content);
        None
    }

    /// Removes a key, and shows what it had, if it existed. If only its head is known, no value is shown.
    pub(crate) fn remove(&mut self, slot: Slot, key: &[u8]) -> Option<Row<'_>> {
        if !self.heads.is_empty()
            && let Some(head) = self.heads.remove(&(slot, key.into()))
        {
            // It leaves a tombstone, as any row would. Nothing happens if the key has been written since.
            let content = Content { kind: head.kind, expiry_ms: head.expiry_ms, value: [b"", b""] };
            let epoch = self.rows.epoch();
            self.rows.fill(slot, key, Some(&content), epoch);
        }
        self.remove_expired(slot, key);
        self.rows.take(slot, key)
    }

    /// Removes a key if its time has come.
    #[inline]
    fn remove_expired(&mut self, slot: Slot, key: &[u8]) {
        if self.rows.expiring_count() > 0 && self.rows.get(slot, key).is_some_and(|row| self.has_expired(row)) {
            self.rows.expire(slot, key);
            self.expired_count += 1;
        }
    }

    /// Removes all keys.
    pub(crate) fn clear(&mut self) {
        self.heads.clear();
        self.rows.clear();
    }

    /// The rows of a slot that are there.
    pub(crate) fn rows_in_slot(&self, slot: Slot) -> impl Iterator<Item = Row<'_>> {
        self.rows.in_slot(slot).filter(|row| !self.has_expired(*row))
    }

    /// A sum over all rows that are there, which does not depend on their order or on where they lie.
    pub(crate) fn digest(&self) -> u128 {
        let rows = self.rows.iter().filter(|(_, row)| !self.has_expired(*row));
        rows.fold(0, |sum, (_, row)| sum.wrapping_add(row.digest()))
    }
}
