//! A write on its way to three replicas: its entry, the frames to two followers and what they make of them, and the logs of all three.

use bytes::Bytes;
use resp::CommandId;
use types::{GroupId, Index, ReplicaId};
use wal::{Append, Wal};
use wire::frame::{FRAME_HEADER_BYTES, FrameHeader};
use wire::{BatchBuilder, Body, Entry, EntryKind, Frame, Message};

use super::{PIPELINE, Workload, at_once, key};
use crate::micro::memory_disk::MemoryDisk;

const GROUP: GroupId = GroupId(1);
const LONG_VALUE_BYTES: usize = 4 << 10;

/// The log of one replica.
struct Replica {
    wal: Wal<MemoryDisk>,
    disk: MemoryDisk,
}

impl Replica {
    fn new() -> Replica {
        let disk = MemoryDisk::default();
        let config =
            wal::Config { log_id: 7, groups: vec![GROUP], segment_bytes: 4 << 20, ..wal::Config::new("wal") };
        let (mut wal, _) = at_once(Wal::open(disk.clone(), config)).expect("a disk in memory does not fail");
        wal.begin(GROUP, ReplicaId(1)).expect("the log takes it");
        disk.run_tasks();
        Replica { wal, disk }
    }

    fn persist(&mut self, entries: &[Entry]) {
        let appended = self.wal.append(GROUP, &Append { entries, ..Append::default() });
        let appended = appended.expect("the log takes it");
        self.wal.submit().expect("a disk in memory does not fail");
        let durable = self.wal.poll().expect("a disk in memory does not fail");
        assert!(durable.is_some_and(|seq| appended.is_durable(seq)), "the block is durable");
    }
}

/// Writes of one long value each, one entry, frame and block for each.
pub(super) struct ReplicatedSet {
    leader: Replica,
    followers: [Replica; 2],
    builder: BatchBuilder,
    value: Vec<u8>,
    parts: Vec<Bytes>,
    last_index: Index,
}

impl ReplicatedSet {
    pub(super) fn make() -> Box<dyn Workload> {
        Box::new(ReplicatedSet {
            leader: Replica::new(),
            followers: [Replica::new(), Replica::new()],
            builder: BatchBuilder::default(),
            value: vec![b'v'; LONG_VALUE_BYTES],
            parts: Vec::new(),
            last_index: 0,
        })
    }

    fn replicate(&mut self, number: u32) {
        self.builder.push(CommandId::Set.as_u16(), 1, [&key(number)[..], &self.value].into_iter());
        let payload = self.builder.finish(1_700_000_000_000).into();
        self.last_index += 1;
        let entry = Entry { term: 1, index: self.last_index, kind: EntryKind::Batch, payload };
        for follower in &mut self.followers {
            let body = Body::Append {
                prev_index: self.last_index - 1,
                prev_term: 1,
                commit: self.last_index - 1,
                entries: vec![entry.clone()],
            };
            let message = Message { group: GROUP, from: ReplicaId(1), to: ReplicaId(2), term: 1, body };
            Frame { messages: vec![message], ..Frame::default() }.encode(&mut self.parts);
            let bytes = Bytes::from(self.parts.concat());
            let header = bytes.first_chunk::<FRAME_HEADER_BYTES>().expect("a frame has a header");
            let header = FrameHeader::decode(header).expect("it was just encoded");
            let frame = header.decode_copied(&bytes[FRAME_HEADER_BYTES..]).expect("it was just encoded");
            let Body::Append { entries, .. } = &frame.messages[0].body else { panic!("an Append was sent") };
            follower.persist(entries);
        }
        self.leader.persist(&[entry]);
    }
}

impl Workload for ReplicatedSet {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn prepare(&mut self) {
        [&self.leader, &self.followers[0], &self.followers[1]]
            .into_iter()
            .for_each(|replica| replica.disk.run_tasks());
    }

    fn run(&mut self) {
        (0..PIPELINE).for_each(|number| self.replicate(number));
    }
}
