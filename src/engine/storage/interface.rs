//! What storage and its core say to each other.

use std::time::Duration;

use data::Keyspace;
use host::Rng;
use raft::Purpose;
use types::{GroupId, Index, ReplicaId};
use wal::LogHost;
use wire::{ChunkReply, ChunkRequest, Entry, Membership, SnapshotMeta};

use super::load::Loaded;
use crate::comparison::{ComparePoint, DigestAnswer};
use crate::origin::LinkId;
use crate::row_read::ReadRows;

/// What storage needs from its core.
pub(crate) trait StorageHost: LogHost + Rng {}

impl<T: LogHost + Rng> StorageHost for T {}

/// What a replica starts on.
pub(crate) struct StartedReplica {
    pub(crate) group: GroupId,
    pub(crate) replica: ReplicaId,
    /// What Raft starts on.
    pub(crate) recovered: raft::Recovered,
    /// The members as of the state, or those that the group began with.
    pub(crate) membership: Membership,
    /// The state as it was sealed; empty if there are no tables.
    pub(crate) keyspace: Keyspace,
    /// The cluster map that was sealed with it, encoded; empty if none was.
    pub(crate) map: Vec<u8>,
}

/// The state of a group on disk, as the manifest has it: what a snapshot of it would hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SnapshotInfo {
    /// The last entry that it holds.
    pub(crate) last_index: Index,
    /// Its term.
    pub(crate) last_term: types::Term,
    /// The members as of that entry.
    pub(crate) membership: Membership,
    /// Whether its tables are of no use: they are damaged, or which rows have changed since is not known. All rows are written anew then,
    /// even of the same entry.
    pub(crate) is_damaged: bool,
}

impl SnapshotInfo {
    pub(super) fn new(last_index: Index, last_term: types::Term, membership: Membership) -> SnapshotInfo {
        SnapshotInfo { last_index, last_term, membership, is_damaged: false }
    }

    pub(super) fn meta(&self) -> SnapshotMeta {
        let (last_index, last_term) = (self.last_index, self.last_term);
        SnapshotMeta { last_index, last_term, membership: self.membership.clone() }
    }
}

/// What storage wants done. To be carried out in order, and before anything more is applied.
pub(crate) enum StorageEffect {
    /// All writes of a replica up to this one are durable: for [`raft::Raft::persisted`].
    Persisted { group: usize, seq: u64 },
    /// The answer to [`Storage::read_log`](super::Storage::read_log): for [`raft::Raft::log_read`].
    LogRead { group: usize, purpose: Purpose, entries: Vec<Entry> },
    /// The other answer: for [`raft::Raft::log_read_failed`], behind a [`raft::Raft::wake`].
    LogReadFailed { group: usize, purpose: Purpose },
    /// The state as it is now is sealed to be flushed: the moment to tell an observer the state's digest, as
    /// whoever starts on what is flushed must come to the same one.
    FlushBegun { group: usize },
    /// All rows of a group are to become dirty, a part in each turn.
    TidyRows { group: usize },
    /// The tables of a group have changed: the moment for an observer to look at them.
    TablesChanged { group: GroupId, replica: ReplicaId },
    /// Raft may offer this snapshot: for [`raft::Raft::set_snapshot`].
    OfferSnapshot { group: usize, meta: SnapshotMeta },
    /// The log was cut here: for [`raft::Raft::compact`], and the observer.
    CompactRaft { group: usize, index: Index },
    /// A snapshot is to take the place of a group's tables, or its state is to be sealed behind an entry: nothing is applied until that is
    /// so, or could not be.
    HoldApplying { group: usize, is_held: bool },
    /// The answer to [`Storage::compare`](super::Storage::compare).
    Digested { group: usize, point: ComparePoint, answer: DigestAnswer },
    /// The answer to [`Storage::read_rows`](super::Storage::read_rows).
    RowsRead { number: u64, group: GroupId, result: Result<ReadRows, lsm::Error> },
    /// To be sent to the core at the other end of a link.
    AskChunk { link: LinkId, request: ChunkRequest },
    /// The same.
    SendChunk { link: LinkId, reply: ChunkReply },
    /// A snapshot was received, and the manifest names its tables: for [`raft::Raft::restore`], and then the state into use. The
    /// answer is [`Storage::installed`](super::Storage::installed), in the same turn.
    Install { group: usize, loaded: Box<Loaded>, took: Duration },
    /// A replica has lost its state, but not its log: nothing is applied until a snapshot has taken its place.
    StateLost { group: usize },
    /// All rows of a group are in memory again.
    Resident { group: usize },
    /// A replica that had stayed away starts.
    Rejoin { replica: Box<StartedReplica> },
    /// A replica that never was here starts with nothing: the answer to
    /// [`Storage::begin_successor`](super::Storage::begin_successor).
    Begun { replica: Box<StartedReplica> },
    /// A replica is destroyed, durably: the end of [`Storage::destroy`](super::Storage::destroy).
    Destroyed { group: GroupId, replica: ReplicaId },
}

impl StorageEffect {
    /// The index of the replica that it concerns, if it is for one that takes part.
    pub(crate) fn index(&self) -> Option<usize> {
        match self {
            StorageEffect::Persisted { group, .. }
            | StorageEffect::LogRead { group, .. }
            | StorageEffect::LogReadFailed { group, .. }
            | StorageEffect::FlushBegun { group }
            | StorageEffect::TidyRows { group }
            | StorageEffect::OfferSnapshot { group, .. }
            | StorageEffect::CompactRaft { group, .. }
            | StorageEffect::HoldApplying { group, .. }
            | StorageEffect::Digested { group, .. }
            | StorageEffect::Install { group, .. }
            | StorageEffect::StateLost { group }
            | StorageEffect::Resident { group } => Some(*group),
            StorageEffect::TablesChanged { .. }
            | StorageEffect::RowsRead { .. }
            | StorageEffect::AskChunk { .. }
            | StorageEffect::SendChunk { .. }
            | StorageEffect::Rejoin { .. }
            | StorageEffect::Begun { .. }
            | StorageEffect::Destroyed { .. } => None,
        }
    }
}
