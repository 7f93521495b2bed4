//! Rows that are not in memory: who waits for them, and what becomes of them.
//!
//! Three kinds of work need rows from the tables:
//! - A *read* whose place has come takes a copy of all rows that it needs and that are in memory, waits for the others, and is answered from
//!   both. So it is answered as of its place, however the group goes on meanwhile, and holds up nothing but its own reply.
//! - The command that is to be *applied* next waits for its rows, and with it its group, and no other. Rows of commands behind it in the
//!   batch are asked for with them.
//! - A write that joins a batch asks for its rows ahead, as a *hint*: when it is applied they are likely to be there.
//!
//! What was read becomes rows in memory, unless a row of the key is there by now, or a flush was committed meanwhile: then what was read may
//! be older than what was written, flushed and evicted since.

use std::collections::BTreeMap;
use std::rc::Rc;

use data::{ColdKey, Keyspace, RangeExcerpt};
use types::limits::REPLY_BYTES_MAX;
use types::{GroupId, Instant};

use crate::budget::{Budget, Permit, Pool};
use crate::context::Context;
use crate::limits::{ROW_READS_COUNT_MAX, ROWS_AHEAD_BYTES_MAX};
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::{OwnedRequest, Request};
use crate::row_read::{RowRead, Wanted, WantedRows};

/// Values that are read ahead take one in this many bytes of the memory for keys at most.
const AHEAD_SHARE: usize = 16;

/// What rows are read for.
pub(super) enum Purpose {
    /// A client's read, and the rows that it needs as of its place.
    Read { request: OwnedRequest, excerpt: Box<Keyspace> },
    /// A client's read of a run of rows, and those that are in memory as of its place.
    ReadRange { request: OwnedRequest, excerpt: Box<RangeExcerpt> },
    /// The command that is to be applied next.
    Apply,
    /// A command that will be applied.
    Hint,
}

/// Rows that are being read.
pub(super) struct Open {
    /// The index of the group's replica.
    pub(super) group: usize,
    /// The keyspace's epoch when they were asked for.
    pub(super) epoch: u64,
    pub(super) keys: Vec<ColdKey>,
    pub(super) purpose: Purpose,
    /// When they were asked for.
    pub(super) since: Instant,
    bytes: usize,
}

/// Rows that are being read for the groups of a core.
pub(super) struct ColdReads {
    open: BTreeMap<u64, Open>,
    begun: Vec<RowRead>,
    next_number: u64,
    /// Values that are read ahead for a group that waits, in bytes: a small part of the memory for keys.
    ahead_bytes_max: usize,
    /// For what waits.
    permit: Permit,
    bytes: usize,
}

impl ColdReads {
    pub(super) fn new(budget: &Budget) -> ColdReads {
        let permit = budget.permit(Pool::Rows);
        ColdReads {
            open: BTreeMap::new(),
            begun: Vec::new(),
            next_number: 0,
            ahead_bytes_max: ROWS_AHEAD_BYTES_MAX.min(budget.keys_bytes_max() / AHEAD_SHARE),
            permit,
            bytes: 0,
        }
    }

    /// How many reads wait.
    pub(super) fn count(&self) -> usize {
        self.open.len()
    }

    /// Asks for rows, the first `must_count` of them at any rate.
    fn begin(
        &mut self,
        now: Instant,
        replica: (usize, GroupId),
        keyspace: &Keyspace,
        (keys, must_count): (Vec<ColdKey>, usize),
        purpose: Purpose,
    ) -> u64 {
        let row_key = |cold: &ColdKey| keyspace.row_key(cold.slot, &cold.key).into_boxed_slice();
        let rows: Rc<[_]> = keys.iter().map(|cold| (row_key(cold), cold.needs_value)).collect();
        let held = match &purpose {
            Purpose::Read { request, excerpt } => request.bytes() + excerpt.bytes(),
            Purpose::ReadRange { request, excerpt } => request.bytes() + excerpt.bytes(),
            Purpose::Apply | Purpose::Hint => 0,
        };
        let bytes = held + rows.iter().map(|(key, _)| 2 * key.len()).sum::<usize>() + size_of::<Open>();
        let wanted = match &purpose {
            Purpose::ReadRange { excerpt, .. } => Wanted::Range(excerpt.range()),
            // No reply is longer.
            Purpose::Read { .. } => Wanted::Rows(WantedRows { rows, must_count, bytes_max: REPLY_BYTES_MAX }),
            Purpose::Apply | Purpose::Hint => {
                Wanted::Rows(WantedRows { rows, must_count, bytes_max: self.ahead_bytes_max })
            }
        };
        let number = self.next_number;
        self.next_number += 1;
        self.bytes += bytes;
        self.permit.set(self.bytes);
        let (group, id) = replica;
        self.begun.push(RowRead { number, group: id, wanted });
        self.open.insert(number, Open { group, epoch: keyspace.epoch(), keys, purpose, since: now, bytes });
        number
    }

    /// Answers a read once its rows are there, if some are not in memory: those that are are copied, the others read. Returns whether it does.
    pub(super) fn take_read(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        replica: (usize, GroupId),
        keyspace: &Keyspace,
        request: Request<'_>,
    ) -> bool {
        let Request { origin, command, slot, args } = request;
        let range = keyspace.missing_range(command, slot, args, ctx.unix_ms);
        if range.is_none() && !keyspace.lacks(command, slot, args) {
            return false;
        }
        if self.open.len() >= ROW_READS_COUNT_MAX {
            refuse(ctx, out, origin, Refusal::RowReadsFull, Some(replica.1));
            return true;
        }
        ctx.counters.reads_from_disk += 1;
        if let Some(range) = range {
            let excerpt = Box::new(keyspace.excerpt_of_range(range));
            let purpose = Purpose::ReadRange { request: request.to_owned(), excerpt };
            self.begin(ctx.now, replica, keyspace, (Vec::new(), 0), purpose);
        } else {
            let (excerpt, missing) = keyspace.excerpt(command, slot, args);
            let purpose = Purpose::Read { request: request.to_owned(), excerpt: Box::new(excerpt) };
            self.begin(ctx.now, replica, keyspace, (missing, 0), purpose);
        }
        true
    }

    /// Asks for rows without the first of which, so many, a group cannot go on applying. Returns the number of the answer.
    pub(super) fn begin_apply(
        &mut self,
        now: Instant,
        replica: (usize, GroupId),
        keyspace: &Keyspace,
        keys: Vec<ColdKey>,
        must_count: usize,
    ) -> u64 {
        self.begin(now, replica, keyspace, (keys, must_count), Purpose::Apply)
    }

    /// Asks for the rows of a write that joins a batch, if they are not in memory.
    pub(super) fn hint(
        &mut self,
        now: Instant,
        replica: (usize, GroupId),
        keyspace: &Keyspace,
        request: Request<'_>,
    ) {
        if keyspace.is_resident() || self.open.len() >= ROW_READS_COUNT_MAX {
            return;
        }
        let missing = keyspace.missing(request.command, request.slot, request.args);
        if !missing.is_empty() {
            self.begin(now, replica, keyspace, (missing, 0), Purpose::Hint);
        }
    }

    /// Whether rows are being read for a replica.
    pub(super) fn has_of(&self, group: usize) -> bool {
        self.open.values().any(|open| open.group == group)
    }

    /// Of which group rows are being read.
    pub(super) fn group_of(&self, number: u64) -> Option<usize> {
        self.open.get(&number).map(|open| open.group)
    }

    pub(super) fn end(&mut self, number: u64) -> Open {
        let open = self.open.remove(&number).expect("what was asked for is answered once");
        self.bytes -= open.bytes;
        self.permit.set(self.bytes);
        open
    }

    /// Takes out what is to be read.
    pub(super) fn take_begun(&mut self) -> Vec<RowRead> {
        std::mem::take(&mut self.begun)
    }
}
