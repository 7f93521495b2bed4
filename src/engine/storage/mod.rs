//! What a core keeps on its disk: the log that its groups share, and the tables of their rows.
//!
//! [`Storage`] decides when a group is flushed, writes its tables beside the turns, lets the log before their seal go, merges tables,
//! sends snapshots to replicas that were away for too long and receives them, and says at a start what each replica stands on. It knows
//! replicas through [`Replicas`] alone, and what it wants done it returns as
//! [`StorageEffect`]s.
//!
//! Invariants:
//! - Entries are in the log before a hard state that calls them committed, and the block that a write waits for is taken
//!   behind the last of its records.
//! - A group's log shrinks only behind a seal that the manifest holds durably, and the manifest is told of a flush only once its
//!   tables and the entries before its seal are durable here.
//! - A crash between any two steps leaves the old state or the new one, and a log that fits it ([`recovery`]).
//! - Whoever receives a snapshot finds the log behind it still there afterwards, within a bound ([`compaction`]).
//!
//! Deliberately absent: Raft, clients, connections. What a flush says of the rows is `Keyspace`'s.
//!
//! Reading order: [`interface`], [`log`] and [`log_reads`], [`disk_health`], [`store`] (the manifest, and what is deleted), [`sealed`],
//! [`pace`], [`record`] (what is kept of each replica), this page, and then what it does, each behind what it keeps for that: [`flushing`]
//! and [`flush`], [`merging`] and [`merge`], [`log_length`], [`pressure`] and [`compaction`], [`slowing`], [`disk_reserve`], [`freeing`]
//! and [`free`], [`rewriting`] and [`rewrite`], [`sending`] and
//! [`send`], [`comparing`] and [`compare`], [`rounds`], [`receiving`] and [`receive`], [`row_reads`] and [`read_rows`], [`opening`], [`load`] and
//! [`recovery`], [`warming`] and [`warm`], [`rebuilding`], [`rebuild`] and [`damage`], [`succeeding`] and [`succeed`], [`destroying`] and [`destroy`], [`scrubbing`] and [`scrub`].

mod compaction;
mod compare;
mod comparing;
mod damage;
mod destroy;
mod destroying;
mod disk_health;
mod disk_reserve;
#[cfg(test)]
pub(crate) mod fake;
#[cfg(test)]
mod fake_core;
mod flush;
mod flushing;
mod free;
mod freeing;
mod interface;
mod load;
mod log;
mod log_length;
mod log_reads;
mod merge;
mod merging;
mod opening;
mod pace;
mod pressure;
mod read_rows;
mod rebuild;
mod rebuilding;
mod receive;
mod receiving;
mod record;
mod recovery;
mod rewrite;
mod rewriting;
mod rounds;
mod row_reads;
mod scrub;
mod scrubbing;
mod sealed;
mod send;
mod sending;
mod slowing;
mod store;
mod succeed;
mod succeeding;
#[cfg(test)]
mod tests;
mod warm;
mod warming;

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use types::{CoreAddr, GroupId, Index, Instant, ReplicaId};

use crate::budget::{Budget, Permit, Pool};
use crate::config::Config;
use crate::context::Context;
use crate::error::Error;
use crate::observe::{Field, QueueLen, StallReason};
use crate::origin::LinkId;
use crate::replicas::Replicas;

use comparing::Comparing;
use destroying::DestroyingReplicas;
use disk_reserve::DiskReserve;
use flushing::Flushing;
use freeing::Freeing;
pub(crate) use interface::{SnapshotInfo, StartedReplica, StorageEffect, StorageHost};
use load::note_stored;
pub use load::{Loaded, load};
use log::Log;
use log_length::LogLevel;
use merging::Merging;
use opening::Opening;
use pressure::Pressure;
use rebuilding::Rebuilding;
use receiving::Receiving;
use record::Records;
use rewriting::Rewriting;
use row_reads::RowReads;
use scrubbing::Scrubbing;
use sending::Sending;
use slowing::Slowing;
use store::{Edited, Ended, Store, Ticket};
use succeeding::Succeeding;
use warming::Warming;

/// What the disk of a core held when it started.
pub(crate) struct Opened<H: StorageHost> {
    pub(crate) storage: Storage<H>,
    /// The replicas that can start, in the order of their indexes.
    pub(crate) replicas: Vec<StartedReplica>,
    /// Replicas that stay away: what the disk holds of them cannot be trusted.
    pub(crate) quarantined: Vec<(GroupId, ReplicaId)>,
}

/// What a core keeps on its disk.
pub(crate) struct Storage<H: StorageHost> {
    host: H,
    config: Rc<Config>,
    log: Log<H>,
    records: Records,
    pressure: Pressure,
    rewriting: Rewriting,
    store: Store<H>,
    reserve: DiskReserve<H>,
    freeing: Freeing,
    flushing: Flushing<H>,
    merging: Merging,
    comparing: Comparing,
    /// Replicas whose tables were found damaged since the last tick.
    newly_damaged: Vec<usize>,
    warming: Warming,
    row_reads: Rc<RowReads>,
    /// For what they have read and nobody has taken.
    row_reads_permit: Permit,
    /// For the parts of tables that are kept.
    tables_permit: Permit,
    sending: Sending,
    receiving: Receiving<H>,
    rebuilding: Vec<Rebuilding>,
    succeeding: Succeeding,
    destroying: DestroyingReplicas,
    /// The latest cluster map known here: it says where other replicas are to be found.
    map: Arc<meta::ClusterMap>,
    slowing: Slowing,
    scrubbing: Scrubbing,
    links: Links,
    budget: Budget,
    /// The cluster map that the group of this id has agreed on, encoded: part of that group's snapshots.
    cluster_map: Option<(GroupId, Vec<u8>)>,
}

/// The other cores, by link, and whether they can be reached.
#[derive(Default)]
struct Links {
    known: Vec<Option<(CoreAddr, bool)>>,
}

impl Links {
    fn set(&mut self, link: LinkId, addr: CoreAddr, is_up: bool) {
        if self.known.len() <= link.idx() {
            self.known.resize(link.idx() + 1, None);
        }
        self.known[link.idx()] = Some((addr, is_up));
    }

    fn is_up(&self, link: LinkId) -> bool {
        self.known.get(link.idx()).copied().flatten().is_some_and(|(_, is_up)| is_up)
    }

    fn addr(&self, link: LinkId) -> CoreAddr {
        self.known.get(link.idx()).copied().flatten().map_or(CoreAddr::default(), |(addr, _)| addr)
    }

    /// The link to a core, if it can be reached.
    fn up_to(&self, addr: CoreAddr) -> Option<LinkId> {
        let at = self.known.iter().position(|known| *known == Some((addr, true)))?;
        Some(LinkId(at as u32))
    }
}

impl<H: StorageHost> Storage<H> {
    /// Recovers what the disk of a core holds. The budget is the core's: what storage holds is counted there.
    ///
    /// # Errors
    /// See [`Error`]. A damaged replica of a group that has others does not fail the start: it stays away.
    pub(crate) async fn open(host: H, config: &Rc<Config>, budget: &Budget) -> Result<Opened<H>, Error> {
        let opening = Opening::begin(&host, config.place, "its manifest");
        let mut store = Store::open(&host, config).await;
        let is_full = store.as_ref().is_err_and(|error| error.disk_full().is_some());
        if is_full && DiskReserve::give_up_at_start(&host, config).await {
            store = Store::open(&host, config).await;
        }
        let reserve = DiskReserve::open(&host, config).await;
        let store = store.map_err(|source| Error::Store { place: config.place, source })?;
        opening.go_on("its log");
        // The manifest names a replica before the log does, and as long as the log holds anything of it.
        let (log, recovered) = Log::open(&host, config, budget, store.group_ids()).await?;
        let mut storage = Storage {
            log,
            records: Records::new(config.group_log_bytes_max),
            pressure: Pressure::new(config),
            rewriting: Rewriting::new(budget),
            store,
            reserve,
            freeing: Freeing::default(),
            flushing: Flushing::new(budget),
            merging: Merging::default(),
            comparing: Comparing::default(),
            newly_damaged: Vec::new(),
            warming: Warming::new(budget),
            row_reads: Rc::new(RowReads::new(config.limits.row_reads_bytes_max)),
            row_reads_permit: budget.permit(Pool::Rows),
            tables_permit: budget.permit(Pool::Tables),
            sending: Sending::new(budget),
            receiving: Receiving::new(budget),
            rebuilding: Vec::new(),
            succeeding: Succeeding::default(),
            destroying: DestroyingReplicas::default(),
            map: Arc::new(config.map.clone()),
            slowing: Slowing::default(),
            scrubbing: Scrubbing::new(config, host.now()),
            links: Links::default(),
            budget: budget.clone(),
            cluster_map: None,
            host,
            config: Rc::clone(config),
        };
        let (replicas, quarantined) = storage.recover(recovered)?;
        Ok(Opened { storage, replicas, quarantined })
    }

    /// Raft refuses what was recovered of the replica with this index: it stays away, and those that were recovered
    /// behind it move up by one. Only before the first turn.
    pub(crate) fn quarantine(&mut self, group: usize, id: GroupId, replica: ReplicaId) {
        self.records.remove(group);
        self.log.reads.remove(group);
        self.give_up(id, replica);
    }

    /// Hands what Raft wants made durable to the log.
    ///
    /// # Errors
    /// The log's, all of which end the core.
    pub(crate) fn persist(
        &mut self,
        ctx: &mut Context,
        group: usize,
        id: GroupId,
        persist: &raft::Persist,
    ) -> Result<(), Error> {
        self.log.persist(ctx, group, id, persist)
    }

    /// Reads entries back for Raft, for a follower that lives at `place` if it is for one. Answered by a [`StorageEffect::LogRead`] or
    /// [`StorageEffect::LogReadFailed`].
    pub(crate) fn read_log(
        &mut self,
        ctx: &mut Context,
        group: usize,
        id: GroupId,
        place: Option<CoreAddr>,
        read: raft::LogRead,
    ) {
        if let Some(place) = place {
            self.follower_reads(ctx, id, place, read.first);
        }
        let Storage { log, host, .. } = self;
        log.read(host, group, id, read);
    }

    /// Takes in what has ended since the last turn: log reads (as many as a turn should apply; the rest comes with the
    /// next ones), writes, and the tasks of snapshots. Once per turn.
    ///
    /// # Errors
    /// The log's, and [`Error::Unappliable`].
    pub(crate) fn poll(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        self.log.poll_reads(&self.host, &self.records, effects)?;
        self.log.poll_writes(ctx, effects)?;
        self.poll_room(ctx);
        self.records.take_offers(effects);
        self.poll_row_reads(effects);
        self.poll_warming(effects);
        self.poll_sending(ctx, effects);
        self.poll_receiving(ctx, replicas, effects);
        self.poll_flush(ctx, replicas);
        self.poll_store(ctx, replicas, effects)?;
        self.poll_destroying(ctx, effects)?;
        self.poll_comparing(ctx, effects);
        self.poll_scrub(ctx, replicas);
        Ok(())
    }

    /// Takes in which edits hold, and what else the manifest was wanted for.
    fn poll_store(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        while let Some(ended) = self.store.poll() {
            let Edited { ticket, group, replica, result } = match ended {
                Ended::Edited(edited) => edited,
                Ended::Renewed(result) => {
                    self.manifest_renewed(ctx, result);
                    continue;
                }
                Ended::Numbered(result) => {
                    if result.is_ok() {
                        // What has failed for want of a number need not wait.
                        (self.flushing.not_before, self.merging.not_before) = (ctx.now, ctx.now);
                    }
                    continue;
                }
            };
            if result.is_ok() && self.store.group(group).is_some() {
                effects.push(StorageEffect::TablesChanged { group, replica });
                if let Some(idx) = self.records.index_of(group) {
                    note_stored(replicas.keyspace_mut(idx), &self.store.version(group));
                }
            }
            match ticket {
                Ticket::Flush => self.flush_committed(ctx, replicas, result, effects)?,
                Ticket::Merge => self.merge_committed(ctx, replicas, result),
                Ticket::Destroy => self.drop_committed(ctx, group, result),
                Ticket::Begin => self.begin_committed(ctx, group, replica, result, effects)?,
                Ticket::Install(number) => {
                    self.scrub_replaced(group);
                    self.install_committed(ctx, replicas, number, result, effects)?;
                }
            }
        }
        Ok(())
    }

    /// Whether something waits for ticks. What has time until the core ticks anyway does not: looks at groups in which rows may have
    /// expired, files to be deleted, snapshots that nobody asks for any more, questions for what lost replicas lack. A flush
    /// becomes due by a write or behind another one, and either brings ticks.
    pub(crate) fn wants_ticks(&self) -> bool {
        self.log.wants_ticks()
            || self.pressure.level > LogLevel::Fine
            || self.is_disk_full()
            || self.flushing.running.is_some()
            || self.merging.running.is_some()
            || self.comparing.wants_ticks()
            || !self.merging.candidates.is_empty()
            || self.rewriting.is_reading
            || !self.warming.is_idle()
            || !self.receiving.is_idle()
            || !self.slowing.is_idle()
            || !self.destroying.list.is_empty()
            || self.scrubbing.wants_ticks()
    }

    /// Begins what is due by now. At every tick.
    ///
    /// # Errors
    /// The log's.
    pub(crate) fn tick(
        &mut self,
        ctx: &mut Context,
        replicas: &mut impl Replicas,
        effects: &mut Vec<StorageEffect>,
    ) -> Result<(), Error> {
        self.log.retry_reads(effects);
        self.tick_sending(ctx, replicas);
        self.slow_for_receivers(ctx);
        self.slowing.tick();
        self.tick_compaction(ctx, replicas, effects)?;
        self.hold_damaged(ctx, replicas, effects);
        self.seal_next(ctx, replicas, effects);
        self.begin_due_flush(ctx, replicas, effects);
        self.tick_merge(ctx, replicas);
        self.tick_room(ctx);
        self.store.tick(ctx.now);
        self.tick_rebuilding(ctx);
        self.tick_scrub(ctx);
        self.log.tick(ctx)
    }

    /// Copies a slice of the rows of the flush under way, and takes in a few that come back into memory. Once per turn, behind what clients
    /// and peers wait for. Returns whether there is more to do at once.
    pub(crate) fn work(&mut self, ctx: &mut Context, replicas: &mut impl Replicas) -> bool {
        let is_flushing = self.go_on_flushing(replicas);
        let is_warming = self.go_on_warming(ctx, replicas);
        is_flushing || is_warming || self.log.reads.has_done()
    }

    /// Begins the write of the log's next block, if none is under way.
    ///
    /// # Errors
    /// The log's.
    pub(crate) fn submit(&mut self) -> Result<(), Error> {
        self.log.submit()
    }

    /// How long the block of the log took that has become durable since this was last asked, if there is one.
    pub(crate) fn take_block_time(&mut self) -> Option<Duration> {
        self.log.take_block_time()
    }

    /// What was submitted in this turn is with the disk since `now`.
    pub(crate) fn note_submitted(&mut self, ctx: &mut Context, now: Instant) {
        self.log.note_submitted(ctx, now);
    }

    /// Whether a block of the log is being written: what is handed over now becomes durable with one behind it.
    pub(crate) fn is_writing(&self) -> bool {
        self.log.is_writing()
    }

    /// Whether writes that Raft waits for are not durable yet.
    pub(crate) fn has_pending(&self) -> bool {
        self.log.has_pending()
    }

    /// Whether so much waits to become durable that neither commands nor entries of leaders should be taken in.
    pub(crate) fn is_backlogged(&self) -> bool {
        self.log.is_backlogged()
    }

    /// Why no writes of clients are taken for now but those that make room: the disk is full.
    pub(crate) fn disk_full(&self) -> Option<Rc<str>> {
        self.reserve.fault().or_else(|| self.log.disk_full())
    }

    /// Bytes that entries with commands which make room may take of the log; `None` while it has room for all.
    pub(crate) fn freeing_bytes(&self) -> Option<usize> {
        self.log.freeing_bytes()
    }

    /// Whether the writers of a group wait: the log is as long as it may be because of this group, until a flush has let its oldest
    /// entries go, or they are slowed down. Its followers go on taking entries, as without them nothing could be applied and let go.
    #[inline]
    pub(crate) fn writers_wait(&self, group: usize) -> bool {
        self.records.is_log_full(group) || self.slowing.waits(group).is_some()
    }

    /// The groups that keep a log as long as it may be.
    pub(crate) fn groups_with_full_log(&self) -> Vec<usize> {
        self.records.full().to_vec()
    }

    /// Why the writers of a group wait in this tick, if they are slowed down.
    pub(crate) fn slows(&self, group: usize) -> Option<StallReason> {
        self.slowing.waits(group)
    }

    /// The group of which copies for a flush pile up, if that is so.
    pub(crate) fn copies_behind(&self, replicas: &impl Replicas) -> Option<usize> {
        self.flushing.group().filter(|_| self.is_copying_behind(replicas))
    }

    /// A replica has applied an entry.
    pub(crate) fn applied(&mut self, group: usize, index: Index, payload_bytes: usize) {
        self.records.applied(group, index, payload_bytes);
        if self.reserve.is_given_up() || self.log.freeing_bytes().is_some() {
            self.freeing.applied(group);
        }
    }

    /// A batch of this core was committed and applied, this long after it was proposed.
    pub(crate) fn committed(&mut self, took: Duration, now: Instant) {
        self.log.health.committed(took, now);
    }

    /// The replica here of the group of this id holds this cluster map, which is part of its snapshots from now on, or holds none.
    pub(crate) fn set_cluster_map(&mut self, group: GroupId, map: Option<Vec<u8>>) {
        self.cluster_map = map.map(|map| (group, map));
    }

    /// A later cluster map is known.
    pub(crate) fn set_map(&mut self, map: &Arc<meta::ClusterMap>) {
        self.map = Arc::clone(map);
    }

    /// A link to another core comes into being, breaks or stands again. Links to cores of this node always stand.
    pub(crate) fn link_state(&mut self, link: LinkId, addr: CoreAddr, is_up: bool) {
        self.links.set(link, addr, is_up);
    }

    /// Whether this core is fit to lead: its disk has room and is not slower than those of others.
    pub(crate) fn fitness(&self) -> bool {
        !self.is_disk_full() && !self.log.health.is_slow()
    }

    /// Last index of a group's snapshot on disk; 0 if it has none.
    pub(crate) fn snapshot_index(&self, group: usize) -> Index {
        self.records.snapshot_index(group)
    }

    /// How long the files of a group's tables are, in bytes.
    pub(crate) fn file_bytes(&self, group: GroupId) -> u64 {
        self.store.group(group).map_or(0, |state| state.version.file_bytes())
    }

    /// The figures of this part for INFO.
    pub(crate) fn report(&self, tell: &mut impl FnMut(Field)) {
        self.log.report(tell);
        self.pressure.report(&self.log.stats(), tell);
        self.store.report(tell);
        self.reserve.report(tell);
        tell(Field::greatest(
            "disk_is_full",
            "Whether the disk has no room for writes: all but those that delete are refused.",
            self.is_disk_full().into(),
        ));
        let rows_to_read = self.row_reads.waiting_count() as u64;
        tell(Field::sum(
            "rows_to_read",
            "Rows that commands need and that are to be read from tables.",
            rows_to_read,
        ));
        tell(Field::sum("snapshots_sending", "Snapshots being sent.", self.sending.open_count() as u64));
        tell(Field::sum("snapshots_receiving", "Snapshots being received.", self.receiving.count() as u64));
        tell(Field::sum(
            "replicas_rebuilding",
            "Replicas that wait for a snapshot, as what their disk holds is damaged.",
            self.rebuilding.len() as u64,
        ));
        self.report_warming(tell);
        self.report_scrub(tell);
    }

    /// What the log has done, for an observer.
    pub(crate) fn log_stats(&self) -> wal::Stats {
        self.log.stats()
    }

    /// How full the queues of this part are, for an observer.
    pub(crate) fn queues(&self, replicas: &impl Replicas, queue: &mut impl FnMut(QueueLen)) {
        self.queue_of_copies(replicas, queue);
        let mut one = |name, len: usize, max: usize| queue(QueueLen { name, len: len as u64, max: max as u64 });
        // One per link is under way, one per group waits.
        let receiving_max = self.links.known.len() + self.config.map.groups.len();
        one("snapshots being received", self.receiving.count(), receiving_max);
        one("snapshots being sent", self.sending.open_count(), self.config.limits.snapshot_sends_count_max);
        let (reads, reads_max) = self.log.reads.bytes();
        one("log being read back, bytes", reads, reads_max);
    }
}
