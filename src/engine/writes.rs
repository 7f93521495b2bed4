//! Writes: collected into batches, proposed, and applied once committed.

use std::iter::Peekable;
use std::slice::Iter;

use data::{Keyspace, Outcome};
use raft::ProposeError;
use resp::{ArgRange, Args, Command, CommandId};
use types::Slot;
use wire::{Batch, BatchError, Entry, EntryKind, Membership};

use crate::core::{Core, CoreHost, Persisting};
use crate::error::Error;
use crate::forming::Formed;
use crate::group::{Waiter, Waiters};
use crate::origin::Origin;
use crate::outlets::Outlets;
use crate::proposals::Proposed;
use crate::watch::Event;

const NOT_APPLIED: &str = "TRYAGAIN Leadership changed before the write was replicated, and it was not applied";
/// More than what a batch's root and Raft's own account add to the bytes of its commands.
const ENTRY_OVERHEAD_BYTES_MAX: usize = 1 << 10;
pub(crate) const OUTCOME_UNKNOWN: &str =
    "UNKNOWNOUTCOME Leadership was lost before the write was confirmed: it may or may not have been applied";

impl<H: CoreHost> Core<H> {
    /// Adds a write to the next batch of a group that is led here.
    pub(crate) fn write(
        &mut self,
        idx: usize,
        origin: Origin,
        command: &'static Command,
        slot: Slot,
        args: Args<'_>,
    ) {
        if let Err(error) = data::check(command.id, args) {
            return self.out.fail(origin, error.message());
        }
        if let Some(fault) = self.wal.room_fault() {
            self.stats.writes_refused += 1;
            let message =
                format!("DISKFULL The log has no room ({fault}): writes are refused until there is, reads go on");
            return self.out.fail(origin, &message);
        }
        self.put_reads_before_write(idx, origin);
        let group = &mut self.groups[idx];
        if group.forming.is_empty() {
            self.forming_groups.push(idx);
        }
        group.forming.push_write(origin, command, slot, args, self.config.batch_bytes_max);
        self.out.write_begun(origin);
        if group.forming.last_bytes() >= self.config.batch_bytes_max {
            self.propose_group(idx);
            if self.groups[idx].forming.is_empty() {
                self.forming_groups.retain(|other| *other != idx);
            }
        }
        if self.is_full(idx) && !self.full_groups.contains(&idx) {
            self.full_groups.push(idx);
        }
    }

    /// Whether a group has so many commands to propose that no more should be taken in for it.
    pub(crate) fn is_full(&self, idx: usize) -> bool {
        self.groups[idx].forming.bytes() >= self.config.limits.forming_bytes_max
    }

    /// Goes on with commands that waited because their group was full.
    pub(crate) fn resume_full_groups(&mut self) {
        for idx in std::mem::take(&mut self.full_groups) {
            if self.is_full(idx) {
                self.full_groups.push(idx);
            } else {
                self.drain_lane(self.groups[idx].route);
            }
        }
    }

    /// Proposes what groups have collected: as a rule one entry each. While a block is being written the next batch
    /// forms, so that a busy log commits many commands with one write and an idle one commits each at once.
    pub(crate) fn propose(&mut self) {
        if self.forming_groups.is_empty() || self.wal.is_writing() {
            return;
        }
        let mut forming = std::mem::take(&mut self.forming_groups);
        forming.retain(|idx| {
            self.propose_group(*idx);
            !self.groups[*idx].forming.is_empty()
        });
        // What was refused for now stays; re-routed commands may have added groups meanwhile.
        forming.retain(|idx| !self.forming_groups.contains(idx));
        self.forming_groups.append(&mut forming);
    }

    /// Proposes what a group has collected, as far as there is room.
    fn propose_group(&mut self, idx: usize) {
        let now = self.now;
        let group = &mut self.groups[idx];
        if group.forming.is_empty() {
            return;
        }
        if !group.leads() {
            return self.give_back(idx);
        }
        let time_ms = group.proposed_ms.max(group.time_ms).max(self.host.unix_time_ms());
        while group.raft.uncommitted_bytes() == 0
            || group.raft.uncommitted_bytes() + group.forming.oldest_bytes() + ENTRY_OVERHEAD_BYTES_MAX
                <= group.raft.config().uncommitted_bytes_max
        {
            let Some(Formed { payload, commands_count, waiters }) = group.forming.take_oldest(time_ms) else { break };
            let (term, index) = match group.raft.propose(payload, now) {
                Ok(place) => place,
                // Nothing else can change between the checks above and here.
                Err(
                    error @ (ProposeError::NotLeader { .. } | ProposeError::Transferring | ProposeError::Overloaded),
                ) => {
                    panic!("a group that leads and has room refused a proposal: {error}")
                }
            };
            group.proposed_ms = time_ms;
            group.proposed.push(Proposed { term, index, at: now, waiters });
            self.stats.batches_proposed += 1;
            self.stats.commands_proposed += commands_count as u64;
        }
        self.mark_dirty(idx);
    }

    /// Does what Raft wants done, for all groups that have something.
    pub(crate) fn drive_groups(&mut self) -> Result<(), Error> {
        while let Some(idx) = self.dirty_groups.pop() {
            self.groups[idx].is_dirty = false;
            self.ask_index_reads(idx);
            self.drive_group(idx)?;
            self.serve_waiting_reads(idx);
        }
        Ok(())
    }

    fn drive_group(&mut self, idx: usize) -> Result<(), Error> {
        // Before anything is applied that another leader has proposed.
        self.give_back(idx);
        let mut ready = std::mem::take(&mut self.ready);
        let held_up = self.is_held_up(idx);
        while self.groups[idx].raft.has_ready() {
            self.groups[idx].raft.ready(&mut ready);
            if let Some(membership) = ready.membership.take() {
                self.groups[idx].meet(&membership);
            }
            for message in ready.messages.drain(..) {
                if let Some(link) =
                    self.groups[idx].places.get(&message.to).and_then(|place| self.out.links.to(*place))
                {
                    self.out.links.message(link, message);
                }
            }
            if let Some(persist) = &ready.persist {
                self.note(idx, Event::Logged(persist));
                self.persist(idx, persist)?;
            }
            for entry in ready.committed.drain(..) {
                self.apply(idx, &entry)?;
            }
            for read in ready.log_reads.drain(..) {
                self.start_log_read(idx, read);
            }
            // Behind what is applied, which tells what has become of commands, and before single reads are refused.
            if let Some(state) = ready.soft_state {
                self.on_soft_state(idx, state);
            }
            for read in ready.reads.drain(..) {
                self.confirm_index_reads(idx, read);
            }
            for ctx in ready.reads_failed.drain(..) {
                self.reroute_index_reads(idx, ctx);
            }
            if let Some(fetch) = ready.fetch.take() {
                self.want_checkpoint(idx, fetch);
            }
        }
        self.ready = ready;
        if held_up && !self.is_held_up(idx) {
            self.drain_lane(self.groups[idx].route);
        }
        Ok(())
    }

    fn persist(&mut self, idx: usize, persist: &raft::Persist) -> Result<(), Error> {
        let group = self.groups[idx].id;
        // Entries first: what a hard state calls committed must be in the log before it.
        let mut written = match persist.reset {
            Some((index, term)) => self.wal.reset(group, index, term),
            None => Ok(()),
        };
        if !persist.entries.is_empty() {
            written = written.and_then(|()| self.wal.append_entries(group, &persist.entries));
        }
        if let Some(state) = persist.hard_state {
            written = written.and_then(|()| self.wal.append_hard_state(group, state));
        }
        written.map_err(|source| self.wal_error(source))?;
        self.persisting.push_back(Persisting {
            block_seq: self.wal.pending_seq(),
            group: idx,
            seq: persist.seq,
            begun_at: self.now,
        });
        Ok(())
    }

    fn start_log_read(&mut self, idx: usize, read: raft::LogRead) {
        let reader = self.wal.reader(self.groups[idx].id, read.first, read.last, read.bytes_max);
        let (done, host) = (self.log_reads_done.clone(), self.host.clone());
        self.host.spawn(host::TaskClass::Foreground, async move {
            let result = reader.await;
            done.borrow_mut().push(crate::core::LogReadDone {
                group: idx,
                purpose: read.purpose,
                last: read.last,
                result,
            });
            host.notify();
        });
    }

    /// Applies a committed entry, and answers those who wait for it.
    fn apply(&mut self, idx: usize, entry: &Entry) -> Result<(), Error> {
        let mut waiters = Waiters::default();
        while let Some(proposed) = self.groups[idx].proposed.pop_settled_by(entry.term, entry.index) {
            if proposed.term == entry.term {
                // Entries are applied one by one, and a state that is taken over answers what it may hold.
                assert!(proposed.index == entry.index, "proposal {} is passed by {}", proposed.index, entry.index);
                self.log_pace.committed(self.now.since(proposed.at), self.now);
                waiters = proposed.waiters;
            } else {
                // A later leader's entry is committed, and it is not before that: it can never be applied.
                self.stats.batches_not_applied += 1;
                self.fail_waiters(&proposed.waiters, NOT_APPLIED);
            }
        }
        match entry.kind {
            EntryKind::Empty => {}
            EntryKind::Batch => {
                let (group, index) = (self.groups[idx].id, entry.index);
                self.apply_batch(idx, entry, &waiters).map_err(|source| Error::Batch { group, index, source })?;
            }
            EntryKind::ClusterMap => self.apply_map(entry)?,
            EntryKind::Membership => {
                let (group, index) = (self.groups[idx].id, entry.index);
                let membership = Membership::decode(&entry.payload);
                let membership = membership.map_err(|source| Error::Membership { group, index, source })?;
                self.groups[idx].meet(&membership);
                self.groups[idx].membership = membership;
            }
        }
        self.note(idx, Event::Applied(entry));
        let group = &mut self.groups[idx];
        group.forming.recycle(waiters);
        group.log_size.applied(entry.index, entry.payload.len());
        group.raft.applied(entry.index);
        group.offer_checkpoint();
        self.note_digest_if_wanted(idx);
        Ok(())
    }

    fn apply_batch(&mut self, idx: usize, entry: &Entry, waiters: &Waiters) -> Result<(), BatchError> {
        let batch = Batch::access(&entry.payload)?;
        let Core { groups, out, ranges, stats, .. } = self;
        let group = &mut groups[idx];
        let time_ms = group.time_ms.max(batch.time_ms());
        group.time_ms = time_ms;
        let keyspace = &mut group.keyspace;
        let mut next = waiters.list.iter().peekable();
        let mut serve_reads = |keyspace: &Keyspace, out: &mut Outlets, next: &mut Peekable<Iter<'_, Waiter>>| {
            while let Some(&&Waiter::Read { origin, command, slot, held }) = next.peek() {
                next.next();
                stats.reads_in_batch += 1;
                let args = waiters.held.get(held);
                out.reply_read(origin, |reply| keyspace.query(command.id, slot, args, reply));
            }
        };
        batch.for_each(|command, arguments| {
            ranges.clear();
            ranges.push(ArgRange { start: 0, end: 0 });
            ranges.extend(arguments.map(|(start, end)| ArgRange { start, end }));
            serve_reads(keyspace, out, &mut next);
            let args = Args::new(batch.arguments(), ranges);
            let outcome = match (CommandId::from_u16(command.id), Slot::new(command.slot)) {
                (Some(id), Some(slot)) => keyspace.apply(id, slot, args, time_ms),
                _ => Outcome::Error(data::Error::Unsupported),
            };
            if let Some(&Waiter::Write(origin)) = next.next() {
                out.write_ended(origin);
                out.reply(origin, |reply| outcome.write(reply));
            }
        })?;
        serve_reads(keyspace, out, &mut next);
        stats.commands_applied += batch.commands_count() as u64;
        Ok(())
    }

    /// Answers all who wait for a batch that cannot be applied any more, or not be known to be.
    pub(crate) fn fail_waiters(&mut self, waiters: &Waiters, message: &str) {
        for waiter in &waiters.list {
            match *waiter {
                Waiter::Write(origin) => {
                    self.out.write_ended(origin);
                    self.out.fail(origin, message);
                }
                Waiter::Read { .. } => panic!("reads leave a batch when leadership is lost"),
            }
        }
    }
}

/// The command with a number, as it stands in batches and requests.
pub(crate) fn command_of(id: u16) -> Option<&'static Command> {
    CommandId::from_u16(id).map(resp::table::by_id)
}
