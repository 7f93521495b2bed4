//! What is explored: a group, how it gets to where the exploration begins, and the bounds of what may come.

use core::time::Duration;
use std::vec::Vec;

use types::{CoreAddr, CoreId, GroupId, NodeId, ReplicaId};
use wire::{Body, Member};

use crate::{Change, Config};

/// Replicas of a scenario: three that the group begins with, and one that may join.
pub(super) const REPLICAS_COUNT: usize = 4;

/// When writes become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disks {
    /// Within the step that began them, unless the process ends in that step.
    Prompt,
    /// Whenever it may be, one after the other.
    Late,
    /// As with `Late`, but said to be durable at once: no replica can do with such a disk.
    Lying,
}

/// What becomes of questions whether to campaign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PreVotes {
    /// They are asked and answered.
    Asked,
    /// Everybody agrees at once. No safety rests on these answers, and an election takes half as many steps.
    Granted,
}

/// How time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clocks {
    /// As it may: every time-out can come at any time. Leases mean nothing then.
    Free,
    /// In ticks of true time, in each of which the replicas' clocks advance by as many milliseconds. The fastest and the slowest
    /// differ by as much as the configuration allows.
    Bounded([u64; REPLICAS_COUNT]),
}

/// What happens behind a step that leads to the beginning of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// All writes are done and all messages received, those too that they lead to.
    AllArrives,
    /// All messages are lost.
    AllIsLost,
    /// The next step.
    Next,
}

/// What there is a bounded number of in any one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Budget {
    /// Elections that a replica starts by itself.
    Elections,
    Heartbeats,
    QuorumsLost,
    Proposals,
    Changes,
    Transfers,
    Crashes,
    /// Messages that come twice.
    Copies,
    Compactions,
    Reads,
    /// Ticks of true time.
    Ticks,
}

pub(super) const BUDGETS_COUNT: usize = Budget::Ticks as usize + 1;

/// How much of everything there may be. Losses need no bound: a message that is never received is lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) budgets: [u8; BUDGETS_COUNT],
    /// Messages that are under way at a time, and not lost.
    pub(super) in_flight: usize,
    pub(super) depth: usize,
    /// Where an exploration ends that has not ended before.
    pub(super) states: usize,
}

impl Bounds {
    pub(super) const fn new(in_flight: usize, depth: usize) -> Bounds {
        Bounds { budgets: [0; BUDGETS_COUNT], in_flight, depth, states: usize::MAX }
    }

    pub(super) const fn with(mut self, budget: Budget, count: u8) -> Bounds {
        self.budgets[budget as usize] = count;
        self
    }
}

/// A scenario. Begins behind `prepared`, with all budgets whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scenario {
    pub(super) name: &'static str,
    pub(super) disks: Disks,
    pub(super) pre_votes: PreVotes,
    pub(super) clocks: Clocks,
    /// Messages that are always lost, so that others have room.
    pub(super) is_lost: fn(&Body) -> bool,
    /// Answers of terms that their receiver has left for good are let go: no rule but one rests on them, and they are many.
    pub(super) drops_old_answers: bool,
    /// The changes of membership that a leader may be asked for.
    pub(super) changes: &'static [&'static [Change]],
    /// Replicas that leadership may be handed to.
    pub(super) successors: &'static [ReplicaId],
    /// Entries in the state that the three replicas of the group begin with.
    pub(super) genesis_len: u8,
    /// Steps that lead to the beginning, and what becomes of the messages under way behind each.
    pub(super) prepared: &'static [(&'static str, Then)],
    /// Those of the test.
    pub(super) bounds: Bounds,
    /// The states that the test finds at least.
    pub(super) states_min: usize,
    /// Those of a long run.
    pub(super) deep: Bounds,
}

impl Scenario {
    /// The settings of replica `id`.
    pub(super) fn config(&self, id: ReplicaId) -> Config {
        let voters: Vec<ReplicaId> = if id.0 <= 3 { (1..=3).map(ReplicaId).collect() } else { Vec::new() };
        Config {
            heartbeat_interval: Duration::from_millis(3),
            heartbeat_interval_min: Duration::from_millis(3),
            election_timeout_min: Duration::from_millis(6),
            election_timeout_max: Duration::from_millis(12),
            // A lease ends just before four of six milliseconds.
            clock_drift_ppm_max: 333_334,
            // Entries travel one by one.
            append_bytes_max: 1,
            ..Config::new(GroupId(1), id, voters)
        }
    }
}

/// A member of the group.
pub(super) const fn member(id: u64) -> Member {
    Member { id: ReplicaId(id), place: CoreAddr { node: NodeId(0), core: CoreId(0) } }
}
