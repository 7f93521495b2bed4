//! Configurations: how they follow one another, how they may change, and what a majority of one is. Pure.

mod change;
mod history;
mod quorum;

use alloc::vec::Vec;

use types::{CoreAddr, ReplicaId};
use wire::{Entry, EntryKind, Member, Membership};

pub use change::{Change, ChangeError, PROMOTION_LAG_MAX};
pub(crate) use change::{changed, left_joint};
pub(crate) use history::Memberships;
pub(crate) use quorum::{quorum_value, votes};

/// Voters whose places the caller knows.
pub(crate) fn of_ids(voters: &[ReplicaId]) -> Membership {
    Membership::of_voters(voters.iter().map(|id| Member { id: *id, place: CoreAddr::default() }))
}

/// The ids of all members, ordered.
pub(crate) fn ids(membership: &Membership) -> Vec<ReplicaId> {
    let mut ids: Vec<ReplicaId> = membership.members().map(|member| member.id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Whether `id` is the only one that votes.
pub(crate) fn is_sole_voter(membership: &Membership, id: ReplicaId) -> bool {
    let only_it = |set: &[Member]| set.iter().all(|member| member.id == id);
    membership.is_voter(id) && only_it(&membership.voters) && only_it(&membership.outgoing)
}

/// Whether all configurations among `entries` make sense.
pub(crate) fn are_sound(entries: &[Entry]) -> bool {
    let mut all = entries.iter().filter(|entry| entry.kind == EntryKind::Membership);
    all.all(|entry| Membership::decode(&entry.payload).is_ok())
}
