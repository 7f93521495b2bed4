//! Reads that a leader had taken in which is none any more: on their way out, a slice of them per turn.
//!
//! They leave their places at once, so that nobody else finds reads there which nothing will confirm.

use std::collections::HashSet;

use resp::Command;
use types::Slot;

use crate::groups::batch_queue::Waiter;
use crate::groups::proposals::Proposals;
use crate::groups::waiting_reads::WaitingReads;
use crate::origin::Origin;
use crate::request::{ArgArena, ArgSpan, OwnedRequest};

/// A read that stood in a batch.
struct BatchedRead {
    origin: Origin,
    command: &'static Command,
    slot: Slot,
    span: ArgSpan,
    is_lost: bool,
}

/// The reads of one batch that was proposed, in their order. Never empty.
struct ProposedReads {
    list: Vec<BatchedRead>,
    args: ArgArena,
}

impl ProposedReads {
    fn bytes(&self) -> usize {
        size_of::<BatchedRead>() * self.list.len() + self.args.bytes()
    }
}

/// A command that leaves.
pub(super) enum Leaving {
    /// It looks for the next leader.
    Again(OwnedRequest),
    /// A read behind which a write of its source was proposed: it cannot be asked again, as it would see that write, if it
    /// is committed after all.
    Lost(Origin),
}

/// The reads of a group that leave.
#[derive(Default)]
pub(super) struct LeavingReads {
    waited: WaitingReads,
    /// In the order in which the batches were proposed.
    proposed: Vec<ProposedReads>,
    proposed_bytes: usize,
}

impl LeavingReads {
    /// Takes all reads over that wait in no batch, and those of the batches that were proposed.
    pub(super) fn take_over(&mut self, reads: &mut WaitingReads, proposals: &mut Proposals) {
        if !reads.is_empty() {
            assert!(self.waited.is_empty(), "no read is taken in while others leave");
            self.waited = reads.detach();
        }
        let mut writers = HashSet::new();
        let begin = self.proposed.len();
        proposals.take_reads(|waiters, args| {
            let mut list = Vec::new();
            for waiter in waiters.iter().rev() {
                match *waiter {
                    Waiter::Write { origin, .. } => {
                        writers.insert(origin.source());
                    }
                    Waiter::Read { origin, command, slot, span } => {
                        let is_lost = writers.contains(&origin.source());
                        list.push(BatchedRead { origin, command, slot, span, is_lost });
                    }
                }
            }
            if !list.is_empty() {
                list.reverse();
                let reads = ProposedReads { list, args };
                self.proposed_bytes += reads.bytes();
                self.proposed.push(reads);
            }
        });
        self.proposed[begin..].reverse();
    }

    /// Takes out a read behind which no other of its source leaves that waited in no batch, if there is such.
    pub(super) fn pop_waited(&mut self) -> Option<OwnedRequest> {
        self.waited.pop_last().map(|read| read.request)
    }

    /// Takes out the last read of the batches that were proposed.
    pub(super) fn pop_proposed(&mut self) -> Option<Leaving> {
        let reads = self.proposed.last_mut()?;
        let bytes = reads.bytes();
        let BatchedRead { origin, command, slot, span, is_lost } = reads.list.pop()?;
        let args = reads.args.pop(span);
        self.proposed_bytes -= bytes - reads.bytes();
        if reads.list.is_empty() {
            self.proposed_bytes -= reads.bytes();
            self.proposed.pop();
        }
        let request = OwnedRequest { origin, command, slot, args };
        Some(if is_lost { Leaving::Lost(origin) } else { Leaving::Again(request) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waited.is_empty() && self.proposed.is_empty()
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> usize {
        self.waited.bytes() + self.proposed_bytes
    }

    /// Bytes of all, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.waited.held_bytes() + self.proposed.iter().map(ProposedReads::bytes).sum::<usize>()
    }
}
