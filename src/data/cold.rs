//! Rows that commands need and that are not in memory.
//!
//! Most commands need whole rows; some only want to know whether a key is there and when it expires, and a `DEL` of many long values must not
//! read them all. For those the *heads* of rows do. A head is known for as long as its key is pinned: what is written to the key meanwhile
//! stays in memory and is what counts.

use std::collections::BTreeSet;

use lsm::Content;
use resp::{Args, Command};
use types::Slot;

use crate::commands::{self, Registration, Rows};
use crate::keyspace::Keyspace;
use crate::store::RowHead;

/// By how much replicated time may be behind the clock for reads of rows that are not in memory, in milliseconds: keys are seen to expire that
/// much later.
const TIME_BEHIND_MAX_MS: u64 = 100;

/// A key of which more must be known than memory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdKey {
    /// Its slot.
    pub slot: Slot,
    /// The key.
    pub key: Box<[u8]>,
    /// Whether its value is needed, and not only the head of its row.
    pub needs_value: bool,
}

impl Keyspace {
    /// Whether a command looks at rows that are not in memory.
    #[inline]
    pub fn lacks(&self, command: &Command, slot: Slot, args: Args<'_>) -> bool {
        if self.is_resident() {
            return false;
        }
        looks_at_keys(command, args).is_some() && command.keys(args).any(|key| !self.store.rows.is_known(slot, key))
    }

    /// Whether a command looks at rows that are not in memory, of which some may be due by a clock that replicated time is far behind. What is
    /// read of them later shows them as of the time of now.
    pub fn may_miss_due(&self, command: &Command, slot: Slot, args: Args<'_>, clock_ms: u64) -> bool {
        let is_behind = clock_ms.saturating_sub(self.time_ms()) > TIME_BEHIND_MAX_MS;
        is_behind
            && self.store.stored_expiry_ms.is_some_and(|expiry_ms| expiry_ms <= clock_ms)
            && self.lacks(command, slot, args)
    }

    /// The keys of a command that it looks at and whose rows are not in memory, in its order, each once. For a write the heads of rows do
    /// if it needs no values.
    pub fn missing(&self, command: &Command, slot: Slot, args: Args<'_>) -> Vec<ColdKey> {
        if self.is_resident() {
            return Vec::new();
        }
        let Some(entry) = looks_at_keys(command, args) else { return Vec::new() };
        let has_heads = !entry.needs_values && command.is_write() && !self.store.heads.is_empty();
        let is_missing = |key: &[u8]| {
            let is_head_known = || has_heads && self.store.heads.contains_key(&(slot, key.into()));
            !self.store.rows.is_known(slot, key) && !is_head_known()
        };
        let mut seen = BTreeSet::new();
        let missing = command.keys(args).filter(|key| is_missing(key) && seen.insert(*key));
        missing.map(|key| ColdKey { slot, key: key.into(), needs_value: entry.needs_values }).collect()
    }

    /// All that a command looks at as of now: the rows that are in memory, copied, and the keys of those that are not.
    pub fn excerpt(&self, command: &Command, slot: Slot, args: Args<'_>) -> (Keyspace, Vec<ColdKey>) {
        let mut excerpt = self.of_same_kind();
        let needs_values = commands::find(command.id).is_ok_and(|entry| entry.needs_values);
        for key in command.keys(args) {
            if let Some(row) = self.store.rows.get(slot, key) {
                let content = row.content();
                let value = if needs_values { content.value } else { [&b""[..], b""] };
                excerpt.load(slot, key, &Content { value, ..content });
            }
        }
        (excerpt, self.missing(command, slot, args))
    }

    /// Where the row of a key stands in tables.
    pub fn row_key(&self, slot: Slot, key: &[u8]) -> Vec<u8> {
        self.store.rows.row_key(slot, key)
    }

    /// A row that was read from tables comes into memory, or the news that there is none. Nothing happens if the row of the key is known by
    /// now, or if the epoch is not any more what it was when the reading began.
    pub fn fill(&mut self, slot: Slot, key: &[u8], content: Option<&Content<'_>>, epoch: u64) {
        self.store.rows.fill(slot, key, content, epoch);
    }

    /// Tables have a row of a key with such a head. Only writes that need no values look at that, until [`Keyspace::unpin_all`]; the key
    /// must be pinned until then.
    pub fn fill_head(&mut self, slot: Slot, key: &[u8], kind: u8, expiry_ms: Option<u64>) {
        self.store.heads.insert((slot, key.into()), RowHead { kind, expiry_ms });
    }

    /// No keys, at the same time, of the same slots and in the same order.
    pub(crate) fn of_same_kind(&self) -> Keyspace {
        let mut other = Keyspace::with_hash_seed(self.store.rows.hash_seed());
        other.own(self.store.owned().to_vec());
        other.advance_time(self.time_ms());
        other
    }
}

/// The entry of a command if it looks at what rows its keys have.
fn looks_at_keys(command: &Command, args: Args<'_>) -> Option<&'static Registration> {
    commands::find(command.id).ok().filter(|entry| entry.rows == Rows::Keys && (entry.looks)(args))
}
