//! One replica of a group as its core keeps it: Raft, the keys, and the commands that wait for either.

use std::time::Duration;

use data::Keyspace;
use raft::{Raft, Recovered, StartError};
use types::{CoreAddr, GroupId, Instant, ReplicaId, Slot, Term};
use wire::Membership;

use crate::budget::{Budget, Permit, Pool};
use crate::comparison::ComparePoint;
use crate::config::Config;
use crate::context::Context;
use crate::groups::addresses::Addresses;
use crate::groups::applying::Applying;
use crate::groups::batch_queue::BatchQueue;
use crate::groups::comparing::Divergent;
use crate::groups::failed::FailedBatches;
use crate::groups::forwarded_queue::ForwardedQueue;
use crate::groups::group_load::GroupLoad;
use crate::groups::leaving::LeavingReads;
use crate::groups::proposals::Proposals;
use crate::groups::waiting_reads::WaitingReads;
use crate::limits::PROPOSED_AHEAD_COUNT_MAX;
use crate::observe::Stalls;
use crate::origin::LinkId;
use crate::request::Request;

/// A group in which nothing has happened for this many heartbeat intervals becomes quiescent.
const QUIESCE_INTERVALS_COUNT: u32 = 40;

/// Whether a replica takes part in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It does, or would if it were sound.
    Running,
    /// It belongs to the group no more, and gives back what was taken in here.
    Retiring,
    /// It was destroyed. Nothing is left of it but its place.
    Gone,
}

/// What a replica starts with.
pub(crate) struct NewReplica {
    pub(crate) group: GroupId,
    pub(crate) id: ReplicaId,
    pub(crate) recovered: Recovered,
    pub(crate) membership: Membership,
    pub(crate) keyspace: Keyspace,
    /// Seeds what Raft draws at random.
    pub(crate) seed: u64,
}

/// A replica on this core.
pub(super) struct Replica {
    pub(super) id: GroupId,
    pub(super) life: Life,
    pub(super) raft: Raft,
    pub(super) keyspace: Keyspace,
    /// The keys' bytes, as the budget knows them. Brought up to date when an entry was applied.
    pub(super) keys_permit: Permit,
    /// Where the other replicas live.
    pub(super) addrs: Addresses,
    /// The members, as of the last entry applied.
    pub(super) membership: Membership,
    /// Whether the last of the entries applied that concern this replica has removed it from the members.
    pub(super) has_left_group: bool,
    /// Commands that are not proposed yet.
    pub(super) batches: BatchQueue,
    /// Batches that were proposed here and are not yet applied.
    pub(super) proposed: Proposals,
    /// Batches that were proposed and fail, as far as those who wait for them are not answered.
    pub(super) failed: FailedBatches,
    /// What is to be applied.
    pub(super) applying: Applying,
    /// Reads that wait outside of batches.
    pub(super) reads: WaitingReads,
    /// Reads on their way out, since a leadership was lost.
    pub(super) leaving: LeavingReads,
    /// Commands of other cores that wait until the batches have room, or until those cores take replies.
    pub(super) forwarded: ForwardedQueue,
    /// Bytes of `batches`, of reads that wait or leave, of who waits for what is proposed or fails, and of `forwarded`.
    pub(super) requests_permit: Permit,
    /// Bytes of entries that Raft keeps.
    pub(super) entries_permit: Permit,
    /// Time of the latest batch proposed here, which may not be applied yet.
    pub(super) proposed_ms: u64,
    /// When replicated time last went on, by what was proposed here, applied or taken over.
    pub(super) time_reached_at: Instant,
    /// The term in which it led when Raft last reported its role, if it did.
    pub(super) leader_term: Option<Term>,
    /// Links over which commands came that were refused, and over which none is taken until the other side has heard so.
    pub(super) refused_links: Vec<LinkId>,
    /// Whether the state is lost, so that nothing is applied until another one has taken its place.
    pub(super) is_lost: bool,
    /// What holds up those who write here, and has.
    pub(super) stalls: Stalls,
    /// How many commands come here.
    pub(super) load: GroupLoad,
    /// Whether leadership was handed over because the node stops.
    pub(super) is_handed_over: bool,
    /// The earliest time at which a timer of this replica stands in the core's heap.
    pub(super) timer_at: Instant,
    /// Whether commands that were taken in are being given back. Until the last one has left none is taken in, also if it
    /// leads again meanwhile: it would come before older ones.
    pub(super) is_requeuing: bool,
    /// Whether it is on the list of groups with work, of those with batches, and so on: each list holds a group once.
    pub(super) has_work: bool,
    pub(super) is_batching: bool,
    pub(super) is_full: bool,
    pub(super) is_giving_back: bool,
    pub(super) is_releasing: bool,
    pub(super) is_expiring: bool,
    /// Whether an entry is to be proposed that holds nothing but the time.
    pub(super) wants_time: bool,
    /// How long keys that expire have to live, on average over those last looked at, in milliseconds.
    pub(super) ttl_ms: u64,
    /// Whether somebody is to hear when the group has room again.
    pub(super) is_awaited: bool,
    pub(super) is_watched: bool,
    /// Whether its members are to be compared with those that the map wants.
    pub(super) is_unfit: bool,
    /// When the group is to be compared next, if it is led here.
    pub(super) compare_at: Instant,
    /// Behind which entry the present state was last digested.
    pub(super) compared: Option<ComparePoint>,
    /// That it holds other rows than most, and has left.
    pub(super) divergent: Option<Divergent>,
}

impl Replica {
    /// A replica on what was recovered.
    ///
    /// # Errors
    /// What Raft has against it.
    pub(super) fn start(
        config: &Config,
        budget: &Budget,
        new: NewReplica,
        now: Instant,
    ) -> Result<Replica, StartError> {
        let raft = Raft::new(raft_config(config, &new), new.recovered, now)?;
        let addrs = known_addrs(config, new.group, &new.membership);
        let mut replica = Replica {
            id: new.group,
            life: Life::Running,
            raft,
            keyspace: new.keyspace,
            keys_permit: budget.permit(Pool::Keys),
            addrs,
            membership: new.membership,
            has_left_group: false,
            batches: BatchQueue::new(config.batch_bytes_max, config.limits.batch_commands_max),
            proposed: Proposals::default(),
            failed: FailedBatches::default(),
            applying: Applying::default(),
            reads: WaitingReads::default(),
            leaving: LeavingReads::default(),
            forwarded: ForwardedQueue::default(),
            requests_permit: budget.permit(Pool::Batches),
            entries_permit: budget.permit(Pool::Entries),
            proposed_ms: 0,
            time_reached_at: now,
            leader_term: None,
            refused_links: Vec::new(),
            is_lost: false,
            stalls: Stalls::default(),
            load: GroupLoad::default(),
            is_handed_over: false,
            timer_at: Instant::NEVER,
            is_requeuing: false,
            has_work: false,
            is_batching: false,
            is_full: false,
            is_giving_back: false,
            is_releasing: false,
            is_expiring: false,
            wants_time: false,
            ttl_ms: 0,
            is_awaited: false,
            is_watched: false,
            is_unfit: false,
            compare_at: Instant::NEVER,
            compared: None,
            divergent: None,
        };
        replica.keyspace.own(owned_slots(config, new.group));
        replica.settle_permits();
        Ok(replica)
    }

    /// The time of a batch that is proposed now, in milliseconds since 1970: that of the leader's clock. Where the group is ahead
    /// of that, since the clock has been set back or another leader's was fast, it goes half as fast as time does until they meet.
    pub(super) fn batch_time(&self, ctx: &Context) -> u64 {
        let reached_ms = self.time_reached_ms();
        if ctx.unix_ms >= reached_ms {
            return ctx.unix_ms;
        }
        reached_ms + ctx.now.since(self.time_reached_at).as_millis() as u64 / 2
    }

    /// Replicated time as far as it is known here.
    fn time_reached_ms(&self) -> u64 {
        self.proposed_ms.max(self.keyspace.time_ms())
    }

    /// Notes that time goes on to this, if it does. Called before it is proposed, applied or taken over here: who is elected goes on
    /// from the moment at which it last heard of the time, not from when it last led.
    #[inline]
    pub(super) fn time_goes_on(&mut self, now: Instant, time_ms: u64) {
        if time_ms > self.time_reached_ms() {
            self.time_reached_at = now;
        }
    }

    /// Whether a read is to wait until time has gone on: it looks for a key that is due by the clock and not by replicated time. Where
    /// nothing can be proposed it does not wait.
    #[inline]
    pub(super) fn must_wait_for_time(&self, ctx: &Context, request: Request<'_>) -> bool {
        let Request { command, args, slot, .. } = request;
        let clock_ms = ctx.unix_ms;
        let may_see_due = self.keyspace.has_due(command, args, slot, clock_ms)
            || self.keyspace.may_miss_due(command, slot, args, clock_ms);
        may_see_due && self.leads() && ctx.disk_full.is_none()
    }

    /// Whether the leader that this replica follows lives at one of these addresses, or none is known.
    pub(super) fn follows_one_of(&self, addrs: &[CoreAddr]) -> bool {
        let leader = self.raft.leader().and_then(|leader| self.addrs.get(leader));
        !self.raft.is_leader() && leader.is_none_or(|addr| addrs.contains(&addr))
    }

    /// Whether commands can be taken in here now.
    pub(super) fn leads(&self) -> bool {
        let may_lead = self.raft.is_leader() && self.divergent.is_none() && self.life == Life::Running;
        may_lead && self.raft.transferring_to().is_none() && !self.is_requeuing
    }

    /// Whether it says and hears nothing: it belongs to the group no more, or holds other rows than most. As long as it leads it speaks,
    /// to hand that over.
    pub(super) fn is_mute(&self) -> bool {
        self.life != Life::Running || self.divergent.is_some() && !self.raft.is_leader()
    }

    /// The members from an entry on that is applied now.
    pub(super) fn set_membership(&mut self, membership: Membership) {
        let own = self.raft.id();
        let is_member = |of: &Membership| of.members().any(|member| member.id == own);
        // One that has just begun applies what was there before it.
        self.has_left_group = !is_member(&membership) && (self.has_left_group || is_member(&self.membership));
        self.membership = membership;
    }

    /// Whether nothing is committed before it is durable here, as there is no other voter.
    pub(super) fn commits_alone(&self) -> bool {
        let membership = self.raft.membership();
        membership.voters.len() == 1 && membership.outgoing.is_empty()
    }

    /// Whether so much is under way that what comes next waits for the log here.
    pub(super) fn is_ahead_of_log(&self) -> bool {
        self.proposed.len() >= PROPOSED_AHEAD_COUNT_MAX
    }

    /// Whether commands that were taken in here have no answer yet.
    pub(super) fn has_commands(&self) -> bool {
        let is_idle = self.proposed.is_empty() && self.batches.is_empty() && !self.has_reads();
        self.is_requeuing || !is_idle || self.applying.has_waiters()
    }

    /// Whether commands for this group must wait elsewhere for older ones: for those taken in while it was led here, until
    /// they are requeued, or until it is known what has become of them.
    pub(super) fn has_unsettled(&self) -> bool {
        !self.leads() && self.has_commands()
    }

    /// Whether commands are to be given back by a replica that takes none in.
    pub(super) fn has_to_requeue(&self) -> bool {
        !(self.batches.is_empty() && self.leaving.is_empty() && self.forwarded.is_empty())
    }

    /// Whether nobody waits for anything that was taken in here.
    pub(super) fn is_awaited_by_nobody(&self) -> bool {
        let has_refused = self.forwarded.has_refused();
        !self.has_commands() && !self.has_to_requeue() && self.failed.is_empty() && !has_refused
    }

    /// Whether reads wait.
    pub(super) fn has_reads(&self) -> bool {
        !self.reads.is_empty()
    }

    /// Whether commands over this link must go back unseen.
    pub(super) fn refuses(&self, link: LinkId) -> bool {
        self.refused_links.contains(&link)
    }

    /// A command over this link went back.
    pub(super) fn refuse(&mut self, link: LinkId) {
        if !self.refuses(link) {
            self.refused_links.push(link);
        }
    }

    /// The other side has heard of all that went back.
    pub(super) fn accept_again(&mut self, link: LinkId) {
        self.refused_links.retain(|refused| *refused != link);
    }

    /// The members have changed, or are about to: learns where they live. Those that leave are still spoken to.
    pub(super) fn learn_addresses(&mut self, membership: &Membership) {
        // Members that a group began with are known from the cluster map, and to Raft by their ids alone.
        let known = membership.members().filter(|member| member.place != CoreAddr::default());
        self.addrs.add_members(known.map(|member| (member.id, member.place)));
    }

    /// A digest of the state: of all keys and values, the time, the members and the last entry applied. Replicas that
    /// have applied the same log agree on it. Walks over all keys.
    pub(super) fn digest(&self) -> u128 {
        let mut state = self.membership.encode().to_vec();
        state.extend_from_slice(&self.keyspace.digest().to_le_bytes());
        state.extend_from_slice(&self.keyspace.time_ms().to_le_bytes());
        state.extend_from_slice(&self.raft.applied_index().to_le_bytes());
        xxhash_rust::xxh3::xxh3_128(&state)
    }

    /// Bytes of commands that are not committed yet, proposed or not.
    pub(super) fn backlog_bytes(&self) -> usize {
        self.batches.bytes() + self.raft.uncommitted_bytes()
    }

    /// Bytes of commands that wait here to be proposed or read, and of who waits for what is proposed or fails.
    pub(super) fn waiting_bytes(&self) -> usize {
        let of_proposed = self.proposed.waiters_bytes() + self.applying.waiters_bytes() + self.failed.bytes();
        let of_batches = self.batches.bytes() + of_proposed;
        of_batches + self.reads.bytes() + self.leaving.bytes()
    }

    /// Makes the permit say what waits here.
    pub(super) fn settle_requests(&mut self) {
        self.requests_permit.set(self.waiting_bytes() + self.forwarded.bytes() + self.forwarded.refused_bytes());
    }

    /// Makes all permits say what is held.
    pub(super) fn settle_permits(&mut self) {
        self.settle_requests();
        self.entries_permit.set(self.raft.cache_bytes() + self.raft.uncommitted_bytes());
        self.keys_permit.set(self.keyspace.bytes());
    }
}

/// The runs of slots that a group owns.
pub(super) fn owned_slots(config: &Config, group: GroupId) -> Vec<(Slot, Slot)> {
    let spec = config.map.groups.iter().find(|spec| spec.id == group);
    let ranges = spec.into_iter().flat_map(|spec| &spec.slots);
    ranges.filter_map(|range| Some((Slot::new(range.first)?, Slot::new(range.last)?))).collect()
}

fn raft_config(config: &Config, new: &NewReplica) -> raft::Config {
    let settings = &config.map.settings;
    let spec = config.map.groups.iter().find(|spec| spec.id == new.group);
    // A replica that joined later learns from the others who takes part.
    let first = spec.filter(|spec| spec.replicas.iter().any(|replica| replica.id == new.id));
    let voters = first.into_iter().flat_map(|spec| &spec.replicas).map(|replica| replica.id).collect();
    let mut raft_config = raft::Config::new(new.group, new.id, voters);
    let millis = |ms: u32| Duration::from_millis(u64::from(ms));
    raft_config.heartbeat_interval = millis(settings.heartbeat_interval_ms);
    raft_config.election_timeout_min = millis(settings.election_timeout_min_ms);
    raft_config.election_timeout_max = millis(settings.election_timeout_max_ms);
    raft_config.clock_drift_ppm_max = settings.clock_drift_ppm_max;
    raft_config.quiesce_intervals_count = QUIESCE_INTERVALS_COUNT;
    raft_config.inflight_bytes_max = config.inflight_bytes_max;
    // One message is not longer than all that may be on their way, but for an entry that is.
    raft_config.append_bytes_max = raft_config.append_bytes_max.min(config.inflight_bytes_max);
    raft_config.uncommitted_bytes_max = config.uncommitted_bytes_max;
    raft_config.cache_bytes_max = config.group_cache_bytes_max();
    let preferred = spec.and_then(|spec| spec.preferred_leader());
    raft_config.first_campaigner = preferred.is_some_and(|replica| replica.id == new.id);
    raft_config.seed = new.seed;
    raft_config
}

fn known_addrs(config: &Config, group: GroupId, membership: &Membership) -> Addresses {
    let spec = config.map.groups.iter().find(|spec| spec.id == group);
    let of_map = spec.into_iter().flat_map(|spec| &spec.replicas).map(|replica| (replica.id, replica.place));
    let members = membership.members().filter(|member| member.place != CoreAddr::default());
    let mut addrs = Addresses::default();
    addrs.add_members(of_map.chain(members.map(|member| (member.id, member.place))));
    addrs
}
