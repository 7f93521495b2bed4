//! How long each stage of a command takes: what INFO's section Stages and `/metrics` show.
//!
//! No clock is read per command. A write's stages are those of its batch, its entry and its block: whoever moves these on knows the
//! turn's time, and what ends as replies are written ends when the turn has done that, at one time for all ([`Stages::end_turn`]).
//!
//! ```text
//!  first command comes   proposed          a majority has it   applied, replies written
//!         |---- batch ------|------ commit -------|------ apply ------|
//!         |                 |---- durable ---|-- quorum --|           |
//!         |                 |log_queue|log_write|                     |
//!         |------------------------- write ---------------------------|
//! ```

use std::time::Duration;

use types::Instant;

use crate::observe::distribution::Distribution;

/// Times longer than this are not told apart, in microseconds.
pub(crate) const STAGE_US_MAX: u64 = 60_000_000;
/// Sizes above this are not told apart.
const SIZE_MAX: u64 = 64 << 20;

/// Declares stages or sizes once, each with its name and what it is, and from that the list of all.
macro_rules! measured {
    ($(#[$doc:meta])* $set:ident { $($item:ident: $name:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $set {
            $(#[doc = $help] $item,)*
        }

        impl $set {
            /// All of them, in the order in which they are shown.
            pub(crate) const ALL: &[$set] = &[$($set::$item,)*];

            /// Its name in INFO and `/metrics`.
            pub(crate) fn name(self) -> &'static str {
                match self {
                    $($set::$item => $name,)*
                }
            }
        }
    };
}

measured! {
    /// A stage that a command, its batch, its entry or its block goes through.
    Stage {
        Throttled: "throttled", "A client's next command waits for room: its own, its group's or memory.";
        Batch: "batch", "From the first command of a batch coming to the batch being proposed.";
        LogQueue: "log_queue", "From the first record of a block of the log to the block being handed to the disk.";
        LogWrite: "log_write", "From a block of the log being handed to the disk to the core knowing that it is durable.";
        Durable: "durable", "From a batch being proposed to its entry being durable here.";
        Quorum: "quorum", "From an entry being durable here to a majority having it: others are waited for.";
        Commit: "commit", "From a batch being proposed to a majority having it.";
        Apply: "apply", "From a batch being committed to its replies being written.";
        ApplyRows: "apply_rows", "A group that applies waits for rows from the disk.";
        Write: "write", "From the first command of a batch coming to the replies of the batch being written.";
        ReadAtOnce: "read_at_once", "A read is answered from memory in the turn in which it came.";
        ReadIndex: "read_index", "A read waits for a majority to confirm the leader, and is answered.";
        ReadBehind: "read_behind", "A read waits, under a lease, for what came before it, and is answered.";
        ReadInBatch: "read_in_batch", "A read takes a place in a batch, and is answered when that is applied.";
        ReadRows: "read_rows", "A read waits for rows from the disk, and is answered.";
        Forwarded: "forwarded", "A command is sent to the core that leads its group, and its reply comes back.";
    }
}

measured! {
    /// A size of what is done at once.
    Size {
        BatchCommands: "batch_commands", "Commands of a batch.";
        BatchBytes: "batch_bytes", "Bytes of a batch.";
        BlockBytes: "block_bytes", "Bytes of a block of the log.";
        Proposals: "proposals", "Batches of a group that are proposed and not applied, as another is proposed.";
        TurnCommands: "turn_commands", "Commands that a turn takes in from clients, of turns that take any.";
    }
}

/// What was measured of each stage and size, of a core or of all cores of a node.
#[derive(Clone, Debug)]
pub(crate) struct StageStats {
    /// In microseconds, in the order of [`Stage::ALL`].
    stages: Vec<Distribution>,
    /// In the order of [`Size::ALL`].
    sizes: Vec<Distribution>,
}

impl Default for StageStats {
    fn default() -> StageStats {
        let of = |count: usize, max| std::iter::repeat_with(|| Distribution::new(max)).take(count).collect();
        StageStats { stages: of(Stage::ALL.len(), STAGE_US_MAX), sizes: of(Size::ALL.len(), SIZE_MAX) }
    }
}

impl StageStats {
    /// How long a stage took, in microseconds.
    pub(crate) fn stage(&self, stage: Stage) -> &Distribution {
        &self.stages[stage as usize]
    }

    /// How often each size came.
    pub(crate) fn size(&self, size: Size) -> &Distribution {
        &self.sizes[size as usize]
    }

    /// Adds what another core of the node has measured.
    pub(crate) fn merge(&mut self, other: &StageStats) {
        self.stages.iter_mut().zip(&other.stages).for_each(|(mine, theirs)| mine.merge(theirs));
        self.sizes.iter_mut().zip(&other.sizes).for_each(|(mine, theirs)| mine.merge(theirs));
    }

    /// Bytes of memory that it takes.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.stages.iter().chain(&self.sizes).map(Distribution::bytes).sum()
    }
}

/// Some that are in one stage since the same time, and end with the turn's replies.
#[derive(Clone, Copy, Debug)]
struct Run {
    stage: Stage,
    since: Instant,
    count: u64,
}

/// Measures the stages of a core.
#[derive(Debug)]
pub(crate) struct Stages {
    stats: StageStats,
    /// What ends as the replies of this turn are written. Invariant: no more than commands and batches of one turn; empty between turns.
    runs: Vec<Run>,
    /// What takes this long or longer is told by [`Stages::take_long`].
    long_min: Duration,
    /// The longest of each stage in this turn, in the order of [`Stage::ALL`], if one was long.
    long: Option<[Duration; Stage::ALL.len()]>,
}

impl Stages {
    /// Stages that take so long are long.
    pub(crate) fn new(long_min: Duration) -> Stages {
        Stages { stats: StageStats::default(), runs: Vec::new(), long_min, long: None }
    }

    /// From now on stages that take so long are long.
    pub(crate) fn set_long_min(&mut self, long_min: Duration) {
        self.long_min = long_min;
    }

    /// A stage took so long.
    #[inline]
    pub(crate) fn record(&mut self, stage: Stage, took: Duration) {
        self.record_count(stage, took, 1);
    }

    fn record_count(&mut self, stage: Stage, took: Duration, count: u64) {
        self.stats.stages[stage as usize].record(took.as_nanos() as u64 / 1_000, count);
        if took >= self.long_min {
            self.note_long(stage, took);
        }
    }

    #[cold]
    fn note_long(&mut self, stage: Stage, took: Duration) {
        let longest = &mut self.long.get_or_insert_default()[stage as usize];
        *longest = took.max(*longest);
    }

    /// Stages that were long since this was last called, each with the longest of it.
    pub(crate) fn take_long(&mut self) -> impl Iterator<Item = (Stage, Duration)> {
        let long = self.long.take().into_iter().flatten();
        Stage::ALL.iter().copied().zip(long).filter(|(_, took)| !took.is_zero())
    }

    /// A size came up.
    #[inline]
    pub(crate) fn record_size(&mut self, size: Size, value: usize) {
        self.stats.sizes[size as usize].record(value as u64, 1);
    }

    /// A stage that has begun then ends as the replies of this turn are written.
    #[inline]
    pub(crate) fn ends_with_turn(&mut self, stage: Stage, since: Instant) {
        self.end_with_turn(stage, since, 1);
    }

    /// The same of so many that have begun at the same time.
    #[inline]
    pub(crate) fn end_with_turn(&mut self, stage: Stage, since: Instant, count: u64) {
        match self.runs.last_mut() {
            Some(last) if last.stage == stage && last.since == since => last.count += count,
            _ => self.runs.push(Run { stage, since, count }),
        }
    }

    /// The replies of the turn are written.
    pub(crate) fn end_turn(&mut self, now: Instant) {
        let mut runs = std::mem::take(&mut self.runs);
        for Run { stage, since, count } in runs.drain(..) {
            self.record_count(stage, now.since(since), count);
        }
        self.runs = runs;
    }

    /// What was measured.
    pub(crate) fn stats(&self) -> &StageStats {
        &self.stats
    }

    /// CONFIG RESETSTAT.
    pub(crate) fn reset(&mut self) {
        let StageStats { stages, sizes } = &mut self.stats;
        stages.iter_mut().chain(sizes).for_each(Distribution::reset);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_nanos(micros * 1_000)
    }

    #[test]
    fn what_ends_with_the_replies_of_a_turn_ends_at_one_time() {
        let mut stages = Stages::new(Duration::MAX);
        stages.ends_with_turn(Stage::ReadAtOnce, at(10));
        stages.ends_with_turn(Stage::ReadAtOnce, at(10));
        stages.end_with_turn(Stage::ReadInBatch, at(4), 3);
        stages.ends_with_turn(Stage::ReadAtOnce, at(20));
        assert_eq!(stages.runs.len(), 3, "those that came together are counted together");
        stages.end_turn(at(30));
        let of = |stage| (stages.stats().stage(stage).count(), stages.stats().stage(stage).sum());
        assert_eq!(of(Stage::ReadAtOnce), (3, 50));
        assert_eq!(of(Stage::ReadInBatch), (3, 78));
        assert_eq!(of(Stage::Write), (0, 0));
        stages.end_turn(at(40));
        assert_eq!(stages.stats().stage(Stage::ReadAtOnce).count(), 3, "each ends once");
    }

    #[test]
    fn a_node_adds_up_what_its_cores_have_measured_and_forgets_it_when_told() {
        let (mut one, mut other) = (Stages::new(Duration::MAX), Stages::new(Duration::MAX));
        one.record(Stage::Commit, Duration::from_micros(100));
        other.record(Stage::Commit, Duration::from_micros(300));
        other.record_size(Size::BatchCommands, 16);
        let mut node = one.stats().clone();
        node.merge(other.stats());
        assert_eq!((node.stage(Stage::Commit).count(), node.stage(Stage::Commit).mean()), (2, 200));
        assert_eq!(node.size(Size::BatchCommands).max(), 16);
        other.reset();
        assert_eq!(
            (other.stats().stage(Stage::Commit).count(), other.stats().size(Size::BatchCommands).count()),
            (0, 0)
        );
    }

    #[test]
    fn the_longest_of_each_stage_that_was_long_is_told_once() {
        let mut stages = Stages::new(Duration::from_millis(10));
        for (stage, ms) in [(Stage::Commit, 9), (Stage::LogWrite, 10), (Stage::Apply, 30), (Stage::Apply, 20)] {
            stages.record(stage, Duration::from_millis(ms));
        }
        let ms = |ms| Duration::from_millis(ms);
        let long: Vec<_> = stages.take_long().collect();
        assert_eq!(long, [(Stage::LogWrite, ms(10)), (Stage::Apply, ms(30))]);
        assert_eq!(stages.take_long().count(), 0);
    }

    #[test]
    fn every_name_stands_for_one_thing_and_all_of_it_takes_little_memory() {
        let stages = Stage::ALL.iter().map(|stage| stage.name());
        let all: Vec<_> = stages.chain(Size::ALL.iter().map(|size| size.name())).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert!(StageStats::default().bytes() < 96 << 10, "{}", StageStats::default().bytes());
    }
}
