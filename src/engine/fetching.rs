//! Taking a checkpoint over from another replica: the side that has been away for too long.
//!
//! The file is fetched piece by piece into `checkpoint.part`, loaded and checked as a whole, renamed, and only then
//! taken into use, in one turn. A crash at any moment leaves the old checkpoint or the new one; one that reaches beyond
//! the log's end makes the log begin behind it at the next start.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use host::{ALIGNMENT, AlignedBuf, TaskClass};
use types::{GroupId, Index, Instant};
use wire::{ChunkReply, ChunkRequest, SnapshotMeta};

use crate::checkpoint::{self, LoadError, Loaded, Paths};
use crate::checkpoints::{Held, LogSize};
use crate::core::{Core, CoreHost};
use crate::error::Error;
use crate::limits::SNAPSHOT_BYTES_PER_SECOND_MAX;
use crate::replica::membership_of;
use crate::watch::Event;
use crate::writes::OUTCOME_UNKNOWN;

/// How long to wait for a piece before asking again.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a fetch may stand still before it is given up. Whoever wanted it asks again if it still must.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of something a task did for a fetch, left for the next turn.
struct FetchDone<F> {
    number: u64,
    step: Step<F>,
}

enum Step<F> {
    /// The file is there, empty.
    Created(std::io::Result<F>),
    /// A piece is in it, durably.
    Written(std::io::Result<()>),
    /// All of it was read back.
    Loaded(Result<Box<Loaded>, LoadError>),
    /// It has its name.
    Named(std::io::Result<()>),
    /// It is removed, if it could be.
    Removed,
}

enum Stage<F> {
    /// The file is being made.
    Creating,
    /// The next piece is to be asked for.
    Asking { file: F },
    /// It was asked for.
    Asked { file: F, deadline: Instant },
    /// A piece is being written.
    Writing { file: F },
    /// All pieces are there and are being loaded.
    Loading,
    /// It is sound, and waits until it may be renamed.
    Checked { loaded: Box<Loaded> },
    /// It is being renamed.
    Naming { loaded: Box<Loaded> },
    /// It is of no use and is being removed.
    Dropping,
}

/// Whether a checkpoint may get its name.
enum MayName {
    Yes,
    /// Something must be durable or written first.
    Later,
    /// What is here is newer, or it does not help.
    Never,
}

/// A checkpoint that is being fetched.
struct Fetching<F> {
    number: u64,
    group: GroupId,
    link: u32,
    /// Last index that it holds.
    last_index: Index,
    paths: Paths,
    /// How much of it is here, in bytes.
    offset: u64,
    /// Length of the file in bytes, once known.
    total_bytes: Option<u64>,
    begun_at: Instant,
    /// When the last piece came.
    progress_at: Instant,
    stage: Stage<F>,
}

/// The checkpoints that a core is fetching, one per link, and those that wait.
pub(crate) struct Fetches<F> {
    active: Vec<Fetching<F>>,
    /// Groups that want one, the link to whom to ask, and which: (group, link, last index).
    waiting: VecDeque<(GroupId, u32, Index)>,
    done: Rc<RefCell<Vec<FetchDone<F>>>>,
    next_number: u64,
}

impl<F> Fetches<F> {
    pub(crate) fn new() -> Fetches<F> {
        Fetches {
            active: Vec::new(),
            waiting: VecDeque::new(),
            done: Rc::new(RefCell::new(Vec::new())),
            next_number: 1,
        }
    }

    /// How many there are, those that wait included.
    pub(crate) fn count(&self) -> usize {
        self.active.len() + self.waiting.len()
    }

    /// Whether a group is taking a checkpoint over.
    pub(crate) fn is_fetching(&self, group: GroupId) -> bool {
        self.active.iter().any(|fetch| fetch.group == group)
    }

    fn is_idle(&self) -> bool {
        self.active.is_empty() && self.waiting.is_empty()
    }
}

fn take<F>(stage: &mut Stage<F>) -> Stage<F> {
    std::mem::replace(stage, Stage::Dropping)
}

impl<H: CoreHost> Core<H> {
    /// Raft wants a group's state from another replica.
    pub(crate) fn want_checkpoint(&mut self, idx: usize, fetch: raft::Fetch) {
        let id = self.groups[idx].id;
        let place = self.groups[idx].places.get(&fetch.from).copied();
        let Some(link) = place.and_then(|place| self.out.links.to(place)) else { return };
        self.fetches.waiting.retain(|(group, ..)| *group != id);
        // One that is under way goes on unless somebody else is to be asked: what it brings is newer than what is here.
        let is_same = |fetching: &Fetching<H::File>| fetching.group == id && fetching.link == link;
        if self.fetches.active.iter().any(is_same) {
            return;
        }
        self.fetches.waiting.push_back((id, link, fetch.last_index));
    }

    /// Goes on with what is being fetched.
    pub(crate) fn drive_fetches(&mut self) -> Result<(), Error> {
        if self.fetches.is_idle() {
            return Ok(());
        }
        for done in self.fetches.done.take() {
            let Some(at) = self.fetches.active.iter().position(|fetch| fetch.number == done.number) else { continue };
            let fetch = self.fetches.active.swap_remove(at);
            if let Some(fetch) = self.fetch_step(fetch, done.step)? {
                self.fetches.active.push(fetch);
            }
        }
        for at in (0..self.fetches.active.len()).rev() {
            let fetch = self.fetches.active.swap_remove(at);
            let fetch = self.go_on_fetching(fetch);
            self.fetches.active.push(fetch);
        }
        for _ in 0..self.fetches.waiting.len() {
            let Some((group, link, last_index)) = self.fetches.waiting.pop_front() else { break };
            let is_busy = |fetch: &Fetching<H::File>| fetch.link == link || fetch.group == group;
            if self.fetches.active.iter().any(is_busy) {
                self.fetches.waiting.push_back((group, link, last_index));
            } else {
                self.begin_fetch(group, link, last_index);
            }
        }
        Ok(())
    }

    pub(crate) fn begin_fetch(&mut self, group: GroupId, link: u32, last_index: Index) {
        let paths = Paths::new(&self.config.data_dir, group);
        let number = self.fetches.next_number;
        self.fetches.next_number += 1;
        tracing::info!(
            %group, last_index, from = %self.out.links.get(link).place, "taking over a checkpoint of another replica"
        );
        let (host, task_paths) = (self.host.clone(), paths.clone());
        self.fetch_task(number, async move {
            let create = async {
                host.create_dir_all(&task_paths.dir).await?;
                checkpoint::create(&host, &task_paths.part).await
            };
            Step::Created(create.await)
        });
        self.fetches.active.push(Fetching {
            number,
            group,
            link,
            last_index,
            paths,
            offset: 0,
            total_bytes: None,
            begun_at: self.now,
            progress_at: self.now,
            stage: Stage::Creating,
        });
    }

    fn fetch_task(&self, number: u64, task: impl Future<Output = Step<H::File>> + 'static) {
        let (done, host) = (Rc::clone(&self.fetches.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let step = task.await;
            done.borrow_mut().push(FetchDone { number, step });
            host.notify();
        });
    }

    /// A task of a fetch has ended. `None` ends the fetch.
    fn fetch_step(
        &mut self,
        mut fetch: Fetching<H::File>,
        step: Step<H::File>,
    ) -> Result<Option<Fetching<H::File>>, Error> {
        let group = fetch.group;
        match (step, take(&mut fetch.stage)) {
            (Step::Created(Ok(file)), Stage::Creating) => fetch.stage = Stage::Asking { file },
            (Step::Written(Ok(())), Stage::Writing { file }) => {
                if fetch.total_bytes == Some(fetch.offset) {
                    fetch.stage = Stage::Loading;
                    let (host, path, seed) = (self.host.clone(), fetch.paths.part.clone(), self.host.random_u64());
                    self.fetch_task(fetch.number, async move {
                        let loaded = checkpoint::load(&host, &path, group, seed).await;
                        let missing = || LoadError::Io { path, source: std::io::ErrorKind::NotFound.into() };
                        Step::Loaded(loaded.and_then(|loaded| loaded.map(Box::new).ok_or_else(missing)))
                    });
                } else {
                    fetch.stage = Stage::Asking { file };
                }
            }
            (Step::Loaded(Ok(loaded)), Stage::Loading) => fetch.stage = Stage::Checked { loaded },
            (Step::Named(Ok(())), Stage::Naming { loaded }) => {
                match self.routes.local_of(group) {
                    Some(idx) => self.install(idx, *loaded, fetch.begun_at)?,
                    None => self.come_back(group, *loaded)?,
                }
                return Ok(None);
            }
            (Step::Removed, _) => return Ok(None),
            (Step::Loaded(Err(error)), _) => {
                tracing::error!(%group, %error, "what was taken over is not sound; it is dropped");
                self.drop_fetch(&mut fetch);
            }
            (Step::Created(Err(error)) | Step::Written(Err(error)) | Step::Named(Err(error)), _) => {
                tracing::warn!(%group, %error, "a checkpoint cannot be taken over");
                self.drop_fetch(&mut fetch);
            }
            (Step::Created(Ok(_)) | Step::Written(Ok(())) | Step::Loaded(Ok(_)) | Step::Named(Ok(())), _) => {
                panic!("a fetch's task has done what was not asked of it")
            }
        }
        Ok(Some(fetch))
    }

    /// Removes what was fetched. The fetch lasts until that is done, so that no other one uses the name meanwhile.
    fn drop_fetch(&mut self, fetch: &mut Fetching<H::File>) {
        self.stats.snapshots_failed += 1;
        fetch.stage = Stage::Dropping;
        let (host, path) = (self.host.clone(), fetch.paths.part.clone());
        self.fetch_task(fetch.number, async move {
            // What cannot be removed now goes with the next fetch or the next start.
            let _ = host.remove(&path).await;
            Step::Removed
        });
    }

    /// Asks for the next piece, or renames what is complete, as soon as it may.
    fn go_on_fetching(&mut self, mut fetch: Fetching<H::File>) -> Fetching<H::File> {
        fetch.stage = match take(&mut fetch.stage) {
            Stage::Asked { file, deadline } if deadline <= self.now => Stage::Asking { file },
            stage => stage,
        };
        match take(&mut fetch.stage) {
            Stage::Asking { .. } | Stage::Asked { .. } if self.now.since(fetch.progress_at) >= STALL_TIMEOUT => {
                tracing::warn!(group = %fetch.group, "nobody hands the checkpoint over");
                self.stats.snapshots_given_up += 1;
                self.drop_fetch(&mut fetch);
            }
            Stage::Asking { file } if self.out.links.get(fetch.link).is_up() => {
                let request = ChunkRequest { group: fetch.group, last_index: fetch.last_index, offset: fetch.offset };
                self.out.links.chunk_request(fetch.link, request);
                fetch.stage = Stage::Asked { file, deadline: self.now + CHUNK_TIMEOUT };
            }
            Stage::Checked { loaded } => {
                match self.may_name(fetch.group, &loaded) {
                    MayName::Yes => {}
                    MayName::Later => {
                        fetch.stage = Stage::Checked { loaded };
                        return fetch;
                    }
                    MayName::Never => {
                        self.drop_fetch(&mut fetch);
                        return fetch;
                    }
                }
                let (host, paths) = (self.host.clone(), fetch.paths.clone());
                self.fetch_task(fetch.number, async move {
                    Step::Named(host.rename(&paths.part, &paths.checkpoint).await)
                });
                fetch.stage = Stage::Naming { loaded };
            }
            stage => fetch.stage = stage,
        }
        fetch
    }

    /// Whether a checkpoint that was taken over may take the place of the one here.
    fn may_name(&self, group: GroupId, loaded: &Loaded) -> MayName {
        let spec = self.config.map.groups.iter().find(|spec| spec.id == group);
        if spec.is_none_or(|spec| membership_of(Some(loaded), spec).is_err()) {
            return MayName::Never;
        }
        let Some(idx) = self.routes.local_of(group) else {
            return if self.can_come_back(group, loaded) { MayName::Yes } else { MayName::Never };
        };
        let is_writing = self.checkpoints.writing.as_ref().is_some_and(|own| own.group == idx);
        // The term in which the state was taken over must be remembered before the state is.
        let is_persisting = self.persisting.iter().any(|write| write.group == idx);
        let held = self.groups[idx].checkpoint_index();
        if is_writing || is_persisting {
            MayName::Later
        } else if loaded.file.last_index > held {
            MayName::Yes
        } else {
            MayName::Never
        }
    }

    /// A piece has come, or the news that there is none.
    pub(crate) fn on_chunk(&mut self, link: u32, reply: ChunkReply) {
        let is_meant = |fetch: &Fetching<H::File>| {
            fetch.link == link && fetch.group == reply.group && matches!(fetch.stage, Stage::Asked { .. })
        };
        let Some(at) = self.fetches.active.iter().position(is_meant) else { return };
        let mut fetch = self.fetches.active.swap_remove(at);
        let Stage::Asked { file, deadline } = take(&mut fetch.stage) else { return };
        let Some(chunk) = reply.chunk else { return self.fetch_anew(&fetch, reply.last_index) };
        if fetch.last_index == 0 {
            fetch.last_index = reply.last_index;
        }
        let len = chunk.bytes.len();
        let is_wanted = reply.last_index == fetch.last_index
            && chunk.offset == fetch.offset
            && fetch.total_bytes.is_none_or(|total| total == chunk.total_bytes);
        if !is_wanted || !len.is_multiple_of(ALIGNMENT) {
            // An answer to an earlier question.
            fetch.stage = Stage::Asked { file, deadline };
            self.fetches.active.push(fetch);
            return;
        }
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(&chunk.bytes);
        let offset = fetch.offset;
        fetch.offset += len as u64;
        fetch.total_bytes = Some(chunk.total_bytes);
        fetch.progress_at = self.now;
        self.stats.snapshot_bytes_received += len as u64;
        let (host, task_file) = (self.host.clone(), file.clone());
        let pace = Duration::from_micros(len as u64 * 1_000_000 / SNAPSHOT_BYTES_PER_SECOND_MAX);
        let until = self.now + pace;
        self.fetch_task(fetch.number, async move {
            let result = host.write(&task_file, offset, buf).await;
            // What clients and Raft have to say goes first.
            if host.now() < until {
                host.sleep_until(until).await;
            }
            Step::Written(result)
        });
        fetch.stage = Stage::Writing { file };
        self.fetches.active.push(fetch);
    }

    /// What was being fetched is gone over there: begin again with what there is now.
    fn fetch_anew(&mut self, fetch: &Fetching<H::File>, newest: Index) {
        tracing::info!(group = %fetch.group, newest, "the checkpoint that was being taken over is gone");
        self.stats.snapshots_failed += 1;
        if newest > 0 && newest != fetch.last_index {
            self.stats.snapshots_overtaken += 1;
            self.fetches.waiting.push_back((fetch.group, fetch.link, newest));
        }
    }

    /// Takes a state into use that was taken over and has its name on disk.
    fn install(&mut self, idx: usize, loaded: Loaded, begun_at: Instant) -> Result<(), Error> {
        let (last_index, last_term) = (loaded.file.last_index, loaded.header.last_term);
        let id = self.groups[idx].id;
        let spec = self.config.map.groups.iter().find(|spec| spec.id == id).expect("groups are of the map");
        // It was looked at before the file got its name.
        let membership = membership_of(Some(&loaded), spec).expect("the membership was decoded before");
        let Loaded { header, bytes, keyspace, .. } = loaded;
        let held = Held::new(last_index, last_term, membership.clone());
        let group = &mut self.groups[idx];
        let meta = SnapshotMeta { last_index, last_term, membership: membership.clone() };
        if let Err(error) = group.raft.restore(meta, self.now) {
            // The log has caught up meanwhile. The file is as good as one written here.
            tracing::info!(group = %id, %error, "the state that was taken over is not needed any more");
            self.hold(idx, held);
            return Ok(());
        }
        group.meet(&membership);
        group.membership = membership;
        group.keyspace = keyspace;
        group.time_ms = group.time_ms.max(header.time_ms);
        group.log_size = LogSize::default();
        self.stats.snapshots_received += 1;
        tracing::info!(
            group = %id, last_index, bytes, elapsed = ?self.now.since(begun_at), "a checkpoint was taken over"
        );
        self.note(idx, Event::Restored { last: (last_index, last_term) });
        self.note_digest(idx);
        self.take_map(idx, &header.map)?;
        self.hold(idx, held);
        // Whether what was proposed here is part of that state nobody can tell.
        while let Some(proposed) = self.groups[idx].proposed.pop_settled_by(last_term, last_index) {
            self.stats.outcomes_unknown += proposed.waiters.list.len() as u64;
            self.fail_waiters(&proposed.waiters, OUTCOME_UNKNOWN);
        }
        Ok(())
    }
}
