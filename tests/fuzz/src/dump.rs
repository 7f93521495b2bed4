//! Payloads of `RESTORE`, restored as a replica does: a value or an error, the same that the leader's check says; and a value that was
//! restored comes back from its own dump.

use crc_fast::{CrcAlgorithm, Digest};
use data::{Keyspace, Outcome};
use resp::{ArgRange, Args, CommandId, Protocol, Reply};
use types::Slot;
use types::limits::VALUE_BYTES_MAX;

use crate::input::{Input, place};

/// The first byte: 0 for a payload as it is, 1 for a body that is given the checksum that belongs to it, 2 for a compressed string whose
/// tokens the rest describes.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    match input.byte() % 3 {
        0 => drop(restored(input.rest())),
        1 => drop(restored(&sealed(input.rest()))),
        _ => {
            let (stream, expected) = described(&mut input);
            let [stream_len, len] = [&stream, &expected].map(|bytes| (bytes.len() as u32).to_be_bytes());
            let body = [&[0, 0xc3, 0x80], &stream_len[..], &[0x80], &len, &stream].concat();
            assert!(restored(&sealed(&body)) == Some(expected), "a stream becomes what its tokens say");
        }
    }
}

/// The body with version and checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &[10, 0]].concat();
    let mut digest = Digest::new(CrcAlgorithm::Crc64Redis);
    digest.update(&payload);
    payload.extend_from_slice(&digest.finalize().to_le_bytes());
    payload
}

/// An LZF stream, and what it becomes.
fn described(input: &mut Input<'_>) -> (Vec<u8>, Vec<u8>) {
    let (mut stream, mut expected) = (Vec::new(), Vec::new());
    while !input.is_empty() {
        let len = usize::from(input.byte());
        if len < 32 || expected.is_empty() {
            let literal = input.bytes(len % 32 + 1);
            if !literal.is_empty() {
                stream.push(literal.len() as u8 - 1);
                stream.extend_from_slice(literal);
                expected.extend_from_slice(literal);
            }
            continue;
        }
        let back = place(input.pair(), expected.len().min(8_192));
        match len - 31 {
            upper @ 1..7 => stream.extend([(upper << 5 | back >> 8) as u8, back as u8]),
            more => stream.extend([(7 << 5 | back >> 8) as u8, (more - 7) as u8, back as u8]),
        }
        (0..len - 29).for_each(|_| expected.push(expected[expected.len() - 1 - back]));
    }
    (stream, expected)
}

/// The value of a payload, if it has one.
fn restored(payload: &[u8]) -> Option<Vec<u8>> {
    let mut keyspace = Keyspace::new();
    let restore: [&[u8]; 4] = [b"RESTORE", b"k", b"0", payload];
    let is_sound = with_args(&restore, |args| data::check(CommandId::Restore, args).is_ok());
    let is_restored = with_args(&restore, |args| apply(&mut keyspace, args));
    assert_eq!(is_sound, is_restored, "the check and the apply agree");
    if !is_restored {
        assert_eq!(keyspace.keys_count(), 0, "what fails changes nothing");
        return None;
    }
    let value = query(&keyspace, CommandId::Get, b"GET");
    assert!(value.len() <= VALUE_BYTES_MAX);
    let dumped = query(&keyspace, CommandId::Dump, b"DUMP");
    let again: [&[u8]; 5] = [b"RESTORE", b"k", b"0", &dumped, b"REPLACE"];
    assert!(with_args(&again, |args| apply(&mut keyspace, args)), "what was dumped can be restored");
    assert!(query(&keyspace, CommandId::Get, b"GET") == value, "and is what it was");
    Some(value)
}

fn apply(keyspace: &mut Keyspace, args: Args<'_>) -> bool {
    matches!(keyspace.apply(CommandId::Restore, Slot::of_key(b"k"), args), Outcome::Ok)
}

/// The bulk string that a read of the key answers.
fn query(keyspace: &Keyspace, id: CommandId, name: &[u8]) -> Vec<u8> {
    let mut reply = Vec::new();
    let error = with_args(&[name, b"k"], |args| {
        keyspace.query(id, Slot::of_key(b"k"), args, 0, &mut Reply::new(&mut reply, Protocol::Resp3))
    });
    assert!(error.is_none(), "{error:?}");
    let begin = reply.iter().position(|byte| *byte == b'\n').expect("a bulk string") + 1;
    reply[begin..reply.len() - 2].to_vec()
}

fn with_args<R>(arguments: &[&[u8]], run: impl FnOnce(Args<'_>) -> R) -> R {
    let mut ranges = Vec::new();
    for argument in arguments {
        let start = ranges.last().map_or(0, |range: &ArgRange| range.end);
        ranges.push(ArgRange { start, end: start + argument.len() as u32 });
    }
    run(Args::new(&arguments.concat(), &ranges))
}
