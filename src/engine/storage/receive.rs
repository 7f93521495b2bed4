//! Receiving a snapshot from another replica: the side that has been away for too long.
//!
//! The stream is received chunk by chunk into a file of the store, in which its tables then lie. If that takes long, what is new by
//! then is received in another round ([`super::rounds`]). All of it is loaded and checked, the manifest is told, and only then it is
//! taken into use, in one turn. A crash at any moment leaves the old state or the new
//! one; one that reaches beyond the log's end makes the log begin behind it at the next start.

use std::rc::Rc;
use std::time::Duration;

use host::{AlignedBuf, IoClass, TaskClass};
use lsm::manifest::EditKind;
use lsm::read::verify;
use lsm::snapshot::{HEAD_BYTES_MAX, IncomingSnapshot};
use lsm::version::Version;
use types::{GroupId, Index, Instant};
use wire::{ChunkReply, ChunkRequest};

use super::load::{Loaded, load};
use super::pace::BackgroundPace;
use super::receiving::{Done, Part, Received, Stage, Step, Transfer, take};
use super::rounds::Rounds;
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
/// The same while the other side cannot be reached, and nobody else is to be asked: what has come is not to come again.
const LOST_TIMEOUT: Duration = Duration::from_secs(60);
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
            round: None,
            rounds: Rounds::new(ctx.now),
            total_bytes: None,
            begun_at: ctx.now,
            progress_at: ctx.now,
            unreachable_at: Instant::ZERO,
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
                return Some(self.go_on_with_round(ctx, transfer, Some(part)));
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
            (Step::Written(Err(error)), Stage::Writing) if transfer.rounds.has_complete() => {
                tracing::warn!(%group, %error, "what is new of a snapshot cannot be received; what has come is taken");
                return Some(self.load_received(transfer));
            }
            (Step::Written(Err(error)), Stage::Writing) => {
                tracing::warn!(%group, %error, "a snapshot cannot be received");
                self.note_fault(ctx, &error);
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

    /// Asks for the next chunk of a round, or ends the round: then there is another one if that one has taken long.
    fn go_on_with_round(&mut self, ctx: &Context, mut transfer: Transfer<H>, part: Option<Part<H>>) -> Transfer<H> {
        let Some(round) = transfer.round.take() else { return self.load_received(transfer) };
        if let Some(offset) = round.next_offset() {
            (transfer.offset, transfer.round) = (offset, Some(round));
            transfer.stage = Stage::Asking { part };
            return transfer;
        }
        let took = ctx.now.since(transfer.rounds.begun_at());
        transfer.rounds.end(round, part.map(|part| part.named));
        if took < self.config.limits.snapshot_round_min || !transfer.rounds.may_go_on() {
            return self.load_received(transfer);
        }
        (transfer.offset, transfer.last_index, transfer.total_bytes) = (0, 0, None);
        transfer.stage = Stage::Asking { part: None };
        transfer
    }

    /// A whole snapshot is here: puts it on stable storage, reads it back and checks it.
    fn load_received(&self, mut transfer: Transfer<H>) -> Transfer<H> {
        let group = transfer.group;
        let rounds = std::mem::replace(&mut transfer.rounds, Rounds::new(transfer.begun_at));
        let (head, change, received_files) = rounds.into_complete().expect("a snapshot is here whole");
        let total_bytes = head.total_bytes();
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
            let pace = BackgroundPace::new(host, LOAD_BYTES_PER_SECOND_MAX);
            let load = async {
                output.sync_names().await?;
                let seal = head.seal().clone();
                let version = Version::default().apply(&change, &files);
                let version = version.map_err(|source| LoadError::Store(lsm::Error::Edit { source }))?;
                let version = Rc::new(version);
                // Not all of it is read to be loaded: filters are not, nor values that nothing leads to any more. What rots at the sender
                // would go from replica to replica.
                verify(&reader, &version, IoClass::Flush, &pace).await.map_err(LoadError::Store)?;
                let loaded = load(&reader, &version, group, &seal, how, (IoClass::Flush, &pace)).await?;
                Ok(Box::new(Received { seal, change, _files: received_files, loaded }))
            };
            Step::Loaded(load.await)
        });
        transfer
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
            Stage::Asking { .. } | Stage::Asked { .. } if self.has_stalled(ctx, &mut transfer) => {
                if transfer.rounds.has_complete() {
                    return Some(self.load_received(transfer));
                }
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

    /// Whether nothing has come of a snapshot for so long that it is given up.
    fn has_stalled(&self, ctx: &Context, transfer: &mut Transfer<H>) -> bool {
        let for_long = ctx.now.since(transfer.progress_at);
        if self.links.is_up(transfer.link) {
            return for_long.min(ctx.now.since(transfer.unreachable_at)) >= STALL_TIMEOUT;
        }
        transfer.unreachable_at = ctx.now;
        let is_wanted_elsewhere = self.receiving.waiting.iter().any(|(group, ..)| *group == transfer.group);
        for_long >= if is_wanted_elsewhere { STALL_TIMEOUT } else { LOST_TIMEOUT }
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
        } else {
            let (last_index, view) = (received.seal.index, replicas.view(idx));
            // What was applied to a state that is lost is applied again to an older one, as far as the log still has it.
            let takes_older = self.records.is_lost(idx) && last_index >= view.base;
            let is_newer = last_index > self.records.snapshot_index(idx).max(view.applied);
            if takes_older || is_newer { MayInstall::Yes } else { MayInstall::Never }
        }
    }

    fn commit_install(
        &mut self,
        transfer: &mut Transfer<H>,
        received: Box<Received>,
        effects: &mut Vec<StorageEffect>,
    ) {
        let group = transfer.group;
        let away = || self.rebuilding.iter().find(|one| one.group == group).map(|one| one.replica);
        let replica = self.records.replica_of(group).or_else(away);
        let replica = replica.expect("what is received is for a replica of this core");
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
        self.tables_changed(replicas, group);
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
        let Some(chunk) = reply.chunk else { return self.is_gone(ctx, transfer, reply.last_index) };
        let is_wanted = transfer.last_index == 0 || reply.last_index == transfer.last_index;
        if !is_wanted || chunk.offset != transfer.offset {
            // An answer to an earlier question.
            transfer.stage = Stage::Asked { part, deadline };
            self.receiving.active.push(transfer);
            return;
        }
        if self.is_too_old(reply.group, reply.last_index) {
            ctx.counters.snapshots_failed += 1;
            return;
        }
        if let Err(error) = self.check_chunk(ctx, &mut transfer, &chunk) {
            let (group, from) = (transfer.group, self.links.addr(link));
            tracing::error!(%group, %from, %error, "what is sent cannot be a chunk of a snapshot; the transfer is dropped");
            self.receiving.not_before = ctx.now + RETRY_AFTER;
            ctx.counters.snapshots_failed += 1;
            return;
        }
        transfer.last_index = reply.last_index;
        transfer.total_bytes = Some(chunk.total_bytes);
        transfer.progress_at = ctx.now;
        ctx.counters.snapshot_bytes_received += chunk.bytes.len() as u64;
        let transfer = self.take_chunk(ctx, transfer, part, &chunk);
        self.receiving.active.push(transfer);
    }

    /// Whether a chunk can be the next one of a snapshot. Why not, if it cannot.
    fn check_chunk(&self, ctx: &mut Context, transfer: &mut Transfer<H>, chunk: &wire::Chunk) -> Result<(), String> {
        transfer.check(chunk, SNAPSHOT_BYTES_MAX).map_err(|error| error.to_string())?;
        if transfer.round.is_some() {
            return Ok(());
        }
        let incoming = transfer
            .incoming
            .get_or_insert_with(|| IncomingSnapshot::new(transfer.group, chunk.total_bytes, HEAD_BYTES_MAX));
        incoming.push(&chunk.bytes).map_err(|error| error.to_string())?;
        if incoming.head().is_some() {
            let head = transfer.incoming.take().and_then(IncomingSnapshot::into_head);
            transfer.round = head.and_then(|head| transfer.rounds.begin(head, ctx.now));
            let is_another = transfer.round.is_some() && transfer.rounds.has_complete();
            ctx.counters.snapshot_rounds += u64::from(is_another);
        }
        Ok(())
    }

    /// Goes on with what a chunk has brought.
    fn take_chunk(
        &mut self,
        ctx: &Context,
        mut transfer: Transfer<H>,
        part: Option<Part<H>>,
        chunk: &wire::Chunk,
    ) -> Transfer<H> {
        if transfer.incoming.is_some() {
            // There is more of the head.
            transfer.offset += chunk.bytes.len() as u64;
            transfer.stage = Stage::Asking { part };
            return transfer;
        }
        let taken = transfer.round.as_mut().and_then(|round| round.take(chunk.offset, chunk.bytes.len()));
        match taken.and_then(|(range, at)| Some((chunk.bytes.get(range)?, at))) {
            Some((bytes, at)) => self.write_chunk(ctx, &mut transfer, part, bytes, at),
            None => return self.go_on_with_round(ctx, transfer, part),
        }
        transfer
    }

    fn write_chunk(&self, ctx: &Context, transfer: &mut Transfer<H>, part: Option<Part<H>>, bytes: &[u8], at: u64) {
        let len = bytes.len();
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(bytes);
        transfer.permit.set(len);
        let (file_bytes, is_last) =
            transfer.round.as_ref().map_or((0, true), |round| (round.file_bytes(), round.next_offset().is_none()));
        let (host, output) = (self.host.clone(), Rc::clone(self.store.output()));
        let until = ctx.now + Duration::from_micros(len as u64 * 1_000_000 / SNAPSHOT_RECEIVE_BYTES_PER_SECOND_MAX);
        self.transfer_task(transfer.number, async move {
            let write = async {
                let part = match part {
                    Some(part) => part,
                    None => {
                        let (named, writer) = output.create_raw(file_bytes, IoClass::Flush).await?;
                        Part { named, writer }
                    }
                };
                part.writer.write(at, buf).await?;
                // All that was written and not synced would be in the log's way at the end.
                if is_last {
                    part.writer.finish(file_bytes).await?
                } else {
                    part.writer.sync().await?
                }
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
    }

    /// What was being received is gone over there: takes what is here whole, or begins again with what there is now.
    fn is_gone(&mut self, ctx: &mut Context, transfer: Transfer<H>, newest: Index) {
        if transfer.rounds.has_complete() {
            let transfer = self.load_received(transfer);
            return self.receiving.active.push(transfer);
        }
        tracing::info!(group = %transfer.group, newest, "the snapshot that was being received is gone");
        ctx.counters.snapshots_failed += 1;
        let is_of_use = newest > 0 && !self.is_too_old(transfer.group, newest);
        // Another replica may have been named meanwhile to ask instead.
        let is_wanted_elsewhere = self.receiving.waiting.iter().any(|(group, ..)| *group == transfer.group);
        if is_of_use && newest != transfer.last_index && !is_wanted_elsewhere {
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
        let is_needed = applied < info.last_index || self.records.is_lost(group);
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
        if self.records.set_damaged(group, self.records.snapshot_index(group)) {
            self.newly_damaged.push(group);
        }
    }

    /// The answer to [`StorageEffect::Install`]: whether Raft has taken the snapshot over. If it has not, as its log has
    /// brought it as far meanwhile, the snapshot is offered once what it holds is applied here. Effects are to be carried out at once.
    pub(crate) fn installed(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        group: usize,
        is_restored: bool,
        effects: &mut Vec<StorageEffect>,
    ) {
        let id = replicas.view(group).id;
        if is_restored {
            ctx.counters.snapshots_received += 1;
            self.records.is_offered(group);
            self.records.restart_log(group);
            self.records.is_found(group);
            self.rebuilding.retain(|one| one.group != id);
            self.warming.remove(id);
        } else if replicas.keyspace(group).is_resident() {
            self.write_anew(group);
        } else {
            // The tables are not those of what is applied here: what they say of rows that are not in memory may not hold.
            self.lose(ctx, replicas, group, effects);
        }
    }
}
