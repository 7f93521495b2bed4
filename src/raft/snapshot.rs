//! Dropping the log's beginning, and what becomes of a follower that needed it (thesis chapter 5).
//!
//! Raft only says who must receive what from whom: a leader offers its snapshot to a follower whose log it cannot continue,
//! and the follower asks its driver for that state or a later one. The bytes travel elsewhere.

use types::{Index, Instant, ReplicaId, Term};
use wire::{Body, SnapshotMeta};

use crate::far_terms::TERM_LAST;
use crate::progress::ProgressState;
use crate::raft::Raft;
use crate::ready::SnapshotRequest;

/// Why a state that was received is not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// This replica has applied as much by now.
    #[error("the state is older than what is applied here")]
    Stale,
    /// No group gets to such a term or index.
    #[error("the state's last entry cannot be")]
    Absurd,
}

impl Raft {
    /// The driver holds a durable snapshot of the state as `meta` says: it may be offered to followers, and the log
    /// may be dropped up to there ([`compact`](Self::compact)).
    ///
    /// # Panics
    /// If the state reaches further than what is applied here.
    pub fn set_snapshot(&mut self, meta: SnapshotMeta) {
        assert!(meta.last_index <= self.applied, "a snapshot holds what is applied and no more");
        if self.snapshot.as_ref().is_none_or(|known| known.last_index < meta.last_index) {
            self.snapshot = Some(meta);
        }
    }

    /// The snapshot that is offered to followers.
    pub fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// Index of the entry before the log's first.
    pub fn base_index(&self) -> Index {
        self.log.base_index()
    }

    /// Drops the log up to and with `index`; an index before the log's beginning does nothing. Followers that need what
    /// was dropped are offered the snapshot.
    ///
    /// # Panics
    /// If no snapshot covers `index`.
    pub fn compact(&mut self, index: Index) {
        let covered = self.snapshot.as_ref().map_or(0, |snapshot| snapshot.last_index);
        assert!(index <= covered, "the log is dropped up to {index}, and the snapshot reaches to {covered} only");
        assert!(index <= self.log.durable(), "only what is durable leaves the log's beginning");
        if index > self.log.base_index() {
            self.log.compact(index);
            self.counters.compactions += 1;
        }
    }

    /// The follower's log cannot be continued from ours: offers the snapshot, and waits.
    pub(crate) fn offer_snapshot(&mut self, idx: usize) {
        let peer = &mut self.peers[idx];
        peer.become_snapshot();
        let to = peer.id;
        let Some(snapshot) = &self.snapshot else {
            // Without one the beginning of the log was never dropped by us: it was recovered like that.
            self.counters.peers_behind_log += 1;
            return;
        };
        let (last_index, last_term) = (snapshot.last_index, snapshot.last_term);
        self.counters.snapshots_offered += 1;
        self.send(to, Body::Snapshot { last_index, last_term });
    }

    /// The leader cannot continue our log.
    pub(crate) fn handle_snapshot(&mut self, from: ReplicaId, last_index: Index, last_term: Term) {
        if last_term > self.term || last_index > u64::MAX / 2 {
            self.counters.malformed += 1;
            return;
        }
        if last_index > self.commit && self.log.term(last_index) == Some(last_term) {
            // An offer late on its way, or a log that agrees further than the leader could know.
            self.commit_to(last_index);
        }
        if last_index <= self.commit {
            self.match_up_to(self.commit);
            self.acknowledge();
        } else {
            self.counters.snapshots_wanted += 1;
            self.snapshot_request = Some(SnapshotRequest { from, last_index, last_term });
        }
    }

    /// Takes over a state that was received, checked and made durable: this replica then stands where `meta` says. What
    /// its log holds behind that stays if it follows from it, else the log is emptied
    /// ([`Persist::reset`](crate::Persist::reset)). Entries that were handed out to be applied are handed out again, those behind the state.
    ///
    /// The state itself must be found again after a restart whether or not the log was emptied by then.
    ///
    /// # Errors
    /// See [`RestoreError`]: nothing has changed, and the state is of no use.
    pub fn restore(&mut self, meta: SnapshotMeta, now: Instant) -> Result<(), RestoreError> {
        self.advance(now);
        if meta.last_term > TERM_LAST || meta.last_index > u64::MAX / 2 {
            self.counters.malformed += 1;
            return Err(RestoreError::Absurd);
        }
        if meta.last_index <= self.applied || meta.last_index > self.commit && self.is_leader() {
            self.counters.snapshots_stale += 1;
            return Err(RestoreError::Stale);
        }
        if meta.last_index <= self.commit {
            self.skip_to(meta);
            return Ok(());
        }
        if meta.last_term > self.term {
            // Its last entry proves that this term has begun, though nobody in it has spoken to us yet.
            self.become_follower(meta.last_term, None);
        }
        let last = meta.last_index;
        if self.log.term(last) != Some(meta.last_term) {
            self.log.reset(last, meta.last_term);
            self.durability.truncated(last);
            self.reset_due = Some((last, meta.last_term));
            if let Some(follower) = self.state.follower_mut() {
                follower.matched = 0;
            }
            self.memberships.replace(last, meta.membership.clone());
            self.membership_changed();
        }
        self.commit_to(last);
        self.applied = last;
        self.apply_next = last + 1;
        self.apply_entries.clear();
        self.counters.snapshots_restored += 1;
        self.snapshot = Some(meta);
        self.match_up_to(last);
        self.acknowledge();
        Ok(())
    }

    /// As [`Raft::restore`], for a driver that has lost its state and nothing else: the state that was received may be older than what was
    /// applied here, as long as the log goes on behind it. Entries behind it are handed out again.
    ///
    /// # Errors
    /// As [`Raft::restore`]; a state is of no use, too, that the log does not go on behind.
    pub fn rewind(&mut self, meta: SnapshotMeta, now: Instant) -> Result<(), RestoreError> {
        if meta.last_index > self.applied {
            return self.restore(meta, now);
        }
        self.advance(now);
        if self.log.term(meta.last_index) != Some(meta.last_term) {
            self.counters.snapshots_stale += 1;
            return Err(RestoreError::Stale);
        }
        self.skip_to(meta);
        Ok(())
    }

    /// A state was taken over that ends with an entry which is committed here: entries up to it need not be applied any more.
    fn skip_to(&mut self, meta: SnapshotMeta) {
        let last = meta.last_index;
        self.applied = last;
        self.apply_next = last + 1;
        self.apply_entries.clear();
        self.counters.snapshots_restored += 1;
        self.snapshot = Some(meta);
        self.leave_joint_if_due();
        self.log.evict(self.applied, self.config.cache_bytes_max);
    }

    /// Whether a follower waits for a snapshot.
    pub(crate) fn waits_for_snapshot(&self, idx: usize) -> bool {
        self.peers[idx].state == ProgressState::Snapshot
    }
}
