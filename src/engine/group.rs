//! One replica of a group as its core keeps it: Raft, the keys, and the commands under way.

use std::collections::{BTreeMap, VecDeque};

use data::Keyspace;
use raft::{Purpose, Raft};
use resp::Command;
use types::{CoreAddr, GroupId, Index, ReplicaId, Slot, Term};
use wire::{Membership, SnapshotMeta};

use crate::checkpoints::{Held, LogSize};
use crate::forming::Forming;
use crate::held::{ArgStore, HeldArgs};
use crate::origin::Origin;
use crate::proposals::Proposals;

/// Someone who waits for a batch to be applied.
#[derive(Clone, Copy)]
pub(crate) enum Waiter {
    /// For the outcome of the batch's next command.
    Write(Origin),
    /// For a read to be carried out right behind the command before it. Its arguments lie in the batch's
    /// store. Such a read needs no lease: the batch was proposed after the read arrived, so if it is
    /// committed in its term, no later leader had acknowledged anything by then.
    Read { origin: Origin, command: &'static Command, slot: Slot, held: HeldArgs },
}

/// The waiters of one batch, in the order of its commands.
#[derive(Default)]
pub(crate) struct Waiters {
    pub(crate) list: Vec<Waiter>,
    pub(crate) held: ArgStore,
}

/// A read that waits for something to be applied.
pub(crate) struct WaitingRead {
    pub(crate) origin: Origin,
    pub(crate) command: &'static Command,
    pub(crate) slot: Slot,
    pub(crate) args: ArgStore,
    /// It can be served once this is applied ...
    pub(crate) index: Index,
    /// ... and, unless ReadIndex has confirmed the leadership since it arrived, while there is a lease.
    pub(crate) is_confirmed: bool,
}

/// A replica on this core.
pub(crate) struct Group {
    pub(crate) id: GroupId,
    /// Index of its route.
    pub(crate) route: usize,
    pub(crate) raft: Raft,
    pub(crate) keyspace: Keyspace,
    /// Where the other replicas live.
    pub(crate) places: BTreeMap<ReplicaId, CoreAddr>,
    /// Commands that are not proposed yet.
    pub(crate) forming: Forming,
    /// Batches that were proposed here and are not yet applied.
    pub(crate) proposed: Proposals,
    /// Reads that wait for an index, in the order of arrival.
    pub(crate) waiting_reads: VecDeque<WaitingRead>,
    /// Reads whose leadership check is under way or about to be asked for, by the number of the check.
    pub(crate) index_reads: BTreeMap<u64, Vec<WaitingRead>>,
    /// Number of the next check; reads of one turn share one.
    pub(crate) index_read_next: u64,
    /// Time of the latest batch applied, in milliseconds since 1970. Never goes back within a group, and is part of its
    /// state: the same on every replica that has applied the same entries.
    pub(crate) time_ms: u64,
    /// Time of the latest batch proposed here, which may not be applied yet.
    pub(crate) proposed_ms: u64,
    /// Whether it is on the core's list of groups to look at in this turn.
    pub(crate) is_dirty: bool,
    /// The term in which it led when Raft last reported its role, if it did.
    pub(crate) led_in: Option<Term>,
    /// Links over which commands came that were refused, and over which none is taken until the other side has heard so.
    pub(crate) refused_links: Vec<u32>,
    /// Whether leadership was handed over because the node stops.
    pub(crate) is_handed_over: bool,
    /// The members, as of the last entry applied.
    pub(crate) membership: Membership,
    /// The checkpoint on disk.
    pub(crate) checkpoint: Option<Held>,
    /// What the state has taken in of the log.
    pub(crate) log_size: LogSize,
    /// Log reads that failed, to be tried again at the next tick.
    pub(crate) failed_log_reads: Vec<Purpose>,
    /// Log reads in a row that failed.
    pub(crate) log_read_failures: u32,
    /// Reads of committed entries, to apply them, in a row that failed.
    pub(crate) apply_read_failures: u32,
    /// The log cannot be read up to this index, or somewhere before it; 0 if it can. Who needs it must be handed a
    /// checkpoint.
    pub(crate) unreadable_to: Index,
}

impl Group {
    pub(crate) fn new(id: GroupId, route: usize, raft: Raft, membership: Membership, hash_seed: u64) -> Group {
        Group {
            id,
            route,
            raft,
            keyspace: Keyspace::with_hash_seed(hash_seed),
            places: membership.members().map(|member| (member.id, member.place)).collect(),
            forming: Forming::default(),
            proposed: Proposals::default(),
            waiting_reads: VecDeque::new(),
            index_reads: BTreeMap::new(),
            index_read_next: 1,
            time_ms: 0,
            proposed_ms: 0,
            is_dirty: false,
            led_in: None,
            refused_links: Vec::new(),
            is_handed_over: false,
            membership,
            checkpoint: None,
            log_size: LogSize::default(),
            failed_log_reads: Vec::new(),
            log_read_failures: 0,
            apply_read_failures: 0,
            unreadable_to: 0,
        }
    }

    /// Whether the leader that this replica follows lives at one of these places.
    pub(crate) fn follows_one_of(&self, places: &[CoreAddr]) -> bool {
        let leader = self.raft.leader().and_then(|leader| self.places.get(&leader));
        !self.raft.is_leader() && leader.is_none_or(|place| places.contains(place))
    }

    /// Whether commands can be taken in here now.
    pub(crate) fn leads(&self) -> bool {
        self.raft.is_leader() && self.raft.transferring_to().is_none()
    }

    /// Whether commands that were taken in here have no answer yet.
    pub(crate) fn has_commands(&self) -> bool {
        !(self.proposed.is_empty()
            && self.forming.is_empty()
            && self.waiting_reads.is_empty()
            && self.index_reads.is_empty())
    }

    /// Whether commands over this link must go back unseen.
    pub(crate) fn refuses(&self, link: u32) -> bool {
        self.refused_links.contains(&link)
    }

    /// A command over this link went back.
    pub(crate) fn refuse(&mut self, link: u32) {
        if !self.refuses(link) {
            self.refused_links.push(link);
        }
    }

    /// The other side has heard of all that went back.
    pub(crate) fn accept_again(&mut self, link: u32) {
        self.refused_links.retain(|refused| *refused != link);
    }

    /// Takes out reads that wait, in the order in which they came.
    pub(crate) fn take_reads(&mut self, mut is_wanted: impl FnMut(&WaitingRead) -> bool) -> Vec<WaitingRead> {
        let mut taken: Vec<WaitingRead> = Vec::new();
        for read in std::mem::take(&mut self.waiting_reads) {
            if is_wanted(&read) { taken.push(read) } else { self.waiting_reads.push_back(read) }
        }
        for reads in self.index_reads.values_mut() {
            taken.extend(reads.extract_if(.., |read| is_wanted(read)));
        }
        self.index_reads.retain(|_, reads| !reads.is_empty());
        taken
    }

    /// The members have changed, or are about to: learns where they live. Those that leave are still spoken to.
    pub(crate) fn meet(&mut self, membership: &Membership) {
        // Members that a group began with are known from the cluster map, and to Raft by their ids alone.
        let known = membership.members().filter(|member| member.place != CoreAddr::default());
        self.places.extend(known.map(|member| (member.id, member.place)));
    }

    /// Last index of the checkpoint on disk; 0 if there is none.
    pub(crate) fn checkpoint_index(&self) -> Index {
        self.checkpoint.as_ref().map_or(0, |held| held.last_index)
    }

    /// Tells Raft of the checkpoint on disk, if the state here has come as far.
    pub(crate) fn offer_checkpoint(&mut self) {
        let offered = self.raft.snapshot().map_or(0, |snapshot| snapshot.last_index);
        let Some(held) = self.checkpoint.as_ref().filter(|held| held.last_index > offered) else { return };
        if held.last_index <= self.raft.applied_index() {
            let (last_index, last_term) = (held.last_index, held.last_term);
            self.raft.set_snapshot(SnapshotMeta { last_index, last_term, membership: held.membership.clone() });
        }
    }

    /// A digest of the state: of all keys and values, the time, the members and the last entry applied. Replicas that
    /// have applied the same log agree on it. Walks over all keys.
    pub(crate) fn digest(&self) -> u128 {
        let mut state = self.membership.encode().to_vec();
        state.extend_from_slice(&self.keyspace.digest().to_le_bytes());
        state.extend_from_slice(&(self.keyspace.keys_count() as u64).to_le_bytes());
        state.extend_from_slice(&self.time_ms.to_le_bytes());
        state.extend_from_slice(&self.raft.applied_index().to_le_bytes());
        xxhash_rust::xxh3::xxh3_128(&state)
    }

    /// Bytes of commands that are not committed yet, proposed or not.
    pub(crate) fn backlog_bytes(&self) -> usize {
        self.forming.bytes() + self.raft.uncommitted_bytes()
    }
}
