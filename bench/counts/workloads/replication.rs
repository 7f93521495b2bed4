//! Entries on their way: through Raft at the leader and at a follower, and into the log.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use raft::{Config, Raft, Ready, Recovered};
use types::{GroupId, Index, Instant, ReplicaId};
use wal::{Append, Wal};
use wire::{Body, Entry, EntryKind, Message, Payload};

use super::{PIPELINE, VALUE_BYTES, Workload, at_once};
use crate::micro::memory_disk::MemoryDisk;

const GROUP: GroupId = GroupId(1);
const ONE: ReplicaId = ReplicaId(1);
const TWO: ReplicaId = ReplicaId(2);
const THREE: ReplicaId = ReplicaId(3);

/// A replica whose peers are played here.
struct Replica {
    raft: Raft,
    now: Instant,
    ready: Ready,
}

impl Replica {
    fn new() -> Replica {
        let now = Instant::from_nanos(5_000_000_000);
        let config = Config { first_campaigner: true, ..Config::new(GROUP, ONE, vec![ONE, TWO, THREE]) };
        let raft = Raft::new(config, Recovered::default(), now).expect("sound settings");
        Replica { raft, now, ready: Ready::new() }
    }

    fn step(&mut self, from: ReplicaId, term: u64, body: Body) {
        assert!(self.raft.step(Message { group: GROUP, from, to: ONE, term, body }, self.now), "it counts");
    }

    /// Does what the replica wants done, and says that it is durable.
    fn drain(&mut self) {
        while self.raft.has_ready() {
            self.raft.ready(&mut self.ready);
            black_box(&self.ready.messages);
            if let Some(persist) = &self.ready.persist {
                let seq = persist.seq;
                self.raft.persisted(seq, self.now);
            }
            if let Some(last) = self.ready.committed.last() {
                self.raft.applied(last.index);
            }
        }
    }
}

/// Entries proposed, sent, acknowledged by one follower and then the other, committed and applied.
pub(super) struct Leader {
    replica: Replica,
    payload: Bytes,
}

impl Leader {
    pub(super) fn make() -> Box<dyn Workload> {
        let mut replica = Replica::new();
        replica.now += Duration::from_millis(300);
        replica.raft.tick(replica.now);
        replica.step(TWO, 1, Body::VoteReply { pre: true, granted: true });
        replica.drain();
        replica.step(TWO, 1, Body::VoteReply { pre: false, granted: true });
        replica.drain();
        assert!(replica.raft.is_leader(), "it has a majority");
        let mut leader = Leader { replica, payload: Bytes::from(vec![b'v'; VALUE_BYTES]) };
        leader.acknowledge();
        Box::new(leader)
    }

    fn acknowledge(&mut self) {
        let match_index = self.replica.raft.last_index();
        for from in [TWO, THREE] {
            self.replica.step(from, self.replica.raft.term(), Body::AppendAccepted { match_index });
            self.replica.drain();
        }
    }
}

impl Workload for Leader {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn run(&mut self) {
        for _ in 0..PIPELINE {
            self.replica.now += Duration::from_micros(100);
            self.replica.raft.propose(self.payload.clone(), self.replica.now).expect("it leads");
            self.replica.drain();
            self.acknowledge();
        }
        assert_eq!(self.replica.raft.commit_index(), self.replica.raft.last_index(), "all is committed");
    }
}

/// Entries that a leader sends, made durable, acknowledged, and applied once the next one tells that they may be.
pub(super) struct Follower {
    replica: Replica,
    payload: Bytes,
    last: (Index, u64),
}

impl Follower {
    pub(super) fn make() -> Box<dyn Workload> {
        let payload = Bytes::from(vec![b'v'; VALUE_BYTES]);
        Box::new(Follower { replica: Replica::new(), payload, last: (0, 0) })
    }
}

impl Workload for Follower {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn run(&mut self) {
        for _ in 0..PIPELINE {
            self.replica.now += Duration::from_micros(100);
            let (prev_index, prev_term) = self.last;
            let payload = self.payload.clone();
            let entries =
                vec![Entry { term: 1, index: prev_index + 1, kind: EntryKind::Batch, payload: payload.into() }];
            self.replica.step(TWO, 1, Body::Append { prev_index, prev_term, commit: prev_index, entries });
            self.replica.drain();
            self.last = (prev_index + 1, 1);
        }
        assert_eq!(self.replica.raft.durable_index(), self.last.0, "all is durable");
    }
}

/// A block of the log with one entry for each of some groups: records, checksums, the write as far as it is the log's.
pub(super) struct LogBlock {
    wal: Wal<MemoryDisk>,
    disk: MemoryDisk,
    payload: Payload,
    last_index: Index,
}

impl LogBlock {
    pub(super) fn make() -> Box<dyn Workload> {
        let disk = MemoryDisk::default();
        let groups = (0..PIPELINE).map(GroupId).collect();
        let config = wal::Config { log_id: 7, groups, segment_bytes: 4 << 20, ..wal::Config::new("wal") };
        let (mut wal, _) = at_once(Wal::open(disk.clone(), config)).expect("a disk in memory does not fail");
        for group in (0..PIPELINE).map(GroupId) {
            wal.begin(group, ReplicaId(1)).expect("the log takes it");
        }
        disk.run_tasks();
        let payload = Payload::from(vec![b'v'; 1 << 10]);
        Box::new(LogBlock { wal, disk, payload, last_index: 0 })
    }
}

impl Workload for LogBlock {
    fn operations_count(&self) -> u32 {
        PIPELINE
    }

    fn prepare(&mut self) {
        self.disk.run_tasks();
    }

    fn run(&mut self) {
        self.last_index += 1;
        for group in (0..PIPELINE).map(GroupId) {
            let entry =
                Entry { term: 1, index: self.last_index, kind: EntryKind::Batch, payload: self.payload.clone() };
            let appended = self.wal.append(group, &Append { entries: &[entry], ..Append::default() });
            let _ = black_box(appended.expect("the log takes it"));
        }
        self.wal.submit().expect("a disk in memory does not fail");
        let durable = self.wal.poll().expect("a disk in memory does not fail");
        assert!(durable.is_some() && !self.wal.is_writing(), "the block is durable");
    }
}
