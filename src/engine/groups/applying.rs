//! What a replica is to apply, and how far it has come with it.

use std::collections::VecDeque;

use types::Instant;
use wire::{Entry, EntryKind};

use crate::groups::batch_queue::Waiters;

/// How far an entry is applied: who waits for it, and what of it is done.
#[derive(Default)]
pub(super) struct Progress {
    pub(super) waiters: Waiters,
    /// Commands of its batch that are applied.
    pub(super) commands_count: usize,
    /// Waiters that were answered.
    pub(super) answered_count: usize,
    /// Whether those who wait for it may have waited for long.
    pub(super) is_slow: bool,
}

/// Entries that Raft has handed out to be applied.
#[derive(Default)]
pub(super) struct Applying {
    entries: VecDeque<Entry>,
    /// When the last of them were handed out.
    handed_out_at: Instant,
    /// How far the first one is applied, if that was begun and is not done.
    begun: Option<Progress>,
    /// The number of the rows that it waits for, if it does. Meanwhile nothing changes what the group holds.
    waits_for: Option<u64>,
    /// Whether nothing is to be applied for now.
    is_held: bool,
}

impl Applying {
    /// Adds entries behind those that are there.
    pub(super) fn extend(&mut self, entries: impl Iterator<Item = Entry>, now: Instant) {
        self.entries.extend(entries);
        self.handed_out_at = now;
    }

    /// When what is to be applied was handed out: no more is while anything waits.
    pub(super) fn handed_out_at(&self) -> Instant {
        self.handed_out_at
    }

    /// The next entry to be applied, and how far it is if it was begun. `None` if there is none, or it waits for rows.
    pub(super) fn take_next(&mut self) -> Option<(Entry, Option<Progress>)> {
        if self.waits_for.is_some() || self.is_held {
            return None;
        }
        let entry = self.entries.front().cloned()?;
        Some((entry, self.begun.take()))
    }

    /// The batches behind the first entry.
    pub(super) fn behind_first(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().skip(1).filter(|entry| entry.kind == EntryKind::Batch)
    }

    /// The first entry is applied.
    pub(super) fn done(&mut self) {
        self.entries.pop_front();
    }

    /// The first entry is applied so far and waits for the rows with this number.
    pub(super) fn wait(&mut self, progress: Progress, number: u64) {
        (self.begun, self.waits_for) = (Some(progress), Some(number));
    }

    /// Rows with this number were read, or could not be. Whether it has waited for them.
    pub(super) fn has_rows(&mut self, number: u64) -> bool {
        self.waits_for.take_if(|waits_for| *waits_for == number).is_some()
    }

    /// Lets nothing be applied, or lets it go on.
    pub(super) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
    }

    /// Whether nothing is to be applied for now.
    pub(super) fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether there are entries to apply.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether an entry is applied in part.
    pub(super) fn is_within_entry(&self) -> bool {
        self.begun.is_some()
    }

    /// Whether somebody waits for the entry that is applied in part.
    pub(super) fn has_waiters(&self) -> bool {
        self.begun.as_ref().is_some_and(|begun| begun.answered_count < begun.waiters.list.len())
    }

    /// Bytes of who waits for it.
    pub(super) fn waiters_bytes(&self) -> usize {
        self.begun.as_ref().map_or(0, |begun| begun.waiters.bytes())
    }

    /// Another state takes the place of what was applied: who still waits for the entry that was begun.
    pub(super) fn clear(&mut self) -> Option<Progress> {
        self.entries.clear();
        (self.waits_for, self.is_held) = (None, false);
        self.begun.take()
    }
}
