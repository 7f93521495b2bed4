//! Snapshot files: whatever a file holds, loading it gives an error or exactly a state that was written.
//!
//! The first byte says what the rest describes: any bytes, blocks under checksums made to fit, or sound files and edits
//! of one of them.

use data::Keyspace;
use engine::snapshot::format::{BLOCK_HEADER_BYTES, BlockHeader, BlockKind, Footer};
use engine::snapshot::{FileHeader, FileId, LoadError, Loaded, Sealer, load};
use host::{ALIGNMENT, AlignedBuf};
use lsm::rows::{PAYLOAD_HEADROOM_BYTES, RECORD_EXPIRES};
use types::{GroupId, Slot};
use wal::format::segment_name;
use xxhash_rust::xxh3::xxh3_128;

use crate::input::{Input, place};
use crate::support::{Host, config};

const GROUP: GroupId = GroupId(7);
/// The disk of the log's tests knows its files by the numbers in their names.
const FILE: u64 = 1;
/// Blocks that an input may describe.
const BLOCKS_MAX: usize = 12;

/// Makes a file, loads it.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => raw(input.rest()),
        1 => sealed(&mut input),
        _ => edited(&mut input),
    }
}

fn raw(bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    let _ = loaded(&bytes, None);
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    if let Ok(loaded) = self::loaded(&bytes, None) {
        written_again(loaded);
    }
}

/// Blocks of any content, each with the place and the checksums that it should have.
fn sealed(input: &mut Input<'_>) {
    let (mut file, mut chain, mut keys_count) = (Vec::new(), 0, 0);
    for sequence in 0..BLOCKS_MAX as u64 {
        if input.is_empty() {
            break;
        }
        let (what, len) = (input.byte(), input.pair());
        let mut payload = input.bytes(usize::from(len % 1_024)).to_vec();
        let kind = match what & 3 {
            _ if sequence == 0 => BlockKind::Header,
            0..2 => BlockKind::Keys,
            2 => BlockKind::Header,
            _ => BlockKind::Footer,
        };
        match kind {
            // Half of the time what would rarely come to be by chance.
            BlockKind::Header if what & 4 == 0 => payload = header_of(what >> 3, &payload),
            BlockKind::Keys if what & 4 == 0 => {
                keys_count += u64::from(what >> 4);
                payload = records(what >> 4, &payload);
            }
            BlockKind::Footer if what & 4 == 0 => {
                payload.clear();
                Footer { keys_count, digest: xxh3_128(&file) }.encode(&mut payload);
            }
            _ => {}
        }
        chain = push_block(&mut file, kind, sequence, chain, &payload);
    }
    if let Ok(loaded) = loaded(&file, None) {
        written_again(loaded);
    }
}

fn header_of(keys_count: u8, parts: &[u8]) -> Vec<u8> {
    let (membership, map) = parts.split_at(parts.len() / 3);
    let header = FileHeader {
        last_term: 3,
        time_ms: 17,
        keys_count: u64::from(keys_count),
        membership: membership.to_vec(),
        map: map.to_vec(),
    };
    let mut payload = Vec::new();
    header.encode(&mut payload);
    payload
}

fn records(count: u8, bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    let mut bytes = Input::new(bytes);
    for _ in 0..count {
        let (lens, slot) = (bytes.byte(), bytes.byte());
        let (key_len, value_len) = (usize::from(lens & 15), usize::from(lens >> 4));
        let mut content = bytes.bytes(key_len + value_len).to_vec();
        content.resize(key_len + value_len, 0);
        let expiry_ms = (slot & 1 == 1).then(|| u64::from(slot) + 10);
        payload.extend_from_slice(&record(u16::from(slot) << 7, key_len, expiry_ms, &content));
    }
    payload
}

/// A record of a snapshot. `content` is the key and then the value.
fn record(slot: u16, key_len: usize, expiry_ms: Option<u64>, content: &[u8]) -> Vec<u8> {
    let mut bytes = slot.to_le_bytes().to_vec();
    bytes.extend_from_slice(&[0, if expiry_ms.is_some() { RECORD_EXPIRES } else { 0 }]);
    bytes.extend_from_slice(&(key_len as u32).to_le_bytes());
    bytes.extend_from_slice(&((content.len() - key_len) as u32).to_le_bytes());
    bytes.extend(expiry_ms.into_iter().flat_map(u64::to_le_bytes));
    bytes.extend_from_slice(content);
    bytes
}

fn push_block(file: &mut Vec<u8>, kind: BlockKind, sequence: u64, chain: u32, payload: &[u8]) -> u32 {
    let mut block = vec![0; BLOCK_HEADER_BYTES];
    block.extend_from_slice(payload);
    block.resize(block.len().next_multiple_of(ALIGNMENT), 0);
    let header = BlockHeader {
        file: FileId { group: GROUP, last_index: 41 },
        kind,
        sequence,
        offset: file.len() as u64,
        payload_len: payload.len() as u32,
        payload_crc: crc32fast::hash(&block[BLOCK_HEADER_BYTES..]),
        chain,
    };
    let (bytes, crc) = header.encode();
    block[..BLOCK_HEADER_BYTES].copy_from_slice(&bytes);
    file.extend_from_slice(&block);
    crc
}

/// Sound files of one group at two indices and of another group, and edits of the first.
fn edited(input: &mut Input<'_>) {
    let (blocks_count, keys_count, value_len) = (1 + input.byte() % 6, input.byte() % 8, input.byte());
    let file = |group, last_index, salt| {
        some_file(FileId { group, last_index }, blocks_count, keys_count, usize::from(value_len) * 8, salt)
    };
    let files = [file(GROUP, 41, 1), file(GROUP, 42, 2), file(GroupId(8), 41, 1)];
    let originals = files.each_ref().map(|blocks| blocks.concat());
    let mut blocks = files[0].clone();
    let mut unreadable = None;
    let mut bytes_edits = Vec::new();
    while !input.is_empty() && bytes_edits.len() < 8 {
        let (what, a, b, c) = (input.byte(), input.byte(), input.byte(), input.byte());
        let (left, right) = (place(a, blocks.len()), place(b, blocks.len()));
        match what % 9 {
            _ if blocks.is_empty() => {}
            0 => blocks.swap(left, right),
            1 => blocks.insert(left, blocks[right].clone()),
            2 => drop(blocks.remove(left)),
            // Of the later snapshot, of the other group.
            3 | 4 => {
                let other = &files[usize::from(what % 9) - 2];
                blocks[left].clone_from(&other[place(b, other.len())]);
            }
            5 => blocks.clone_from(&files[1]),
            6 => unreadable = Some(a),
            _ => {}
        }
        bytes_edits.push((what % 9, u16::from_le_bytes([a, b]), c));
    }
    let mut bytes = blocks.concat();
    for (what, at, how) in bytes_edits {
        match what {
            7 if !bytes.is_empty() => {
                let at = place(at, bytes.len());
                bytes[at] ^= how;
            }
            8 => bytes.resize(usize::from(at >> 8) % 16 * ALIGNMENT + usize::from(how), at as u8),
            _ => {}
        }
    }
    let is_readable = unreadable.is_none() || bytes.is_empty();
    let outcome = loaded(&bytes, unreadable);
    let known = originals[..2].iter().position(|original| *original == bytes).filter(|_| is_readable);
    match (outcome, known) {
        (Ok(loaded), Some(idx)) => {
            assert_eq!(loaded.file, FileId { group: GROUP, last_index: 41 + idx as u64 });
            assert_eq!(loaded.keyspace.keys_count(), usize::from(blocks_count) * usize::from(keys_count));
            written_again(loaded);
        }
        (Ok(_), None) => panic!("a file that was changed is loaded"),
        (Err(error), Some(_)) => panic!("a sound file is not loaded: {error}"),
        (Err(_), None) => {}
    }
}

fn some_file(file: FileId, blocks_count: u8, keys_count: u8, value_len: usize, salt: u8) -> Vec<Vec<u8>> {
    let mut payloads = Vec::new();
    for block in 0..blocks_count {
        let mut payload = AlignedBuf::default();
        payload.extend_from_slice(&[0; PAYLOAD_HEADROOM_BYTES]);
        for number in 0..keys_count {
            let key = format!("key:{block}:{number}");
            let mut content = key.clone().into_bytes();
            content.resize(key.len() + value_len, number ^ salt);
            let slot = Slot::of_key(key.as_bytes()).number();
            payload.extend_from_slice(&record(slot, key.len(), (number & 1 == 1).then_some(99), &content));
        }
        if keys_count > 0 {
            payloads.push(payload);
        }
    }
    let keys_count = u64::from(blocks_count) * u64::from(keys_count);
    let header =
        FileHeader { last_term: 3, time_ms: 17, keys_count, membership: b"members".to_vec(), map: b"map".to_vec() };
    sealed_file(file, &header, payloads, keys_count)
}

fn sealed_file(file: FileId, header: &FileHeader, payloads: Vec<AlignedBuf>, keys_count: u64) -> Vec<Vec<u8>> {
    let (mut sealer, first) = Sealer::begin(file, header);
    let mut blocks = vec![first.to_vec()];
    blocks.extend(payloads.into_iter().map(|payload| sealer.seal_keys(payload).to_vec()));
    blocks.push(sealer.end(keys_count).to_vec());
    blocks
}

fn loaded(bytes: &[u8], unreadable: Option<u8>) -> Result<Loaded, LoadError> {
    let host = Host::new();
    host.put_file(&segment_name(FILE), bytes.to_vec());
    if let Some(unit) = unreadable {
        let unit = place(unit, bytes.len().div_ceil(ALIGNMENT));
        host.set_unreadable(FILE, (unit * ALIGNMENT) as u64);
    }
    let path = config().dir.join(segment_name(FILE));
    futures_lite::future::block_on(load(&host, &path, GROUP, 99)).map(|loaded| loaded.expect("the file is there"))
}

/// A state that was loaded can be written and loaded again.
fn written_again(mut loaded: Loaded) {
    let keyspace: &mut Keyspace = &mut loaded.keyspace;
    assert_eq!(keyspace.keys_count() as u64, loaded.header.keys_count);
    assert!(keyspace.begin_walk());
    while !keyspace.go_on_walking(1 << 16) {}
    let former = keyspace.walked().expect("a walk that nobody gave up");
    let payloads = std::iter::from_fn(|| former.take_closed()).collect();
    let keys_count = former.keys_count();
    let blocks = sealed_file(loaded.file, &loaded.header, payloads, keys_count);
    keyspace.end_walk();
    let again = self::loaded(&blocks.concat(), None).expect("a file of ours");
    assert_eq!((again.file, &again.header), (loaded.file, &loaded.header));
    assert_eq!(again.keyspace.digest(), loaded.keyspace.digest(), "what was loaded is another state");
}
