//! Disk operations under way: what they do when they end, and what a crash makes of them.

use std::collections::VecDeque;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};

use host::{AlignedBuf, WriteDone, WriteToken};

use crate::cluster::Death;
use crate::disk::{File, Torn};
use crate::queue::Event;
use crate::snapshots;
use crate::trace::Kind;
use crate::world::World;

const EIO: i32 = 5;

/// What a disk is asked to do.
pub(crate) enum Request {
    LogWrite { file: File, offset: u64, buf: AlignedBuf, token: WriteToken },
    Write { file: File, offset: u64, buf: AlignedBuf },
    Read { file: File, offset: u64, len: usize },
    Create { path: PathBuf, len: u64 },
    Open(PathBuf),
    Exists(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncNames,
    MakeDir(PathBuf),
    List(PathBuf),
}

/// What it answers.
pub(crate) enum Answer {
    Done,
    Is(bool),
    File(File),
    Bytes(AlignedBuf),
    Names(Vec<String>),
}

struct Slot {
    generation: u32,
    core: usize,
    request: Option<Request>,
    answer: Option<Result<Answer>>,
    waiter: Option<(u32, u32)>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Operations {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl World {
    /// Begins an operation. `waiter` is woken when it has ended; a log write reports to the turn loop instead.
    pub(crate) fn disk_begin(&mut self, core: usize, request: Request, waiter: Option<u32>) -> (u32, u32) {
        let waiter = waiter.map(|task| (task, self.tasks.generation(task)));
        let node = &self.nodes[self.cores[core].node];
        let (least, mean) = node.disk_latency;
        let weight = match &request {
            Request::LogWrite { .. } | Request::Write { .. } | Request::SyncNames | Request::Create { .. } => 4,
            Request::Read { .. } => 2,
            _ => 1,
        };
        let bytes = match &request {
            Request::LogWrite { buf, .. } | Request::Write { buf, .. } => buf.len() as u64,
            Request::Read { len, .. } => *len as u64,
            Request::Create { len, .. } => *len,
            _ => 0,
        };
        let latency = self.disk_prng.latency(least * weight / 4, mean * weight / 4) + bytes / 2;
        let at = self.queue.now() + latency * node.disk.slowness;
        if let Some(left_count) = node.dies_writing.filter(|_| matches!(request, Request::LogWrite { .. })) {
            let (node, epoch) = (self.cores[core].node, node.epoch);
            self.nodes[node].dies_writing = left_count.checked_sub(1);
            if left_count == 0 {
                self.queue.push((self.queue.now() + at) / 2, Event::Kill { node: node as u32, epoch });
            }
        }
        let idx = self.operations.free.pop().unwrap_or_else(|| {
            self.operations.slots.push(Slot { generation: 0, core, request: None, answer: None, waiter: None });
            self.operations.slots.len() as u32 - 1
        });
        let slot = &mut self.operations.slots[idx as usize];
        slot.core = core;
        slot.request = Some(request);
        slot.waiter = waiter;
        let generation = slot.generation;
        self.queue.push(at, Event::DiskEnd { op: idx, generation });
        (idx, generation)
    }

    /// The answer of an operation, once it has ended.
    pub(crate) fn disk_answer(&mut self, op: (u32, u32)) -> Option<Result<Answer>> {
        let slot = &mut self.operations.slots[op.0 as usize];
        if slot.generation != op.1 {
            return Some(Err(Error::from_raw_os_error(EIO)));
        }
        let answer = slot.answer.take()?;
        self.operations.release(op.0);
        Some(answer)
    }

    pub(crate) fn on_disk_end(&mut self, op: u32, generation: u32) {
        let slot = &mut self.operations.slots[op as usize];
        if slot.generation != generation {
            return;
        }
        let core = slot.core;
        let Some(request) = slot.request.take() else { return };
        self.trace.add(self.queue.now(), Kind::Disk, [core as u64, u64::from(op)]);
        if let Request::LogWrite { file, offset, buf, token } = request {
            self.operations.release(op);
            let result = self.write(core, file, offset, &buf);
            self.note_failure(core, result.as_ref().err());
            self.cores[core].writes_done.push_back(WriteDone { token, buf, result });
            return self.wake_core(core);
        }
        let answer = self.carry_out(core, request);
        self.note_failure(core, answer.as_ref().err());
        let slot = &mut self.operations.slots[op as usize];
        slot.answer = Some(answer);
        match slot.waiter.take() {
            Some((task, generation)) if self.tasks.is_there(task, generation) => self.make_ready(task),
            _ => self.operations.release(op),
        }
    }

    /// Remembers that a disk has failed its process. That a file is not there, or is there already, is no failure.
    fn note_failure(&mut self, core: usize, error: Option<&Error>) {
        let is_answer = |error: &Error| matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists);
        if error.is_some_and(|error| !is_answer(error)) {
            let node = self.cores[core].node;
            self.nodes[node].has_disk_failed = true;
        }
    }

    fn write(&mut self, core: usize, file: File, offset: u64, buf: &AlignedBuf) -> Result<()> {
        let disk = &mut self.nodes[self.cores[core].node].disk;
        match disk.write_faults.pop_front() {
            None => disk.write(file, offset, buf),
            Some(fault) => {
                let result = disk.write_wrong(fault, file, offset, buf, &mut self.disk_prng);
                if fault != crate::disk::WriteFault::Fail {
                    let node = self.cores[core].node;
                    self.nodes[node].is_damaged = true;
                }
                self.count(match fault {
                    crate::disk::WriteFault::Fail => "a write failed",
                    crate::disk::WriteFault::Lose => "a write was lost",
                    crate::disk::WriteFault::Misdirect => "a write was misdirected",
                });
                result
            }
        }
    }

    fn carry_out(&mut self, core: usize, request: Request) -> Result<Answer> {
        let node = &mut self.nodes[self.cores[core].node];
        let disk = &mut node.disk;
        match request {
            Request::LogWrite { .. } => unreachable!("log writes report to the turn loop"),
            Request::Write { file, offset, buf } => self.write(core, file, offset, &buf).map(|()| Answer::Done),
            Request::Read { file, offset, len } => {
                if self.disk_prng.bernoulli(node.read_errors) {
                    self.count("a read failed");
                    return Err(Error::from_raw_os_error(EIO));
                }
                let result = disk.read(file, offset, len);
                if result.is_err() {
                    self.count("a read failed");
                }
                result.map(Answer::Bytes)
            }
            Request::Create { path, len } => {
                let result = disk.create(&path, len);
                if result.is_err() {
                    self.count("a disk was full");
                }
                result.map(Answer::File)
            }
            Request::Open(path) => disk.open(&path).map(Answer::File),
            Request::Exists(path) => Ok(Answer::Is(disk.exists(&path))),
            Request::Rename { from, to } => {
                let result = disk.rename(&from, &to);
                let group = snapshots::group_of(&to).filter(|_| result.is_ok());
                self.snapshots_due.extend(group.map(|group| (core, group)));
                result.map(|()| Answer::Done)
            }
            Request::Remove(path) => disk.remove(&path).map(|()| Answer::Done),
            Request::SyncNames => {
                disk.sync_names();
                Ok(Answer::Done)
            }
            Request::MakeDir(path) => {
                disk.create_dir_all(&path);
                Ok(Answer::Done)
            }
            Request::List(path) => disk.list(&path).map(Answer::Names),
        }
    }

    /// Power fails at a node.
    pub(crate) fn lose_power(&mut self, node: usize) {
        let lost_count = self.nodes[node].disk.lose_power(&mut self.disk_prng);
        *self.counts.entry("a drive's cache lost a write").or_default() += lost_count;
    }

    /// The process of some cores has died, alone or with its machine: writes under way are torn, everything else under way never happens.
    pub(crate) fn tear_operations(&mut self, cores: std::ops::Range<usize>, death: Death) {
        let mut torn = VecDeque::new();
        for idx in 0..self.operations.slots.len() {
            let slot = &mut self.operations.slots[idx];
            let is_used = slot.request.is_some() || slot.answer.is_some();
            if !is_used || !cores.contains(&slot.core) {
                continue;
            }
            let core = slot.core;
            match slot.request.take() {
                Some(Request::LogWrite { file, offset, buf, .. } | Request::Write { file, offset, buf }) => {
                    torn.push_back((core, file, offset, buf));
                }
                _ => self.count("a crash met another disk operation"),
            }
            self.operations.release(idx as u32);
        }
        for (core, file, offset, buf) in torn {
            let disk = &mut self.nodes[self.cores[core].node].disk;
            let torn = match death {
                Death::Process => disk.tear_into_cache(file, offset, &buf, &mut self.disk_prng),
                Death::Machine => disk.tear(file, offset, &buf, &mut self.disk_prng),
            };
            let what = match torn {
                Torn::Lost => "a crash lost a write",
                Torn::Whole => "a crash left a write whole",
                Torn::Partly { has_first: true } => "a crash tore a write behind its beginning",
                Torn::Partly { has_first: false } => "a crash left a write without its beginning",
            };
            self.count(what);
        }
    }
}

impl Operations {
    fn release(&mut self, idx: u32) {
        let slot = &mut self.slots[idx as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.request = None;
        slot.answer = None;
        slot.waiter = None;
        self.free.push(idx);
    }
}

/// `path` with `.tmp` appended, where a new file is made.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
