//! The payload of a log entry: a batch of commands, walked and applied as a replica does. Any bytes give an error or
//! commands, applying them never panics, and two replicas answer the same and end up with the same keys.

use data::{Error, Keyspace, Outcome};
use resp::{ArgRange, Args, CommandId, Protocol, Reply};
use types::Slot;
use wire::{Batch, BatchBuilder, BatchError};

use crate::input::{Input, place};

/// Commands that an input may describe.
const COMMANDS_MAX: usize = 200;
/// Values may be made longer than an input is: no more is applied once the keys take this much.
const KEYSPACE_BYTES_MAX: usize = 16 << 20;

/// Arguments that mean something to a command.
const WORDS: [&[u8]; 24] = [
    b"{a}1",
    b"{a}2",
    b"{a}3",
    b"",
    b"0",
    b"1",
    b"-1",
    b"7",
    b"007",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"1.5",
    b"-3e5",
    b"nan",
    b"inf",
    b"1e4932",
    b"NX",
    b"XX",
    b"GET",
    b"KEEPTTL",
    b"EX",
    b"8388607",
    b"+1",
];

/// The first byte: 0 for a raw payload, 1 for commands as they are, else that many changed bits less one.
pub fn check(data: &[u8]) {
    let mut input = Input::new(data);
    let changes_count = match input.byte() % 6 {
        0 => return applied(input.rest()),
        number => usize::from(number) - 1,
    };
    let changes: Vec<(u16, u8)> = (0..changes_count).map(|_| (input.pair(), input.byte())).collect();
    let commands = described(&mut input);
    let mut builder = BatchBuilder::default();
    for (id, slot, arguments) in &commands {
        builder.push(*id, *slot, arguments.iter().map(Vec::as_slice));
    }
    let mut payload = builder.finish(17).to_vec();
    if changes.is_empty() {
        let batch = Batch::access(&payload).expect("a batch that was just archived");
        assert_eq!(walked(&batch), Ok(commands), "a batch reads as it was built");
    }
    for (at, change) in changes {
        // The end is where the batch's own structure stands.
        let at = payload.len() - 1 - place(at, payload.len());
        payload[at] ^= change;
    }
    applied(&payload);
}

type Command = (u16, u16, Vec<Vec<u8>>);

fn described(input: &mut Input<'_>) -> Vec<Command> {
    let mut commands = Vec::new();
    while !input.is_empty() && commands.len() < COMMANDS_MAX {
        let (id, how) = (u16::from(input.byte()), input.byte());
        let arguments: Vec<Vec<u8>> = (0..how & 7).map(|_| argument(input)).collect();
        let slot = match how >> 3 {
            31 => input.pair(),
            _ => arguments.first().map_or(0, |key| Slot::of_key(key).number()),
        };
        commands.push((id, slot, arguments));
    }
    commands
}

fn argument(input: &mut Input<'_>) -> Vec<u8> {
    match input.byte() {
        len @ 0..64 => input.bytes(usize::from(len)).to_vec(),
        word => WORDS[place(word, WORDS.len())].to_vec(),
    }
}

fn walked(batch: &Batch<'_>) -> Result<Vec<Command>, BatchError> {
    let mut commands = Vec::new();
    batch.for_each(|command, ranges| {
        let bytes = batch.arguments();
        let arguments = ranges.map(|(start, end)| bytes[start as usize..end as usize].to_vec()).collect();
        commands.push((command.id, command.slot, arguments));
    })?;
    Ok(commands)
}

fn applied(payload: &[u8]) {
    let Ok(batch) = Batch::access(payload) else { return };
    let mut replicas = [Keyspace::with_hash_seed(0), Keyspace::with_hash_seed(u64::MAX)];
    let mut ranges = Vec::new();
    let mut count = 0;
    assert_eq!(batch.first_arguments().count(), batch.commands_count());
    replicas.iter_mut().for_each(|keyspace| keyspace.advance_time(batch.time_ms()));
    let outcome = batch.for_each(|command, arguments| {
        count += 1;
        ranges.clear();
        ranges.push(ArgRange { start: 0, end: 0 });
        ranges.extend(arguments.map(|(start, end)| ArgRange { start, end }));
        if replicas[0].bytes() > KEYSPACE_BYTES_MAX {
            return;
        }
        let args = Args::new(batch.arguments(), &ranges);
        let [left, right] = replicas.each_mut().map(|keyspace| {
            let outcome = match (CommandId::from_u16(command.id), Slot::new(command.slot)) {
                (Some(id), Some(slot)) => keyspace.apply(id, slot, args),
                _ => Outcome::Error(Error::Unsupported),
            };
            let mut answer = Vec::new();
            outcome.write(&mut Reply::new(&mut answer, Protocol::Resp3));
            answer
        });
        assert!(!left.is_empty(), "each command is answered");
        assert_eq!(left, right, "two replicas answer differently");
    });
    assert!(outcome.is_err() || count == batch.commands_count());
    let [left, right] = replicas.each_ref().map(|keyspace| (keyspace.keys_count(), keyspace.digest()));
    assert_eq!(left, right, "two replicas hold different keys");
}
