//! Whether the log of a core and its tables fit together: a start goes on from where the state of a group is sealed.

use lsm::manifest::GroupState;
use types::GroupId;
use wal::{Condition, GroupSurvey};

use crate::data_dir::CoreDir;
use crate::finding::Finding;
use crate::log::Log;
use crate::store::Store;

const LOST: &str = "acknowledged entries are lost: this replica stays away until another one has sent a snapshot";

/// Compares logs and stores of one core each.
pub(super) fn check_fit(logs: &[(CoreDir, Log)], stores: &[Store]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (dir, log) in logs {
        let Some(survey) = &log.survey else { continue };
        let Some(store) = stores.iter().find(|store| store.dir.core.is_some() && store.dir.core == dir.core) else {
            continue;
        };
        // What cannot be read is told elsewhere.
        let Some(state) = store.state() else { continue };
        for (group, of_log) in &survey.groups {
            let what = mismatch(of_log, state.group(*group));
            findings.extend(what.map(|what| Finding::damage(&dir.shown, format!("group {group}: {what}"), LOST)));
        }
        let is_named = |group| survey.groups.contains_key(&group) || survey.destroyed.contains_key(&group);
        for (group, state) in store.groups().filter(|(group, _)| !is_named(*group)) {
            findings.extend(without_log(group, state, dir));
        }
    }
    findings
}

fn mismatch(log: &GroupSurvey, state: Option<&GroupState>) -> Option<String> {
    let (start, last) = (log.group.start_index, log.group.last_index);
    let sealed = state.map_or(0, |state| state.seal.index);
    match log.group.condition {
        Condition::Quarantined(_) => None,
        Condition::Sound if start > sealed => {
            Some(format!("the log begins behind {start}, and the tables end at {sealed}"))
        }
        Condition::Sound if last < sealed && !state.is_some_and(is_installed) => {
            Some(format!("the log ends at {last}, and the tables were flushed up to {sealed}"))
        }
        Condition::Sound => None,
    }
}

fn without_log(group: GroupId, state: &GroupState, dir: &CoreDir) -> Option<Finding> {
    let what =
        format!("group {group}: the log knows nothing of it, and tables were flushed up to {}", state.seal.index);
    (!is_installed(state) && state.seal.index > 0).then(|| Finding::damage(&dir.shown, what, LOST))
}

/// Whether the state is one that another replica has sent: then the log may begin anew behind it.
fn is_installed(state: &GroupState) -> bool {
    state.installed == state.seal.index
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use lsm::manifest::Seal;
    use types::ReplicaId;
    use wal::{Fault, RecoveredGroup};
    use wire::HardState;

    use super::*;

    fn log(start_index: u64, last_index: u64, condition: Condition) -> GroupSurvey {
        let (terms, memberships) = (Vec::new(), Vec::new());
        let (replica, hard_state) = (ReplicaId(1), HardState::default());
        let start_term = 1;
        let group = RecoveredGroup {
            replica,
            hard_state,
            start_index,
            start_term,
            last_index,
            terms,
            memberships,
            condition,
        };
        GroupSurvey { group, pieces: Vec::new() }
    }

    fn state(index: u64, installed: u64) -> GroupState {
        let seal = Seal { index, ..Seal::default() };
        GroupState { replica: ReplicaId(1), seal, installed, version: Rc::default() }
    }

    #[test]
    fn a_log_goes_on_where_the_tables_end() {
        let of = |log: GroupSurvey, state: Option<GroupState>| mismatch(&log, state.as_ref());
        let sound = |start, last| log(start, last, Condition::Sound);
        for (start, last, sealed) in [(0, 9, 0), (4, 9, 4), (4, 9, 9), (4, 9, 6), (9, 9, 9)] {
            assert_eq!(of(sound(start, last), Some(state(sealed, 0))), None, "{start} {last} {sealed}");
        }
        assert_eq!(of(sound(0, 9), None), None);
        let begins_late = "the log begins behind 5, and the tables end at 4";
        assert_eq!(of(sound(5, 9), Some(state(4, 0))).as_deref(), Some(begins_late));
        assert_eq!(of(sound(5, 9), None).as_deref(), Some("the log begins behind 5, and the tables end at 0"));
        let ends_early = "the log ends at 9, and the tables were flushed up to 10";
        assert_eq!(of(sound(5, 9), Some(state(10, 0))).as_deref(), Some(ends_early));
        assert_eq!(of(sound(5, 9), Some(state(10, 10))), None, "the log will begin anew behind what was installed");
        let fault = Fault::EntriesMissing { first: 1, last: 2 };
        assert_eq!(of(log(5, 9, Condition::Quarantined(fault)), Some(state(10, 0))), None, "told already");
    }
}
