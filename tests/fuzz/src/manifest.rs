//! The manifest of the store: any bytes, also under checksums made to fit, give edits or an error, and edits fit a state or do not.

use lsm::manifest::{BlockHeader, Edit, State, scan};
use lsm::version::FileSet;

use crate::input::Input;

const UNIT_BYTES: usize = 4_096;
const EDITS_COUNT_MAX: usize = 8;

/// The first byte says what the rest is.
pub fn check(data: &[u8]) {
    let Some((kind, rest)) = data.split_first() else { return };
    match kind % 3 {
        0 => copy(rest),
        1 => drop(edit(rest)),
        _ => history(Input::new(rest)),
    }
}

fn copy(data: &[u8]) {
    if let Ok(copy) = scan(data) {
        assert!(copy.end <= data.len().next_multiple_of(UNIT_BYTES) as u64 && copy.latest.1 >= copy.blocks);
    }
    let _ = BlockHeader::decode(data);
}

/// What is read and written again reads the same.
fn edit(data: &[u8]) -> Option<Edit> {
    let edit = Edit::decode(data).ok()?;
    let mut bytes = Vec::new();
    edit.encode(&mut bytes);
    assert_eq!(bytes, data, "an edit has one form");
    Some(edit)
}

/// Edits in blocks whose checksums fit: a scan finds them, and a state takes them or refuses them whole.
fn history(mut input: Input<'_>) {
    let (mut bytes, mut chain, mut expected) = (Vec::new(), 0, Vec::new());
    let mut seq = 0;
    while !input.is_empty() && seq < EDITS_COUNT_MAX as u64 {
        seq += 1;
        let len = usize::from(input.pair());
        let edit_bytes = input.bytes(len);
        let edits = [&(edit_bytes.len() as u32).to_le_bytes()[..], edit_bytes].concat();
        let header = BlockHeader {
            store: 1,
            epoch: 1,
            seq,
            offset: bytes.len() as u64,
            edits_len: edits.len() as u32,
            edits_crc: crc32fast::hash(&edits),
            chain,
        };
        let (encoded, crc) = header.encode();
        bytes.extend_from_slice(&encoded);
        bytes.extend_from_slice(&edits);
        bytes.resize(bytes.len().next_multiple_of(UNIT_BYTES), 0);
        chain = crc;
        expected.push(edit(edit_bytes));
    }
    match (scan(&bytes), expected.iter().cloned().collect::<Option<Vec<Edit>>>()) {
        (Ok(copy), Some(expected)) => {
            assert_eq!((copy.blocks, &copy.edits), (seq, &expected));
            apply(&expected);
        }
        (Err(_), None) => {}
        (found, expected) => panic!("{found:?} of {expected:?}"),
    }
}

fn apply(edits: &[Edit]) {
    let (mut state, files) = (State::default(), FileSet::default());
    for edit in edits {
        let before = state.groups().count();
        match state.stage(std::slice::from_ref(edit), &files) {
            Ok(staged) => state.take(staged),
            Err(_) => assert_eq!(state.groups().count(), before),
        }
    }
    for (_, group) in state.groups() {
        let ages: Vec<u64> = group.version.runs().iter().map(|run| run.age).collect();
        assert!(ages.is_sorted_by(|newer, older| newer > older));
        assert!(group.version.blobs().all(|live| live.values > 0));
        let again = lsm::version::Version::default().apply(&group.version.as_change(), &files);
        assert_eq!(again.ok().map(|version| version.as_change()), Some(group.version.as_change()));
    }
}
