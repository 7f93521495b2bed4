//! Carrying a merge out, in slices.

use std::rc::Rc;

use host::{Disk, IoClass};

use crate::error::Error;
use crate::ids::FileId;
use crate::read::{Need, Progress, RangeCursor, Reader, RunsAhead, Target, VersionCursor};
use crate::table::{Content, Put, StoredRow, Unit, Value};
use crate::version::{Change, NewRun, NewTable, PlacedTable, Version};
use crate::write::{Output, Pace, RunWriter, WrittenRun};

use super::pick::MergeTask;
use super::policy::{Fate, RowPolicy};

/// Most expired collections that a merge tells of; the next one tells of the rest.
const EXPIRED_COUNT_MAX: usize = 1_024;

/// What a merge has made. Its files are deleted if this is dropped before a version names them.
pub struct MergeOutput {
    /// What is to be told to the manifest.
    pub change: Change,
    /// Row keys of heads of collections whose time has come.
    pub expired: Vec<Vec<u8>>,
    /// Rows that went in and came out.
    pub rows: (u64, u64),
    written: WrittenRun,
}

impl MergeOutput {
    /// Bytes of the tables written.
    pub fn bytes(&self) -> u64 {
        self.written.tables.iter().map(|table| table.info.len).sum()
    }
}

/// Carries a merge out. Changes nothing: that is for the manifest to do.
///
/// After an error, a full disk for example, what was written is named by nobody and waits to be deleted.
pub async fn execute<D: Disk, P: Pace>(
    reader: &Reader<D>,
    output: &Rc<Output<D>>,
    version: &Version,
    task: &MergeTask,
    policy: RowPolicy,
    pace: &P,
) -> Result<MergeOutput, Error> {
    assert!(policy.is_oldest == task.is_oldest, "the policy is that of another task");
    let class = if task.is_oldest { IoClass::BottomMerge } else { IoClass::UpperMerge };
    let mut merge = Merge {
        class,
        reader,
        version,
        policy,
        pace,
        relocate: &task.relocate,
        writer: RunWriter::new(Rc::clone(output), pace, class, None),
        // Where nothing lies below, there is nothing to be deleted.
        ranges: if task.is_oldest {
            Vec::new()
        } else {
            task.inputs.iter().map(Rc::clone).map(RangeCursor::new).collect()
        },
        expired: Vec::new(),
        rows: (0, 0),
    };
    merge.writer.expect(task.bytes());
    merge.writer.set_merged_ms(policy.time_ms);
    let mut cursor = VersionCursor::new(&task.inputs);
    let mut ahead = RunsAhead::new(task.inputs.len(), class);
    cursor.seek(Target::From(&task.from));
    let mut end = task.until.clone();
    loop {
        merge.settle(&mut cursor, &mut ahead).await?;
        let Some(row) = cursor.row() else { break };
        if task.until.as_ref().is_some_and(|until| row.key >= until.as_slice()) {
            break;
        }
        if merge.writer.written_bytes() >= task.window_bytes {
            end = Some(row.key.to_vec());
            break;
        }
        merge.put_ranges(Some(row.key)).await?;
        merge.put_row(row).await?;
        cursor.next();
    }
    merge.put_ranges(None).await?;
    let Merge { writer, expired, rows, .. } = merge;
    let (written, file) = writer.finish().await?;
    if let Some(file) = file {
        file.finish().await?;
    }
    output.sync_names().await?;
    let change = change_of(task, &written, end.as_deref());
    Ok(MergeOutput { change, expired, rows, written })
}

/// The change that a merge makes which has ended before a key: tables that say something of keys behind stay, for
/// these.
fn change_of(task: &MergeTask, written: &WrittenRun, end: Option<&[u8]>) -> Change {
    let output = NewRun { age: task.age, level: task.level, tables: written.tables.clone() };
    let mut change = Change { removed: Vec::new(), added: vec![output], blobs: written.blobs.clone() };
    for run in &task.inputs {
        let merged = |table: &&Rc<PlacedTable>| {
            table.largest() >= task.from.as_slice() && end.is_none_or(|end| table.smallest() < end)
        };
        let merged = || run.tables().iter().filter(merged);
        change.removed.extend(merged().map(|table| table.info.id));
        let Some(end) = end else { continue };
        // The end of a range tombstone is not in it: where another table begins there, nothing is left of the one before.
        let begins_there = run.tables().iter().any(|table| table.smallest() == end);
        let rest = merged().filter(|table| table.largest() > end || table.largest() == end && !begins_there);
        let tables: Vec<NewTable> = rest.map(|table| NewTable { from: end.to_vec(), ..table.as_new() }).collect();
        match change.added.iter_mut().find(|added| added.age == run.age) {
            Some(added) => added.tables.extend(tables),
            None => change.added.push(NewRun { age: run.age, level: run.level, tables }),
        }
    }
    change.added.retain(|run| !run.tables.is_empty());
    change
}

struct Merge<'a, D: Disk, P: Pace> {
    class: IoClass,
    reader: &'a Reader<D>,
    version: &'a Version,
    policy: RowPolicy,
    pace: &'a P,
    relocate: &'a [FileId],
    writer: RunWriter<D, &'a P>,
    ranges: Vec<RangeCursor>,
    expired: Vec<Vec<u8>>,
    rows: (u64, u64),
}

impl<D: Disk, P: Pace> Merge<'_, D, P> {
    async fn unit(&self, need: &Need) -> Result<Unit, Error> {
        let unit = self.reader.unit_once(need, self.class).await?;
        self.pace.pause(need.unit.len as usize).await;
        Ok(unit)
    }

    async fn settle(&self, cursor: &mut VersionCursor, ahead: &mut RunsAhead<D>) -> Result<(), Error> {
        loop {
            match cursor.poll() {
                Progress::Arrived => return Ok(()),
                Progress::Busy => self.pace.pause(0).await,
                Progress::Need(need) => {
                    let unit = ahead.unit(self.reader, cursor, &need).await?;
                    cursor.supply(unit);
                    self.pace.pause(need.unit.len as usize).await;
                }
            }
        }
    }

    /// Writes the range tombstones that begin at a key or before, all of them without a key.
    async fn put_ranges(&mut self, key: Option<&[u8]>) -> Result<(), Error> {
        loop {
            let mut first = None;
            for idx in 0..self.ranges.len() {
                while let Err(need) = self.ranges[idx].range() {
                    let unit = self.unit(&need).await?;
                    self.ranges[idx].supply(unit);
                }
                let Ok(Some(range)) = self.ranges[idx].range() else { continue };
                let is_due = key.is_none_or(|key| range.from.as_slice() <= key);
                if is_due
                    && first
                        .as_ref()
                        .is_none_or(|(_, other): &(usize, crate::table::KeyRange)| range.from < other.from)
                {
                    first = Some((idx, range));
                }
            }
            let Some((idx, range)) = first else { return Ok(()) };
            self.writer.delete_range(&range).await?;
            self.ranges[idx].next();
        }
    }

    async fn put_row(&mut self, row: StoredRow<'_>) -> Result<(), Error> {
        self.rows.0 += 1;
        let fate = self.policy.fate(&row);
        if fate == Fate::Drop {
            return Ok(());
        }
        self.rows.1 += 1;
        if fate == Fate::Delete {
            return self.writer.push(StoredRow { key: row.key, content: Content::Tombstone }).await;
        }
        if fate == Fate::KeepExpired && self.expired.len() < EXPIRED_COUNT_MAX {
            self.expired.push(row.key.to_vec());
        }
        let content = self.relocated(row).await?;
        self.writer.push(StoredRow { key: row.key, content }).await
    }

    /// The content of a row, with a value in a blob file that is given up written to another one.
    async fn relocated<'r>(&mut self, row: StoredRow<'r>) -> Result<Content<'r>, Error> {
        let Content::Put(put) = row.content else { return Ok(row.content) };
        let Value::Blob(blob) = put.value else { return Ok(row.content) };
        if !self.relocate.contains(&blob.file) {
            return Ok(row.content);
        }
        let bytes = self.reader.blob(self.version, blob, row.key, self.class).await?;
        let damaged = |source| self.reader.damaged_blob(self.version, blob, source);
        let record = bytes.record().map_err(damaged)?;
        let copied = self.writer.copy_blob(row.key, &record, blob.len).await?;
        let damaged = |source| self.reader.damaged_blob(self.version, blob, source);
        Ok(Content::Put(Put { value: Value::Blob(copied.map_err(damaged)?), ..put }))
    }
}
