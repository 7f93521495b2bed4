//! Handing checkpoints to replicas that have been away for too long: the side that has one.
//!
//! The other side asks for piece after piece, one at a time per link, at a pace that it sets. A file that is being
//! handed over stays open, and so readable, when a newer checkpoint takes its name.
//!
//! A file that turns out to be damaged is not handed over any more, and another checkpoint is due. Nobody reads all of a file
//! before it is handed over; the other side checks it whole, and asks for the same one again only if it was of no use.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use host::{ALIGNMENT, TaskClass};
use types::{GroupId, Index, Instant};
use wire::{Chunk, ChunkReply, ChunkRequest};

use crate::checkpoint::{Corrupt, FileId, LoadError, Paths, file_id, verify};
use crate::core::{Core, CoreHost};

/// A file that nobody has asked for in this time is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(30);
/// For so long after a piece was read the log behind its checkpoint is kept.
const WANTED_FOR: Duration = Duration::from_secs(5);

/// A checkpoint that is being handed over.
struct Served<F> {
    id: FileId,
    file: F,
    bytes: u64,
    used_at: Instant,
    /// Whether somebody has been sent its end since it was last checked.
    was_handed_over: bool,
}

/// What a task has read.
struct ChunkRead<F> {
    link: u32,
    /// The checkpoint that was asked for.
    wanted: FileId,
    result: Result<(Served<F>, Option<Chunk>), LoadError>,
}

/// How a checkpoint was found that was read from beginning to end.
struct Checked {
    file: FileId,
    result: Result<(), LoadError>,
}

/// The checkpoints that are being handed over by a core.
pub(crate) struct Serving<F> {
    files: Vec<Served<F>>,
    /// Links for which a piece is being read.
    reading: Vec<u32>,
    done: Rc<RefCell<Vec<ChunkRead<F>>>>,
    checked: Rc<RefCell<Vec<Checked>>>,
}

impl<F> Serving<F> {
    pub(crate) fn new() -> Serving<F> {
        Serving { files: Vec::new(), reading: Vec::new(), done: Rc::default(), checked: Rc::default() }
    }
}

impl<F> Serving<F> {
    /// How many files are open.
    pub(crate) fn files_count(&self) -> usize {
        self.files.len()
    }

    /// The oldest checkpoint of a group that is being handed over: whoever takes it goes on with the log behind it.
    pub(crate) fn oldest_wanted(&self, group: GroupId, now: Instant) -> Option<Index> {
        let is_wanted = |open: &&Served<F>| open.id.group == group && now.since(open.used_at) < WANTED_FOR;
        self.files.iter().filter(is_wanted).map(|open| open.id.last_index).min()
    }
}

impl<H: CoreHost> Core<H> {
    /// Another core wants a piece of a checkpoint.
    pub(crate) fn on_chunk_request(&mut self, link: u32, request: ChunkRequest) {
        let group = request.group;
        let held = self.routes.local_of(group).and_then(|idx| self.groups[idx].checkpoint.as_ref());
        let (newest, is_damaged) = held.map_or((0, false), |held| (held.last_index, held.is_damaged));
        let last_index = if request.last_index == 0 { newest } else { request.last_index };
        if self.serving.reading.contains(&link) {
            // Whoever asks does so again if there is no answer.
            return;
        }
        let wanted = FileId { group, last_index };
        let now = self.now;
        let open = self.serving.files.iter_mut().find(|open| open.id == wanted);
        let open = open.map(|open| {
            open.used_at = now;
            let is_asked_again = request.offset == 0 && std::mem::take(&mut open.was_handed_over);
            (open.file.clone(), open.bytes, is_asked_again)
        });
        let is_there = open.is_some() || last_index == newest && !is_damaged;
        if last_index == 0 || !is_there || !request.offset.is_multiple_of(ALIGNMENT as u64) {
            return self.out.links.chunk(link, ChunkReply { group, last_index: newest, chunk: None });
        }
        if let Some((file, _, true)) = &open {
            self.check_served(wanted, file.clone());
        }
        self.serving.reading.push(link);
        let path = Paths::new(&self.config.data_dir, group).checkpoint;
        let chunk_bytes_max = self.config.limits.chunk_bytes_max as u64;
        let (done, host) = (Rc::clone(&self.serving.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let failed = |source| LoadError::Io { path: path.clone(), source };
            let damaged = |what| LoadError::Corrupt { path: path.clone(), source: Corrupt::Content(what) };
            let read = async {
                let (id, file, bytes) = match open {
                    Some((file, bytes, _)) => (wanted, file, bytes),
                    None => {
                        let file = host.open(&path).await.map_err(failed)?;
                        let bytes = host.len(&file).await.map_err(failed)?;
                        let id = file_id(&host.read(&file, 0, ALIGNMENT).await.map_err(failed)?);
                        let id =
                            id.filter(|id| id.group == group).ok_or(damaged("it does not begin as it should"))?;
                        // By now a newer one may have taken the name.
                        if id.last_index < wanted.last_index {
                            return Err(damaged("it is an older checkpoint"));
                        }
                        (id, file, bytes)
                    }
                };
                let len = bytes.saturating_sub(request.offset).min(chunk_bytes_max) as usize;
                let chunk = if id == wanted && len > 0 {
                    let read = host.read(&file, request.offset, len).await.map_err(failed)?;
                    Some(Chunk { offset: request.offset, total_bytes: bytes, bytes: Bytes::from_owner(read) })
                } else {
                    None
                };
                Ok((Served { id, file, bytes, used_at: now, was_handed_over: false }, chunk))
            };
            let result = read.await;
            done.borrow_mut().push(ChunkRead { link, wanted, result });
            host.notify();
        });
    }

    /// Reads a checkpoint from beginning to end that was of no use to somebody, or was lost there.
    fn check_served(&self, wanted: FileId, file: H::File) {
        let path = Paths::new(&self.config.data_dir, wanted.group).checkpoint;
        let (checked, host) = (Rc::clone(&self.serving.checked), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let result = verify(&host, &path, &file, wanted).await;
            checked.borrow_mut().push(Checked { file: wanted, result });
            host.notify();
        });
    }

    /// Sends the pieces that were read.
    pub(crate) fn finish_chunk_reads(&mut self) {
        for done in self.serving.done.take() {
            let ChunkRead { link, wanted, result } = done;
            let group = wanted.group;
            self.serving.reading.retain(|reading| *reading != link);
            let (mut served, chunk) = match result {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(%group, %error, "a checkpoint cannot be read to be handed over");
                    self.out.links.chunk(link, ChunkReply { group, last_index: 0, chunk: None });
                    self.distrust(wanted, &error);
                    continue;
                }
            };
            if let Some(chunk) = &chunk {
                self.stats.snapshot_bytes_sent += chunk.bytes.len() as u64;
                served.was_handed_over = chunk.offset + chunk.bytes.len() as u64 == chunk.total_bytes;
                self.stats.snapshots_sent += u64::from(served.was_handed_over);
            }
            self.out.links.chunk(link, ChunkReply { group, last_index: served.id.last_index, chunk });
            self.keep_open(served);
        }
        for Checked { file, result } in self.serving.checked.take() {
            if let Err(error) = result {
                self.distrust(file, &error);
            }
        }
    }

    /// If a checkpoint is damaged, it is handed over no more, and another one is due in its place.
    fn distrust(&mut self, file: FileId, error: &LoadError) {
        if !error.is_damage() {
            return;
        }
        self.serving.files.retain(|open| open.id != file);
        let Some(idx) = self.routes.local_of(file.group) else { return };
        let held = self.groups[idx].checkpoint.as_mut();
        if let Some(held) = held.filter(|held| held.last_index == file.last_index && !held.is_damaged) {
            held.is_damaged = true;
            self.stats.checkpoints_damaged += 1;
            tracing::error!(group = %file.group, %error, "a checkpoint is damaged; another one is written");
        }
    }

    fn keep_open(&mut self, served: Served<H::File>) {
        let idx = self.routes.local_of(served.id.group);
        if idx.and_then(|idx| self.groups[idx].checkpoint.as_ref()).is_some_and(|held| held.is_damaged) {
            // It may be the one that was distrusted while this piece of it was read.
            return;
        }
        let files_max = self.config.limits.served_files_max;
        let files = &mut self.serving.files;
        if let Some(open) = files.iter_mut().find(|open| open.id == served.id) {
            open.was_handed_over |= served.was_handed_over;
            return;
        }
        if files.len() >= files_max
            && let Some(oldest) = (0..files.len()).min_by_key(|idx| files[*idx].used_at)
        {
            files.swap_remove(oldest);
        }
        files.push(served);
    }

    /// Closes files that nobody wants any more.
    pub(crate) fn tick_serving(&mut self) {
        let now = self.now;
        self.serving.files.retain(|open| now.since(open.used_at) < CLOSE_AFTER);
    }
}
