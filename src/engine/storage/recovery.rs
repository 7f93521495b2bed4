//! What a replica starts on: its snapshot, and the log behind it.
//!
//! A crash may fall between any two steps of writing a snapshot, of receiving one, and of cutting the log. All of
//! them leave the log within or at the end of the snapshot, or the snapshot beyond the log's end; then a state was
//! received, and the log begins anew behind it. Everything else is damage.

use data::Keyspace;
use raft::{Recovered, TermRun};
use types::{GroupId, Index, ReplicaId, Term};
use wal::{Condition, LogHost, RecoveredGroup, Wal};
use wire::{HardState, Member, Membership, MembershipError};

use super::rebuilding::Rebuilding;
use super::snapshot::{self, LoadError, Loaded, Paths};
use super::{SnapshotInfo, StartedReplica, Storage, StorageHost};
use crate::config::Config;
use crate::error::Error;

/// What a replica starts on.
pub(super) struct Found {
    /// What the log holds; `None` if it has never heard of the group.
    pub(super) log: Option<RecoveredGroup>,
    /// The state to begin with; `None` to begin with an empty one.
    pub(super) snapshot: Option<Loaded>,
}

/// Why a replica must stay away.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) reason: String,
    /// The log itself is sound: with a snapshot from another replica, one at least as new as where the log begins,
    /// this one can go on.
    pub(super) log: Option<Box<RecoveredGroup>>,
}

impl Lost {
    fn whole(reason: String) -> Lost {
        Lost { reason, log: None }
    }
}

impl<H: StorageHost> Storage<H> {
    /// Recovers the replicas that the map places on this core, and names those that must stay away.
    ///
    /// # Errors
    /// [`Error::LostAlone`] if one must whose group has no other, and whatever else keeps the core from starting.
    pub(super) async fn recover(
        &mut self,
        mut recovered: wal::Recovered,
    ) -> Result<(Vec<StartedReplica>, Vec<(GroupId, ReplicaId)>), Error> {
        let config = self.config.clone();
        let (mut replicas, mut quarantined) = (Vec::new(), Vec::new());
        for (spec, replica) in config.map.replicas_at(config.place) {
            let log = recovered.groups.remove(&spec.id);
            let found = recover(&self.host, &config, spec.id, self.log.wal_mut(), log).await?;
            let started = found.and_then(|found| self.start(spec, replica.id, found));
            match started {
                Ok(started) => replicas.push(started),
                Err(Lost { reason, .. }) if spec.replicas.len() == 1 => {
                    return Err(Error::LostAlone { group: spec.id, reason });
                }
                Err(Lost { reason, log }) => {
                    self.rebuilding.extend(log.map(|log| Rebuilding::new(spec, replica.id, log)));
                    tracing::error!(
                        group = %spec.id, %reason, "this replica is quarantined: it neither votes nor acknowledges"
                    );
                    quarantined.push((spec.id, replica.id));
                }
            }
        }
        Ok((replicas, quarantined))
    }

    /// Makes what was found what a replica starts on. From now on it has the next index.
    pub(super) fn start(&mut self, spec: &meta::Group, id: ReplicaId, found: Found) -> Result<StartedReplica, Lost> {
        let Found { log, snapshot } = found;
        let membership = membership_of(snapshot.as_ref(), spec);
        let membership = membership.map_err(|error| Lost::whole(format!("its snapshot names {error}")))?;
        let info = snapshot
            .as_ref()
            .map(|loaded| SnapshotInfo::new(loaded.file.last_index, loaded.header.last_term, membership.clone()));
        let recovered = recovered(log.as_ref(), info.as_ref());
        let recovered = recovered.map_err(|error| Lost::whole(format!("its log names {error}")))?;
        self.records.push(spec.id, info);
        let (keyspace, map) = match snapshot {
            Some(Loaded { header, keyspace, .. }) => (keyspace, header.map),
            None => (Keyspace::with_hash_seed(self.config.row_hash_seed()), Vec::new()),
        };
        Ok(StartedReplica { group: spec.id, replica: id, recovered, membership, keyspace, map })
    }
}

/// Loads a group's snapshot and fits the log to it.
///
/// # Errors
/// Those of the log, and a snapshot that cannot be read for reasons that may pass. Data that cannot be trusted is [`Lost`],
/// and what that means is for the caller to say.
async fn recover<H: StorageHost>(
    host: &H,
    config: &Config,
    group: GroupId,
    wal: &mut Wal<H>,
    log: Option<RecoveredGroup>,
) -> Result<Result<Found, Lost>, Error> {
    let paths = Paths::new(&config.data_dir, group);
    if let Some(RecoveredGroup { condition: Condition::Quarantined(fault), .. }) = &log {
        return Ok(Err(Lost::whole(format!("the log is damaged: {fault}"))));
    }
    let tidied = snapshot::tidy(host, &paths).await;
    tidied.map_err(|source| Error::Snapshot { group, source: LoadError::Io { path: paths.dir.clone(), source } })?;
    let loaded = match snapshot::load(host, &paths.snapshot, group, config.row_hash_seed()).await {
        Ok(loaded) => loaded,
        Err(error) if error.is_damage() && log.as_ref().is_some_and(|log| log.start_index == 0) => {
            tracing::error!(%group, %error, "the snapshot is lost; the log still begins at the beginning");
            None
        }
        Err(error) if error.is_damage() => {
            return Ok(Err(Lost { reason: error.to_string(), log: log.map(Box::new) }));
        }
        Err(source) => return Err(Error::Snapshot { group, source }),
    };
    let log = fit_log(config, group, wal, log, loaded.as_ref())?;
    Ok(log.map(|log| Found { log, snapshot: loaded }))
}

/// Whether a log could go on behind a snapshot.
pub(super) fn fits(log: &RecoveredGroup, loaded: &Loaded) -> bool {
    fit(Some(log.clone()), Some((loaded.file.last_index, loaded.header.last_term))).is_ok()
}

/// Makes the log go on where the snapshot ends.
pub(super) fn fit_log<H: LogHost>(
    config: &Config,
    group: GroupId,
    wal: &mut Wal<H>,
    log: Option<RecoveredGroup>,
    loaded: Option<&Loaded>,
) -> Result<Result<Option<RecoveredGroup>, Lost>, Error> {
    let last = loaded.map(|found| (found.file.last_index, found.header.last_term));
    let fitted = match fit(log, last) {
        Ok(fitted) => fitted,
        Err(lost) => return Ok(Err(lost)),
    };
    Ok(Ok(match fitted {
        Fitted::AsIs(log) => log,
        Fitted::Behind(log) => {
            tracing::info!(%group, last_index = log.start_index, "the log begins anew behind the snapshot");
            let written = wal
                .reset(group, log.start_index, log.start_term)
                .and_then(|()| wal.append_hard_state(group, log.hard_state));
            written.map_err(|source| Error::Wal { place: config.place, source })?;
            Some(log)
        }
    }))
}

/// The members as of the snapshot, or those that the group began with.
pub(super) fn membership_of(loaded: Option<&Loaded>, spec: &meta::Group) -> Result<Membership, MembershipError> {
    match loaded {
        Some(loaded) if !loaded.header.membership.is_empty() => Membership::decode(&loaded.header.membership),
        _ => {
            let member = |replica: &meta::Replica| Member { id: replica.id, place: replica.place };
            Ok(Membership::of_voters(spec.replicas.iter().map(member)))
        }
    }
}

/// What the disk holds, as Raft wants it told.
fn recovered(log: Option<&RecoveredGroup>, snapshot: Option<&SnapshotInfo>) -> Result<Recovered, MembershipError> {
    let Some(log) = log else { return Ok(Recovered::default()) };
    let memberships =
        log.memberships.iter().map(|(index, payload)| Membership::decode(payload).map(|decoded| (*index, decoded)));
    Ok(Recovered {
        hard_state: log.hard_state,
        base_index: log.start_index,
        base_term: log.start_term,
        last_index: log.last_index,
        runs: log.terms.iter().map(|(first, term)| TermRun { first: *first, term: *term }).collect(),
        // The rest of the state is in memory: what came behind the snapshot is applied anew.
        applied: snapshot.map_or(log.start_index, |snapshot| snapshot.last_index),
        snapshot: snapshot.map(SnapshotInfo::meta),
        memberships: memberships.collect::<Result<_, _>>()?,
    })
}

/// How a log stands to a snapshot.
#[derive(Debug, PartialEq, Eq)]
enum Fitted {
    /// It goes on where the snapshot ends.
    AsIs(Option<RecoveredGroup>),
    /// It must be made to begin behind the snapshot, like this.
    Behind(RecoveredGroup),
}

fn fit(log: Option<RecoveredGroup>, snapshot: Option<(Index, Term)>) -> Result<Fitted, Lost> {
    let Some((last_index, last_term)) = snapshot else {
        return match log {
            Some(log) if log.start_index > 0 => {
                let reason = format!("there is no snapshot, and the log begins behind entry {}", log.start_index);
                Err(Lost { reason, log: Some(Box::new(log)) })
            }
            log => Ok(Fitted::AsIs(log)),
        };
    };
    let Some(log) = log else {
        // Whatever this replica has voted and acknowledged stood there.
        return Err(Lost {
            reason: "there is a snapshot, and the log knows nothing of the group".to_owned(),
            log: None,
        });
    };
    if last_index < log.start_index {
        let reason =
            format!("the snapshot ends with entry {last_index}, and the log begins behind {}", log.start_index);
        return Err(Lost { reason, log: Some(Box::new(log)) });
    }
    if term_at(&log, last_index) == Some(last_term) {
        return Ok(Fitted::AsIs(Some(log)));
    }
    if last_index <= log.hard_state.commit {
        let reason = format!("the snapshot and the log disagree on entry {last_index}, which was committed");
        return Err(Lost { reason, log: None });
    }
    // A state was taken over and the crash came before the log had noted it. What the log holds is behind that state,
    // or was never committed.
    let mut hard_state = log.hard_state;
    if hard_state.term < last_term {
        // Had it voted in that term, the log would know the term.
        hard_state = HardState { term: last_term, vote: None, ..hard_state };
    }
    hard_state.commit = last_index;
    Ok(Fitted::Behind(RecoveredGroup {
        hard_state,
        start_index: last_index,
        start_term: last_term,
        last_index,
        terms: Vec::new(),
        memberships: Vec::new(),
        ..log
    }))
}

/// Term of the entry at `index`, if the log holds it or begins behind it.
fn term_at(log: &RecoveredGroup, index: Index) -> Option<Term> {
    if index == log.start_index {
        return Some(log.start_term);
    }
    if index < log.start_index || index > log.last_index {
        return None;
    }
    log.terms.iter().rev().find(|(first, _)| *first <= index).map(|(_, term)| *term)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(start: (Index, Term), last_index: Index, terms: &[(Index, Term)], term: Term) -> RecoveredGroup {
        RecoveredGroup {
            hard_state: HardState { term, vote: Some(ReplicaId(2)), commit: start.0 },
            start_index: start.0,
            start_term: start.1,
            last_index,
            terms: terms.to_vec(),
            memberships: Vec::new(),
            condition: Condition::Sound,
        }
    }

    #[test]
    fn a_log_around_or_behind_its_snapshot_stays_as_it_is() {
        let log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        for snapshot in [(10, 2), (12, 2), (14, 2), (15, 3), (20, 3)] {
            let fitted = fit(Some(log.clone()), Some(snapshot)).ok();
            assert_eq!(fitted, Some(Fitted::AsIs(Some(log.clone()))), "{snapshot:?}");
        }
        assert_eq!(fit(None, None).ok(), Some(Fitted::AsIs(None)));
    }

    #[test]
    fn a_log_that_ends_before_its_snapshot_begins_anew() {
        let log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        for (last_index, last_term) in [(21, 3), (100, 9), (14, 3), (20, 4)] {
            let Ok(Fitted::Behind(fitted)) = fit(Some(log.clone()), Some((last_index, last_term))) else {
                panic!("the log does not hold {last_index} in term {last_term}");
            };
            assert_eq!(
                (fitted.start_index, fitted.last_index, fitted.start_term),
                (last_index, last_index, last_term)
            );
            assert!(fitted.terms.is_empty());
            assert_eq!(fitted.hard_state.commit, last_index);
            let voted = last_term <= 4;
            assert_eq!((fitted.hard_state.term, fitted.hard_state.vote.is_some()), (last_term.max(4), voted));
        }
    }

    #[test]
    fn what_lies_between_snapshot_and_log_is_missed() {
        let log = log((10, 2), 20, &[(11, 2)], 4);
        assert!(fit(Some(log.clone()), Some((9, 2))).is_err_and(|lost| lost.log.is_some()));
        assert!(fit(Some(log), None).is_err_and(|lost| lost.log.is_some()));
        assert!(fit(None, Some((9, 2))).is_err_and(|lost| lost.log.is_none()));
    }

    #[test]
    fn a_snapshot_that_contradicts_what_was_committed_is_refused() {
        let mut log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        log.hard_state.commit = 16;
        assert!(fit(Some(log.clone()), Some((16, 9))).is_err_and(|lost| lost.log.is_none()));
        assert!(fit(Some(log), Some((17, 9))).is_ok());
    }
}
