//! One commit for all writes that have come while the last one was under way.

use std::sync::{Condvar, Mutex, MutexGuard};

use crate::error::Error;

/// Collects writes of many threads into groups. One of the threads commits a group, for all whose writes are in it.
pub struct GroupCommit<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    // The writes of the group that is being collected.
    waiting: Vec<T>,
    // The number of that group.
    group: u64,
    // Groups below were committed. Invariant: at most `group`.
    committed: u64,
    is_committing: bool,
    // Why a commit has failed: nothing is committed behind it.
    failed: Option<String>,
}

impl<T> Default for GroupCommit<T> {
    fn default() -> Self {
        let state = State { waiting: Vec::new(), group: 0, committed: 0, is_committing: false, failed: None };
        GroupCommit { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<T> GroupCommit<T> {
    /// Adds a write and waits until its group was committed, by this thread with `commit` or by another one.
    ///
    /// # Errors
    /// If a commit has failed, this one or an earlier one.
    pub fn submit(&self, write: T, commit: impl FnOnce(Vec<T>) -> Result<(), Error>) -> Result<(), Error> {
        let mut state = self.lock();
        state.waiting.push(write);
        let group = state.group;
        loop {
            if let Some(what) = &state.failed {
                return Err(Error::Store { name: "group commit", what: what.clone() });
            }
            if state.committed > group {
                return Ok(());
            }
            if !state.is_committing {
                break;
            }
            state = self.changed.wait(state).expect("nobody panics with the lock");
        }
        // Nobody commits, and this group is not committed: it is the one that is being collected.
        state.is_committing = true;
        state.group += 1;
        let writes = std::mem::take(&mut state.waiting);
        drop(state);
        let result = commit(writes);
        let mut state = self.lock();
        state.is_committing = false;
        match &result {
            Ok(()) => state.committed = group + 1,
            Err(error) => state.failed = Some(error.to_string()),
        }
        drop(state);
        self.changed.notify_all();
        result
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().expect("nobody panics with the lock")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_write_is_committed_once_before_it_is_acknowledged_and_many_share_a_commit() {
        let (commits, committed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let group: GroupCommit<u32> = GroupCommit::default();
        std::thread::scope(|scope| {
            for thread in 0..16 {
                let (group, commits, committed) = (&group, &commits, &committed);
                scope.spawn(move || {
                    for number in 0..20 {
                        let write = thread * 100 + number;
                        group
                            .submit(write, |writes| {
                                std::thread::sleep(Duration::from_millis(1));
                                commits.fetch_add(1, Ordering::Relaxed);
                                committed.lock().unwrap().extend(writes);
                                Ok(())
                            })
                            .unwrap();
                        assert!(committed.lock().unwrap().contains(&write), "acknowledged too early");
                    }
                });
            }
        });
        let mut committed = committed.into_inner().unwrap();
        committed.sort_unstable();
        let expected: Vec<u32> =
            (0..16).flat_map(|thread| (0..20).map(move |number| thread * 100 + number)).collect();
        assert_eq!(committed, expected);
        assert!(commits.load(Ordering::Relaxed) < 200, "{commits:?} commits for 320 writes");
    }

    #[test]
    fn nothing_is_acknowledged_behind_a_commit_that_failed() {
        let group: GroupCommit<u32> = GroupCommit::default();
        let fail = |_| Err(Error::Store { name: "disk", what: "full".to_owned() });
        assert!(group.submit(1, fail).is_err());
        let later = group.submit(2, |_| Ok(())).unwrap_err();
        assert!(later.to_string().contains("full"), "{later}");
    }
}
