//! The leader's side of replication: what to send to whom, and what their answers commit.

use alloc::vec::Vec;

use types::{Index, Term};
use wire::{Body, Entry};

use crate::log::entry_bytes;
use crate::progress::{LogReadState, ProgressState};
use crate::raft::Raft;
use crate::ready::{LogRead, Purpose};

impl Raft {
    /// Sends every follower what it can take.
    pub(crate) fn replicate(&mut self, log_reads: &mut Vec<LogRead>) {
        if let Some(leader) = self.state.leader_mut() {
            leader.send_due = false;
        }
        for idx in 0..self.peers.len() {
            while self.send_next_append(idx, log_reads) {}
        }
    }

    /// Sends one Append if the follower can take one. True if it might take another.
    fn send_next_append(&mut self, idx: usize, log_reads: &mut Vec<LogRead>) -> bool {
        let last_index = self.log.last_index();
        let peer = &mut self.peers[idx];
        let first = peer.next_index;
        let probing = peer.state == ProgressState::Probe;
        let stopped = match peer.state {
            ProgressState::Probe => peer.paused,
            ProgressState::Replicate => {
                first > last_index || peer.inflights.full() || peer.holds_back_entries(self.now)
            }
            ProgressState::Snapshot => true,
        };
        if stopped {
            return false;
        }
        if first <= self.log.base_index() {
            self.offer_snapshot(idx);
            return false;
        }
        let bytes_max = if peer.is_tried_with_one_entry() { 1 } else { self.config.append_bytes_max };
        let mut entries = Vec::new();
        if first >= self.log.cache_first() && first <= last_index {
            self.log.copy(first, last_index, bytes_max, &mut entries);
        } else if !probing {
            if peer.log_read == LogReadState::Idle {
                peer.log_read = LogReadState::Pending;
                log_reads.push(LogRead {
                    purpose: Purpose::Peer(peer.id),
                    first,
                    last: self.log.cache_first() - 1,
                    bytes_max,
                });
            }
            return false;
        }
        // A probe for entries that are not in memory is sent empty: first learn where the logs agree.
        self.send_append(idx, entries) && !probing
    }

    /// Sends `entries`, which start at the follower's next index. False if the log no longer reaches there.
    fn send_append(&mut self, idx: usize, entries: Vec<Entry>) -> bool {
        let prev_index = self.peers[idx].next_index - 1;
        let Some(prev_term) = self.log.term(prev_index) else {
            self.offer_snapshot(idx);
            return false;
        };
        let heartbeat_interval = self.timing.heartbeat_interval();
        let peer = &mut self.peers[idx];
        match (peer.state, entries.last()) {
            (ProgressState::Probe, last) => {
                peer.paused = true;
                peer.probed_with_entries = last.is_some();
                peer.await_answer(self.now, heartbeat_interval);
            }
            (ProgressState::Replicate, Some(last)) => {
                peer.inflights.add(last.index, entries.iter().map(entry_bytes).sum());
                peer.next_index = last.index + 1;
                self.counters.windows_closed += u64::from(peer.inflights.full());
            }
            (ProgressState::Replicate | ProgressState::Snapshot, _) => {}
        }
        let to = peer.id;
        self.send(to, Body::Append { prev_index, prev_term, commit: self.commit, entries });
        true
    }

    /// Entries for a follower were read back from the log.
    pub(crate) fn send_read_entries(&mut self, idx: usize, entries: Vec<Entry>) {
        let peer = &mut self.peers[idx];
        peer.log_read = LogReadState::Idle;
        let fits = self.state.is_leader()
            && peer.state == ProgressState::Replicate
            && !peer.inflights.full()
            && entries.first().is_some_and(|entry| entry.index == peer.next_index)
            && self.log.holds(&entries);
        if fits {
            self.send_append(idx, entries);
        } else {
            self.counters.log_reads_stale += 1;
        }
        self.request_sending();
    }

    pub(crate) fn handle_accepted(&mut self, idx: usize, match_index: Index) {
        if !self.is_leader() || match_index > self.log.last_index() {
            self.counters.malformed += u64::from(self.is_leader());
            return;
        }
        self.request_sending();
        if self.waits_for_snapshot(idx) && match_index < self.log.base_index() {
            // What it acknowledges is from before the offer: our log cannot go on from there.
            return;
        }
        if self.peers[idx].accepted(match_index) {
            self.commit_by_counting();
            self.order_transfer_if_caught_up();
        }
    }

    pub(crate) fn handle_rejected(&mut self, idx: usize, prev_index: Index, hint_index: Index, hint_term: Term) {
        if !self.is_leader() || !self.peers[idx].refusal_is_current(prev_index) {
            return;
        }
        // Its log cannot match ours behind the hint, nor where ours is of a later term than the hint.
        let agreed = self.log.last_of_term(hint_index.min(prev_index - 1), hint_term);
        let peer = &mut self.peers[idx];
        let next_index = (agreed + 1).max(peer.match_index + 1);
        self.counters.terms_skipped += u64::from(self.log.term(agreed) != self.log.term(prev_index));
        if peer.state == ProgressState::Replicate {
            // It lacks what was sent to it.
            peer.count_untaken();
            self.counters.appends_untaken += 1;
        }
        peer.become_probe(next_index);
        self.request_sending();
    }

    /// A follower is there: what was held back for it, or may have been lost on the way, is sent again.
    pub(crate) fn resume_peer(&mut self, idx: usize) {
        let now = self.now;
        let peer = &mut self.peers[idx];
        self.counters.appends_untaken += u64::from(peer.resume_probe(now));
        if peer.log_read == LogReadState::Failed {
            peer.log_read = LogReadState::Idle;
        }
        self.request_sending();
        let peer = &mut self.peers[idx];
        if peer.state == ProgressState::Snapshot {
            // The offer may be lost, or outdated by a later snapshot.
            return self.offer_snapshot(idx);
        }
        let stuck = peer.state == ProgressState::Replicate
            && peer.match_index + 1 < peer.next_index
            && peer.match_index == peer.match_at_heartbeat;
        peer.match_at_heartbeat = peer.match_index;
        if stuck {
            // An empty Append behind everything sent: it is refused if something is missing, and answered
            // again if only the answer is.
            self.send_append(idx, Vec::new());
        }
    }

    /// Commits what a majority holds durably, if it reaches into our own term: an entry of an earlier term on
    /// a majority may still be replaced (Raft paper §5.4.2).
    pub(crate) fn commit_by_counting(&mut self) {
        let index = self.quorum_value(|peer| peer.match_index, self.log.durable(), 0);
        let Some(leader) = self.state.leader_mut() else { return };
        if index <= self.commit || index < leader.term_start {
            return;
        }
        assert_eq!(self.log.term(index), Some(self.term), "our term's entries end the log");
        let first_own = leader.term_start.max(self.commit + 1);
        leader.uncommitted_bytes -= self.log.bytes(first_own, index);
        self.commit = index;
        self.memberships.committed(index);
        self.step_down_if_removed();
    }
}
