//! What one replica of one group is told at its start.

use alloc::vec::Vec;
use core::time::Duration;

use types::limits::REPLICAS_COUNT_MAX;
use types::{GroupId, ReplicaId};

use crate::progress::ROUNDS_UNANSWERED_MAX;

/// The highest priority, and what replicas have unless told otherwise: those of lower priority wait longer before they
/// campaign, and hand leadership to one of higher priority that is there and has caught up.
pub const PRIORITY_MAX: u8 = 3;

/// What [`Config::new`] sets for the bounds that whoever drives a replica may offer as knobs, in bytes.
pub mod defaults {
    /// Of [`Config::inflight_bytes_max`](super::Config::inflight_bytes_max).
    pub const INFLIGHT_BYTES_MAX: usize = 4 << 20;
    /// Of [`Config::uncommitted_bytes_max`](super::Config::uncommitted_bytes_max).
    pub const UNCOMMITTED_BYTES_MAX: usize = 16 << 20;
    /// Of [`Config::cache_bytes_max`](super::Config::cache_bytes_max).
    pub const CACHE_BYTES_MAX: usize = 8 << 20;
}

/// Settings of one replica. All replicas of a group must agree on `voters`, on the three times and on
/// `clock_drift_ppm_max`: the lease of one rests on the patience of the others.
#[derive(Clone, Debug)]
pub struct Config {
    /// The group.
    pub group: GroupId,
    /// This replica. Must be one of `voters`.
    pub id: ReplicaId,
    /// All voters a brand-new group begins with, this one included, in any order. Empty for a replica that joins a
    /// group later: it learns from the log or a snapshot who takes part. Once it has, this is of no meaning.
    pub voters: Vec<ReplicaId>,
    /// Campaign at the first tick if the group is brand new, instead of after an election timeout. Set for
    /// one replica of each group it lets a fresh cluster spread its leaders as it likes. Only a hint.
    pub first_campaigner: bool,
    /// How likely this replica is to lead, `0 ..= PRIORITY_MAX`: see [`PRIORITY_MAX`].
    pub priority: u8,
    /// How often a leader sends heartbeats. They leave when the clock passes a multiple of this interval, so
    /// that groups ticked together send together.
    pub heartbeat_interval: Duration,
    /// While round trips are long, heartbeats are sent more often, but not more often than this. A value beyond
    /// `heartbeat_interval` stands for that.
    pub heartbeat_interval_min: Duration,
    /// Voters stick to a leader for this long after they heard it; leases end before. Also how long a leadership
    /// transfer may take.
    pub election_timeout_min: Duration,
    /// Election timeouts are drawn from `election_timeout_min .. election_timeout_max`. A leader that has not
    /// heard from a majority for `election_timeout_max` steps down at its next heartbeat.
    pub election_timeout_max: Duration,
    /// Where network and disks are fast, election timeouts are drawn from a shorter range, but not from one shorter
    /// than this: several times the accuracy of the driver's timers. A value beyond
    /// `election_timeout_max - election_timeout_min` stands for that.
    pub campaign_spread_min: Duration,
    /// A group quiesces after this many heartbeat intervals in which nothing happened; 0 if it never does. It must
    /// be 0 unless the driver calls [`Raft::wake`](crate::Raft::wake) when the link to a leader's node is lost.
    pub quiesce_intervals_count: u32,
    /// How much faster one replica's clock may run than another's, in millionths. Leases are shortened by it.
    pub clock_drift_ppm_max: u32,
    /// Most Append messages on their way to one follower.
    pub inflight_count_max: usize,
    /// No further Append is sent to a follower while this many bytes are on their way to it.
    pub inflight_bytes_max: usize,
    /// Longest Append, in bytes of entries; a single entry may exceed it.
    pub append_bytes_max: usize,
    /// Most bytes of entries a leader has proposed and not committed; a first entry may exceed it.
    pub uncommitted_bytes_max: usize,
    /// Entries that are durable and applied stay in memory, for slow followers, up to this many bytes.
    pub cache_bytes_max: usize,
    /// Where this replica's chance comes from. Group and replica id are mixed in: one seed may serve all.
    pub seed: u64,
}

/// Why a [`Config`] is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The replica is not one of its own voters.
    #[error("replica {0} is not among the voters")]
    NotAVoter(ReplicaId),
    /// A voter is named twice.
    #[error("voter {0} is named twice")]
    RepeatedVoter(ReplicaId),
    /// Too many voters.
    #[error("{0} voters, at most {max} are possible", max = REPLICAS_COUNT_MAX)]
    TooManyVoters(usize),
    /// A rule between the settings is broken.
    #[error("{0}")]
    Rule(&'static str),
}

const PPM: u32 = 1_000_000;

impl Config {
    /// Settings fit for a local network and ordinary disks.
    pub fn new(group: GroupId, id: ReplicaId, voters: Vec<ReplicaId>) -> Config {
        Config {
            group,
            id,
            voters,
            first_campaigner: false,
            priority: PRIORITY_MAX,
            heartbeat_interval: Duration::from_millis(100),
            heartbeat_interval_min: Duration::from_millis(25),
            election_timeout_min: Duration::from_millis(600),
            election_timeout_max: Duration::from_millis(1_200),
            campaign_spread_min: Duration::from_millis(100),
            quiesce_intervals_count: 0,
            clock_drift_ppm_max: 10_000,
            inflight_count_max: 256,
            inflight_bytes_max: defaults::INFLIGHT_BYTES_MAX,
            append_bytes_max: 1 << 20,
            uncommitted_bytes_max: defaults::UNCOMMITTED_BYTES_MAX,
            cache_bytes_max: defaults::CACHE_BYTES_MAX,
            seed: 0,
        }
    }

    /// Checks the rules between the settings.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.voters.len() > REPLICAS_COUNT_MAX {
            return Err(ConfigError::TooManyVoters(self.voters.len()));
        }
        if !self.voters.is_empty() && !self.voters.contains(&self.id) {
            return Err(ConfigError::NotAVoter(self.id));
        }
        for (idx, voter) in self.voters.iter().enumerate() {
            if self.voters[..idx].contains(voter) {
                return Err(ConfigError::RepeatedVoter(*voter));
            }
        }
        let rules = [
            (!self.heartbeat_interval.is_zero(), "heartbeat_interval must not be zero"),
            (!self.heartbeat_interval_min.is_zero(), "heartbeat_interval_min must not be zero"),
            (self.priority <= PRIORITY_MAX, "priority must be at most 3"),
            (
                self.quiesce_intervals_count == 0 || self.quiesce_intervals_count as u64 > ROUNDS_UNANSWERED_MAX,
                "quiesce_intervals_count must be 0 or at least 3, or a group quiesces before a death is noticed",
            ),
            (
                self.election_timeout_min >= self.heartbeat_interval * 2,
                "election_timeout_min must be at least two heartbeat intervals",
            ),
            (
                self.election_timeout_max > self.election_timeout_min,
                "election_timeout_max must exceed election_timeout_min, or candidates collide for ever",
            ),
            (
                self.election_timeout_max <= Duration::from_secs(24 * 3_600),
                "election_timeout_max must be at most a day",
            ),
            (self.clock_drift_ppm_max < PPM, "clock_drift_ppm_max must be below 1,000,000"),
            (self.inflight_count_max > 0, "inflight_count_max must not be zero"),
            (self.inflight_bytes_max > 0, "inflight_bytes_max must not be zero"),
            (self.append_bytes_max > 0, "append_bytes_max must not be zero"),
        ];
        match rules.iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(ConfigError::Rule(rule)),
            None => Ok(()),
        }
    }

    /// How long a lease lasts from the sending of the heartbeat round it rests on.
    pub fn lease_duration(&self) -> Duration {
        self.election_timeout_min * (PPM - self.clock_drift_ppm_max) / PPM
    }
}
