//! Reads that a leader had taken in which is none any more: on their way out, a slice of them per turn.
//!
//! Those that wait in no batch leave their places at once, so that nobody else finds reads there which nothing will confirm.
//! Those of batches that were proposed leave batch by batch: until then they are answered if their batch is applied after all.

use std::collections::HashSet;

use resp::Command;
use types::Slot;

use crate::groups::batch_queue::Waiter;
use crate::groups::proposals::Proposals;
use crate::groups::waiting_reads::WaitingReads;
use crate::origin::{Origin, Source};
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
    /// Of the batch that was looked at last. Never empty.
    proposed: Option<ProposedReads>,
    /// How far batches that were proposed were looked through, if not to the first.
    look: Option<Look>,
}

/// A way through the batches that were proposed, from the last to the first: it depends on the newer writes of a source what
/// becomes of an older read.
#[derive(Default)]
struct Look {
    /// How many batches were looked at.
    batches_count: usize,
    /// Whose writes stood in them.
    writers: HashSet<Source>,
}

impl LeavingReads {
    /// Takes all reads over that wait in no batch, and lets those of the batches that were proposed leave.
    pub(super) fn take_over(&mut self, reads: &mut WaitingReads, proposals: &mut Proposals) {
        if !reads.is_empty() {
            assert!(self.waited.is_empty(), "no read is taken in while others leave");
            self.waited = reads.detach();
        }
        if proposals.take_has_reads() {
            assert!(self.look.is_none(), "no batch is proposed while reads leave");
            self.look = Some(Look::default());
        }
    }

    /// Takes the reads over of the next batch that was proposed. Returns how many waited for that batch, if there was one.
    pub(super) fn look_at_next(&mut self, proposals: &mut Proposals) -> Option<usize> {
        let Look { batches_count, writers } = self.look.as_mut()?;
        let mut list = Vec::new();
        let mut taken_args = ArgArena::default();
        let looked_count = proposals.take_reads(*batches_count, |waiters, args| {
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
            taken_args = args;
        });
        *batches_count += 1;
        if !list.is_empty() {
            assert!(self.proposed.is_none(), "the reads of the batch behind it have left");
            list.reverse();
            self.proposed = Some(ProposedReads { list, args: taken_args });
        }
        if looked_count.is_none() {
            self.look = None;
        }
        looked_count
    }

    /// Takes out a read behind which no other of its source leaves that waited in no batch, if there is such.
    pub(super) fn pop_waited(&mut self) -> Option<OwnedRequest> {
        self.waited.pop_last().map(|read| read.request)
    }

    /// Takes out the last read of the batch that was looked at last.
    pub(super) fn pop_proposed(&mut self) -> Option<Leaving> {
        let reads = self.proposed.as_mut()?;
        let BatchedRead { origin, command, slot, span, is_lost } = reads.list.pop()?;
        let args = reads.args.pop(span);
        if reads.list.is_empty() {
            self.proposed = None;
        }
        let request = OwnedRequest { origin, command, slot, args };
        Some(if is_lost { Leaving::Lost(origin) } else { Leaving::Again(request) })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waited.is_empty() && self.proposed.is_none() && self.look.is_none()
    }

    /// Bytes of those that have left their places.
    pub(super) fn bytes(&self) -> usize {
        self.waited.bytes() + self.proposed.as_ref().map_or(0, ProposedReads::bytes)
    }

    /// Bytes of those, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.waited.held_bytes() + self.proposed.as_ref().map_or(0, ProposedReads::bytes)
    }
}
