//! How much a turn takes in of one kind, and one client or link of that.

use crate::limits::{BYTES_PER_TURN_MAX, Limits};

/// A client's, or a link's, part of a turn's share: an eighth, so that several have their turn in each.
const SLICES_COUNT: usize = 8;

/// What may still be done: commands or replies, and their bytes. The last one may exceed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    commands: usize,
    bytes: usize,
}

impl Share {
    /// As much as there is no end to.
    pub(super) const UNLIMITED: Share = Share { commands: usize::MAX, bytes: usize::MAX };

    /// So many commands, and as many bytes as a turn takes in.
    pub(super) fn of_turn(commands: usize) -> Share {
        Share { commands, bytes: BYTES_PER_TURN_MAX }
    }

    /// What one client, or one link, does at a time.
    pub(super) fn of_slice(limits: &Limits) -> Share {
        let Share { commands, bytes } = Share::of_turn(limits.commands_per_turn_max);
        Share { commands: commands.div_ceil(SLICES_COUNT), bytes: bytes.div_ceil(SLICES_COUNT) }
    }

    /// Commands that may still be done.
    pub(super) fn commands(self) -> usize {
        self.commands
    }

    /// Whether nothing may be done any more.
    pub(super) fn is_spent(self) -> bool {
        self.commands == 0 || self.bytes == 0
    }

    /// So much was done.
    pub(super) fn spend(&mut self, commands: usize, bytes: usize) {
        self.commands = self.commands.saturating_sub(commands);
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Takes a slice out, at most what is left. What is not spent of it is to be given back.
    pub(super) fn lend(&mut self, slice: Share) -> Share {
        let lent = Share { commands: slice.commands.min(self.commands), bytes: slice.bytes.min(self.bytes) };
        self.spend(lent.commands, lent.bytes);
        lent
    }

    /// Takes back what is left of a slice.
    pub(super) fn return_rest(&mut self, rest: Share) {
        self.commands += rest.commands;
        self.bytes += rest.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_end_with_the_share_they_are_of() {
        let limits = Limits { commands_per_turn_max: 20, ..Limits::default() };
        let mut share = Share::of_turn(20);
        let mut slices = Vec::new();
        while !share.is_spent() {
            let mut slice = share.lend(Share::of_slice(&limits));
            let commands = slice.commands;
            slice.spend(2, 10);
            slices.push((commands, slice.is_spent()));
            share.return_rest(slice);
        }
        assert_eq!(slices, [(3, false); 9].into_iter().chain([(2, true)]).collect::<Vec<_>>());
        let mut share = Share::of_turn(20);
        share.spend(1, BYTES_PER_TURN_MAX + 1);
        assert!(share.is_spent(), "one command may be longer");
    }
}
