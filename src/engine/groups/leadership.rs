//! Who leads: news from Raft, writes whose fate a former leader does not learn, handing over at a stop.

use raft::{Role, SoftState};
use types::Term;
use wire::LeaderNote;

use crate::context::Context;
use crate::groups::{GroupEffect, Groups};
use crate::observe::Event;
use crate::refusal::Refusal;
use crate::replies::ReplySink;

impl Groups {
    /// Raft reports another role, leader or term of a group here.
    pub(super) fn on_soft_state(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        state: SoftState,
    ) {
        let SoftState { role, term, leader } = state;
        self.observe(ctx, group, Event::Role { role, term, leader });
        let replica = &mut self.list[group];
        let id = replica.id;
        let leads_now = (role == Role::Leader).then_some(term);
        let led_before = std::mem::replace(&mut replica.leader_term, leads_now);
        if led_before.is_some() && led_before != leads_now {
            ctx.counters.leaderships_lost += 1;
            tracing::info!(group = %id, term, "no longer leader");
            self.requeue(ctx, out, effects, group);
        }
        let addr = leader.and_then(|leader| self.list[group].addrs.get(leader));
        let Some(place) = addr else {
            return effects.push(GroupEffect::NoLeader { group: id, term });
        };
        let is_elected = leads_now.is_some() && led_before != leads_now;
        if is_elected {
            ctx.counters.leaderships_gained += 1;
            tracing::info!(group = %id, term, "leader");
            self.fit_members_later(group);
        }
        effects.push(GroupEffect::Leader { note: LeaderNote { group: id, term, place }, is_elected });
    }

    /// Gives up on writes whose fate a former leader could not learn in time.
    pub(super) fn give_up_unresolved(
        &mut self,
        ctx: &mut Context,
        out: &mut impl ReplySink,
        effects: &mut Vec<GroupEffect>,
        group: usize,
    ) {
        if self.list[group].proposed.is_empty() {
            return;
        }
        // Within a turn leadership may be gained, used and lost before anybody is told.
        self.requeue(ctx, out, effects, group);
        let replica = &self.list[group];
        // What a leader has proposed in its term is under way, also if the turn has not come to its election yet.
        let live_term = match replica.leader_term {
            Some(term) => term,
            None if replica.raft.is_leader() => return,
            None => Term::MAX,
        };
        let had_unsettled = replica.has_unsettled();
        let wait = ctx.config.leader_wait;
        let replica = &mut self.list[group];
        while let Some(proposed) = replica.proposed.pop_unresolved(live_term, ctx.now, wait) {
            replica.failed.push(proposed.waiters, Refusal::OutcomeUnknownLeadership);
        }
        self.answer_failed(ctx, out, group);
        if had_unsettled && !self.list[group].has_unsettled() {
            effects.push(GroupEffect::Unblocked { group: self.list[group].id });
        }
    }

    /// Hands each led group over, once: where all nodes stop together, the others hand theirs back. Called at every tick of
    /// a stop, as a transfer that cannot begin is tried again.
    pub(crate) fn hand_over(&mut self, ctx: &Context) {
        for group in 0..self.list.len() {
            let replica = &mut self.list[group];
            let may_go = replica.raft.is_leader() && replica.raft.peers().next().is_some() && !replica.is_handed_over;
            if may_go && replica.raft.transfer_leader(None, ctx.now).is_ok() {
                replica.is_handed_over = true;
                self.mark(group);
            }
        }
    }
}
