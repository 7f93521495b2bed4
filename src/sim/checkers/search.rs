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

use super::hashing::FixedHashes;
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

/// Which slots of pending operations have taken effect. Invariant: the last word of `more` is not zero.
#[derive(Clone, Debug, Default)]
struct Slots {
    first: u64,
    /// Those from the 64th on, of which there rarely are any.
    more: Vec<u64>,
}

impl Slots {
    fn word(&self, idx: usize) -> u64 {
        if idx == 0 { self.first } else { self.more.get(idx - 1).copied().unwrap_or(0) }
    }

    fn has(&self, slot: usize) -> bool {
        self.word(slot / 64) >> (slot % 64) & 1 == 1
    }

    fn add(&mut self, slot: usize) {
        let (idx, bit) = (slot / 64, 1 << (slot % 64));
        if idx == 0 {
            self.first |= bit;
            return;
        }
        self.more.resize(self.more.len().max(idx), 0);
        self.more[idx - 1] |= bit;
    }

    fn remove(&mut self, slot: usize) {
        let (idx, bit) = (slot / 64, 1 << (slot % 64));
        if idx == 0 {
            self.first &= !bit;
        } else if let Some(word) = self.more.get_mut(idx - 1) {
            *word &= !bit;
        }
        while self.more.last() == Some(&0) {
            self.more.pop();
        }
    }

    /// Whether `other` has all of these, and beyond them only some of `unknown`.
    fn leads_to(&self, other: &Slots, unknown: &Slots) -> bool {
        (0..=self.more.len().max(other.more.len())).all(|idx| {
            let (ours, theirs) = (self.word(idx), other.word(idx));
            ours & !theirs == 0 && theirs & !ours & !unknown.word(idx) == 0
        })
    }
}

/// Which slots may have been taken in each state.
type Found = HashMap<State, Vec<Slots>, FixedHashes>;

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
        let before = search.end(slots[idx]);
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
            self.unknown.add(slot);
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
                    taken.add(slot);
                }
            }
        }
        slot
    }

    /// The operation of a slot ends. Returns the configurations before.
    fn end(&mut self, slot: usize) -> Vec<(State, Slots)> {
        self.most =
            self.pending[slot].filter(|_| self.object.only_counts).and_then(|idx| most(&self.object.ops[idx]));
        let mut done = Found::default();
        let mut visited = Found::default();
        let before = std::mem::take(&mut self.configurations);
        let (mut first, mut queue) = (before.iter().rev(), Vec::new());
        // Reused, since there may be millions of steps.
        let (mut candidates, mut after) = (Vec::new(), State::new());
        loop {
            let popped = queue.pop();
            let Some((state, taken)) = popped.as_ref().or_else(|| first.next()) else { break };
            self.steps_count += 1;
            if self.steps_count > STEPS_COUNT_MAX {
                return before;
            }
            if taken.has(slot) {
                let mut rest = taken.clone();
                rest.remove(slot);
                add(&mut done, state, rest, &self.unknown);
                continue;
            }
            self.find_candidates(taken, &mut candidates);
            for next in &candidates {
                self.steps_count += 1;
                let Some(taken) = self.try_next(state, taken, *next, &mut after) else { continue };
                let (is_new, known_count) = add(&mut visited, &after, taken.clone(), &self.unknown);
                self.steps_count += known_count;
                if is_new {
                    queue.push((after.clone(), taken));
                }
            }
        }
        if self.longest_slot == Some(slot) {
            self.longest_slot = None;
            self.longest_is_over = true;
        }
        self.forget(slot);
        for (state, takens) in done {
            self.configurations.extend(std::iter::repeat_n(state, takens.len()).zip(takens));
        }
        self.forget_used_up();
        before
    }

    /// Finds the pending writes that may take effect next. Reads take effect wherever they can.
    fn find_candidates(&self, taken: &Slots, candidates: &mut Vec<usize>) {
        let first = |slots: &Vec<usize>| slots.iter().copied().find(|slot| !taken.has(*slot));
        candidates.clear();
        candidates.extend(self.ending.values().chain(self.unending.values()).filter_map(first));
    }

    /// Lets the operation of a slot take effect, if that explains its answer. `after` becomes the state that it leaves.
    fn try_next(&self, before: &State, taken: &Slots, slot: usize, after: &mut State) -> Option<Slots> {
        let op = &self.object.ops[self.pending[slot]?];
        after.clone_from(before);
        let answer = op.step.run(after);
        if op.answer.as_ref().is_some_and(|expected| *expected != answer) {
            return None;
        }
        if !self.may_overwrite(before, after, taken, slot) {
            return None;
        }
        if let ([value], Some(most)) = (after.as_slice(), self.most)
            && value.integer().is_some_and(|number| number > most)
        {
            return None;
        }
        let mut taken = taken.clone();
        if !op.repeats {
            taken.add(slot);
        }
        for slot in &self.reads {
            if taken.has(*slot) {
                continue;
            }
            let read = self.pending[*slot].map(|idx| &self.object.ops[idx])?;
            if read.fits(after) {
                taken.add(*slot);
            }
        }
        self.can_grow_on(after, &taken).then_some(taken)
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

/// Adds a configuration unless a better one is there; drops those that are worse. Tells whether it was added, and how many there
/// were with its state.
fn add(found: &mut Found, state: &State, taken: Slots, unknown: &Slots) -> (bool, usize) {
    let Some(takens) = found.get_mut(state) else {
        found.insert(state.clone(), vec![taken]);
        return (true, 0);
    };
    let known_count = takens.len();
    if takens.iter().any(|better| better.leads_to(&taken, unknown)) {
        return (false, known_count);
    }
    takens.retain(|worse| !taken.leads_to(worse, unknown));
    takens.push(taken);
    (true, known_count)
}
