//! What the log of a group tells of time and of keys that expire.

use std::collections::BTreeMap;

use resp::CommandId;
use types::{Index, Instant, Term};
use wire::Batch;

use crate::history::{EXPIRING_PREFIX, Text};

/// How many batches were applied before, and how many commands of the batch behind them: where a command stands.
pub(super) type CommandPosition = (usize, usize);

/// A command on a key that expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LoggedCommand {
    pub(super) position: CommandPosition,
    pub(super) id: CommandId,
    /// What follows the key.
    pub(super) rest: Vec<Text>,
}

#[derive(Clone, Copy, Debug)]
struct AppliedBatch {
    /// When a replica first applied it.
    at: Instant,
    /// Replicated time behind it.
    time_ms: u64,
}

/// The batches of a group in their order.
#[derive(Clone, Debug, Default)]
pub(super) struct Timeline {
    /// Term and index of the last batch applied, and the time that it states.
    last: (Term, Index),
    last_stated_ms: u64,
    batches: Vec<AppliedBatch>,
    commands: BTreeMap<Text, Vec<LoggedCommand>>,
    flushes: Vec<CommandPosition>,
}

impl Timeline {
    /// A replica has applied a batch of this term and index. Only the first one to do so tells anything new.
    ///
    /// The times that a leader states never go back. Those of its successor may: it need not have applied all that it has in its
    /// log when it states the first one. Replicated time is the latest of all.
    ///
    /// # Errors
    /// Its time contradicts that of an earlier batch, or the clocks, which allow `reach_ms`.
    pub(super) fn apply(
        &mut self,
        at: Instant,
        (term, index): (Term, Index),
        payload: &[u8],
        reach_ms: u64,
    ) -> Result<(), String> {
        if index <= self.last.1 {
            return Ok(());
        }
        let batch = Batch::access(payload).map_err(|error| format!("has applied entry {index}: {error}"))?;
        let (time_ms, last_ms) = (batch.time_ms(), self.last_stated_ms);
        if time_ms < last_ms && term == self.last.0 {
            return Err(format!(
                "has applied entry {index}, whose time {time_ms} is before {last_ms}, stated earlier"
            ));
        }
        if time_ms > reach_ms {
            return Err(format!(
                "has applied entry {index}, whose time {time_ms} is beyond {reach_ms}, the furthest that any clock can have led it to"
            ));
        }
        (self.last, self.last_stated_ms) = ((term, index), time_ms);
        self.take_commands(&batch).map_err(|error| format!("has applied entry {index}: {error}"))?;
        let time_ms = time_ms.max(self.time_ms(self.batches.len()));
        self.batches.push(AppliedBatch { at, time_ms });
        Ok(())
    }

    fn take_commands(&mut self, batch: &Batch<'_>) -> Result<(), wire::BatchError> {
        let (batches_count, bytes, mut ordinal) = (self.batches.len(), batch.arguments(), 0);
        let Timeline { commands, flushes, .. } = self;
        batch.for_each(|command, arguments| {
            let position = (batches_count, ordinal);
            ordinal += 1;
            let Some(id) = CommandId::from_u16(command.id) else { return };
            let mut arguments = arguments.map(|(start, end)| &bytes[start as usize..end as usize]);
            if id == CommandId::FlushAll {
                return flushes.push(position);
            }
            let Some(key) = arguments.next().filter(|key| key.starts_with(EXPIRING_PREFIX)) else { return };
            let rest = arguments.map(Text::copy_from_slice).collect();
            commands.entry(Text::copy_from_slice(key)).or_default().push(LoggedCommand { position, id, rest });
        })
    }

    /// Whether a command on a key stands in this log.
    pub(super) fn names(&self, key: &Text) -> bool {
        self.commands.contains_key(key)
    }

    /// The commands on a key.
    pub(super) fn commands(&self, key: &Text) -> &[LoggedCommand] {
        self.commands.get(key).map_or(&[], |commands| commands)
    }

    /// Whether everything was removed between two places.
    pub(super) fn flush_between(&self, first: CommandPosition, last: CommandPosition) -> Option<CommandPosition> {
        let next = self.flushes.partition_point(|position| *position < first);
        self.flushes.get(next).copied().filter(|position| *position < last)
    }

    /// Replicated time behind so many batches.
    pub(super) fn time_ms(&self, batches_count: usize) -> u64 {
        let last = batches_count.checked_sub(1).and_then(|idx| self.batches.get(idx));
        last.map_or(0, |batch| batch.time_ms)
    }

    /// How many batches some replica had applied by a moment.
    pub(super) fn applied_count(&self, by: Instant) -> usize {
        self.batches.partition_point(|batch| batch.at <= by)
    }

    /// When a replica first applied the batch behind so many others.
    pub(super) fn applied_at(&self, batches_before: usize) -> Instant {
        self.batches.get(batches_before).map_or(Instant::NEVER, |batch| batch.at)
    }
}
