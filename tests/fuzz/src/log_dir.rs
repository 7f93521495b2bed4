//! Recovery of whole directories of segments: a log is written, its files are damaged, and it is opened again.
//!
//! ```text
//! 0 seed of the history   1 number of its operations   2 bit 0: a mark follows; bits 1..4: number of edits - 1
//! 3 edits, 6 bytes each; see `edits`                     then further operations, 4 bytes each; see `history`
//! ```
//!
//! What must hold, whatever the edits are:
//! - nothing panics, and no entry is found that was not written;
//! - a group that is not quarantined is as it was in the end, and so is the whole log if nothing is said against it;
//! - if a later block is as it was written, nothing before it is missing without a word. Only a tail of blocks of which
//!   none is left may be;
//! - opened once more, the log holds the same of the sound groups, and the others are still quarantined; sound groups can be
//!   written, and the others once another replica has begun.

mod edits;
mod history;

use std::ops::RangeInclusive;

use types::{GroupId, ReplicaId};
use wal::{Condition, Config, Recovered, Wal};

use crate::input::Input;
use crate::support::model::{GROUPS, Model, content};
use crate::support::{self, Host, config, entries, open_with, read, sync};

use edits::Edit;
pub use history::Prng;
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

    let (wal, recovered) = open_expecting(&host);
    nothing_is_made_up(&history, &wal, &recovered);
    let seqs = allowed(&history, last_kept);
    let found = content_of_sound(&wal, &recovered);
    if is_sound(&recovered) {
        let is_allowed = seqs.clone().any(|seq| history.at(seq) == &found);
        let is_all_gone = last_kept.is_none() && found.is_empty();
        assert!(
            is_allowed || is_all_gone,
            "the log is not as it was after any block of {seqs:?}, without a word: {edits:?}\nfound {:?}\nwritten {:?}",
            outline(&found),
            outline(history.at(history.run.durable)),
        );
    } else {
        for group in (0..GROUPS).filter(|group| !is_quarantined(&recovered, *group)) {
            let is_allowed = seqs.clone().any(|seq| history.at(seq).get(&group) == found.get(&group));
            assert!(
                is_allowed || (last_kept.is_none() && !found.contains_key(&group)),
                "group {group} is spared and not as it was after any block of {seqs:?}: {edits:?}, {recovered:?}\nfound {:?}\nwritten {:?}",
                outline(&found),
                outline(history.at(history.run.durable)),
            );
        }
    }
    goes_on(&host, wal, &recovered, found, &edits);
}

/// With which last block the log may be found if it is said to be sound: nothing tells a block behind which none is left
/// from one that never came to be.
fn allowed(history: &History, last_kept: Option<&Block>) -> RangeInclusive<u64> {
    let before_all = history.blocks.first().map_or(0, |first| first.seq - 1);
    last_kept.map_or(before_all, |last| last.seq)..=history.run.durable
}

/// Of each group its replica and whether that was destroyed, its hard state, where it starts and where it ends.
fn outline(model: &Model) -> Vec<(u32, (ReplicaId, bool), wire::HardState, (u64, u64), u64)> {
    let of = |(group, known): (&u32, &support::model::Group)| {
        (*group, (known.replica, known.is_destroyed), known.hard_state, known.start, known.last())
    };
    model.iter().map(of).collect()
}

fn is_sound(recovered: &Recovered) -> bool {
    recovered.groups.values().all(|group| group.condition == Condition::Sound)
}

fn is_quarantined(recovered: &Recovered, group: u32) -> bool {
    recovered.groups.get(&GroupId(group)).is_some_and(|state| state.condition != Condition::Sound)
}

fn open_expecting(host: &Host) -> (Wal<Host>, Recovered) {
    open_with(host, Config { groups: (0..GROUPS).map(GroupId).collect(), ..config() })
}

/// What the log holds of the groups that are not quarantined.
fn content_of_sound(wal: &Wal<Host>, recovered: &Recovered) -> Model {
    let groups = recovered.groups.iter().filter(|(_, state)| state.condition == Condition::Sound);
    let groups = groups.map(|(group, state)| (*group, state.clone())).collect();
    content(wal, &Recovered { groups, ..recovered.clone() })
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
    for (group, state) in recovered.groups.iter().filter(|(_, state)| state.condition == Condition::Sound) {
        let once = history.models().any(|model| {
            model.get(&group.0).is_some_and(|known| {
                let start = (state.start_index, state.start_term);
                (known.replica, known.is_destroyed) == (state.replica, false)
                    && (known.hard_state, known.start, known.last()) == (state.hard_state, start, state.last_index)
            })
        });
        assert!(once, "group {group} never was as it is said to be: {state:?}");
    }
    for (group, replica) in &recovered.destroyed {
        let once = history.models().any(|model| {
            model.get(&group.0).is_some_and(|known| known.is_destroyed && known.replica == *replica)
        });
        assert!(once, "replica {replica} of group {group} was never destroyed");
    }
}

/// What was found is found again, quarantines included, and the log goes on behind it.
fn goes_on(host: &Host, mut wal: Wal<Host>, first: &Recovered, found: Model, edits: &[Edit]) {
    let same = |wal: &Wal<Host>, recovered: &Recovered, expected: &Model, when: &str| {
        let conditions = |of: &Recovered| (0..GROUPS).map(|group| is_quarantined(of, group)).collect::<Vec<_>>();
        assert_eq!(conditions(recovered), conditions(first), "{when}: {edits:?}, {first:?}, {recovered:?}");
        assert_eq!(&content_of_sound(wal, recovered), expected, "{when}: {edits:?}");
    };
    let (again, recovered) = open_expecting(&host.crash(|_| false));
    same(&again, &recovered, &found, "at the next start");
    let mut expected = found;
    for number in 0..GROUPS {
        let more = |group: &support::model::Group| {
            let next = group.last() + 1;
            let term = group.entries.last().map_or(group.start.1, |entry| entry.term).max(1);
            entries(term, next..=next, 5_000)
        };
        if is_quarantined(first, number) {
            wal.append_entries(GroupId(number), &more(&Default::default())).expect_err("it is quarantined");
            continue;
        }
        let group = expected.entry(number).or_default();
        if group.is_destroyed || group.replica == ReplicaId(0) {
            *group = support::model::Group::begun(ReplicaId(group.replica.0 + 1));
            wal.begin(GroupId(number), group.replica).expect("a group in which nothing lives takes a replica");
        }
        let more = more(group);
        wal.append_entries(GroupId(number), &more).expect("a sound group takes entries");
        group.entries.extend(more);
    }
    sync(host, &mut wal);
    let (mut wal, recovered) = open_expecting(&host.crash(|_| false));
    same(&wal, &recovered, &expected, "behind what was written behind the end");
    // A new life for those that are quarantined.
    let host = host.crash(|_| false);
    let recovered;
    (wal, recovered) = open_expecting(&host);
    for number in (0..GROUPS).filter(|number| is_quarantined(first, *number)) {
        let replica = ReplicaId(recovered.groups[&GroupId(number)].replica.0 + 1);
        wal.begin(GroupId(number), replica).expect("a quarantined group takes another replica");
        let fresh = entries(7, 1..=1, 100);
        wal.append_entries(GroupId(number), &fresh).expect("a new replica takes entries");
        let group = support::model::Group { entries: fresh, ..support::model::Group::begun(replica) };
        expected.insert(number, group);
    }
    sync(&host, &mut wal);
    let (wal, recovered) = open_expecting(&host.crash(|_| false));
    assert!(is_sound(&recovered), "{edits:?}, {recovered:?}");
    assert_eq!(content_of_sound(&wal, &recovered), expected, "{edits:?}");
}
