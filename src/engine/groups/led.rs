//! What the leaders here know of the members of their groups.

use types::{CoreAddr, GroupId};

use crate::context::Context;
use crate::groups::Groups;
use crate::groups::replica::Replica;
use crate::observe::{LedGroup, MemberReport, MemberRole};

impl Groups {
    /// The groups that are led here. `is_heard` tells whether a core is, and `table_bytes` how long a group's files are.
    pub(crate) fn led_groups(
        &self,
        ctx: &Context,
        is_heard: impl Fn(CoreAddr) -> bool,
        table_bytes: impl Fn(GroupId) -> u64,
    ) -> Vec<LedGroup> {
        let led = self.list.iter().filter(|replica| replica.raft.is_leader());
        led.map(|replica| LedGroup {
            group: replica.id,
            members: members(ctx, replica, &is_heard),
            is_joint: replica.raft.membership().is_joint(),
            keys_count: replica.keyspace.keys_count(),
            table_bytes: table_bytes(replica.id),
        })
        .collect()
    }
}

fn members(ctx: &Context, replica: &Replica, is_heard: impl Fn(CoreAddr) -> bool) -> Vec<MemberReport> {
    let raft = &replica.raft;
    let (membership, own, last) = (raft.membership(), raft.id(), raft.last_index());
    let silent_since = ctx.now - ctx.config.election_timeout_max();
    let mut members: Vec<MemberReport> = Vec::new();
    for id in membership.members().map(|member| member.id) {
        if members.iter().any(|known| known.id == id) {
            continue;
        }
        let role = match () {
            () if id == own => MemberRole::Leader,
            () if membership.is_voter(id) => MemberRole::Voter,
            () => MemberRole::Learner,
        };
        // Members that a group began with are known to its log by their ids alone.
        let place = if id == own { ctx.addr() } else { replica.addrs.get(id).unwrap_or_default() };
        let peer = raft.peers().find(|peer| peer.id == id);
        // A leader that is quiescent asks nobody: its links tell who is there.
        let has_answered = raft.is_quiescent() || peer.is_some_and(|peer| peer.heard_at >= silent_since);
        members.push(MemberReport {
            id,
            place,
            role,
            is_live: id == own || has_answered && is_heard(place),
            lag: if id == own { 0 } else { last.saturating_sub(peer.map_or(0, |peer| peer.match_index)) },
        });
    }
    members.sort_unstable_by_key(|member| (member.role != MemberRole::Leader, member.id));
    members
}
