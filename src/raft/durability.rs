//! Which of the writes handed out are durable.

use alloc::collections::VecDeque;

use types::Index;

use crate::log::Log;

/// A write that was handed out and not reported durable yet.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
struct Write {
    seq: u64,
    /// Last index of the log that is durable together with this write. Lowered when a later truncation
    /// takes entries back: then this write's completion says nothing about what replaced them.
    last_index: Index,
}

/// Where the newest term and vote are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HardStatePlace {
    /// In memory only.
    Dirty,
    /// In the write with this number.
    Written(u64),
    /// On stable storage.
    Durable,
}

/// Follows the writes from handing out to completion.
#[cfg_attr(test, derive(Clone))]
#[derive(Debug)]
pub(crate) struct Durability {
    /// Invariant: numbers grow by one.
    writes: VecDeque<Write>,
    last_seq: u64,
    hard_state: HardStatePlace,
}

/// What a completion changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gained {
    /// The newest term and vote became durable.
    pub(crate) hard_state: bool,
    /// More of the log became durable.
    pub(crate) entries: bool,
}

impl Durability {
    pub(crate) fn new() -> Durability {
        Durability { writes: VecDeque::new(), last_seq: 0, hard_state: HardStatePlace::Durable }
    }

    /// Term or vote changed.
    pub(crate) fn dirty(&mut self) {
        self.hard_state = HardStatePlace::Dirty;
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.hard_state == HardStatePlace::Dirty
    }

    /// Whether a restart would remember the current term and vote.
    pub(crate) fn hard_state_is_durable(&self) -> bool {
        self.hard_state == HardStatePlace::Durable
    }

    /// Numbers a write that brings the log to `last_index`, and takes the hard state along if it is dirty.
    pub(crate) fn write(&mut self, last_index: Index) -> u64 {
        self.last_seq += 1;
        self.writes.push_back(Write { seq: self.last_seq, last_index });
        if self.is_dirty() {
            self.hard_state = HardStatePlace::Written(self.last_seq);
        }
        self.last_seq
    }

    /// The log was cut back to `last_index`.
    pub(crate) fn truncated(&mut self, last_index: Index) {
        for write in &mut self.writes {
            write.last_index = write.last_index.min(last_index);
        }
    }

    /// Numbers the writes under way from 1 on, as if none had been handed out before them. Returns by how much their
    /// numbers fell.
    #[cfg(test)]
    pub(crate) fn renumber(&mut self) -> u64 {
        let done = self.last_seq - self.writes.len() as u64;
        self.last_seq -= done;
        for write in &mut self.writes {
            write.seq -= done;
        }
        if let HardStatePlace::Written(seq) = &mut self.hard_state {
            *seq -= done;
        }
        done
    }

    /// All writes up to number `seq` are durable.
    pub(crate) fn complete(&mut self, seq: u64, log: &mut Log) -> Gained {
        assert!(seq <= self.last_seq, "write {seq} was never handed out");
        let before = log.durable();
        while let Some(write) = self.writes.front() {
            if write.seq > seq {
                break;
            }
            log.set_durable(write.last_index);
            self.writes.pop_front();
        }
        let hard_state = matches!(self.hard_state, HardStatePlace::Written(written) if written <= seq);
        if hard_state {
            self.hard_state = HardStatePlace::Durable;
        }
        Gained { hard_state, entries: log.durable() > before }
    }
}
