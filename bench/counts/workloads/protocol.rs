//! What comes over the wire: requests of clients, their replies, batches, frames.

use std::hint::black_box;

use bytes::Bytes;
use resp::{CommandId, Limits, Parsed, Parser, Protocol, Reply, resolve};
use types::{GroupId, ReplicaId};
use wire::frame::{FRAME_HEADER_BYTES, FrameHeader};
use wire::{Batch, BatchBuilder, Body, Entry, EntryKind, Frame, Message, Payload};

use super::{KEYS_COUNT, PIPELINE, VALUE_BYTES, Workload, key};

/// Groups with something to say in one frame.
const GROUPS_COUNT: u32 = 8;

/// A pipeline of requests as a client sends it.
pub(super) struct Parse {
    input: Vec<u8>,
    parser: Parser,
}

impl Parse {
    pub(super) fn sets() -> Box<dyn Workload> {
        Parse::of(|number| vec![b"SET".to_vec(), key(number).to_vec(), vec![b'v'; VALUE_BYTES]])
    }

    pub(super) fn gets() -> Box<dyn Workload> {
        Parse::of(|number| vec![b"GET".to_vec(), key(number).to_vec()])
    }

    fn of(words: impl Fn(u32) -> Vec<Vec<u8>>) -> Box<dyn Workload> {
        let mut input = Vec::new();
        for number in 0..PIPELINE {
            let words = words(number);
            input.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                input.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                input.extend_from_slice(&word);
                input.extend_from_slice(b"\r\n");
            }
        }
        Box::new(Parse { input, parser: Parser::new() })
    }
}

impl Workload for Parse {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn run(&mut self) {
        let (mut rest, limits, mut found) = (&self.input[..], Limits::default(), 0);
        while let Ok(Parsed::Complete { consumed }) = self.parser.parse(rest, &limits) {
            let args = self.parser.args(rest);
            let command = resolve(args).expect("these are commands");
            black_box((command.id, args.get(1)));
            rest = &rest[consumed..];
            found += 1;
        }
        assert_eq!(found, PIPELINE, "every request is read");
    }
}

/// Replies to a pipeline: to writes and to reads in turn.
pub(super) struct Replies {
    value: Vec<u8>,
    out: Vec<u8>,
}

impl Replies {
    pub(super) fn make() -> Box<dyn Workload> {
        Box::new(Replies { value: vec![b'v'; VALUE_BYTES], out: Vec::with_capacity(64 << 10) })
    }
}

impl Workload for Replies {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn run(&mut self) {
        self.out.clear();
        let mut reply = Reply::new(&mut self.out, Protocol::Resp2);
        for number in 0..i64::from(PIPELINE / 4) {
            reply.ok();
            reply.bulk(&self.value);
            reply.integer(number * 1_000);
            reply.null();
        }
        black_box(&self.out);
    }
}

/// The commands of an entry put together and archived.
pub(super) struct BatchBuild {
    value: Vec<u8>,
    keys: Vec<[u8; 16]>,
    builder: BatchBuilder,
}

impl BatchBuild {
    pub(super) fn new() -> BatchBuild {
        let keys = (0..PIPELINE).map(key).collect();
        BatchBuild { value: vec![b'v'; VALUE_BYTES], keys, builder: BatchBuilder::default() }
    }

    fn build(&mut self) -> Bytes {
        for (slot, key) in self.keys.iter().enumerate() {
            self.builder.push(CommandId::Set.as_u16(), slot as u16, [&key[..], &self.value].into_iter());
        }
        self.builder.finish(1_700_000_000_000)
    }
}

impl Workload for BatchBuild {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn run(&mut self) {
        black_box(self.build());
    }
}

/// The commands of an entry checked and walked over, as whoever applies it does.
pub(super) struct BatchAccess(Bytes);

impl BatchAccess {
    pub(super) fn make() -> Box<dyn Workload> {
        Box::new(BatchAccess(BatchBuild::new().build()))
    }
}

impl Workload for BatchAccess {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn run(&mut self) {
        let batch = Batch::access(&self.0).expect("it was just built");
        let mut bytes_count = 0;
        let walked = batch.for_each(|command, ranges| {
            black_box(command);
            bytes_count += ranges.map(|(start, end)| end - start).sum::<u32>();
        });
        assert!(walked.is_ok() && bytes_count == PIPELINE * (16 + VALUE_BYTES as u32), "all arguments are seen");
    }
}

/// What a leader's core sends to one of another node in a turn: an Append of one entry for each of some groups.
fn frame(payload: &Payload) -> Frame {
    let entry =
        |group: u32| Entry { term: 3, index: u64::from(group) + 9, kind: EntryKind::Batch, payload: payload.clone() };
    let message = |group: u32| Message {
        group: GroupId(group),
        from: ReplicaId(1),
        to: ReplicaId(2),
        term: 3,
        body: Body::Append {
            prev_index: u64::from(group) + 8,
            prev_term: 3,
            commit: u64::from(group) + 7,
            entries: vec![entry(group)],
        },
    };
    Frame { messages: (0..GROUPS_COUNT).map(message).collect(), ..Frame::default() }
}

/// A frame made ready to be sent.
pub(super) struct FrameEncode {
    payload: Payload,
    frame: Frame,
    parts: Vec<Bytes>,
}

impl FrameEncode {
    pub(super) fn make() -> Box<dyn Workload> {
        Box::new(FrameEncode {
            payload: BatchBuild::new().build().into(),
            frame: Frame::default(),
            parts: Vec::new(),
        })
    }
}

impl Workload for FrameEncode {
    fn operations_count(&self) -> u32 {
        GROUPS_COUNT
    }

    fn prepare(&mut self) {
        self.parts.clear();
        self.frame = frame(&self.payload);
    }

    fn run(&mut self) {
        self.frame.encode(&mut self.parts);
        black_box(&self.parts);
    }
}

/// A frame that has come, checked and taken apart.
pub(super) struct FrameDecode {
    header: [u8; FRAME_HEADER_BYTES],
    body: Bytes,
}

impl FrameDecode {
    pub(super) fn make() -> Box<dyn Workload> {
        let mut parts = Vec::new();
        frame(&BatchBuild::new().build().into()).encode(&mut parts);
        let bytes = Bytes::from(parts.concat());
        let header = *bytes.first_chunk().expect("a frame has a header");
        Box::new(FrameDecode { header, body: bytes.slice(FRAME_HEADER_BYTES..) })
    }
}

impl Workload for FrameDecode {
    fn operations_count(&self) -> u32 {
        GROUPS_COUNT
    }

    fn run(&mut self) {
        let header = FrameHeader::decode(&self.header).expect("it was just encoded");
        let frame = header.decode_body(self.body.clone()).expect("it was just encoded");
        assert_eq!(frame.messages.len(), GROUPS_COUNT as usize, "every message arrives");
        black_box(frame);
    }
}

/// Slots of keys, hash tag or not.
pub(super) struct Slots(Vec<[u8; 16]>);

impl Slots {
    pub(super) fn make() -> Box<dyn Workload> {
        Box::new(Slots((0..KEYS_COUNT).map(key).collect()))
    }
}

impl Workload for Slots {
    fn operations_count(&self) -> u32 {
        KEYS_COUNT
    }

    fn run(&mut self) {
        for key in &self.0 {
            black_box(types::Slot::of_key(key));
        }
    }
}
