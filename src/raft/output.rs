//! Handing out what is to be done, and taking in that it was done.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use types::{Index, Instant, ReplicaId};
use wire::{Entry, HardState};

use crate::log::entry_bytes;
use crate::progress::{LogReadState, ProgressState};
use crate::raft::Raft;
use crate::ready::{LogRead, Persist, Purpose, Ready};

/// Most bytes of entries handed out to be applied at once, so that whoever applies them can stop in between; the last entry may
/// exceed it.
pub const COMMITTED_BYTES_MAX: usize = 16 << 10;
/// Most bytes of entries read back from the log to be applied.
const APPLY_READ_BYTES_MAX: usize = 4 << 20;

impl Raft {
    /// Whether [`ready`](Self::ready) may have something to do. Cheap.
    pub fn has_ready(&self) -> bool {
        !self.messages.is_empty()
            || self.durability.is_dirty()
            || self.log.handed() < self.log.last_index()
            || self.has_entries_to_apply()
            || self.state.leader().is_some_and(|leader| {
                leader.send_due || leader.reads.has_waiting() && self.commit >= leader.term_start
            })
            || !self.read_results.is_empty()
            || self.soft_state() != self.reported
            || self.reset_due.is_some()
            || self.snapshot_request.is_some()
            || self.membership_news
    }

    fn has_entries_to_apply(&self) -> bool {
        if self.is_apply_paused {
            return false;
        }
        let wanted = self.apply_next <= self.commit;
        let at_hand = self.apply_next >= self.log.cache_first() || self.apply_log_read == LogReadState::Idle;
        !self.apply_entries.is_empty() || (wanted && at_hand)
    }

    /// Fills `out` with everything to be done; what was in it is dropped.
    pub fn ready(&mut self, out: &mut Ready) {
        out.clear();
        if self.is_leader() {
            self.start_read_round();
            self.replicate(&mut out.log_reads);
        }
        self.fill_persist(out);
        self.fill_committed(out);
        self.read_results.take(&mut out.reads, &mut out.reads_failed);
        mem::swap(&mut out.messages, &mut self.messages);
        let soft_state = self.soft_state();
        if soft_state != self.reported {
            self.reported = soft_state;
            out.soft_state = Some(soft_state);
        }
        out.snapshot_request = self.snapshot_request.take();
        if mem::take(&mut self.membership_news) {
            out.membership = Some(self.membership().clone());
        }
    }

    fn fill_persist(&mut self, out: &mut Ready) {
        let dirty = self.durability.is_dirty();
        if !dirty && self.reset_due.is_none() && self.log.handed() == self.log.last_index() {
            return;
        }
        let mut entries = out.take_spare();
        self.log.hand_out(&mut entries);
        // The commit index only tags along: a restart applies more at once. Beyond what is durable it could
        // outlive its entries.
        let commit = self.commit.min(self.log.durable());
        let hard_state = HardState { term: self.term, vote: self.vote, commit };
        let wanted = dirty || commit > self.commit_written;
        self.commit_written = commit;
        let seq = self.durability.write(self.log.last_index());
        self.timing.write_begins(seq, self.now);
        let reset = self.reset_due.take();
        out.persist = Some(Persist { seq, reset, hard_state: wanted.then_some(hard_state), entries });
    }

    fn fill_committed(&mut self, out: &mut Ready) {
        if self.is_apply_paused {
            return;
        }
        let bytes_left = self.hand_out_read_entries(&mut out.committed);
        if self.apply_next > self.commit || bytes_left == 0 {
            return;
        }
        let cache_first = self.log.cache_first();
        if self.apply_next >= cache_first {
            self.log.copy(self.apply_next, self.commit, bytes_left, &mut out.committed);
            self.apply_next = out.committed.last().map_or(self.apply_next, |entry| entry.index + 1);
        } else if self.apply_log_read == LogReadState::Idle {
            self.apply_log_read = LogReadState::Pending;
            out.log_reads.push(LogRead {
                purpose: Purpose::Apply,
                first: self.apply_next,
                last: self.commit.min(cache_first - 1),
                bytes_max: APPLY_READ_BYTES_MAX,
            });
        }
    }

    /// Hands out entries that were read back. Returns how many bytes more may be handed out: none unless these were all.
    fn hand_out_read_entries(&mut self, out: &mut Vec<Entry>) -> usize {
        let mut bytes_left = COMMITTED_BYTES_MAX;
        while bytes_left > 0
            && let Some(entry) = self.apply_entries.pop_front()
        {
            bytes_left = bytes_left.saturating_sub(entry_bytes(&entry));
            out.push(entry);
        }
        if !self.apply_entries.is_empty() {
            return 0;
        }
        self.apply_entries = VecDeque::new();
        bytes_left
    }

    /// All writes up to number `seq` are on stable storage.
    pub fn persisted(&mut self, seq: u64, now: Instant) {
        self.advance(now);
        let gained = self.durability.complete(seq, &mut self.log);
        self.timing.write_done(seq, self.now);
        if gained.hard_state {
            self.hard_state_became_durable();
        }
        if gained.entries {
            if self.is_leader() {
                self.commit_by_counting();
            } else {
                self.acknowledge();
            }
            self.log.evict(self.applied, self.config.cache_bytes_max);
        }
    }

    /// Hands out no more entries to be applied, or goes on with it. Those that were handed out are still to be applied.
    pub fn pause_applying(&mut self, is_paused: bool) {
        self.is_apply_paused = is_paused;
    }

    /// Everything up to `index` is applied. Lets go of payloads that nobody here needs any more.
    pub fn applied(&mut self, index: Index) {
        assert!(index < self.apply_next, "entry {index} was never handed out to be applied");
        self.applied = self.applied.max(index);
        self.leave_joint_if_due();
        self.log.evict(self.applied, self.config.cache_bytes_max);
    }

    /// Answers a [`LogRead`] with entries from its `first` on, at least one. An answer that came too late to be of
    /// use is dropped.
    pub fn log_read(&mut self, purpose: Purpose, entries: Vec<Entry>, now: Instant) {
        self.advance(now);
        match purpose {
            Purpose::Apply => self.take_entries_to_apply(entries),
            Purpose::Peer(id) => match self.peer_idx(id) {
                Some(idx) => self.send_read_entries(idx, entries),
                None => {
                    self.counters.log_reads_stale += 1;
                    self.orphaned_log_reads.retain(|former| *former != id);
                }
            },
        }
    }

    fn take_entries_to_apply(&mut self, entries: Vec<Entry>) {
        self.apply_log_read = LogReadState::Idle;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
            self.counters.log_reads_stale += 1;
            return;
        };
        let last_index = last.index;
        if first.index == self.apply_next && last_index <= self.commit && self.log.holds(&entries) {
            self.apply_next = last_index + 1;
            self.apply_entries.extend(entries);
        } else {
            self.counters.log_reads_stale += 1;
        }
    }

    /// A [`LogRead`] failed. It is asked for again: to apply after a heartbeat interval, for a peer at its next heartbeat.
    pub fn log_read_failed(&mut self, purpose: Purpose) {
        self.counters.log_reads_failed += 1;
        match purpose {
            Purpose::Apply => {
                self.apply_log_read = LogReadState::Failed;
                self.apply_retry_at = self.now + self.config.heartbeat_interval;
            }
            Purpose::Peer(id) => {
                if let Some(idx) = self.peer_idx(id) {
                    self.peers[idx].log_read = LogReadState::Failed;
                }
                self.orphaned_log_reads.retain(|former| *former != id);
            }
        }
    }

    /// The connection to a peer broke: what was on its way to it is lost, so feel one's way again.
    pub fn peer_unreachable(&mut self, id: ReplicaId) {
        let Some(idx) = self.peer_idx(id) else { return };
        let peer = &mut self.peers[idx];
        if self.state.is_leader() && peer.state == ProgressState::Replicate {
            peer.become_probe(peer.match_index + 1);
            self.request_sending();
        }
    }
}
