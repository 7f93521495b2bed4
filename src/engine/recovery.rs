//! What a replica starts on: its checkpoint, and the log behind it.
//!
//! A crash may fall between any two steps of writing a checkpoint, of taking one over, and of cutting the log. All of
//! them leave the log within or at the end of the checkpoint, or the checkpoint beyond the log's end; then a state was
//! taken over, and the log begins anew behind it. Everything else is damage.

use types::{GroupId, Index, Term};
use wal::{Condition, LogHost, RecoveredGroup, Wal};
use wire::HardState;

use crate::checkpoint::{self, LoadError, Loaded, Paths};
use crate::config::Config;
use crate::error::Error;

/// What a replica starts on.
pub(crate) struct Found {
    /// What the log holds; `None` if it has never heard of the group.
    pub(crate) log: Option<RecoveredGroup>,
    /// The state to begin with; `None` to begin with an empty one.
    pub(crate) checkpoint: Option<Loaded>,
}

/// Why a replica must stay away.
pub(crate) struct Lost {
    pub(crate) reason: String,
    /// The log itself is sound: with a checkpoint from another replica, one at least as new as where the log begins,
    /// this one can go on.
    pub(crate) log: Option<Box<RecoveredGroup>>,
}

/// Loads a group's checkpoint and fits the log to it.
///
/// # Errors
/// Those of the log, and a checkpoint that cannot be read for reasons that may pass.
pub(crate) async fn recover<H: LogHost>(
    host: &H,
    config: &Config,
    group: GroupId,
    wal: &mut Wal<H>,
    log: Option<RecoveredGroup>,
    hash_seed: u64,
) -> Result<Result<Found, Lost>, Error> {
    let paths = Paths::new(&config.data_dir, group);
    if let Some(RecoveredGroup { condition: Condition::Quarantined(fault), .. }) = &log {
        return Ok(Err(Lost { reason: format!("the log is damaged: {fault}"), log: None }));
    }
    let tidied = checkpoint::tidy(host, &paths).await;
    tidied
        .map_err(|source| Error::Checkpoint { group, source: LoadError::Io { path: paths.dir.clone(), source } })?;
    let checkpoint = match checkpoint::load(host, &paths.checkpoint, group, hash_seed).await {
        Ok(checkpoint) => checkpoint,
        Err(error) if error.is_damage() && log.as_ref().is_some_and(|log| log.start_index == 0) => {
            tracing::error!(%group, %error, "the checkpoint is lost; the log still begins at the beginning");
            None
        }
        Err(error) if error.is_damage() => {
            return Ok(Err(Lost { reason: error.to_string(), log: log.map(Box::new) }));
        }
        Err(source) => return Err(Error::Checkpoint { group, source }),
    };
    let log = fit_log(config, group, wal, log, checkpoint.as_ref())?;
    Ok(log.map(|log| Found { log, checkpoint }))
}

/// Whether a log could go on behind a checkpoint.
pub(crate) fn fits(log: &RecoveredGroup, checkpoint: &Loaded) -> bool {
    fit(Some(log.clone()), Some((checkpoint.file.last_index, checkpoint.header.last_term))).is_ok()
}

/// Makes the log go on where the checkpoint ends.
pub(crate) fn fit_log<H: LogHost>(
    config: &Config,
    group: GroupId,
    wal: &mut Wal<H>,
    log: Option<RecoveredGroup>,
    checkpoint: Option<&Loaded>,
) -> Result<Result<Option<RecoveredGroup>, Lost>, Error> {
    let last = checkpoint.map(|found| (found.file.last_index, found.header.last_term));
    let fitted = match fit(log, last) {
        Ok(fitted) => fitted,
        Err(lost) => return Ok(Err(lost)),
    };
    Ok(Ok(match fitted {
        Fitted::AsIs(log) => log,
        Fitted::Behind(log) => {
            tracing::info!(%group, last_index = log.start_index, "the log begins anew behind the checkpoint");
            let written = wal
                .reset(group, log.start_index, log.start_term)
                .and_then(|()| wal.append_hard_state(group, log.hard_state));
            written.map_err(|source| Error::Wal { place: config.place, source })?;
            Some(log)
        }
    }))
}

/// How a log stands to a checkpoint.
#[derive(Debug, PartialEq, Eq)]
enum Fitted {
    /// It goes on where the checkpoint ends.
    AsIs(Option<RecoveredGroup>),
    /// It must be made to begin behind the checkpoint, like this.
    Behind(RecoveredGroup),
}

fn fit(log: Option<RecoveredGroup>, checkpoint: Option<(Index, Term)>) -> Result<Fitted, Lost> {
    let Some((last_index, last_term)) = checkpoint else {
        return match log {
            Some(log) if log.start_index > 0 => {
                let reason = format!("there is no checkpoint, and the log begins behind entry {}", log.start_index);
                Err(Lost { reason, log: Some(Box::new(log)) })
            }
            log => Ok(Fitted::AsIs(log)),
        };
    };
    let Some(log) = log else {
        // Whatever this replica has voted and acknowledged stood there.
        return Err(Lost {
            reason: "there is a checkpoint, and the log knows nothing of the group".to_owned(),
            log: None,
        });
    };
    if last_index < log.start_index {
        let reason =
            format!("the checkpoint ends with entry {last_index}, and the log begins behind {}", log.start_index);
        return Err(Lost { reason, log: Some(Box::new(log)) });
    }
    if term_at(&log, last_index) == Some(last_term) {
        return Ok(Fitted::AsIs(Some(log)));
    }
    if last_index <= log.hard_state.commit {
        let reason = format!("the checkpoint and the log disagree on entry {last_index}, which was committed");
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
            hard_state: HardState { term, vote: Some(types::ReplicaId(2)), commit: start.0 },
            start_index: start.0,
            start_term: start.1,
            last_index,
            terms: terms.to_vec(),
            memberships: Vec::new(),
            condition: Condition::Sound,
        }
    }

    #[test]
    fn a_log_around_or_behind_its_checkpoint_stays_as_it_is() {
        let log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        for checkpoint in [(10, 2), (12, 2), (14, 2), (15, 3), (20, 3)] {
            let fitted = fit(Some(log.clone()), Some(checkpoint)).ok();
            assert_eq!(fitted, Some(Fitted::AsIs(Some(log.clone()))), "{checkpoint:?}");
        }
        assert_eq!(fit(None, None).ok(), Some(Fitted::AsIs(None)));
    }

    #[test]
    fn a_log_that_ends_before_its_checkpoint_begins_anew() {
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
    fn what_lies_between_checkpoint_and_log_is_missed() {
        let log = log((10, 2), 20, &[(11, 2)], 4);
        assert!(fit(Some(log.clone()), Some((9, 2))).is_err_and(|lost| lost.log.is_some()));
        assert!(fit(Some(log), None).is_err_and(|lost| lost.log.is_some()));
        assert!(fit(None, Some((9, 2))).is_err_and(|lost| lost.log.is_none()));
    }

    #[test]
    fn a_checkpoint_that_contradicts_what_was_committed_is_refused() {
        let mut log = log((10, 2), 20, &[(11, 2), (15, 3)], 4);
        log.hard_state.commit = 16;
        assert!(fit(Some(log.clone()), Some((16, 9))).is_err_and(|lost| lost.log.is_none()));
        assert!(fit(Some(log), Some((17, 9))).is_ok());
    }
}
