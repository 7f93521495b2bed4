//! The snapshots that a core is receiving, and how far that has come.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use host::ALIGNMENT;
use lsm::files::FileWriter;
use lsm::manifest::Seal;
use lsm::snapshot::IncomingSnapshot;
use lsm::version::{Change, NamedFile};
use thiserror::Error;
use types::{GroupId, Index, Instant};
use wire::Chunk;

use super::StorageHost;
use super::load::Loaded;
use super::rounds::{Round, Rounds};
use crate::budget::{Budget, Permit};
use crate::load_error::LoadError;
use crate::origin::LinkId;

/// The end of something a task did for a transfer, left for the next turn.
pub(super) struct Done<H: StorageHost> {
    pub(super) number: u64,
    pub(super) step: Step<H>,
}

pub(super) enum Step<H: StorageHost> {
    /// A chunk is in the file.
    Written(Result<Part<H>, lsm::Error>),
    /// All of it is on stable storage, and was read back.
    Loaded(Result<Box<Received>, LoadError>),
}

/// The file that a round of a snapshot is received into. It is deleted if it is dropped before a version names it.
pub(super) struct Part<H: StorageHost> {
    pub(super) named: Rc<NamedFile>,
    pub(super) writer: FileWriter<H>,
}

/// A snapshot that was received and is sound.
pub(super) struct Received {
    pub(super) seal: Seal,
    /// What makes its version of none.
    pub(super) change: Change,
    /// Keeps the files until the version does.
    pub(super) _files: Vec<Rc<NamedFile>>,
    pub(super) loaded: Loaded,
}

pub(super) enum Stage<H: StorageHost> {
    /// The next chunk is to be asked for. There is no file before the first of what is missing has come.
    Asking { part: Option<Part<H>> },
    /// It was asked for.
    Asked { part: Option<Part<H>>, deadline: Instant },
    /// A chunk is being written.
    Writing,
    /// All chunks are there and are being loaded.
    Loading,
    /// It is sound, and waits until the manifest may be told.
    Checked { received: Box<Received> },
    /// The manifest is told.
    Committing { received: Box<Received> },
    /// It is of no use.
    Dropped,
}

/// A snapshot that is being received.
pub(super) struct Transfer<H: StorageHost> {
    pub(super) number: u64,
    pub(super) group: GroupId,
    pub(super) link: LinkId,
    /// Last index that it holds; 0 until that is known.
    pub(super) last_index: Index,
    /// Where in its stream the next chunk begins that is to be asked for.
    pub(super) offset: u64,
    /// What has come of its head.
    pub(super) incoming: Option<IncomingSnapshot>,
    /// What is still to come, once the head is here.
    pub(super) round: Option<Round>,
    /// What earlier rounds have brought.
    pub(super) rounds: Rounds,
    /// Length of the stream in bytes, once known.
    pub(super) total_bytes: Option<u64>,
    pub(super) begun_at: Instant,
    /// When the last chunk came.
    pub(super) progress_at: Instant,
    /// When the other side could last not be reached.
    pub(super) unreachable_at: Instant,
    pub(super) stage: Stage<H>,
    /// For the chunk that is being written, and for the state that was loaded.
    pub(super) permit: Permit,
}

/// Why a chunk cannot be one of the snapshot that is being received. Whoever has sent it cannot be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum ChunkError {
    /// The snapshot is longer than what may be here.
    #[error("a snapshot of {total_bytes} bytes is announced, and at most {bytes_max} may be received")]
    TooLong {
        /// How long it is said to be.
        total_bytes: u64,
        /// How long it may be.
        bytes_max: u64,
    },
    /// The snapshot is said to be of another length than before.
    #[error("the snapshot has {total_bytes} bytes, and had {before} before")]
    OtherLength {
        /// How long it is said to be.
        total_bytes: u64,
        /// How long it was said to be.
        before: u64,
    },
    /// There is no such chunk in a snapshot of this length.
    #[error("a snapshot of {total_bytes} bytes has no {len} bytes at {offset}")]
    Outside {
        /// Where it begins.
        offset: u64,
        /// How many bytes it has.
        len: usize,
        /// How long the snapshot is said to be.
        total_bytes: u64,
    },
}

impl<H: StorageHost> Transfer<H> {
    /// Checks what a chunk says of itself and of the whole snapshot, of which at most `bytes_max` bytes may be received.
    pub(super) fn check(&self, chunk: &Chunk, bytes_max: u64) -> Result<(), ChunkError> {
        let Chunk { offset, total_bytes, ref bytes } = *chunk;
        let len = bytes.len();
        match self.total_bytes {
            Some(before) if before != total_bytes => return Err(ChunkError::OtherLength { total_bytes, before }),
            _ if total_bytes > bytes_max => return Err(ChunkError::TooLong { total_bytes, bytes_max }),
            _ => {}
        }
        let is_inside = offset.checked_add(len as u64).is_some_and(|end| end <= total_bytes);
        // Blocks of a snapshot begin and end at such places, and so does what is written at a time.
        let is_aligned = len.is_multiple_of(ALIGNMENT) && total_bytes.is_multiple_of(ALIGNMENT as u64);
        if len > 0 && is_inside && is_aligned {
            Ok(())
        } else {
            Err(ChunkError::Outside { offset, len, total_bytes })
        }
    }
}

/// The snapshots that a core receives, one per link, and those that wait.
pub(super) struct Receiving<H: StorageHost> {
    pub(super) active: Vec<Transfer<H>>,
    /// Groups that want one, the link to whom to ask, and which: (group, link, last index).
    pub(super) waiting: VecDeque<(GroupId, LinkId, Index)>,
    pub(super) done: Rc<RefCell<Vec<Done<H>>>>,
    pub(super) next_number: u64,
    /// Not before this is another one begun.
    pub(super) not_before: Instant,
    pub(super) budget: Budget,
}

impl<H: StorageHost> Receiving<H> {
    pub(super) fn new(budget: &Budget) -> Receiving<H> {
        Receiving {
            active: Vec::new(),
            waiting: VecDeque::new(),
            done: Rc::default(),
            next_number: 1,
            not_before: Instant::ZERO,
            budget: budget.clone(),
        }
    }

    /// How many there are, those that wait included.
    pub(super) fn count(&self) -> usize {
        self.active.len() + self.waiting.len()
    }

    /// Whether a group receives a snapshot.
    pub(super) fn is_receiving(&self, group: GroupId) -> bool {
        self.active.iter().any(|transfer| transfer.group == group)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.active.is_empty() && self.waiting.is_empty()
    }
}

pub(super) fn take<H: StorageHost>(stage: &mut Stage<H>) -> Stage<H> {
    std::mem::replace(stage, Stage::Dropped)
}
