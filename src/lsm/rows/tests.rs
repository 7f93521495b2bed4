//! Rows are those of a map, whatever is done to them, and every byte is counted.

use std::collections::BTreeMap;

use proptest::prelude::*;
use types::limits::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use super::*;
use crate::rows::segment::ROWS_COUNT_MAX;

/// What a row holds: kind, expiry, value.
type Held = (u8, Option<u64>, Vec<u8>);
type Model = BTreeMap<(u16, Vec<u8>), Held>;

const SLOTS: [u16; 5] = [0, 1, 127, 128, 16_383];

fn slot(number: u16) -> Slot {
    Slot::new(number).expect("a slot")
}

fn held(row: Row<'_>) -> Held {
    (row.kind(), row.expiry_ms(), row.value().to_vec())
}

fn check(rows: &Rows, model: &Model) {
    assert_eq!(rows.count(), model.len());
    assert_eq!(rows.expiring_count(), model.values().filter(|(_, expiry_ms, _)| expiry_ms.is_some()).count());
    rows.tables.check_sets();
    for number in SLOTS {
        let mut last = None;
        let mut next = Some(Hash48::MIN);
        while let Some((segment, behind)) = next.and_then(|hash| rows.tables.segment_at(slot(number), hash)) {
            // SAFETY: the segment has these rows.
            let hashes: Vec<_> = segment.handles().map(|handle| unsafe { handle.row() }.hash()).collect();
            assert!(hashes.iter().min() > last.as_ref() || hashes.is_empty(), "segments are out of order");
            assert!(hashes.iter().all(|hash| Some(*hash) >= next && behind.is_none_or(|behind| *hash < behind)));
            last = hashes.into_iter().max().or(last);
            next = behind;
        }
        let of_slot = model.keys().filter(|(of, _)| *of == number).count();
        assert_eq!((rows.count_in_slot(slot(number)), rows.in_slot(slot(number)).count()), (of_slot, of_slot));
    }
    let seen: Model = rows.iter().map(|(slot, row)| ((slot.number(), row.key().to_vec()), held(row))).collect();
    assert_eq!(&seen, model);
    for ((number, key), expected) in model {
        assert_eq!(rows.get(slot(*number), key).map(held).as_ref(), Some(expected));
    }
}

/// One step on rows and model. What it shows is the same of both.
fn take_step(rows: &mut Rows, model: &mut Model, (step, slot_at, number, len): (u8, usize, u32, usize)) {
    let of = SLOTS[slot_at];
    let key = format!("key{number}").into_bytes();
    let value = vec![number as u8; if len % 50 == 0 { len * 40 } else { len }];
    let expiry_ms = (len % 3 == 0).then_some(len as u64 + 1);
    let content = Content { kind: len as u8 % 4, expiry_ms, value: [&value, b"tail"] };
    let new = (content.kind, expiry_ms, [&value[..], b"tail"].concat());
    let place = (of, key.clone());
    match step {
        0 => {
            let taken = rows.take(slot(of), &key).map(held);
            assert_eq!(taken, model.remove(&place));
        }
        1 | 2 => {
            rows.put(slot(of), &key, &content);
            model.insert(place, new);
        }
        _ => {
            let row = rows.get_mut(slot(of), &key);
            assert_eq!(row.is_some(), model.contains_key(&place));
            let (Some(mut row), Some(expected)) = (row, model.get_mut(&place)) else { return };
            match step {
                3 => {
                    let (at, end) = (len * 3 % 500, len * 3 % 500 + value.len());
                    row.write_at(at, &value);
                    expected.2.resize(expected.2.len().max(end), 0);
                    expected.2[at..end].copy_from_slice(&value);
                }
                4 => {
                    row.set_expiry(expiry_ms);
                    expected.1 = expiry_ms;
                }
                5 => {
                    let end = expected.2.len();
                    row.write_at(end, b"end");
                    expected.2.extend_from_slice(b"end");
                }
                6 => {
                    row.set_value(&value);
                    expected.2 = value;
                }
                _ => {
                    let old = held(row.replace(&content));
                    assert_eq!(old, std::mem::replace(expected, new));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rows_are_those_of_a_map(
        steps in proptest::collection::vec((0u8..8, 0usize..5, 0u32..300, 0usize..400), 1..1_500),
        seed in any::<u64>(),
    ) {
        let (mut rows, mut model) = (Rows::new(seed), BTreeMap::new());
        steps.into_iter().for_each(|step| take_step(&mut rows, &mut model, step));
        check(&rows, &model);
        for (of, key) in model.keys() {
            prop_assert!(rows.take(slot(*of), key).is_some());
        }
        rows.free_taken();
        check(&rows, &BTreeMap::new());
        prop_assert_eq!(rows.tables.slab.used_bytes(), 0);
    }

    #[test]
    fn what_is_removed_all_at_once_is_given_back_a_little_at_a_time(
        steps in proptest::collection::vec((0u8..8, 0usize..5, 0u32..300, 0usize..400), 1..300),
        flushes in any::<bool>(),
    ) {
        let (mut rows, mut model) = (Rows::new(7), BTreeMap::new());
        let empty_bytes = rows.held_bytes();
        steps.iter().for_each(|step| take_step(&mut rows, &mut model, *step));
        if flushes {
            rows.begin_flush();
        }
        rows.clear();
        check(&rows, &BTreeMap::new());
        model.clear();
        steps.iter().for_each(|step| take_step(&mut rows, &mut model, *step));
        check(&rows, &model);
        let mut others = Rows::new(8);
        others.succeed(rows);
        let mut releases_count = 0;
        while others.release_some() {
            releases_count += 1;
        }
        prop_assert!(releases_count > 0);
        prop_assert_eq!(others.held_bytes(), empty_bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sweep_removes_what_has_expired_and_nothing_else(
        steps in proptest::collection::vec((0u8..8, 0usize..5, 0u32..300, 0usize..400), 1..800),
        time_ms in 0u64..400, ahead_ms in 0u64..100, rows_count in 1usize..200,
    ) {
        let (mut rows, mut model) = (Rows::new(7), BTreeMap::new());
        steps.into_iter().for_each(|step| take_step(&mut rows, &mut model, step));
        let expiries = |model: &Model| model.values().filter_map(|(_, expiry_ms, _)| *expiry_ms).collect::<Vec<_>>();
        let all = expiries(&model);
        model.retain(|_, (_, expiry_ms, _)| expiry_ms.is_none_or(|expiry_ms| expiry_ms > time_ms));
        let left = expiries(&model);
        let (mut removed_count, mut idle_count) = (0, 0);
        // Twice around, and what is not there any more was found.
        while idle_count < 2 * (rows.count() + 5) && rows.expiring_count() > 0 {
            let swept = rows.sweep(rows_count, time_ms, time_ms + ahead_ms);
            prop_assert!(swept.looked_count <= rows_count + ROWS_COUNT_MAX + 1);
            removed_count += swept.removed_count;
            idle_count += swept.looked_count;
        }
        prop_assert_eq!(removed_count, all.len() - left.len());
        check(&rows, &model);
    }
}

#[test]
fn a_sweep_looks_at_nothing_twice_in_one_go() {
    let mut rows = Rows::new(7);
    rows.put(slot(9), b"k", &Content { expiry_ms: Some(5), ..Content::plain(b"v") });
    let looks: Vec<_> = (0..10).map(|_| rows.sweep(500, 0, 0).looked_count).collect();
    assert!(looks.iter().all(|count| *count <= 2), "a segment and its one row: {looks:?}");
    assert_eq!((0..2).map(|_| rows.sweep(500, 5, 5).removed_count).sum::<usize>(), 1);
}

#[test]
fn a_slot_with_very_many_rows_grows_and_shrinks_a_segment_at_a_time() {
    let mut rows = Rows::new(7);
    let mut longest = 0;
    for number in 0..200_000u32 {
        let before = rows.tables.slab.used_bytes();
        rows.put(slot(5), &number.to_be_bytes(), &Content::plain(b"v"));
        longest = longest.max(rows.tables.slab.used_bytes().saturating_sub(before));
    }
    assert!(longest < 1_200, "a write took {longest} bytes at once");
    let per_row = rows.used_bytes() as f64 / 200_000.0;
    assert!(per_row < 50.0, "{per_row} bytes per row of 5");
    for number in 0..200_000u32 {
        assert_eq!(rows.get(slot(5), &number.to_be_bytes()).map(|row| row.value()), Some(&b"v"[..]));
    }
    for number in 0..200_000u32 {
        assert!(rows.take(slot(5), &number.to_be_bytes()).is_some());
    }
    rows.free_taken();
    assert_eq!((rows.count(), rows.tables.slab.used_bytes()), (0, 0));
}

#[test]
fn the_longest_and_the_shortest_keys_and_values_are_kept() {
    let (long_key, long_value) = (vec![b'k'; KEY_BYTES_MAX], vec![b'v'; VALUE_BYTES_MAX]);
    let mut rows = Rows::new(7);
    for key in [&b""[..], &long_key[..long_key.len() - 1], &long_key] {
        for value in [&b""[..], &long_value] {
            rows.put(slot(5), key, &Content { expiry_ms: Some(u64::MAX), ..Content::plain(value) });
            let row = rows.get(slot(5), key).expect("it was just put");
            assert!(row.key() == key && row.value() == value && row.expiry_ms() == Some(u64::MAX));
        }
    }
    assert_eq!(rows.count(), 3);
}
