//! What belongs to a state besides its rows, as the manifest keeps it for this layer.
//!
//! ```text
//! u32 length of the membership, the membership; the cluster map, encoded, in group 0, once one is agreed on
//! ```

use lsm::manifest::Seal;
use wire::{Membership, MembershipError};

const LEN_BYTES: usize = size_of::<u32>();

/// The members of a group and what else its state says beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) membership: Membership,
    /// Empty in all groups but one.
    pub(super) map: Vec<u8>,
}

impl Sealed {
    pub(super) fn encode(&self) -> Vec<u8> {
        let membership = self.membership.encode();
        let len = u32::try_from(membership.len()).expect("members are few");
        [&len.to_le_bytes()[..], &membership, &self.map].concat()
    }

    /// # Errors
    /// The bytes are another layer's, or damaged where no checksum has noticed it.
    pub(super) fn of(seal: &Seal) -> Result<Sealed, MembershipError> {
        let cut_off = || MembershipError::Length(seal.membership.len());
        let (len, rest) = seal.membership.split_first_chunk::<LEN_BYTES>().ok_or_else(cut_off)?;
        let (membership, map) = rest.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or_else(cut_off)?;
        Ok(Sealed { membership: Membership::decode(membership)?, map: map.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use types::{CoreAddr, ReplicaId};
    use wire::Member;

    #[test]
    fn what_was_sealed_is_found_and_nothing_that_is_cut_off() {
        let members = [1, 2].map(|id| Member { id: ReplicaId(id), place: CoreAddr::default() });
        let sealed = Sealed { membership: Membership::of_voters(members), map: vec![1, 2, 3] };
        let seal = Seal { membership: sealed.encode(), ..Seal::default() };
        assert_eq!(Sealed::of(&seal), Ok(sealed));
        for len in 0..seal.membership.len() - 3 {
            let cut = Seal { membership: seal.membership[..len].to_vec(), ..Seal::default() };
            assert!(Sealed::of(&cut).is_err(), "{len}");
        }
    }
}
