//! What the leaders here report of their groups to whoever leads group 0.

use types::{CoreAddr, GroupId, Instant, ReplicaId, Term};
use wire::{GroupFigures, Member, Membership, REPORT_GROUPS_COUNT_MAX, SilentMember};

use crate::context::Context;
use crate::groups::Groups;
use crate::groups::replica::Replica;

/// A turn looks at this many groups for a report.
const LOOKS_COUNT_MAX: usize = 4 * REPORT_GROUPS_COUNT_MAX;
impl Groups {
    /// What is to be reported of the groups from this one on that are led here, some of them, and with which one to go on; `None` if that
    /// was the last one. `is_heard` and `heard_at` tell of other cores, and `table_bytes` how long a group's files are.
    pub(crate) fn figures(
        &mut self,
        ctx: &Context,
        first: usize,
        is_heard: impl Fn(CoreAddr) -> bool,
        heard_at: impl Fn(CoreAddr) -> Option<Instant>,
        table_bytes: impl Fn(GroupId) -> u64,
    ) -> (Vec<GroupFigures>, Option<usize>) {
        let mut figures = Vec::new();
        let end = self.list.len().min(first + LOOKS_COUNT_MAX);
        for group in first..end {
            if figures.len() == REPORT_GROUPS_COUNT_MAX {
                return (figures, Some(group));
            }
            let replica = &mut self.list[group];
            if replica.leads() {
                let ops_per_s = replica.load.measure(replica.raft.term(), ctx.now);
                let bytes = table_bytes(replica.id);
                figures.extend(figures_of(ctx, replica, &is_heard, &heard_at, bytes, ops_per_s));
            }
        }
        (figures, (end < self.list.len()).then_some(end))
    }

    /// Hands a group over to another replica, if this one leads it in just this term. Returns whether it does.
    pub(crate) fn hand_over_in(&mut self, ctx: &Context, group: usize, term: Term, heir: ReplicaId) -> bool {
        let replica = &mut self.list[group];
        let leads = replica.leads() && replica.raft.term() == term;
        let silent_since = ctx.now - ctx.config.election_timeout_max();
        let is_quiet = replica.raft.is_quiescent();
        let is_heard =
            || replica.raft.peers().any(|peer| peer.id == heir && (is_quiet || peer.heard_at >= silent_since));
        if !leads || !is_heard() || replica.raft.transfer_leader(Some(heir), ctx.now).is_err() {
            return false;
        }
        self.mark(group);
        true
    }
}

/// What is to be reported of a group; `None` while it is not known where its members live.
fn figures_of(
    ctx: &Context,
    replica: &Replica,
    is_heard: impl Fn(CoreAddr) -> bool,
    heard_at: impl Fn(CoreAddr) -> Option<Instant>,
    bytes: u64,
    ops_per_s: u64,
) -> Option<GroupFigures> {
    let raft = &replica.raft;
    let (own, last) = (raft.id(), raft.last_index());
    // Members that a group began with are known to its log by their ids alone.
    let place = |id: ReplicaId| if id == own { Some(ctx.addr()) } else { replica.addrs.get(id) };
    let membership = placed(raft.membership(), place)?;
    let silent_since = ctx.now - ctx.config.election_timeout_max();
    let (mut silent, mut behind) = (Vec::new(), Vec::new());
    for peer in raft.peers().filter(|peer| membership.contains(peer.id)) {
        let addr = place(peer.id)?;
        // A leader that is quiescent asks nobody: its links tell who is there.
        let has_answered = raft.is_quiescent() || peer.heard_at >= silent_since;
        if !has_answered || !is_heard(addr) {
            let by_link = if raft.is_quiescent() { heard_at(addr).unwrap_or(Instant::ZERO) } else { Instant::ZERO };
            let silence = ctx.now.since(peer.heard_at.max(by_link));
            let for_ms = u64::try_from(silence.as_millis()).unwrap_or(u64::MAX);
            silent.push(SilentMember { replica: peer.id, for_ms });
        }
        if peer.match_index == 0 || peer.match_index + raft::PROMOTION_LAG_MAX < last {
            behind.push(peer.id);
        }
    }
    Some(GroupFigures {
        group: replica.id,
        term: raft.term(),
        leader: own,
        membership_index: raft.membership_index(),
        membership,
        silent,
        behind,
        bytes,
        ops_per_s,
    })
}

/// The same members, each with its place.
fn placed(membership: &Membership, place: impl Fn(ReplicaId) -> Option<CoreAddr>) -> Option<Membership> {
    let list = |members: &[Member]| {
        let placed = members.iter().map(|member| Some(Member { place: place(member.id)?, ..*member }));
        placed.collect::<Option<Vec<Member>>>()
    };
    Some(Membership {
        voters: list(&membership.voters)?,
        outgoing: list(&membership.outgoing)?,
        learners: list(&membership.learners)?,
        learners_next: list(&membership.learners_next)?,
    })
}
