//! A store of one core against a model: flushes, merges, installs, and what is read between them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;

use futures_lite::future::block_on;
use host::IoClass;
use lsm::Error;
use lsm::files::Files;
use lsm::manifest::{Edit, EditKind, Manifest, ManifestSettings, Seal};
use lsm::merge::{MergeSettings, MergeTask, RowPolicy, execute, pick};
use lsm::read::{CacheLimits, FoundValue, Reader, Scan, ScanSettings, Target, Verified, VersionCursor, verify};
use lsm::snapshot::{HEAD_BYTES_MAX, IncomingSnapshot, OutgoingSnapshot, ReceivedParts};
use lsm::table::{BlobRef, Content, KeyRange, StoredRow, TableSettings, Value};
use lsm::version::{Change, NamedFile, NewRun, Version};
use lsm::write::{Output, Pace, RunWriter, TableFile, WriteSettings, WrittenRun};
use types::{GroupId, ReplicaId};

use super::disk::TestDisk;
use super::{Model, ModelPut, ModelRow, ModelValue, content};

pub const DIR: &str = "/store";
pub const STORE: u64 = 0x5707E;
pub const REPLICA: ReplicaId = ReplicaId(1);
/// Type of the heads of collections; all others have no elements.
pub const COLLECTION: u8 = 3;
/// Bytes of a snapshot that are sent at a time.
pub const CHUNK_BYTES: usize = 3 * 4_096;
/// Values of so many bytes go into blob files.
pub const BLOB_BYTES: usize = 300;

pub fn is_single_row(value_type: u8) -> bool {
    value_type != COLLECTION
}

/// Never waits.
pub struct NoPace;

impl Pace for NoPace {
    async fn pause(&self, _: usize) {}
}

/// What a group's tables are to say: rows without tombstones.
pub type Rows = BTreeMap<Vec<u8>, ModelPut>;

/// What is told to a store in one flush.
#[derive(Clone, Debug)]
pub struct Batch {
    pub rows: Model,
    /// Ranges that are deleted in what is older.
    pub ranges: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Batch {
    /// What a group holds behind it.
    pub fn apply(&self, rows: &mut Rows) {
        for (from, to) in &self.ranges {
            rows.retain(|key, _| !(from <= key && key < to));
        }
        for (key, row) in &self.rows {
            match row {
                Some(put) => rows.insert(key.clone(), put.clone()),
                None => rows.remove(key),
            };
        }
    }
}

pub fn write_settings() -> WriteSettings {
    let table =
        TableSettings { block_bytes: 200, leaf_blocks_count_max: 3, filter_bits_per_row: 10, chunk_bytes: 4_096 };
    WriteSettings {
        table,
        table_bytes_max: 500,
        blob_value_bytes_min: BLOB_BYTES,
        blob_file_bytes_max: 20_000,
        sync_bytes: 10_000,
    }
}

pub struct Store {
    pub disk: TestDisk,
    pub manifest: Manifest<TestDisk>,
    pub reader: Reader<TestDisk>,
    pub output: Rc<Output<TestDisk>>,
    pub merges: MergeSettings,
}

impl Store {
    pub fn open(disk: &TestDisk) -> Result<Store, Error> {
        Store::open_as(disk, STORE)
    }

    /// Opens a store, which is made with this id if there is none.
    pub fn open_as(disk: &TestDisk, store: u64) -> Result<Store, Error> {
        block_on(async {
            let files = Rc::new(Files::open(disk.clone(), PathBuf::from(DIR)).await?);
            let settings = ManifestSettings { bytes_min: 32 << 10 };
            let manifest = Manifest::open(Rc::clone(&files), settings, store).await?;
            let output = Output::new(Rc::clone(&files), manifest.files().clone(), manifest.store(), write_settings());
            let output = Rc::new(output);
            // Small, so that much is read from the disk.
            let reader = Reader::new(files, CacheLimits::of_each(4_096));
            let merges = MergeSettings { fan_out: 2, window_bytes: 500, ..MergeSettings::default() };
            Ok(Store { disk: disk.clone(), manifest, reader, output, merges })
        })
    }

    /// Writes otherwise from now on.
    pub fn set_output(&mut self, settings: WriteSettings) {
        let (files, set) = (Rc::clone(self.reader.files()), self.manifest.files().clone());
        self.output = Rc::new(Output::new(files, set, self.manifest.store(), settings));
    }

    pub fn version(&self, group: GroupId) -> Rc<Version> {
        self.manifest.group(group).map(|state| Rc::clone(&state.version)).unwrap_or_default()
    }

    fn index(&self, group: GroupId) -> u64 {
        self.manifest.group(group).map_or(0, |state| state.seal.index)
    }

    fn seal(&self, group: GroupId, time_ms: u64, generations: u64) -> Seal {
        let generation = self.manifest.group(group).map_or(0, |state| state.seal.generation) + generations;
        Seal { index: self.index(group) + 1, term: 1, time_ms, generation, ..Seal::default() }
    }

    fn commit(&mut self, edits: Vec<(GroupId, EditKind)>) -> Result<(), Error> {
        let edit = |(group, kind)| Edit::Group { group, replica: REPLICA, kind };
        block_on(self.manifest.commit(edits.into_iter().map(edit).collect()))
    }

    /// Deletes all files that nobody names.
    pub fn delete_unnamed(&self) -> Result<(), Error> {
        while let Some(number) = self.manifest.take_unnamed() {
            if let Err(error) = block_on(self.reader.files().remove(number)) {
                self.manifest.files().add_unnamed(number);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Flushes batches of some groups into files that they share, with one edit.
    pub fn flush(&mut self, batches: &[(GroupId, Batch)], time_ms: u64) -> Result<(), Error> {
        let mut file = None;
        let (mut edits, mut named) = (Vec::new(), Vec::new());
        for (group, batch) in batches {
            let (written, rest) = self.write(batch, file)?;
            file = self.finish_if(rest, |file| file.len() >= 8_000)?;
            let change = change_of(&written, self.version(*group).next_age());
            named.push(written);
            edits.push((*group, EditKind::Flush { seal: self.seal(*group, time_ms, 0), change }));
        }
        self.finish_if(file, |_| true)?;
        block_on(self.output.sync_names())?;
        self.commit(edits)?;
        drop(named);
        self.delete_unnamed()
    }

    /// Installs what another replica has sent.
    pub fn install(&mut self, group: GroupId, rows: &Rows, time_ms: u64) -> Result<(), Error> {
        let rows = rows.iter().map(|(key, put)| (key.clone(), Some(put.clone()))).collect();
        let (written, file) = self.write(&Batch { rows, ranges: Vec::new() }, None)?;
        self.finish_if(file, |_| true)?;
        block_on(self.output.sync_names())?;
        let seal = self.seal(group, time_ms, 0);
        self.commit(vec![(group, EditKind::Install { seal, change: change_of(&written, 1) })])?;
        drop(written);
        self.delete_unnamed()
    }

    /// What a group holds, to be sent to the replica of another one.
    pub fn snapshot(&self, group: GroupId, to: GroupId) -> OutgoingSnapshot {
        let seal = self.manifest.group(group).map(|state| state.seal.clone()).unwrap_or_default();
        OutgoingSnapshot::new(to, &seal, self.version(group)).unwrap()
    }

    /// Receives a snapshot, which whoever sends it reads from its files, and installs it.
    pub fn receive(
        &mut self,
        group: GroupId,
        snapshot: &OutgoingSnapshot,
        files: &Files<TestDisk>,
    ) -> Result<(), Error> {
        let total_bytes = snapshot.total_bytes();
        let mut incoming = IncomingSnapshot::new(group, total_bytes, HEAD_BYTES_MAX);
        let (named, head) = block_on(async {
            let (named, writer) = self.output.create_raw(total_bytes, IoClass::Flush).await?;
            while incoming.received_bytes() < total_bytes {
                let offset = incoming.received_bytes();
                let bytes = snapshot.read(files, offset, CHUNK_BYTES, IoClass::Flush).await.unwrap();
                incoming.push(&bytes).unwrap();
                writer.write(offset, bytes).await?;
                if incoming.received_bytes().is_multiple_of(4 * CHUNK_BYTES as u64) {
                    writer.sync().await?;
                }
            }
            writer.finish(total_bytes).await?;
            self.output.sync_names().await?;
            let head = incoming.finish().unwrap();
            let received = Version::default().apply(&head.change(named.number()), self.manifest.files());
            verify(&self.reader, &received.unwrap(), IoClass::Flush, &NoPace).await?;
            Ok::<_, Error>((named, head))
        })?;
        let kind = EditKind::Install { seal: head.seal().clone(), change: head.change(named.number()) };
        self.commit(vec![(group, kind)])?;
        drop(named);
        self.delete_unnamed()
    }

    /// Receives what is missing of a snapshot into a file of its own, and installs the snapshot.
    pub fn receive_rest(
        &mut self,
        group: GroupId,
        snapshot: &OutgoingSnapshot,
        files: &Files<TestDisk>,
        parts: &mut ReceivedParts,
        kept: &mut Vec<Rc<NamedFile>>,
    ) -> u64 {
        let mut incoming = IncomingSnapshot::new(group, snapshot.total_bytes(), HEAD_BYTES_MAX);
        while incoming.head().is_none() {
            let bytes =
                block_on(snapshot.read(files, incoming.received_bytes(), CHUNK_BYTES, IoClass::Flush)).unwrap();
            incoming.push(&bytes).unwrap();
        }
        let head = incoming.into_head().unwrap();
        let missing = parts.missing(&head);
        let bytes: u64 = missing.iter().map(|range| range.len).sum();
        block_on(async {
            let (named, writer) = self.output.create_raw(bytes, IoClass::Flush).await.unwrap();
            let mut at = 0;
            for range in missing {
                let len = usize::try_from(range.len).unwrap();
                let read = snapshot.read(files, range.offset, len, IoClass::Flush).await.unwrap();
                writer.write(at, read).await.unwrap();
                at += range.len;
            }
            writer.finish(bytes).await.unwrap();
            self.output.sync_names().await.unwrap();
            parts.received(&head, named.number());
            kept.push(named);
        });
        assert!(parts.missing(&head).is_empty());
        let change = parts.change(&head).unwrap();
        self.commit(vec![(group, EditKind::Install { seal: head.seal().clone(), change })]).unwrap();
        bytes
    }

    pub fn new_generation(&mut self, group: GroupId, time_ms: u64) -> Result<(), Error> {
        let seal = self.seal(group, time_ms, 1);
        self.commit(vec![(group, EditKind::NewGeneration { seal })])?;
        self.delete_unnamed()
    }

    pub fn drop_group(&mut self, group: GroupId) -> Result<(), Error> {
        if self.manifest.group(group).is_some() {
            self.commit(vec![(group, EditKind::Drop)])?;
        }
        self.delete_unnamed()
    }

    /// Ends a file if it is to take no more tables.
    fn finish_if(
        &self,
        file: Option<TableFile<TestDisk>>,
        is_full: impl Fn(&TableFile<TestDisk>) -> bool,
    ) -> Result<Option<TableFile<TestDisk>>, Error> {
        match file {
            Some(file) if is_full(&file) => block_on(file.finish()).map(|()| None),
            file => Ok(file),
        }
    }

    fn write(
        &self,
        batch: &Batch,
        file: Option<TableFile<TestDisk>>,
    ) -> Result<(WrittenRun, Option<TableFile<TestDisk>>), Error> {
        block_on(async {
            let mut writer = RunWriter::new(Rc::clone(&self.output), NoPace, IoClass::Flush, file);
            let mut ranges = batch.ranges.iter().map(|(from, to)| KeyRange { from: from.clone(), to: to.clone() });
            let mut range = ranges.next();
            for (key, row) in &batch.rows {
                while let Some(due) = range.take_if(|range| range.from <= *key) {
                    writer.delete_range(&due).await?;
                    range = ranges.next();
                }
                writer.push(StoredRow { key, content: content(row) }).await?;
            }
            for due in range.into_iter().chain(ranges) {
                writer.delete_range(&due).await?;
            }
            writer.finish().await
        })
    }

    /// The merge that a group needs, of its newer runs alone if it is for their number.
    pub fn upper_task(&self, group: GroupId) -> Option<MergeTask> {
        let time_ms = self.manifest.group(group)?.seal.time_ms;
        pick(&self.version(group), &MergeSettings { oldest_ratio: 0, ..self.merges }, time_ms)
    }

    /// The merge that a group needs, or one of all its runs.
    pub fn task(&self, group: GroupId, all: bool) -> Option<MergeTask> {
        let version = self.version(group);
        let time_ms = self.manifest.group(group)?.seal.time_ms;
        if all { MergeTask::all(&version, &self.merges) } else { pick(&version, &self.merges, time_ms) }
    }

    /// Merges runs of a group. Returns heads of collections that have expired.
    pub fn merge(&mut self, group: GroupId, task: &MergeTask) -> Result<Vec<Vec<u8>>, Error> {
        let version = self.version(group);
        let time_ms = self.manifest.group(group).unwrap().seal.time_ms;
        let policy = RowPolicy { time_ms, is_oldest: task.is_oldest, is_single_row };
        let merged = block_on(execute(&self.reader, &self.output, &version, task, policy, &NoPace))?;
        self.commit(vec![(group, EditKind::Merge { change: merged.change.clone() })])?;
        let expired = merged.expired.clone();
        drop((merged, version));
        self.delete_unnamed()?;
        Ok(expired)
    }

    /// A row, with the bytes of its value wherever they lie.
    pub fn get(&self, group: GroupId, key: &[u8]) -> Result<Option<ModelPut>, Error> {
        let version = self.version(group);
        let Some(found) = block_on(self.reader.get(&version, key))? else { return Ok(None) };
        let value = match found.value {
            FoundValue::Inline(value) => value,
            FoundValue::Blob(blob) => self.blob(&version, blob, key)?,
        };
        let (value_type, expiry_ms) = (found.value_type, found.expiry_ms);
        Ok(Some(ModelPut { value_type, expiry_ms, value: ModelValue::Inline(value) }))
    }

    fn blob(&self, version: &Version, blob: BlobRef, key: &[u8]) -> Result<Vec<u8>, Error> {
        let bytes = block_on(self.reader.blob(version, blob, key, IoClass::Foreground))?;
        let value = bytes.record().and_then(|record| record.value().map(<[u8]>::to_vec));
        value.map_err(|source| self.reader.damaged_blob(version, blob, source))
    }

    fn row(&self, version: &Version, row: StoredRow<'_>) -> Result<ModelRow, Error> {
        let Content::Put(put) = row.content else { return Ok(None) };
        let value = match put.value {
            Value::Inline(value) => value.to_vec(),
            Value::Blob(blob) => self.blob(version, blob, row.key)?,
        };
        let (value_type, expiry_ms) = (put.value_type, put.expiry_ms);
        Ok(Some(ModelPut { value_type, expiry_ms, value: ModelValue::Inline(value) }))
    }

    /// All rows of a group, from the first to the last or back.
    pub fn scan(&self, group: GroupId, target: Target<'_>) -> Result<Rows, Error> {
        let version = self.version(group);
        let mut cursor = VersionCursor::of_version(&version);
        cursor.seek(target);
        let (mut rows, mut last) = (Rows::new(), None::<Vec<u8>>);
        loop {
            block_on(self.reader.settle(&mut cursor))?;
            let Some(row) = cursor.row() else { return Ok(rows) };
            let ascends =
                last.is_none_or(
                    |last| if target.is_back() { last.as_slice() > row.key } else { last.as_slice() < row.key },
                );
            assert!(ascends, "rows come in order");
            if let Some(put) = self.row(&version, row)? {
                rows.insert(row.key.to_vec(), put);
            }
            last = Some(row.key.to_vec());
            if target.is_back() { cursor.prev() } else { cursor.next() }
        }
    }

    /// Keys with a value, or none beside the rows: the one that a cursor finds, and those behind each of some steps, back or
    /// not.
    pub fn walk(
        &self,
        group: GroupId,
        target: Target<'_>,
        steps: impl Iterator<Item = bool>,
    ) -> Result<Vec<Option<Vec<u8>>>, Error> {
        let mut cursor = VersionCursor::of_version(&self.version(group));
        let mut keys = Vec::new();
        cursor.seek(target);
        for back in std::iter::once(target.is_back()).chain(steps) {
            if !keys.is_empty() {
                if back { cursor.prev() } else { cursor.next() }
            }
            loop {
                block_on(self.reader.settle(&mut cursor))?;
                match cursor.row() {
                    Some(row) if row.content == Content::Tombstone && back => cursor.prev(),
                    Some(row) if row.content == Content::Tombstone => cursor.next(),
                    _ => break,
                }
            }
            keys.push(cursor.row().map(|row| row.key.to_vec()));
        }
        Ok(keys)
    }

    /// All live rows of a group at a time, as a start loads them.
    pub fn scan_live(&self, group: GroupId, time_ms: u64) -> Result<Rows, Error> {
        let settings = ScanSettings { class: IoClass::Flush, time_ms, is_single_row };
        let mut scan = Scan::new(&self.reader, self.version(group), settings);
        let mut rows = Rows::new();
        block_on(async {
            while let Some(row) = scan.next(&NoPace).await? {
                assert!(rows.last_key_value().is_none_or(|(last, _)| last.as_slice() < row.key), "rows ascend");
                let (value_type, expiry_ms) = (row.value_type, row.expiry_ms);
                let value = ModelValue::Inline(row.value.to_vec());
                rows.insert(row.key.to_vec(), ModelPut { value_type, expiry_ms, value });
            }
            Ok(rows)
        })
    }

    /// Checks all bytes of a group.
    pub fn verify(&self, group: GroupId) -> Result<Verified, Error> {
        block_on(verify(&self.reader, &self.version(group), IoClass::Scrub, &NoPace))
    }

    /// Files that are named are there and durable, others are gone or handed out.
    pub fn check_files(&self) {
        let there: Vec<u64> = self.disk.names().iter().filter_map(|name| lsm::files::data_number(name)).collect();
        for (_, state) in self.manifest.state().groups() {
            let tables = state.version.tables().map(|table| table.file.number());
            let blobs = state.version.blobs().map(|live| live.blob.file.number());
            tables.chain(blobs).for_each(|number| assert!(there.contains(&number), "file {number} is missing"));
        }
        let unnamed = there.iter().filter(|number| !self.manifest.files().is_named(**number)).count();
        assert!(unnamed <= self.manifest.files().unnamed_count(), "a file that nobody names is forgotten");
    }
}

fn change_of(written: &WrittenRun, age: u64) -> Change {
    let mut change = Change { blobs: written.blobs.clone(), ..Change::default() };
    if !written.tables.is_empty() {
        change.added.push(NewRun { age, level: 0, tables: written.tables.clone() });
    }
    change
}
