//! Receiving a snapshot from another replica: the side that has been away for too long.
//!
//! The stream is received chunk by chunk into one file of the store, in which its tables then lie. It is loaded and checked as a
//! whole, the manifest is told, and only then it is taken into use, in one turn. A crash at any moment leaves the old state or the new
//! one; one that reaches beyond the log's end makes the log begin behind it at the next start.

use std::rc::Rc;
use std::time::Duration;

use host::{AlignedBuf, IoClass, TaskClass};
use lsm::manifest::EditKind;
use lsm::snapshot::{HEAD_BYTES_MAX, IncomingSnapshot};
use lsm::version::Version;
use types::{GroupId, Index};
use wire::{ChunkReply, ChunkRequest};

use super::load::{Loaded, load};
use super::pace::BackgroundPace;
use super::receiving::{Done, Part, Received, Stage, Step, Transfer, take};
use super::store::Ticket;
use super::{SnapshotInfo, Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::error::Error;
use crate::limits::{LOAD_BYTES_PER_SECOND_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_RECEIVE_BYTES_PER_SECOND_MAX};
use crate::load_error::LoadError;
use crate::origin::LinkId;
use crate::replicas::Replicas;

/// How long to wait for a chunk before asking again.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a transfer may stand still before it is given up. Whoever wanted it asks again if it still must.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after the disk has refused a snapshot (a full one, most likely). Raft wants it at every heartbeat.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Whether a snapshot may be installed.
enum MayInstall {
    Yes,
    /// Something must be durable or written first.
    Later,
    /// What is here is newer, or it does not help.
    Never,
}

impl<H: StorageHost> Storage<H> {
    /// Raft wants a group's state from the replica behind a link: [`raft::SnapshotRequest`].
    pub(crate) fn want_snapshot(&mut self, id: GroupId, from: LinkId, last_index: Index) {
        self.receiving.waiting.retain(|(group, ..)| *group != id);
        // One that is under way goes on unless somebody else is to be asked: what it brings is newer than what is here.
        let is_same = |transfer: &Transfer<H>| transfer.group == id && transfer.link == from;
        if self.receiving.active.iter().any(is_same) {
            return;
        }
        self.receiving.waiting.push_back((id, from, last_index));
        self.host.notify();
    }

    /// Goes on with what is being received.
    pub(super) fn poll_receiving(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) {
        if self.receiving.is_idle() {
            return;
        }
        for Done { number, step } in self.receiving.done.take() {
            let at = self.receiving.active.iter().position(|transfer| transfer.number == number);
            let Some(at) = at else { continue };
            let transfer = self.receiving.active.swap_remove(at);
            let transfer = self.transfer_step(ctx, transfer, step);
            self.receiving.active.extend(transfer);
        }
        for at in (0..self.receiving.active.len()).rev() {
            let transfer = self.receiving.active.swap_remove(at);
            let transfer = self.go_on_receiving(ctx, replicas, transfer, effects);
            self.receiving.active.extend(transfer);
        }
        if ctx.now < self.receiving.not_before {
            return;
        }
        for _ in 0..self.receiving.waiting.len() {
            let Some((group, link, last_index)) = self.receiving.waiting.pop_front() else { break };
            let is_busy = |transfer: &Transfer<H>| transfer.link == link || transfer.group == group;
            if self.receiving.active.iter().any(is_busy) {
                self.receiving.waiting.push_back((group, link, last_index));
            } else {
                self.begin_receiving(ctx, group, link, last_index);
            }
        }
    }

    pub(super) fn begin_receiving(&mut self, ctx: &Context, group: GroupId, link: LinkId, last_index: Index) {
        let number = self.receiving.next_number;
        self.receiving.next_number += 1;
        tracing::info!(%group, last_index, from = %self.links.addr(link), "receiving the snapshot of another replica");
        self.receiving.active.push(Transfer {
            number,
            group,
            link,
            last_index,
            offset: 0,
            incoming: None,
            total_bytes: None,
            begun_at: ctx.now,
            progress_at: ctx.now,
            stage: Stage::Asking { part: None },
            permit: self.receiving.budget.permit(Pool::Snapshots),
        });
    }

    fn transfer_task(&self, number: u64, task: impl Future<Output = Step<H>> + 'static) {
        let (done, host) = (Rc::clone(&self.receiving.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let step = task.await;
            done.borrow_mut().push(Done { number, step });
            host.notify();
        });
    }

    /// A task of a transfer has ended. `None` ends the transfer.
    fn transfer_step(&mut self, ctx: &mut Context, mut transfer: Transfer<H>, step: Step<H>) -> Option<Transfer<H>> {
        let group = transfer.group;
        match (step, take(&mut transfer.stage)) {
            (Step::Written(Ok(part)), Stage::Writing) => {
                transfer.permit.set(0);
                if transfer.total_bytes == Some(transfer.offset) {
                    return self.load_received(ctx, transfer, part);
                }
                transfer.stage = Stage::Asking { part: Some(part) };
            }
            (Step::Loaded(Ok(received)), Stage::Loading) => {
                transfer.permit.set(received.loaded.keyspace.bytes());
                transfer.stage = Stage::Checked { received };
            }
            (Step::Loaded(Err(error)), Stage::Loading) => {
                tracing::error!(%group, %error, "the snapshot that was received is not sound; it is dropped");
                ctx.counters.snapshots_failed += 1;
                return None;
            }
            (Step::Written(Err(error)), Stage::Writing) => {
                tracing::warn!(%group, %error, "a snapshot cannot be received");
                self.receiving.not_before = ctx.now + RETRY_AFTER;
                ctx.counters.snapshots_failed += 1;
                return None;
            }
            (Step::Written(Ok(_)) | Step::Written(Err(_)) | Step::Loaded(_), _) => {
                panic!("a transfer's task has done what was not asked of it")
            }
        }
        Some(transfer)
    }

    /// All chunks are there: puts them on stable storage, reads them back and checks them whole.
    fn load_received(&self, ctx: &mut Context, mut transfer: Transfer<H>, part: Part<H>) -> Option<Transfer<H>> {
        let (group, total_bytes) = (transfer.group, transfer.offset);
        let head = transfer.incoming.take().map(IncomingSnapshot::finish)?;
        let head = head.inspect_err(|error| {
            tracing::error!(%group, %error, "what was received is no snapshot; it is dropped");
            ctx.counters.snapshots_failed += 1;
        });
        let head = head.ok()?;
        transfer.last_index = head.seal().index;
        transfer.stage = Stage::Loading;
        // The state in memory is about as large as the file, if there is room for it.
        let room = self.room_for_rows();
        transfer.permit.set(usize::try_from(total_bytes).unwrap_or(usize::MAX).min(room));
        let (reader, output, files) =
            (Rc::clone(self.store.reader()), Rc::clone(self.store.output()), self.store.files().clone());
        let how = (self.config.row_hash_seed(), self.room_for_rows());
        let host = self.host.clone();
        self.transfer_task(transfer.number, async move {
            let Part { named, writer } = part;
            let pace = BackgroundPace::new(host, LOAD_BYTES_PER_SECOND_MAX);
            let load = async {
                writer.finish(total_bytes).await?;
                output.sync_names().await?;
                let (change, seal) = (head.change(named.number()), head.seal().clone());
                let version = Version::default().apply(&change, &files);
                let version = version.map_err(|source| LoadError::Store(lsm::Error::Edit { source }))?;
                let loaded = load(&reader, &Rc::new(version), group, &seal, how, (IoClass::Flush, &pace)).await?;
                Ok(Box::new(Received { seal, change, _named: named, loaded }))
            };
            Step::Loaded(load.await)
        });
        Some(transfer)
    }

    /// Asks for the next chunk, or tells the manifest of what is complete, as soon as it may. `None` ends the transfer.
    fn go_on_receiving(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        mut transfer: Transfer<H>,
        effects: &mut Vec<StorageEffect>,
    ) -> Option<Transfer<H>> {
        transfer.stage = match take(&mut transfer.stage) {
            Stage::Asked { part, deadline } if deadline <= ctx.now => Stage::Asking { part },
            stage => stage,
        };
        match take(&mut transfer.stage) {
            Stage::Asking { .. } | Stage::Asked { .. } if ctx.now.since(transfer.progress_at) >= STALL_TIMEOUT => {
                tracing::warn!(group = %transfer.group, "nobody sends the snapshot");
                ctx.counters.snapshots_given_up += 1;
                ctx.counters.snapshots_failed += 1;
                return None;
            }
            Stage::Asking { part } if self.links.is_up(transfer.link) => {
                let (group, last_index, offset) = (transfer.group, transfer.last_index, transfer.offset);
                let request = ChunkRequest { group, last_index, offset };
                effects.push(StorageEffect::AskChunk { link: transfer.link, request });
                transfer.stage = Stage::Asked { part, deadline: ctx.now + CHUNK_TIMEOUT };
            }
            Stage::Checked { received } => match self.may_install(replicas, transfer.group, &received) {
                MayInstall::Yes => self.commit_install(&mut transfer, received, effects),
                MayInstall::Later => transfer.stage = Stage::Checked { received },
                MayInstall::Never => {
                    ctx.counters.snapshots_failed += 1;
                    return None;
                }
            },
            stage => transfer.stage = stage,
        }
        Some(transfer)
    }

    /// Whether a snapshot that was received may take the place of the state here.
    fn may_install(&self, replicas: &impl Replicas, group: GroupId, received: &Received) -> MayInstall {
        if self.store.is_editing(group) {
            return MayInstall::Later;
        }
        let Some(idx) = self.records.index_of(group) else {
            return if self.can_rejoin(group, &received.loaded) { MayInstall::Yes } else { MayInstall::Never };
        };
        // A flush would be told to the manifest afterwards, and the term in which the state was received must be remembered before
        // the state is.
        if self.flushing.group() == Some(idx) || self.log.is_pending(idx) {
            MayInstall::Later
        } else if received.seal.index > self.records.snapshot_index(idx).max(replicas.view(idx).applied) {
            MayInstall::Yes
        } else {
            MayInstall::Never
        }
    }

    fn commit_install(
        &mut self,
        transfer: &mut Transfer<H>,
        received: Box<Received>,
        effects: &mut Vec<StorageEffect>,
    ) {
        let group = transfer.group;
        let spec = self.config.map.group(group);
        let replica = spec.and_then(|spec| spec.replicas.iter().find(|replica| replica.place == self.config.place));
        let replica = replica.expect("what is received is of a group of this core").id;
        // Generations count what this replica has seen.
        let generation = self.store.group(group).map_or(0, |state| state.seal.generation);
        let seal = lsm::manifest::Seal { generation, ..received.seal.clone() };
        self.merging.give_up(group);
        if let Some(idx) = self.records.index_of(group) {
            effects.push(StorageEffect::HoldApplying { group: idx, is_held: true });
        }
        let kind = EditKind::Install { seal, change: received.change.clone() };
        self.store.commit(Ticket::Install(transfer.number), group, replica, vec![kind]);
        transfer.stage = Stage::Committing { received };
    }

    /// The manifest was told of a snapshot, or could not be: hands the state over.
    pub(super) fn install_committed(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        number: u64,
        result: Result<(), lsm::Error>,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        let at = self.receiving.active.iter().position(|transfer| transfer.number == number);
        let transfer = self.receiving.active.swap_remove(at.expect("a transfer lasts until the manifest was told"));
        let Stage::Committing { received } = transfer.stage else { panic!("the manifest was told of a snapshot") };
        let group = transfer.group;
        if let Err(error) = result {
            tracing::warn!(%group, %error, "a snapshot cannot be installed");
            self.receiving.not_before = ctx.now + RETRY_AFTER;
            ctx.counters.snapshots_failed += 1;
            let idx = self.records.index_of(group);
            effects.extend(idx.map(|group| StorageEffect::HoldApplying { group, is_held: false }));
            return Ok(());
        }
        self.merging.look_at(group);
        let took = ctx.now.since(transfer.begun_at);
        match self.records.index_of(group) {
            Some(idx) => self.take_into_use(replicas, idx, received.loaded, took, effects),
            None => self.rejoin(group, received.loaded, effects)?,
        }
        Ok(())
    }

    /// A chunk has come, or the news that there is none.
    pub(crate) fn on_chunk(&mut self, ctx: &mut Context, link: LinkId, reply: ChunkReply) {
        let is_meant = |transfer: &Transfer<H>| {
            transfer.link == link && transfer.group == reply.group && matches!(transfer.stage, Stage::Asked { .. })
        };
        let Some(at) = self.receiving.active.iter().position(is_meant) else { return };
        let mut transfer = self.receiving.active.swap_remove(at);
        let Stage::Asked { part, deadline } = take(&mut transfer.stage) else { return };
        let Some(chunk) = reply.chunk else { return self.receive_anew(ctx, &transfer, reply.last_index) };
        let is_wanted = transfer.last_index == 0 || reply.last_index == transfer.last_index;
        if !is_wanted || chunk.offset != transfer.offset {
            // An answer to an earlier question.
            transfer.stage = Stage::Asked { part, deadline };
            self.receiving.active.push(transfer);
            return;
        }
        if let Err(error) = self.check_chunk(&mut transfer, &chunk) {
            let (group, from) = (transfer.group, self.links.addr(link));
            tracing::error!(%group, %from, %error, "what is sent cannot be a chunk of a snapshot; the transfer is dropped");
            self.receiving.not_before = ctx.now + RETRY_AFTER;
            ctx.counters.snapshots_failed += 1;
            return;
        }
        transfer.last_index = reply.last_index;
        self.write_chunk(ctx, transfer, part, chunk);
    }

    /// Whether a chunk can be the next one of a snapshot. Why not, if it cannot.
    fn check_chunk(&self, transfer: &mut Transfer<H>, chunk: &wire::Chunk) -> Result<(), String> {
        transfer.check(chunk, SNAPSHOT_BYTES_MAX).map_err(|error| error.to_string())?;
        let incoming = transfer
            .incoming
            .get_or_insert_with(|| IncomingSnapshot::new(transfer.group, chunk.total_bytes, HEAD_BYTES_MAX));
        incoming.push(&chunk.bytes).map_err(|error| error.to_string())
    }

    fn write_chunk(
        &mut self,
        ctx: &mut Context,
        mut transfer: Transfer<H>,
        part: Option<Part<H>>,
        chunk: wire::Chunk,
    ) {
        let len = chunk.bytes.len();
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(&chunk.bytes);
        transfer.permit.set(len);
        let (offset, total_bytes) = (transfer.offset, chunk.total_bytes);
        transfer.offset += len as u64;
        transfer.total_bytes = Some(total_bytes);
        transfer.progress_at = ctx.now;
        ctx.counters.snapshot_bytes_received += len as u64;
        let (host, output) = (self.host.clone(), Rc::clone(self.store.output()));
        let until = ctx.now + Duration::from_micros(len as u64 * 1_000_000 / SNAPSHOT_RECEIVE_BYTES_PER_SECOND_MAX);
        self.transfer_task(transfer.number, async move {
            let write = async {
                let part = match part {
                    Some(part) => part,
                    None => {
                        let (named, writer) = output.create_raw(total_bytes, IoClass::Flush).await?;
                        Part { named, writer }
                    }
                };
                part.writer.write(offset, buf).await?;
                // All that was written and not synced would be in the log's way at the end.
                part.writer.sync().await?;
                Ok(part)
            };
            let result = write.await;
            // What clients and Raft have to say goes first.
            if host.now() < until {
                host.sleep_until(until).await;
            }
            Step::Written(result)
        });
        transfer.stage = Stage::Writing;
        self.receiving.active.push(transfer);
    }

    /// What was being received is gone over there: begin again with what there is now.
    fn receive_anew(&mut self, ctx: &mut Context, transfer: &Transfer<H>, newest: Index) {
        tracing::info!(group = %transfer.group, newest, "the snapshot that was being received is gone");
        ctx.counters.snapshots_failed += 1;
        if newest > 0 && newest != transfer.last_index {
            ctx.counters.snapshots_overtaken += 1;
            self.receiving.waiting.push_back((transfer.group, transfer.link, newest));
            self.host.notify();
        }
    }

    /// A snapshot is installed: hands the state over, if the one here has not come as far.
    fn take_into_use(
        &mut self,
        replicas: &impl Replicas,
        group: usize,
        loaded: Loaded,
        took: Duration,
        effects: &mut Vec<StorageEffect>,
    ) {
        let info = SnapshotInfo::new(loaded.last_index, loaded.last_term, loaded.membership.clone());
        let applied = replicas.view(group).applied;
        let is_needed = applied < info.last_index;
        self.records.set_snapshot(group, info, applied, effects);
        if is_needed {
            self.records.set_clears_flushed(group, loaded.keyspace.clears_count());
            effects.push(StorageEffect::Install { group, loaded: Box::new(loaded), took });
        } else {
            self.write_anew(group);
        }
    }

    /// The tables are those of a state between the last flush and the one in memory. Which rows have changed is known from the
    /// last flush on; so the next one writes all of them.
    fn write_anew(&mut self, group: usize) {
        self.records.set_damaged(group, self.records.snapshot_index(group));
    }

    /// The answer to [`StorageEffect::Install`]: whether Raft has taken the snapshot over. If it has not, as its log has
    /// brought it as far meanwhile, the snapshot is offered once what it holds is applied here.
    pub(crate) fn installed(&mut self, ctx: &mut Context, group: usize, is_restored: bool) {
        if is_restored {
            ctx.counters.snapshots_received += 1;
            self.records.is_offered(group);
            self.records.restart_log(group);
        } else {
            self.write_anew(group);
        }
    }
}
