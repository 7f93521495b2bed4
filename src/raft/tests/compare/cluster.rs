//! A cluster of either kind, and the network between its replicas.

use std::collections::BTreeSet;

/// Waves of messages after which a cluster should have come to rest.
const WAVES_MAX: u64 = 1_000;

/// Rounds of heartbeats after which leaders should have brought everybody within reach up to date.
const PINGS_MAX: u64 = 50;

/// So many rounds of heartbeats without any change mean that there is nothing left to do. The first may only tell a
/// leader that something is missing.
const PINGS_IDLE: u64 = 2;

/// An entry: its term, and its payload, 0 for the one that begins a term.
pub(crate) type Record = (u64, u64);

/// What is compared of a replica.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) term: u64,
    pub(crate) leads: bool,
    /// With what was dropped from its beginning.
    pub(crate) log: Vec<Record>,
    pub(crate) commit: usize,
}

/// A replica of either implementation.
pub(crate) trait Replica {
    type Message: Clone;
    /// A snapshot that does not travel in messages.
    type Snapshot;

    /// A brand-new replica `id` of a group of `1 ..= count`; `narrow` if its windows and messages are small.
    fn new(id: u64, count: u64, narrow: bool) -> Self;
    /// The process dies and starts again from what is durable.
    fn restart(&mut self);
    /// Writes do not become durable from now on, until `resume`.
    fn stall(&mut self);
    fn resume(&mut self);
    /// Makes a snapshot of what is applied and drops the log up to about there.
    fn compact(&mut self);
    /// Whose snapshot it wants to fetch.
    fn wants(&mut self) -> Option<u64>;
    fn give(&self) -> Option<Self::Snapshot>;
    fn take_over(&mut self, snapshot: Self::Snapshot);
    /// The host learns whether a message it sent has arrived.
    fn reported(&mut self, message: &Self::Message, arrived: bool);
    /// It no longer sticks to any leader.
    fn forget_leader(&mut self);
    /// It no longer leads, in the same term.
    fn resign(&mut self);
    fn campaign(&mut self);
    /// A leader takes a command.
    fn propose(&mut self, payload: u64);
    /// A leader sends heartbeats; others do nothing.
    fn ping(&mut self);
    fn step(&mut self, message: Self::Message);
    /// Moves out what may leave, as (from, to, message).
    fn take_messages(&mut self, out: &mut Vec<(u64, u64, Self::Message)>);
    fn view(&self) -> View;
}

/// Chance: SplitMix64.
#[derive(Clone)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    /// True in `percent` of a hundred cases.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick(&mut self, among: &[u64]) -> u64 {
        among[self.below(among.len() as u64) as usize]
    }
}

/// Links that are cut, both ways; the lower id first.
#[derive(Clone, Default, Debug)]
pub(crate) struct Cuts(pub(crate) BTreeSet<(u64, u64)>);

impl Cuts {
    pub(crate) fn connects(&self, one: u64, other: u64) -> bool {
        !self.0.contains(&(one.min(other), one.max(other)))
    }

    /// Everybody whom news from `id` can reach in the end, itself included.
    pub(crate) fn component(&self, id: u64, count: u64) -> BTreeSet<u64> {
        let mut reached = BTreeSet::from([id]);
        for _ in 0..count {
            let more = (1..=count).filter(|other| reached.iter().any(|one| self.connects(*one, *other)));
            let more: Vec<u64> = more.collect();
            reached.extend(more);
        }
        reached
    }
}

/// All replicas, with ids from 1.
pub(crate) struct Cluster<R: Replica> {
    replicas: Vec<R>,
    flying: Vec<(u64, u64, R::Message)>,
}

impl<R: Replica> Cluster<R> {
    pub(crate) fn new(count: u64, narrow: bool) -> Cluster<R> {
        Cluster { replicas: (1..=count).map(|id| R::new(id, count, narrow)).collect(), flying: Vec::new() }
    }

    pub(crate) fn replica(&mut self, id: u64) -> &mut R {
        &mut self.replicas[id as usize - 1]
    }

    pub(crate) fn views(&self) -> Vec<View> {
        self.replicas.iter().map(R::view).collect()
    }

    fn collect(&mut self) {
        for replica in &mut self.replicas {
            replica.take_messages(&mut self.flying);
        }
    }

    /// Delivers until nothing is on its way. In each wave links take their turns by chance, some messages come twice;
    /// both depend on `seed`, wave and link alone, so that they are the same for both clusters.
    pub(crate) fn settle(&mut self, cuts: &Cuts, seed: u64) {
        for wave in 0..WAVES_MAX {
            self.collect();
            if self.flying.is_empty() {
                return;
            }
            let mut arriving = std::mem::take(&mut self.flying);
            let luck = |from: u64, to: u64| Dice(seed ^ (wave << 16) ^ (from << 8) ^ to).roll();
            arriving.sort_by_key(|(from, to, _)| luck(*from, *to));
            for (from, to, message) in arriving {
                if !cuts.connects(from, to) {
                    self.replica(from).reported(&message, false);
                    continue;
                }
                self.replica(from).reported(&message, true);
                if luck(from, to).is_multiple_of(4) {
                    self.replica(to).step(message.clone());
                }
                self.replica(to).step(message);
            }
            self.fetch(cuts);
        }
        panic!("the cluster does not come to rest");
    }

    /// Replicas that want a snapshot have it at once, if they can reach its owner.
    fn fetch(&mut self, cuts: &Cuts) {
        for id in 1..=self.replicas.len() as u64 {
            let Some(from) = self.replica(id).wants().filter(|from| cuts.connects(id, *from)) else { continue };
            if let Some(snapshot) = self.replica(from).give() {
                self.replica(id).take_over(snapshot);
            }
        }
    }

    /// Settles, and lets leaders bring everybody within reach up to date.
    pub(crate) fn come_to_rest(&mut self, cuts: &Cuts, seed: u64) {
        self.settle(cuts, seed);
        let (mut views, mut idle) = (self.views(), 0);
        for ping in 1..=PINGS_MAX {
            self.replicas.iter_mut().for_each(R::ping);
            self.settle(cuts, seed ^ (ping << 32));
            let before = std::mem::replace(&mut views, self.views());
            idle = if views == before { idle + 1 } else { 0 };
            if idle == PINGS_IDLE {
                return;
            }
        }
        panic!("leaders do not bring the others up to date");
    }

    /// One step of a storm: of what is on its way some is lost, some comes twice, some stays behind.
    pub(crate) fn storm(&mut self, dice: &mut Dice) {
        self.collect();
        let mut arriving = std::mem::take(&mut self.flying);
        while !arriving.is_empty() {
            let idx = dice.below(arriving.len() as u64) as usize;
            let (from, to, message) = arriving.swap_remove(idx);
            match dice.below(10) {
                0 | 1 => self.replica(from).reported(&message, false),
                2 | 3 => self.flying.push((from, to, message)),
                4 => {
                    self.flying.push((from, to, message.clone()));
                    self.replica(to).step(message);
                }
                _ => {
                    self.replica(from).reported(&message, true);
                    self.replica(to).step(message);
                }
            }
        }
        if dice.chance(50) {
            self.fetch(&Cuts::default());
        }
    }
}
