//! What a replica starts on: its tables, of which nothing is read, and the log behind their seal.
//!
//! The manifest says as of what entry the tables are, and about how many rows they have. The replica begins with none of them in memory
//! and serves; [`super::warm`] brings them back. Tables that are damaged are noticed by whoever reads them.
//!
//! A crash may fall between any two steps of a flush, of receiving a snapshot, and of cutting the log. All of
//! them leave the log with the seal within it or at its end. But an installed state may lie beyond the log's end: then the crash came
//! before the log had noted it, and the log begins anew behind it. A *flushed* state beyond the log's end means that the log has lost
//! what was acknowledged. Everything else is damage, too.
//!
//! A replica begins in the log before anything else of it is written. What another replica of the group has left in the log is not its
//! successor's, and one that was destroyed does not come back: what the manifest still names of it is dropped.

use data::Keyspace;
use lsm::manifest::GroupState;
use raft::{Recovered, TermRun};
use types::{GroupId, Index, ReplicaId, Term};
use wal::{Condition, RecoveredGroup};
use wire::{HardState, Member, Membership, MembershipError};

use super::destroying::{Destroying, Stage};
use super::load::{Loaded, unread};
use super::rebuilding::Rebuilding;
use super::{SnapshotInfo, StartedReplica, Storage, StorageHost};
use crate::error::Error;

/// The replicas that can start, in the order of their indexes, and those that stay away.
pub(super) type Recovery = (Vec<StartedReplica>, Vec<(GroupId, ReplicaId)>);

/// What a replica starts on.
pub(super) struct Found {
    /// What the log holds; `None` if it has never heard of the group.
    pub(super) log: Option<RecoveredGroup>,
    /// The state to begin with; `None` to begin with an empty one.
    pub(super) state: Option<Loaded>,
}

/// Why a replica must stay away.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) reason: String,
    /// The log itself is sound: with a snapshot of another replica, one at least as new as where the log begins,
    /// this one can go on.
    pub(super) log: Option<Box<RecoveredGroup>>,
}

impl Lost {
    fn whole(reason: String) -> Lost {
        Lost { reason, log: None }
    }
}

impl<H: StorageHost> Storage<H> {
    /// Recovers the replicas that live on this core, and names those that must stay away.
    ///
    /// # Errors
    /// [`Error::LostAlone`] if one must whose group has no other, and whatever else keeps the core from starting.
    pub(super) fn recover(&mut self, mut recovered: wal::Recovered) -> Result<Recovery, Error> {
        let config = self.config.clone();
        let (mut replicas, mut quarantined) = (Vec::new(), Vec::new());
        for spec in &config.map.groups {
            let log = recovered.groups.remove(&spec.id);
            let destroyed = recovered.destroyed.get(&spec.id).copied();
            destroyed.inspect(|replica| self.was_destroyed(spec.id, *replica));
            let Some(id) = self.resident(spec, log.as_ref(), destroyed)? else { continue };
            let found = self.find(spec.id, id, log)?;
            let started = found.and_then(|found| self.start(spec, id, found));
            match started {
                Ok(started) => replicas.push(started),
                Err(Lost { reason, .. }) if spec.replicas.len() == 1 => {
                    return Err(Error::LostAlone { group: spec.id, reason });
                }
                Err(Lost { reason, log }) => {
                    tracing::error!(
                        group = %spec.id, %reason, "this replica is quarantined: it neither votes nor acknowledges"
                    );
                    match log {
                        Some(log) => self.rebuilding.push(Rebuilding::of_replica(spec.id, id, log)),
                        None => self.give_up(spec.id, id),
                    }
                    quarantined.push((spec.id, id));
                }
            }
        }
        Ok((replicas, quarantined))
    }

    /// Which replica of a group lives here. The log says so, and the manifest where the log has lost it; but what the manifest names before the
    /// log does has not begun. A core without either is
    /// that of a cluster which was just formed: the replicas begin that the first map places here. Or its node has lost its data, and
    /// the replicas with it.
    fn resident(
        &mut self,
        spec: &meta::Group,
        log: Option<&RecoveredGroup>,
        destroyed: Option<ReplicaId>,
    ) -> Result<Option<ReplicaId>, Error> {
        let first = spec.replicas.iter().find(|replica| replica.place == self.config.place).map(|replica| replica.id);
        let of_manifest = self.store.group(spec.id).filter(|state| Some(state.replica) > destroyed);
        let has_tables = of_manifest.is_some_and(|state| state.seal.index > 0);
        let of_manifest = of_manifest.map(|state| state.replica);
        if let (None, Some(replica), false) = (log, of_manifest, has_tables) {
            // A sound log names whatever has begun: the crash came before it did.
            self.destroying.list.push(Destroying { group: spec.id, replica, stage: Stage::Logless });
            return Ok(None);
        }
        if log.is_some() || of_manifest.is_some() {
            return Ok([log.map(|log| log.replica), of_manifest, first].into_iter().flatten().max());
        }
        let Some(first) = first.filter(|_| destroyed.is_none() && !self.config.has_come_back) else {
            return Ok(None);
        };
        let begun = self.log.wal_mut().begin(spec.id, first);
        begun.map_err(|source| Error::Wal { place: self.config.place, source })?;
        Ok(Some(first))
    }

    /// The log says that a replica was destroyed here.
    fn was_destroyed(&mut self, group: GroupId, replica: ReplicaId) {
        self.succeeding.destroyed(group, replica);
        // The crash may have come before the manifest knew.
        if self.store.group(group).is_some_and(|state| state.replica <= replica) {
            self.destroying.list.push(Destroying { group, replica, stage: Stage::Logless });
        }
    }

    /// Finds a group's state and fits the log to it.
    ///
    /// # Errors
    /// Those of the log. Data that cannot be trusted is [`Lost`], and what that means is for the caller to say.
    fn find(
        &mut self,
        group: GroupId,
        replica: ReplicaId,
        log: Option<RecoveredGroup>,
    ) -> Result<Result<Found, Lost>, Error> {
        if let Some(RecoveredGroup { condition: Condition::Quarantined(fault), .. }) = &log {
            return Ok(Err(Lost::whole(format!("the log is damaged: {fault}"))));
        }
        // The manifest names a successor before the log does: then this one was given up.
        if let Some(log) = log.as_ref().filter(|log| log.replica != replica) {
            let reason = format!("the log is that of replica {}, which was given up", log.replica);
            return Ok(Err(Lost::whole(reason)));
        }
        // What another replica of the group has left here is not its successor's.
        let Some(state) = self.store.group(group).filter(|state| state.replica == replica).cloned() else {
            let log = self.fit_log(group, log, None)?;
            return Ok(log.map(|log| Found { log, state: None }));
        };
        match unread(&state, group, self.config.row_hash_seed()) {
            Ok(state_here) => {
                let log = self.fit_log(group, log, Some(Sealed::of_state(&state)))?;
                Ok(log.map(|log| Found { log, state: Some(state_here) }))
            }
            Err(error) => Ok(Err(Lost { reason: error.to_string(), log: log.map(Box::new) })),
        }
    }

    /// Makes what was found what a replica starts on. From now on it has the next index.
    pub(super) fn start(&mut self, spec: &meta::Group, id: ReplicaId, found: Found) -> Result<StartedReplica, Lost> {
        let Found { log, state } = found;
        let info = state
            .as_ref()
            .map(|loaded| SnapshotInfo::new(loaded.last_index, loaded.last_term, loaded.membership.clone()));
        let recovered = recovered(log.as_ref(), info.as_ref());
        let recovered = recovered.map_err(|error| Lost::whole(format!("its log names {error}")))?;
        self.records.push(spec.id, id, info);
        let (membership, keyspace, map) = match state {
            Some(loaded) => (loaded.membership, loaded.keyspace, loaded.map),
            None => (initial_membership(spec), Keyspace::with_hash_seed(self.config.row_hash_seed()), Vec::new()),
        };
        if !keyspace.is_resident() {
            self.warming.push(spec.id);
        }
        Ok(StartedReplica { group: spec.id, replica: id, recovered, membership, keyspace, map })
    }

    /// Makes the log go on where a state ends.
    pub(super) fn fit_log(
        &mut self,
        group: GroupId,
        log: Option<RecoveredGroup>,
        state: Option<Sealed>,
    ) -> Result<Result<Option<RecoveredGroup>, Lost>, Error> {
        let log = match fit(log, state) {
            Ok(Fitted::AsIs(log)) => return Ok(Ok(log)),
            Ok(Fitted::Behind(log)) => log,
            Err(lost) => return Ok(Err(lost)),
        };
        tracing::info!(%group, last_index = log.start_index, "the log begins anew behind the state that was installed");
        let wal = self.log.wal_mut();
        let written = wal
            .reset(group, log.start_index, log.start_term)
            .and_then(|()| wal.append_hard_state(group, log.hard_state));
        written.map_err(|source| Error::Wal { place: self.config.place, source })?;
        Ok(Ok(Some(log)))
    }
}

/// Where a state on disk was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) index: Index,
    pub(super) term: Term,
    /// Whether another replica has sealed it, so that a log that ends before has lost nothing.
    pub(super) is_installed: bool,
}

impl Sealed {
    fn of_state(state: &GroupState) -> Sealed {
        let (index, term) = (state.seal.index, state.seal.term);
        Sealed { index, term, is_installed: state.installed == index }
    }

    /// Of a state that is received.
    pub(super) fn installed(loaded: &Loaded) -> Sealed {
        Sealed { index: loaded.last_index, term: loaded.last_term, is_installed: true }
    }
}

/// Whether a log could go on behind a state that was received.
pub(super) fn fits(log: &RecoveredGroup, loaded: &Loaded) -> bool {
    fit(Some(log.clone()), Some(Sealed::installed(loaded))).is_ok()
}

/// Those that a group began with.
pub(super) fn initial_membership(spec: &meta::Group) -> Membership {
    let member = |replica: &meta::Replica| Member { id: replica.id, place: replica.place };
    Membership::of_voters(spec.replicas.iter().map(member))
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

/// How a log stands to a state.
#[derive(Debug, PartialEq, Eq)]
enum Fitted {
    /// It goes on where the state ends.
    AsIs(Option<RecoveredGroup>),
    /// It must be made to begin behind the state, like this.
    Behind(RecoveredGroup),
}

fn fit(log: Option<RecoveredGroup>, state: Option<Sealed>) -> Result<Fitted, Lost> {
    let Some(Sealed { index: last_index, term: last_term, is_installed }) = state else {
        return match log {
            Some(log) if log.start_index > 0 => {
                let reason = format!("there are no tables, and the log begins behind entry {}", log.start_index);
                Err(Lost { reason, log: Some(Box::new(log)) })
            }
            log => Ok(Fitted::AsIs(log)),
        };
    };
    let Some(log) = log else {
        // Whatever this replica has voted and acknowledged stood there.
        return Err(Lost {
            reason: "there are tables, and the log knows nothing of the group".to_owned(),
            log: None,
        });
    };
    if last_index < log.start_index {
        let reason = format!("the tables end with entry {last_index}, and the log begins behind {}", log.start_index);
        return Err(Lost { reason, log: Some(Box::new(log)) });
    }
    if term_at(&log, last_index) == Some(last_term) {
        return Ok(Fitted::AsIs(Some(log)));
    }
    if last_index <= log.hard_state.commit {
        return Err(Lost::whole(format!(
            "the tables and the log disagree on entry {last_index}, which was committed"
        )));
    }
    if !is_installed {
        // What is flushed was durable in the log before.
        return Err(Lost::whole(format!(
            "the tables hold entry {last_index}, and the log, which ends with {}, has lost it",
            log.last_index
        )));
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
            replica: ReplicaId(1),
            hard_state: HardState { term, vote: Some(ReplicaId(2)), commit: start.0 },
            start_index: start.0,
            start_term: start.1,
            last_index,
            terms: terms.to_vec(),
            memberships: Vec::new(),
            condition: Condition::Sound,
        }
    }

    fn flushed(index: Index, term: Term) -> Option<Sealed> {
        Some(Sealed { index, term, is_installed: false })
    }

    fn installed(index: Index, term: Term) -> Option<Sealed> {
        Some(Sealed { index, term, is_installed: true })
    }

    #[test]
    fn a_log_around_or_behind_its_state_stays_as_it_is() {
        let log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        for (index, term) in [(10, 2), (12, 2), (14, 2), (15, 3), (20, 3)] {
            for state in [flushed(index, term), installed(index, term)] {
                let fitted = fit(Some(log.clone()), state).ok();
                assert_eq!(fitted, Some(Fitted::AsIs(Some(log.clone()))), "{state:?}");
            }
        }
        assert_eq!(fit(None, None).ok(), Some(Fitted::AsIs(None)));
    }

    #[test]
    fn a_log_that_ends_before_an_installed_state_begins_anew() {
        let log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        for (last_index, last_term) in [(21, 3), (100, 9), (14, 3), (20, 4)] {
            let Ok(Fitted::Behind(fitted)) = fit(Some(log.clone()), installed(last_index, last_term)) else {
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
    fn a_log_that_ends_before_a_flushed_state_has_lost_entries() {
        let log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        for (index, term) in [(21, 3), (100, 9), (14, 3), (20, 4)] {
            assert!(fit(Some(log.clone()), flushed(index, term)).is_err_and(|lost| lost.log.is_none()), "{index}");
        }
    }

    #[test]
    fn what_lies_between_state_and_log_is_missed() {
        let log = log((10, 2), 20, &[(11, 2)], 4);
        assert!(fit(Some(log.clone()), installed(9, 2)).is_err_and(|lost| lost.log.is_some()));
        assert!(fit(Some(log), None).is_err_and(|lost| lost.log.is_some()));
        assert!(fit(None, installed(9, 2)).is_err_and(|lost| lost.log.is_none()));
    }

    #[test]
    fn a_state_that_contradicts_what_was_committed_is_refused() {
        let mut log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        log.hard_state.commit = 16;
        assert!(fit(Some(log.clone()), installed(16, 9)).is_err_and(|lost| lost.log.is_none()));
        assert!(fit(Some(log), installed(17, 9)).is_ok());
    }
}
