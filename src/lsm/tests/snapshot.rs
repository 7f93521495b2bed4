//! Snapshots between two stores: whatever one holds the other holds once it has received it, and what is damaged on the
//! way is refused.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use std::rc::Rc;

use futures_lite::future::block_on;
use host::IoClass;
use lsm::FormatError;
use lsm::read::Target;
use lsm::snapshot::{HEAD_BYTES_MAX, IncomingSnapshot, OutgoingSnapshot, Piece, ReceivedParts, SnapshotHead};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::disk::TestDisk;
use support::store::*;
use support::*;
use types::GroupId;

const GROUP: GroupId = GroupId(1);
const OTHER_STORE: u64 = 0x07E5;

fn value() -> impl Strategy<Value = ModelRow> {
    let len = prop_oneof![3 => 0..60_usize, 2 => BLOB_BYTES..9_000_usize];
    let put = (0..4_u8, len, any::<u8>()).prop_map(|(value_type, len, byte)| ModelPut {
        value_type,
        expiry_ms: None,
        value: ModelValue::Inline(vec![byte; len]),
    });
    proptest::option::weighted(0.8, put)
}

fn batch() -> impl Strategy<Value = Batch> {
    let range = proptest::option::of((key(), key()).prop_filter("it is not empty", |(from, to)| from < to));
    (btree_map(key(), value(), 0..20), range)
        .prop_map(|(rows, range)| Batch { rows, ranges: range.into_iter().collect() })
}

/// A step of the store that holds the rows.
#[derive(Clone, Debug)]
enum Op {
    Flush(Batch),
    Merge,
    /// The newest is handed over, and the other store goes on.
    HandOver,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![4 => batch().prop_map(Op::Flush), 2 => Just(Op::Merge), 2 => Just(Op::HandOver)]
}

fn scan(store: &Store) -> Rows {
    store.scan(GROUP, Target::First).unwrap()
}

/// A snapshot as a whole.
fn stream(store: &Store, snapshot: &OutgoingSnapshot) -> Vec<u8> {
    let len = usize::try_from(snapshot.total_bytes()).unwrap();
    block_on(snapshot.read(store.reader.files(), 0, len, IoClass::Flush)).unwrap().to_vec()
}

/// What a stream says, told of it in chunks.
fn receive(stream: &[u8], chunk_bytes: usize) -> Result<SnapshotHead, FormatError> {
    let mut incoming = IncomingSnapshot::new(GROUP, stream.len() as u64, HEAD_BYTES_MAX);
    for chunk in stream.chunks(chunk_bytes) {
        incoming.push(chunk)?;
    }
    incoming.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// To and fro, each store going on from what it has received.
    #[test]
    fn what_is_handed_over_is_what_was_there(ops in vec(op(), 1..24)) {
        let disks = [TestDisk::new(), TestDisk::new()];
        let mut stores = [Store::open(&disks[0]).unwrap(), Store::open_as(&disks[1], OTHER_STORE).unwrap()];
        let (mut rows, mut at) = (Rows::new(), 0);
        for (op, time_ms) in ops.into_iter().zip(1..) {
            match op {
                Op::Flush(batch) => {
                    batch.apply(&mut rows);
                    stores[at].flush(&[(GROUP, batch)], time_ms).unwrap();
                }
                Op::Merge => {
                    if let Some(task) = stores[at].task(GROUP, true) {
                        stores[at].merge(GROUP, &task).unwrap();
                    }
                }
                Op::HandOver => {
                    let (snapshot, files) = (stores[at].snapshot(GROUP, GROUP), Rc::clone(stores[at].reader.files()));
                    let seal = stores[at].manifest.group(GROUP).map(|state| state.seal.clone());
                    at = 1 - at;
                    stores[at].receive(GROUP, &snapshot, &files).unwrap();
                    prop_assert_eq!(stores[at].manifest.group(GROUP).unwrap().seal.clone(), seal.unwrap_or_default());
                }
            }
            prop_assert_eq!(&scan(&stores[at]), &rows);
            for (key, put) in &rows {
                prop_assert_eq!(&stores[at].get(GROUP, key).unwrap(), &Some(put.clone()));
            }
            stores[at].check_files();
        }
        let again = Store::open(&disks[at].restart()).unwrap();
        prop_assert_eq!(scan(&again), rows);
    }

    #[test]
    fn a_stream_reads_the_same_however_it_is_cut(batches in vec(batch(), 1..5), cuts in vec(1..20_000_usize, 1..8)) {
        let mut store = Store::open(&TestDisk::new()).unwrap();
        for batch in batches {
            store.flush(&[(GROUP, batch)], 1).unwrap();
        }
        let snapshot = store.snapshot(GROUP, GROUP);
        let whole = stream(&store, &snapshot);
        let (mut at, mut cuts) = (0, cuts.into_iter().cycle());
        while let Some(piece) = snapshot.locate(at as u64, cuts.next().unwrap()) {
            let len = match piece {
                Piece::Head(bytes) => {
                    prop_assert_eq!(bytes, &whole[at..at + bytes.len()]);
                    bytes.len()
                }
                Piece::File { number, offset, len } => {
                    let read = block_on(store.reader.files().read(number, offset, len, IoClass::Flush)).unwrap();
                    prop_assert_eq!(read.bytes(), &whole[at..at + len]);
                    len
                }
            };
            prop_assert!(len > 0);
            at += len;
        }
        prop_assert_eq!(at, whole.len());
        let head = receive(&whole, whole.len()).unwrap();
        for cut in cuts.take(8) {
            prop_assert_eq!(receive(&whole, cut), Ok(head.clone()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Each brings what is new since the one before, whatever was flushed and merged meanwhile.
    #[test]
    fn rounds_bring_what_is_there_and_nothing_twice(ops in vec(op(), 1..24)) {
        let disks = [TestDisk::new(), TestDisk::new()];
        let (mut from, mut to) = (Store::open(&disks[0]).unwrap(), Store::open_as(&disks[1], OTHER_STORE).unwrap());
        let (mut parts, mut kept, mut rows) = (ReceivedParts::default(), Vec::new(), Rows::new());
        for (op, time_ms) in ops.into_iter().zip(1..) {
            match op {
                Op::Flush(batch) => {
                    batch.apply(&mut rows);
                    from.flush(&[(GROUP, batch)], time_ms).unwrap();
                }
                Op::Merge => {
                    if let Some(task) = from.task(GROUP, true) {
                        from.merge(GROUP, &task).unwrap();
                    }
                }
                Op::HandOver => {
                    let (snapshot, files) = (from.snapshot(GROUP, GROUP), Rc::clone(from.reader.files()));
                    to.receive_rest(GROUP, &snapshot, &files, &mut parts, &mut kept);
                    prop_assert_eq!(&scan(&to), &rows);
                    let again = to.receive_rest(GROUP, &snapshot, &files, &mut parts, &mut kept);
                    prop_assert_eq!(again, 0);
                }
            }
        }
        drop((parts, kept));
        let received = scan(&to);
        to.delete_unnamed().unwrap();
        to.check_files();
        prop_assert_eq!(scan(&Store::open(&disks[1].restart()).unwrap()), received);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, failure_persistence: None, ..ProptestConfig::default() })]

    /// The receiver dies in every change of the disk once.
    #[test]
    fn a_crash_leaves_what_was_or_what_was_received(
        before in vec(batch(), 0..3),
        sent in vec(batch(), 1..4),
        dice: u64,
    ) {
        let mut sender = Store::open_as(&TestDisk::new(), OTHER_STORE).unwrap();
        let (mut old, mut new) = (Rows::new(), Rows::new());
        for batch in sent {
            batch.apply(&mut new);
            sender.flush(&[(GROUP, batch)], 1).unwrap();
        }
        before.iter().for_each(|batch| batch.apply(&mut old));
        let snapshot = sender.snapshot(GROUP, GROUP);
        for crash_at in 1.. {
            let disk = TestDisk::new();
            let mut store = Store::open(&disk).unwrap();
            before.iter().for_each(|batch| store.flush(&[(GROUP, batch.clone())], 1).unwrap());
            disk.crash_at(disk.changes() + crash_at, dice.rotate_left(crash_at as u32));
            let received = store.receive(GROUP, &snapshot, sender.reader.files());
            if !disk.has_crashed() {
                received.unwrap();
                break;
            }
            let disk = disk.restart();
            let mut store = Store::open(&disk).unwrap();
            let found = scan(&store);
            let is_new = store.manifest.group(GROUP).is_some_and(|state| state.installed > 0);
            prop_assert!(received.is_err() || is_new, "what was acknowledged is there");
            prop_assert_eq!(&found, if is_new { &new } else { &old });
            store.check_files();
            store.delete_unnamed().unwrap();
            store.receive(GROUP, &snapshot, sender.reader.files()).unwrap();
            prop_assert_eq!(&scan(&store), &new);
            prop_assert_eq!(&scan(&Store::open(&disk.restart()).unwrap()), &new);
        }
    }
}

/// A store with some runs, of which some rows lie in blob files and some tables have been merged in part.
fn some_store() -> Store {
    let mut store = Store::open(&TestDisk::new()).unwrap();
    let key = |i: u32| [&[0, 0, b'h'][..], format!("{i:04}").as_bytes()].concat();
    for from in 0..3 {
        let rows =
            (from * 10..from * 10 + 40).map(|i| (key(i), put(&vec![i as u8; if i % 7 == 0 { 500 } else { 20 }])));
        let ranges = vec![(key(from * 10 + 2), key(from * 10 + 4))];
        store.flush(&[(GROUP, Batch { rows: rows.collect(), ranges })], 1).unwrap();
    }
    let task = store.task(GROUP, true).unwrap();
    store.merge(GROUP, &task).unwrap();
    assert!(
        store.version(GROUP).runs().iter().any(|run| run.is_trimmed()) && store.version(GROUP).blobs().count() > 0
    );
    store
}

fn head_bytes(snapshot: &OutgoingSnapshot) -> usize {
    match snapshot.locate(0, usize::MAX) {
        Some(Piece::Head(head)) => head.len(),
        other => panic!("a stream begins with its head, not {other:?}"),
    }
}

#[test]
fn every_flipped_bit_of_a_head_is_noticed() {
    let store = some_store();
    let snapshot = store.snapshot(GROUP, GROUP);
    let mut bytes = stream(&store, &snapshot);
    receive(&bytes, CHUNK_BYTES).unwrap();
    for at in 0..head_bytes(&snapshot) {
        bytes[at] ^= 1 << (at % 8);
        assert!(receive(&bytes, CHUNK_BYTES).is_err(), "byte {at}");
        bytes[at] ^= 1 << (at % 8);
    }
    receive(&bytes, CHUNK_BYTES).unwrap();
}

#[test]
fn no_shorter_and_no_longer_stream_is_taken() {
    let store = some_store();
    let snapshot = store.snapshot(GROUP, GROUP);
    let bytes = stream(&store, &snapshot);
    let lens = (0..head_bytes(&snapshot)).step_by(61).chain((0..bytes.len()).step_by(4_096));
    for len in lens {
        assert!(receive(&bytes[..len], CHUNK_BYTES).is_err(), "{len} bytes as if they were all");
        let mut incoming = IncomingSnapshot::new(GROUP, bytes.len() as u64, HEAD_BYTES_MAX);
        incoming.push(&bytes[..len]).unwrap();
        assert_eq!(incoming.finish(), Err(FormatError::Truncated), "{len} bytes");
    }
    let mut incoming = IncomingSnapshot::new(GROUP, bytes.len() as u64, HEAD_BYTES_MAX);
    incoming.push(&bytes).unwrap();
    assert!(matches!(incoming.push(&[0]), Err(FormatError::Malformed(_))));
}

#[test]
fn snapshots_of_other_groups_and_long_heads_are_refused() {
    let store = some_store();
    let snapshot = store.snapshot(GROUP, GROUP);
    let bytes = stream(&store, &snapshot);
    let push = |group, total_bytes, head_bytes_max| {
        IncomingSnapshot::new(group, total_bytes, head_bytes_max).push(&bytes).err()
    };
    let (total_bytes, head_bytes) = (bytes.len() as u64, head_bytes(&snapshot));
    assert_eq!(push(GROUP, total_bytes, head_bytes), None);
    assert!(matches!(push(GroupId(2), total_bytes, head_bytes), Some(FormatError::Malformed(_))));
    assert!(matches!(push(GROUP, total_bytes + 4_096, head_bytes), Some(FormatError::Malformed(_))));
    let too_long = FormatError::TooLong { bytes: head_bytes as u64, bytes_max: head_bytes as u64 - 1 };
    assert_eq!(push(GROUP, total_bytes, head_bytes - 1), Some(too_long));
}

#[test]
fn a_group_without_tables_is_handed_over() {
    let mut store = Store::open(&TestDisk::new()).unwrap();
    store.new_generation(GROUP, 5).unwrap();
    let snapshot = store.snapshot(GROUP, GROUP);
    assert_eq!(snapshot.total_bytes(), 4_096, "a head and nothing else");
    let mut other = Store::open_as(&TestDisk::new(), OTHER_STORE).unwrap();
    other.receive(GROUP, &snapshot, store.reader.files()).unwrap();
    assert_eq!(other.manifest.group(GROUP).unwrap().seal.generation, 1);
    assert!(scan(&other).is_empty());
    other.check_files();
}

#[test]
fn a_sender_holds_on_to_the_files_until_it_is_done() {
    let mut store = some_store();
    let expected = scan(&store);
    let snapshot = store.snapshot(GROUP, GROUP);
    store.new_generation(GROUP, 9).unwrap();
    assert!(scan(&store).is_empty());
    let mut other = Store::open_as(&TestDisk::new(), OTHER_STORE).unwrap();
    other.receive(GROUP, &snapshot, store.reader.files()).unwrap();
    assert_eq!(scan(&other), expected);
    drop(snapshot);
    store.delete_unnamed().unwrap();
    assert!(!store.disk.names().iter().any(|name| lsm::files::data_number(name).is_some()));
}
