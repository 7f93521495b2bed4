//! What all edits make together.

use std::collections::BTreeMap;
use std::rc::Rc;

use types::{GroupId, Index, ReplicaId};

use crate::error::FormatError;
use crate::version::{Change, FileSet, Version};

use super::edit::{Edit, EditKind, Seal};

/// What the store holds of a group.
#[derive(Clone)]
pub struct GroupState {
    /// Its replica here.
    pub replica: ReplicaId,
    /// Up to where the tables go.
    pub seal: Seal,
    /// Index of the last install, 0 if there was none. A log that ends before this has lost nothing.
    pub installed: Index,
    /// The tables.
    pub version: Rc<Version>,
}

/// What a store holds.
#[derive(Default)]
pub struct State {
    groups: BTreeMap<GroupId, GroupState>,
    /// Files of smaller numbers may have been written.
    numbers: u64,
}

impl State {
    /// What edits make of nothing, one after the other.
    pub fn of_edits(edits: &[Edit], files: &FileSet) -> Result<State, FormatError> {
        let mut state = State::default();
        for edit in edits {
            state.take(state.stage(std::slice::from_ref(edit), files)?);
        }
        Ok(state)
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &GroupState)> {
        self.groups.iter().map(|(group, state)| (*group, state))
    }

    /// A group.
    pub fn group(&self, group: GroupId) -> Option<&GroupState> {
        self.groups.get(&group)
    }

    /// The number below which files may have been written.
    pub fn numbers(&self) -> u64 {
        self.numbers
    }

    /// What edits make of it, to be taken over with [`State::take`]. Takes time in proportion to the groups that they
    /// name.
    pub fn stage(&self, edits: &[Edit], files: &FileSet) -> Result<Staged, FormatError> {
        let mut staged = Staged { groups: BTreeMap::new(), numbers: self.numbers };
        for edit in edits {
            match edit {
                Edit::Numbers(number) if *number < staged.numbers => {
                    return Err(FormatError::Malformed("the numbers of files go back"));
                }
                Edit::Numbers(number) => staged.numbers = *number,
                Edit::Complete => {}
                Edit::Group { group, replica, kind } => {
                    let before = staged.groups.get(group).map_or(self.groups.get(group), Option::as_ref);
                    if before.is_some_and(|before| before.replica != *replica) {
                        return Err(FormatError::Malformed("an edit of another replica"));
                    }
                    check_numbers(kind, staged.numbers)?;
                    let after = apply_to_group(before, *replica, kind, files)?;
                    staged.groups.insert(*group, after);
                }
            }
        }
        Ok(staged)
    }

    /// Takes over what edits made.
    pub fn take(&mut self, staged: Staged) {
        self.numbers = staged.numbers;
        for (group, state) in staged.groups {
            match state {
                Some(state) => self.groups.insert(group, state),
                None => self.groups.remove(&group),
            };
        }
    }
}

/// What edits make of a state.
pub struct Staged {
    /// The groups that change; `None` is one that is gone.
    groups: BTreeMap<GroupId, Option<GroupState>>,
    numbers: u64,
}

/// Checks that files have numbers that were given.
fn check_numbers(kind: &EditKind, numbers: u64) -> Result<(), FormatError> {
    let (EditKind::Merge { change } | EditKind::Flush { change, .. } | EditKind::Install { change, .. }) = kind
    else {
        return Ok(());
    };
    let of_tables = change.added.iter().flat_map(|run| &run.tables).map(|table| table.file);
    let of_blobs = change.blobs.iter().map(|blob| blob.file);
    match of_tables.chain(of_blobs).any(|number| number >= numbers) {
        true => Err(FormatError::Malformed("a file has a number that was never given")),
        false => Ok(()),
    }
}

/// What an edit makes of a group; `None` if it is gone then.
fn apply_to_group(
    before: Option<&GroupState>,
    replica: ReplicaId,
    kind: &EditKind,
    files: &FileSet,
) -> Result<Option<GroupState>, FormatError> {
    const UNKNOWN: FormatError = FormatError::Malformed("an edit of a group that is not there");
    let with = |seal: &Seal, installed, version: &Version, change: &Change| {
        let version = Rc::new(version.apply(change, files)?);
        Ok(Some(GroupState { replica, seal: seal.clone(), installed, version }))
    };
    let nothing = Version::default();
    let goes_on = |seal: &Seal| before.is_none_or(|before| seal.index >= before.seal.index);
    match kind {
        EditKind::Group { .. } if before.is_some() => Err(FormatError::Malformed("a group is there twice")),
        EditKind::Group { seal, installed } => with(seal, *installed, &nothing, &Change::default()),
        EditKind::Merge { change } => {
            let before = before.ok_or(UNKNOWN)?;
            with(&before.seal, before.installed, &before.version, change)
        }
        EditKind::Flush { seal, change } => {
            let generation = before.map_or(seal.generation, |before| before.seal.generation);
            if !goes_on(seal) || generation != seal.generation {
                return Err(FormatError::Malformed("a flush of what is older"));
            }
            let version = before.map_or(&nothing, |before| &before.version);
            with(seal, before.map_or(0, |before| before.installed), version, change)
        }
        EditKind::Install { seal, change } => with(seal, seal.index, &nothing, change),
        EditKind::Drop => before.map(|_| None).ok_or(UNKNOWN),
        EditKind::NewGeneration { seal } => {
            if !goes_on(seal) || before.is_some_and(|before| seal.generation <= before.seal.generation) {
                return Err(FormatError::Malformed("a generation that is not new"));
            }
            with(seal, before.map_or(0, |before| before.installed), &nothing, &Change::default())
        }
    }
}
