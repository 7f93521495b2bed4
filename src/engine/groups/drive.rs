//! Doing what Raft wants done.

use raft::Ready;

use crate::context::Context;
use crate::error::Error;
use crate::groups::questions::is_of_question;
use crate::groups::{GroupEffect, Groups};
use crate::observe::Event;
use crate::replies::ReplySink;
use crate::shares::Kind;

impl Groups {
    /// Whether a group has something to do.
    pub(crate) fn has_work(&self) -> bool {
        let is_all_done = self.with_work.is_empty() && self.giving_back.is_empty() && self.left_over.is_empty();
        !is_all_done || self.is_full_cut_short
    }

    /// Makes the permits of groups that are left to the next turn say what is held; [`Groups::drive`] does so for all others.
    pub(crate) fn settle_left(&mut self) {
        let Groups { list, with_work, .. } = self;
        with_work.iter().for_each(|group| list[*group].settle_permits());
    }

    /// A group that has something to do in this turn, if there is one: for [`Groups::drive`].
    pub(crate) fn next_with_work(&mut self) -> Option<usize> {
        let group = self.with_work.pop_front()?;
        self.list[group].has_work = false;
        Some(group)
    }

    /// Does all that Raft wants done for a group, but applies no more than the turn may: the rest is left to the next one.
    pub(crate) fn drive(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
    ) -> Result<(), Error> {
        // Before anything is applied that another leader has proposed.
        self.requeue(ctx, out, effects, group);
        if !self.is_running(group) {
            self.list[group].settle_permits();
            return Ok(());
        }
        self.ask_index_reads(ctx, group);
        let mut ready = std::mem::take(&mut self.ready);
        let driven = self.drive_ready(ctx, out, effects, group, &mut ready);
        self.ready = ready;
        driven?;
        self.serve_waiting_reads(ctx, out, group);
        self.list[group].settle_permits();
        self.arm(group);
        Ok(())
    }

    fn drive_ready(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        ready: &mut Ready,
    ) -> Result<(), Error> {
        let had_unsettled = self.list[group].has_unsettled();
        // Rows that it has waited for may be there.
        self.apply_handed_out(ctx, out, effects, group)?;
        while self.list[group].raft.has_ready() {
            if ctx.shares.is_spent(Kind::Applied) {
                self.left_over.push(group);
                break;
            }
            let replica = &mut self.list[group];
            replica.raft.ready(ready);
            if let Some(membership) = ready.membership.take() {
                replica.learn_addresses(&membership);
            }
            let is_mute = replica.is_mute();
            for message in ready.messages.drain(..).filter(|_| !is_mute) {
                if let Some(to) = replica.addrs.get(message.to) {
                    effects.push(GroupEffect::Send { to, message });
                }
            }
            if let Some(persist) = ready.persist.take() {
                self.observe(ctx, group, Event::Logged(&persist));
                effects.push(GroupEffect::Persist { group, persist });
            }
            if !ready.committed.is_empty() {
                self.list[group].applying.extend(ready.committed.drain(..), ctx.latest());
                self.apply_handed_out(ctx, out, effects, group)?;
            }
            effects.extend(ready.log_reads.drain(..).map(|read| GroupEffect::ReadLog { group, read }));
            // Behind what is applied, which tells what has become of commands.
            if let Some(state) = ready.soft_state {
                self.on_soft_state(ctx, out, effects, group, state);
            }
            for read in ready.reads.drain(..) {
                match is_of_question(read.ctx) {
                    true => self.answer_question(ctx, effects, group, read),
                    false => self.confirm_index_reads(group, read),
                }
            }
            for number in ready.reads_failed.drain(..) {
                self.drop_question(number);
                let has_left = !self.list[group].reads.has_check(number);
                assert!(has_left, "reads leave with the leadership that was to be confirmed for them");
            }
            if let Some(request) = ready.snapshot_request.take() {
                self.want_snapshot(effects, group, request);
            }
        }
        if had_unsettled && !self.list[group].has_unsettled() {
            effects.push(GroupEffect::Unblocked { group: self.list[group].id });
        }
        Ok(())
    }

    fn want_snapshot(&self, effects: &mut Vec<GroupEffect>, group: usize, request: raft::SnapshotRequest) {
        if let Some(from) = self.list[group].addrs.get(request.from) {
            effects.push(GroupEffect::WantSnapshot { group, from, last_index: request.last_index });
        }
    }
}
