//! The planner at work, on the core that leads group 0: rounds, their steps, and who asks about them.
//!
//! A round is work for a helper of the host. Its result counts only if this core still leads in the same term; else it is dropped, and
//! whoever leads begins anew.

use std::rc::Rc;

use bytes::Bytes;
use host::TaskClass;
use meta::planner::{Action, Purpose};
use meta::{Dismiss, MapChange, Replace};
use resp::Reply;

use wire::{ReplicaNote, ReplicaNoteKind};

use super::planning_state::{Asked, Slot};
use super::sink::out;
use super::{Core, CoreHost};
use crate::cluster::{MAP_GROUP, PlannedStep, PlannerSettings, Prospect, Steward, write_foretold, write_tasks};
use crate::groups::PlannerQuestion;
use crate::origin::Origin;
use crate::replies::ReplySink;

/// Steps that are taken in one tick. To propose a change takes a look at all of the map.
const STEPS_PER_TICK_MAX: usize = 4;
/// Questions that wait for an answer.
const QUESTIONS_COUNT_MAX: usize = 64;
/// A question waits for one part in so many of what a forwarded command may wait for its reply.
const WAIT_SHARE: u32 = 2;

const NOT_PLANNING: &str = "ERR who leads group 0 has just begun, or does no more: try again";
const PLAN_FAILED: &str = "ERR the plan could not be made: the log of the node that leads group 0 says why";
const TOO_MANY: &str = "ERR too many plans are being asked for: try again";

impl<H: CoreHost> Core<H> {
    /// Goes on with the planner. Called at every tick.
    pub(super) fn tick_planning(&mut self) {
        self.appoint_steward();
        self.end_round();
        self.end_forecast();
        self.take_steps();
        self.begin_round();
        self.answer_questions();
    }

    /// Sees to it that there is a steward just while this core leads group 0, and another one for each term.
    fn appoint_steward(&mut self) {
        let group = self.router.local_of(MAP_GROUP).filter(|_| self.cluster.is_agreed());
        let term = group.and_then(|group| self.groups.settled_leader_term(group));
        if self.steward.as_ref().map(Steward::term) == term {
            return;
        }
        self.steward = term.map(|term| Steward::new(term, self.planner_settings(), self.ctx.now));
        if self.steward.is_none() {
            self.note_alarm(None);
        }
    }

    fn planner_settings(&self) -> PlannerSettings {
        let settings = &self.ctx.settings;
        PlannerSettings { node_down_after: settings.node_down_after, balance: settings.balance }
    }

    fn begin_round(&mut self) {
        if self.planning.is_round_under_way {
            return;
        }
        let leaver = self.planning.next_leaver();
        let (settings, now) = (self.planner_settings(), self.ctx.now);
        let map = self.cluster.map().clone();
        let Some(round) = self.steward.as_mut().and_then(|it| it.begin_round(&map, settings, leaver, now)) else {
            return;
        };
        self.planning.is_round_under_way = true;
        self.compute_into(Rc::clone(&self.planning.round), move || round.run());
    }

    /// Runs work beside the turns, and leaves its result there.
    fn compute_into<T: Send + 'static>(&self, slot: Slot<T>, work: impl FnOnce() -> T + Send + 'static) {
        let host = self.host.clone();
        self.host.spawn(TaskClass::Background, async move {
            let result = host.compute(work).await;
            slot.replace(Some(result));
            host.notify();
        });
    }

    /// Whether a round is under way, on a helper.
    #[cfg(test)]
    pub(super) fn planning_is_under_way(&self) -> bool {
        self.planning.is_round_under_way
    }

    pub(super) fn end_round(&mut self) {
        let Some(result) = self.planning.round.take() else { return };
        self.planning.is_round_under_way = false;
        let Some(steward) = &mut self.steward else {
            self.ctx.counters.planner_rounds_lost += 1;
            return;
        };
        let mut result = match result {
            Ok(result) => result,
            Err(error) => {
                tracing::error!(%error, "a round of the planner has failed: it begins with nothing");
                self.ctx.counters.planner_rounds_lost += 1;
                self.steward = None;
                return;
            }
        };
        let (prospect, refused_count) = (result.prospect.take(), result.refused_count);
        if !steward.end_round(result) {
            self.ctx.counters.planner_rounds_lost += 1;
            return;
        }
        self.ctx.counters.planner_rounds += 1;
        self.ctx.counters.reports_refused += refused_count;
        let picture = steward.picture();
        let (alarm, emptied) = picture.map(|it| (it.alarm.clone(), it.emptied.clone())).unwrap_or_default();
        self.note_alarm(alarm);
        for node in emptied {
            if self.propose_one(&MapChange::Dismiss(Dismiss { node })) {
                self.ctx.counters.planner_dismissals += 1;
                tracing::warn!(%node, "nothing is left on this node, which was asked to leave: it is removed");
            }
        }
        if let Some(prospect) = prospect {
            self.begin_forecast(prospect);
        }
    }

    /// Tells an alarm once, and once that it is over.
    fn note_alarm(&mut self, alarm: Option<String>) {
        if self.planning.alarm == alarm {
            return;
        }
        match &alarm {
            Some(alarm) => tracing::error!(alarm, "the planner needs a person"),
            None => tracing::info!("the planner's alarm is over, or another core plans"),
        }
        self.planning.alarm = alarm;
    }

    /// The alarm of the planner, if it is at work here and has one.
    pub(super) fn planner_alarm(&self) -> Option<&str> {
        self.planning.alarm.as_deref()
    }

    /// Takes a few of the steps that the last round wants.
    fn take_steps(&mut self) {
        for _ in 0..STEPS_PER_TICK_MAX {
            let Some(planned) = self.steward.as_mut().and_then(Steward::next_step) else { return };
            if !self.take_step(&planned) {
                continue;
            }
            tracing::info!(step = %planned.step, "the planner takes a step");
            *self.steps_counter(planned.step.purpose) += 1;
            let now = self.ctx.now;
            if let Some(steward) = &mut self.steward {
                steward.note(&planned.step, now);
            }
        }
    }

    /// Takes a step. Returns whether it was proposed or asked for.
    fn take_step(&mut self, planned: &PlannedStep) -> bool {
        match planned.step.action {
            Action::Change(ref change) => self.propose_one(change),
            // Another replica begins on the other core, and takes the place of this one.
            Action::MoveCore { group, replica, to, .. } => {
                self.propose_one(&MapChange::Replace(Replace { group, replica, place: to }))
            }
            Action::Transfer { group, term, to, .. } => {
                let Some(leader) = planned.leader else { return false };
                let note = ReplicaNote { group, replica: to, term, says: ReplicaNoteKind::Lead };
                match self.peers.link_to(leader) {
                    Some(link) => self.peers.replica_note(link, note),
                    None => return leader == self.ctx.addr() && self.hand_over_as_told(note),
                }
                true
            }
        }
    }

    /// Proposes a change of the map. Returns whether it was proposed: it would change something.
    fn propose_one(&mut self, change: &MapChange) -> bool {
        self.propose_changes(&[Bytes::from(change.to_bytes())]) > 0
    }

    /// Hands a group over that is led here, if it still is in the term that the note names.
    pub(super) fn hand_over_as_told(&mut self, note: ReplicaNote) -> bool {
        let Some(group) = self.router.local_of(note.group) else { return false };
        let is_begun = self.groups.hand_over_in(&self.ctx, group, note.term, note.replica);
        tracing::debug!(group = %note.group, heir = %note.replica, is_begun, "the planner wants another leader");
        is_begun
    }

    fn steps_counter(&mut self, purpose: Purpose) -> &mut u64 {
        let counters = &mut self.ctx.counters;
        match purpose {
            Purpose::Return(_) => &mut counters.planner_steps_return,
            Purpose::Dead(_) => &mut counters.planner_steps_dead,
            Purpose::Silent(_) => &mut counters.planner_steps_silent,
            Purpose::Fitness(_) => &mut counters.planner_steps_fitness,
            Purpose::Drain(_) => &mut counters.planner_steps_drain,
            Purpose::Racks(_) => &mut counters.planner_steps_racks,
            Purpose::Room(_) => &mut counters.planner_steps_room,
            Purpose::Leave(_) => &mut counters.planner_steps_leave,
            Purpose::Bytes(_) => &mut counters.planner_steps_bytes,
            Purpose::Leaders(_) => &mut counters.planner_steps_leaders,
            Purpose::Cores(_) => &mut counters.planner_steps_cores,
        }
    }

    /// Takes in a question about what is planned. It is answered with the next round, or at once.
    pub(super) fn ask_planner(&mut self, origin: Origin, question: PlannerQuestion) {
        if let PlannerQuestion::Decommission(node) = question
            && self.cluster.map().node(node).is_none()
        {
            let message = format!("ERR there is no node {node}: CORACLE NODES names them");
            return out!(self).fail(origin, &message);
        }
        if self.planning.asked.len() >= QUESTIONS_COUNT_MAX {
            return out!(self).fail(origin, TOO_MANY);
        }
        let until = self.ctx.now + self.ctx.config.leader_wait / WAIT_SHARE;
        self.planning.asked.push(Asked { origin, question, until });
    }

    /// Answers what can be answered, and gives up on what has waited for too long.
    fn answer_questions(&mut self) {
        if self.planning.asked.is_empty() {
            return;
        }
        let now = self.ctx.now;
        let picture = self.steward.as_ref().and_then(Steward::picture);
        let (mut told, mut failed) = (Vec::new(), Vec::new());
        self.planning.asked.retain(|asked| {
            match asked.question {
                PlannerQuestion::Tasks if picture.is_some() => told.push(asked.origin),
                _ if self.steward.is_none() || now >= asked.until => failed.push(asked.origin),
                _ => return true,
            }
            false
        });
        let picture = picture.cloned();
        for origin in told {
            if let Some(picture) = &picture {
                out!(self).reply(origin, |reply: &mut Reply<'_>| write_tasks(picture, reply));
            }
        }
        failed.into_iter().for_each(|origin| out!(self).fail(origin, NOT_PLANNING));
    }

    fn begin_forecast(&mut self, prospect: Prospect) {
        if self.planning.forecast_of.is_none() {
            self.planning.forecast_of = Some(prospect.node);
            self.compute_into(Rc::clone(&self.planning.forecast), move || prospect.run());
        }
    }

    /// Answers all who have asked for the forecast that is there.
    fn end_forecast(&mut self) {
        let Some(result) = self.planning.forecast.take() else { return };
        let Some(node) = self.planning.forecast_of.take() else { return };
        let (answered, waits) = std::mem::take(&mut self.planning.asked)
            .into_iter()
            .partition(|asked| asked.question == PlannerQuestion::Decommission(node));
        self.planning.asked = waits;
        let answered: Vec<Asked> = answered;
        for Asked { origin, .. } in answered {
            match &result {
                Ok(found) => out!(self).reply(origin, |reply: &mut Reply<'_>| write_foretold(found, reply)),
                Err(error) => {
                    tracing::error!(%error, "a forecast of the planner has failed");
                    out!(self).fail(origin, PLAN_FAILED);
                }
            }
        }
    }

    /// Whether the planner waits for ticks more often than idle cores tick.
    pub(super) fn planner_wants_ticks(&self) -> bool {
        !self.planning.asked.is_empty() || self.steward.as_ref().is_some_and(Steward::has_steps)
    }
}
