//! What is seen of the replicas of a running cluster: every event is noted for the checkers, and counts and queues for the
//! report.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use engine::{BudgetUse, Observer, QueueLen};
use types::{CoreAddr, GroupId, Index, Instant, ReplicaId};
use wire::{Entry, EntryKind, Member, Membership};

use super::{counters, tables};
use crate::observation::{Electorate, Observation, ObservationKind};
use crate::queue::Event;
use crate::trace::Kind;
use crate::world::{ScrubEnded, Shared};

/// A replica tells the digest of its state whenever it has applied this number of entries.
const DIGEST_EVERY: Index = 64;
/// The counter of batches without commands.
const TIME_BATCHES: &str = "batches_for_expiry";
/// A row is altered behind one in so many entries of a group: many are written again before replicas are compared.
const ALTERS_EVERY: Index = 16;
/// How soon a voter that forgets is restarted after it has voted, in nanoseconds.
const FORGETS_AFTER_MAX: u64 = 8_000_000;

/// Stands for the core itself among its groups.
pub(crate) const NO_GROUP: GroupId = GroupId(u32::MAX);

/// What the replicas have done, for the checkers.
pub type Observations = Rc<RefCell<Vec<Observation>>>;

/// What the observers of all cores share.
#[derive(Default)]
pub(crate) struct Views {
    /// The last counts of each core.
    pub(crate) counts: RefCell<BTreeMap<(CoreAddr, u32), Counts>>,
    /// The last counters of each replica. There may be hundreds, told at every tick.
    pub(crate) replicas: RefCell<BTreeMap<(CoreAddr, u32, GroupId), raft::Counters>>,
    /// The fullest that each kind of queue has been.
    pub(crate) queues: RefCell<Vec<QueueLen>>,
    /// The last replica of a group that was seen on a core.
    pub(crate) residents: RefCell<BTreeMap<(CoreAddr, GroupId), ReplicaId>>,
    /// Whether every replica is to tell how far it has come.
    pub(crate) asks_for_digests: Cell<bool>,
}

/// What was counted, by name.
type Counts = Vec<(&'static str, u64)>;

/// Sees what replicas do.
pub(crate) struct CoreObserver {
    pub(crate) world: Shared,
    pub(crate) core: usize,
    pub(crate) epoch: u32,
    pub(crate) observations: Observations,
    pub(crate) views: Rc<Views>,
    /// The index of the last digest of each replica.
    pub(crate) digests: RefCell<BTreeMap<GroupId, Index>>,
    /// When the scrub under way had begun, in nanoseconds, and the files of tables that there were.
    pub(crate) scrub_begun: RefCell<(u64, BTreeSet<u64>)>,
}

impl CoreObserver {
    /// Tells of batches without commands, if there were any since this was last told.
    fn note_time_batches(&self, place: CoreAddr, counts: &[(&'static str, u64)]) {
        let find = |counts: &[(&'static str, u64)]| {
            counts.iter().find(|(name, _)| *name == TIME_BATCHES).map(|(_, count)| *count)
        };
        let known = self.views.counts.borrow().get(&(place, self.epoch)).and_then(|counts| find(counts));
        let Some(count) = find(counts).filter(|count| *count > known.unwrap_or(0)) else { return };
        let (at, kind) = (Instant::from_nanos(self.world.borrow().now()), ObservationKind::TimeBatches(count));
        let seen = Observation { at, place, group: NO_GROUP, replica: ReplicaId::default(), kind };
        self.observations.borrow_mut().push(seen);
    }
}

/// The configuration that an entry holds.
fn configuration(entry: &Entry) -> ObservationKind {
    let membership = Membership::decode(&entry.payload).expect("it was checked before it was logged");
    let ids = |members: &[Member]| members.iter().map(|member| member.id).collect();
    let electorate = Electorate { voters: ids(&membership.voters), outgoing: ids(&membership.outgoing) };
    ObservationKind::Membership { term: entry.term, index: entry.index, electorate }
}

impl Observer for CoreObserver {
    fn observe(&self, place: CoreAddr, group: GroupId, replica: ReplicaId, event: engine::Event<'_>) {
        let world = &mut *self.world.borrow_mut();
        let at = world.now();
        match &event {
            engine::Event::Role { role, term, .. } => {
                world.trace.tell(at, format_args!("{place} group {group}: {role:?} in term {term}"));
                world.trace.add(at, Kind::Replica, [*role as u64, *term]);
            }
            engine::Event::Logged(persist) if world.forgets_votes => {
                let node = world.cores[self.core].node;
                let votes = persist.hard_state.is_some_and(|state| state.vote.is_some_and(|vote| vote != replica));
                if persist.entries.is_empty() && votes {
                    world.nodes[node].disk.forget_from_here();
                    let at = at + world.prng.range(1, FORGETS_AFTER_MAX);
                    world.queue.push(at, Event::Kill { node: node as u32, epoch: self.epoch });
                }
            }
            engine::Event::Applied(entry) => world.trace.add(at, Kind::Replica, [entry.index, entry.term]),
            engine::Event::Quarantined => {
                world.trace.tell(at, format_args!("{place} group {group}: quarantined"));
                world.count("a replica was quarantined");
                let node = world.cores[self.core].node;
                world.nodes[node].has_quarantined = true;
            }
            engine::Event::StateLost => {
                world.trace.tell(at, format_args!("{place} group {group}: has lost its state"));
                world.count("a replica lost its state");
                let node = world.cores[self.core].node;
                world.nodes[node].has_quarantined = true;
            }
            engine::Event::Destroyed => {
                world.trace.tell(at, format_args!("{place} group {group}: replica {replica} is destroyed"));
                let residents = &mut *self.views.residents.borrow_mut();
                if residents.get(&(place, group)) == Some(&replica) {
                    residents.remove(&(place, group));
                }
                self.views.replicas.borrow_mut().remove(&(place, self.epoch, group));
                self.digests.borrow_mut().remove(&group);
            }
            engine::Event::Digest { applied, .. } => {
                self.digests.borrow_mut().insert(group, *applied);
            }
            engine::Event::Started { last_index, hard_state, .. } => {
                self.views.residents.borrow_mut().insert((place, group), replica);
                world.trace.add(at, Kind::Replica, [*last_index, hard_state.term]);
            }
            _ => {}
        }
        let mut seen = Observation::of_event(Instant::from_nanos(at), place, group, replica, &event);
        if let ObservationKind::Quarantined { is_provoked } | ObservationKind::StateLost { is_provoked } =
            &mut seen.kind
        {
            *is_provoked = world.is_provoked(world.cores[self.core].node);
        }
        let observations = &mut *self.observations.borrow_mut();
        if let engine::Event::Applied(Entry { kind: EntryKind::Batch, term, index, payload }) = event {
            let kind = ObservationKind::Batch { term: *term, index: *index, payload: payload.bytes().clone() };
            observations.push(seen.with(kind));
        }
        if let engine::Event::Applied(Entry { kind: EntryKind::Compare, index, .. }) = event {
            observations.push(seen.with(ObservationKind::Compare { index: *index }));
        }
        if let engine::Event::Logged(persist) = event {
            let configurations = persist.entries.iter().filter(|entry| entry.kind == EntryKind::Membership);
            observations.extend(configurations.map(|entry| seen.with(configuration(entry))));
        }
        observations.push(seen);
    }

    fn raft_counted(&self, place: CoreAddr, group: GroupId, counters: &raft::Counters) {
        self.views.replicas.borrow_mut().insert((place, self.epoch, group), *counters);
    }

    fn tables_changed(&self, _: CoreAddr, group: GroupId, replica: ReplicaId) {
        self.world.borrow_mut().tables_changed.push((self.core, group, replica));
    }

    fn scrub_begun(&self, place: CoreAddr) {
        let (now, node) = {
            let world = self.world.borrow();
            (world.now(), world.cores[self.core].node)
        };
        *self.scrub_begun.borrow_mut() = (now, tables::numbers(&self.world, node, place.core));
    }

    fn scrub_ended(&self, _: CoreAddr, sound: &[GroupId]) {
        let (begun_at, numbers) = self.scrub_begun.take();
        let ended = ScrubEnded { core: self.core, begun_at, numbers, sound: sound.to_vec() };
        self.world.borrow_mut().scrubs_ended.push(ended);
    }

    fn core_counted(&self, place: CoreAddr, wal: &wal::Stats, counts: &[(&'static str, u64)]) {
        let mut all = counters::of_wal(wal);
        all.extend_from_slice(counts);
        self.note_time_batches(place, counts);
        self.views.counts.borrow_mut().insert((place, self.epoch), all);
    }

    fn wants_digest(&self, _: CoreAddr, group: GroupId, applied: Index) -> bool {
        let is_due = applied.is_multiple_of(DIGEST_EVERY) || self.views.asks_for_digests.get();
        is_due && self.digests.borrow().get(&group) != Some(&applied)
    }

    fn alters_row(&self, place: CoreAddr, group: GroupId, applied: Index) -> bool {
        let world = &mut *self.world.borrow_mut();
        let is_due = applied.is_multiple_of(ALTERS_EVERY) && world.alters_row_on == Some(self.core);
        if is_due {
            world.count("a row was altered");
            let at = world.now();
            world.trace.tell(at, format_args!("{place} group {group}: a row is altered behind entry {applied}"));
        }
        is_due
    }

    fn budgets(&self, place: CoreAddr, budgets: &[BudgetUse]) {
        for budget in budgets {
            // Books in order say nothing new.
            if budget.counted == budget.held && budget.counted <= budget.max {
                continue;
            }
            let at = Instant::from_nanos(self.world.borrow().now());
            let BudgetUse { name, counted, held, max } = *budget;
            let kind = ObservationKind::Budget { name, counted, held, max };
            let seen = Observation { at, place, group: NO_GROUP, replica: ReplicaId::default(), kind };
            self.observations.borrow_mut().push(seen);
        }
    }

    fn queues(&self, place: CoreAddr, queues: &[QueueLen]) {
        let mut fullest = self.views.queues.borrow_mut();
        if fullest.is_empty() {
            fullest.extend(queues.iter().map(|queue| QueueLen { len: 0, ..*queue }));
        }
        for (known, queue) in fullest.iter_mut().zip(queues) {
            // What is neither fuller than ever nor too full says nothing new.
            if queue.len <= known.len && queue.len <= queue.max {
                continue;
            }
            *known = *queue;
            let at = Instant::from_nanos(self.world.borrow().now());
            let kind = ObservationKind::Queue { name: queue.name, len: queue.len, max: queue.max };
            let seen = Observation { at, place, group: NO_GROUP, replica: ReplicaId::default(), kind };
            self.observations.borrow_mut().push(seen);
        }
    }
}
