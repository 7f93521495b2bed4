//! What a leader knows about a follower.

use core::time::Duration;

use types::{Index, Instant, ReplicaId};

use crate::inflights::Inflights;

/// A follower counts as present if it has answered one of this many last heartbeat rounds.
pub(crate) const ROUNDS_UNANSWERED_MAX: u64 = 2;

/// A follower that takes no entries is sent one at least every `1 << (UNTAKEN_COUNT_MAX - 1)` heartbeat intervals.
const UNTAKEN_COUNT_MAX: u32 = 6;

/// How a leader sends entries to a follower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressState {
    /// Where the logs part is not known: one Append at a time, until one is accepted.
    Probe,
    /// The logs agree: Appends are sent ahead of their answers, as far as the window allows.
    Replicate,
    /// Our log no longer reaches back to where its log ends: it was offered a snapshot.
    Snapshot,
}

/// State of reading entries for a follower back from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogReadState {
    /// None is wanted.
    Idle,
    /// Asked for and not answered. Survives changes of role: each request is answered once.
    Pending,
    /// Failed; asked for again later, not at once.
    Failed,
}

/// A leader's view of one other member.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    pub(crate) id: ReplicaId,
    pub(crate) state: ProgressState,
    /// Highest index known to be durable there and equal to our log.
    pub(crate) match_index: Index,
    /// First index of the next Append. Invariant: `match_index < next_index`. In `Replicate` everything
    /// before it has been sent.
    pub(crate) next_index: Index,
    /// In `Probe`: an Append is on its way. The leader waits for its answer, or for a heartbeat's from `retry_at` on.
    pub(crate) paused: bool,
    /// When the follower may be sent entries again, if it took none of the last ones; when a probe may be repeated.
    pub(crate) retry_at: Instant,
    /// How often in a row the follower answered heartbeats and took no entries: they were lost on their way, or it has
    /// no room for them. After the first time they are sent again; from the second time on the follower is sent one
    /// entry at a time, ever less often.
    /// Invariant: at most `UNTAKEN_COUNT_MAX`.
    pub(crate) untaken_count: u32,
    /// In `Probe`: the Append on its way carries entries.
    pub(crate) probed_with_entries: bool,
    /// Appends on their way. Invariant: empty in `Probe`.
    pub(crate) inflights: Inflights,
    /// `match_index` when the last heartbeat was answered. If it has not moved by the next one though
    /// entries are on their way, they may be lost.
    pub(crate) match_at_heartbeat: Index,
    /// Last heartbeat round answered. Invariant: at most the leader's current round.
    pub(crate) round: u64,
    /// When it last answered anything in our term.
    pub(crate) heard_at: Instant,
    /// It was not heard for a long time when the leader quiesced, and has not been heard since.
    pub(crate) is_absent: bool,
    /// As it said last.
    pub(crate) priority: u8,
    pub(crate) log_read: LogReadState,
}

impl Progress {
    pub(crate) fn new(id: ReplicaId, inflights: Inflights) -> Progress {
        Progress {
            id,
            state: ProgressState::Probe,
            match_index: 0,
            next_index: 1,
            paused: false,
            retry_at: Instant::ZERO,
            untaken_count: 0,
            probed_with_entries: false,
            inflights,
            match_at_heartbeat: 0,
            round: 0,
            heard_at: Instant::ZERO,
            is_absent: false,
            priority: 0,
            log_read: LogReadState::Idle,
        }
    }

    /// Forgets everything at the start of a leader's term. A log read under way stays noted.
    pub(crate) fn reset(&mut self, last_index: Index, now: Instant) {
        self.match_index = 0;
        self.match_at_heartbeat = 0;
        self.round = 0;
        self.heard(now);
        self.untaken_count = 0;
        self.become_probe(last_index + 1);
    }

    /// It has answered something.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.is_absent = false;
    }

    pub(crate) fn become_probe(&mut self, next_index: Index) {
        assert!(next_index > self.match_index, "what is known to match is not sent again");
        self.state = ProgressState::Probe;
        self.next_index = next_index;
        self.paused = false;
        self.inflights.clear();
    }

    /// Its log cannot be continued from ours.
    pub(crate) fn become_snapshot(&mut self) {
        self.state = ProgressState::Snapshot;
        self.paused = true;
        self.inflights.clear();
    }

    /// The follower accepted entries up to `index`. True if that is news.
    pub(crate) fn accepted(&mut self, index: Index) -> bool {
        let news = index > self.match_index;
        if news {
            self.match_index = index;
            self.next_index = self.next_index.max(index + 1);
            self.inflights.free_to(index);
            self.untaken_count = 0;
        }
        if self.state != ProgressState::Replicate && index == self.match_index {
            self.state = ProgressState::Replicate;
            self.next_index = index + 1;
            self.paused = false;
        }
        news
    }

    /// The leader has sent an Append at `now`: says when the next one may leave if nothing comes of it.
    pub(crate) fn await_answer(&mut self, now: Instant, heartbeat_interval: Duration) {
        self.retry_at = now + heartbeat_interval * (1 << self.untaken_count.saturating_sub(1));
    }

    /// The follower has taken none of the entries that were sent to it last.
    pub(crate) fn count_untaken(&mut self) {
        self.untaken_count = (self.untaken_count + 1).min(UNTAKEN_COUNT_MAX);
    }

    /// Whether the follower does not seem to take entries: it is sent one at a time.
    pub(crate) fn is_tried_with_one_entry(&self) -> bool {
        self.untaken_count > 1
    }

    /// Whether entries are held back because the follower did not take the last ones: the one that it was sent again is
    /// on its way, or it is too early to try once more.
    pub(crate) fn holds_back_entries(&self, now: Instant) -> bool {
        self.is_tried_with_one_entry() && (self.inflights.count() > 0 || now < self.retry_at)
    }

    /// The follower answers heartbeats: the probe on its way is repeated if it is time. True if it had carried entries.
    pub(crate) fn resume_probe(&mut self, now: Instant) -> bool {
        let resumes = self.state == ProgressState::Probe && self.paused && now >= self.retry_at;
        if !resumes {
            return false;
        }
        self.paused = false;
        if self.probed_with_entries {
            self.count_untaken();
        }
        self.probed_with_entries
    }

    /// The follower refused an Append behind `prev_index`. True if that is not an old refusal.
    pub(crate) fn refusal_is_current(&self, prev_index: Index) -> bool {
        match self.state {
            ProgressState::Replicate => prev_index > self.match_index && prev_index < self.next_index,
            ProgressState::Probe => prev_index == self.next_index - 1 && prev_index > self.match_index,
            ProgressState::Snapshot => false,
        }
    }
}

/// A leader's view of another voter, for display.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The voter.
    pub id: ReplicaId,
    /// How entries are sent to it.
    pub state: ProgressState,
    /// Highest index known to be durable there.
    pub match_index: Index,
    /// First index of the next Append.
    pub next_index: Index,
    /// Appends on their way.
    pub inflight_count: usize,
    /// When it last answered anything in this term.
    pub heard_at: Instant,
}
