//! How much a turn does, so that none runs long: so many commands of each kind, and so many of all kinds together.
//!
//! A kind never waits for the others: whatever they have done, it has a small part for itself. Applying has all of its own,
//! since what is not applied is answered to nobody, however much more is taken in.

/// What a turn does with commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Commands of clients are executed or go on: those that have just come, and those of clients that had to wait.
    OfClients,
    /// Commands of other cores, and their replies, are taken in.
    OfFrames,
    /// Commands of other cores that have waited for room in their group are executed.
    Held,
    /// Commands that have waited for a leader go on.
    Routed,
    /// Commands in flight, or that wait for a leader, are given up.
    GivenUp,
    /// Commands that a group has taken in and does not execute go back or are answered with an error.
    GivenBack,
    /// Committed commands are applied.
    Applied,
    /// Reads that have waited go on.
    Answered,
}

impl Kind {
    const COUNT: usize = 8;
}

/// A turn does as much as this many kinds could do.
const KINDS_AT_ONCE: usize = 2;
/// What a kind has for itself, whatever the others have done: one in so many of the most that it may do.
const OWN_PART: usize = 8;
/// To handle this many bytes takes about as long as to handle another command.
const BYTES_PER_COMMAND: usize = 4 << 10;

/// What the present turn may still do.
#[derive(Debug)]
pub(crate) struct Shares {
    /// The most of one kind.
    kind_max: usize,
    /// What is left for all kinds together.
    left: usize,
    done: [usize; Kind::COUNT],
}

impl Shares {
    /// The shares of a turn that handles `kind_max` commands of one kind at most.
    pub(crate) fn new(kind_max: usize) -> Shares {
        Shares { kind_max, left: KINDS_AT_ONCE * kind_max, done: [0; Kind::COUNT] }
    }

    /// A turn begins.
    pub(crate) fn begin(&mut self) {
        *self = Shares::new(self.kind_max);
    }

    /// How many commands of a kind may still be handled.
    pub(crate) fn left(&self, kind: Kind) -> usize {
        let own = if kind == Kind::Applied { self.kind_max } else { self.kind_max.div_ceil(OWN_PART) };
        let done = self.done[kind as usize];
        self.left.max(own.saturating_sub(done)).min(self.kind_max.saturating_sub(done))
    }

    /// Whether no more of a kind may be handled.
    pub(crate) fn is_spent(&self, kind: Kind) -> bool {
        self.left(kind) == 0
    }

    /// So many commands were handled.
    pub(crate) fn spend(&mut self, kind: Kind, commands_count: usize) {
        self.done[kind as usize] += commands_count;
        self.left = self.left.saturating_sub(commands_count);
    }

    /// So many commands were handled, of this many bytes together.
    pub(crate) fn spend_with_bytes(&mut self, kind: Kind, commands_count: usize, bytes: usize) {
        self.spend(kind, commands_count + bytes / BYTES_PER_COMMAND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_handles_so_many_commands_of_a_kind_and_of_all_kinds() {
        let mut shares = Shares::new(80);
        assert_eq!(shares.left(Kind::OfClients), 80);
        shares.spend(Kind::OfClients, 80);
        assert!(shares.is_spent(Kind::OfClients));
        shares.spend(Kind::OfFrames, 50);
        assert_eq!((shares.left(Kind::OfFrames), shares.left(Kind::Held)), (30, 30), "30 are left of 160");
        shares.spend(Kind::Held, 30);
        assert_eq!((shares.left(Kind::OfFrames), shares.left(Kind::Held)), (0, 0));
        shares.begin();
        assert_eq!(shares.left(Kind::OfClients), 80);
    }

    #[test]
    fn a_kind_has_a_part_for_itself_and_applying_all_of_its_own() {
        let mut shares = Shares::new(80);
        shares.spend(Kind::OfClients, 1_000);
        assert_eq!(shares.left(Kind::Routed), 10);
        shares.spend(Kind::Routed, 4);
        assert_eq!(shares.left(Kind::Routed), 6);
        assert_eq!(shares.left(Kind::Applied), 80);
        shares.spend_with_bytes(Kind::Applied, 10, 20 * BYTES_PER_COMMAND + 1);
        assert_eq!(shares.left(Kind::Applied), 50, "bytes count as well");
        let tiny = Shares::new(1);
        assert!(!tiny.is_spent(Kind::Answered), "no kind is kept from going on");
    }
}
