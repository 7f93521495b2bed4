//! Commands that were taken in for a group that is not led here any more and did not run: they look for the new leader.
//!
//! Commands of a connection must not overtake each other on the way. What was taken in here is older than all that waits
//! in the lane of the group, and goes before it, in the order proposals, forming batch, reads. Commands of clients of
//! other cores go back there, and everything that comes behind them over the same link does too, until that core
//! says that it has heard of it.

use std::collections::HashSet;
use std::iter::Peekable;
use std::slice::Iter;

use resp::{ArgRange, Args, Command};
use types::Slot;
use wire::{Batch, ReplyStatus};

use crate::core::{Core, CoreHost};
use crate::forming::Formed;
use crate::forwards::Forward;
use crate::group::{Waiter, Waiters, WaitingRead};
use crate::held::ArgStore;
use crate::origin::Origin;
use crate::writes::command_of;

/// What a read is answered that cannot be carried out at its place any more.
pub(crate) const READ_LOST: &str =
    "TRYAGAIN Leadership was lost between this read and a write behind it: ask again, if that is still of interest";

/// A command that is given back.
pub(crate) struct GivenBack {
    pub(crate) origin: Origin,
    pub(crate) command: &'static Command,
    pub(crate) slot: Slot,
    pub(crate) args: ArgStore,
}

impl From<WaitingRead> for GivenBack {
    fn from(read: WaitingRead) -> GivenBack {
        GivenBack { origin: read.origin, command: read.command, slot: read.slot, args: read.args }
    }
}

/// Takes the reads up to the next write.
fn take_leading_reads(next: &mut Peekable<Iter<'_, Waiter>>, held: &ArgStore, taken: &mut Vec<GivenBack>) {
    while let Some(&&Waiter::Read { origin, command, slot, held: at }) = next.peek() {
        next.next();
        taken.push(GivenBack { origin, command, slot, args: ArgStore::of(held.get(at)) });
    }
}

impl<H: CoreHost> Core<H> {
    /// The group is not led here any more, or is being handed over: what has not been proposed goes another way. Once
    /// leadership is lost that holds for all reads too. The fate of writes that were proposed is not known yet.
    pub(crate) fn give_back(&mut self, idx: usize) {
        if self.groups[idx].leads() || !self.groups[idx].has_commands() {
            return;
        }
        let mut again = Vec::new();
        let is_lost = !self.groups[idx].raft.is_leader();
        if is_lost {
            self.take_reads_of_proposals(idx, &mut again);
        }
        self.take_forming(idx, &mut again);
        if is_lost {
            for read in self.groups[idx].take_reads(|_| true) {
                self.out.read_ended(read.origin);
                again.push(read.into());
            }
        }
        self.find_leader_again(idx, again);
    }

    /// A read behind which a write of the same source was proposed cannot be asked again: it would see that write, if it
    /// is committed after all.
    fn take_reads_of_proposals(&mut self, idx: usize, taken: &mut Vec<GivenBack>) {
        let Core { groups, out, .. } = self;
        let mut writers = HashSet::new();
        let (mut again, mut lost) = (Vec::new(), Vec::new());
        for proposed in groups[idx].proposed.iter_mut().rev() {
            let Waiters { list, held } = &mut proposed.waiters;
            for waiter in list.iter().rev() {
                match *waiter {
                    Waiter::Write(origin) => writers.extend(out.source(origin)),
                    Waiter::Read { origin, .. } if out.source(origin).is_some_and(|of| writers.contains(&of)) => {
                        lost.push(origin);
                    }
                    Waiter::Read { origin, command, slot, held: at } => {
                        again.push(GivenBack { origin, command, slot, args: ArgStore::of(held.get(at)) });
                    }
                }
            }
            list.retain(|waiter| matches!(waiter, Waiter::Write(_)));
        }
        taken.extend(again.into_iter().rev());
        lost.into_iter().rev().for_each(|origin| self.out.fail(origin, READ_LOST));
    }

    fn take_forming(&mut self, idx: usize, taken: &mut Vec<GivenBack>) {
        while let Some(Formed { payload, waiters, .. }) = self.groups[idx].forming.take_oldest(0) {
            let batch = Batch::access(&payload).expect("a batch that was just archived is valid");
            let mut ranges = Vec::new();
            let mut next = waiters.list.iter().peekable();
            batch
                .for_each(|command, arguments| {
                    take_leading_reads(&mut next, &waiters.held, taken);
                    let Some(&Waiter::Write(origin)) = next.next() else {
                        panic!("a write of ours that nobody waits for")
                    };
                    ranges.clear();
                    // The name is not archived; nothing looks at it.
                    ranges.push(ArgRange { start: 0, end: 0 });
                    ranges.extend(arguments.map(|(start, end)| ArgRange { start, end }));
                    let slot = Slot::new(command.slot).expect("a slot of our own batch");
                    let command = command_of(command.id).expect("a command of our own batch");
                    let args = ArgStore::of(Args::new(batch.arguments(), &ranges));
                    self.out.write_ended(origin);
                    taken.push(GivenBack { origin, command, slot, args });
                })
                .expect("a batch that was just archived is valid");
            take_leading_reads(&mut next, &waiters.held, taken);
        }
    }

    /// Commands that this core had taken in and did not run look for their leader, before all others that do.
    pub(crate) fn find_leader_again(&mut self, idx: usize, again: Vec<GivenBack>) {
        let route = self.groups[idx].route;
        let deadline = self.now + self.config.leader_wait;
        let mut parked = Vec::new();
        for GivenBack { origin, command, slot, args } in again {
            match origin {
                // The core it came from looks itself. If newer ones have gone back before, they wait there for this one.
                Origin::Core { link, id, .. } => {
                    self.groups[idx].refuse(link);
                    self.out.links.reply(link, id, ReplyStatus::NotLeader, |_| {});
                }
                Origin::Client { .. } | Origin::Part { .. } => {
                    parked.push(Forward { origin, command, slot, route, args, deadline, sent_as: 0 });
                }
            }
        }
        self.stats.commands_parked += parked.len() as u64;
        self.lanes.put_before_all(route, parked);
    }
}
