//! Recovery of whole directories of segments: a log is written, its files are damaged, and it is opened again.
//!
//! ```text
//! 0 seed of the history   1 number of its operations   2 bit 0: a mark follows; bits 1..4: number of edits - 1
//! 3 edits, 6 bytes each; see `edits`                     then further operations, 4 bytes each; see `history`
//! ```
//!
//! What must hold, whatever the edits are:
//! - nothing panics, and no entry is found that was not written;
//! - a group that is said to be sound is as it once was, and so is the whole log if nothing is said against it;
//! - if a later block is as it was written, nothing before it is missing without a word. Only a tail of blocks of which
//!   none is left may be;
//! - opened once more, a sound log holds the same and can be written; a damaged one is still damaged.

mod edits;
mod history;

use std::ops::RangeInclusive;

use wal::{Condition, Recovered, Wal};

use crate::input::Input;
use crate::support::model::{Model, content};
use crate::support::{Host, entries, open, read, sync};

use edits::Edit;
use history::{Block, History};

/// Writes, damages, opens.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let (seed, count, flags) = (input.byte(), input.byte(), input.byte());
    let edits: Vec<Edit> = (0..=flags >> 1 & 7).map(|_| Edit::read(&mut input)).collect();
    let history = History::write(seed, count, &mut input, flags & 1 == 1);
    let host = history.run.host.crash(|_| false);
    let mut unreadable = Vec::new();
    edits.iter().for_each(|edit| edit.apply(&history, &host, &mut unreadable));
    let last_kept = history.last_kept(&host, &unreadable);

    let (wal, recovered) = open(&host);
    nothing_is_made_up(&history, &wal, &recovered);
    if is_sound(&recovered) {
        let found = content(&wal, &recovered);
        let seqs = allowed(&history, last_kept);
        let is_allowed = seqs.clone().any(|seq| history.at(seq) == &found);
        let is_all_gone = last_kept.is_none() && found.is_empty();
        assert!(
            is_allowed || is_all_gone,
            "the log is not as it was after any block of {seqs:?}, without a word: {edits:?}\nfound {:?}\nwritten {:?}",
            outline(&found),
            outline(history.at(history.run.durable)),
        );
        goes_on(&host, wal, found);
    } else {
        let again = open(&host.crash(|_| false)).1;
        assert!(!is_sound(&again), "what was damaged is sound at the next start: {edits:?}, {recovered:?}");
        assert!(
            recovered.damage.is_none() || again.damage.is_some(),
            "damage is forgotten: {edits:?}, {recovered:?}"
        );
    }
}

/// With which last block the log may be found if it is said to be sound: nothing tells a block behind which none is left
/// from one that never came to be.
fn allowed(history: &History, last_kept: Option<&Block>) -> RangeInclusive<u64> {
    let before_all = history.blocks.first().map_or(0, |first| first.seq - 1);
    last_kept.map_or(before_all, |last| last.seq)..=history.run.durable
}

/// Of each group its hard state, where it starts and where it ends.
fn outline(model: &Model) -> Vec<(u32, wire::HardState, (u64, u64), u64)> {
    model.iter().map(|(group, known)| (*group, known.hard_state, known.start, known.last())).collect()
}

fn is_sound(recovered: &Recovered) -> bool {
    recovered.damage.is_none() && recovered.groups.values().all(|group| group.condition == Condition::Sound)
}

fn nothing_is_made_up(history: &History, wal: &Wal<Host>, recovered: &Recovered) {
    for (group, state) in recovered.groups.iter().filter(|(_, state)| state.first_index() > 0) {
        let (first, last) = (state.first_index(), state.last_index);
        let whole = read(wal, group.0, first, last);
        // An error is an answer; entries before it or behind it may still be read.
        let pieces = || (first..=last).filter_map(|index| read(wal, group.0, index, index).ok()).flatten().collect();
        for entry in whole.unwrap_or_else(|_| pieces()) {
            assert!(history.has_written(group.0, &entry), "group {group}: {entry:?} was never written");
        }
    }
    if recovered.damage.is_some() {
        return;
    }
    for (group, state) in recovered.groups.iter().filter(|(_, state)| state.condition == Condition::Sound) {
        let once = history.models().any(|model| {
            model.get(&group.0).is_some_and(|known| {
                let start = (state.start_index, state.start_term);
                (known.hard_state, known.start, known.last()) == (state.hard_state, start, state.last_index)
            })
        });
        assert!(once, "group {group} never was as it is said to be: {state:?}");
    }
}

/// What was found is found again, and the log goes on behind it.
fn goes_on(host: &Host, mut wal: Wal<Host>, found: Model) {
    let (again, recovered) = open(&host.crash(|_| false));
    assert!(is_sound(&recovered), "what was sound is damaged at the next start: {recovered:?}");
    assert_eq!(content(&again, &recovered), found, "the next start finds something else");
    let mut expected = found;
    let group = expected.entry(0).or_default();
    let next = group.last() + 1;
    let term = group.entries.last().map_or(group.start.1, |entry| entry.term).max(1);
    let more = entries(term, next..=next, 5_000);
    wal.append_entries(types::GroupId(0), &more).expect("a sound log takes entries");
    group.entries.extend(more);
    sync(host, &mut wal);
    let (wal, recovered) = open(&host.crash(|_| false));
    assert!(is_sound(&recovered), "what was written behind the end is damaged: {recovered:?}");
    assert_eq!(content(&wal, &recovered), expected, "what was written behind the end is not found");
}
