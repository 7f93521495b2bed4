//! Digesting the rows of a group as of a compare entry.
//!
//! The entry is one at whose boundary the state is sealed and flushed, so that the tables hold just that state, whatever is applied
//! behind it; a task digests them, and holds their version as long. If a flush is under way already, a follower applies nothing more of the group until
//! that has ended: clients do not wait for it. A leader says that it is busy, since clients would.

use std::rc::Rc;
use std::time::Duration;

use host::{IoClass, TaskClass};
use lsm::digest::{Leaves, digest, digest_memory_bytes};
use types::Slot;
use wire::{LEAVES_COUNT, NoDigest, RowsDigest};

use super::comparing::{Comparing, Done, Flushed, Undigested, Unsealed};
use super::flushing::Flush;
use super::pace::BackgroundPace;
use super::{Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::comparison::ComparePoint;
use crate::context::Context;
use crate::limits::{COMPARE_BYTES_PER_SECOND_MAX, DIGESTS_COUNT_MAX};
use crate::replicas::Replicas;

/// How long a follower applies nothing so that its state can be sealed.
const SEAL_WAIT_MAX: Duration = Duration::from_secs(10);

impl<H: StorageHost> Storage<H> {
    /// A replica has applied a compare entry, and nothing more since. It goes on with a [`StorageEffect::HoldApplying`]; its digest comes
    /// as a [`StorageEffect::Digested`].
    pub(crate) fn compare(
        &mut self,
        ctx: &Context,
        replicas: &mut impl Replicas,
        group: usize,
        point: ComparePoint,
        effects: &mut Vec<StorageEffect>,
    ) {
        let is_busy = self.flushing.running.is_some() && replicas.view(group).leads;
        let reason = if ctx.is_stopping || self.receiving.is_receiving(point.group) {
            Some(NoDigest::Leaving)
        } else if is_busy || self.comparing.undigested.len() >= DIGESTS_COUNT_MAX {
            Some(NoDigest::Busy)
        } else if ctx.now < self.flushing.not_before {
            Some(NoDigest::NotFlushed)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.comparing.answers.push((point, Err(reason)));
            self.host.notify();
            return effects.push(StorageEffect::HoldApplying { group, is_held: false });
        }
        self.comparing.unsealed.push_back(Unsealed { group, point, since: ctx.now });
        self.seal_next(ctx, replicas, effects);
    }

    /// Seals the next state that is to be digested, if no flush is under way. Lets those go on that have waited for too long.
    pub(super) fn seal_next(
        &mut self,
        ctx: &Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) {
        let Storage { comparing: Comparing { unsealed, answers, .. }, receiving, records, .. } = self;
        unsealed.retain(|one| {
            let view = replicas.view(one.group);
            let is_as_of_entry = view.applied == one.point.index && !view.is_within_entry;
            let is_leaving = ctx.is_stopping || receiving.is_receiving(one.point.group) || records.is_lost(one.group);
            let reason = if !is_as_of_entry || is_leaving {
                Some(NoDigest::Leaving)
            } else if ctx.now.since(one.since) >= SEAL_WAIT_MAX || view.leads && ctx.now > one.since {
                Some(NoDigest::Busy)
            } else {
                None
            };
            if let Some(reason) = reason {
                answers.push((one.point, Err(reason)));
                effects.push(StorageEffect::HoldApplying { group: one.group, is_held: false });
            }
            reason.is_none()
        });
        if self.flushing.running.is_some() || ctx.now < self.flushing.not_before {
            return;
        }
        let Some(one) = self.comparing.unsealed.pop_front() else { return };
        match self.begin_flush(ctx, replicas, one.group, effects) {
            Some(flush) => {
                self.comparing.flushed = Some(Flushed { point: one.point, flush });
                effects.push(StorageEffect::HoldApplying { group: one.group, is_held: false });
            }
            // What an earlier flush has copied is set back first.
            None => self.comparing.unsealed.push_front(one),
        }
    }

    /// A flush was committed: the tables of its group hold the state as of its seal.
    pub(super) fn flush_to_digest(&mut self, flush: &Flush<H>) {
        let is_awaited = |flushed: &mut Flushed| flushed.flush == flush.number;
        let Some(Flushed { point, .. }) = self.comparing.flushed.take_if(is_awaited) else { return };
        let version = self.store.version(flush.id);
        self.comparing.undigested.push_back(Undigested { point, version, time_ms: flush.seal.time_ms });
        self.digest_next();
    }

    fn digest_next(&mut self) {
        if self.comparing.digesting.is_some() {
            return;
        }
        let Some(Undigested { point, version, time_ms }) = self.comparing.undigested.pop_front() else { return };
        self.comparing.digesting = Some(point.group);
        let leaves = self.leaves_of(point);
        let mut permit = self.budget.permit(Pool::Snapshots);
        permit.set(digest_memory_bytes(&version));
        let (done, host, reader) =
            (Rc::clone(&self.comparing.done), self.host.clone(), Rc::clone(self.store.reader()));
        let pace = BackgroundPace::new(self.host.clone(), COMPARE_BYTES_PER_SECOND_MAX);
        self.host.spawn(TaskClass::Background, async move {
            let what = (time_ms, (|_| true) as fn(u8) -> bool);
            let digest = digest(&reader, &version, &leaves, what, (IoClass::Scrub, &pace)).await;
            let answer = digest.map(|digest| RowsDigest { rows: digest.rows, leaves: digest.leaves });
            drop((permit, version));
            *done.borrow_mut() = Some(Done { point, answer });
            host.notify();
        });
    }

    fn leaves_of(&self, point: ComparePoint) -> Leaves {
        let ranges = self.config.map.group(point.group).into_iter().flat_map(|spec| &spec.slots);
        let slots = ranges.filter_map(|range| Some((Slot::new(range.first)?, Slot::new(range.last)?)));
        Leaves::of(&slots.collect::<Vec<_>>(), LEAVES_COUNT)
    }

    /// Takes in what has become of flushes and digests.
    pub(super) fn poll_comparing(&mut self, ctx: &mut Context, effects: &mut Vec<StorageEffect>) {
        let running = self.flushing.running.as_ref().map(|flush| flush.number);
        let is_lost = |flushed: &mut Flushed| running != Some(flushed.flush);
        if let Some(flushed) = self.comparing.flushed.take_if(is_lost) {
            self.comparing.answers.push((flushed.point, Err(NoDigest::NotFlushed)));
        }
        let done = self.comparing.done.take();
        if let Some(Done { point, answer }) = done {
            self.comparing.digesting = None;
            match &answer {
                Err(error) if error.is_damage() => self.tables_are_damaged(ctx, point.group, error),
                Err(error) => tracing::warn!(group = %point.group, %error, "the rows of a group cannot be digested"),
                Ok(_) => {}
            }
            self.comparing.answers.push((point, answer.map_err(|_| NoDigest::NotRead)));
            self.digest_next();
        }
        let answers = self.comparing.answers.drain(..);
        effects.extend(answers.filter_map(|(point, answer)| {
            let group = self.records.index_of(point.group)?;
            Some(StorageEffect::Digested { group, point, answer })
        }));
    }
}
