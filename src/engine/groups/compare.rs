//! Comparing the replicas of a group: the leader proposes an entry, every replica digests its rows as of that entry, and the leader
//! weighs what it is told.
//!
//! One comparison is under way at a time per core. It costs the path of requests nothing: the digest is made by a task from the tables of
//! a flush that is sealed at the entry (`storage` does that). It ends in any case: with what was compared, or with a reason. Whatever
//! changes meanwhile, the leader or the members, does no harm but to the comparison.
//!
//! A replica that differs from most is told so and leaves (`divergence`). The leader compares again soon, which also makes it a snapshot
//! that reaches beyond what that replica has applied.

use std::collections::BTreeSet;
use std::time::Duration;

use lsm::digest::Leaves;
use types::{CoreAddr, ReplicaId};
use wire::{ComparisonNote, Entry, EntryKind, LEAVES_COUNT, NoteBody};

use crate::comparison::{ComparePoint, Comparison, DigestAnswer, Outcome, Standing};
use crate::context::Context;
use crate::error::Error;
use crate::groups::comparing::{CompareRefusal, Running, anew_at, next_at};
use crate::groups::replica::owned_slots;
use crate::groups::{GroupEffect, Groups};
use crate::observe::Event;

/// How often it is looked whether a comparison is due, and how many groups are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_GROUPS_COUNT: usize = 64;
/// How long the leader waits at least for the digests of others behind its own. Else as long as its own took.
const ANSWERS_WAIT_MIN: Duration = Duration::from_secs(30);
/// How long it waits for those that have left.
const LEFT_WAIT: Duration = Duration::from_secs(3);
/// When a group is compared again of which a replica was busy.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// When a group is compared again of which a replica has left.
const FOLLOW_UP_AFTER: Duration = Duration::from_secs(5);
/// An entry that is come across so much later than it was made is none to compare at.
const STALE_AFTER_MS: u64 = 60_000;
/// Notes of other cores that wait for the next tick; more are dropped.
const NOTES_COUNT_MAX: usize = 64;

impl Groups {
    /// Has a group compared as soon as the core is free for it.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn compare_soon(&mut self, group: usize) -> Result<(), CompareRefusal> {
        let replica = &self.list[group];
        if !replica.leads() {
            return Err(CompareRefusal::NotLeader);
        }
        if replica.commits_alone() {
            return Err(CompareRefusal::Alone);
        }
        let is_running = self.comparing.running.as_ref().is_some_and(|running| running.group == group);
        if is_running || self.comparing.wanted.contains(&group) {
            return Err(CompareRefusal::Running);
        }
        self.comparing.wanted.push_back(group);
        Ok(())
    }

    /// Has all groups compared that are led here and have other replicas. Returns how many there are.
    pub(crate) fn compare_all_soon(&mut self) -> usize {
        (0..self.list.len()).filter(|group| self.compare_soon(*group).is_ok()).count()
    }

    /// Something another core has said about a comparison: taken in at the next tick.
    pub(crate) fn keep_comparison_note(&mut self, group: usize, from: CoreAddr, note: ComparisonNote) {
        if self.comparing.notes.len() < NOTES_COUNT_MAX && self.is_running(group) {
            self.comparing.notes.push((group, from, note));
            self.comparing.settle();
        }
    }

    /// Goes on with the comparison under way, and begins one if one is due. Called at every tick.
    pub(crate) fn tick_comparing(&mut self, ctx: &mut Context, effects: &mut Vec<GroupEffect>) {
        for (group, from, note) in std::mem::take(&mut self.comparing.notes) {
            self.on_comparison_note(ctx, effects, group, from, note);
        }
        self.tick_divergent(ctx, effects);
        let list = &self.list;
        self.comparing.differing.retain(|group, _| list[*group].raft.is_leader());
        if self.comparing.running.is_some() {
            self.go_on_comparing(ctx, effects);
        } else if !(ctx.is_flushing || ctx.is_stopping || ctx.is_log_backlogged || ctx.disk_full.is_some())
            && let Some(group) = self.next_to_compare(ctx)
        {
            self.begin_comparing(ctx, group);
        }
        self.comparing.settle();
    }

    /// Groups are to be compared at another interval from now on, or no more.
    pub(crate) fn compare_interval_changed(&mut self, ctx: &Context) {
        for replica in &mut self.list {
            replica.compare_at = anew_at(ctx, replica.id);
        }
    }

    fn next_to_compare(&mut self, ctx: &Context) -> Option<usize> {
        if let Some(wanted) = self.comparing.wanted.pop_front() {
            return Some(wanted);
        }
        if ctx.now < self.comparing.look_at || self.list.is_empty() {
            return None;
        }
        self.comparing.look_at = ctx.now + LOOK_EVERY;
        let (first, count) = (self.comparing.looked_at, self.list.len());
        let looked = (0..LOOK_GROUPS_COUNT.min(count)).map(|at| (first + at) % count);
        self.comparing.looked_at = (first + LOOK_GROUPS_COUNT) % count;
        let is_due = |group: &usize| {
            let replica = &self.list[*group];
            replica.compare_at <= ctx.now && replica.leads() && !replica.commits_alone()
        };
        looked.into_iter().find(is_due)
    }

    fn begin_comparing(&mut self, ctx: &mut Context, group: usize) {
        let is_settled = self.settled_leader_term(group).is_some();
        let replica = &mut self.list[group];
        let proposed = if is_settled && replica.leads() {
            replica.raft.propose_kind(EntryKind::Compare, wire::compare_payload(ctx.unix_ms), ctx.now).ok()
        } else {
            None
        };
        let Some((term, index)) = proposed else {
            // A transfer is under way, for example, or somebody else leads by now.
            replica.compare_at = ctx.now + RETRY_AFTER;
            return;
        };
        let own = replica.raft.id();
        let mut voters: Vec<ReplicaId> = replica.raft.membership().voters.iter().map(|member| member.id).collect();
        voters.sort_by_key(|id| *id != own);
        let addr = |id| if id == own { ctx.addr() } else { replica.addrs.get(id).unwrap_or_default() };
        let answers = voters.into_iter().map(|id| (id, addr(id), None)).collect();
        let point = ComparePoint { group: replica.id, index, term };
        self.comparing.running = Some(Running { group, point, begun_at: ctx.now, answers, own_at: None });
        self.mark(group);
    }

    /// A compare entry is applied: nothing more is before the state is sealed, or cannot be.
    pub(super) fn compare_applied(
        &mut self,
        ctx: &Context,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        entry: &Entry,
    ) -> Result<(), Error> {
        let replica = &mut self.list[group];
        let (id, index) = (replica.id, entry.index);
        let made_ms = wire::compare_time_ms(&entry.payload);
        let made_ms = made_ms.map_err(|source| Error::Compare { group: id, index, source })?;
        replica.compare_at = next_at(ctx, id);
        // A start, or a replica that was away, comes across those of long ago.
        if made_ms.abs_diff(ctx.unix_ms) < STALE_AFTER_MS && !replica.commits_alone() {
            replica.applying.hold(true);
            replica.raft.pause_applying(true);
            effects.push(GroupEffect::Compare { group, point: ComparePoint { group: id, index, term: entry.term } });
        }
        Ok(())
    }

    /// The digest of a replica here behind a compare entry, or why there is none.
    pub(crate) fn digested(
        &mut self,
        ctx: &mut Context,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        point: ComparePoint,
        answer: DigestAnswer,
    ) {
        let replica = &mut self.list[group];
        if answer.is_ok() {
            ctx.counters.digests_made += 1;
            replica.compared = Some(point);
        }
        let own = replica.raft.id();
        if self.comparing.running.as_ref().is_some_and(|running| running.point == point) {
            return self.take_answer(ctx, effects, own, answer);
        }
        let leader = replica.raft.leader().filter(|leader| *leader != own);
        let Some(to) = leader.and_then(|leader| replica.addrs.get(leader)) else { return };
        let body = match answer {
            Ok(digest) => NoteBody::Digest(digest),
            Err(reason) => NoteBody::NoDigest(reason),
        };
        let note = ComparisonNote { group: point.group, index: point.index, term: point.term, body };
        effects.push(GroupEffect::ComparisonNote { to, note });
    }

    fn on_comparison_note(
        &mut self,
        ctx: &mut Context,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        from: CoreAddr,
        note: ComparisonNote,
    ) {
        let ComparisonNote { group: id, index, term, body } = note;
        let replica = &self.list[group];
        let voters = &replica.raft.membership().voters;
        let sender = replica.addrs.at(from).find(|sender| voters.iter().any(|voter| voter.id == *sender));
        let Some(sender) = sender else { return };
        let point = ComparePoint { group: id, index, term };
        let is_of_running = self.comparing.running.as_ref().is_some_and(|running| running.point == point);
        match body {
            NoteBody::Digest(digest) if is_of_running => self.take_answer(ctx, effects, sender, Ok(digest)),
            NoteBody::NoDigest(reason) if is_of_running => self.take_answer(ctx, effects, sender, Err(reason)),
            // Of a comparison that was over.
            NoteBody::Digest(_) | NoteBody::NoDigest(_) => {}
            NoteBody::Differs => self.differs(ctx, group, point, sender),
            NoteBody::Left => self.has_left(ctx, effects, group, sender, index),
            NoteBody::Rebuild => self.rebuild(effects, group, from, index),
        }
    }

    fn take_answer(
        &mut self,
        ctx: &mut Context,
        effects: &mut Vec<GroupEffect>,
        replica: ReplicaId,
        answer: DigestAnswer,
    ) {
        let Some(running) = &mut self.comparing.running else { return };
        let is_own = running.answers.first().is_some_and(|(own, ..)| *own == replica);
        let (group, point, is_sound) = (running.group, running.point, answer.is_ok());
        if let Some((.., known)) = running.answers.iter_mut().find(|(id, ..)| *id == replica) {
            *known = Some(answer);
        }
        if is_own {
            running.own_at = Some(ctx.now);
            if is_sound {
                // Its tables hold the state as of the entry: whoever has left before can have them.
                self.offer_rebuilding(effects, group, point.index);
            }
        }
    }

    fn go_on_comparing(&mut self, ctx: &mut Context, effects: &mut Vec<GroupEffect>) {
        let Some(running) = &self.comparing.running else { return };
        let raft = &self.list[running.group].raft;
        if !raft.is_leader() || raft.term() != running.point.term {
            return self.end_comparing(ctx, effects, Some("the leadership moved meanwhile"));
        }
        let voters: BTreeSet<ReplicaId> = raft.membership().voters.iter().map(|member| member.id).collect();
        if voters.len() != running.answers.len() || !running.answers.iter().all(|(id, ..)| voters.contains(id)) {
            return self.end_comparing(ctx, effects, Some("the members changed meanwhile"));
        }
        let Some(own_at) = running.own_at else {
            let is_late = ctx.now.since(running.begun_at) >= ctx.config.compare_wait_max;
            return if is_late {
                self.end_comparing(ctx, effects, Some("the leader's own digest took too long"));
            };
        };
        let differing = self.comparing.differing.get(&running.group);
        let has_left = |id: &ReplicaId| differing.is_some_and(|differing| differing.contains(id));
        let is_missing = |with_left: bool| {
            let mut answers = running.answers.iter();
            answers.any(|(id, _, answer)| answer.is_none() && has_left(id) == with_left)
        };
        let waited = ctx.now.since(own_at);
        let wait_max = ANSWERS_WAIT_MIN.max(own_at.since(running.begun_at));
        let waits = is_missing(false) && waited < wait_max || is_missing(true) && waited < LEFT_WAIT;
        if !waits {
            self.end_comparing(ctx, effects, None);
        }
    }

    /// Weighs what has come, unless there is a reason why nothing can be said.
    fn end_comparing(&mut self, ctx: &mut Context, effects: &mut Vec<GroupEffect>, reason: Option<&'static str>) {
        let Some(running) = self.comparing.running.take() else { return };
        let Running { group, point, begun_at, answers, .. } = running;
        let took = ctx.now.since(begun_at);
        let leaves = Leaves::of(&owned_slots(&ctx.config, point.group), LEAVES_COUNT);
        let found = match reason {
            Some(reason) => Comparison::unfinished(point, ctx.unix_ms, took, reason),
            None => Comparison::weigh(point, (ctx.unix_ms, took), &answers, &leaves),
        };
        if found.is_alarm() {
            self.alarm(ctx, effects, group, &found);
        } else if let Outcome::Unfinished(reason) = found.outcome {
            ctx.counters.comparisons_unfinished += 1;
            tracing::info!(group = %point.group, index = point.index, reason, members = found.shown_members(), "replicas were not compared");
        } else {
            ctx.counters.comparisons += 1;
            let members = found.shown_members();
            tracing::info!(group = %point.group, index = point.index, rows = found.rows, ?took, members, "replicas were compared and agree");
        }
        for member in found.members.iter().filter(|member| member.standing == Standing::Agrees) {
            if let Some(differing) = self.comparing.differing.get_mut(&group) {
                differing.remove(&member.replica);
            }
        }
        self.comparing.differing.retain(|_, differing| !differing.is_empty());
        let replica = &mut self.list[group];
        if self.comparing.differing.contains_key(&group) {
            replica.compare_at = ctx.now + FOLLOW_UP_AFTER;
        } else if found.was_busy() {
            replica.compare_at = ctx.now + RETRY_AFTER;
        }
        self.comparing.results.insert(point.group, found);
        self.comparing.settle();
    }

    /// Replicas hold different rows.
    fn alarm(&mut self, ctx: &mut Context, effects: &mut Vec<GroupEffect>, group: usize, found: &Comparison) {
        let point = found.point;
        ctx.counters.comparisons += 1;
        ctx.counters.comparisons_differing += 1;
        self.observe(ctx, group, Event::RowsDiffer { index: point.index });
        let advice = if found.outcome == Outcome::Minority {
            "those that differ leave and are rebuilt from the others; look for faulty memory or disks on their nodes, keep their logs, and report it"
        } else {
            "no majority agrees, so that nothing is done: compare the values of keys in the ranges with what they should be, and take the \
             node with the wrong ones out"
        };
        tracing::error!(
            group = %point.group,
            index = point.index,
            members = found.shown_members(),
            ranges = found.shown_ranges(),
            "replicas of this group hold different rows behind the same entry of its log: {advice}"
        );
        let own = self.list[group].raft.id();
        for member in found.differing() {
            self.comparing.differing.entry(group).or_default().insert(member.replica);
            if member.replica == own {
                self.leave(ctx, group);
            } else {
                let note = ComparisonNote {
                    group: point.group,
                    index: point.index,
                    term: point.term,
                    body: NoteBody::Differs,
                };
                effects.push(GroupEffect::ComparisonNote { to: member.addr, note });
            }
        }
    }

    /// A replica has left since it differs, and has applied so much: it is sent the snapshot that there is, or one is made.
    fn has_left(
        &mut self,
        ctx: &Context,
        effects: &mut Vec<GroupEffect>,
        group: usize,
        sender: ReplicaId,
        applied: types::Index,
    ) {
        let replica = &mut self.list[group];
        if !replica.leads() {
            return;
        }
        self.comparing.differing.entry(group).or_default().insert(sender);
        let snapshot = replica.raft.snapshot().map_or(0, |snapshot| snapshot.last_index);
        if snapshot > applied {
            self.offer_rebuilding(effects, group, snapshot);
        } else {
            replica.compare_at = replica.compare_at.min(ctx.now);
        }
    }

    /// Tells those that have left that there is a snapshot.
    fn offer_rebuilding(&self, effects: &mut Vec<GroupEffect>, group: usize, index: types::Index) {
        let replica = &self.list[group];
        for id in self.comparing.differing.get(&group).into_iter().flatten() {
            if let Some(to) = replica.addrs.get(*id) {
                let note =
                    ComparisonNote { group: replica.id, index, term: replica.raft.term(), body: NoteBody::Rebuild };
                effects.push(GroupEffect::ComparisonNote { to, note });
            }
        }
    }
}
