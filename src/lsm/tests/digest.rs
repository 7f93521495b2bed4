//! Digests of versions: equal for equal rows, whatever files they lie in, and different for any other.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod support;

use futures_lite::future::block_on;
use host::IoClass;
use lsm::digest::{Digest, Leaves, digest};
use lsm::write::WriteSettings;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use support::disk::TestDisk;
use support::store::*;
use support::*;
use types::{GroupId, Slot};

const GROUP: GroupId = GroupId(1);
const LEAVES_COUNT: usize = 16;

fn leaves() -> Leaves {
    let slot = |number| Slot::new(number).unwrap();
    Leaves::of(&[(slot(0), slot(700))], LEAVES_COUNT)
}

fn digest_at(store: &Store, time_ms: u64) -> Digest {
    let version = store.version(GROUP);
    let what = (time_ms, is_single_row as fn(u8) -> bool);
    block_on(digest(&store.reader, &version, &leaves(), what, (IoClass::Scrub, &NoPace))).unwrap()
}

/// Rows written in one flush into a store of other sizes.
fn written_at_once(rows: &Rows, time_ms: u64) -> Store {
    let mut store = Store::open_as(&TestDisk::new(), STORE + 1).unwrap();
    store.set_output(WriteSettings::default());
    let rows = rows.iter().map(|(key, put)| (key.clone(), Some(put.clone()))).collect();
    store.flush(&[(GROUP, Batch { rows, ranges: Vec::new() })], time_ms).unwrap();
    store
}

fn value() -> impl Strategy<Value = ModelRow> {
    let value = prop_oneof![4 => 0..60_usize, 1 => BLOB_BYTES - 1..BLOB_BYTES + 2, 1 => 1_000..9_000_usize];
    let put = (0..3_u8, proptest::option::weighted(0.3, 0..60_u64), value, any::<u8>());
    let put = put.prop_map(|(value_type, expiry_ms, len, byte)| ModelPut {
        value_type,
        expiry_ms,
        value: ModelValue::Inline(vec![byte; len]),
    });
    proptest::option::weighted(0.75, put)
}

fn batches() -> impl Strategy<Value = Vec<(Batch, bool)>> {
    let batch = btree_map(key(), value(), 0..25).prop_map(|rows| Batch { rows, ranges: Vec::new() });
    vec((batch, any::<bool>()), 1..6)
}

/// Any byte of a row that differs.
fn altered(put: &ModelPut, how: u8) -> ModelPut {
    let ModelValue::Inline(value) = &put.value else { panic!("values of this test are inline") };
    let mut value = value.clone();
    let mut put = put.clone();
    match (how % 4, value.last_mut()) {
        (0, Some(last)) => *last ^= 1,
        (1, _) => value.push(0),
        (2, _) => put.value_type = if put.value_type == 0 { 1 } else { 0 },
        _ => put.expiry_ms = Some(put.expiry_ms.map_or(1 << 40, |expiry| expiry + 1_000)),
    }
    ModelPut { value: ModelValue::Inline(value), ..put }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Flushes, merges and one flush of the outcome give the same digest at every time; what has expired by then has no part in it.
    #[test]
    fn files_make_no_difference(batches in batches(), time_ms in 0..60_u64) {
        let mut store = Store::open(&TestDisk::new()).unwrap();
        let mut rows = Rows::new();
        for (batch, merges) in batches {
            store.flush(&[(GROUP, batch.clone())], time_ms).unwrap();
            batch.apply(&mut rows);
            if merges && let Some(task) = store.task(GROUP, true) {
                store.merge(GROUP, &task).unwrap();
            }
        }
        let found = digest_at(&store, time_ms);
        rows.retain(|key, put| key[2] != b'h' || put.expiry_ms.is_none_or(|expiry| expiry > time_ms));
        prop_assert_eq!(found.rows, rows.len() as u64);
        prop_assert_eq!(&digest_at(&written_at_once(&rows, time_ms), time_ms), &found);
    }

    /// One row more, less or altered is seen in one leaf.
    #[test]
    fn any_other_row_makes_a_difference(
        rows in btree_map(key(), value(), 1..40), which in any::<prop::sample::Index>(), how in any::<u8>(),
    ) {
        let rows: Rows = rows.into_iter().filter_map(|(key, row)| Some((key, row?))).collect();
        prop_assume!(!rows.is_empty());
        let (key, put) = rows.iter().nth(which.index(rows.len())).map(|(key, put)| (key.clone(), put.clone())).unwrap();
        let mut others = rows.clone();
        if how.is_multiple_of(5) { others.remove(&key) } else { others.insert(key, altered(&put, how)) };
        let (one, other) = (digest_at(&written_at_once(&rows, 0), 0), digest_at(&written_at_once(&others, 0), 0));
        let is_seen = put.expiry_ms != Some(0);
        let differing = one.leaves.iter().zip(&other.leaves).filter(|(one, other)| one != other).count();
        // What expires at once counts as not there.
        prop_assert!(differing == 1 || !is_seen && differing <= 1, "{} leaves differ", differing);
    }
}

/// A long value is hashed to its end.
#[test]
fn the_last_byte_of_a_long_value_counts() {
    let of = |last: u8| {
        let mut value = vec![7; 300_000];
        value.push(last);
        let put = ModelPut { value_type: 0, expiry_ms: None, value: ModelValue::Inline(value) };
        digest_at(&written_at_once(&Rows::from([(b"\0\x01hkey".to_vec(), put)]), 0), 0)
    };
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
    assert_eq!(of(1).rows, 1);
}
