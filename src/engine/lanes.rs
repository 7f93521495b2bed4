//! The ways by which commands leave a core: one per group of the cluster.

use std::collections::VecDeque;
use std::ops::{Index, IndexMut};

use types::Instant;

use crate::forwards::Forward;

/// How the commands for one group leave this core.
///
/// Invariant: what is under way went over one link. When the leader moves, newer commands wait here until
/// the older ones are answered, so that the commands of a connection never overtake each other.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) link: Option<u32>,
    pub(crate) under_way_count: usize,
    /// Since when what is under way is with a core that another one has followed as leader.
    pub(crate) deposed_at: Option<Instant>,
    parked: VecDeque<Forward>,
    /// How many at the front of `parked` were refused by a core that does not lead any more, or lost with its link,
    /// since the lane was last free.
    refused_count: usize,
}

impl Lane {
    /// Whether a command may be carried out here without overtaking an older one.
    pub(crate) fn is_free_for_local(&self) -> bool {
        self.under_way_count == 0 && self.parked.is_empty()
    }

    /// Whether commands wait.
    pub(crate) fn has_parked(&self) -> bool {
        !self.parked.is_empty()
    }

    /// Whether commands wait that were sent before.
    pub(crate) fn has_refused(&self) -> bool {
        self.refused_count > 0
    }
}

/// The lanes of a core, by the index of the group's route.
pub(crate) struct Lanes {
    list: Vec<Lane>,
    parked_count: usize,
    parked_bytes: usize,
}

impl Lanes {
    /// So many, all free.
    pub(crate) fn new(count: usize) -> Lanes {
        Lanes { list: std::iter::repeat_with(Lane::default).take(count).collect(), parked_count: 0, parked_bytes: 0 }
    }

    /// How many lanes there are.
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    /// Commands that wait, in all lanes.
    pub(crate) fn parked_count(&self) -> usize {
        self.parked_count
    }

    /// Bytes of their arguments.
    pub(crate) fn parked_bytes(&self) -> usize {
        self.parked_bytes
    }

    /// Puts a command behind all that waits.
    pub(crate) fn park(&mut self, forward: Forward) {
        self.came(&forward);
        self.list[forward.route].parked.push_back(forward);
    }

    /// Puts commands back that were taken in here before all that waits.
    pub(crate) fn put_before_all(&mut self, route: usize, older: Vec<Forward>) {
        older.iter().for_each(|forward| self.came(forward));
        let lane = &mut self.list[route];
        if lane.refused_count > 0 {
            lane.refused_count += older.len();
        }
        for forward in older.into_iter().rev() {
            lane.parked.push_front(forward);
        }
    }

    /// Puts a command back that was refused, to its place among others that were: they stand in the order in which they
    /// were sent, but need not be refused in it.
    pub(crate) fn put_back(&mut self, forward: Forward) {
        self.came(&forward);
        let lane = &mut self.list[forward.route];
        let refused = lane.parked.iter().take(lane.refused_count);
        let place = refused.take_while(|other| other.sent_as < forward.sent_as).count();
        lane.parked.insert(place, forward);
        lane.refused_count += 1;
    }

    /// Takes out the oldest command that waits, to be sent or carried out: the lane is free of what was refused.
    pub(crate) fn take_first(&mut self, route: usize) -> Option<Forward> {
        let lane = &mut self.list[route];
        let forward = lane.parked.pop_front()?;
        lane.refused_count = 0;
        self.left(&forward);
        Some(forward)
    }

    /// Takes out what has waited for too long.
    pub(crate) fn take_late(&mut self, route: usize, now: Instant) -> Vec<Forward> {
        let lane = &mut self.list[route];
        let mut late = Vec::new();
        let mut refused_count = 0;
        for (place, forward) in std::mem::take(&mut lane.parked).into_iter().enumerate() {
            if forward.deadline <= now {
                late.push(forward);
            } else {
                refused_count += usize::from(place < lane.refused_count);
                lane.parked.push_back(forward);
            }
        }
        lane.refused_count = refused_count;
        late.iter().for_each(|forward| self.left(forward));
        late
    }

    fn came(&mut self, forward: &Forward) {
        self.parked_count += 1;
        self.parked_bytes += forward.args.bytes();
    }

    fn left(&mut self, forward: &Forward) {
        self.parked_count -= 1;
        self.parked_bytes -= forward.args.bytes();
    }
}

impl Index<usize> for Lanes {
    type Output = Lane;

    fn index(&self, route: usize) -> &Lane {
        &self.list[route]
    }
}

impl IndexMut<usize> for Lanes {
    fn index_mut(&mut self, route: usize) -> &mut Lane {
        &mut self.list[route]
    }
}

#[cfg(test)]
mod tests {
    use resp::Args;
    use types::Slot;

    use super::*;
    use crate::held::ArgStore;
    use crate::origin::Origin;

    fn forward(number: u64, sent_as: u64) -> Forward {
        Forward {
            origin: Origin::Part { whole: number },
            command: resp::lookup(b"get").unwrap(),
            slot: Slot::default(),
            route: 0,
            args: ArgStore::of(Args::new(b"", &[])),
            deadline: Instant::ZERO,
            sent_as,
        }
    }

    fn order(mut lanes: Lanes) -> Vec<u64> {
        let taken = std::iter::from_fn(|| lanes.take_first(0));
        let numbers = taken.map(|forward| match forward.origin {
            Origin::Part { whole } => whole,
            _ => panic!("not of this test"),
        });
        let numbers = numbers.collect();
        assert_eq!((lanes.parked_count(), lanes.parked_bytes()), (0, 0));
        numbers
    }

    /// Found by a campaign (seed 6017938): a core that had taken in a write refused those behind it, for want of room, and
    /// then lost the leadership and gave the write back.
    #[test]
    fn what_was_refused_late_stands_before_what_was_sent_behind_it() {
        let mut lanes = Lanes::new(1);
        lanes.park(forward(9, 0));
        for number in [3, 4, 2, 6, 5] {
            lanes.put_back(forward(number, 100 + number));
        }
        lanes.put_before_all(0, vec![forward(0, 0), forward(1, 0)]);
        lanes.put_back(forward(7, 107));
        assert_eq!(order(lanes), [0, 1, 2, 3, 4, 5, 6, 7, 9]);
    }
}
