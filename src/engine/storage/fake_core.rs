//! A core with storage and replicas that know no Raft: whatever they log is committed once it is durable here.
//!
//! It carries effects out and asserts what Raft would assert. Entry `index` of a group sets one of a few keys to its own
//! payload, so what a state must hold follows from its last index.

#![allow(clippy::unwrap_used, reason = "test support")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use data::Keyspace;
use raft::{LogRead, Persist, Purpose};
use resp::{ArgRange, Args, CommandId};
use types::{CoreAddr, CoreId, GroupId, Index, NodeId, ReplicaId, Slot};
use wire::{ChunkReply, ChunkRequest, Entry, EntryKind, HardState, Membership};

use super::fake::{FakeHost, block_on};
use super::{Loaded, Opened, StartedReplica, Storage, StorageEffect};
use crate::budget::Budget;
use crate::comparison::{ComparePoint, DigestAnswer};
use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::origin::LinkId;
use crate::replicas::{ReplicaView, Replicas, SealedState};
use crate::row_read::ReadRows;
use crate::testing::map;

/// How long a turn takes in this world.
pub(crate) const TURN: Duration = Duration::from_millis(25);
const KEYS_COUNT: u64 = 40;

/// Small sizes, so that snapshots are due soon and segments end often.
pub(crate) fn config(node: u32, groups_count: usize) -> Config {
    let addr = CoreAddr { node: NodeId(node), core: CoreId(0) };
    let mut config = Config::new(addr, map(groups_count), 1, PathBuf::from("/data"));
    config.segment_bytes = 256 << 10;
    config.block_bytes_max = 32 << 10;
    config.group_log_bytes_max = 64 << 10;
    config.log_bytes_max = 8 * config.segment_bytes;
    config.log_tail_bytes_max = 0;
    config.disk_reserve_bytes = 0;
    config.limits.chunk_bytes_max = 16 << 10;
    config.store.manifest.bytes_min = 32 << 10;
    config.store.write.table_bytes_max = 16 << 10;
    config.store.write.blob_value_bytes_min = 4 << 10;
    config.store.merges.fan_out = 3;
    config
}

/// The payload of an entry.
fn payload(index: Index, len: usize) -> Bytes {
    let text = format!("{index}/").into_bytes();
    let mut payload = text.repeat(len / text.len() + 1);
    payload.truncate(len.max(text.len()));
    Bytes::from(payload)
}

fn apply(keyspace: &mut Keyspace, index: Index, value: &[u8]) {
    let key = format!("{{k}}{}", index % KEYS_COUNT);
    let buf = [key.as_bytes(), value].concat();
    let (key_end, end) = (key.len() as u32, buf.len() as u32);
    let range = |start, end| ArgRange { start, end };
    let ranges = [range(0, 0), range(0, key_end), range(key_end, end)];
    keyspace.apply(CommandId::Set, Slot::of_key(key.as_bytes()), Args::new(&buf, &ranges));
}

/// The state behind entries of this length.
pub(crate) fn digest_at(index: Index, len: usize) -> u128 {
    let mut keyspace = Keyspace::new();
    (1..=index).for_each(|index| apply(&mut keyspace, index, &payload(index, len)));
    keyspace.digest()
}

/// A replica as `groups` would keep it.
pub(crate) struct FakeReplica {
    pub(crate) id: GroupId,
    pub(crate) replica: ReplicaId,
    membership: Membership,
    pub(crate) keyspace: Keyspace,
    pub(crate) applied: Index,
    pub(crate) durable: Index,
    pub(crate) last: Index,
    pub(crate) base: Index,
    pub(crate) offered: Index,
    seq: u64,
    /// Last index of each write that is not durable yet, and its number.
    writes: VecDeque<(u64, Index)>,
    /// Entries that are not applied yet.
    unapplied: VecDeque<Entry>,
    is_reading: bool,
    /// Nothing is applied: a snapshot takes the place of the tables.
    pub(crate) is_held: bool,
    /// Its state is lost.
    pub(crate) is_lost: bool,
    pub(crate) leads: bool,
    /// Nothing is applied: the group has no quorum.
    pub(crate) is_stuck: bool,
}

impl FakeReplica {
    fn start(started: StartedReplica) -> FakeReplica {
        let recovered = &started.recovered;
        FakeReplica {
            id: started.group,
            replica: started.replica,
            applied: recovered.applied,
            durable: recovered.last_index,
            last: recovered.last_index,
            base: recovered.base_index,
            offered: recovered.snapshot.as_ref().map_or(0, |snapshot| snapshot.last_index),
            membership: started.membership,
            keyspace: started.keyspace,
            seq: 0,
            writes: VecDeque::new(),
            unapplied: VecDeque::new(),
            is_reading: false,
            is_held: false,
            is_lost: false,
            leads: false,
            is_stuck: false,
        }
    }
}

#[derive(Default)]
pub(crate) struct FakeReplicas {
    pub(crate) list: Vec<FakeReplica>,
    /// How often one was looked at.
    pub(crate) views: Cell<usize>,
}

impl Replicas for FakeReplicas {
    fn view(&self, group: usize) -> ReplicaView {
        self.views.set(self.views.get() + 1);
        let replica = &self.list[group];
        ReplicaView {
            id: replica.id,
            replica: replica.replica,
            applied: replica.applied,
            applied_term: Some(1),
            durable: replica.durable,
            base: replica.base,
            offered: replica.offered,
            is_within_entry: false,
            leads: replica.leads,
        }
    }

    fn keyspace(&self, group: usize) -> &Keyspace {
        &self.list[group].keyspace
    }

    fn keyspace_mut(&mut self, group: usize) -> &mut Keyspace {
        &mut self.list[group].keyspace
    }

    fn end_flush(&mut self, group: usize) {
        self.list[group].keyspace.end_flush();
    }

    fn settle(&mut self, _: usize) {}

    fn sealed_state(&self, group: usize) -> SealedState {
        let replica = &self.list[group];
        SealedState { time_ms: replica.applied, membership: replica.membership.clone() }
    }
}

/// What is said to another core.
pub(crate) enum Said {
    Ask(ChunkRequest),
    Reply(ChunkReply),
}

/// A core of a small world.
pub(crate) struct FakeCore {
    pub(crate) host: FakeHost,
    pub(crate) config: Rc<Config>,
    pub(crate) ctx: Context,
    pub(crate) storage: Storage<FakeHost>,
    pub(crate) replicas: FakeReplicas,
    pub(crate) quarantined: Vec<GroupId>,
    pub(crate) said: Vec<(LinkId, Said)>,
    pub(crate) payload_len: usize,
    /// Rows that were read, by the numbers of who wanted them.
    pub(crate) rows_read: Vec<(u64, ReadRows)>,
    /// Bytes of entries that the last turn handed over from the log.
    pub(crate) read_bytes: usize,
    /// Entries handed over in one effect at most.
    pub(crate) installed_count: usize,
    /// Flushes begun.
    pub(crate) begun_count: usize,
    /// Digests that were made, or why there was none.
    pub(crate) digested: Vec<(ComparePoint, DigestAnswer)>,
    /// Replicas that were destroyed.
    pub(crate) destroyed: Vec<(GroupId, ReplicaId)>,
    /// Whether blocks of the log are written.
    pub(crate) disk_writes: bool,
    /// Whether turns are as far apart as ticks.
    pub(crate) ticks: bool,
    effects: Vec<StorageEffect>,
}

impl FakeCore {
    /// A core behind a start, with all the rows in memory again that there is room for.
    pub(crate) fn try_start(host: FakeHost, config: Config) -> Result<FakeCore, Error> {
        let mut core = FakeCore::try_start_cold(host, config)?;
        core.warm();
        Ok(core)
    }

    /// A core behind a start, before anything of its tables is read.
    pub(crate) fn try_start_cold(host: FakeHost, config: Config) -> Result<FakeCore, Error> {
        let config = Rc::new(config);
        let mut ctx = Context::new(Rc::clone(&config), Default::default(), None);
        ctx.budget = Budget::new(config.memory_bytes_max);
        let Opened { storage, replicas, quarantined } = block_on(Storage::open(host.clone(), &config, &ctx.budget))?;
        host.run_tasks();
        let list = replicas.into_iter().map(FakeReplica::start).collect();
        Ok(FakeCore {
            host,
            config,
            ctx,
            storage,
            replicas: FakeReplicas { list, views: Cell::new(0) },
            quarantined: quarantined.into_iter().map(|(group, _)| group).collect(),
            said: Vec::new(),
            payload_len: 1_000,
            rows_read: Vec::new(),
            read_bytes: 0,
            installed_count: 0,
            begun_count: 0,
            digested: Vec::new(),
            destroyed: Vec::new(),
            disk_writes: true,
            ticks: true,
            effects: Vec::new(),
        })
    }

    pub(crate) fn start(host: FakeHost, config: Config) -> FakeCore {
        FakeCore::try_start(host, config).unwrap()
    }

    /// The same core behind a crash.
    pub(crate) fn restart(&self) -> FakeCore {
        let mut core = FakeCore::start(self.host.crash(), (*self.config).clone());
        core.payload_len = self.payload_len;
        core
    }

    /// The same, before anything of its tables is read.
    pub(crate) fn restart_cold(&self) -> FakeCore {
        let mut core = FakeCore::try_start_cold(self.host.crash(), (*self.config).clone()).unwrap();
        core.payload_len = self.payload_len;
        core
    }

    /// Lets rows come back into memory until none wait, while nothing else happens.
    pub(crate) fn warm(&mut self) {
        while !self.storage.warming.waiting.is_empty() || self.storage.warming.running.is_some() {
            self.host.advance(Duration::from_millis(1));
            self.ctx.now = host::Clock::now(&self.host);
            self.storage.work(&mut self.ctx, &mut self.replicas);
            self.host.run_tasks();
        }
    }

    /// Flips a bit in the first block of each file of tables and blobs.
    pub(crate) fn damage_tables(&self) {
        let files = self.data_files();
        assert!(!files.is_empty(), "there are tables");
        files.iter().for_each(|file| self.host.damage(file, 100));
    }

    /// How many files the versions of all groups name.
    pub(crate) fn named_files(&self) -> usize {
        let versions = self.replicas.list.iter().map(|replica| self.storage.store.version(replica.id));
        let mut named = std::collections::BTreeSet::new();
        for version in versions {
            named.extend(version.tables().map(|table| table.file.number()));
            named.extend(version.blobs().map(|live| live.blob.file.number()));
        }
        named.len()
    }

    /// The files of tables and blobs that there are.
    pub(crate) fn data_files(&self) -> Vec<PathBuf> {
        let names = block_on(host::Disk::list(&self.host, &self.config.store_dir())).unwrap();
        let data = names.into_iter().filter(|name| lsm::files::data_number(name).is_some());
        data.map(|name| self.config.store_dir().join(name)).collect()
    }

    /// Hands entries of a replica to the log.
    pub(crate) fn append(&mut self, group: usize, count: u64) {
        let len = self.payload_len;
        let replica = &mut self.replicas.list[group];
        let indexes = replica.last + 1..replica.last + 1 + count;
        let entry = |index| Entry { term: 1, index, kind: EntryKind::Batch, payload: payload(index, len).into() };
        let entries: Vec<Entry> = indexes.map(entry).collect();
        // Behind a start what comes before them must be read back first, and they with it.
        if replica.unapplied.back().map_or(replica.applied, |entry| entry.index) == replica.last {
            replica.unapplied.extend(entries.iter().cloned());
        }
        replica.last += count;
        self.persist(group, None, entries);
    }

    fn persist(&mut self, group: usize, reset: Option<(Index, u64)>, entries: Vec<Entry>) {
        let replica = &mut self.replicas.list[group];
        replica.seq += 1;
        replica.writes.push_back((replica.seq, replica.last));
        let hard_state = HardState { term: 1, vote: None, commit: replica.durable };
        let persist = Persist { seq: replica.seq, reset, hard_state: Some(hard_state), entries };
        let id = replica.id;
        self.storage.persist(&mut self.ctx, group, id, &persist).unwrap();
    }

    /// One turn, and what tasks and the disk do until the next one.
    pub(crate) fn turn(&mut self) {
        self.try_turn().unwrap();
    }

    pub(crate) fn try_turn(&mut self) -> Result<(), Error> {
        self.host.advance(TURN);
        self.ctx.now = host::Clock::now(&self.host);
        self.read_bytes = 0;
        let mut effects = std::mem::take(&mut self.effects);
        self.storage.poll(&mut self.ctx, &mut self.replicas, &mut effects)?;
        self.carry_out(&mut effects);
        if self.ticks {
            self.storage.tick(&mut self.ctx, &mut self.replicas, &mut effects)?;
        }
        self.carry_out(&mut effects);
        self.effects = effects;
        (0..self.replicas.list.len()).for_each(|group| self.apply(group));
        self.storage.submit()?;
        self.storage.work(&mut self.ctx, &mut self.replicas);
        if self.disk_writes {
            self.host.complete_write();
        }
        self.host.run_tasks();
        Ok(())
    }

    pub(crate) fn turns(&mut self, count: usize) {
        (0..count).for_each(|_| self.turn());
    }

    /// Turns until `is_so`, or so many that something is wrong.
    pub(crate) fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&FakeCore) -> bool) {
        for _ in 0..10_000 {
            if is_so(self) {
                return;
            }
            self.turn();
        }
        panic!("it never came to be that {what}");
    }

    /// Turns until all is durable and applied and nothing is being done.
    pub(crate) fn settle(&mut self) {
        self.turn_until("all is durable and applied", |core| {
            core.replicas.list.iter().all(|replica| replica.applied == replica.last || replica.is_stuck)
                && !core.storage.has_pending()
                && core.storage.flushing.group().is_none()
                && core.storage.warming.is_idle()
        });
    }

    fn apply(&mut self, group: usize) {
        let replica = &mut self.replicas.list[group];
        if replica.is_stuck || replica.is_held {
            return;
        }
        while replica.unapplied.front().is_some_and(|entry| entry.index <= replica.durable) {
            let entry = replica.unapplied.pop_front().unwrap();
            if entry.index <= replica.applied {
                continue;
            }
            assert_eq!(entry.index, replica.applied + 1);
            apply(&mut replica.keyspace, entry.index, &entry.payload);
            replica.applied = entry.index;
            self.storage.applied(group, entry.index, entry.payload.len());
        }
        let wants_log = replica.unapplied.is_empty() && replica.applied < replica.durable;
        if wants_log && !replica.is_reading {
            replica.is_reading = true;
            let (first, last, bytes_max) = (replica.applied + 1, replica.durable, 4 << 20);
            let read = LogRead { purpose: Purpose::Apply, first, last, bytes_max };
            let id = replica.id;
            self.storage.read_log(&mut self.ctx, group, id, None, read);
        }
    }

    fn carry_out(&mut self, effects: &mut Vec<StorageEffect>) {
        for effect in effects.drain(..) {
            match effect {
                StorageEffect::Persisted { group, seq } => {
                    let replica = &mut self.replicas.list[group];
                    while replica.writes.front().is_some_and(|(number, _)| *number <= seq) {
                        replica.durable = replica.writes.pop_front().unwrap().1.max(replica.base);
                    }
                }
                StorageEffect::LogRead { group, purpose, entries } => {
                    assert!(!entries.is_empty());
                    if purpose != Purpose::Apply {
                        continue;
                    }
                    self.read_bytes += entries.iter().map(|entry| entry.payload.len()).sum::<usize>();
                    self.replicas.list[group].is_reading = false;
                    self.replicas.list[group].unapplied.extend(entries);
                }
                StorageEffect::LogReadFailed { group, purpose } => {
                    self.replicas.list[group].is_reading &= purpose != Purpose::Apply;
                }
                StorageEffect::FlushBegun { .. } => self.begun_count += 1,
                StorageEffect::TidyRows { .. } | StorageEffect::TablesChanged { .. } => {}
                StorageEffect::HoldApplying { group, is_held } => {
                    let replica = &mut self.replicas.list[group];
                    replica.is_held = is_held || replica.is_lost;
                }
                StorageEffect::RowsRead { number, result, .. } => self.rows_read.push((number, result.unwrap())),
                StorageEffect::Resident { group } => assert!(self.replicas.list[group].keyspace.is_resident()),
                StorageEffect::StateLost { group } => {
                    let replica = &mut self.replicas.list[group];
                    (replica.is_held, replica.is_lost) = (true, true);
                }
                StorageEffect::OfferSnapshot { group, meta } => {
                    let replica = &mut self.replicas.list[group];
                    assert!(meta.last_index <= replica.applied, "a snapshot holds what is applied and no more");
                    replica.offered = replica.offered.max(meta.last_index);
                }
                StorageEffect::CompactRaft { group, index } => {
                    let replica = &mut self.replicas.list[group];
                    assert!(index <= replica.offered, "the log is dropped beyond the snapshot");
                    assert!(index <= replica.durable, "only what is durable leaves the log's beginning");
                    replica.base = replica.base.max(index);
                }
                StorageEffect::AskChunk { link, request } => self.said.push((link, Said::Ask(request))),
                StorageEffect::SendChunk { link, reply } => self.said.push((link, Said::Reply(reply))),
                StorageEffect::Install { group, loaded, .. } => self.install(group, *loaded),
                StorageEffect::Digested { group, point, answer } => {
                    assert_eq!(self.replicas.list[group].id, point.group);
                    self.digested.push((point, answer));
                }
                StorageEffect::Destroyed { group, replica } => self.destroyed.push((group, replica)),
                StorageEffect::Rejoin { replica } | StorageEffect::Begun { replica } => {
                    let replica = FakeReplica::start(*replica);
                    // It has the index of one of its group that is gone.
                    match self.replicas.list.iter().position(|gone| gone.id == replica.id) {
                        Some(gone) => self.replicas.list[gone] = replica,
                        None => self.replicas.list.push(replica),
                    }
                }
            }
        }
    }

    fn install(&mut self, group: usize, loaded: Loaded) {
        let last = loaded.last_index;
        let replica = &mut self.replicas.list[group];
        assert!(last > replica.applied || replica.is_lost && last >= replica.base);
        (replica.applied, replica.offered) = (last, last);
        replica.keyspace = loaded.keyspace;
        if std::mem::take(&mut replica.is_lost) {
            // What comes behind it is read back.
            replica.unapplied.clear();
        }
        if replica.last < last {
            (replica.last, replica.durable, replica.base) = (last, last, last);
            replica.unapplied.clear();
            replica.writes.clear();
            self.persist(group, Some((last, 1)), Vec::new());
        }
        self.replicas.list[group].is_held = false;
        self.installed_count += 1;
        let mut more = Vec::new();
        self.storage.installed(&mut self.ctx, &self.replicas, group, true, &mut more);
        assert!(more.is_empty());
    }

    /// A replica has applied a compare entry: that is the last one applied.
    pub(crate) fn compare(&mut self, group: usize) {
        let replica = &mut self.replicas.list[group];
        replica.is_held = true;
        let point = ComparePoint { group: replica.id, index: replica.applied, term: 1 };
        let mut effects = Vec::new();
        self.storage.compare(&self.ctx, &mut self.replicas, group, point, &mut effects);
        self.carry_out(&mut effects);
    }

    /// Asserts that a replica's state is what its last index says.
    pub(crate) fn check_state(&self, group: usize) {
        let replica = &self.replicas.list[group];
        let expected = digest_at(replica.applied, self.payload_len);
        assert_eq!(replica.keyspace.digest(), expected, "group {} at {}", replica.id, replica.applied);
    }
}

/// Two cores, one of which asks the other for snapshots over link 0.
pub(crate) fn exchange(follower: &mut FakeCore, leader: &mut FakeCore) {
    ask(follower, leader);
    for (link, said) in std::mem::take(&mut leader.said) {
        let Said::Reply(reply) = said else { panic!("the leader receives nothing") };
        follower.storage.on_chunk(&mut follower.ctx, link, reply);
    }
}

/// What the follower asks reaches the leader.
pub(crate) fn ask(follower: &mut FakeCore, leader: &mut FakeCore) {
    for (link, said) in std::mem::take(&mut follower.said) {
        let Said::Ask(request) = said else { panic!("the follower sends nothing") };
        let mut effects = Vec::new();
        leader.storage.on_chunk_request(&mut leader.ctx, link, request, &mut effects);
        leader.carry_out(&mut effects);
    }
}
