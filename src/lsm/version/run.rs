//! Tables that do not overlap: what was written at one time.

use std::rc::Rc;

use crate::error::FormatError;
use crate::table::TableInfo;

use super::change::NewTable;
use super::named_file::{FileSet, NamedFile};

/// A table, and where it lies here.
pub struct PlacedTable {
    /// The table.
    pub info: Rc<TableInfo>,
    /// Its file.
    pub file: Rc<NamedFile>,
    /// Offset of its first byte in that file.
    pub base: u64,
    /// Says nothing of keys before this one: they have been merged into older tables. Empty if it says all it holds.
    pub from: Vec<u8>,
}

impl PlacedTable {
    pub(super) fn new(table: &NewTable, files: &FileSet) -> PlacedTable {
        PlacedTable {
            info: Rc::new(table.info.clone()),
            file: files.name(table.file),
            base: table.base,
            from: table.from.clone(),
        }
    }

    /// As a change names it.
    pub fn as_new(&self) -> NewTable {
        NewTable { info: (*self.info).clone(), file: self.file.number(), base: self.base, from: self.from.clone() }
    }

    /// The first key that it says something of, or one before that.
    pub fn smallest(&self) -> &[u8] {
        self.at_least(&self.info.properties.smallest)
    }

    /// A key, or where the table begins to say something if that lies behind.
    pub fn at_least<'a>(&'a self, key: &'a [u8]) -> &'a [u8] {
        if self.has_merged(key) { &self.from } else { key }
    }

    /// Whether a key lies where the table says nothing any more.
    pub fn has_merged(&self, key: &[u8]) -> bool {
        // Most tables were never cut, and this is asked for each row. To compare a key with an empty vector, which has no
        // memory, takes more than 100 ns where the C library does it by masked loads (AVX-512).
        !self.from.is_empty() && key < self.from.as_slice()
    }

    /// The last key that it says something of, or the end of a range tombstone behind it.
    pub fn largest(&self) -> &[u8] {
        &self.info.properties.largest
    }
}

/// Tables by ascending keys, none of which says anything of a key that another one does.
pub struct Run {
    /// Greater than that of all runs of the version that are older.
    pub age: u64,
    /// How often, about, its rows have been merged.
    pub level: u8,
    /// Invariant: at least one; by ascending keys, without overlap.
    tables: Vec<Rc<PlacedTable>>,
}

impl Run {
    pub(super) fn new(age: u64, level: u8, mut tables: Vec<Rc<PlacedTable>>) -> Result<Run, FormatError> {
        tables.sort_by(|one, other| one.smallest().cmp(other.smallest()));
        // What a table says last may be the end of a range, which is not in it: there the next one may begin.
        let is_apart = |pair: &[Rc<PlacedTable>]| match pair {
            [one, other] => one.largest() <= other.smallest() && one.smallest() < other.smallest(),
            _ => true,
        };
        let is_sound = |table: &Rc<PlacedTable>| table.smallest() <= table.largest();
        if tables.is_empty() || !tables.iter().all(is_sound) || !tables.windows(2).all(is_apart) {
            return Err(FormatError::Malformed("the tables of a run overlap"));
        }
        Ok(Run { age, level, tables })
    }

    /// The tables by ascending keys.
    pub fn tables(&self) -> &[Rc<PlacedTable>] {
        &self.tables
    }

    /// Number of the only table that may say something of a key.
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        let idx = self.tables.partition_point(|table| table.smallest() <= key).checked_sub(1)?;
        self.tables.get(idx).filter(|table| key <= table.largest()).map(|_| idx)
    }

    /// Number of the first table that says something of a key or one behind it; that of no table if none does.
    pub fn find_from(&self, key: &[u8]) -> usize {
        self.tables.partition_point(|table| table.largest() < key)
    }

    /// Bytes of its tables.
    pub fn bytes(&self) -> u64 {
        self.tables.iter().map(|table| table.info.len).sum()
    }

    /// Whether a part of it has been merged into older tables.
    pub fn is_trimmed(&self) -> bool {
        self.tables.iter().any(|table| !table.from.is_empty())
    }

    /// Whether a table of it has range tombstones.
    pub fn has_range_tombstones(&self) -> bool {
        self.tables.iter().any(|table| table.info.properties.range_tombstones > 0)
    }
}
