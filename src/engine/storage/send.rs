//! Sending snapshots to replicas that have been away for too long: the side that has one.
//!
//! The other side asks for chunk after chunk, one at a time per link, at a pace that it sets. A file that is being
//! sent stays open, and so readable, when a newer snapshot takes its name; and the log behind it stays until the other
//! side has had the time to load it, and then for as long as it reads on in it.
//!
//! A file that turns out to be damaged is not sent any more, and another snapshot is due. Nobody reads all of a file
//! before it is sent; the other side checks it whole, and asks for the same one again only if it was of no use.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use host::{ALIGNMENT, IoClass, TaskClass};
use types::{GroupId, Index, Instant, ReplicaId};
use wire::{Chunk, ChunkReply, ChunkRequest};

use super::sending::{Checked, ChunkRead, OpenFile};
use super::snapshot::{Corrupt, FileId, LoadError, Paths, file_id, verify};
use super::{Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::origin::LinkId;

/// A file that nobody has asked for in this time is closed.
const CLOSE_AFTER: Duration = Duration::from_secs(30);
/// For so long after a chunk was asked for the log behind its snapshot is kept: the other side asks again sooner, or has
/// given up.
const WANTED_FOR: Duration = Duration::from_secs(15);
/// How fast the other side is taken to load a snapshot that it has received, in bytes per second, before it can go on with
/// the log. Most are several times faster.
const LOAD_BYTES_PER_SECOND_MIN: u64 = 16 << 20;

impl<H: StorageHost> Storage<H> {
    /// Another core wants a chunk of a snapshot.
    pub(crate) fn on_chunk_request(
        &mut self,
        ctx: &mut Context,
        link: LinkId,
        request: ChunkRequest,
        effects: &mut Vec<StorageEffect>,
    ) {
        let group = request.group;
        let info = self.records.index_of(group).and_then(|idx| self.records.snapshot(idx));
        let (newest, is_damaged) = info.map_or((0, false), |info| (info.last_index, info.is_damaged));
        let last_index = if request.last_index == 0 { newest } else { request.last_index };
        if self.sending.reading.contains(&link) {
            // Whoever asks does so again if there is no answer.
            return;
        }
        let wanted = FileId { group, last_index };
        let open = self.sending.files.iter_mut().find(|open| open.id == wanted);
        let open = open.map(|open| {
            open.used_at = ctx.now;
            let is_asked_again = request.offset == 0 && std::mem::take(&mut open.was_sent);
            (open.file.clone(), open.bytes, is_asked_again)
        });
        let is_there = open.is_some() || last_index == newest && !is_damaged;
        if last_index == 0 || !is_there || !request.offset.is_multiple_of(ALIGNMENT as u64) {
            let reply = ChunkReply { group, last_index: newest, chunk: None };
            effects.push(StorageEffect::SendChunk { link, reply });
            return;
        }
        self.sending.receives(link, wanted, ctx.now + WANTED_FOR);
        if let Some((file, _, true)) = &open {
            self.check_sent(wanted, file.clone());
        }
        self.read_chunk(ctx.now, link, wanted, request.offset, open.map(|(file, bytes, _)| (file, bytes)));
    }

    /// Raft reads log back for a follower.
    pub(super) fn follower_reads(&mut self, ctx: &Context, group: GroupId, replica: ReplicaId, first: Index) {
        if self.sending.receivers.is_empty() {
            return;
        }
        let spec = self.config.map.group(group);
        let member = spec.and_then(|spec| spec.replicas.iter().find(|member| member.id == replica));
        if let Some(link) = member.and_then(|member| self.links.up_to(member.place)) {
            self.sending.follower_reads(group, link, first, ctx.now + WANTED_FOR);
        }
    }

    fn read_chunk(&mut self, now: Instant, link: LinkId, wanted: FileId, offset: u64, open: Option<(H::File, u64)>) {
        self.sending.reading.push(link);
        let path = Paths::new(&self.config.data_dir, wanted.group).snapshot;
        let chunk_bytes_max = self.config.limits.chunk_bytes_max;
        let mut permit = self.sending.budget.permit(Pool::Snapshots);
        permit.set(chunk_bytes_max);
        let (done, host) = (Rc::clone(&self.sending.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let read = read_chunk_of(&host, path, wanted, offset, chunk_bytes_max, open).await;
            let result = read
                .map(|(id, file, bytes, chunk)| (OpenFile { id, file, bytes, used_at: now, was_sent: false }, chunk));
            done.borrow_mut().push(ChunkRead { link, wanted, result, permit });
            host.notify();
        });
    }

    /// Reads a snapshot from beginning to end that was of no use to somebody, or was lost there.
    fn check_sent(&self, wanted: FileId, file: H::File) {
        let path = Paths::new(&self.config.data_dir, wanted.group).snapshot;
        let (checked, host) = (Rc::clone(&self.sending.checked), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let result = verify(&host, &path, &file, wanted).await;
            checked.borrow_mut().push(Checked { file: wanted, result });
            host.notify();
        });
    }

    /// Sends the chunks that were read.
    pub(super) fn poll_sending(&mut self, ctx: &mut Context, effects: &mut Vec<StorageEffect>) {
        for done in self.sending.done.take() {
            let ChunkRead { link, wanted, result, permit } = done;
            let group = wanted.group;
            self.sending.reading.retain(|reading| *reading != link);
            let (mut file, chunk) = match result {
                Ok(read) => read,
                Err(error) => {
                    tracing::warn!(%group, %error, "a snapshot cannot be read to be sent");
                    let reply = ChunkReply { group, last_index: 0, chunk: None };
                    effects.push(StorageEffect::SendChunk { link, reply });
                    self.distrust(ctx, wanted, &error);
                    continue;
                }
            };
            if let Some(chunk) = &chunk {
                ctx.counters.snapshot_bytes_sent += chunk.bytes.len() as u64;
                file.was_sent = chunk.offset + chunk.bytes.len() as u64 == chunk.total_bytes;
                ctx.counters.snapshots_sent += u64::from(file.was_sent);
            }
            if file.was_sent {
                // The last that is heard of the other side before it has loaded all of it.
                let loads_for = Duration::from_secs(file.bytes / LOAD_BYTES_PER_SECOND_MIN);
                self.sending.receives(link, file.id, ctx.now + WANTED_FOR + loads_for);
            }
            let reply = ChunkReply { group, last_index: file.id.last_index, chunk };
            effects.push(StorageEffect::SendChunk { link, reply });
            drop(permit);
            let idx = self.records.index_of(group);
            if idx.and_then(|idx| self.records.snapshot(idx)).is_some_and(|info| info.is_damaged) {
                // It may be the one that was distrusted while this chunk of it was read.
                continue;
            }
            self.sending.keep_open(file, self.config.limits.snapshot_sends_count_max);
        }
        for Checked { file, result } in self.sending.checked.take() {
            if let Err(error) = result {
                self.distrust(ctx, file, &error);
            }
        }
    }

    /// If a snapshot is damaged, it is sent no more, and another one is due in its place.
    fn distrust(&mut self, ctx: &mut Context, file: FileId, error: &LoadError) {
        if !error.is_damage() {
            return;
        }
        self.sending.files.retain(|open| open.id != file);
        self.sending.receivers.retain(|one| (one.group, one.last_index) != (file.group, file.last_index));
        let Some(group) = self.records.index_of(file.group) else { return };
        if self.records.set_damaged(group, file.last_index) {
            ctx.counters.snapshots_damaged += 1;
            tracing::error!(group = %file.group, %error, "a snapshot is damaged; another one is written");
        }
    }

    /// Closes files that nobody wants any more, and forgets who received them.
    pub(super) fn tick_sending(&mut self, ctx: &Context) {
        let now = ctx.now;
        self.sending.files.retain(|open| now.since(open.used_at) < CLOSE_AFTER);
        self.sending.receivers.retain(|one| now < one.until);
    }
}

/// Reads a chunk of the snapshot `wanted`, if the file is that one: of a file that is open, with its length, or of what
/// has the name now. Returns which snapshot it is, the file, its length and the chunk.
async fn read_chunk_of<H: StorageHost>(
    host: &H,
    path: PathBuf,
    wanted: FileId,
    offset: u64,
    chunk_bytes_max: usize,
    open: Option<(H::File, u64)>,
) -> Result<(FileId, H::File, u64, Option<Chunk>), LoadError> {
    let failed = |source| LoadError::Io { path: path.clone(), source };
    let damaged = |what| LoadError::Corrupt { path: path.clone(), source: Corrupt::Content(what) };
    let (id, file, bytes) = match open {
        Some((file, bytes)) => (wanted, file, bytes),
        None => {
            let file = host.open(&path).await.map_err(failed)?;
            let bytes = host.len(&file).await.map_err(failed)?;
            let id = file_id(&host.read(&file, 0, ALIGNMENT, IoClass::Log).await.map_err(failed)?);
            let id = id.filter(|id| id.group == wanted.group);
            let id = id.ok_or_else(|| damaged("it does not begin as it should"))?;
            // By now a newer one may have taken the name.
            if id.last_index < wanted.last_index {
                return Err(damaged("it is an older snapshot"));
            }
            (id, file, bytes)
        }
    };
    let len = bytes.saturating_sub(offset).min(chunk_bytes_max as u64) as usize;
    let chunk = if id == wanted && len > 0 {
        let read = host.read(&file, offset, len, IoClass::Log).await.map_err(failed)?;
        Some(Chunk { offset, total_bytes: bytes, bytes: Bytes::from_owner(read.into_aligned()) })
    } else {
        None
    };
    Ok((id, file, bytes, chunk))
}
