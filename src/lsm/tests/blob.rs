//! Blob files: what was written is read back, and nothing else is.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use host::ALIGNMENT;
use lsm::blob::{BlobBuilder, BlobHeader, BlobInfo, BlobRecord, PIECE_BYTES, record_bytes};
use lsm::table::BlobRef;
use lsm::{FileId, FormatError};
use proptest::collection::vec;
use proptest::prelude::*;

const FILE: FileId = FileId { store: 3, number: 4 };

type Key = Vec<u8>;

/// The file with these values, and where they are.
fn file(values: &[(Key, Vec<u8>)]) -> (Vec<u8>, Vec<BlobRef>, BlobInfo) {
    let mut builder = BlobBuilder::new(FILE, ALIGNMENT);
    let (mut bytes, mut refs) = (Vec::new(), Vec::new());
    let mut add = |chunk: lsm::Chunk| {
        assert_eq!(chunk.offset, bytes.len() as u64);
        bytes.extend_from_slice(&chunk.buf);
    };
    for (key, value) in values {
        refs.push(builder.push(key, value));
        while let Some(chunk) = builder.take_chunk() {
            add(chunk);
        }
    }
    let (chunks, info) = builder.finish();
    chunks.into_iter().for_each(add);
    (bytes, refs, info)
}

fn read<'a>(file: &'a [u8], blob: BlobRef, key: &[u8]) -> Result<&'a [u8], FormatError> {
    let begin = blob.offset as usize;
    let end = begin.checked_add(record_bytes(key.len(), blob.len as usize)).ok_or(FormatError::Truncated)?;
    BlobRecord::open(file.get(begin..end).ok_or(FormatError::Truncated)?, blob, key)?.value()
}

fn values() -> impl Strategy<Value = Vec<(Key, Vec<u8>)>> {
    let len = prop_oneof![1..300_usize, Just(PIECE_BYTES - 1), Just(PIECE_BYTES), PIECE_BYTES..3 * PIECE_BYTES];
    let value = (len, any::<u8>()).prop_map(|(len, first)| (0..len).map(|i| (i / 7) as u8 ^ first).collect());
    vec((vec(any::<u8>(), 0..20), value), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_are_read_back(values in values()) {
        let (bytes, refs, info) = file(&values);
        prop_assert_eq!(BlobHeader::decode(&bytes), Ok(BlobHeader { file: FILE }));
        prop_assert_eq!(info.len, bytes.len() as u64);
        let mut encoded = Vec::new();
        info.encode(&mut encoded);
        prop_assert_eq!(BlobInfo::decode(&encoded), Ok(info));
        prop_assert_eq!(info.values, values.len() as u64);
        prop_assert_eq!(info.value_bytes, values.iter().map(|(_, value)| value.len() as u64).sum::<u64>());
        for ((key, value), blob) in values.iter().zip(refs) {
            prop_assert_eq!(read(&bytes, blob, key), Ok(value.as_slice()));
        }
    }

    #[test]
    fn references_that_lead_elsewhere_are_refused(values in values(), offset: u16, len in 1..400_u32) {
        let (bytes, refs, _) = file(&values);
        let blob = BlobRef { file: FILE, offset: u64::from(offset), len };
        let (key, _) = &values[0];
        if !refs.contains(&blob) {
            prop_assert!(read(&bytes, blob, key).is_err());
        }
    }
}

#[test]
fn no_flipped_byte_passes() {
    let key = b"\0\0hkey".to_vec();
    let value: Vec<u8> = (0..PIECE_BYTES + 500).map(|i| (i / 3) as u8).collect();
    let (bytes, refs, _) = file(&[(key.clone(), value)]);
    let len = record_bytes(key.len(), refs[0].len as usize);
    let mut damaged = bytes.clone();
    // All of what is not the value, and some of that.
    let begin = refs[0].offset as usize;
    for at in (begin..begin + len).filter(|at| !(begin + 15..begin + len - 20).contains(at) || at % 509 == 0) {
        damaged[at] ^= 1;
        assert_eq!(read(&damaged, refs[0], &key), Err(FormatError::Checksum), "byte {at}");
        damaged[at] ^= 1;
    }
    for at in 0..64 {
        damaged[at] ^= 1;
        assert!(BlobHeader::decode(&damaged).is_err(), "byte {at}");
        damaged[at] ^= 1;
    }
    assert_eq!(damaged, bytes);
}

#[test]
fn a_value_of_another_row_file_or_place_is_refused() {
    let values = [(b"one".to_vec(), vec![1; 100]), (b"two".to_vec(), vec![2; 100])];
    let (bytes, refs, _) = file(&values);
    assert!(matches!(read(&bytes, refs[0], b"two"), Err(FormatError::Malformed(_) | FormatError::Checksum)));
    let other = BlobRef { file: FileId { number: 5, ..FILE }, ..refs[0] };
    assert_eq!(read(&bytes, other, b"one"), Err(FormatError::Checksum));
    let len = record_bytes(3, 100);
    let mut misdirected = bytes.clone();
    let (one, two) = (refs[0].offset as usize, refs[1].offset as usize);
    misdirected.copy_within(one..one + len, two);
    assert_eq!(read(&misdirected, refs[1], b"one"), Err(FormatError::Checksum));
}
