//! What makes one version of another.

use crate::blob::BlobInfo;
use crate::codec::{Input, len_u32, put_string};
use crate::error::FormatError;
use crate::ids::{FileId, TableId};
use crate::table::TableInfo;

/// A table, and where it lies here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTable {
    /// The table.
    pub info: TableInfo,
    /// Number of its file in this store.
    pub file: u64,
    /// Offset of its first byte in that file.
    pub base: u64,
    /// Says nothing of keys before this one: they have been merged into older tables. Empty if it says all it holds.
    pub from: Vec<u8>,
}

/// Tables that are to be a run, or to be added to the run of that age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRun {
    /// Greater than that of all runs that are older.
    pub age: u64,
    /// How often, about, its rows have been merged.
    pub level: u8,
    /// The tables, by ascending keys.
    pub tables: Vec<NewTable>,
}

/// A blob file, and where it lies here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// The blob file.
    pub info: BlobInfo,
    /// Number of the file in this store.
    pub file: u64,
    /// Offset of its first byte in that file.
    pub base: u64,
}

/// What makes one version of another. Blob files that no row leads to any more go by themselves.
///
/// ```text
/// u32 n, n × { u64 store, u64 number, u64 offset }                     tables removed
/// u32 n, n × { u64 age, u8 level, u32 m, m tables: }                   tables added
///     u64 file, u64 base, u32 length, key before which it says nothing, the table as in the manifest
/// u32 n, n × { u64 file, u64 base, the blob file as in the manifest }  blob files added
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Tables that are there and are to go.
    pub removed: Vec<TableId>,
    /// Tables that come.
    pub added: Vec<NewRun>,
    /// Blob files that rows of the tables added lead to.
    pub blobs: Vec<NewBlob>,
}

impl Change {
    /// Appends the bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_count(out, self.removed.len());
        for id in &self.removed {
            out.extend([id.file.store, id.file.number, id.offset].into_iter().flat_map(u64::to_le_bytes));
        }
        put_count(out, self.added.len());
        for run in &self.added {
            out.extend_from_slice(&run.age.to_le_bytes());
            out.push(run.level);
            put_count(out, run.tables.len());
            for table in &run.tables {
                out.extend([table.file, table.base].into_iter().flat_map(u64::to_le_bytes));
                put_string(out, &table.from);
                table.info.encode(out);
            }
        }
        put_count(out, self.blobs.len());
        for blob in &self.blobs {
            out.extend([blob.file, blob.base].into_iter().flat_map(u64::to_le_bytes));
            blob.info.encode(out);
        }
    }

    /// Number of the file, base in it, and length of each table and then of each blob file that is added.
    pub(crate) fn places_mut(&mut self) -> impl Iterator<Item = (&mut u64, &mut u64, u64)> {
        let tables = self.added.iter_mut().flat_map(|run| &mut run.tables);
        let blobs = self.blobs.iter_mut().map(|blob| (&mut blob.file, &mut blob.base, blob.info.len));
        tables.map(|table| (&mut table.file, &mut table.base, table.info.len)).chain(blobs)
    }

    /// Reads the bytes; others may follow.
    pub(crate) fn read(input: &mut Input<'_>) -> Result<Change, FormatError> {
        let mut change = Change::default();
        for _ in 0..input.u32()? {
            let file = FileId { store: input.u64()?, number: input.u64()? };
            change.removed.push(TableId { file, offset: input.u64()? });
        }
        for _ in 0..input.u32()? {
            let mut run = NewRun { age: input.u64()?, level: input.u8()?, tables: Vec::new() };
            for _ in 0..input.u32()? {
                let (file, base, from) = (input.u64()?, input.u64()?, input.string()?.to_vec());
                run.tables.push(NewTable { file, base, from, info: TableInfo::read(input)? });
            }
            change.added.push(run);
        }
        for _ in 0..input.u32()? {
            change.blobs.push(NewBlob { file: input.u64()?, base: input.u64()?, info: BlobInfo::read(input)? });
        }
        Ok(change)
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&len_u32(count).to_le_bytes());
}
