//! What one byte of a row's head says: how the row stands to the tables on disk, and more that is told in a bit.

/// Eight bytes between the head and the key say when the row expires.
const EXPIRES: u8 = 1;
/// The key is known not to be there: the row is a tombstone.
const ABSENT: u8 = 2;
/// The tables are known to say nothing of the key, nor has a flush copied the row.
const FRESH: u8 = 4;
const DIRTY: u8 = 8;
const FLUSHING: u8 = 16;
/// Of which round a dirty or flushing row is: rounds of flushes are even and odd in turn.
const ODD: u8 = 32;
/// Somebody has looked for the key since eviction last came by.
const REFERENCED: u8 = 64;
const STATE: u8 = DIRTY | FLUSHING | ODD;

/// How a row stands to the tables.
///
/// *Clean*: they say the same. *Dirty*: they do not; the round is that of the last flush that began before the row was changed.
/// *Flushing*: a flush of this round has copied the row, and it was not changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State(u8);

impl State {
    pub(crate) const CLEAN: State = State(0);

    #[inline]
    pub(crate) fn dirty(is_odd: bool) -> State {
        State(if is_odd { DIRTY | ODD } else { DIRTY })
    }

    #[inline]
    pub(crate) fn flushing(is_odd: bool) -> State {
        State(if is_odd { FLUSHING | ODD } else { FLUSHING })
    }

    #[inline]
    pub(crate) fn is_dirty(self) -> bool {
        self.0 & DIRTY != 0
    }

    #[inline]
    pub(crate) fn is_flushing(self) -> bool {
        self.0 & FLUSHING != 0
    }

    /// The round of a dirty or flushing row.
    #[inline]
    pub(crate) fn is_odd(self) -> bool {
        self.0 & ODD != 0
    }
}

/// The flags of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    /// Those of a row in this state, and with nothing else to tell.
    #[inline]
    pub(crate) fn new(state: State) -> Flags {
        Flags(state.0)
    }

    #[inline]
    fn with(self, flag: u8, is_set: bool) -> Flags {
        Flags(self.0 & !flag | if is_set { flag } else { 0 })
    }

    #[inline]
    pub(crate) fn state(self) -> State {
        State(self.0 & STATE)
    }

    #[inline]
    pub(crate) fn with_state(self, state: State) -> Flags {
        Flags(self.0 & !STATE | state.0)
    }

    #[inline]
    pub(crate) fn expires(self) -> bool {
        self.0 & EXPIRES != 0
    }

    #[inline]
    pub(crate) fn with_expiry(self, expires: bool) -> Flags {
        self.with(EXPIRES, expires)
    }

    #[inline]
    pub(crate) fn is_absent(self) -> bool {
        self.0 & ABSENT != 0
    }

    #[inline]
    pub(crate) fn with_absent(self, is_absent: bool) -> Flags {
        self.with(ABSENT, is_absent)
    }

    #[inline]
    pub(crate) fn is_fresh(self) -> bool {
        self.0 & FRESH != 0
    }

    #[inline]
    pub(crate) fn with_fresh(self, is_fresh: bool) -> Flags {
        self.with(FRESH, is_fresh)
    }

    #[inline]
    pub(crate) fn is_referenced(self) -> bool {
        self.0 & REFERENCED != 0
    }

    #[inline]
    pub(crate) fn with_referenced(self, is_referenced: bool) -> Flags {
        self.with(REFERENCED, is_referenced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_told_and_changes_nothing_else() {
        let states =
            [State::CLEAN, State::dirty(false), State::dirty(true), State::flushing(false), State::flushing(true)];
        for (state, bits) in states.iter().flat_map(|state| (0..16u8).map(move |bits| (*state, bits))) {
            let bit = |at: u8| bits >> at & 1 == 1;
            let set = |flags: Flags| {
                let flags = flags.with_expiry(bit(0)).with_absent(bit(1)).with_fresh(bit(2));
                flags.with_referenced(bit(3)).with_state(state)
            };
            let inverted = Flags(!0).with_state(State::flushing(!state.is_odd()));
            for flags in [set(Flags::new(State::CLEAN)), set(inverted)] {
                let told = [flags.expires(), flags.is_absent(), flags.is_fresh(), flags.is_referenced()];
                assert_eq!(told, [bit(0), bit(1), bit(2), bit(3)]);
                assert_eq!(flags.state(), state);
            }
        }
    }
}
