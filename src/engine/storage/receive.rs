//! Receiving a snapshot from another replica: the side that has been away for too long.
//!
//! The file is received chunk by chunk into `checkpoint.part`, loaded and checked as a whole, renamed, and only then
//! taken into use, in one turn. A crash at any moment leaves the old snapshot or the new one; one that reaches beyond
//! the log's end makes the log begin behind it at the next start.

use std::rc::Rc;
use std::time::Duration;

use host::{AlignedBuf, IoClass, TaskClass};
use types::{GroupId, Index};
use wire::{ChunkReply, ChunkRequest, Membership};

use super::receiving::{Done, Stage, Step, Transfer, take};
use super::recovery::membership_of;
use super::snapshot::{self, LoadError, Loaded, Paths};
use super::{SnapshotInfo, Storage, StorageEffect, StorageHost};
use crate::budget::Pool;
use crate::context::Context;
use crate::error::Error;
use crate::limits::{SNAPSHOT_RECEIVE_BYTES_PER_SECOND_MAX, snapshot_bytes_max};
use crate::origin::LinkId;
use crate::replicas::Replicas;

/// How long to wait for a chunk before asking again.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a transfer may stand still before it is given up. Whoever wanted it asks again if it still must.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after the disk has refused a snapshot (a full one, most likely). Raft wants it at every heartbeat.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Whether a snapshot may get its name.
enum MayName {
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
        let is_same = |transfer: &Transfer<H::File>| transfer.group == id && transfer.link == from;
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
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        if self.receiving.is_idle() {
            return Ok(());
        }
        for done in self.receiving.done.take() {
            let at = self.receiving.active.iter().position(|transfer| transfer.number == done.number);
            let Some(at) = at else { continue };
            let transfer = self.receiving.active.swap_remove(at);
            if let Some(transfer) = self.transfer_step(ctx, replicas, transfer, done.step, effects)? {
                self.receiving.active.push(transfer);
            }
        }
        for at in (0..self.receiving.active.len()).rev() {
            let transfer = self.receiving.active.swap_remove(at);
            let transfer = self.go_on(ctx, transfer, effects);
            self.receiving.active.push(transfer);
        }
        if ctx.now < self.receiving.not_before {
            return Ok(());
        }
        for _ in 0..self.receiving.waiting.len() {
            let Some((group, link, last_index)) = self.receiving.waiting.pop_front() else { break };
            let is_busy = |transfer: &Transfer<H::File>| transfer.link == link || transfer.group == group;
            if self.receiving.active.iter().any(is_busy) {
                self.receiving.waiting.push_back((group, link, last_index));
            } else {
                self.begin_receiving(ctx, group, link, last_index);
            }
        }
        Ok(())
    }

    pub(super) fn begin_receiving(&mut self, ctx: &Context, group: GroupId, link: LinkId, last_index: Index) {
        let paths = Paths::new(&self.config.data_dir, group);
        let number = self.receiving.next_number;
        self.receiving.next_number += 1;
        tracing::info!(%group, last_index, from = %self.links.addr(link), "receiving the snapshot of another replica");
        let (host, task_paths) = (self.host.clone(), paths.clone());
        self.transfer_task(number, async move {
            let create = async {
                host.create_dir_all(&task_paths.dir).await?;
                snapshot::create(&host, &task_paths.part).await
            };
            Step::Created(create.await)
        });
        self.receiving.active.push(Transfer {
            number,
            group,
            link,
            last_index,
            paths,
            offset: 0,
            total_bytes: None,
            begun_at: ctx.now,
            progress_at: ctx.now,
            stage: Stage::Creating,
            permit: self.receiving.budget.permit(Pool::Snapshots),
        });
    }

    fn transfer_task(&self, number: u64, task: impl Future<Output = Step<H::File>> + 'static) {
        let (done, host) = (Rc::clone(&self.receiving.done), self.host.clone());
        self.host.spawn(TaskClass::Background, async move {
            let step = task.await;
            done.borrow_mut().push(Done { number, step });
            host.notify();
        });
    }

    /// A task of a transfer has ended. `None` ends the transfer.
    fn transfer_step(
        &mut self,
        ctx: &mut Context,
        replicas: &impl Replicas,
        mut transfer: Transfer<H::File>,
        step: Step<H::File>,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<Option<Transfer<H::File>>, Error> {
        let group = transfer.group;
        match (step, take(&mut transfer.stage)) {
            (Step::Created(Ok(file)), Stage::Creating) => transfer.stage = Stage::Asking { file },
            (Step::Written(Ok(())), Stage::Writing { file }) => {
                transfer.permit.set(0);
                if transfer.total_bytes == Some(transfer.offset) {
                    self.load(&mut transfer);
                } else {
                    transfer.stage = Stage::Asking { file };
                }
            }
            (Step::Loaded(Ok(loaded)), Stage::Loading) => match self.membership_in(group, &loaded) {
                Some(membership) => {
                    transfer.permit.set(loaded.keyspace.bytes());
                    transfer.stage = Stage::Checked { loaded, membership };
                }
                None => {
                    tracing::error!(%group, "the snapshot that was received names members that cannot be; it is dropped");
                    self.drop_transfer(ctx, &mut transfer);
                }
            },
            (Step::Named(Ok(())), Stage::Naming { loaded, membership }) => {
                let took = ctx.now.since(transfer.begun_at);
                match self.records.index_of(group) {
                    Some(idx) => self.take_into_use(replicas, idx, loaded, membership, took, effects),
                    None => self.rejoin(group, *loaded, effects)?,
                }
                return Ok(None);
            }
            (Step::Removed, _) => return Ok(None),
            (Step::Loaded(Err(error)), _) => {
                tracing::error!(%group, %error, "the snapshot that was received is not sound; it is dropped");
                self.drop_transfer(ctx, &mut transfer);
            }
            (Step::Created(Err(error)) | Step::Written(Err(error)) | Step::Named(Err(error)), _) => {
                tracing::warn!(%group, %error, "a snapshot cannot be received");
                self.receiving.not_before = ctx.now + RETRY_AFTER;
                self.drop_transfer(ctx, &mut transfer);
            }
            (Step::Created(Ok(_)) | Step::Written(Ok(())) | Step::Loaded(Ok(_)) | Step::Named(Ok(())), _) => {
                panic!("a transfer's task has done what was not asked of it")
            }
        }
        Ok(Some(transfer))
    }

    /// All chunks are there: reads the file back and checks it whole.
    fn load(&self, transfer: &mut Transfer<H::File>) {
        transfer.stage = Stage::Loading;
        // The state in memory is about as large as the file.
        transfer.permit.set(usize::try_from(transfer.offset).unwrap_or(usize::MAX));
        let (host, path, seed) = (self.host.clone(), transfer.paths.part.clone(), self.config.row_hash_seed());
        let group = transfer.group;
        self.transfer_task(transfer.number, async move {
            let loaded = snapshot::load(&host, &path, group, seed).await;
            let missing = || LoadError::Io { path, source: std::io::ErrorKind::NotFound.into() };
            Step::Loaded(loaded.and_then(|loaded| loaded.map(Box::new).ok_or_else(missing)))
        });
    }

    /// The members as a snapshot of this group names them, if it is one of a group that may live here.
    fn membership_in(&self, group: GroupId, loaded: &Loaded) -> Option<Membership> {
        let spec = self.config.map.group(group)?;
        membership_of(Some(loaded), spec).ok()
    }

    /// Removes what was received. The transfer lasts until that is done, so that no other one uses the name meanwhile.
    fn drop_transfer(&self, ctx: &mut Context, transfer: &mut Transfer<H::File>) {
        ctx.counters.snapshots_failed += 1;
        transfer.stage = Stage::Dropping;
        transfer.permit.set(0);
        let (host, path) = (self.host.clone(), transfer.paths.part.clone());
        self.transfer_task(transfer.number, async move {
            // What cannot be removed now goes with the next transfer or the next start.
            let _ = host.remove(&path).await;
            Step::Removed
        });
    }

    /// Asks for the next chunk, or renames what is complete, as soon as it may.
    fn go_on(
        &mut self,
        ctx: &mut Context,
        mut transfer: Transfer<H::File>,
        effects: &mut Vec<StorageEffect>,
    ) -> Transfer<H::File> {
        transfer.stage = match take(&mut transfer.stage) {
            Stage::Asked { file, deadline } if deadline <= ctx.now => Stage::Asking { file },
            stage => stage,
        };
        match take(&mut transfer.stage) {
            Stage::Asking { .. } | Stage::Asked { .. } if ctx.now.since(transfer.progress_at) >= STALL_TIMEOUT => {
                tracing::warn!(group = %transfer.group, "nobody sends the snapshot");
                ctx.counters.snapshots_given_up += 1;
                self.drop_transfer(ctx, &mut transfer);
            }
            Stage::Asking { file } if self.links.is_up(transfer.link) => {
                let (group, last_index, offset) = (transfer.group, transfer.last_index, transfer.offset);
                let request = ChunkRequest { group, last_index, offset };
                effects.push(StorageEffect::AskChunk { link: transfer.link, request });
                transfer.stage = Stage::Asked { file, deadline: ctx.now + CHUNK_TIMEOUT };
            }
            Stage::Checked { loaded, membership } => match self.may_name(transfer.group, &loaded) {
                MayName::Yes => {
                    let (host, paths) = (self.host.clone(), transfer.paths.clone());
                    self.transfer_task(transfer.number, async move {
                        Step::Named(host.rename(&paths.part, &paths.snapshot).await)
                    });
                    transfer.stage = Stage::Naming { loaded, membership };
                }
                MayName::Later => transfer.stage = Stage::Checked { loaded, membership },
                MayName::Never => self.drop_transfer(ctx, &mut transfer),
            },
            stage => transfer.stage = stage,
        }
        transfer
    }

    /// Whether a snapshot that was received may take the place of the one here.
    fn may_name(&self, group: GroupId, loaded: &Loaded) -> MayName {
        let Some(idx) = self.records.index_of(group) else {
            return if self.can_rejoin(group, loaded) { MayName::Yes } else { MayName::Never };
        };
        // An own one would take the name afterwards, and the term in which the state was received must be remembered
        // before the state is.
        if self.creation.writing_group() == Some(idx) || self.log.is_pending(idx) {
            MayName::Later
        } else if loaded.file.last_index > self.records.snapshot_index(idx) {
            MayName::Yes
        } else {
            MayName::Never
        }
    }

    /// A chunk has come, or the news that there is none.
    pub(crate) fn on_chunk(&mut self, ctx: &mut Context, link: LinkId, reply: ChunkReply) {
        let is_meant = |transfer: &Transfer<H::File>| {
            transfer.link == link && transfer.group == reply.group && matches!(transfer.stage, Stage::Asked { .. })
        };
        let Some(at) = self.receiving.active.iter().position(is_meant) else { return };
        let mut transfer = self.receiving.active.swap_remove(at);
        let Stage::Asked { file, deadline } = take(&mut transfer.stage) else { return };
        let Some(chunk) = reply.chunk else { return self.receive_anew(ctx, &transfer, reply.last_index) };
        let is_wanted = transfer.last_index == 0 || reply.last_index == transfer.last_index;
        if !is_wanted || chunk.offset != transfer.offset {
            // An answer to an earlier question.
            transfer.stage = Stage::Asked { file, deadline };
            self.receiving.active.push(transfer);
            return;
        }
        if let Err(error) = transfer.check(&chunk, snapshot_bytes_max(self.config.memory_bytes_max)) {
            let (group, from) = (transfer.group, self.links.addr(link));
            tracing::error!(%group, %from, %error, "what is sent cannot be a chunk of a snapshot; the transfer is dropped");
            self.receiving.not_before = ctx.now + RETRY_AFTER;
            self.drop_transfer(ctx, &mut transfer);
            self.receiving.active.push(transfer);
            return;
        }
        transfer.last_index = reply.last_index;
        let len = chunk.bytes.len();
        let mut buf = AlignedBuf::with_capacity(len);
        buf.extend_from_slice(&chunk.bytes);
        transfer.permit.set(len);
        let offset = transfer.offset;
        transfer.offset += len as u64;
        transfer.total_bytes = Some(chunk.total_bytes);
        transfer.progress_at = ctx.now;
        ctx.counters.snapshot_bytes_received += len as u64;
        let (host, task_file) = (self.host.clone(), file.clone());
        let until = ctx.now + Duration::from_micros(len as u64 * 1_000_000 / SNAPSHOT_RECEIVE_BYTES_PER_SECOND_MAX);
        self.transfer_task(transfer.number, async move {
            let result = host.write(&task_file, offset, buf, IoClass::Log).await.map(drop);
            // What clients and Raft have to say goes first.
            if host.now() < until {
                host.sleep_until(until).await;
            }
            Step::Written(result)
        });
        transfer.stage = Stage::Writing { file };
        self.receiving.active.push(transfer);
    }

    /// What was being received is gone over there: begin again with what there is now.
    fn receive_anew(&mut self, ctx: &mut Context, transfer: &Transfer<H::File>, newest: Index) {
        tracing::info!(group = %transfer.group, newest, "the snapshot that was being received is gone");
        ctx.counters.snapshots_failed += 1;
        if newest > 0 && newest != transfer.last_index {
            ctx.counters.snapshots_overtaken += 1;
            self.receiving.waiting.push_back((transfer.group, transfer.link, newest));
            self.host.notify();
        }
    }

    /// A snapshot was received and has its name on disk: hands the state over, if the one here has not come as far.
    fn take_into_use(
        &mut self,
        replicas: &impl Replicas,
        group: usize,
        loaded: Box<Loaded>,
        membership: Membership,
        took: Duration,
        effects: &mut Vec<StorageEffect>,
    ) {
        let info = SnapshotInfo::new(loaded.file.last_index, loaded.header.last_term, membership.clone());
        let applied = replicas.view(group).applied;
        let is_needed = applied < info.last_index;
        // If the log here has brought the state as far meanwhile, the file is as good as one written here.
        self.records.set_snapshot(group, info, applied, effects);
        if is_needed {
            effects.push(StorageEffect::Install { group, loaded, membership, took });
        }
    }

    /// The answer to [`StorageEffect::Install`]: whether Raft has taken the snapshot over. If it has not, as its log has
    /// brought it as far meanwhile, the snapshot is offered once what it holds is applied here.
    pub(crate) fn installed(&mut self, ctx: &mut Context, group: usize, is_restored: bool) {
        if is_restored {
            ctx.counters.snapshots_received += 1;
            self.records.is_offered(group);
            self.records.restart_log(group);
        }
    }
}
