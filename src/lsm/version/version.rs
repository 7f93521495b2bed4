//! The tables and blob files of a group.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::blob::BlobInfo;
use crate::error::FormatError;
use crate::ids::{FileId, TableId};
use crate::table::TableInfo;

use super::change::{Change, NewBlob, NewRun, NewTable};
use super::named_file::{FileSet, NamedFile};
use super::run::{PlacedTable, Run};

/// A blob file, and where it lies here.
pub struct PlacedBlob {
    /// The blob file.
    pub info: BlobInfo,
    /// The file that it lies in, from `base` on.
    pub file: Rc<NamedFile>,
    /// Offset of its first byte in that file.
    pub base: u64,
}

/// A blob file, and how much of it rows lead to.
#[derive(Clone)]
pub struct LiveBlob {
    /// The blob file.
    pub blob: Rc<PlacedBlob>,
    /// Values that rows lead to. Rows that newer ones hide are among them until they are merged.
    pub values: u64,
    /// Bytes of these values.
    pub bytes: u64,
}

/// The tables and blob files of a group at some time. Cheap to clone, and never changed.
#[derive(Clone, Default)]
pub struct Version {
    /// Invariant: the newest first.
    runs: Vec<Rc<Run>>,
    /// Invariant: exactly the blob files that rows of the tables lead to.
    blobs: BTreeMap<FileId, LiveBlob>,
}

impl Version {
    /// The runs, the newest first.
    pub fn runs(&self) -> &[Rc<Run>] {
        &self.runs
    }

    /// The blob files.
    pub fn blobs(&self) -> impl Iterator<Item = &LiveBlob> {
        self.blobs.values()
    }

    /// A blob file.
    pub fn blob(&self, id: FileId) -> Option<&LiveBlob> {
        self.blobs.get(&id)
    }

    /// All tables, those of the newest run first.
    pub fn tables(&self) -> impl Iterator<Item = &Rc<PlacedTable>> {
        self.runs.iter().flat_map(|run| run.tables())
    }

    /// Bytes of the tables.
    pub fn table_bytes(&self) -> u64 {
        self.runs.iter().map(|run| run.bytes()).sum()
    }

    /// Bytes of the tables, and of the values in blob files that rows lead to or once did.
    pub fn file_bytes(&self) -> u64 {
        self.table_bytes() + self.blobs().map(|live| live.blob.info.len).sum::<u64>()
    }

    /// About how many rows there are that are not hidden by others: keys that newer runs have again are counted again.
    pub fn rows_count_about(&self) -> u64 {
        let properties = || self.tables().map(|table| &table.info.properties);
        let (rows, tombstones) = properties().fold((0_u64, 0_u64), |(rows, tombstones), of| {
            (rows.saturating_add(of.rows), tombstones.saturating_add(of.tombstones))
        });
        // A tombstone is a row itself, and hides another one.
        rows.saturating_sub(tombstones.saturating_mul(2))
    }

    /// When the first of the rows expires that do, in milliseconds since 1970 UTC; some of them may be hidden by others.
    pub fn earliest_expiry_ms(&self) -> Option<u64> {
        let properties = self.tables().map(|table| &table.info.properties);
        properties.filter(|of| of.expiring > 0).map(|of| of.expiry_ms_min).min()
    }

    /// An age greater than that of every run.
    pub fn next_age(&self) -> u64 {
        self.runs.first().map_or(1, |run| run.age + 1)
    }

    /// All of it as a change of nothing.
    pub fn as_change(&self) -> Change {
        let of_run = |run: &Rc<Run>| NewRun {
            age: run.age,
            level: run.level,
            tables: run.tables().iter().map(|table| table.as_new()).collect(),
        };
        let of_blob =
            |LiveBlob { blob, .. }: &LiveBlob| NewBlob { info: blob.info, file: blob.file.number(), base: blob.base };
        Change {
            removed: Vec::new(),
            added: self.runs.iter().map(of_run).collect(),
            blobs: self.blobs.values().map(of_blob).collect(),
        }
    }

    /// The version that a change makes of this one. Takes time in proportion to the tables, a few nanoseconds for each.
    pub fn apply(&self, change: &Change, files: &FileSet) -> Result<Version, FormatError> {
        let mut version = self.clone();
        for NewBlob { info, file, base } in &change.blobs {
            let blob = Rc::new(PlacedBlob { info: *info, file: files.name(*file), base: *base });
            let is_new = version.blobs.insert(info.id, LiveBlob { blob, values: 0, bytes: 0 }).is_none();
            if !is_new {
                return Err(FormatError::Malformed("a blob file that is there is added"));
            }
        }
        version.remove(&change.removed)?;
        for run in &change.added {
            version.add(run, files)?;
        }
        version.blobs.retain(|_, live| live.values > 0);
        Ok(version)
    }

    fn remove(&mut self, ids: &[TableId]) -> Result<(), FormatError> {
        let mut missing: BTreeSet<TableId> = ids.iter().copied().collect();
        if missing.len() != ids.len() {
            return Err(FormatError::Malformed("a table is removed twice"));
        }
        let mut runs = Vec::with_capacity(self.runs.len());
        for run in std::mem::take(&mut self.runs) {
            if !run.tables().iter().any(|table| missing.contains(&table.info.id)) {
                runs.push(run);
                continue;
            }
            let (removed, kept): (Vec<_>, Vec<_>) =
                run.tables().iter().cloned().partition(|table| missing.remove(&table.info.id));
            for table in removed {
                self.release_blobs(&table.info)?;
            }
            if !kept.is_empty() {
                runs.push(Rc::new(Run::new(run.age, run.level, kept)?));
            }
        }
        self.runs = runs;
        if missing.is_empty() { Ok(()) } else { Err(FormatError::Malformed("a table is removed that is not there")) }
    }

    fn add(&mut self, new: &NewRun, files: &FileSet) -> Result<(), FormatError> {
        // Of the tables of a run, only the one with the same keys can be the same.
        let is_in = |run: &Run, table: &NewTable| {
            let same = run.find(&table.info.properties.smallest).and_then(|idx| run.tables().get(idx));
            same.is_some_and(|same| same.info.id == table.info.id)
        };
        let is_there = |table: &NewTable| self.runs.iter().any(|run| is_in(run, table));
        if new.tables.iter().any(is_there) {
            return Err(FormatError::Malformed("a table that is there is added"));
        }
        new.tables.iter().try_for_each(|table| self.use_blobs(&table.info))?;
        let mut tables: Vec<_> = new.tables.iter().map(|table| Rc::new(PlacedTable::new(table, files))).collect();
        let idx = self.runs.partition_point(|run| run.age > new.age);
        if self.runs.get(idx).is_some_and(|run| run.age == new.age) {
            tables.extend(self.runs.remove(idx).tables().iter().cloned());
        }
        self.runs.insert(idx, Rc::new(Run::new(new.age, new.level, tables)?));
        Ok(())
    }

    fn use_blobs(&mut self, table: &TableInfo) -> Result<(), FormatError> {
        for of in &table.properties.blobs {
            let live = self.blobs.get_mut(&of.file);
            let live = live.ok_or(FormatError::Malformed("rows lead to a blob file that is not there"))?;
            live.values = live.values.saturating_add(of.values);
            live.bytes = live.bytes.saturating_add(of.bytes);
        }
        Ok(())
    }

    fn release_blobs(&mut self, table: &TableInfo) -> Result<(), FormatError> {
        const WRONG: FormatError = FormatError::Malformed("rows led to values that are not there");
        for of in &table.properties.blobs {
            let live = self.blobs.get_mut(&of.file).ok_or(WRONG)?;
            live.values = live.values.checked_sub(of.values).ok_or(WRONG)?;
            live.bytes = live.bytes.checked_sub(of.bytes).ok_or(WRONG)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Input;
    use crate::table::properties::{BlobUse, Properties};
    use crate::table::{UnitKind, UnitRef};

    /// A table from one key to another, number `file`, with rows that lead to values of a blob file.
    fn table(file: u64, smallest: &str, largest: &str, blobs: &[(u64, u64)]) -> NewTable {
        let id = |number| FileId { store: 1, number };
        let of_blob =
            |(number, values): &(u64, u64)| BlobUse { file: id(*number), values: *values, bytes: values * 10 };
        let properties = Properties {
            smallest: smallest.into(),
            largest: largest.into(),
            blobs: blobs.iter().map(of_blob).collect(),
            ..Properties::default()
        };
        let top = UnitRef { kind: UnitKind::Top, offset: 0, len: 16 };
        let info = TableInfo { id: TableId { file: id(file), offset: 0 }, len: 4_096, top, properties };
        NewTable { info, file, base: 0, from: Vec::new() }
    }

    fn blob(file: u64, values: u64) -> NewBlob {
        let info = BlobInfo { id: FileId { store: 1, number: file }, len: 4_096, values, value_bytes: values * 10 };
        NewBlob { info, file, base: 8_192 }
    }

    fn added(age: u64, tables: Vec<NewTable>) -> Change {
        Change { added: vec![NewRun { age, level: 0, tables }], ..Change::default() }
    }

    #[test]
    fn newer_runs_come_first_and_files_go_with_their_last_version() {
        let files = FileSet::default();
        let one = Version::default().apply(&added(1, vec![table(1, "a", "m", &[])]), &files).expect("sound");
        let two = one.apply(&added(2, vec![table(2, "c", "d", &[])]), &files).expect("sound");
        let ages: Vec<u64> = two.runs().iter().map(|run| run.age).collect();
        assert_eq!((ages, two.next_age()), (vec![2, 1], 3));
        let merged = Change {
            removed: two.tables().map(|table| table.info.id).collect(),
            ..added(2, vec![table(3, "a", "m", &[])])
        };
        let three = two.apply(&merged, &files).expect("sound");
        assert_eq!(three.tables().count(), 1);
        drop(two);
        assert_eq!((files.take_unnamed(), files.take_unnamed()), (Some(2), None), "a version still names file 1");
        drop(one);
        assert_eq!(files.take_unnamed(), Some(1));
    }

    #[test]
    fn a_blob_file_lives_as_long_as_rows_lead_to_it() {
        let files = FileSet::default();
        let change = Change {
            blobs: vec![blob(9, 3)],
            ..added(1, vec![table(1, "a", "b", &[(9, 2)]), table(2, "c", "d", &[(9, 1)])])
        };
        let version = Version::default().apply(&change, &files).expect("sound");
        let live: Vec<_> = version.blobs().map(|live| (live.values, live.bytes)).collect();
        assert_eq!(live, [(3, 30)]);
        let ids: Vec<TableId> = version.tables().map(|table| table.info.id).collect();
        let version = version.apply(&Change { removed: vec![ids[0]], ..Change::default() }, &files).expect("sound");
        assert_eq!(version.blobs().map(|live| live.values).collect::<Vec<_>>(), [1]);
        let version = version.apply(&Change { removed: vec![ids[1]], ..Change::default() }, &files).expect("sound");
        assert_eq!(version.blobs().count(), 0);
    }

    #[test]
    fn a_version_is_made_again_of_what_it_holds() {
        let files = FileSet::default();
        let tables = vec![table(1, "a", "b", &[(9, 2)]), table(2, "b", "d", &[])];
        let change = Change { blobs: vec![blob(9, 3)], ..added(7, tables) };
        let version = Version::default().apply(&change, &files).expect("sound");
        assert_eq!(version.as_change(), change);
        let mut bytes = Vec::new();
        change.encode(&mut bytes);
        assert_eq!(Change::read(&mut Input::new(&bytes)), Ok(change));
        for len in 0..bytes.len() {
            assert!(Change::read(&mut Input::new(&bytes[..len])).is_err(), "{len}");
        }
    }

    #[test]
    fn changes_that_do_not_fit_are_refused() {
        let files = FileSet::default();
        let version = Version::default().apply(&added(1, vec![table(1, "a", "m", &[])]), &files).expect("sound");
        let id = |number| TableId { file: FileId { store: 1, number }, offset: 0 };
        let removed = |removed| Change { removed, ..Change::default() };
        for wrong in [
            removed(vec![id(2)]),
            removed(vec![id(1), id(1)]),
            added(2, vec![table(1, "a", "m", &[])]),
            added(1, vec![table(2, "c", "d", &[])]),
            added(2, vec![table(2, "c", "f", &[]), table(3, "d", "e", &[])]),
            added(2, vec![table(2, "c", "d", &[(5, 1)])]),
            added(2, Vec::new()),
        ] {
            assert!(version.apply(&wrong, &files).is_err(), "{wrong:?}");
        }
        let longer = version.apply(&added(1, vec![table(2, "n", "o", &[])]), &files).expect("it fits behind");
        assert_eq!((longer.runs().len(), longer.tables().count()), (1, 2));
        assert_eq!([b"a", b"m", b"n", b"p"].map(|key| longer.runs()[0].find(key)), [Some(0), Some(0), Some(1), None]);
        assert_eq!([b"a", b"m", b"n", b"p"].map(|key| longer.runs()[0].find_from(key)), [0, 0, 1, 2]);
    }
}
