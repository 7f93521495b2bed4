//! Rows that were read, and who waited for them.

use lsm::table::stored_row::head_parts;

use crate::context::Context;
use crate::groups::Groups;
use crate::groups::apply::answer_from;
use crate::groups::cold::{Open, Purpose};
use crate::observe::{Stage, Way};
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::row_read::{ReadRows, RowRead, Told};
use crate::slow::log_if_slow;

impl Groups {
    /// Rows that are to be read, for storage.
    pub(crate) fn take_row_reads(&mut self) -> Vec<RowRead> {
        self.cold.take_begun()
    }

    /// Rows were read. Who waited for them goes on.
    pub(crate) fn rows_read(&mut self, ctx: &mut Context, out: &mut impl ReplySink, number: u64, rows: &ReadRows) {
        if self.cold.group_of(number).is_some_and(|group| self.list[group].is_lost) {
            // They may be those of another state, which is to take the place of the one here.
            return self.rows_lost(ctx, out, number);
        }
        let Open { group, epoch, keys, purpose, since, .. } = self.cold.end(number);
        match &purpose {
            Purpose::Read { request, .. } | Purpose::ReadRange { request, .. } => {
                ctx.stages.ends_with_turn(Stage::ReadRows, since);
                if ctx.is_slow(since) {
                    log_if_slow(ctx, out, request.as_request(), Way::Waited(Stage::ReadRows.name()), since);
                }
            }
            Purpose::Apply => ctx.stages.record(Stage::ApplyRows, ctx.latest().since(since)),
            Purpose::Hint => {}
        }
        let replica = &mut self.list[group];
        let rows = match rows {
            ReadRows::Rows(rows) => rows,
            ReadRows::Range(rows, reached) => {
                let Purpose::ReadRange { request, excerpt } = purpose else {
                    panic!("a run was read for whoever wants one")
                };
                ctx.counters.rows_read += rows.len() as u64;
                let rows = rows.iter().filter_map(|(row_key, row)| {
                    let (slot, _, key) = head_parts(row_key)?;
                    Some((slot, key, row.content()))
                });
                return answer_from(ctx, out, &excerpt.with_rows(rows, *reached), request.as_request());
            }
        };
        ctx.counters.rows_read += keys.len() as u64;
        let is_awaited = replica.applying.has_rows(number);
        // Nothing was written since to a group that waits for them, so whatever was flushed meanwhile, they are right.
        let epoch = if is_awaited { replica.keyspace.epoch() } else { epoch };
        for (cold, told) in keys.iter().zip(rows) {
            match told {
                Told::Unread => {}
                Told::NoRow => replica.keyspace.fill(cold.slot, &cold.key, None, epoch),
                Told::Whole(row) => replica.keyspace.fill(cold.slot, &cold.key, Some(&row.content()), epoch),
                // It is pinned only if the group waits for it.
                Told::Head(row) if is_awaited => {
                    replica.keyspace.fill_head(cold.slot, &cold.key, row.kind, row.expiry_ms);
                }
                Told::Head(_) => {}
            }
        }
        replica.settle_permits();
        match purpose {
            Purpose::Hint => {}
            Purpose::Apply => self.mark(group),
            Purpose::Read { request, mut excerpt } => {
                for (cold, told) in keys.iter().zip(rows) {
                    match told {
                        Told::Unread => {
                            return refuse(ctx, out, request.origin, Refusal::ReplyTooLong, Some(replica.id));
                        }
                        Told::NoRow => {}
                        Told::Head(row) | Told::Whole(row) => {
                            excerpt.load(cold.slot, &cold.key, &row.content());
                        }
                    }
                }
                answer_from(ctx, out, &excerpt, request.as_request());
            }
            Purpose::ReadRange { .. } => panic!("rows were read for whoever named them"),
        }
    }

    /// Rows could not be read for a reason that may pass.
    pub(crate) fn rows_not_read(&mut self, ctx: &mut Context, out: &mut impl ReplySink, number: u64) {
        let Open { group, purpose, .. } = self.cold.end(number);
        match purpose {
            Purpose::Hint => {}
            Purpose::Apply => {
                // It asks again.
                self.list[group].applying.has_rows(number);
                self.mark(group);
            }
            Purpose::Read { request, .. } | Purpose::ReadRange { request, .. } => {
                let id = self.list[group].id;
                refuse(ctx, out, request.origin, Refusal::RowsNotRead, Some(id));
            }
        }
    }

    /// Rows are damaged on the disk. A read of them fails; a group that cannot go on without them asks again at the next tick, or waits until
    /// another state has taken the place of its own.
    pub(crate) fn rows_lost(&mut self, ctx: &mut Context, out: &mut impl ReplySink, number: u64) {
        let Open { group, purpose, .. } = self.cold.end(number);
        match purpose {
            Purpose::Hint => {}
            Purpose::Apply => self.rows_to_ask_again.push((group, number)),
            Purpose::Read { request, .. } | Purpose::ReadRange { request, .. } => {
                let id = self.list[group].id;
                refuse(ctx, out, request.origin, Refusal::RowsNotRead, Some(id));
            }
        }
    }

    /// Groups that cannot go on without rows that are damaged ask for them again.
    pub(super) fn ask_for_rows_again(&mut self) {
        for (group, number) in std::mem::take(&mut self.rows_to_ask_again) {
            if self.list[group].applying.has_rows(number) {
                self.mark(group);
            }
        }
    }

    /// How many reads wait for rows.
    pub(super) fn cold_count(&self) -> usize {
        self.cold.count()
    }
}
