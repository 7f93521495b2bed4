//! Rows over tables that are a map, with what they are to hold together.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::Slot;

use super::*;
use crate::table::stored_row::head_parts;
use crate::table::{self, Put, Value};

/// What a key holds: kind, expiry, value.
pub(crate) type Held = (u8, Option<u64>, Vec<u8>);
pub(crate) type Truth = BTreeMap<(u16, Vec<u8>), Held>;

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Put(u16, usize, Option<u8>),
    Append(u16),
    Expire(u16, Option<u8>),
    Replace(u16),
    Take(u16),
    /// Replicated time goes on, and what is come across is expired.
    Advance(u8),
    Touch(u16),
    Sweep(u8),
    Clear,
    /// Many rows in one slot, so that its segments are split.
    Crowd(u8, u16),
    /// And joined again.
    Disperse(u8, u16),
    Begin,
    GoOn(u16),
    /// All that the flush has left is copied and committed.
    Commit,
    GiveUp,
    Tidy(u8),
    /// Somebody begins to ask the tables for a key.
    Ask(u16),
    /// One of the answers arrives.
    Answer(u8),
    /// So many bytes are wanted, and so many looks are allowed.
    Evict(u16, u16),
    Pin(u16),
    Unpin,
    /// All rows of the tables of now will be handed over.
    BeginWarming,
    /// So many of them are.
    Warm(u8),
}

/// Any step of rows that are resident.
pub(crate) fn resident_step() -> impl Strategy<Value = Step> {
    let expiry = || proptest::option::weighted(0.3, any::<u8>());
    let len = prop_oneof![9 => 0usize..300, 1 => 0usize..6_000];
    prop_oneof![
        8 => (0u16..60, len, expiry()).prop_map(|(number, len, expiry)| Step::Put(number, len, expiry)),
        3 => (0u16..60).prop_map(Step::Append),
        2 => (0u16..60, expiry()).prop_map(|(number, expiry)| Step::Expire(number, expiry)),
        2 => (0u16..60).prop_map(Step::Replace),
        5 => (0u16..60).prop_map(Step::Take),
        2 => (0u8..10).prop_map(Step::Advance),
        4 => (0u16..60).prop_map(Step::Touch),
        1 => any::<u8>().prop_map(Step::Sweep),
        1 => Just(Step::Clear),
        1 => (any::<u8>(), 0u16..400).prop_map(|(slot, count)| Step::Crowd(slot, count)),
        2 => (any::<u8>(), 0u16..400).prop_map(|(slot, count)| Step::Disperse(slot, count)),
        5 => Just(Step::Begin),
        12 => (0u16..4_000).prop_map(Step::GoOn),
        3 => Just(Step::Commit),
        2 => Just(Step::GiveUp),
        4 => any::<u8>().prop_map(Step::Tidy),
    ]
}

/// Any step.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => resident_step(),
        8 => (0u16..60).prop_map(Step::Ask),
        8 => any::<u8>().prop_map(Step::Answer),
        8 => (0u16..4_000, 0u16..1_000).prop_map(|(bytes, looks)| Step::Evict(bytes, looks)),
        3 => (0u16..60).prop_map(Step::Pin),
        1 => Just(Step::Unpin),
        3 => Just(Step::BeginWarming),
        6 => any::<u8>().prop_map(Step::Warm),
    ]
}

pub(crate) fn slot_of(number: u16) -> Slot {
    let slots = [0, 1, 127, 128, 9_999, 16_383];
    Slot::new(slots[usize::from(number) % slots.len()]).expect("a slot")
}

/// An answer of the tables that is under way: of which key, what it says, and the epoch in which they were asked.
type Asked = (Slot, Vec<u8>, Option<Held>, u64);

/// A row of tables: its key, and what it holds.
type Stored = ((u16, Vec<u8>), Held);

/// Rows, what they are to hold, and what the tables hold.
pub(crate) struct World {
    pub(crate) rows: Rows,
    pub(crate) truth: Truth,
    pub(crate) tables: Truth,
    /// The truth at the beginning of the flush.
    at_beginning: Truth,
    time_ms: u64,
    puts_count: u64,
    asked: Vec<Asked>,
    pinned: Vec<(Slot, Vec<u8>)>,
    /// Rows of tables of before that are still to be handed over.
    warming: Option<Vec<Stored>>,
    pub(crate) evicted_bytes: usize,
    pub(crate) filled_count: usize,
    pub(crate) warmed_count: usize,
}

impl World {
    pub(crate) fn new() -> World {
        World {
            rows: Rows::new(5),
            truth: Truth::new(),
            tables: Truth::new(),
            at_beginning: Truth::new(),
            time_ms: 100,
            puts_count: 0,
            asked: Vec::new(),
            pinned: Vec::new(),
            warming: None,
            evicted_bytes: 0,
            filled_count: 0,
            warmed_count: 0,
        }
    }

    fn place(number: u16) -> (Slot, Vec<u8>) {
        (slot_of(number), format!("key{number}").into_bytes())
    }

    /// A write that does not look at what the key has.
    pub(crate) fn put(&mut self, slot: Slot, key: &[u8], len: usize, expiry: Option<u8>) {
        self.puts_count += 1;
        let mut value = vec![b'v'; len];
        value.extend_from_slice(&self.puts_count.to_le_bytes());
        let expiry_ms = expiry.map(|ms| self.time_ms + 1 + u64::from(ms));
        let kind = self.puts_count as u8 % 3;
        self.expire(slot, key);
        self.rows.put(slot, key, &Content { kind, expiry_ms, value: [&value, b""] });
        self.truth.insert((slot.number(), key.to_vec()), (kind, expiry_ms, value));
    }

    /// As whoever looks at a key does.
    fn expire(&mut self, slot: Slot, key: &[u8]) {
        let expiry_ms = self.rows.get(slot, key).and_then(|row| row.expiry_ms());
        if expiry_ms.is_some_and(|expiry_ms| expiry_ms <= self.time_ms) {
            self.rows.expire(slot, key);
        }
    }

    pub(crate) fn take(&mut self, slot: Slot, key: &[u8]) {
        self.know(slot, key);
        self.expire(slot, key);
        let taken = self.rows.take(slot, key).map(|row| row.value().to_vec());
        let expected = self.truth.remove(&(slot.number(), key.to_vec()));
        assert_eq!(taken, expected.filter(|held| is_there(held, self.time_ms)).map(|(_, _, value)| value));
    }

    fn change(&mut self, number: u16, change: impl FnOnce(RowMut<'_>, &mut Held)) {
        let (slot, key) = World::place(number);
        self.know(slot, &key);
        self.expire(slot, &key);
        let held = self.truth.get_mut(&(slot.number(), key.clone())).filter(|held| is_there(held, self.time_ms));
        let row = self.rows.get_mut(slot, &key);
        assert_eq!(row.is_some(), held.is_some());
        if let (Some(row), Some(held)) = (row, held) {
            change(row, held);
        }
    }

    pub(crate) fn take_step(&mut self, step: &Step) {
        match *step {
            Step::Put(number, len, expiry) => {
                let (slot, key) = World::place(number);
                self.put(slot, &key, len, expiry);
            }
            Step::Append(number) => self.change(number, |mut row, held| {
                row.write_at(held.2.len(), b"tail");
                held.2.extend_from_slice(b"tail");
            }),
            Step::Expire(number, expiry) => {
                let expiry_ms = expiry.map(|ms| self.time_ms + 1 + u64::from(ms));
                self.change(number, |mut row, held| {
                    row.set_expiry(expiry_ms);
                    held.1 = expiry_ms;
                });
            }
            Step::Replace(number) => self.change(number, |row, held| {
                let new = (1, held.1.map(|expiry_ms| expiry_ms + 7), b"replaced".to_vec());
                let old = row.replace(&Content { kind: new.0, expiry_ms: new.1, value: [b"repl", b"aced"] });
                assert_eq!(old.value(), held.2);
                *held = new;
            }),
            Step::Take(number) => {
                let (slot, key) = World::place(number);
                self.take(slot, &key);
            }
            Step::Advance(ms) => self.time_ms += u64::from(ms),
            Step::Touch(number) => {
                let (slot, key) = World::place(number);
                self.know(slot, &key);
                self.expire(slot, &key);
            }
            Step::Sweep(count) => {
                self.rows.sweep(usize::from(count), self.time_ms, self.time_ms);
            }
            Step::Clear => {
                self.rows.clear();
                (self.truth, self.tables) = (Truth::new(), Truth::new());
                assert!(self.rows.is_resident());
            }
            Step::Crowd(number, count) => {
                let slot = slot_of(u16::from(number));
                (0..count).for_each(|idx| self.put(slot, format!("crowd{idx}").as_bytes(), 3, None));
            }
            Step::Disperse(number, count) => {
                let slot = slot_of(u16::from(number));
                (0..count).for_each(|idx| self.take(slot, format!("crowd{idx}").as_bytes()));
            }
            _ => self.take_step_of_tables(step),
        }
    }

    /// What happens between rows and tables.
    fn take_step_of_tables(&mut self, step: &Step) {
        match *step {
            Step::Begin => self.begin(),
            Step::GoOn(budget_bytes) => {
                self.rows.go_on_flushing(usize::from(budget_bytes));
            }
            Step::Commit => self.commit(),
            Step::GiveUp => self.rows.give_up_flush(),
            Step::Tidy(count) => {
                self.rows.tidy_some(usize::from(count));
            }
            Step::Ask(number) => {
                let (slot, key) = World::place(number);
                self.ask(slot, &key);
            }
            Step::Answer(_) if self.asked.is_empty() => {}
            Step::Answer(number) => {
                let answer = self.asked.swap_remove(usize::from(number) % self.asked.len());
                self.answer(answer);
            }
            Step::Evict(want_bytes, looks_max) => self.evict(usize::from(want_bytes), usize::from(looks_max)),
            Step::Pin(number) => {
                let (slot, key) = World::place(number);
                self.rows.pin(slot, &key);
                self.pinned.push((slot, key));
            }
            Step::Unpin => {
                self.rows.unpin_all();
                self.pinned.clear();
            }
            Step::BeginWarming => self.begin_warming(),
            Step::Warm(count) => self.warm(usize::from(count)),
            _ => unreachable!("{step:?} is one of rows"),
        }
    }

    /// What the tables say of a key now.
    fn stored(&self, slot: Slot, key: &[u8]) -> Option<&Held> {
        let held = self.tables.get(&(slot.number(), key.to_vec()));
        held.filter(|held| is_there(held, self.time_ms))
    }

    pub(crate) fn ask(&mut self, slot: Slot, key: &[u8]) {
        let told = self.stored(slot, key).cloned();
        self.asked.push((slot, key.to_vec(), told, self.rows.epoch()));
    }

    fn answer(&mut self, (slot, key, told, epoch): Asked) -> bool {
        let content = |held: &'_ Held| (held.0, held.1);
        let told = told.as_ref().map(|held| (content(held), held.2.as_slice()));
        let told = told.map(|((kind, expiry_ms), value)| Content { kind, expiry_ms, value: [value, b""] });
        let was_known = self.rows.is_known(slot, &key);
        let is_filled = self.rows.fill(slot, &key, told.as_ref(), epoch);
        assert_eq!(is_filled, !was_known && epoch == self.rows.epoch());
        self.filled_count += usize::from(is_filled);
        is_filled
    }

    /// Somebody begins to read the tables of now from the first row to the last.
    pub(crate) fn begin_warming(&mut self) {
        self.rows.begin_warming();
        self.warming = Some(self.tables.iter().map(|(place, held)| (place.clone(), held.clone())).collect());
    }

    /// Hands over so many rows of those tables, and says so behind the last one.
    pub(crate) fn warm(&mut self, count: usize) {
        let Some(mut left) = self.warming.take() else { return };
        for _ in 0..count {
            let Some(((slot, key), held)) = left.pop() else { break };
            if !is_there(&held, self.time_ms) {
                continue;
            }
            let slot = Slot::new(slot).expect("a slot");
            let content = Content { kind: held.0, expiry_ms: held.1, value: [&held.2, b""] };
            match self.rows.warm(slot, &key, &content) {
                Warmed::Added => self.warmed_count += 1,
                Warmed::Known => {}
                Warmed::Over => return,
            }
        }
        if !left.is_empty() {
            self.warming = Some(left);
        } else if self.rows.end_warming() {
            assert!(self.rows.is_resident());
        }
    }

    /// As whoever looks at a key does: the tables are asked if need be.
    pub(crate) fn know(&mut self, slot: Slot, key: &[u8]) {
        if !self.rows.is_known(slot, key) {
            self.ask(slot, key);
            let answer = self.asked.pop().expect("it was just asked for");
            assert!(self.answer(answer), "an answer in time is taken in");
        }
    }

    pub(crate) fn evict(&mut self, want_bytes: usize, looks_max: usize) {
        let has_row = |rows: &Rows, slot: Slot, key: &[u8]| rows.tables.find(slot, rows.hash(key), key).is_some();
        let mut pinned = self.pinned.clone();
        pinned.retain(|(slot, key)| has_row(&self.rows, *slot, key));
        let blocks_bytes = |rows: &[(Slot, Row<'_>)]| rows.iter().map(|(_, row)| row.block_bytes()).sum::<usize>();
        let (dirty_bytes, before) = (self.rows.dirty_bytes(), blocks_bytes(&self.all_rows()));
        let bytes = self.rows.evict_some(want_bytes, looks_max);
        assert_eq!(blocks_bytes(&self.all_rows()) + bytes, before, "what is evicted is counted");
        assert_eq!(self.rows.dirty_bytes(), dirty_bytes);
        assert!(pinned.iter().all(|(slot, key)| has_row(&self.rows, *slot, key)), "what is pinned stays");
        self.evicted_bytes += bytes;
    }

    /// Whatever is asked for now has the answer that it is to have.
    pub(crate) fn check_looks(&self) {
        let places = (0..60)
            .map(World::place)
            .chain(self.truth.keys().map(|(slot, key)| (Slot::new(*slot).expect("a slot"), key.clone())));
        for (slot, key) in places {
            let held = self.truth.get(&(slot.number(), key.clone())).filter(|held| is_there(held, self.time_ms));
            let seen = match self.rows.look(slot, &key) {
                Known::Row(row) => Some((row.kind(), row.expiry_ms(), row.value().to_vec())),
                Known::NoKey => None,
                Known::Unknown => self.stored(slot, &key).cloned(),
            };
            assert_eq!(seen.filter(|held| is_there(held, self.time_ms)).as_ref(), held);
        }
    }

    pub(crate) fn begin(&mut self) {
        let is_under_way = self.rows.flushed().is_some();
        let begins = self.rows.begin_flush();
        assert!(!(begins && is_under_way), "there is one flush at a time");
        if begins {
            self.at_beginning = self.truth.clone();
        }
    }

    /// Ends the flush, if there is one, and applies what it has copied.
    pub(crate) fn commit(&mut self) {
        if self.rows.flushed().is_none() {
            return;
        }
        while !self.rows.go_on_flushing(700) {}
        let mut bytes = 0;
        let held_bytes = self.rows.copied_bytes();
        let payloads = self.rows.flushed().expect("a flush under way");
        let mut last = Vec::new();
        while let Some(payload) = payloads.take_closed() {
            bytes += payload.len();
            for row in Records::new(&payload) {
                assert!(*row.key > *last || last.is_empty(), "row keys ascend");
                last = row.key.to_vec();
                apply(&mut self.tables, row);
            }
        }
        assert_eq!((bytes, self.rows.copied_bytes()), (held_bytes, 0));
        self.rows.end_flush();
        let living = |truth: &Truth| -> Truth {
            let living = truth.iter().filter(|(_, held)| is_there(held, self.time_ms));
            living.map(|(place, held)| (place.clone(), held.clone())).collect()
        };
        assert!(living(&self.tables) == living(&self.at_beginning), "tables hold the state at the beginning");
    }

    /// All rows, tombstones among them.
    fn all_rows(&self) -> Vec<(Slot, Row<'_>)> {
        let mut all = Vec::new();
        for slot in (0..6).map(slot_of) {
            let mut next = Some(Hash48::MIN);
            while let Some((segment, behind)) = next.and_then(|hash| self.rows.tables.segment_at(slot, hash)) {
                // SAFETY: the segment has these rows, and nobody changes them as long as the world is borrowed.
                let rows: Vec<_> = segment.handles().map(|handle| unsafe { handle.row() }).collect();
                let dirty_count = rows.iter().filter(|row| row.flags().state().is_dirty()).count();
                assert_eq!(segment.dirty_handles().count(), dirty_count, "a line with a dirty row has its bit");
                all.extend(rows.into_iter().map(|row| (slot, row)));
                next = behind;
            }
        }
        all
    }

    /// Rows over tables hold the truth, and all figures are right.
    pub(crate) fn check(&self) {
        self.rows.tables.check_sets();
        let (mut seen, mut count, mut expiring_count) = (self.tables.clone(), 0, 0);
        let (mut dirty, mut per_slot) = ((0, 0), BTreeMap::<u16, (u32, u32)>::new());
        for (slot, row) in self.all_rows() {
            let slot = slot.number();
            let (place, state) = ((slot, row.key().to_vec()), row.flags().state());
            if row.is_absent() {
                seen.remove(&place);
            } else {
                (count, expiring_count) = (count + 1, expiring_count + usize::from(row.expires()));
                seen.insert(place, (row.kind(), row.expiry_ms(), row.value().to_vec()));
            }
            let of_slot = per_slot.entry(slot).or_default();
            *of_slot = (of_slot.0 + u32::from(state.is_dirty()), of_slot.1 + u32::from(row.is_absent()));
            let is_odd = self.rows.is_odd;
            if state.is_dirty() || self.rows.tidying.sets_back() && state == State::flushing(is_odd) {
                dirty = (dirty.0 + 1, dirty.1 + row.block_bytes());
            }
            assert!(self.rows.flush.is_some() || self.rows.tidying.sets_back() || state != State::dirty(!is_odd));
        }
        assert_eq!((self.rows.count(), self.rows.expiring_count()), (count, expiring_count));
        assert_eq!((self.rows.dirty_count(), self.rows.dirty_bytes()), dirty);
        for (slot, figures) in per_slot {
            let slot = self.rows.tables.slot(Slot::new(slot).expect("a slot")).expect("it has rows");
            assert_eq!((slot.dirty_count(), slot.absent_count()), figures);
        }
        let living =
            |truth: Truth| -> Truth { truth.into_iter().filter(|(_, held)| is_there(held, self.time_ms)).collect() };
        assert!(living(seen) == living(self.truth.clone()), "rows over tables are the truth");
        let listed = self.rows.iter().count();
        assert_eq!(listed, count);
    }
}

fn is_there(held: &Held, time_ms: u64) -> bool {
    held.1.is_none_or(|expiry_ms| expiry_ms > time_ms)
}

/// What a record says goes into tables.
fn apply(tables: &mut Truth, row: table::StoredRow<'_>) {
    let (slot, hash, key) = head_parts(row.key).expect("the row key of a head");
    assert_eq!(Rows::new(5).hash(key).number(), hash);
    let place = (slot.number(), key.to_vec());
    match row.content {
        table::Content::Tombstone => tables.remove(&place),
        table::Content::Put(Put { value_type, expiry_ms, value: Value::Inline(value) }) => {
            tables.insert(place, (value_type, expiry_ms, value.to_vec()))
        }
        table::Content::Put(_) => unreachable!("values of rows are inline"),
    };
}
