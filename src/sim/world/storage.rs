//! The disks of nodes: when operations end and what they do then, and what a crash makes of those under way.

use std::io::{Error, ErrorKind, Result};
use std::ops::Range;

use host::{AlignedBuf, IoClass, WriteDone};
use types::Instant;

use super::operations::{Answer, EIO, Request};
use super::{Death, World};
use crate::disk::{File, Torn, WriteFault};
use crate::queue::Event;
use crate::trace::Kind;

/// For how long a read may stand still, in nanoseconds: rows may be written, flushed and gone from memory meanwhile.
const READ_STALL_MAX: u64 = 1_500_000_000;

impl World {
    /// Begins an operation. `waiter` is woken when it has ended; a log write reports to the turn loop instead.
    pub(crate) fn disk_begin(&mut self, core: usize, request: Request, waiter: Option<u32>) -> (u32, u32) {
        let waiter = waiter.map(|task| (task, self.tasks.generation(task)));
        let turn = request.turn();
        let (op, generation) = self.operations.insert(core, request, waiter);
        match turn {
            None => self.disk_start(core, op),
            Some((class, kind)) => {
                let ticket = self.cores[core].schedule.enqueue(class, kind, op);
                self.operations.set_waiting(op, ticket);
                self.disk_start_queued(core);
            }
        }
        (op, generation)
    }

    /// Nobody waits for an operation any more: if its turn has not come, it never happens.
    pub(crate) fn disk_abandon(&mut self, core: usize, op: (u32, u32)) {
        if let Some(ticket) = self.operations.abandon(op) {
            self.cores[core].schedule.cancel(ticket);
            self.count("a disk operation was given up before its turn");
        }
    }

    /// Starts the operations of a core whose turn has come.
    fn disk_start_queued(&mut self, core: usize) {
        let now = Instant::from_nanos(self.queue.now());
        while let Some((op, permit)) = self.cores[core].schedule.next(now) {
            self.operations.set_begun(op, permit);
            self.disk_start(core, op);
        }
        if self.cores[core].schedule.has_waiting() {
            self.count("a disk operation waited for its turn");
        }
    }

    fn disk_start(&mut self, core: usize, op: u32) {
        let Some((generation, request)) = self.operations.request_mut(op) else { return };
        let node = &self.nodes[self.cores[core].node];
        if let Request::Sync { file, mark, .. } = request {
            *mark = node.disk.sync_mark(*file);
        }
        let (least, mean) = node.disk_latency;
        let (weight, bytes) = (request.weight(), request.bytes());
        let latency = self.disk_prng.latency(least * weight / 4, mean * weight / 4) + bytes / 2;
        let is_read = matches!(request, Request::Read { class, .. } if *class != IoClass::Log);
        let is_stalled = is_read && node.stalled_reads > 0 && self.disk_prng.bernoulli(node.stalled_reads);
        let stall = if is_stalled { self.disk_prng.range(1, READ_STALL_MAX) } else { 0 };
        let at = self.queue.now() + latency * node.disk.slowness + stall;
        // Who writes with the log's urgency and waits in a task writes to the manifest.
        let is_of_manifest = matches!(request, Request::Write { class: IoClass::Log, .. });
        if matches!(request, Request::LogWrite { .. }) {
            self.cores[core].schedule.begin_log();
            self.die_writing_if_due(core, at);
        }
        if is_stalled {
            self.count("a read stood still");
        }
        self.die_operating_if_due(core, at);
        if is_of_manifest {
            self.manifest_writes.push(self.cores[core].node);
        }
        self.queue.push(at, Event::DiskEnd { op, generation });
    }

    /// A log write that ends at `at` is the one in whose middle its process may be meant to die.
    fn die_writing_if_due(&mut self, core: usize, at: u64) {
        let idx = self.cores[core].node;
        let node = &mut self.nodes[idx];
        let Some(left_count) = node.dies_writing else { return };
        node.dies_writing = left_count.checked_sub(1);
        if left_count == 0 {
            let kill = Event::Kill { node: idx as u32, epoch: node.epoch };
            self.queue.push((self.queue.now() + at) / 2, kill);
        }
    }

    /// The same of an operation of any kind.
    fn die_operating_if_due(&mut self, core: usize, at: u64) {
        let idx = self.cores[core].node;
        let node = &mut self.nodes[idx];
        let Some(left_count) = node.dies_operating else { return };
        node.dies_operating = left_count.checked_sub(1);
        if left_count == 0 {
            let kill = Event::Kill { node: idx as u32, epoch: node.epoch };
            self.queue.push((self.queue.now() + at) / 2, kill);
        }
    }

    /// The answer of an operation, once it has ended.
    pub(crate) fn disk_answer(&mut self, op: (u32, u32)) -> Option<Result<Answer>> {
        self.operations.take_answer(op)
    }

    /// An operation ends.
    pub(super) fn on_disk_end(&mut self, op: u32, generation: u32) {
        let Some((core, request, permit)) = self.operations.take_request(op, generation) else { return };
        if let Some(permit) = permit {
            self.cores[core].schedule.end(permit);
        }
        self.trace.add(self.queue.now(), Kind::Disk, [core as u64, u64::from(op)]);
        if let Request::LogWrite { file, offset, buf, token } = request {
            self.operations.release(op);
            self.cores[core].schedule.end_log(Instant::from_nanos(self.queue.now()));
            self.disk_start_queued(core);
            let result = self.write(core, file, offset, &buf);
            self.note_failure(core, result.as_ref().err());
            self.cores[core].writes_done.push_back(WriteDone { token, buf, result });
            return self.wake_core(core);
        }
        let answer = self.carry_out(core, request);
        self.disk_start_queued(core);
        self.note_failure(core, answer.as_ref().err());
        match self.operations.keep_answer(op, answer) {
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
                let node = self.cores[core].node;
                self.nodes[node].damaged_at = self.queue.now();
                self.nodes[node].is_damaged |= fault != WriteFault::Fail;
                self.count(match fault {
                    WriteFault::Fail => "a write failed",
                    WriteFault::Lose => "a write was lost",
                    WriteFault::Misdirect => "a write was misdirected",
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
            Request::Write { file, offset, buf, .. } => {
                self.write(core, file, offset, &buf).map(|()| Answer::Bytes(buf))
            }
            Request::Sync { file, mark, .. } => self.sync(core, file, mark).map(|()| Answer::Done),
            Request::SetLen { file, len } => disk.truncate(file, len).map(|()| Answer::Done),
            Request::Read { file, offset, len, class } => {
                if self.disk_prng.bernoulli(node.read_errors) {
                    self.count("a read failed");
                    return Err(Error::from_raw_os_error(EIO));
                }
                let result = match class {
                    IoClass::Scrub => disk.read_to_check(file, offset, len),
                    _ => disk.read(file, offset, len),
                };
                if result.is_err() {
                    self.count("a read failed");
                }
                result.map(Answer::Bytes)
            }
            Request::Create { path, len } => {
                let result = disk.create(&path, len);
                self.count_if_full(&result);
                result.map(Answer::File)
            }
            Request::CreateUnsynced { path, len } => {
                let result = disk.create_unsynced(&path, len);
                self.count_if_full(&result);
                result.map(Answer::File)
            }
            Request::Open(path) => disk.open(&path).map(Answer::File),
            Request::Exists(path) => Ok(Answer::Is(disk.exists(&path))),
            Request::Rename { from, to } => disk.rename(&from, &to).map(|()| Answer::Done),
            Request::Remove(path) => disk.remove(&path).map(|()| Answer::Done),
            Request::SyncDir(path) => {
                disk.sync_dir(&path);
                Ok(Answer::Done)
            }
            Request::MakeDir(path) => {
                disk.create_dir_all(&path);
                Ok(Answer::Done)
            }
            Request::List(path) => disk.list(&path).map(Answer::Names),
        }
    }

    fn sync(&mut self, core: usize, file: File, mark: u64) -> Result<()> {
        let disk = &mut self.nodes[self.cores[core].node].disk;
        if disk.write_faults.front() == Some(&WriteFault::Fail) {
            disk.write_faults.pop_front();
            let error = disk.fail_sync(file, &mut self.disk_prng);
            self.count("a sync failed");
            return Err(error);
        }
        disk.sync(file, mark)
    }

    fn count_if_full<T>(&mut self, result: &Result<T>) {
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull) {
            self.count("a disk was full");
        }
    }

    /// Power fails at a node.
    pub(crate) fn lose_power(&mut self, node: usize) {
        let lost_count = self.nodes[node].disk.lose_power(&mut self.disk_prng);
        *self.counts.entry("a drive's cache lost a write").or_default() += lost_count;
    }

    /// The process of some cores has died, alone or with its machine: writes under way are torn, everything else under way
    /// never happens.
    pub(crate) fn tear_operations(&mut self, cores: &Range<usize>, death: Death) {
        for (core, request) in self.operations.take_of(cores) {
            let name = match request {
                Some(Request::LogWrite { file, offset, buf, .. } | Request::Write { file, offset, buf, .. }) => {
                    self.tear(core, file, offset, &buf, death)
                }
                _ => "a crash met another disk operation",
            };
            self.count(name);
        }
    }

    /// Returns the name under which what became of the write is counted.
    fn tear(&mut self, core: usize, file: File, offset: u64, buf: &AlignedBuf, death: Death) -> &'static str {
        let disk = &mut self.nodes[self.cores[core].node].disk;
        let torn = match death {
            Death::Process => disk.tear_into_cache(file, offset, buf, &mut self.disk_prng),
            Death::Machine => disk.tear(file, offset, buf, &mut self.disk_prng),
        };
        match torn {
            Torn::Lost => "a crash lost a write",
            Torn::Whole => "a crash left a write whole",
            Torn::Partly { has_first: true } => "a crash tore a write behind its beginning",
            Torn::Partly { has_first: false } => "a crash left a write without its beginning",
        }
    }
}
