//! Starting one replica on what its disk holds.

use std::time::Duration;

use host::Host;
use raft::{Raft, Recovered, StartError, TermRun};
use types::ReplicaId;
use wal::{RecoveredGroup, Wal};
use wire::{Member, Membership, MembershipError, SnapshotMeta};

use crate::checkpoint::Loaded;
use crate::checkpoints::Held;
use crate::config::Config;
use crate::error::Error;
use crate::group::Group;
use crate::recovery::{self, Found, Lost};
use crate::watch::Event;

/// A group in which nothing has happened for this many heartbeat intervals falls silent.
const QUIESCE_INTERVALS_COUNT: u32 = 40;

/// A replica that has started.
pub(crate) struct Started {
    pub(crate) group: Group,
    pub(crate) event: Event<'static>,
    /// The cluster map that its checkpoint holds; empty if it holds none.
    pub(crate) map: Vec<u8>,
}

/// Starts a replica on its checkpoint and what the log holds of it.
///
/// # Errors
/// See [`Error`]; data that cannot be trusted is [`Lost`], and what that means is for the caller to say.
pub(crate) async fn start_replica<H: Host>(
    host: &H,
    config: &Config,
    spec: &meta::Group,
    id: ReplicaId,
    wal: &mut Wal<H>,
    log: Option<RecoveredGroup>,
) -> Result<Result<Started, Lost>, Error> {
    match recovery::recover(host, config, spec.id, wal, log, host.random_u64()).await? {
        Ok(found) => build_replica(host, config, spec, id, found),
        Err(lost) => Ok(Err(lost)),
    }
}

/// Starts a replica on this.
///
/// # Errors
/// As [`start_replica`].
pub(crate) fn build_replica<H: Host>(
    host: &H,
    config: &Config,
    spec: &meta::Group,
    id: ReplicaId,
    found: Found,
) -> Result<Result<Started, Lost>, Error> {
    let Found { log, checkpoint } = found;
    let membership = match membership_of(checkpoint.as_ref(), spec) {
        Ok(membership) => membership,
        Err(error) => return Ok(Err(Lost { reason: format!("its checkpoint names {error}"), log: None })),
    };
    let recovered = match recovered(log.as_ref(), checkpoint.as_ref(), &membership) {
        Ok(recovered) => recovered,
        Err(error) => return Ok(Err(Lost { reason: format!("its log names {error}"), log: None })),
    };
    let event = Event::Started {
        hard_state: recovered.hard_state,
        base: (recovered.base_index, recovered.base_term),
        last_index: recovered.last_index,
        last_term: recovered.runs.last().map_or(recovered.base_term, |run| run.term),
        applied: recovered.applied,
    };
    let raft = match Raft::new(raft_config(host, config, spec, id), recovered, host.now()) {
        Ok(raft) => raft,
        Err(StartError::Recovered(reason)) => {
            let reason = format!("what its log holds contradicts itself: {reason}");
            return Ok(Err(Lost { reason, log: None }));
        }
        Err(source) => return Err(Error::Start { group: spec.id, source }),
    };
    let mut group = Group::new(spec.id, 0, raft, membership.clone(), host.random_u64());
    let mut map = Vec::new();
    if let Some(Loaded { file, header, keyspace, .. }) = checkpoint {
        group.keyspace = keyspace;
        group.time_ms = header.time_ms;
        group.checkpoint = Some(Held::new(file.last_index, header.last_term, membership));
        map = header.map;
    }
    Ok(Ok(Started { group, event, map }))
}

fn raft_config<H: Host>(host: &H, config: &Config, spec: &meta::Group, id: ReplicaId) -> raft::Config {
    let settings = &config.map.settings;
    let voters = spec.replicas.iter().map(|replica| replica.id).collect();
    let mut raft_config = raft::Config::new(spec.id, id, voters);
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    raft_config.heartbeat_interval = millis(settings.heartbeat_interval_ms);
    raft_config.election_timeout_min = millis(settings.election_timeout_min_ms);
    raft_config.election_timeout_max = millis(settings.election_timeout_max_ms);
    raft_config.clock_drift_ppm_max = settings.clock_drift_ppm_max;
    raft_config.quiesce_intervals_count = QUIESCE_INTERVALS_COUNT;
    raft_config.inflight_bytes_max = config.inflight_bytes_max;
    raft_config.uncommitted_bytes_max = config.uncommitted_bytes_max;
    raft_config.cache_bytes_max = config.cache_bytes_max;
    raft_config.first_campaigner = spec.preferred_leader().is_some_and(|replica| replica.id == id);
    raft_config.seed = host.random_u64();
    raft_config
}

/// The members as of the checkpoint, or those that the group began with.
pub(crate) fn membership_of(checkpoint: Option<&Loaded>, spec: &meta::Group) -> Result<Membership, MembershipError> {
    match checkpoint {
        Some(loaded) if !loaded.header.membership.is_empty() => Membership::decode(&loaded.header.membership),
        _ => {
            let member = |replica: &meta::Replica| Member { id: replica.id, place: replica.place };
            Ok(Membership::of_voters(spec.replicas.iter().map(member)))
        }
    }
}

/// What the disk holds, as Raft wants it told.
fn recovered(
    log: Option<&RecoveredGroup>,
    checkpoint: Option<&Loaded>,
    membership: &Membership,
) -> Result<Recovered, MembershipError> {
    let Some(log) = log else { return Ok(Recovered::default()) };
    let memberships =
        log.memberships.iter().map(|(index, payload)| Membership::decode(payload).map(|decoded| (*index, decoded)));
    Ok(Recovered {
        hard_state: log.hard_state,
        base_index: log.start_index,
        base_term: log.start_term,
        last_index: log.last_index,
        runs: log.terms.iter().map(|(first, term)| TermRun { first: *first, term: *term }).collect(),
        // The rest of the state is in memory: what came behind the checkpoint is applied anew.
        applied: checkpoint.map_or(log.start_index, |loaded| loaded.file.last_index),
        snapshot: checkpoint.map(|loaded| SnapshotMeta {
            last_index: loaded.file.last_index,
            last_term: loaded.header.last_term,
            membership: membership.clone(),
        }),
        memberships: memberships.collect::<Result<_, _>>()?,
    })
}
