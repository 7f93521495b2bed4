//! The files of a log: those in use, and those prepared for it in the background.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::time::Duration;

use host::TaskClass;

use crate::LogHost;
use crate::format::{segment_id, segment_name};
use crate::stats::Stats;

/// How long a failed preparation (full disk) rests before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// What the name of a segment that was set aside ends with.
pub(crate) const SET_ASIDE_SUFFIX: &str = ".set-aside";

/// What the name of a segment ends with that is kept because of quarantined groups.
pub(crate) const DAMAGED_SUFFIX: &str = ".damaged";

/// Whether a file of the log's folder is a segment that was set aside.
pub(crate) fn is_set_aside(name: &str) -> bool {
    let suffixes = [SET_ASIDE_SUFFIX, DAMAGED_SUFFIX];
    suffixes.iter().any(|suffix| name.strip_suffix(suffix).and_then(segment_id).is_some())
}

/// An empty file that comes and goes when nothing but a change of the directory is wanted.
pub(crate) const SCRATCH_NAME: &str = "names.seg";

/// A segment's file. Readers hold it too; it is not used again while they do.
pub(crate) struct SegmentFile<F> {
    pub(crate) id: u64,
    pub(crate) file: F,
}

/// A segment that may hold something needed.
pub(crate) struct Segment<F> {
    pub(crate) id: u64,
    /// Its length; segments of earlier configurations may differ from new ones.
    pub(crate) bytes: u64,
    /// `None` until one is prepared.
    pub(crate) file: Option<Rc<SegmentFile<F>>>,
    /// How many runs of all groups lie in it.
    pub(crate) runs_live: u64,
    /// The disk cannot read a part of it: it is not used again.
    pub(crate) is_unreadable: bool,
    /// It holds damage, or entries of a quarantined group.
    pub(crate) is_evidence: bool,
    /// Block that must be durable before the segment may go: it holds, or follows, the records because of
    /// which nothing in here is needed. Set once `runs_live` is 0 and the log has moved on.
    release_seq: Option<u64>,
}

/// Segments in use, oldest first; the last one is being written. Ids have gaps only where files were lost.
pub(crate) struct SegmentTable<F> {
    segments: VecDeque<Segment<F>>,
}

impl<F> SegmentTable<F> {
    pub(crate) fn new() -> SegmentTable<F> {
        SegmentTable { segments: VecDeque::new() }
    }

    pub(crate) fn push(&mut self, id: u64, bytes: u64, file: Option<Rc<SegmentFile<F>>>) {
        assert!(self.segments.back().is_none_or(|last| last.id < id), "segment ids ascend");
        self.segments.push_back(Segment {
            id,
            bytes,
            file,
            runs_live: 0,
            is_unreadable: false,
            is_evidence: false,
            release_seq: None,
        });
    }

    pub(crate) fn get(&self, id: u64) -> Option<&Segment<F>> {
        self.segments.get(self.position(id)?)
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Segment<F>> {
        let idx = self.position(id)?;
        self.segments.get_mut(idx)
    }

    fn position(&self, id: u64) -> Option<usize> {
        self.segments.binary_search_by_key(&id, |segment| segment.id).ok()
    }

    /// All of them, the oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Segment<F>> {
        self.segments.iter()
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.segments.iter().map(|segment| segment.id).collect()
    }

    /// The segment behind this one.
    pub(crate) fn next_behind(&self, id: u64) -> Option<u64> {
        self.segments.iter().map(|segment| segment.id).find(|other| *other > id)
    }

    /// Notes that something in a segment may help to find out what happened.
    pub(crate) fn keep_as_evidence(&mut self, id: u64) {
        if let Some(segment) = self.get_mut(id) {
            segment.is_evidence = true;
        }
    }

    pub(crate) fn oldest(&self) -> Option<u64> {
        self.segments.front().map(|segment| segment.id)
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }

    /// Bytes of all of them.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    /// The oldest one, which is the first that can go; `None` if it is being written.
    pub(crate) fn oldest_to_go(&self) -> Option<u64> {
        self.oldest().filter(|_| self.segments.len() > 1)
    }

    pub(crate) fn run_added(&mut self, id: u64) {
        self.get_mut(id).expect("runs are added to the segment being written").runs_live += 1;
    }

    pub(crate) fn run_dropped(&mut self, id: u64) {
        let segment = self.get_mut(id).expect("a segment with live runs is in the table");
        segment.runs_live = segment.runs_live.checked_sub(1).expect("each run is dropped once");
    }

    /// Removes the segments behind `id`, which hold nothing, and returns their files, oldest first.
    pub(crate) fn split_behind(&mut self, id: u64) -> Vec<Segment<F>> {
        let keep = self.segments.partition_point(|segment| segment.id <= id);
        self.segments.split_off(keep).into()
    }

    /// Takes the oldest segment out if nothing in it is needed any more: no live run, no reader, and the
    /// records that made it so are durable. `pending_seq` is the last block that holds or will hold a record.
    pub(crate) fn take_free(&mut self, durable_seq: u64, pending_seq: u64) -> Option<Segment<F>> {
        if self.segments.len() < 2 {
            return None;
        }
        let front = self.segments.front_mut()?;
        if front.runs_live > 0 {
            return None;
        }
        let needed = *front.release_seq.get_or_insert(pending_seq);
        let unread = front.file.as_ref().is_none_or(|file| Rc::strong_count(file) == 1);
        if needed <= durable_seq && unread { self.segments.pop_front() } else { None }
    }
}

/// What the background task and the log share.
pub(crate) struct Pool<F> {
    dir: PathBuf,
    segment_bytes: u64,
    ready_target: usize,
    recycled_max: usize,
    /// Prepared segments, ids without gaps behind the last one in use.
    pub(crate) ready: VecDeque<Rc<SegmentFile<F>>>,
    /// Free segments and what becomes of them, oldest first. They leave in this order, so that ids on disk have no
    /// gaps.
    freed: VecDeque<(u64, Fate)>,
    /// Id of the next segment to prepare.
    next_id: u64,
    running: bool,
    /// Whether none is made ahead of its use: room on the disk is for others now.
    is_held: bool,
    /// Whether a block waits for a segment.
    is_awaited: bool,
    /// Files that were kept of quarantined groups are to go.
    has_damaged: bool,
    /// Why the last preparation failed, until enough are there.
    fault: Option<std::io::Error>,
    pub(crate) created: u64,
    pub(crate) recycled: u64,
    pub(crate) removed: u64,
    pub(crate) failures: u64,
}

/// What becomes of a segment in which nothing is needed any more.
#[derive(Clone, Copy)]
enum Fate {
    Reuse,
    /// It has not the right length to be used again.
    Remove,
    /// It keeps its place on the disk, so that nothing else is put there.
    SetAside,
    /// It is kept as long as a group is quarantined.
    KeepDamaged,
}

enum Job {
    Create {
        id: u64,
    },
    Recycle {
        from: u64,
        to: u64,
    },
    Remove {
        id: u64,
    },
    SetAside {
        id: u64,
        suffix: &'static str,
    },
    /// Removes what was kept of quarantined groups.
    RemoveDamaged,
}

impl<F: Clone + 'static> Pool<F> {
    pub(crate) fn new(config: &crate::Config, next_id: u64) -> Pool<F> {
        Pool {
            dir: config.dir.clone(),
            segment_bytes: config.segment_bytes,
            ready_target: 1 + config.reserve_segments,
            recycled_max: config.recycled_segments_max,
            ready: VecDeque::new(),
            freed: VecDeque::new(),
            next_id,
            running: false,
            is_held: false,
            is_awaited: false,
            has_damaged: false,
            fault: None,
            created: 0,
            recycled: 0,
            removed: 0,
            failures: 0,
        }
    }

    /// Adds a segment prepared before.
    pub(crate) fn push_ready(&mut self, file: Rc<SegmentFile<F>>) {
        assert_eq!(file.id, self.next_id, "prepared segments have no gaps");
        self.next_id += 1;
        self.is_awaited = false;
        self.ready.push_back(file);
    }

    /// Adds a segment in which nothing is needed any more.
    pub(crate) fn push_freed(&mut self, segment: &Segment<F>, is_any_quarantined: bool) {
        let fate = match segment {
            Segment { is_evidence: true, .. } if is_any_quarantined => Fate::KeepDamaged,
            Segment { is_unreadable: true, .. } => Fate::SetAside,
            Segment { bytes, .. } if *bytes == self.segment_bytes => Fate::Reuse,
            _ => Fate::Remove,
        };
        self.freed.push_back((segment.id, fate));
    }

    /// No group is quarantined any more.
    pub(crate) fn remove_damaged(&mut self) {
        self.has_damaged = true;
        for (_, fate) in &mut self.freed {
            if matches!(fate, Fate::KeepDamaged) {
                *fate = Fate::Remove;
            }
        }
    }

    /// Takes the next segment that is prepared. If there is none, somebody waits for it.
    pub(crate) fn take_ready(&mut self) -> Option<Rc<SegmentFile<F>>> {
        let taken = self.ready.pop_front();
        self.is_awaited = taken.is_none();
        taken
    }

    /// Says whether segments are to be made only once a block waits for one. Free ones are used again all the same.
    pub(crate) fn hold(&mut self, is_held: bool) {
        self.is_held = is_held;
        self.end_fault();
    }

    /// Whether as many segments are prepared as there should be.
    fn is_complete(&self) -> bool {
        self.ready.len() >= self.ready_target
    }

    /// Whether the disk has room for more segments, as far as is known.
    pub(crate) fn has_room(&self) -> bool {
        self.fault.is_none() && (!self.is_held || self.is_complete())
    }

    pub(crate) fn fault(&self) -> Option<&std::io::Error> {
        self.fault.as_ref()
    }

    /// Forgets why a preparation failed, if that is over. While none is made ahead of its use it is not before all are there.
    fn end_fault(&mut self) {
        if (!self.is_held || self.is_complete()) && self.fault.take().is_some() {
            tracing::info!(dir = %self.dir.display(), "there is room for log segments again");
        }
    }

    pub(crate) fn count(&self, stats: &mut Stats) {
        stats.segments_created = self.created;
        stats.segments_recycled = self.recycled;
        stats.segments_removed = self.removed;
        stats.prepare_failures = self.failures;
    }

    fn work_is_due(&self) -> bool {
        let is_missing = !self.is_complete() && (!self.freed.is_empty() || !self.is_held || self.is_awaited);
        // What is kept for later use is of use to others now.
        let recycled_max = if self.is_held { 0 } else { self.recycled_max };
        // A start would read what lies under the name of a segment, and meet its damage again.
        let has_bad = self.freed.iter().any(|(_, fate)| matches!(fate, Fate::SetAside));
        is_missing || self.freed.len() > recycled_max || self.has_damaged || has_bad
    }

    fn next_job(&mut self) -> Option<Job> {
        if !self.work_is_due() {
            return None;
        }
        if std::mem::take(&mut self.has_damaged) {
            return Some(Job::RemoveDamaged);
        }
        let missing = !self.is_complete();
        Some(match self.freed.pop_front() {
            None => Job::Create { id: self.next_id },
            Some((from, Fate::Reuse)) if missing => Job::Recycle { from, to: self.next_id },
            Some((id, Fate::SetAside)) => Job::SetAside { id, suffix: SET_ASIDE_SUFFIX },
            Some((id, Fate::KeepDamaged)) => Job::SetAside { id, suffix: DAMAGED_SUFFIX },
            Some((id, _)) => Job::Remove { id },
        })
    }

    /// Takes the result of a job in; `false` if it must be tried again after a pause.
    fn settle(&mut self, job: Job, result: std::io::Result<Option<F>>) -> bool {
        match (job, result) {
            (Job::Create { id }, Ok(Some(file))) => {
                self.push_ready(Rc::new(SegmentFile { id, file }));
                self.created += 1;
            }
            (Job::Recycle { to, .. }, Ok(Some(file))) => {
                self.push_ready(Rc::new(SegmentFile { id: to, file }));
                self.recycled += 1;
            }
            (Job::RemoveDamaged, Ok(_)) => return true,
            (_, Ok(_)) => {
                self.removed += 1;
                return true;
            }
            (job, Err(error)) => return self.settle_failure(&job, error),
        }
        self.end_fault();
        true
    }

    fn settle_failure(&mut self, job: &Job, error: std::io::Error) -> bool {
        self.failures += 1;
        match job {
            Job::Remove { id } => self.freed.push_front((*id, Fate::Remove)),
            Job::SetAside { id, suffix } => {
                let fate = if *suffix == DAMAGED_SUFFIX { Fate::KeepDamaged } else { Fate::SetAside };
                self.freed.push_front((*id, fate));
            }
            Job::RemoveDamaged => self.has_damaged = true,
            Job::Recycle { from, .. } => self.freed.push_front((*from, Fate::Reuse)),
            Job::Create { .. } => {}
        }
        let missing = !self.is_complete();
        if !missing {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot remove a free log segment");
        } else if self.fault.is_none() {
            tracing::warn!(dir = %self.dir.display(), %error, "cannot prepare a log segment");
        }
        if missing {
            self.fault = Some(error);
        }
        false
    }
}

/// Starts the background task if there is work and none is running.
pub(crate) fn prepare<D: LogHost>(host: &D, pool: &Rc<RefCell<Pool<D::File>>>) {
    let mut shared = pool.borrow_mut();
    if shared.running || !shared.work_is_due() {
        return;
    }
    shared.running = true;
    drop(shared);
    host.spawn(TaskClass::Background, run(host.clone(), Rc::downgrade(pool)));
}

/// Works until nothing is due or the log is gone.
async fn run<D: LogHost>(host: D, pool: Weak<RefCell<Pool<D::File>>>) {
    while let Some(shared) = pool.upgrade() {
        let (job, dir, bytes) = {
            let mut shared = shared.borrow_mut();
            let Some(job) = shared.next_job() else {
                shared.running = false;
                return;
            };
            (job, shared.dir.clone(), shared.segment_bytes)
        };
        drop(shared);
        let result = perform(&host, &dir, bytes, &job).await;
        let Some(shared) = pool.upgrade() else { return };
        let done = shared.borrow_mut().settle(job, result);
        drop(shared);
        host.notify();
        if !done {
            host.sleep_until(host.now() + RETRY_PAUSE).await;
        }
    }
}

async fn perform<D: LogHost>(host: &D, dir: &Path, bytes: u64, job: &Job) -> std::io::Result<Option<D::File>> {
    match job {
        Job::Create { id } => {
            let path = dir.join(segment_name(*id));
            let result = host.create_zeroed(&path, bytes).await;
            if result.is_err() {
                // What was written so far would only keep the disk full. Nothing more can be done if this fails too.
                let _ = host.remove(&path.with_extension("seg.tmp")).await;
            }
            result.map(Some)
        }
        Job::Recycle { from, to } => {
            recycle(host, &dir.join(segment_name(*from)), &dir.join(segment_name(*to))).await
        }
        Job::Remove { id } => match host.remove(&dir.join(segment_name(*id))).await {
            Err(error) if error.kind() == ErrorKind::NotFound => change_names(host, dir).await.map(|()| None),
            result => result.map(|()| None),
        },
        Job::RemoveDamaged => remove_damaged(host, dir).await.map(|()| None),
        Job::SetAside { id, suffix } => match set_aside(host, dir, *id, suffix).await {
            Err(error) if error.kind() == ErrorKind::NotFound => change_names(host, dir).await.map(|()| None),
            result => result.map(|()| None),
        },
    }
}

/// Takes a segment's name from its file: the log knows it no more, and what it holds can still be looked into.
pub(crate) async fn set_aside<D: LogHost>(host: &D, dir: &Path, id: u64, suffix: &str) -> std::io::Result<()> {
    let name = segment_name(id);
    host.rename(&dir.join(&name), &dir.join(format!("{name}{suffix}"))).await
}

/// Removes what was kept of groups that were quarantined.
async fn remove_damaged<D: LogHost>(host: &D, dir: &Path) -> std::io::Result<()> {
    for name in host.list(dir).await? {
        if name.strip_suffix(DAMAGED_SUFFIX).and_then(segment_id).is_some() {
            host.remove(&dir.join(name)).await?;
        }
    }
    Ok(())
}

/// Gives a free segment's file its next name, durably: `None` if there is no such file any more.
async fn recycle<D: LogHost>(host: &D, from: &Path, to: &Path) -> std::io::Result<Option<D::File>> {
    match host.rename(from, to).await {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            // An earlier attempt renamed it, and the sync of the directory failed. To sync again proves nothing: what the
            // kernel could not write it may have dropped. So the directory is changed anew.
            match host.rename(to, from).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                result => result?,
            }
            host.rename(from, to).await?;
        }
        result => result?,
    }
    host.open(to).await.map(Some)
}

/// Changes the names in the directory and makes that durable, and with it every change before.
async fn change_names<D: LogHost>(host: &D, dir: &Path) -> std::io::Result<()> {
    let path = dir.join(SCRATCH_NAME);
    match host.create_zeroed(&path, 0).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    host.remove(&path).await
}
