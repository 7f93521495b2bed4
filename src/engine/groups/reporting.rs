//! What the leaders here report of their groups to whoever leads group 0.

use std::time::Duration;

use types::{CoreAddr, GroupId, Instant, ReplicaId, Term};
use wire::{GroupFigures, Member, Membership, REPORT_GROUPS_COUNT_MAX, SilentMember};

use crate::context::Context;
use crate::groups::Groups;
use crate::groups::replica::Replica;

/// A turn looks at this many groups for a report.
const LOOKS_COUNT_MAX: usize = 4 * REPORT_GROUPS_COUNT_MAX;
/// Commands per second are those of about so long.
const LOAD_WINDOW: Duration = Duration::from_secs(60);

/// How many commands come for a group that is led here.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct GroupLoad {
    /// Those since the last report.
    commands_count: u64,
    /// Commands per 1,000 seconds, as of the last report.
    rate_milli: u64,
    /// When that was, and since when it is measured.
    reported_at: Instant,
    since: Instant,
    /// In which term: what was measured in another one says nothing.
    term: Term,
}

impl GroupLoad {
    /// Another command has come.
    #[inline]
    pub(super) fn count(&mut self) {
        self.commands_count += 1;
    }

    /// Commands per second, of the last [`LOAD_WINDOW`] or of the time since this one leads in this term, if that is shorter.
    fn measure(&mut self, term: Term, now: Instant) -> u64 {
        if self.term != term {
            // Commands came for about as long as the group was led here before anybody asked.
            *self = GroupLoad { term, since: now, reported_at: now, ..GroupLoad::default() };
            return 0;
        }
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let passed = millis(now.since(self.reported_at));
        if passed > 0 {
            let window = millis(LOAD_WINDOW.min(now.since(self.since))).max(passed);
            let latest = self.commands_count.saturating_mul(1_000_000) / passed;
            let mixed =
                u128::from(self.rate_milli) * u128::from(window - passed) + u128::from(latest) * u128::from(passed);
            self.rate_milli = u64::try_from(mixed / u128::from(window)).unwrap_or(u64::MAX);
            (self.commands_count, self.reported_at) = (0, now);
        }
        self.rate_milli / 1_000
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn load_is_that_of_the_last_minute_or_of_the_time_since_it_is_measured() {
        let at = |seconds: u64| Instant::ZERO + Duration::from_secs(seconds);
        let mut load = GroupLoad::default();
        let of = |load: &mut GroupLoad, count: u64, term, seconds| {
            (0..count).for_each(|_| load.count());
            load.measure(term, at(seconds))
        };
        assert_eq!(of(&mut load, 90, 3, 10), 0, "nobody knows in how long they came");
        assert_eq!(of(&mut load, 100, 3, 11), 100);
        assert_eq!(of(&mut load, 300, 3, 12), 200, "the mean of two seconds");
        assert_eq!(of(&mut load, 0, 3, 12), 200, "no time has passed");
        for second in 13..=400 {
            of(&mut load, 50, 3, second);
        }
        assert!((49..=51).contains(&of(&mut load, 50, 3, 401)), "what was before is forgotten");
        assert_eq!(of(&mut load, 50, 4, 402), 0, "another term");
    }
}
