//! When a load is moved from one to another, be they nodes or cores.
//!
//! A bin has a load and a size, and its level is the load per size. The fullest gives to emptier ones. It gives to one only if, by
//! as much as is left to give, the level of the fuller of the two could fall by a *threshold*, which is a share of the mean; and it gives a
//! piece only if the receiver then stays below where the giver was by the threshold, too. So a small piece goes as the first of many, a
//! large one for its own sake, and none because of a difference that its move would only turn around.
//!
//! Each move lowers the fuller of two levels and touches no other: the levels, sorted from the highest, become less in the order of words in a
//! dictionary. So there is no way back to where things were, and it ends. Where it ends, the fullest bin is within two thresholds of
//! the emptiest that could take of it, or holds pieces that are too large to be worth it.

/// Levels are fractions of this.
const SCALE: u128 = 1 << 20;

/// What is filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bin {
    pub(super) load: u128,
    /// Not 0.
    pub(super) size: u128,
}

/// The threshold of a round.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Not 0.
    threshold: u128,
}

impl Bin {
    /// Load per size.
    pub(super) fn level(self) -> u128 {
        self.load * SCALE / self.size
    }

    pub(super) fn with(self, weight: u128) -> Bin {
        Bin { load: self.load + weight, ..self }
    }

    pub(super) fn without(self, weight: u128) -> Bin {
        Bin { load: self.load.saturating_sub(weight), ..self }
    }

    fn and(self, other: Bin) -> Bin {
        Bin { load: self.load + other.load, size: self.size + other.size }
    }
}

impl Rule {
    /// For these bins, and this share of their mean.
    pub(super) fn new(bins: impl Iterator<Item = Bin>, percent: u32) -> Rule {
        let all = bins.fold(Bin { load: 0, size: 0 }, Bin::and);
        let mean = if all.size == 0 { 0 } else { all.level() };
        Rule { threshold: (mean * u128::from(percent) / 100).max(1) }
    }

    /// Whether the fuller of two could fall by the threshold at all.
    pub(super) fn is_uneven(self, from: Bin, to: Bin) -> bool {
        from.level() >= from.and(to).level() + self.threshold
    }

    /// By how much the fuller of the two falls if this piece goes, if it is to.
    pub(super) fn fall(self, from: Bin, to: Bin, weight: u128) -> Option<u128> {
        let receiver = to.with(weight).level();
        if !self.is_uneven(from, to) || receiver + self.threshold > from.level() {
            return None;
        }
        let fall = from.level() - receiver.max(from.without(weight).level());
        (fall > 0).then_some(fall)
    }

    /// Whether giving all of this away lowers a bin by the threshold.
    pub(super) fn is_worthwhile(self, from: Bin, weight: u128) -> bool {
        from.without(weight).level() + self.threshold <= from.level()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bin(load: u128) -> Bin {
        Bin { load, size: 1 }
    }

    #[test]
    fn a_piece_goes_if_the_fuller_of_two_falls_by_enough() {
        let rule = Rule::new([bin(120), bin(80)].into_iter(), 5);
        assert_eq!(rule.fall(bin(120), bin(80), 20), Some(20 * SCALE), "they are equal then");
        assert_eq!(rule.fall(bin(120), bin(80), 1), Some(SCALE), "the first of many");
        assert_eq!(rule.fall(bin(120), bin(80), 35), Some(5 * SCALE));
        assert_eq!(rule.fall(bin(120), bin(80), 36), None, "it would only turn the difference around");
        assert_eq!(rule.fall(bin(109), bin(100), 1), None, "the difference is too small");
        assert_eq!(rule.fall(bin(80), bin(120), 1), None, "from the emptier to the fuller");
    }

    #[test]
    fn a_bin_of_twice_the_size_gets_twice_the_load() {
        let (small, large) = (bin(100), Bin { load: 100, size: 2 });
        let rule = Rule::new([small, large].into_iter(), 5);
        assert!(rule.is_uneven(small, large) && !rule.is_uneven(large, small));
        assert!(!rule.is_uneven(bin(100), Bin { load: 200, size: 2 }));
    }

    #[test]
    fn what_is_not_worth_it_stays() {
        let rule = Rule::new([bin(100), bin(100)].into_iter(), 5);
        assert!(rule.is_worthwhile(bin(200), 5) && !rule.is_worthwhile(bin(200), 4));
        let empty = Rule::new([bin(0), bin(0)].into_iter(), 5);
        assert!(!empty.is_uneven(bin(0), bin(0)), "nothing is to be done where nothing is");
    }

    proptest! {
        #[test]
        fn pieces_come_to_rest(weights in prop::collection::vec(1u128..1_000, 1..60), bins_count in 2usize..8) {
            let mut at: Vec<usize> = weights.iter().enumerate().map(|(idx, _)| (idx * idx) % bins_count).collect();
            let fill = |at: &[usize]| {
                let mut bins = vec![Bin { load: 0, size: 1 }; bins_count];
                for (weight, bin) in weights.iter().zip(at) {
                    bins[*bin].load += weight;
                }
                bins
            };
            let mut moves = 0;
            loop {
                let bins = fill(&at);
                let rule = Rule::new(bins.iter().copied(), 5);
                let better = |(piece, to): &(usize, usize)| rule.fall(bins[at[*piece]], bins[*to], weights[*piece]).is_some();
                let mut pairs = (0..weights.len()).flat_map(|piece| (0..bins_count).map(move |to| (piece, to)));
                let Some((piece, to)) = pairs.rfind(better) else { break };
                let before = bins.iter().map(|bin| bin.level()).max();
                at[piece] = to;
                prop_assert!(fill(&at).iter().map(|bin| bin.level()).max() <= before);
                moves += 1;
                prop_assert!(moves <= 10 * weights.len(), "it goes on and on");
            }
        }
    }
}
