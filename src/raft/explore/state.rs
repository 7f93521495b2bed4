//! A state of the group, and the steps that lead on from it.

use std::hash::Hasher;
use std::string::String;
use std::vec::Vec;

use super::check::{Checker, Step};
use super::disk::Disk;
use super::hash::Mix;
use super::replica::{Replica, first_membership};
use super::scenario::{BUDGETS_COUNT, Bounds, Budget, Clocks, Disks, REPLICAS_COUNT, Scenario, Then};
use super::show;
use super::space::{Facts, Input, Space, id_of};
use crate::Role;

/// Most messages that a state holds.
const LETTERS_COUNT_MAX: usize = 16;
/// In place of a message.
const NONE: u32 = u32::MAX;

/// A state of the group. All of it by number: see [`Space`] and [`Checker`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) replicas: [u32; REPLICAS_COUNT],
    /// Messages under way, ordered, and then `NONE`.
    letters: [u32; LETTERS_COUNT_MAX],
    used: [u8; BUDGETS_COUNT],
    pub(super) promises: u32,
}

/// A step of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A message is received; it stays under way if it `comes_again`.
    Receive { message: u32, comes_again: bool, crashes: bool },
    /// Something else is done to a replica.
    Do { replica_idx: u8, input: Input, crashes: bool },
    /// True time passes.
    Tick,
}

/// All that a walk through the states of a scenario needs.
#[derive(Debug)]
pub(super) struct World {
    pub(super) space: Space,
    pub(super) checker: Checker,
    pub(super) bounds: Bounds,
}

impl State {
    pub(super) fn letters(&self) -> impl Iterator<Item = u32> + '_ {
        self.letters.iter().copied().take_while(|letter| *letter != NONE)
    }

    /// 64 bits that stand for the state. Two states of ten million share them with a chance of one in 300,000.
    pub(super) fn digest(&self) -> u64 {
        let mut mix = Mix::default();
        mix.mix(u64::from(self.promises));
        self.replicas.iter().chain(&self.letters).for_each(|number| mix.mix(u64::from(*number)));
        self.used.iter().for_each(|count| mix.mix(u64::from(*count)));
        mix.finish()
    }

    /// Whether a message is let go: it answers what was asked in a term that its receiver has left for good.
    pub(super) fn is_dead(&self, space: &Space, letter: u32) -> bool {
        let letter = space.letter(letter);
        space.scenario.drops_old_answers
            && letter.is_answer
            && letter.term < space.facts(self.replicas[letter.to.0 as usize - 1]).term_durable
    }

    fn with_letters(&self, letters: &[u32]) -> State {
        let mut state = *self;
        state.letters = [NONE; LETTERS_COUNT_MAX];
        state.letters[..letters.len()].copy_from_slice(letters);
        state
    }
}

impl World {
    pub(super) fn new(scenario: Scenario, bounds: Bounds) -> World {
        assert!(bounds.in_flight <= LETTERS_COUNT_MAX, "a state has room for what may be under way");
        World { space: Space::new(scenario), checker: Checker::default(), bounds }
    }

    /// The state that an exploration begins with.
    ///
    /// # Errors
    /// What is broken on the way there.
    pub(super) fn first(&mut self) -> Result<State, String> {
        let scenario = self.space.scenario;
        let state = genesis(usize::from(scenario.genesis_len));
        let committed = state.iter().map(|entry| self.space.entry_number(entry)).collect();
        let replicas = core::array::from_fn(|idx| {
            let disk = if state.is_empty() || idx == 3 {
                Disk::default()
            } else {
                Disk::with_state(state.clone(), first_membership())
            };
            let replica = Replica::start(scenario.config(id_of(idx)), disk, &scenario);
            self.space.replica_number(replica)
        });
        let promises = self.checker.first(committed);
        let mut state = State { replicas, letters: [NONE; LETTERS_COUNT_MAX], used: [0; BUDGETS_COUNT], promises };
        let bounds = core::mem::replace(&mut self.bounds, Bounds::new(LETTERS_COUNT_MAX, 0));
        self.bounds.budgets = [u8::MAX; BUDGETS_COUNT];
        for (step, then) in scenario.prepared {
            state = self.follow(&state, step)?;
            match then {
                Then::AllArrives => state = self.settle(state)?,
                Then::AllIsLost => state = state.with_letters(&[]),
                Then::Next => {}
            }
            state.used = [0; BUDGETS_COUNT];
        }
        self.bounds = bounds;
        Ok(state)
    }

    /// The state behind the step of this name.
    ///
    /// # Errors
    /// What the step breaks.
    ///
    /// # Panics
    /// If there is no such step.
    pub(super) fn follow(&mut self, state: &State, step: &str) -> Result<State, String> {
        let (mut actions, mut behind) = (Vec::new(), Vec::new());
        self.actions(state, &mut actions);
        for action in actions {
            behind.clear();
            let taken = self.take(state, action, &mut behind);
            let named = |next: Option<&State>| show::step(&self.space, state, action, next) == step;
            if taken.is_err() && (named(None) || behind.iter().any(|next| named(Some(next)))) {
                return taken.map(|()| *state);
            }
            if let Some(next) = behind.iter().find(|next| named(Some(*next))) {
                return Ok(*next);
            }
        }
        panic!("no step is called '{step}' here:\n{}", show::state(&self.space, state));
    }

    /// Completes all writes and receives all messages, in the order in which they were first sent, until there are no more.
    fn settle(&mut self, mut state: State) -> Result<State, String> {
        let mut behind = Vec::new();
        loop {
            let writing = (0..REPLICAS_COUNT).find(|idx| self.space.facts(state.replicas[*idx]).writes_count > 0);
            let action = match (writing, state.letters().next()) {
                (Some(idx), _) => Action::Do { replica_idx: idx as u8, input: Input::Persist, crashes: false },
                (None, Some(message)) => Action::Receive { message, comes_again: false, crashes: false },
                (None, None) => return Ok(state),
            };
            behind.clear();
            self.take(&state, action, &mut behind)?;
            state = match (behind.first(), action) {
                (Some(next), _) => *next,
                (None, Action::Receive { message, .. }) => {
                    let left: Vec<u32> = state.letters().filter(|letter| *letter != message).collect();
                    state.with_letters(&left)
                }
                (None, _) => return Ok(state),
            };
        }
    }

    fn has(&self, state: &State, budget: Budget) -> bool {
        state.used[budget as usize] < self.bounds.budgets[budget as usize]
    }

    /// All steps that may be taken.
    pub(super) fn actions(&self, state: &State, out: &mut Vec<Action>) {
        let may_crash = self.has(state, Budget::Crashes) && self.space.scenario.disks == Disks::Prompt;
        for message in state.letters() {
            out.push(Action::Receive { message, comes_again: false, crashes: false });
            if self.has(state, Budget::Copies) {
                out.push(Action::Receive { message, comes_again: true, crashes: false });
            }
            if may_crash {
                out.push(Action::Receive { message, comes_again: false, crashes: true });
            }
        }
        for replica_idx in 0..REPLICAS_COUNT {
            let replica_idx_u8 = replica_idx as u8;
            self.inputs(state, replica_idx, |input| {
                out.push(Action::Do { replica_idx: replica_idx_u8, input, crashes: false });
                if may_crash && !matches!(input, Input::Crash(_)) {
                    out.push(Action::Do { replica_idx: replica_idx_u8, input, crashes: true });
                }
            });
        }
        if matches!(self.space.scenario.clocks, Clocks::Bounded(_)) && self.has(state, Budget::Ticks) {
            out.push(Action::Tick);
        }
    }

    /// What may be done to a replica, messages aside.
    fn inputs(&self, state: &State, replica_idx: usize, mut put: impl FnMut(Input)) {
        let facts = self.space.facts(state.replicas[replica_idx]);
        if facts.writes_count > 0 {
            put(Input::Persist);
        }
        if self.has(state, Budget::Crashes) {
            (0..=facts.writes_count).for_each(|survivors| put(Input::Crash(survivors)));
        }
        if self.has(state, Budget::Compactions) {
            put(Input::Compact);
        }
        if let Some((from, least)) = facts.wanted {
            let theirs = self.space.facts(state.replicas[from.0 as usize - 1]).snapshot;
            if let Some((snapshot, _)) = theirs.filter(|(_, last)| *last >= least) {
                put(Input::Restore(snapshot));
            }
        }
        if facts.role == Role::Leader {
            self.inputs_of_leader(state, facts, put);
        } else if facts.may_campaign && !facts.is_sticky && self.has(state, Budget::Elections) {
            put(Input::ElectionTimeout);
        }
    }

    fn inputs_of_leader(&self, state: &State, facts: &Facts, mut put: impl FnMut(Input)) {
        for (budget, input) in [
            (Budget::Heartbeats, Input::Heartbeat),
            (Budget::QuorumsLost, Input::QuorumLost),
            (Budget::Proposals, Input::Propose(state.used[Budget::Proposals as usize])),
            (Budget::Reads, Input::Read(self.checker.committed(state.promises) as u8)),
        ] {
            if self.has(state, budget) {
                put(input);
            }
        }
        if facts.is_transferring {
            put(Input::TransferTimeout);
        }
        if self.has(state, Budget::Changes) {
            (0..self.space.scenario.changes.len()).for_each(|nth| put(Input::Change(nth as u8)));
        }
        if self.has(state, Budget::Transfers) {
            let others = self.space.scenario.successors.iter().filter(|to| **to != facts.id);
            others.for_each(|to| put(Input::Transfer(to.0 as u8)));
        }
    }

    /// Takes a step. Adds the states behind it to `out`: none if nothing comes of it, several if more messages are under way
    /// than may be, and some of them are lost.
    ///
    /// # Errors
    /// What it breaks. The state behind it is added all the same, if there is one.
    pub(super) fn take(&mut self, state: &State, action: Action, out: &mut Vec<State>) -> Result<(), String> {
        let (replica_idx, input, crashes) = match action {
            Action::Tick => return self.tick(state, out),
            Action::Do { replica_idx, input, crashes } => (usize::from(replica_idx), input, crashes),
            Action::Receive { message, crashes, .. } => {
                (self.space.letter(message).to.0 as usize - 1, Input::Message(message), crashes)
            }
        };
        let Some(number) = self.space.step(state.replicas[replica_idx], input, crashes)? else { return Ok(()) };
        let outcome = self.space.outcome(number);
        let mut next = *state;
        next.replicas[replica_idx] = outcome.replica;
        if crashes {
            next.used[Budget::Crashes as usize] += 1;
        }
        if let Some(budget) = budget_of(input) {
            next.used[budget as usize] += 1;
        }
        let mut letters: Vec<u32> = state.letters().collect();
        match action {
            Action::Receive { comes_again: true, .. } => next.used[Budget::Copies as usize] += 1,
            Action::Receive { message, .. } => letters.retain(|letter| *letter != message),
            _ => {}
        }
        letters.extend(&outcome.sent);
        letters.sort_unstable();
        letters.dedup();
        letters.retain(|letter| !next.is_dead(&self.space, *letter));
        let step = Step { outcome, before: state.replicas, behind: next.replicas, actor: replica_idx };
        let checked = self.checker.check(&self.space, state.promises, &step);
        if let Ok(promises) = checked {
            next.promises = promises;
        }
        lose(&next, &letters, self.bounds.in_flight, 0, out);
        checked.map(|_| ())
    }

    fn tick(&mut self, state: &State, out: &mut Vec<State>) -> Result<(), String> {
        let mut next = *state;
        next.used[Budget::Ticks as usize] += 1;
        for replica in &mut next.replicas {
            if let Some(number) = self.space.step(*replica, Input::Tick, false)? {
                *replica = self.space.outcome(number).replica;
            }
        }
        if next.replicas != state.replicas {
            out.push(next);
            self.checker.check_leases(&self.space, next.promises, next.replicas)?;
        }
        Ok(())
    }
}

/// What a step is paid from.
fn budget_of(input: Input) -> Option<Budget> {
    match input {
        Input::ElectionTimeout => Some(Budget::Elections),
        Input::Heartbeat => Some(Budget::Heartbeats),
        Input::QuorumLost => Some(Budget::QuorumsLost),
        Input::Propose(_) => Some(Budget::Proposals),
        Input::Change(_) => Some(Budget::Changes),
        Input::Transfer(_) => Some(Budget::Transfers),
        Input::Compact => Some(Budget::Compactions),
        Input::Read(_) => Some(Budget::Reads),
        Input::Crash(_) => Some(Budget::Crashes),
        Input::Tick => Some(Budget::Ticks),
        Input::Message(_) | Input::TransferTimeout | Input::Restore(_) | Input::Persist => None,
    }
}

/// Adds the state with these messages under way; if they are too many, one for each choice of those that are lost. Messages
/// before `kept` stay.
fn lose(state: &State, letters: &[u32], in_flight_max: usize, kept: usize, out: &mut Vec<State>) {
    if letters.len() <= in_flight_max {
        out.push(state.with_letters(letters));
        return;
    }
    for lost in kept..letters.len() {
        let left = [&letters[..lost], &letters[lost + 1..]].concat();
        lose(state, &left, in_flight_max, lost, out);
    }
}

/// Entries that all replicas of a group begin with.
fn genesis(len: usize) -> Vec<wire::Entry> {
    let entry = |index| wire::Entry { term: 1, index, kind: wire::EntryKind::Batch, payload: b"genesis"[..].into() };
    (1..=len as u64).map(entry).collect()
}
