//! The replica: its state, its start, and the questions one may ask it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use types::{GroupId, Index, Instant, ReplicaId, Term};
use wire::{Body, Entry, HardState, Membership, Message, SnapshotMeta};

use crate::config::{Config, ConfigError};
use crate::counters::Counters;
use crate::durability::Durability;
use crate::far_terms::{FarTerms, Insistence, TERM_LAST};
use crate::inflights::Inflights;
use crate::log::{Log, TermRun};
use crate::membership::{self, Memberships};
use crate::progress::{LogReadState, PeerStatus, Progress};
use crate::reads::ReadResults;
use crate::ready::{Role, SnapshotRequest, SoftState};
use crate::rng::Rng;
use crate::role::{Follower, RoleState};
use crate::timing::Timing;

/// What a replica has told of terms too far ahead to be believed counts for this many times `election_timeout_max`.
const FAR_TERMS_TIMEOUTS_COUNT: u32 = 64;

/// What a replica finds on its disk when it starts. The default is that of a brand-new replica.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The last hard state written.
    pub hard_state: HardState,
    /// Index of the entry before the log's first; 0 if nothing was ever dropped from its beginning.
    pub base_index: Index,
    /// Term of that entry; 0 if `base_index` is 0.
    pub base_term: Term,
    /// Index of the log's last entry; `base_index` if it is empty.
    pub last_index: Index,
    /// The terms of all its entries, in order; empty if the log is.
    pub runs: Vec<TermRun>,
    /// Everything up to here is part of the state machine already. Applying starts behind it.
    pub applied: Index,
    /// The durable snapshot of the state, if there is one.
    pub snapshot: Option<SnapshotMeta>,
    /// The configurations among the log's entries, with their indexes, in order. Those that `snapshot` covers may be
    /// among them or not.
    pub memberships: Vec<(Index, Membership)>,
}

/// Why a replica cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The settings are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// What was recovered contradicts itself: the replica must not take part in its group.
    #[error("recovered state is damaged: {0}")]
    Recovered(&'static str),
}

impl Recovered {
    fn validate(&self) -> Result<(), StartError> {
        let last_term = self.runs.last().map_or(self.base_term, |run| run.term);
        let grows = self.runs.windows(2).all(|pair| pair[0].first < pair[1].first && pair[0].term < pair[1].term);
        let rules = [
            (self.last_index >= self.base_index, "the log ends before it begins"),
            (self.last_index < u64::MAX / 2, "the log's last index is absurd"),
            (
                self.runs.is_empty() == (self.last_index == self.base_index),
                "terms are recorded for an empty log, or none for one with entries",
            ),
            (
                self.runs.first().is_none_or(|run| run.first == self.base_index + 1 && run.term >= self.base_term),
                "the first term does not start with the log",
            ),
            (self.runs.last().is_none_or(|run| run.first <= self.last_index), "a term starts behind the log"),
            (grows, "terms do not grow along the log"),
            (self.hard_state.term.max(last_term).max(self.base_term) <= TERM_LAST, "the term is absurd"),
            (
                self.hard_state.term >= last_term || (self.runs.is_empty() && self.snapshot.is_some()),
                "the log holds entries of a later term than the hard state",
            ),
            (self.hard_state.commit <= self.last_index, "the commit index lies behind the log"),
            (self.applied <= self.last_index, "the applied index lies behind the log"),
            (self.applied >= self.base_index, "entries that are not applied were dropped from the log"),
            (
                self.snapshot.as_ref().is_none_or(|snapshot| snapshot.last_index <= self.applied),
                "the snapshot holds more than what is applied",
            ),
            (
                self.memberships.windows(2).all(|pair| pair[0].0 < pair[1].0)
                    && self.memberships.last().is_none_or(|(index, _)| *index <= self.last_index),
                "configurations are out of order or lie behind the log",
            ),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(StartError::Recovered(rule)),
            None => Ok(()),
        }
    }
}

/// One replica of one group. See the crate's documentation for how to drive it.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub struct Raft {
    pub(crate) config: Config,
    pub(crate) lease_duration: Duration,
    /// The latest time handed in.
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) timing: Timing,
    pub(crate) counters: Counters,

    pub(crate) far_terms: FarTerms,

    // Hard state, and what is durable.
    pub(crate) term: Term,
    pub(crate) vote: Option<ReplicaId>,
    /// Invariant: `applied < apply_next <= commit + 1 <= log.last_index() + 1`; never falls.
    pub(crate) commit: Index,
    pub(crate) log: Log,
    pub(crate) durability: Durability,
    /// The commit index in the last hard state handed out.
    pub(crate) commit_written: Index,

    // Applying.
    pub(crate) applied: Index,
    /// First index that was not handed out to be applied.
    pub(crate) apply_next: Index,
    /// Whether whoever applies takes no more entries for now.
    pub(crate) is_apply_paused: bool,
    pub(crate) apply_log_read: LogReadState,
    /// When a read that failed is asked for again.
    pub(crate) apply_retry_at: Instant,
    /// Entries read back from the log to be applied, all before `apply_next`.
    pub(crate) apply_entries: VecDeque<Entry>,

    // Every role.
    pub(crate) state: RoleState,
    /// The leader of the current term, once known; kept while we campaign without raising the term.
    pub(crate) leader: Option<ReplicaId>,
    /// The other members, ordered by id.
    pub(crate) peers: Vec<Progress>,
    /// Former peers for whom a log read is under way. It is answered all the same.
    pub(crate) orphaned_log_reads: Vec<ReplicaId>,
    pub(crate) memberships: Memberships,
    /// The configuration in effect has changed and the driver does not know it.
    pub(crate) membership_news: bool,
    /// What followers are offered whose logs cannot be continued. Invariant: its last index is at most `applied`, and at
    /// least the log's base unless the log was recovered without one.
    pub(crate) snapshot: Option<SnapshotMeta>,
    /// The log was emptied and the driver does not know it.
    pub(crate) reset_due: Option<(Index, Term)>,
    /// A state that the driver should receive.
    pub(crate) snapshot_request: Option<SnapshotRequest>,
    pub(crate) election_timeout: Duration,
    pub(crate) election_deadline: Instant,
    /// This replica has campaigned since a leader was last heard.
    pub(crate) has_campaigned: bool,
    /// Until then this replica sticks to a leader that it heard, or may have heard before a restart, and denies votes.
    pub(crate) leader_sticky_until: Instant,
    /// Hand-overs by priority that failed since another replica led or a priority changed. Invariant: at most
    /// `FAILURES_COUNT_MAX`.
    pub(crate) hand_overs_failed: u32,
    /// Timers stand still until something happens. Only leaders and followers are quiescent.
    pub(crate) quiescent: bool,
    /// Reads by ReadIndex that were confirmed or failed, and are to be handed out.
    pub(crate) read_results: ReadResults,

    // Output.
    pub(crate) messages: Vec<Message>,
    /// Messages that must not leave before the current term and vote are durable.
    pub(crate) held: Vec<Message>,
    pub(crate) reported: SoftState,
}

/// For how long a sender must insist on a term that is far ahead, and for how long it counts.
fn insistence(config: &Config) -> Insistence {
    Insistence { min: config.election_timeout_min, max: config.election_timeout_max * FAR_TERMS_TIMEOUTS_COUNT }
}

/// The term that a replica starts in, its vote there, and what of that is durable.
fn first_promise(hard_state: HardState, base_term: Term) -> (Term, Option<ReplicaId>, Durability) {
    let HardState { term, vote, .. } = hard_state;
    let mut durability = Durability::new();
    if base_term > term {
        // A state was taken over, and the crash came before its term was durable: nothing was promised in it.
        durability.dirty();
        return (base_term, None, durability);
    }
    (term, vote, durability)
}

impl Raft {
    /// Starts a replica on what was recovered from its disk, at the time `now`.
    pub fn new(config: Config, recovered: Recovered, now: Instant) -> Result<Raft, StartError> {
        config.validate()?;
        recovered.validate()?;
        let first = match &recovered.snapshot {
            Some(snapshot) => (snapshot.last_index, snapshot.membership.clone()),
            None => (0, membership::of_ids(&config.voters)),
        };
        let memberships = Memberships::new(first.0, first.1, recovered.memberships);
        let mut rng = Rng::new(config.seed ^ (u64::from(config.group.0) << 32) ^ config.id.0.rotate_left(17));
        let election_timeout = rng.duration(config.election_timeout_min, config.election_timeout_max);
        let timing = Timing::new(&config);
        // A replica in term 0 has never answered a leader: an answer leaves only once its term is durable.
        let brand_new = recovered.hard_state.term == 0;
        let campaign_at_once = brand_new && config.first_campaigner;
        let stickiness = if brand_new { Duration::ZERO } else { config.election_timeout_min };
        let Recovered { hard_state, base_index, base_term, last_index, runs, applied, snapshot, .. } = recovered;
        let (term, vote, durability) = first_promise(hard_state, base_term);
        let commit = hard_state.commit;
        let mut raft = Raft {
            lease_duration: config.lease_duration(),
            now,
            rng,
            timing,
            counters: Counters::default(),
            far_terms: FarTerms::new(insistence(&config)),
            term,
            vote,
            commit: commit.max(applied),
            log: Log::new(base_index, base_term, last_index, runs),
            durability,
            commit_written: commit,
            applied,
            apply_next: applied + 1,
            is_apply_paused: false,
            apply_log_read: LogReadState::Idle,
            apply_retry_at: now,
            apply_entries: VecDeque::new(),
            state: RoleState::Follower(Follower::default()),
            leader: None,
            peers: Vec::new(),
            orphaned_log_reads: Vec::new(),
            memberships,
            membership_news: false,
            snapshot,
            reset_due: None,
            snapshot_request: None,
            election_timeout,
            election_deadline: if campaign_at_once { now } else { now + election_timeout },
            has_campaigned: false,
            leader_sticky_until: now + stickiness,
            hand_overs_failed: 0,
            quiescent: false,
            read_results: ReadResults::default(),
            messages: Vec::new(),
            held: Vec::new(),
            reported: SoftState { role: Role::Follower, leader: None, term },
            config,
        };
        raft.memberships.committed(raft.commit);
        raft.membership_changed();
        if raft.is_sole_voter() {
            // There is nobody to stick to.
            (raft.election_deadline, raft.leader_sticky_until) = (now, now);
        }
        if raft.election_deadline > now {
            raft.election_deadline += raft.priority_wait();
        }
        Ok(raft)
    }

    /// The group.
    pub fn group(&self) -> GroupId {
        self.config.group
    }

    /// This replica.
    pub fn id(&self) -> ReplicaId {
        self.config.id
    }

    /// The settings it was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its role.
    pub fn role(&self) -> Role {
        self.state.role()
    }

    /// Whether it leads, as far as it knows: another may have been elected since.
    pub fn is_leader(&self) -> bool {
        self.state.is_leader()
    }

    /// The leader it last heard in this term; `None` while it campaigns or has heard none.
    pub fn leader(&self) -> Option<ReplicaId> {
        match self.state {
            RoleState::Leader(_) | RoleState::Follower(_) => self.leader,
            RoleState::PreCandidate(_) | RoleState::Candidate(_) => None,
        }
    }

    /// The current term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// Everything up to here is committed.
    pub fn commit_index(&self) -> Index {
        self.commit
    }

    /// Index of the last entry in the log, durable or not.
    pub fn last_index(&self) -> Index {
        self.log.last_index()
    }

    /// Everything up to here is durable in this replica's own log.
    pub fn durable_index(&self) -> Index {
        self.log.durable()
    }

    /// Everything up to here is applied.
    pub fn applied_index(&self) -> Index {
        self.applied
    }

    /// Term of the entry at `index`, if the log holds it.
    pub fn term_at(&self, index: Index) -> Option<Term> {
        self.log.term(index)
    }

    /// Bytes of entries proposed here and not committed, headers included.
    pub fn uncommitted_bytes(&self) -> usize {
        self.state.leader().map_or(0, |leader| leader.uncommitted_bytes)
    }

    /// Bytes of entries in memory, headers included.
    pub fn cache_bytes(&self) -> usize {
        self.log.cache_bytes()
    }

    /// Whether a leadership transfer is under way, and to whom.
    pub fn transferring_to(&self) -> Option<ReplicaId> {
        self.state.leader()?.transfer.as_ref().map(|transfer| transfer.to)
    }

    /// The other members, ordered by id. Meaningful on the leader.
    pub fn peers(&self) -> impl Iterator<Item = PeerStatus> + '_ {
        self.peers.iter().map(|peer| PeerStatus {
            id: peer.id,
            state: peer.state,
            match_index: peer.match_index,
            next_index: peer.next_index,
            inflight_count: peer.inflights.count(),
            heard_at: peer.heard_at,
        })
    }

    /// How often this replica sends heartbeats while it leads, as adapted to what was measured.
    pub fn heartbeat_interval(&self) -> Duration {
        self.timing.heartbeat_interval()
    }

    /// The latest this replica misses a leader it has heard, as adapted to what was measured; priority aside.
    pub fn campaign_timeout_max(&self) -> Duration {
        self.config.election_timeout_min + self.timing.spread()
    }

    /// How often rare things happened since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Role, leader and term.
    pub fn soft_state(&self) -> SoftState {
        SoftState { role: self.role(), leader: self.leader(), term: self.term }
    }

    /// Notes the time; it never goes backwards.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    /// An empty window for what is on its way to a follower.
    pub(crate) fn window(&self) -> Inflights {
        Inflights::new(self.config.inflight_count_max, self.config.inflight_bytes_max)
    }

    /// Something changed that may allow a leader to send Appends.
    pub(crate) fn request_sending(&mut self) {
        if let Some(leader) = self.state.leader_mut() {
            leader.send_due = true;
        }
    }

    /// Whether a replica is another member, by the latest configuration in the log.
    pub fn has_peer(&self, id: ReplicaId) -> bool {
        self.peer_idx(id).is_some()
    }

    pub(crate) fn peer_idx(&self, id: ReplicaId) -> Option<usize> {
        self.peers.binary_search_by_key(&id, |peer| peer.id).ok()
    }

    /// Queues a message in our own term. It leaves once a restart would remember that term and our vote in it.
    pub(crate) fn send(&mut self, to: ReplicaId, body: Body) {
        self.send_in_term(to, self.term, body);
    }

    pub(crate) fn send_in_term(&mut self, to: ReplicaId, term: Term, body: Body) {
        let message = Message { group: self.config.group, from: self.config.id, to, term, body };
        if self.durability.hard_state_is_durable() {
            self.messages.push(message);
        } else {
            self.held.push(message);
        }
    }
}
