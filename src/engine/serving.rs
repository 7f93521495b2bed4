//! Handing checkpoints to replicas that have been away for too long: the side that has one.
//!
//! The other side asks for piece after piece, one at a time per link, at a pace that it sets. A file that is being
//! handed over stays open, and so readable, when a newer checkpoint takes its name.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use io::{ALIGNMENT, TaskClass};
use types::{GroupId, Index, Instant};
use wire::{Chunk, ChunkReply, ChunkRequest};

use crate::checkpoint::{Paths, file_id};
use crate::core::{Core, CoreHost};

/// A file that nobody has asked for in this time is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(30);
/// For so long after a piece was read the log behind its checkpoint is kept.
const WANTED_FOR: Duration = Duration::from_secs(5);

/// A checkpoint that is being handed over.
struct Served<F> {
    group: GroupId,
    last_index: Index,
    file: F,
    bytes: u64,
    used_at: Instant,
}

/// What a task has read.
struct ChunkRead<F> {
    link: u32,
    group: GroupId,
    result: std::io::Result<(Served<F>, Option<Chunk>)>,
}

/// The checkpoints that are being handed over by a core.
pub(crate) struct Serving<F> {
    files: Vec<Served<F>>,
    /// Links for which a piece is being read.
    reading: Vec<u32>,
    done: Rc<RefCell<Vec<ChunkRead<F>>>>,
}

impl<F> Serving<F> {
    pub(crate) fn new() -> Serving<F> {
        Serving { files: Vec::new(), reading: Vec::new(), done: Rc::new(RefCell::new(Vec::new())) }
    }
}

impl<F> Serving<F> {
    /// How many files are open.
    pub(crate) fn files_count(&self) -> usize {
        self.files.len()
    }

    /// The oldest checkpoint of a group that is being handed over: whoever takes it goes on with the log behind it.
    pub(crate) fn oldest_wanted(&self, group: GroupId, now: Instant) -> Option<Index> {
        let is_wanted = |open: &&Served<F>| open.group == group && now.since(open.used_at) < WANTED_FOR;
        self.files.iter().filter(is_wanted).map(|open| open.last_index).min()
    }
}

impl<H: CoreHost> Core<H> {
    /// Another core wants a piece of a checkpoint.
    pub(crate) fn on_chunk_request(&mut self, link: u32, request: ChunkRequest) {
        let group = request.group;
        let newest = self.routes.local_of(group).map_or(0, |idx| self.groups[idx].checkpoint_index());
        let wanted = if request.last_index == 0 { newest } else { request.last_index };
        if self.serving.reading.contains(&link) {
            // Whoever asks does so again if there is no answer.
            return;
        }
        let now = self.now;
        let open = self.serving.files.iter_mut().find(|open| open.group == group && open.last_index == wanted);
        let open = open.map(|open| {
            open.used_at = now;
            (open.file.clone(), open.bytes)
        });
        if wanted == 0 || (open.is_none() && wanted != newest) || !request.offset.is_multiple_of(ALIGNMENT as u64) {
            return self.out.links.chunk(link, ChunkReply { group, last_index: newest, chunk: None });
        }
        self.serving.reading.push(link);
        let path = Paths::new(&self.config.data_dir, group).checkpoint;
        let chunk_bytes_max = self.config.limits.chunk_bytes_max as u64;
        let (done, host) = (Rc::clone(&self.serving.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let read = async {
                let (file, bytes, last_index) = match open {
                    Some((file, bytes)) => (file, bytes, wanted),
                    None => {
                        let file = host.open(&path).await?;
                        let bytes = host.len(&file).await?;
                        // By now another checkpoint may have taken the name.
                        let id = file_id(&host.read(&file, 0, ALIGNMENT).await?);
                        let id = id.filter(|id| id.group == group).ok_or(std::io::ErrorKind::InvalidData)?;
                        (file, bytes, id.last_index)
                    }
                };
                let len = bytes.saturating_sub(request.offset).min(chunk_bytes_max) as usize;
                let chunk = if last_index == wanted && len > 0 {
                    let read = host.read(&file, request.offset, len).await?;
                    Some(Chunk { offset: request.offset, total_bytes: bytes, bytes: Bytes::from_owner(read) })
                } else {
                    None
                };
                Ok((Served { group, last_index, file, bytes, used_at: now }, chunk))
            };
            let result = read.await;
            done.borrow_mut().push(ChunkRead { link, group, result });
            host.notify();
        });
    }

    /// Sends the pieces that were read.
    pub(crate) fn finish_chunk_reads(&mut self) {
        for done in self.serving.done.take() {
            let ChunkRead { link, group, result } = done;
            self.serving.reading.retain(|reading| *reading != link);
            let (served, chunk) = match result {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(%group, %error, "a checkpoint cannot be read to be handed over");
                    self.out.links.chunk(link, ChunkReply { group, last_index: 0, chunk: None });
                    continue;
                }
            };
            if let Some(chunk) = &chunk {
                self.stats.snapshot_bytes_sent += chunk.bytes.len() as u64;
                let is_last = chunk.offset + chunk.bytes.len() as u64 == chunk.total_bytes;
                self.stats.snapshots_sent += u64::from(is_last);
            }
            self.out.links.chunk(link, ChunkReply { group, last_index: served.last_index, chunk });
            self.keep_open(served);
        }
    }

    fn keep_open(&mut self, served: Served<H::File>) {
        let files_max = self.config.limits.served_files_max;
        let files = &mut self.serving.files;
        if files.iter().any(|open| open.group == served.group && open.last_index == served.last_index) {
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
