//! What is kept of comparisons of the replicas of groups, and when they are due; `compare` says how they go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use types::{CoreAddr, GroupId, Instant, ReplicaId};
use wire::{ComparisonNote, DIGEST_BYTES};
use xxhash_rust::xxh3::xxh3_64;

use crate::budget::{Budget, Permit, Pool};
use crate::comparison::{ComparePoint, Comparison, DigestAnswer};
use crate::context::Context;

/// Why no comparison was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CompareRefusal {
    /// The group is led elsewhere.
    NotLeader,
    /// There is nobody to compare with.
    Alone,
    /// One of this group is under way.
    Running,
}

/// A comparison under way.
pub(super) struct Running {
    pub(super) group: usize,
    pub(super) point: ComparePoint,
    pub(super) begun_at: Instant,
    /// The voters and what they have answered, this replica first.
    pub(super) answers: Vec<(ReplicaId, CoreAddr, Option<DigestAnswer>)>,
    /// When this replica's digest was there.
    pub(super) own_at: Option<Instant>,
}

/// The comparisons of the groups that a core leads.
pub(super) struct Comparing {
    pub(super) running: Option<Running>,
    /// Groups that somebody wants compared, each once.
    pub(super) wanted: VecDeque<usize>,
    /// The last result of each group.
    pub(super) results: BTreeMap<GroupId, Comparison>,
    /// Replicas that differ from most of a group that is led here, until they agree.
    pub(super) differing: BTreeMap<usize, BTreeSet<ReplicaId>>,
    /// What other cores have said and is not taken in.
    pub(super) notes: Vec<(usize, CoreAddr, ComparisonNote)>,
    /// For digests that are held.
    pub(super) permit: Permit,
    pub(super) look_at: Instant,
    pub(super) looked_at: usize,
}

impl Comparing {
    pub(super) fn new(budget: &Budget) -> Comparing {
        Comparing {
            running: None,
            wanted: VecDeque::new(),
            results: BTreeMap::new(),
            differing: BTreeMap::new(),
            notes: Vec::new(),
            permit: budget.permit(Pool::Snapshots),
            look_at: Instant::ZERO,
            looked_at: 0,
        }
    }

    /// Whether something waits for ticks. Comparisons that become due do not: the core ticks anyway.
    pub(super) fn wants_ticks(&self) -> bool {
        self.running.is_some() || !self.wanted.is_empty() || !self.notes.is_empty()
    }

    /// The last result of each group.
    pub(super) fn results(&self) -> impl Iterator<Item = &Comparison> {
        self.results.values()
    }

    /// How many replicas of groups that are led here differ from most.
    pub(super) fn differing_count(&self) -> usize {
        self.differing.values().map(BTreeSet::len).sum()
    }

    /// The replica here of a group is gone.
    pub(super) fn forget(&mut self, group: usize, id: GroupId) {
        self.running.take_if(|running| running.group == group);
        self.wanted.retain(|wanted| *wanted != group);
        self.results.remove(&id);
        self.differing.remove(&group);
        self.notes.retain(|(about, ..)| *about != group);
        self.settle();
    }

    pub(super) fn settle(&mut self) {
        let is_digest = |(.., answer): &&(ReplicaId, CoreAddr, Option<DigestAnswer>)| matches!(answer, Some(Ok(_)));
        let answers = self.running.iter().flat_map(|running| &running.answers).filter(is_digest).count();
        self.permit.set((answers + self.notes.len()) * DIGEST_BYTES);
    }
}

/// That a replica has left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Divergent {
    /// When it next asks the others.
    pub(super) ask_at: Instant,
}

/// When a group is to be compared next: behind the interval, or up to a quarter of it sooner or later.
pub(super) fn next_at(ctx: &Context, group: GroupId) -> Instant {
    after(ctx.now, ctx.settings.compare_interval, 750 + seed(ctx, group) % 501)
}

/// When a group is compared first behind a start: within the interval, so that those of a core are spread over it.
pub(super) fn first_at(interval: Option<Duration>, now: Instant, seed: u64) -> Instant {
    after(now, interval, seed % 1_001)
}

/// When a group is compared next behind a change of the interval: within it, as behind a start.
pub(super) fn anew_at(ctx: &Context, group: GroupId) -> Instant {
    first_at(ctx.settings.compare_interval, ctx.now, seed(ctx, group))
}

fn seed(ctx: &Context, group: GroupId) -> u64 {
    xxh3_64([u64::from(group.0), ctx.now.as_nanos()].map(u64::to_le_bytes).as_flattened())
}

fn after(now: Instant, interval: Option<Duration>, permille: u64) -> Instant {
    let Some(interval) = interval else { return Instant::NEVER };
    let ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    now + Duration::from_millis(ms / 1_000 * permille + ms % 1_000 * permille / 1_000)
}
