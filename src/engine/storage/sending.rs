//! The snapshots that a core is sending, and to whom.

use std::cell::RefCell;
use std::rc::Rc;

use host::AlignedBuf;
use lsm::snapshot::OutgoingSnapshot;
use lsm::version::Version;
use types::{GroupId, Index, Instant};

use crate::budget::{Budget, Permit};
use crate::origin::LinkId;

/// Which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SnapshotId {
    pub(super) group: GroupId,
    /// The last entry that it holds.
    pub(super) last_index: Index,
}

/// A snapshot that is being sent. Its files stay as long as it is here.
pub(super) struct OpenSnapshot {
    pub(super) id: SnapshotId,
    pub(super) snapshot: Rc<OutgoingSnapshot>,
    pub(super) version: Rc<Version>,
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
pub(super) struct ChunkRead {
    pub(super) link: LinkId,
    /// The snapshot that was asked for.
    pub(super) wanted: SnapshotId,
    pub(super) offset: u64,
    pub(super) result: Result<AlignedBuf, lsm::Error>,
    /// For the chunk.
    pub(super) permit: Permit,
}

/// How a snapshot was found that was read from beginning to end.
pub(super) struct Checked {
    pub(super) id: SnapshotId,
    pub(super) result: Result<(), lsm::Error>,
}

/// The snapshots that a core sends.
pub(super) struct Sending {
    pub(super) open: Vec<OpenSnapshot>,
    pub(super) receivers: Vec<Receiver>,
    /// Links for which a chunk is being read.
    pub(super) reading: Vec<LinkId>,
    pub(super) done: Rc<RefCell<Vec<ChunkRead>>>,
    pub(super) checked: Rc<RefCell<Vec<Checked>>>,
    /// The groups of snapshots that are being read from beginning to end.
    pub(super) checking: Vec<GroupId>,
    pub(super) budget: Budget,
}

impl Sending {
    pub(super) fn new(budget: &Budget) -> Sending {
        Sending {
            open: Vec::new(),
            receivers: Vec::new(),
            reading: Vec::new(),
            done: Rc::default(),
            checked: Rc::default(),
            checking: Vec::new(),
            budget: budget.clone(),
        }
    }

    /// How many are open.
    pub(super) fn open_count(&self) -> usize {
        self.open.len()
    }

    /// Nothing of a group is sent any more.
    pub(super) fn forget(&mut self, group: GroupId) {
        self.open.retain(|open| open.id.group != group);
        self.receivers.retain(|one| one.group != group);
    }

    /// Whether a snapshot of a group is being read from beginning to end.
    pub(super) fn is_checking(&self, group: GroupId) -> bool {
        self.checking.contains(&group)
    }

    /// A snapshot that is open.
    pub(super) fn find(&mut self, id: SnapshotId) -> Option<&mut OpenSnapshot> {
        self.open.iter_mut().find(|open| open.id == id)
    }

    /// The oldest snapshot of a group that somebody receives: the log behind it is wanted.
    pub(super) fn oldest_wanted(&self, group: GroupId, now: Instant) -> Option<Index> {
        let wanted = self.receivers.iter().filter(|one| one.group == group && now < one.until);
        wanted.map(|one| one.last_index).min()
    }

    /// Whether somebody receives a snapshot of a group.
    pub(super) fn is_receiver_of(&self, group: GroupId, now: Instant) -> bool {
        self.receivers.iter().any(|one| one.group == group && now < one.until)
    }

    /// Somebody receives this snapshot: keeps the log behind it until then, and longer if it was so already. Who asks for
    /// another snapshot of the group has no use for the former one.
    pub(super) fn receives(&mut self, link: LinkId, id: SnapshotId, until: Instant) {
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

    /// Keeps a snapshot open, in place of the one that was used longest ago if there are so many.
    pub(super) fn keep_open(&mut self, snapshot: OpenSnapshot, open_max: usize) {
        if self.open.len() >= open_max
            && let Some(oldest) = (0..self.open.len()).min_by_key(|idx| self.open[*idx].used_at)
        {
            self.open.swap_remove(oldest);
        }
        self.open.push(snapshot);
    }
}
