//! Snapshot files: what is written is read back, and every damage is noticed.

use data::Keyspace;
use host::ALIGNMENT;
use lsm::rows::PAYLOAD_BYTES;
use proptest::prelude::*;
use resp::{ArgRange, Args, CommandId};
use types::{GroupId, Slot};

use super::{Corrupt, FileHeader, FileId, Sealer, Verifier};

const GROUP: GroupId = GroupId(7);

fn apply(keyspace: &mut Keyspace, id: CommandId, words: &[&[u8]]) {
    let (mut buf, mut ranges) = (Vec::new(), vec![ArgRange { start: 0, end: 0 }]);
    for word in words {
        let start = buf.len() as u32;
        buf.extend_from_slice(word);
        ranges.push(ArgRange { start, end: buf.len() as u32 });
    }
    let slot = words.first().map_or(Slot::default(), |key| Slot::of_key(key));
    keyspace.apply(id, slot, Args::new(&buf, &ranges));
}

fn header(keyspace: &Keyspace) -> FileHeader {
    FileHeader {
        last_term: 3,
        time_ms: 17,
        keys_count: keyspace.keys_count() as u64,
        membership: b"members".to_vec(),
        map: b"map".to_vec(),
    }
}

/// The blocks of a snapshot of what the walk under way sees.
fn finish(keyspace: &mut Keyspace, header: &FileHeader, last_index: u64) -> Vec<Vec<u8>> {
    while !keyspace.go_on_walking(1 << 10) {}
    let (mut sealer, first) = Sealer::begin(FileId { group: GROUP, last_index }, header);
    let mut blocks = vec![first.to_vec()];
    let former = keyspace.walked().unwrap();
    while let Some(payload) = former.take_closed() {
        blocks.push(sealer.seal_keys(payload).to_vec());
    }
    assert_eq!(former.bytes(), 0);
    let keys_count = former.keys_count();
    keyspace.end_walk();
    blocks.push(sealer.end(keys_count).to_vec());
    blocks
}

fn file(keyspace: &mut Keyspace, last_index: u64) -> Vec<Vec<u8>> {
    assert!(keyspace.begin_walk());
    let header = header(keyspace);
    finish(keyspace, &header, last_index)
}

fn read(bytes: &[u8]) -> Result<(FileId, FileHeader, Keyspace), Corrupt> {
    let mut verifier = Verifier::new(GROUP);
    let mut keyspace = Keyspace::with_hash_seed(99);
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = verifier.block_bytes(rest)?;
        let Some((block, behind)) = rest.split_at_checked(len) else {
            return Err(Corrupt::Truncated { offset: verifier.offset() });
        };
        rest = behind;
        verifier.block(block, |record| {
            let slot = Slot::new(record.slot).ok_or("slot")?;
            if keyspace.restore(slot, record.key, &record.content) { Ok(()) } else { Err("twice") }
        })?;
    }
    let (file, header) = verifier.finish()?;
    Ok((file, header, keyspace))
}

fn some_keys(count: usize, value_bytes: usize) -> Keyspace {
    let mut keyspace = Keyspace::with_hash_seed(1);
    for number in 0..count {
        let (key, value) = (format!("key:{number}"), vec![number as u8; value_bytes]);
        apply(&mut keyspace, CommandId::Set, &[key.as_bytes(), &value]);
    }
    keyspace
}

#[test]
fn what_is_written_is_read_back() {
    for (count, value_bytes) in [(0, 0), (1, 0), (3, 10), (5_000, 200), (3, 3 << 20)] {
        let mut keyspace = some_keys(count, value_bytes);
        let expected = header(&keyspace);
        let blocks = file(&mut keyspace, 41);
        assert!(blocks.iter().all(|block| block.len().is_multiple_of(ALIGNMENT)));
        if count == 5_000 {
            assert!(blocks.len() > 4 && blocks.iter().all(|block| block.len() <= PAYLOAD_BYTES + ALIGNMENT));
        }
        let (found, header, restored) = read(&blocks.concat()).unwrap();
        assert_eq!(found, FileId { group: GROUP, last_index: 41 });
        assert_eq!(header, expected);
        assert_eq!(restored.digest(), keyspace.digest());
        assert_eq!(restored.bytes() - restored.keys_count(), keyspace.bytes() - keyspace.keys_count());
    }
}

#[test]
fn every_changed_byte_is_noticed() {
    let mut bytes = file(&mut some_keys(20, 30), 41).concat();
    assert_eq!(bytes.len(), 3 * ALIGNMENT);
    assert!(read(&bytes).is_ok());
    for idx in 0..bytes.len() {
        for flip in [0x01, 0x80] {
            bytes[idx] ^= flip;
            assert!(read(&bytes).is_err(), "byte {idx} may change without notice");
            bytes[idx] ^= flip;
        }
    }
}

#[test]
fn blocks_of_other_places_and_files_are_noticed() {
    let mut keyspace = some_keys(6_000, 100);
    let blocks = file(&mut keyspace, 41);
    let later = file(&mut keyspace, 42);
    assert!(blocks.len() >= 5);
    for count in 0..blocks.len() {
        assert!(read(&blocks[..count].concat()).is_err(), "a file cut behind block {count}");
    }
    for cut in [1, ALIGNMENT, 2 * ALIGNMENT + 1] {
        let bytes = blocks.concat();
        assert!(read(&bytes[..bytes.len() - cut]).is_err());
    }
    let mut swapped = blocks.clone();
    swapped.swap(1, 2);
    assert!(read(&swapped.concat()).is_err());
    let mut twice = blocks.clone();
    twice.insert(2, blocks[1].clone());
    assert!(read(&twice.concat()).is_err());
    let mut longer = blocks.clone();
    longer.push(blocks[0].clone());
    assert!(read(&longer.concat()).is_err());
    for idx in 0..blocks.len() {
        let mut mixed = blocks.clone();
        mixed[idx].clone_from(&later[idx]);
        assert!(read(&mixed.concat()).is_err(), "block {idx} of a later snapshot");
    }
    let mut other = Verifier::new(GroupId(8));
    assert!(other.block(&blocks[0], |_| Ok(())).is_err(), "another group");
}

#[test]
fn a_walk_given_up_leaves_no_trace() {
    let mut keyspace = some_keys(3_000, 10);
    assert!(keyspace.begin_walk());
    assert!(!keyspace.go_on_walking(1 << 10));
    keyspace.give_up_walk();
    assert!(!keyspace.begin_walk(), "the marks of the first one are not all set");
    while !keyspace.go_on_walking(1 << 10) {}
    assert!(keyspace.walked().is_none());
    keyspace.end_walk();
    let (_, _, restored) = read(&file(&mut keyspace, 5).concat()).unwrap();
    assert_eq!(restored.digest(), keyspace.digest());
}

/// What may happen while a snapshot is written.
#[derive(Clone, Debug)]
enum Step {
    Set(u8, u16),
    Append(u8),
    Increment(u8),
    Delete(u8),
    Replace(u8),
    /// Many new keys, so that tables grow.
    Crowd(u16),
    Flush,
    Walk(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<u8>(), 0..600u16).prop_map(|(key, len)| Step::Set(key, len)),
        2 => any::<u8>().prop_map(Step::Append),
        1 => any::<u8>().prop_map(Step::Increment),
        3 => any::<u8>().prop_map(Step::Delete),
        1 => any::<u8>().prop_map(Step::Replace),
        1 => (1..400u16).prop_map(Step::Crowd),
        1 => Just(Step::Flush),
        4 => (1..4_000u16).prop_map(Step::Walk),
    ]
}

/// Keys of three slots, so that tables are long.
fn key(number: u8) -> String {
    format!("{{{}}}{number}", number % 3)
}

fn take_step(keyspace: &mut Keyspace, step: &Step) {
    match *step {
        Step::Set(number, len) => {
            apply(keyspace, CommandId::Set, &[key(number).as_bytes(), &vec![number; usize::from(len)]]);
        }
        Step::Append(number) => apply(keyspace, CommandId::Append, &[key(number).as_bytes(), b"tail"]),
        Step::Increment(number) => apply(keyspace, CommandId::Incr, &[key(number).as_bytes()]),
        Step::Delete(number) => apply(keyspace, CommandId::Del, &[key(number).as_bytes()]),
        Step::Replace(number) => apply(keyspace, CommandId::GetSet, &[key(number).as_bytes(), b"other"]),
        Step::Crowd(count) => {
            for number in 0..count {
                apply(keyspace, CommandId::Set, &[format!("{{0}}crowd{number}").as_bytes(), b"1"]);
            }
        }
        Step::Flush => apply(keyspace, CommandId::FlushAll, &[]),
        Step::Walk(budget) => {
            keyspace.go_on_walking(usize::from(budget));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_snapshot_is_the_state_at_its_beginning(
        before in proptest::collection::vec(step(), 0..60),
        during in proptest::collection::vec(step(), 0..120),
        again in proptest::collection::vec(step(), 0..60),
    ) {
        let mut keyspace = Keyspace::with_hash_seed(5);
        before.iter().for_each(|step| take_step(&mut keyspace, step));
        for steps in [during, again] {
            prop_assert!(keyspace.begin_walk());
            let (digest, header) = (keyspace.digest(), header(&keyspace));
            steps.iter().for_each(|step| take_step(&mut keyspace, step));
            let blocks = finish(&mut keyspace, &header, 9);
            let (_, found, restored) = read(&blocks.concat()).expect("it is sound");
            prop_assert_eq!(found.keys_count, restored.keys_count() as u64);
            prop_assert_eq!(restored.digest(), digest);
        }
    }
}
