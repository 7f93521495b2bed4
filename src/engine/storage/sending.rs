//! The snapshots that a core is sending, and to whom.

use std::cell::RefCell;
use std::rc::Rc;

use types::{GroupId, Index, Instant};
use wire::Chunk;

use super::snapshot::{FileId, LoadError};
use crate::budget::{Budget, Permit};
use crate::origin::LinkId;

/// A snapshot file that is being sent.
pub(super) struct OpenFile<F> {
    pub(super) id: FileId,
    pub(super) file: F,
    pub(super) bytes: u64,
    pub(super) used_at: Instant,
    /// Whether somebody has been sent its end since it was last checked.
    pub(super) was_sent: bool,
}

/// Somebody who receives a snapshot, and needs the log behind it afterwards.
pub(super) struct Receiver {
    pub(super) group: GroupId,
    pub(super) link: LinkId,
    /// Last index of the snapshot.
    pub(super) last_index: Index,
    /// The log is kept so long.
    pub(super) until: Instant,
}

/// What a task has read.
pub(super) struct ChunkRead<F> {
    pub(super) link: LinkId,
    /// The snapshot that was asked for.
    pub(super) wanted: FileId,
    pub(super) result: Result<(OpenFile<F>, Option<Chunk>), LoadError>,
    /// For the chunk.
    pub(super) permit: Permit,
}

/// How a snapshot was found that was read from beginning to end.
pub(super) struct Checked {
    pub(super) file: FileId,
    pub(super) result: Result<(), LoadError>,
}

/// The snapshots that a core sends.
pub(super) struct Sending<F> {
    pub(super) files: Vec<OpenFile<F>>,
    pub(super) receivers: Vec<Receiver>,
    /// Links for which a chunk is being read.
    pub(super) reading: Vec<LinkId>,
    pub(super) done: Rc<RefCell<Vec<ChunkRead<F>>>>,
    pub(super) checked: Rc<RefCell<Vec<Checked>>>,
    pub(super) budget: Budget,
}

impl<F> Sending<F> {
    pub(super) fn new(budget: &Budget) -> Sending<F> {
        Sending {
            files: Vec::new(),
            receivers: Vec::new(),
            reading: Vec::new(),
            done: Rc::default(),
            checked: Rc::default(),
            budget: budget.clone(),
        }
    }

    /// How many files are open.
    pub(super) fn files_count(&self) -> usize {
        self.files.len()
    }

    /// The oldest snapshot of a group that somebody receives: the log behind it is wanted.
    pub(super) fn oldest_wanted(&self, group: GroupId, now: Instant) -> Option<Index> {
        let wanted = self.receivers.iter().filter(|one| one.group == group && now < one.until);
        wanted.map(|one| one.last_index).min()
    }

    /// Somebody receives this snapshot: keeps the log behind it until then, and longer if it was so already. Who asks for
    /// another snapshot of the group has no use for the former one.
    pub(super) fn receives(&mut self, link: LinkId, id: FileId, until: Instant) {
        let known = self.receivers.iter_mut().find(|one| one.group == id.group && one.link == link);
        match known {
            Some(one) if one.last_index == id.last_index => one.until = one.until.max(until),
            Some(one) => (one.last_index, one.until) = (id.last_index, until),
            None => self.receivers.push(Receiver { group: id.group, link, last_index: id.last_index, until }),
        }
    }

    /// A follower that received a snapshot goes on with the log from this entry: keeps as much as it still needs, for as
    /// long as it goes on.
    pub(super) fn follower_reads(&mut self, group: GroupId, link: LinkId, first: Index, until: Instant) {
        let one = self.receivers.iter_mut().find(|one| one.group == group && one.link == link);
        if let Some(one) = one.filter(|one| one.last_index < first) {
            (one.last_index, one.until) = (first - 1, one.until.max(until));
        }
    }

    pub(super) fn keep_open(&mut self, file: OpenFile<F>, files_max: usize) {
        let files = &mut self.files;
        if let Some(open) = files.iter_mut().find(|open| open.id == file.id) {
            open.was_sent |= file.was_sent;
            return;
        }
        if files.len() >= files_max
            && let Some(oldest) = (0..files.len()).min_by_key(|idx| files[*idx].used_at)
        {
            files.swap_remove(oldest);
        }
        files.push(file);
    }
}
