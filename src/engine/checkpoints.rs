//! Checkpoints: when one is due, writing it beside the turns, and letting the log before it go.
//!
//! One is written at a time per core. Its keys are copied in the turns, a little in each; tasks write them. It counts
//! once the file has its name and its log entries are durable here, and only then may the log shrink.

use std::cell::RefCell;
use std::rc::Rc;

use host::{AlignedBuf, TaskClass};
use types::{GroupId, Index, Instant, Term};
use wire::Membership;

use crate::checkpoint::{self, FileHeader, FileId, Paths, Sealer};
use crate::cluster_map::MAP_GROUP;
use crate::core::{Core, CoreHost};
use crate::error::Error;
use crate::limits::{
    CHECKPOINT_BYTES_PER_SECOND_MAX, CHECKPOINT_PAYLOADS_MAX, CHECKPOINT_TURN_BYTES, CHECKPOINT_WALKED_BYTES_MAX,
};
use crate::watch::Event;

/// How long to wait after a checkpoint could not be written (a full disk, most likely).
const RETRY_AFTER: std::time::Duration = std::time::Duration::from_secs(5);
/// How much is applied between two places at which the log could be cut, in bytes.
const CUT_EVERY_BYTES: u64 = 64 << 10;

/// The checkpoint that a group has on disk.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) last_index: Index,
    pub(crate) last_term: Term,
    /// The members as of that entry.
    pub(crate) membership: Membership,
    /// Whether it turned out not to be what was written. Another one is due then, even of the same entry.
    pub(crate) is_damaged: bool,
}

impl Held {
    /// A sound one.
    pub(crate) fn new(last_index: Index, last_term: Term, membership: Membership) -> Held {
        Held { last_index, last_term, membership, is_damaged: false }
    }
}

/// How much of a group's log its state has taken in, and where it could be cut.
#[derive(Default)]
pub(crate) struct LogSize {
    /// Bytes of entries applied since the start.
    applied_bytes: u64,
    /// That number at the last checkpoint.
    at_checkpoint: u64,
    /// Some of the entries applied, ascending, and how many bytes had been applied with them.
    cuts: std::collections::VecDeque<(Index, u64)>,
}

impl LogSize {
    /// An entry was applied.
    pub(crate) fn applied(&mut self, index: Index, payload_bytes: usize) {
        const ENTRY_OVERHEAD_BYTES: u64 = 64;
        self.applied_bytes += payload_bytes as u64 + ENTRY_OVERHEAD_BYTES;
        if self.cuts.back().is_none_or(|(_, bytes)| self.applied_bytes - bytes >= CUT_EVERY_BYTES) {
            self.cuts.push_back((index, self.applied_bytes));
        }
    }

    /// Bytes of entries applied since the last checkpoint.
    pub(crate) fn behind_checkpoint(&self) -> u64 {
        self.applied_bytes - self.at_checkpoint
    }

    /// The last entry at which the log can be cut so that at least `tail_bytes` of the entries up to `last` remain.
    fn cut(&mut self, last: Index, tail_bytes: u64) -> Option<Index> {
        let count = self.cuts.partition_point(|(index, _)| *index <= last);
        let end = self.cuts.get(count.checked_sub(1)?)?.1;
        let far = self.cuts.partition_point(|(index, bytes)| *index <= last && bytes + tail_bytes <= end);
        let cut = self.cuts.get(far.checked_sub(1)?)?.0;
        self.cuts.drain(..far);
        Some(cut)
    }
}

/// The end of something a task did for a checkpoint, left for the next turn.
pub(crate) struct CheckpointDone<F> {
    /// Which checkpoint of this core it was for.
    number: u64,
    result: std::io::Result<Step<F>>,
}

enum Step<F> {
    /// The file is there and begins as it should.
    Begun { file: F, sealer: Sealer },
    /// A block of keys is written.
    Written { sealer: Sealer },
    /// The footer is written; the file is so long.
    Ended { bytes: u64 },
    /// The file has its name.
    Named,
}

/// The checkpoint that is being written.
pub(crate) struct Writing<F> {
    number: u64,
    pub(crate) group: usize,
    paths: Paths,
    file_id: FileId,
    last_term: Term,
    membership: Membership,
    stage: Stage<F>,
    /// Bytes of the group's log that it covers.
    covers_bytes: u64,
    begun_at: Instant,
    bytes: u64,
}

enum Stage<F> {
    /// The file is being made.
    Begun,
    /// Keys are copied and written. `sealer` is away while a task writes.
    Keys { file: F, sealer: Option<Sealer>, is_walked: bool },
    /// The footer is being written.
    Ending,
    /// All is written; the log must be durable as far.
    Waiting,
    /// It is being renamed.
    Naming,
    /// Something failed: what is left to be seen of the state is only marked.
    GivenUp,
}

/// The checkpoints of a core.
pub(crate) struct Checkpoints<F> {
    pub(crate) writing: Option<Writing<F>>,
    done: Rc<RefCell<Vec<CheckpointDone<F>>>>,
    next_number: u64,
    /// Not before this is another one begun.
    not_before: Instant,
}

impl<F> Checkpoints<F> {
    pub(crate) fn new() -> Checkpoints<F> {
        Checkpoints {
            writing: None,
            done: Rc::new(RefCell::new(Vec::new())),
            next_number: 1,
            not_before: Instant::ZERO,
        }
    }
}

impl<H: CoreHost> Core<H> {
    /// Begins a checkpoint if one is due. Called at each tick.
    pub(crate) fn tick_checkpoints(&mut self) -> Result<(), Error> {
        self.relieve_log()?;
        self.drop_unreadable()?;
        if self.checkpoints.writing.is_some() || self.now < self.checkpoints.not_before || self.is_stopping() {
            return Ok(());
        }
        let due = self.damaged_group().or_else(|| self.unreadable_group());
        let due = due.or_else(|| self.pinning_group()).or_else(|| self.longest_group());
        if let Some(idx) = due {
            self.begin_checkpoint(idx);
        }
        Ok(())
    }

    /// Bytes of the segments that hold this core's log.
    fn log_bytes(&self) -> u64 {
        self.wal.stats().segments_used * self.config.segment_bytes
    }

    /// While the log is too long: cuts it as far as checkpoints allow, whatever slow followers may want.
    fn relieve_log(&mut self) -> Result<(), Error> {
        if self.log_bytes() <= self.config.log_bytes_max {
            return Ok(());
        }
        for (group, pinned) in self.wal.pins() {
            let Some(idx) = self.routes.local_of(group) else { continue };
            let offered = self.groups[idx].raft.snapshot().map_or(0, |snapshot| snapshot.last_index);
            if offered >= pinned {
                self.compact(idx, pinned)?;
            }
        }
        Ok(())
    }

    /// Lets log go that cannot be read, where a checkpoint stands in for it: whoever needs it is handed that.
    fn drop_unreadable(&mut self) -> Result<(), Error> {
        for idx in 0..self.groups.len() {
            let group = &mut self.groups[idx];
            if group.unreadable_to == 0 {
                continue;
            }
            let offered = group.raft.snapshot().map_or(0, |snapshot| snapshot.last_index);
            if offered >= group.unreadable_to {
                let index = std::mem::take(&mut group.unreadable_to);
                tracing::warn!(group = %group.id, index, "log that cannot be read is let go: the checkpoint holds it");
                self.compact(idx, index)?;
            }
        }
        Ok(())
    }

    /// A group that has no checkpoint any more, as the one on disk is damaged.
    fn damaged_group(&self) -> Option<usize> {
        let is_damaged = |idx: &usize| self.groups[*idx].checkpoint.as_ref().is_some_and(|held| held.is_damaged);
        (0..self.groups.len()).find(|idx| is_damaged(idx) && self.can_checkpoint(*idx))
    }

    /// A group whose log cannot be read as far as its checkpoint should reach.
    fn unreadable_group(&self) -> Option<usize> {
        let is_due = |idx: &usize| {
            let group = &self.groups[*idx];
            group.unreadable_to > group.checkpoint_index()
                && group.raft.applied_index() >= group.unreadable_to
                && self.can_checkpoint(*idx)
        };
        (0..self.groups.len()).find(is_due)
    }

    /// A group that keeps the oldest segment of a log that is too long, and could let it go with a new checkpoint.
    fn pinning_group(&self) -> Option<usize> {
        if self.log_bytes() <= self.config.log_bytes_max {
            return None;
        }
        let pins = self.wal.pins();
        let idx_of = |group: GroupId| self.routes.local_of(group);
        pins.iter().filter_map(|(group, pinned)| Some((idx_of(*group)?, *pinned))).find_map(|(idx, pinned)| {
            let group = &self.groups[idx];
            let covered = group.checkpoint_index();
            (covered < pinned && self.can_checkpoint(idx)).then_some(idx)
        })
    }

    /// The group with the longest log behind its checkpoint, if that is longer than it should be: than its limit, and
    /// than the state itself, which would be written more often than the log otherwise.
    fn longest_group(&self) -> Option<usize> {
        let is_due = |idx: &usize| {
            let group = &self.groups[*idx];
            let behind = group.log_size.behind_checkpoint();
            behind > self.config.group_log_bytes_max
                && behind > group.keyspace.bytes() as u64
                && self.can_checkpoint(*idx)
        };
        (0..self.groups.len()).filter(is_due).max_by_key(|idx| self.groups[*idx].log_size.behind_checkpoint())
    }

    fn can_checkpoint(&self, idx: usize) -> bool {
        let group = &self.groups[idx];
        let covered = group.checkpoint.as_ref().filter(|held| !held.is_damaged).map_or(0, |held| held.last_index);
        group.raft.applied_index() > covered && !self.fetches.is_fetching(group.id)
    }

    fn begin_checkpoint(&mut self, idx: usize) {
        let map = if self.groups[idx].id == MAP_GROUP && self.agreed_map_epoch.is_some() {
            self.config.map.to_bytes()
        } else {
            Vec::new()
        };
        let group = &mut self.groups[idx];
        let last_index = group.raft.applied_index();
        let Some(last_term) = group.raft.term_at(last_index) else { return };
        if !group.keyspace.begin_walk() {
            return;
        }
        // Whoever starts on this checkpoint must come to the same one.
        self.note_digest(idx);
        let group = &mut self.groups[idx];
        let file_id = FileId { group: group.id, last_index };
        let header = FileHeader {
            last_term,
            time_ms: group.time_ms,
            keys_count: group.keyspace.keys_count() as u64,
            membership: group.membership.encode().to_vec(),
            map,
        };
        let paths = Paths::new(&self.config.data_dir, group.id);
        let number = self.checkpoints.next_number;
        self.checkpoints.next_number += 1;
        self.checkpoints.writing = Some(Writing {
            number,
            group: idx,
            paths: paths.clone(),
            file_id,
            last_term,
            membership: group.membership.clone(),
            stage: Stage::Begun,
            covers_bytes: group.log_size.applied_bytes,
            begun_at: self.now,
            bytes: 0,
        });
        let host = self.host.clone();
        self.checkpoint_task(number, async move {
            host.create_dir_all(&paths.dir).await?;
            let file = checkpoint::create(&host, &paths.new).await?;
            let (sealer, block) = Sealer::begin(file_id, &header);
            host.write(&file, 0, block).await?;
            Ok(Step::Begun { file, sealer })
        });
    }

    fn checkpoint_task(&self, number: u64, task: impl Future<Output = std::io::Result<Step<H::File>>> + 'static) {
        let (done, host) = (Rc::clone(&self.checkpoints.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let result = task.await;
            done.borrow_mut().push(CheckpointDone { number, result });
            host.notify();
        });
    }

    /// Goes on with the checkpoint under way. Returns whether there is more to do at once.
    pub(crate) fn drive_checkpoint(&mut self) -> Result<bool, Error> {
        let Some(number) = self.checkpoints.writing.as_ref().map(|writing| writing.number) else { return Ok(false) };
        let all_done = self.checkpoints.done.take();
        // What was begun for a checkpoint that was dropped since concerns nobody.
        for done in all_done.into_iter().filter(|done| done.number == number) {
            match done.result {
                Ok(step) => self.checkpoint_step(step)?,
                Err(error) => self.checkpoint_failed(&error),
            }
        }
        let Some(mut writing) = self.checkpoints.writing.take() else { return Ok(false) };
        let group = &mut self.groups[writing.group];
        let mut is_busy = false;
        match &mut writing.stage {
            Stage::Begun | Stage::Ending | Stage::Naming => {}
            Stage::Keys { file, sealer, is_walked } => {
                let waiting = group.keyspace.walked().map_or(0, |former| former.closed_count());
                if !*is_walked && waiting < CHECKPOINT_PAYLOADS_MAX {
                    *is_walked = group.keyspace.go_on_walking(CHECKPOINT_TURN_BYTES);
                    is_busy = !*is_walked;
                }
                let former = group.keyspace.walked().expect("a walk lasts until its footer is written");
                if let Some(sealing) = sealer.take() {
                    let (file, begun_at) = (file.clone(), writing.begun_at);
                    if let Some(payload) = former.take_closed() {
                        self.write_keys(number, file, sealing, payload, begun_at);
                    } else if *is_walked {
                        let keys_count = former.keys_count();
                        group.keyspace.end_walk();
                        writing.stage = Stage::Ending;
                        self.write_end_of(number, file, sealing, keys_count);
                    } else {
                        *sealer = Some(sealing);
                    }
                }
            }
            Stage::Waiting => {
                if group.raft.durable_index() >= writing.file_id.last_index {
                    writing.stage = Stage::Naming;
                    let (host, paths) = (self.host.clone(), writing.paths.clone());
                    self.checkpoint_task(number, async move {
                        host.rename(&paths.new, &paths.checkpoint).await?;
                        Ok(Step::Named)
                    });
                }
            }
            Stage::GivenUp => {
                if group.keyspace.go_on_walking(CHECKPOINT_TURN_BYTES) {
                    group.keyspace.end_walk();
                    return Ok(false);
                }
                is_busy = true;
            }
        }
        self.checkpoints.writing = Some(writing);
        Ok(is_busy)
    }

    fn write_keys(&self, number: u64, file: H::File, mut sealer: Sealer, payload: AlignedBuf, begun_at: Instant) {
        let host = self.host.clone();
        self.checkpoint_task(number, async move {
            let offset = sealer.offset();
            let block = sealer.seal_keys(payload);
            host.write(&file, offset, block).await?;
            // The disk is the log's in the first place.
            let due = std::time::Duration::from_micros(sealer.offset() * 1_000_000 / CHECKPOINT_BYTES_PER_SECOND_MAX);
            if host.now() < begun_at + due {
                host.sleep_until(begun_at + due).await;
            }
            Ok(Step::Written { sealer })
        });
    }

    fn write_end_of(&self, number: u64, file: H::File, sealer: Sealer, keys_count: u64) {
        let host = self.host.clone();
        self.checkpoint_task(number, async move {
            let offset = sealer.offset();
            let block = sealer.end(keys_count);
            let bytes = offset + block.len() as u64;
            host.write(&file, offset, block).await?;
            Ok(Step::Ended { bytes })
        });
    }

    fn checkpoint_step(&mut self, step: Step<H::File>) -> Result<(), Error> {
        let Some(writing) = &mut self.checkpoints.writing else { return Ok(()) };
        match (step, &mut writing.stage) {
            (Step::Begun { file, sealer }, Stage::Begun) => {
                writing.stage = Stage::Keys { file, sealer: Some(sealer), is_walked: false };
            }
            (Step::Written { sealer: back }, Stage::Keys { sealer, .. }) => *sealer = Some(back),
            (Step::Ended { bytes }, Stage::Ending) => {
                writing.bytes = bytes;
                writing.stage = Stage::Waiting;
            }
            (Step::Named, Stage::Naming) => return self.checkpoint_named(),
            _ => panic!("a checkpoint's task has done what was not asked of it"),
        }
        Ok(())
    }

    /// The checkpoint stands: the log before it may go.
    fn checkpoint_named(&mut self) -> Result<(), Error> {
        let Some(writing) = self.checkpoints.writing.take() else { return Ok(()) };
        let (idx, last_index) = (writing.group, writing.file_id.last_index);
        let elapsed = self.now.since(writing.begun_at);
        self.stats.checkpoints_written += 1;
        self.stats.checkpoint_bytes_written += writing.bytes;
        self.stats.checkpoint_last_ms = elapsed.as_millis() as u64;
        tracing::debug!(group = %self.groups[idx].id, last_index, bytes = writing.bytes, ?elapsed, "checkpoint");
        let group = &mut self.groups[idx];
        group.log_size.at_checkpoint = writing.covers_bytes;
        self.hold(idx, Held::new(last_index, writing.last_term, writing.membership));
        let tail_bytes = self.config.log_tail_bytes_max;
        // What Raft does not offer yet is still ahead of the state here: then the log stays as it is.
        let offered = self.groups[idx].raft.snapshot().map_or(0, |snapshot| snapshot.last_index);
        match self.groups[idx].log_size.cut(last_index.min(offered), tail_bytes) {
            Some(index) => {
                let wanted = self.serving.oldest_wanted(self.groups[idx].id, self.now);
                self.compact(idx, wanted.map_or(index, |wanted| wanted.min(index)))
            }
            None => Ok(()),
        }
    }

    /// A checkpoint of the group has its name on disk.
    pub(crate) fn hold(&mut self, idx: usize, held: Held) {
        let group = &mut self.groups[idx];
        group.checkpoint = Some(held);
        group.offer_checkpoint();
        self.mark_dirty(idx);
    }

    /// Lets a group's log up to `index` go, which a checkpoint covers.
    fn compact(&mut self, idx: usize, index: Index) -> Result<(), Error> {
        let group = &mut self.groups[idx];
        let id = group.id;
        if index <= group.raft.base_index() {
            return Ok(());
        }
        group.raft.compact(index);
        self.wal.compact(id, index).map_err(|source| self.wal_error(source))?;
        self.note(idx, Event::Compacted(index));
        Ok(())
    }

    /// Writing has failed: everything stays as it was, and another attempt is made later.
    fn checkpoint_failed(&mut self, error: &std::io::Error) {
        let Some(writing) = &mut self.checkpoints.writing else { return };
        let idx = writing.group;
        tracing::warn!(group = %self.groups[idx].id, %error, "a checkpoint could not be written; it is tried again");
        writing.stage = Stage::GivenUp;
        self.checkpoints.not_before = self.now + RETRY_AFTER;
        self.stats.checkpoints_failed += 1;
        let (host, path) = (self.host.clone(), writing.paths.new.clone());
        self.groups[idx].keyspace.give_up_walk();
        self.host.spawn(TaskClass::Background, async move {
            // It would only keep the disk full. The next attempt begins by removing it too.
            let _ = host.remove(&path).await;
        });
    }

    /// Whether copies for a checkpoint pile up because the disk does not take them.
    pub(crate) fn checkpoint_is_behind(&self) -> bool {
        self.checkpoints
            .writing
            .as_ref()
            .is_some_and(|writing| self.groups[writing.group].keyspace.walked_bytes() > CHECKPOINT_WALKED_BYTES_MAX)
    }
}
