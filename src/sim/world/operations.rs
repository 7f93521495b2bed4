//! Disk operations under way: a table with generations.

use std::io::{Error, Result};
use std::ops::Range;
use std::path::PathBuf;

use host::{AlignedBuf, IoClass, IoKind, IoPermit, IoTicket, WriteToken};

use crate::disk::File;

pub(super) const EIO: i32 = 5;

/// What a disk is asked to do. A sync carries the mark of [`crate::disk::NodeDisk::sync_mark`] at its beginning.
pub(crate) enum Request {
    LogWrite { file: File, offset: u64, buf: AlignedBuf, token: WriteToken },
    Write { file: File, offset: u64, buf: AlignedBuf, class: IoClass },
    Read { file: File, offset: u64, len: usize, class: IoClass },
    Create { path: PathBuf, len: u64 },
    CreateUnsynced { path: PathBuf, len: u64 },
    SetLen { file: File, len: u64 },
    Sync { file: File, mark: u64, class: IoClass },
    Open(PathBuf),
    Exists(PathBuf),
    Rename { from: PathBuf, to: PathBuf },
    Remove(PathBuf),
    SyncDir(PathBuf),
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

impl Request {
    /// How long it takes, in quarters of what the disk takes.
    pub(super) fn weight(&self) -> u64 {
        match self {
            Request::LogWrite { .. } | Request::Write { .. } | Request::Create { .. } => 4,
            Request::Sync { .. } | Request::SyncDir(_) => 4,
            Request::Read { .. } => 2,
            _ => 1,
        }
    }

    /// By what it waits for its turn; `None` if it begins at once.
    pub(super) fn turn(&self) -> Option<(IoClass, IoKind)> {
        let turn = match self {
            Request::Read { class, .. } => (*class, IoKind::Read),
            Request::Write { class, .. } | Request::Sync { class, .. } => (*class, IoKind::Write),
            _ => return None,
        };
        (turn.0 != IoClass::Log).then_some(turn)
    }

    /// How many bytes it is about.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Request::LogWrite { buf, .. } | Request::Write { buf, .. } => buf.len() as u64,
            Request::Read { len, .. } => *len as u64,
            Request::Create { len, .. } => *len,
            _ => 0,
        }
    }
}

/// An operation: it has a request until it ends, and an answer from then until that is taken.
struct Slot {
    generation: u32,
    core: usize,
    request: Option<Request>,
    answer: Option<Result<Answer>>,
    /// The task that waits for the answer, and its generation.
    waiter: Option<(u32, u32)>,
    turn: Turn,
}

/// How an operation stands in the schedule of its core.
#[derive(Default)]
enum Turn {
    /// It has no place there.
    #[default]
    None,
    Waits(IoTicket),
    /// It has begun by it and has not ended.
    Come(IoPermit),
}

/// All of them.
#[derive(Default)]
pub(crate) struct Operations {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

impl Operations {
    /// Adds an operation of a core. `waiter` is the task that waits for its answer, with its generation.
    pub(super) fn insert(&mut self, core: usize, request: Request, waiter: Option<(u32, u32)>) -> (u32, u32) {
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                generation: 0,
                core,
                request: None,
                answer: None,
                waiter: None,
                turn: Turn::None,
            });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[idx as usize];
        slot.core = core;
        slot.request = Some(request);
        slot.waiter = waiter;
        (idx, slot.generation)
    }

    /// Lets an operation wait for its turn.
    pub(super) fn set_waiting(&mut self, op: u32, ticket: IoTicket) {
        self.slots[op as usize].turn = Turn::Waits(ticket);
    }

    /// The turn of an operation has come.
    pub(super) fn set_begun(&mut self, op: u32, permit: IoPermit) {
        self.slots[op as usize].turn = Turn::Come(permit);
    }

    /// An operation that begins: its generation, and what it is asked.
    pub(super) fn request_mut(&mut self, op: u32) -> Option<(u32, &mut Request)> {
        let slot = &mut self.slots[op as usize];
        Some((slot.generation, slot.request.as_mut()?))
    }

    /// An operation ends: its core, what it was asked, and its permit if it had one. `None` if a crash has met it.
    pub(super) fn take_request(&mut self, op: u32, generation: u32) -> Option<(usize, Request, Option<IoPermit>)> {
        let slot = &mut self.slots[op as usize];
        if slot.generation != generation {
            return None;
        }
        let permit = match std::mem::take(&mut slot.turn) {
            Turn::Come(permit) => Some(permit),
            Turn::None | Turn::Waits(_) => None,
        };
        Some((slot.core, slot.request.take()?, permit))
    }

    /// Nobody waits for an operation any more. One that has begun goes on; one that waits for its turn is gone, and the ticket is
    /// returned with which its core's schedule is to forget it.
    pub(super) fn abandon(&mut self, (op, generation): (u32, u32)) -> Option<IoTicket> {
        let slot = &mut self.slots[op as usize];
        if slot.generation != generation {
            return None;
        }
        slot.waiter = None;
        match std::mem::take(&mut slot.turn) {
            Turn::Waits(ticket) => {
                self.release(op);
                Some(ticket)
            }
            turn => {
                slot.turn = turn;
                if slot.request.is_none() {
                    self.release(op);
                }
                None
            }
        }
    }

    /// Keeps the answer of an operation. Returns the task that waits for it, with its generation.
    pub(super) fn keep_answer(&mut self, op: u32, answer: Result<Answer>) -> Option<(u32, u32)> {
        let slot = &mut self.slots[op as usize];
        slot.answer = Some(answer);
        slot.waiter.take()
    }

    /// The answer of an operation, once it has ended.
    pub(super) fn take_answer(&mut self, (op, generation): (u32, u32)) -> Option<Result<Answer>> {
        let slot = &mut self.slots[op as usize];
        if slot.generation != generation {
            return Some(Err(Error::from_raw_os_error(EIO)));
        }
        let answer = slot.answer.take()?;
        self.release(op);
        Some(answer)
    }

    /// Removes all operations of some cores. Returns whose each was, and what was asked if it had begun and not ended.
    pub(super) fn take_of(&mut self, cores: &Range<usize>) -> Vec<(usize, Option<Request>)> {
        let mut taken = Vec::new();
        for idx in 0..self.slots.len() {
            let slot = &mut self.slots[idx];
            let is_used = slot.request.is_some() || slot.answer.is_some();
            if is_used && cores.contains(&slot.core) {
                let has_begun = !matches!(slot.turn, Turn::Waits(_));
                taken.push((slot.core, slot.request.take().filter(|_| has_begun)));
                self.release(idx as u32);
            }
        }
        taken
    }

    /// Frees the place of an operation.
    pub(super) fn release(&mut self, idx: u32) {
        let slot = &mut self.slots[idx as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.request = None;
        slot.answer = None;
        slot.waiter = None;
        slot.turn = Turn::None;
        self.free.push(idx);
    }
}
