//! A store of four groups: runs of two ages, values in blob files, what is deleted, what was received from another
//! replica, and files that nothing names.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use futures_lite::future::block_on;
use host::IoClass;
use lsm::files::{Files, data_name};
use lsm::manifest::{Edit, EditKind, Manifest, ManifestSettings, Seal};
use lsm::snapshot::{HEAD_BYTES_MAX, IncomingSnapshot, OutgoingSnapshot};
use lsm::table::stored_row::head_key;
use lsm::table::{Content, KeyRange, Put, StoredRow, TableSettings, Value};
use lsm::version::{Change, NewRun};
use lsm::write::{Output, Pace, RunWriter, WriteSettings, WrittenRun};
use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId, Slot};
use wire::{Member, Membership};

use super::disk::Host;

const STORE: u64 = 0xC0_FFEE;
const CHUNK_BYTES: usize = 16 << 10;
const TIME_MS: u64 = 1_795_976_400_000;

struct NoPace;

impl Pace for NoPace {
    async fn pause(&self, _: usize) {}
}

/// A row to be written: `None` deletes.
type Row = Option<(Option<u64>, Vec<u8>)>;

/// The row key of a key's head. The hash is any that is the same each time.
pub fn head(key: &str) -> Vec<u8> {
    let hash = key.bytes().fold(7_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3));
    let mut row_key = Vec::new();
    head_key(Slot::of_key(key.as_bytes()), hash >> 16, key.as_bytes(), &mut row_key);
    row_key
}

struct Writer {
    files: Rc<Files<Host>>,
    manifest: Manifest<Host>,
    output: Rc<Output<Host>>,
}

impl Writer {
    fn flush(&mut self, group: u32, index: u64, rows: &BTreeMap<Vec<u8>, Row>, range: Option<KeyRange>) {
        let written = block_on(self.write(rows, range));
        let place = |node| CoreAddr { node: NodeId(node), core: CoreId(0) };
        let member = |node: u32| Member { id: ReplicaId(node.into()), place: place(node) };
        let membership = Membership::of_voters([member(1), member(2), member(3)]).encode().to_vec();
        let seal = Seal { index, term: 2, time_ms: TIME_MS + index, membership, ..Seal::default() };
        let age = self.manifest.group(GroupId(group)).map_or(1, |state| state.version.next_age());
        let added = vec![NewRun { age, level: 0, tables: written.tables.clone() }];
        let change = Change { removed: Vec::new(), added, blobs: written.blobs.clone() };
        block_on(self.commit(group, EditKind::Flush { seal, change }));
    }

    /// Takes over what one group holds for another, as from another replica: all of it lies in one file then.
    async fn receive(&mut self, from: u32, to: u32) {
        let state = self.manifest.group(GroupId(from)).unwrap();
        let snapshot = OutgoingSnapshot::new(GroupId(to), &state.seal, Rc::clone(&state.version)).unwrap();
        let total_bytes = snapshot.total_bytes();
        let mut incoming = IncomingSnapshot::new(GroupId(to), total_bytes, HEAD_BYTES_MAX);
        let (named, writer) = self.output.create_raw(total_bytes, IoClass::Flush).await.unwrap();
        while incoming.received_bytes() < total_bytes {
            let offset = incoming.received_bytes();
            let bytes = snapshot.read(&self.files, offset, CHUNK_BYTES, IoClass::Flush).await.unwrap();
            incoming.push(&bytes).unwrap();
            writer.write(offset, bytes).await.unwrap();
        }
        writer.finish(total_bytes).await.unwrap();
        let head = incoming.finish().unwrap();
        let kind = EditKind::Install { seal: head.seal().clone(), change: head.change(named.number()) };
        self.commit(to, kind).await;
    }

    async fn commit(&mut self, group: u32, kind: EditKind) {
        let edit = Edit::Group { group: GroupId(group), replica: ReplicaId(1), kind };
        self.manifest.commit(vec![edit]).await.unwrap();
    }

    async fn write(&self, rows: &BTreeMap<Vec<u8>, Row>, range: Option<KeyRange>) -> WrittenRun {
        let mut writer = RunWriter::new(Rc::clone(&self.output), NoPace, IoClass::Flush, None);
        if let Some(range) = range {
            writer.delete_range(&range).await.unwrap();
        }
        for (key, row) in rows {
            let put = |(expiry_ms, value): &'_ (Option<u64>, Vec<u8>)| (*expiry_ms, value.clone());
            let held = row.as_ref().map(put);
            let content = match &held {
                Some((expiry_ms, value)) => {
                    Content::Put(Put { value_type: 0, expiry_ms: *expiry_ms, value: Value::Inline(value) })
                }
                None => Content::Tombstone,
            };
            writer.push(StoredRow { key, content }).await.unwrap();
        }
        let (written, file) = writer.finish().await.unwrap();
        if let Some(file) = file {
            file.finish().await.unwrap();
        }
        written
    }
}

/// Rows of keys with a common beginning.
fn rows(name: &str, numbers: std::ops::Range<u32>, row: impl Fn(u32) -> Row) -> BTreeMap<Vec<u8>, Row> {
    numbers.map(|number| (head(&format!("{name}:{number}")), row(number))).collect()
}

/// Writes it.
pub fn write(dir: &Path) {
    let host = Host::default();
    let files = Rc::new(block_on(Files::open(host, dir.to_owned())).unwrap());
    let settings = ManifestSettings { bytes_min: 32 << 10 };
    let manifest = block_on(Manifest::open(Rc::clone(&files), settings, STORE)).unwrap();
    let table =
        TableSettings { block_bytes: 700, leaf_blocks_count_max: 3, filter_bits_per_row: 10, chunk_bytes: 4_096 };
    let settings = WriteSettings { table, ..WriteSettings::default() };
    let output = Rc::new(Output::new(Rc::clone(&files), manifest.files().clone(), manifest.store(), settings));
    let mut writer = Writer { files, manifest, output };
    let value = |number: u32| Some((None, vec![b'a' + number as u8 % 26; 30]));
    let mut first = rows("user", 0..60, value);
    first.extend(rows("blob", 0..4, |number| Some((None, vec![number as u8; 20_000 + number as usize * 40_000]))));
    first.insert(head("a \"quoted\"\nkey\x01"), Some((Some(TIME_MS + 5), b"expires".to_vec())));
    writer.flush(1, 31, &first, None);
    let mut second = rows("user", 0..10, value);
    second.extend(rows("user", 10..20, |_| None));
    second.extend(rows("blob", 1..2, |_| None));
    let range = KeyRange { from: vec![0, 0], to: vec![0, 8] };
    writer.flush(1, 40, &second, Some(range));
    writer.flush(2, 2, &rows("order", 0..15, value), None);
    block_on(writer.receive(1, 4));
    writer.flush(3, 6, &rows("item", 0..3, value), None);
    drop(writer);
    std::fs::copy(dir.join(data_name(0)), dir.join(data_name(99))).unwrap();
    std::fs::write(dir.join("000000000100.data.tmp"), "begun").unwrap();
}
