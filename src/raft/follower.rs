//! The follower: appending what the leader sends, and acknowledging what is durable.

use alloc::vec::Vec;

use types::{Index, ReplicaId, Term};
use wire::{Body, Entry, EntryKind};

use crate::membership;
use crate::raft::Raft;
use crate::role::RoleState;

impl Raft {
    pub(crate) fn handle_append(
        &mut self,
        from: ReplicaId,
        prev_index: Index,
        prev_term: Term,
        commit: Index,
        entries: Vec<Entry>,
    ) {
        if !self.is_well_formed(prev_index, prev_term, &entries) {
            self.counters.malformed += 1;
            return;
        }
        // What is committed here equals every later leader's log, so there the terms need no comparing; they
        // may even have left the log's beginning.
        if prev_index > self.commit && self.log.term(prev_index) != Some(prev_term) {
            self.refuse(from, prev_index, prev_term);
            return;
        }
        if self.contradicts_committed(&entries) {
            // What is committed here stays, whoever is wrong. To drop it is as safe as to lose it: nothing of it is
            // acknowledged, so no leader counts on it.
            self.counters.appends_contradicting += 1;
            return;
        }
        let last_new = prev_index + entries.len() as u64;
        self.append_missing(entries);
        self.match_up_to(last_new.max(self.commit));
        self.commit_to(commit.min(last_new));
        if last_new <= self.log.durable() {
            // Nothing of this message waits for the disk; it may be a repetition whose answer was lost.
            self.acknowledge();
        }
    }

    /// Whether an Append's entries are numbered without gaps, in terms that neither fall nor exceed the leader's.
    fn is_well_formed(&self, prev_index: Index, prev_term: Term, entries: &[Entry]) -> bool {
        let Some(room) = (u64::MAX / 2).checked_sub(prev_index) else { return false };
        let mut term = prev_term;
        let mut numbered = entries.iter().zip(prev_index + 1..);
        entries.len() as u64 <= room
            && numbered.all(|(entry, index)| {
                let fits = entry.index == index && entry.term >= term;
                term = entry.term;
                fits
            })
            && term <= self.term
            && membership::are_sound(entries)
    }

    /// Whether one of these entries is another one than is committed here, as far as the log still knows.
    fn contradicts_committed(&self, entries: &[Entry]) -> bool {
        let committed = entries.iter().take_while(|entry| entry.index <= self.commit);
        committed.into_iter().any(|entry| self.log.term(entry.index).is_some_and(|held| held != entry.term))
    }

    /// Appends those entries that the log does not hold, after cutting off what contradicts them.
    fn append_missing(&mut self, entries: Vec<Entry>) {
        let mut appending = false;
        for entry in entries {
            if !appending {
                let held = self.log.term(entry.index);
                if held == Some(entry.term) || (entry.index <= self.commit && held.is_none()) {
                    continue;
                }
                assert!(entry.index > self.commit, "what contradicts committed entries was dropped before");
                if held.is_some() {
                    self.log.truncate_from(entry.index);
                    self.durability.truncated(self.log.last_index());
                    self.note_truncated();
                }
                appending = true;
            }
            let membership = (entry.kind == EntryKind::Membership).then(|| (entry.index, entry.payload.clone()));
            self.log.push_received(entry);
            if let Some((index, payload)) = membership {
                self.note_appended(index, EntryKind::Membership, &payload);
            }
        }
    }

    /// Our log has no entry (`prev_index`, `prev_term`). The answer names the last index where it might agree
    /// with the leader's: not behind our end, and not in a term that the leader's log has not reached there.
    fn refuse(&mut self, from: ReplicaId, prev_index: Index, prev_term: Term) {
        self.counters.appends_refused += 1;
        let hint_index = self.log.last_of_term(prev_index.min(self.log.last_index()), prev_term).max(self.commit);
        let hint_term = self.log.term(hint_index).unwrap_or(0);
        self.send(from, Body::AppendRejected { prev_index, hint_index, hint_term });
    }

    pub(crate) fn handle_heartbeat(&mut self, from: ReplicaId, commit: Index, round: u64, quiesce: bool) {
        // The leader counts on nothing but what we acknowledged: if it is not here, it was lost.
        if commit > self.log.last_index() {
            self.counters.commits_beyond_log += 1;
        } else {
            self.commit_to(commit);
        }
        self.send(from, Body::HeartbeatReply { round, priority: self.config.priority });
        // One that was overtaken, or comes again, may be from before the last time we woke.
        let Some(follower) = self.state.follower_mut() else { return };
        let newest = round > follower.round_heard;
        follower.round_heard = follower.round_heard.max(round);
        if quiesce {
            self.quiesce_as_follower(newest, commit);
        }
    }

    /// Everything up to `index` equals the leader's log, which waits to hear that it is durable here.
    pub(crate) fn match_up_to(&mut self, index: Index) {
        if let Some(follower) = self.state.follower_mut() {
            follower.matched = follower.matched.max(index);
            follower.ack_due = true;
        }
    }

    pub(crate) fn commit_to(&mut self, index: Index) {
        self.commit = self.commit.max(index);
        assert!(self.commit <= self.log.last_index(), "only what the log holds is committed");
        self.memberships.committed(self.commit);
    }

    /// Tells the leader how much of its log is durable here, if it is waiting to hear that.
    pub(crate) fn acknowledge(&mut self) {
        let (RoleState::Follower(follower), Some(leader)) = (&mut self.state, self.leader) else { return };
        if !follower.ack_due {
            return;
        }
        let match_index = follower.matched.min(self.log.durable());
        follower.ack_due = follower.matched > match_index;
        self.send(leader, Body::AppendAccepted { match_index });
    }
}
