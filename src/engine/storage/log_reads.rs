//! Reading log back for Raft: for followers that are behind, and at a restart to apply what was committed.
//!
//! At a restart every group wants its log at once. So reads wait for their turn, a bounded number of bytes is under way
//! or read and not handed over, each read is short, and a turn hands over as much as it should apply.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::rc::Rc;

use host::TaskClass;
use raft::{LogRead, Purpose};
use types::Index;
use wire::Entry;

use super::interface::{StorageEffect, StorageHost};
use super::record::Records;
use crate::budget::{Budget, Permit, Pool};
use crate::error::Error;
use crate::limits::{LOG_READ_BYTES_MAX, LOG_READS_BYTES_MAX, LOG_READS_TURN_BYTES};

/// Reads of a group in a row that fail before its log counts as unreadable.
const TRIES_MAX: u32 = 10;

/// The same for reads of committed entries, without which the group stands still here, before the node stops. One is
/// tried at each tick, and a disk that fails only for a moment should not cost a restart.
const APPLY_TRIES_MAX: u32 = 100;

type Reader = Pin<Box<dyn Future<Output = Result<Vec<Entry>, wal::Error>>>>;

/// A read that waits for its turn.
struct Waiting {
    group: usize,
    read: LogRead,
    bytes_max: usize,
    reader: Reader,
}

/// The end of a read, left by its task for the next turn.
struct Done {
    group: usize,
    purpose: Purpose,
    /// The last index that was wanted.
    last: Index,
    result: Result<Vec<Entry>, wal::Error>,
    /// How much it might have brought.
    bytes_max: usize,
    /// For what was read.
    permit: Permit,
}

impl Done {
    fn bytes(&self) -> usize {
        self.result.as_ref().map_or(0, |entries| entries.iter().map(|entry| entry.payload.len()).sum())
    }
}

/// How the reads of a group that failed add up. Groups whose reads succeed have none.
#[derive(Default)]
struct Failures {
    /// In a row.
    count: u32,
    /// In a row, of those of committed entries, to apply them.
    of_apply: u32,
    /// The log cannot be read up to this index, or somewhere before it; 0 if it can. Who needs it must be handed a
    /// snapshot.
    unreadable_to: Index,
}

/// The reads of a core's log.
pub(super) struct LogReads {
    waiting: VecDeque<Waiting>,
    /// The replicas whose logs are being read, for each read once.
    under_way: Vec<usize>,
    done: Rc<RefCell<VecDeque<Done>>>,
    /// Bytes that reads which are under way may bring, and that those have brought which are not handed over.
    bytes: usize,
    budget: Budget,
    /// Reads that failed, to be tried again at the next tick.
    failed: Vec<(usize, Purpose)>,
    failures: BTreeMap<usize, Failures>,
}

impl LogReads {
    pub(super) fn new(budget: &Budget) -> LogReads {
        LogReads {
            waiting: VecDeque::new(),
            under_way: Vec::new(),
            done: Rc::default(),
            bytes: 0,
            budget: budget.clone(),
            failed: Vec::new(),
            failures: BTreeMap::new(),
        }
    }

    /// How much one read may bring, where Raft would take this much.
    pub(super) fn bytes_max(&self, wanted: usize) -> usize {
        wanted.min(LOG_READ_BYTES_MAX)
    }

    /// Begins a read, now or when others have made room.
    pub(super) fn push<H: StorageHost>(
        &mut self,
        host: &H,
        group: usize,
        read: LogRead,
        bytes_max: usize,
        reader: impl Future<Output = Result<Vec<Entry>, wal::Error>> + 'static,
    ) {
        self.waiting.push_back(Waiting { group, read, bytes_max, reader: Box::pin(reader) });
        self.begin_waiting(host);
    }

    fn begin_waiting<H: StorageHost>(&mut self, host: &H) {
        while let Some(first) = self.waiting.front() {
            // One of any length is always allowed.
            if self.bytes > 0 && self.bytes + first.bytes_max > LOG_READS_BYTES_MAX {
                return;
            }
            self.bytes += first.bytes_max;
            let Some(Waiting { group, read, bytes_max, reader }) = self.waiting.pop_front() else { return };
            self.under_way.push(group);
            let mut permit = self.budget.permit(Pool::Log);
            permit.set(bytes_max);
            let (done, host_of_task) = (Rc::clone(&self.done), host.clone());
            host.spawn(TaskClass::Foreground, async move {
                let result = reader.await;
                let (purpose, last) = (read.purpose, read.last);
                let mut end = Done { group, purpose, last, result, bytes_max, permit };
                end.permit.set(end.bytes());
                done.borrow_mut().push_back(end);
                host_of_task.notify();
            });
        }
    }

    /// Whether something was read that waits to be handed over.
    pub(super) fn has_done(&self) -> bool {
        !self.done.borrow().is_empty()
    }

    /// Whether reads of a group have failed and not succeeded since.
    pub(super) fn has_failed(&self) -> bool {
        !self.failed.is_empty() || !self.failures.is_empty()
    }

    /// Bytes under way and not handed over, and the most there should be.
    pub(super) fn bytes(&self) -> (usize, usize) {
        (self.bytes, LOG_READS_BYTES_MAX)
    }

    /// Hands over what was read: as much as a turn should apply, but at least one read's.
    ///
    /// # Errors
    /// [`Error::Unappliable`] if committed entries could not be read for long.
    pub(super) fn poll<H: StorageHost>(
        &mut self,
        host: &H,
        records: &Records,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let mut left = LOG_READS_TURN_BYTES;
        while left > 0 {
            let Some(done) = self.done.borrow_mut().pop_front() else { break };
            left = left.saturating_sub(done.bytes().max(1));
            self.bytes -= done.bytes_max;
            let at = self.under_way.iter().position(|group| *group == done.group);
            self.under_way.swap_remove(at.expect("what was read was begun"));
            self.settle(done, records, effects)?;
        }
        if left < LOG_READS_TURN_BYTES {
            self.begin_waiting(host);
        }
        Ok(())
    }

    fn settle(&mut self, done: Done, records: &Records, effects: &mut Vec<StorageEffect>) -> Result<(), Error> {
        let Done { group, purpose, last, result, .. } = done;
        if !records.is_here(group) {
            return Ok(());
        }
        let is_of_apply = purpose == Purpose::Apply;
        match result {
            Ok(entries) => {
                if let Some(failures) = self.failures.get_mut(&group) {
                    failures.count = 0;
                    failures.of_apply = if is_of_apply { 0 } else { failures.of_apply };
                    if failures.of_apply == 0 && failures.unreadable_to == 0 {
                        self.failures.remove(&group);
                    }
                }
                effects.push(StorageEffect::LogRead { group, purpose, entries });
            }
            // It is being written again. That says nothing of the disk.
            Err(wal::Error::NotDurable { .. }) => self.failed.push((group, purpose)),
            Err(source) => {
                let id = records.get(group).group;
                tracing::error!(group = %id, error = %source, "reading the log back failed; it is tried again");
                self.failed.push((group, purpose));
                let failures = self.failures.entry(group).or_default();
                failures.count += 1;
                if failures.count >= TRIES_MAX {
                    failures.unreadable_to = failures.unreadable_to.max(last);
                }
                failures.of_apply += u32::from(is_of_apply);
                if failures.of_apply >= APPLY_TRIES_MAX {
                    return Err(Error::Unappliable { group: id, last, source });
                }
            }
        }
        Ok(())
    }

    /// Gives reads that failed back to Raft, which asks for them again.
    pub(super) fn retry(&mut self, effects: &mut Vec<StorageEffect>) {
        let failed = self.failed.drain(..);
        effects.extend(failed.map(|(group, purpose)| StorageEffect::LogReadFailed { group, purpose }));
    }

    /// Replicas whose log cannot be read, and up to where.
    pub(super) fn unreadable(&self) -> Vec<(usize, Index)> {
        let unreadable = self.failures.iter().filter(|(_, failures)| failures.unreadable_to > 0);
        unreadable.map(|(group, failures)| (*group, failures.unreadable_to)).collect()
    }

    /// The log of a replica is damaged up to this index, or somewhere before it.
    pub(super) fn is_damaged(&mut self, group: usize, index: Index) {
        let failures = self.failures.entry(group).or_default();
        failures.unreadable_to = failures.unreadable_to.max(index);
    }

    /// The log of a replica that could not be read was let go.
    pub(super) fn is_dropped(&mut self, group: usize) {
        let Some(failures) = self.failures.get_mut(&group) else { return };
        failures.unreadable_to = 0;
        if failures.count == 0 && failures.of_apply == 0 {
            self.failures.remove(&group);
        }
    }

    /// A replica is about to be destroyed: nothing more is read for it.
    pub(super) fn forget(&mut self, group: usize) {
        self.waiting.retain(|waiting| waiting.group != group);
        self.failed.retain(|(failed, _)| *failed != group);
        self.failures.remove(&group);
    }

    /// Whether the log of a replica is being read.
    pub(super) fn is_reading(&self, group: usize) -> bool {
        self.under_way.contains(&group)
    }

    /// A replica does not start after all.
    pub(super) fn remove(&mut self, group: usize) {
        assert!(self.waiting.is_empty() && self.bytes == 0, "replica {group} is removed behind the first turn");
    }
}
