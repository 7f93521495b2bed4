//! Judging one key: what was answered about it, beside what the log says it was.

use types::Instant;

use super::bounds::{CLOCK_AGE_MAX, GONE_WITHIN, NAME, ROUNDING_MS, SETTLED_AFTER};
use super::clocks::Clocks;
use super::model::{Held, change, is_answer_of, is_answer_of_nothing, is_same};
use super::timeline::{CommandPosition, LoggedCommand, Timeline};
use crate::checkers::Violation;
use crate::history::{ExpiringOperation, Outcome, Text};

/// Since when nothing is wrong.
#[derive(Clone, Copy)]
pub(super) struct Healthy {
    /// When the last fault was over.
    pub(super) healed: Instant,
    /// Since when everything works again.
    pub(super) since: Instant,
}

/// What a key held from a place in the log on.
struct Version {
    from: CommandPosition,
    held: Option<Held>,
}

/// A key, and everything that is known of it.
pub(super) struct KeyJudge<'a> {
    pub(super) key: &'a Text,
    /// In the order in which they began.
    pub(super) operations: &'a [&'a ExpiringOperation],
    pub(super) timeline: &'a Timeline,
    pub(super) clocks: &'a Clocks,
    /// Whether its time is noticed, though nobody asks for it.
    pub(super) is_noticed: bool,
}

impl KeyJudge<'_> {
    /// Returns how many operations were judged.
    ///
    /// # Errors
    /// The first objection.
    pub(super) fn judge(&self, healthy: Option<&Healthy>) -> Result<u64, Violation> {
        let versions = self.versions()?;
        for operation in self.operations {
            if let Some(healthy) = healthy.filter(|healthy| operation.begin >= healthy.since)
                && is_failed(operation)
            {
                let since = healthy.since.as_nanos();
                return self.object(operation, &format!("has failed though everything should work since {since} ns"));
            }
        }
        let reads = self.operations.iter().filter(|operation| !operation.call.is_write() && !is_failed(operation));
        let mut judged = versions.len() as u64 - 1;
        for read in reads {
            self.judge_read(read, &versions, healthy)?;
            judged += 1;
        }
        if let Some(healthy) = healthy.filter(|_| self.is_noticed) {
            self.judge_end(&versions, healthy)?;
        }
        Ok(judged)
    }

    /// What the key held, from the beginning on. Every write that has run stands in the log once, in the order in which its client
    /// sent them, and answers what it does at its place.
    fn versions(&self) -> Result<Vec<Version>, Violation> {
        let mut versions = vec![Version { from: (0, 0), held: None }];
        let mut logged = self.timeline.commands(self.key).iter().peekable();
        for write in self.operations.iter().filter(|operation| operation.call.is_write()) {
            let command = match write.outcome {
                Outcome::NotApplied => continue,
                Outcome::Unknown => logged.next_if(|command| is_same(&write.call, command)),
                _ => Some(self.expect(write, logged.next())?),
            };
            if let Some(command) = command {
                self.run(write, command, &mut versions)?;
            }
        }
        match logged.next() {
            None => Ok(versions),
            Some(command) => Err(Violation::new(
                NAME,
                format_args!(
                    "a command on {} stands in the log that was not sent, or was refused, or is there twice: {command:?}",
                    self.key.escape_ascii()
                ),
            )),
        }
    }

    fn expect<'c>(
        &self,
        write: &ExpiringOperation,
        command: Option<&'c LoggedCommand>,
    ) -> Result<&'c LoggedCommand, Violation> {
        match command {
            Some(command) if is_same(&write.call, command) => Ok(command),
            other => self.object(write, &format!("was answered, and in its place in the log stands {other:?}")),
        }
    }

    fn run(
        &self,
        write: &ExpiringOperation,
        command: &LoggedCommand,
        versions: &mut Vec<Version>,
    ) -> Result<(), Violation> {
        let last = versions.last().expect("there is one from the beginning on");
        let (mut held, from) = (last.held.clone(), command.position);
        if self.timeline.flush_between(last.from, from).is_some() {
            held = None;
        }
        let at = self.timeline.applied_at(from.0);
        if at < write.begin || write.outcome != Outcome::Unknown && at > write.end {
            return self.object(write, &format!("was first applied at {} ns", at.as_nanos()));
        }
        let time_ms = self.timeline.time_ms(from.0 + 1);
        let was = held.clone();
        let outcome = change(&mut held, &write.call, time_ms);
        if write.outcome != Outcome::Unknown && write.outcome != outcome {
            return self.object(
                write,
                &format!("should have answered {outcome:?}: at its time {time_ms} the key holds {was:?}"),
            );
        }
        versions.push(Version { from, held });
        Ok(())
    }

    fn judge_read(
        &self,
        read: &ExpiringOperation,
        versions: &[Version],
        healthy: Option<&Healthy>,
    ) -> Result<(), Violation> {
        // What some replica has applied is committed, and every leader knows of it.
        let first = self.timeline.applied_count(read.begin);
        let last = self.timeline.applied_count(read.end);
        let mut candidates = Vec::new();
        for (idx, version) in versions.iter().enumerate() {
            // It may be the answer while its batch and those behind it are the last, and at a place within the batch
            // that ends it.
            let ends = versions.get(idx + 1).map(|next| next.from);
            let from = if idx == 0 { 0 } else { version.from.0 + 1 };
            let (from, to) = (from.max(first), ends.map_or(last, |position| (position.0 + 1).min(last)));
            let has_passed = ends.is_some_and(|position| position.0 < first);
            if from <= to && !has_passed {
                let flush = self
                    .timeline
                    .flush_between(version.from, ends.map_or((last, 0), |position| position.min((last, 0))));
                candidates.push((version, self.timeline.time_ms(from), self.timeline.time_ms(to), flush));
            }
        }
        let latest_ms = self.clocks.reach_ms(read.end) + ROUNDING_MS;
        let explains = |(version, first_ms, last_ms, flush): &(&Version, u64, u64, Option<CommandPosition>)| {
            let may_be_gone = flush.is_some() || version.held.as_ref().is_none_or(|held| !held.lives(*last_ms));
            if may_be_gone && is_answer_of_nothing(&read.call, &read.outcome) {
                return true;
            }
            let lives = |held: &&Held| held.lives(*first_ms) && !flush.is_some_and(|position| position.0 < first);
            let lives = version.held.as_ref().filter(lives);
            lives.is_some_and(|held| is_answer_of(held, &read.call, &read.outcome, (*first_ms, latest_ms)))
        };
        let explained: Vec<_> = candidates.iter().filter(|candidate| explains(candidate)).collect();
        if explained.is_empty() {
            let mut what = format!("is not explained by what the key was in batches {first} to {last}:");
            for (version, first_ms, last_ms, flush) in &candidates {
                let Version { from, held } = version;
                what += &format!("\n    {held:?} from {from:?} on, at {first_ms} to {last_ms}, removed by {flush:?}");
            }
            return self.object(read, &what);
        }
        let settled = healthy.filter(|healthy| read.begin >= healthy.healed + SETTLED_AFTER);
        if settled.is_none() || is_answer_of_nothing(&read.call, &read.outcome) {
            return Ok(());
        }
        let clock_ms = self.clocks.slowest_before_ms(read.begin, CLOCK_AGE_MAX);
        let is_due = |held: &Held| !held.lives(clock_ms);
        if explained.iter().all(|(version, ..)| version.held.as_ref().is_some_and(is_due)) {
            return self
                .object(read, &format!("tells of a key that was due by every clock, which all showed {clock_ms}"));
        }
        Ok(())
    }

    /// What was due by every clock long ago is gone, though nobody has asked for it.
    fn judge_end(&self, versions: &[Version], healthy: &Healthy) -> Result<(), Violation> {
        let at = healthy.since + GONE_WITHIN;
        let applied_count = self.timeline.applied_count(at);
        let next = versions.partition_point(|version| version.from.0 < applied_count);
        let version = &versions[next.max(1) - 1];
        let Some(held) = &version.held else { return Ok(()) };
        let is_flushed = self.timeline.flush_between(version.from, (applied_count, 0)).is_some();
        let due_ms = self.clocks.slowest_before_ms(at, GONE_WITHIN);
        let time_ms = self.timeline.time_ms(applied_count);
        if is_flushed || held.lives(due_ms) || !held.lives(time_ms) {
            return Ok(());
        }
        let (key, at) = (self.key.escape_ascii(), at.as_nanos());
        Err(Violation::new(
            NAME,
            format_args!(
                "at {at} ns {key} is still there, since the time of its group is {time_ms}; all clocks showed {due_ms} \
                 {GONE_WITHIN:?} before, and it is {held:?}"
            ),
        ))
    }

    fn object<T>(&self, operation: &ExpiringOperation, what: &str) -> Result<T, Violation> {
        let ExpiringOperation { client, begin, end, key, call, outcome } = operation;
        let (key, begin, end) = (key.escape_ascii(), begin.as_nanos(), end.as_nanos());
        let message = format!("client {client}, {begin} to {end} ns: {call:?} on {key} -> {outcome:?} {what}");
        Err(Violation::new(NAME, message))
    }
}

fn is_failed(operation: &ExpiringOperation) -> bool {
    matches!(operation.outcome, Outcome::NotApplied | Outcome::Unknown)
}
