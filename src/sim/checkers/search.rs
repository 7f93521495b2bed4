//! Looks for an order of one object's operations that explains all their answers.
//!
//! "Just-in-time linearization" (Lowe, "Testing for Linearizability"): operations are walked through by time, and what
//! may have happened so far is kept as a set of configurations, each a state and the pending operations that have
//! already taken effect. Only when an operation ends must it have taken effect; then every sequence of pending
//! operations that ends with it is tried. Eight rules keep the set small without losing an explanation:
//! - what is known to have changed nothing, as a read, takes effect as soon as its answer fits;
//! - of two configurations with one state, the one in which only more operations of unknown outcome were used up is
//!   dropped, since those may just as well never take effect;
//! - of pending operations that are equal and unknown, the oldest goes first;
//! - of those that are equal and known, the one that ends first;
//! - a value that only one operation can have written is overwritten only once all that have read it have taken effect;
//! - an unknown operation that took effect in every configuration is forgotten;
//! - a counter that only grows must not exceed what the operation that ends has seen;
//! - where a text only grows, it must stay a beginning of the longest value read until that read has taken effect.

use std::collections::{BTreeMap, HashMap, HashSet};

use types::Instant;
use xxhash_rust::xxh3::Xxh3DefaultBuilder;

use super::objects::{Object, Op};
use super::unknowns::{Readers, readers};
use super::value::{Answer, KeyIdx, State, Step, Value, hash_behind};

/// Most steps tried for one object; beyond it the object is left undecided.
const STEPS_COUNT_MAX: usize = 4_000_000;

/// What became of a search.
#[derive(Debug)]
pub(super) enum Verdict {
    /// There is an order.
    Explained,
    /// There is none: the operation with this index cannot have answered what it did, whichever of these states held
    /// before.
    Contradiction { op: usize, states: Vec<State> },
    /// Too much to look at.
    Undecided,
}

/// Which slots of pending operations have taken effect. Invariant: the last word is not zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Slots(Vec<u64>);

impl Slots {
    fn has(&self, slot: usize) -> bool {
        self.0.get(slot / 64).is_some_and(|word| word >> (slot % 64) & 1 == 1)
    }

    fn with(&self, slot: usize) -> Slots {
        let mut words = self.0.clone();
        words.resize(words.len().max(slot / 64 + 1), 0);
        words[slot / 64] |= 1 << (slot % 64);
        Slots(words)
    }

    fn remove(&mut self, slot: usize) {
        if let Some(word) = self.0.get_mut(slot / 64) {
            *word &= !(1 << (slot % 64));
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }

    /// Whether `other` has all of these, and beyond them only some of `unknown`.
    fn leads_to(&self, other: &Slots, unknown: &Slots) -> bool {
        let word = |slots: &Slots, idx: usize| slots.0.get(idx).copied().unwrap_or(0);
        (0..self.0.len().max(other.0.len())).all(|idx| {
            let (ours, theirs) = (word(self, idx), word(other, idx));
            ours & !theirs == 0 && theirs & !ours & !word(unknown, idx) == 0
        })
    }
}

/// Hashed alike in every process, so that a search goes the same way.
type Found = HashMap<State, Vec<Slots>, Xxh3DefaultBuilder>;

/// How far an operation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    NotBegun,
    Pending { slot: usize },
    Over,
}

struct Search<'a> {
    object: &'a Object,
    progress: Vec<Progress>,
    /// The operations that have read each value that only one operation can have written.
    readers: Readers,
    /// The pending operation of each slot.
    pending: Vec<Option<usize>>,
    unknown: Slots,
    /// Slots of pending writes that end some time, by class, the first to end first.
    ending: BTreeMap<u32, Vec<usize>>,
    /// Slots of pending writes that may never take effect, by class, the oldest first.
    unending: BTreeMap<u32, Vec<usize>>,
    reads: Vec<usize>,
    /// If values only grow: what they must not exceed before the operation that ends now.
    most: Option<i64>,
    configurations: Vec<(State, Slots)>,
    steps_count: usize,
    /// Hash of each beginning of the longest value read, by length.
    beginnings: Vec<u64>,
    longest_slot: Option<usize>,
    longest_is_over: bool,
}

/// Looks for an order.
pub(super) fn search(object: &Object) -> Verdict {
    let mut events = Vec::with_capacity(object.ops.len() * 2);
    for (idx, op) in object.ops.iter().enumerate() {
        events.push((op.begin, 0, idx));
        if op.end != Instant::NEVER {
            // What ends and begins at one time is concurrent.
            events.push((op.end, 1, idx));
        }
    }
    events.sort_unstable();
    let mut search = Search::new(object);
    let mut slots = vec![usize::MAX; object.ops.len()];
    for (_, kind, idx) in events {
        if kind == 0 {
            slots[idx] = search.begin(idx);
            continue;
        }
        let before = search.configurations.clone();
        search.end(slots[idx]);
        if search.steps_count > STEPS_COUNT_MAX {
            return Verdict::Undecided;
        }
        if search.configurations.is_empty() {
            let states: HashSet<State> = before.into_iter().map(|(state, _)| state).collect();
            return Verdict::Contradiction { op: idx, states: states.into_iter().collect() };
        }
    }
    Verdict::Explained
}

impl<'a> Search<'a> {
    fn new(object: &'a Object) -> Search<'a> {
        let mut beginnings = Vec::new();
        if let Some((_, text)) = &object.longest {
            let mut hash = 0;
            beginnings.push(hash);
            for byte in text.iter() {
                hash = hash_behind(hash, &[*byte]);
                beginnings.push(hash);
            }
        }
        Search {
            object,
            progress: vec![Progress::NotBegun; object.ops.len()],
            readers: readers(object),
            pending: Vec::new(),
            unknown: Slots::default(),
            ending: BTreeMap::new(),
            unending: BTreeMap::new(),
            reads: Vec::new(),
            most: None,
            configurations: vec![(vec![Value::Absent; object.keys.len()], Slots::default())],
            steps_count: 0,
            beginnings,
            longest_slot: None,
            longest_is_over: false,
        }
    }

    fn begin(&mut self, idx: usize) -> usize {
        let free = self.pending.iter().position(Option::is_none);
        let slot = free.unwrap_or(self.pending.len());
        if free.is_none() {
            self.pending.push(None);
        }
        self.pending[slot] = Some(idx);
        self.progress[idx] = Progress::Pending { slot };
        let op = &self.object.ops[idx];
        if op.end == Instant::NEVER {
            self.unknown = self.unknown.with(slot);
            self.unending.entry(op.class).or_default().push(slot);
        } else if op.only_looked() {
            self.reads.push(slot);
        } else {
            let (object, pending) = (self.object, &self.pending);
            let end_of = |slot: usize| pending[slot].map(|idx| object.ops[idx].end);
            let slots = self.ending.entry(op.class).or_default();
            let place = slots.partition_point(|other| end_of(*other) <= Some(op.end));
            slots.insert(place, slot);
        }
        if self.object.longest.as_ref().is_some_and(|(longest, _)| *longest == idx) {
            self.longest_slot = Some(slot);
        }
        if op.only_looked() {
            for (state, taken) in &mut self.configurations {
                if op.fits(state) {
                    *taken = taken.with(slot);
                }
            }
        }
        slot
    }

    fn end(&mut self, slot: usize) {
        self.most =
            self.pending[slot].filter(|_| self.object.only_counts).and_then(|idx| most(&self.object.ops[idx]));
        let mut done = Found::default();
        let mut visited = Found::default();
        let mut queue = std::mem::take(&mut self.configurations);
        while let Some((state, taken)) = queue.pop() {
            self.steps_count += 1;
            if self.steps_count > STEPS_COUNT_MAX {
                return;
            }
            if taken.has(slot) {
                let mut rest = taken;
                rest.remove(slot);
                add(&mut done, state, rest, &self.unknown);
                continue;
            }
            for next in self.candidates(&taken) {
                self.steps_count += 1;
                let Some((state, taken)) = self.try_next(&state, &taken, next) else { continue };
                self.steps_count += visited.get(&state).map_or(0, Vec::len);
                if add(&mut visited, state.clone(), taken.clone(), &self.unknown) {
                    queue.push((state, taken));
                }
            }
        }
        if self.longest_slot == Some(slot) {
            self.longest_slot = None;
            self.longest_is_over = true;
        }
        self.forget(slot);
        let mut configurations: Vec<_> = Vec::new();
        for (state, takens) in done {
            configurations.extend(takens.into_iter().map(|taken| (state.clone(), taken)));
        }
        self.configurations = configurations;
        self.forget_used_up();
    }

    /// Pending writes that may take effect next. Reads take effect wherever they can.
    fn candidates(&self, taken: &Slots) -> Vec<usize> {
        let first = |slots: &Vec<usize>| slots.iter().copied().find(|slot| !taken.has(*slot));
        self.ending.values().chain(self.unending.values()).filter_map(first).collect()
    }

    /// Lets the operation of a slot take effect, if that explains its answer.
    fn try_next(&self, state: &State, taken: &Slots, slot: usize) -> Option<(State, Slots)> {
        let op = &self.object.ops[self.pending[slot]?];
        let before = state;
        let mut state = state.clone();
        let answer = op.step.run(&mut state);
        if op.answer.as_ref().is_some_and(|expected| *expected != answer) {
            return None;
        }
        if !self.may_overwrite(before, &state, taken, slot) {
            return None;
        }
        let mut taken = if op.repeats { taken.clone() } else { taken.with(slot) };
        if let ([value], Some(most)) = (state.as_slice(), self.most)
            && value.integer().is_some_and(|number| number > most)
        {
            return None;
        }
        for slot in self.reads.iter().copied().filter(|slot| !taken.has(*slot)).collect::<Vec<_>>() {
            let read = self.pending[slot].map(|idx| &self.object.ops[idx])?;
            if read.fits(&mut state) {
                taken = taken.with(slot);
            }
        }
        self.can_grow_on(&state, &taken).then_some((state, taken))
    }

    /// Whether nobody reads the values later that the operation of a slot overwrites.
    fn may_overwrite(&self, before: &State, after: &State, taken: &Slots, slot: usize) -> bool {
        let has_read = |idx: &usize| match self.progress[*idx] {
            Progress::NotBegun => false,
            Progress::Pending { slot: own } => own == slot || taken.has(own),
            Progress::Over => true,
        };
        before.iter().zip(after).enumerate().filter(|(_, (before, after))| before != after).all(
            |(key, (before, _))| {
                self.readers.get(&(key as KeyIdx, *before)).is_none_or(|readers| readers.iter().all(has_read))
            },
        )
    }

    fn can_grow_on(&self, state: &State, taken: &Slots) -> bool {
        let ([value], false) = (state.as_slice(), self.beginnings.is_empty()) else { return true };
        match self.beginnings.get(value.len() as usize) {
            Some(hash) => value.hash() == *hash,
            None => self.longest_is_over || self.longest_slot.is_some_and(|slot| taken.has(slot)),
        }
    }

    fn forget(&mut self, slot: usize) {
        if let Some(idx) = self.pending[slot] {
            self.progress[idx] = Progress::Over;
            let class = self.object.ops[idx].class;
            for slots in [&mut self.ending, &mut self.unending] {
                if let Some(slots_of_class) = slots.get_mut(&class) {
                    slots_of_class.retain(|other| *other != slot);
                    if slots_of_class.is_empty() {
                        slots.remove(&class);
                    }
                }
            }
        }
        self.pending[slot] = None;
        self.unknown.remove(slot);
        self.reads.retain(|other| *other != slot);
    }

    fn forget_used_up(&mut self) {
        for slot in 0..self.pending.len() {
            if self.unknown.has(slot) && self.configurations.iter().all(|(_, taken)| taken.has(slot)) {
                self.forget(slot);
                self.configurations.iter_mut().for_each(|(_, taken)| taken.remove(slot));
            }
        }
    }
}

/// The value of a counter once an operation has taken effect, if its answer tells.
fn most(op: &Op) -> Option<i64> {
    match (&op.step, op.answer.as_ref()?) {
        (Step::Incr(..), Answer::Integer(sum)) => Some(*sum),
        (Step::Get(_), Answer::Value(value)) => value.integer(),
        _ => None,
    }
}

/// Adds a configuration unless a better one is there; drops those that are worse. Says whether it was added.
fn add(found: &mut Found, state: State, taken: Slots, unknown: &Slots) -> bool {
    let takens = found.entry(state).or_default();
    if takens.iter().any(|better| better.leads_to(&taken, unknown)) {
        return false;
    }
    takens.retain(|worse| !taken.leads_to(worse, unknown));
    takens.push(taken);
    true
}
