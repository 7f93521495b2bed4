//! Heads of snapshots: any bytes, also under checksums made to fit, give a head whose parts fill the stream, or an error.

use lsm::snapshot::{HEAD_BYTES_MAX, IncomingSnapshot, OutgoingSnapshot, Piece, SnapshotHead};
use lsm::table::{Content, Put, StoredRow, TableBuilder, TableSettings, Value};
use lsm::version::{Change, FileSet, NewRun, NewTable, Version};
use lsm::{FileId, FormatError, TableId};
use types::GroupId;

use crate::input::{Input, place};

const GROUP: GroupId = GroupId(3);
const BOUNDARY: usize = 4_096;
const FIXED_BYTES: usize = 40;
const EDITS_COUNT_MAX: usize = 6;

/// The first byte says what the rest is.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => drop(receive(rest, rest.len() as u64)),
        1 => body(rest.to_vec(), None),
        _ => edited(Input::new(rest)),
    }
}

/// What a stream of so many bytes says whose beginning has come: the same however it is cut.
fn receive(begun: &[u8], total_bytes: u64) -> Result<Option<SnapshotHead>, FormatError> {
    let of = |chunk_bytes| {
        let mut incoming = IncomingSnapshot::new(GROUP, total_bytes, HEAD_BYTES_MAX);
        for chunk in begun.chunks(chunk_bytes) {
            incoming.push(chunk)?;
            assert!(incoming.held_bytes() <= 2 * begun.len() + BOUNDARY, "no more is held than has come");
        }
        Ok(incoming.head().cloned())
    };
    let found = of(begun.len().max(1));
    assert_eq!(of(7), found);
    found
}

/// A head of this body under checksums that fit, whose stream has the length it says, or else the one that its parts have.
fn body(body: Vec<u8>, total_bytes: Option<u64>) {
    let head_bytes = (FIXED_BYTES + body.len()).next_multiple_of(BOUNDARY);
    let total_bytes = total_bytes.unwrap_or(head_bytes as u64);
    let mut bytes = [b"CORASNP2".as_slice(), &[0; 8], &total_bytes.to_le_bytes(), &GROUP.0.to_le_bytes()].concat();
    bytes.extend_from_slice(&(body.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend_from_slice(&body);
    bytes.resize(head_bytes, 0);
    let Ok(Some(head)) = receive(&bytes, total_bytes) else { return };
    assert_eq!(head.total_bytes(), total_bytes);
    assert_eq!(head.encode(), bytes, "a head has one form");
    let change = head.change(9);
    let version = Version::default().apply(&change, &FileSet::default()).expect("it was checked");
    let tables = version.tables().map(|table| (table.base, table.info.len));
    let blobs = version.blobs().map(|live| (live.blob.base, live.blob.info.len));
    let mut end = head_bytes as u64;
    for (base, len) in tables.chain(blobs) {
        assert_eq!(base, end, "a part begins where the one before ends");
        end += len;
    }
    assert_eq!(end, total_bytes);
}

/// A version of some runs, and the bytes of its snapshot's head.
fn sound(runs_count: u8) -> (Vec<u8>, u64) {
    let mut change = Change::default();
    for number in 0..u64::from(runs_count) {
        let id = TableId { file: FileId { store: 1, number }, offset: 0 };
        let mut builder = TableBuilder::new(id, TableSettings::default());
        let put = Put { value_type: 0, expiry_ms: Some(number), value: Value::Inline(b"value") };
        builder.push(StoredRow { key: &[0, number as u8, b'h'], content: Content::Put(put) });
        let (_, info) = builder.finish();
        let tables = vec![NewTable { info, file: number, base: 0, from: Vec::new() }];
        change.added.push(NewRun { age: number + 1, level: 0, tables });
    }
    let version = Version::default().apply(&change, &FileSet::default()).expect("a sound change");
    let snapshot = OutgoingSnapshot::new(GROUP, &Default::default(), version.into()).expect("it is short");
    let Some(Piece::Head(head)) = snapshot.locate(0, usize::MAX) else { panic!("a stream begins with its head") };
    (head.to_vec(), snapshot.total_bytes())
}

/// A head whose sender was wrong or hostile: its body is edited, and its checksums fit.
fn edited(mut input: Input<'_>) {
    let (head, total_bytes) = sound(input.byte() % 4);
    let len = u32::from_le_bytes(*head[28..].first_chunk().expect("a head is longer")) as usize;
    let mut bytes = head[FIXED_BYTES..FIXED_BYTES + len].to_vec();
    for _ in 0..usize::from(input.byte()) % EDITS_COUNT_MAX {
        let at = place(input.pair(), bytes.len());
        match input.byte() % 3 {
            0 => bytes[at] = input.byte(),
            1 => bytes[at] ^= 1 << (input.byte() % 8),
            _ => {
                let len = usize::from(input.byte() % 16);
                let inserted = input.bytes(len).to_vec();
                bytes.splice(at..at, inserted);
            }
        }
    }
    body(bytes, Some(total_bytes));
}
