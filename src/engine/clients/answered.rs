//! The commands that a turn has answered, for how long each of them took: from being taken in to its reply being written.

use resp::CommandId;
use types::Instant;

use crate::clients::reply_queue::Timing;

/// Commands that were answered since the last turn's end. Those of a pipeline that came and were answered together are one run.
///
/// Invariant: no more runs than replies of one turn; the memory is used again.
#[derive(Default)]
pub(super) struct Answered {
    runs: Vec<(Timing, u64)>,
}

impl Answered {
    /// A request was answered.
    #[inline]
    pub(super) fn push(&mut self, timing: Timing) {
        match self.runs.last_mut() {
            Some((last, count)) if *last == timing => *count += 1,
            _ => self.runs.push((timing, 1)),
        }
    }

    /// Takes out all of them: which command, when it was taken in, and how many of that there are. Those that are not timed are left out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (CommandId, Instant, u64)> {
        self.runs.drain(..).filter_map(|(timing, count)| Some((timing.command?, timing.since, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_came_together_are_one_run_and_refused_ones_none() {
        let timing = |command, micros: u64| Timing { command, since: Instant::from_nanos(micros * 1_000) };
        let mut answered = Answered::default();
        for (command, since, count) in
            [(Some(CommandId::Get), 1, 16), (None, 1, 3), (Some(CommandId::Get), 2, 2), (Some(CommandId::Set), 2, 1)]
        {
            (0..count).for_each(|_| answered.push(timing(command, since)));
        }
        assert_eq!(answered.runs.len(), 4);
        let taken: Vec<_> = answered.drain().map(|(id, since, count)| (id, since.as_nanos(), count)).collect();
        assert_eq!(taken, [(CommandId::Get, 1_000, 16), (CommandId::Get, 2_000, 2), (CommandId::Set, 2_000, 1)]);
        assert_eq!(answered.drain().count(), 0);
    }
}
