//! Commands that this core has taken in and another one carries out.

use std::collections::VecDeque;

use resp::Command;
use types::{Instant, Slot};

use crate::held::ArgStore;
use crate::limits::Limits;
use crate::origin::Origin;

/// A command that is carried out elsewhere, or waits for somebody who does.
pub(crate) struct Forward {
    pub(crate) origin: Origin,
    pub(crate) command: &'static Command,
    pub(crate) slot: Slot,
    /// Index of the group's route.
    pub(crate) route: usize,
    /// Kept until the reply: a command that did not run is sent again.
    pub(crate) args: ArgStore,
    /// When to give up looking for a leader.
    pub(crate) deadline: Instant,
    /// The number under which it was last sent; 0 if it was not yet.
    pub(crate) sent_as: u64,
}

/// Forwards that were sent, by number. Numbers are given in order and answered roughly in order, so they
/// index a window.
pub(crate) struct Forwards {
    first_id: u64,
    window: VecDeque<Option<(u32, Forward)>>,
    count: usize,
    bytes: usize,
}

impl Forwards {
    /// None yet. Numbers begin at a random place: a leader may still answer a command from before this node
    /// was restarted, and its number must not be that of a command from after it.
    pub(crate) fn new(random: u64) -> Forwards {
        // Half of all numbers lie behind any beginning: they never run out.
        Forwards { first_id: random >> 1, window: VecDeque::new(), count: 0, bytes: 0 }
    }

    /// Notes that a command was sent over `link`; returns its number.
    pub(crate) fn insert(&mut self, link: u32, mut forward: Forward) -> u64 {
        self.count += 1;
        self.bytes += forward.args.bytes();
        let id = self.first_id + self.window.len() as u64;
        forward.sent_as = id;
        self.window.push_back(Some((link, forward)));
        id
    }

    /// Takes out the forward that a reply from `link` belongs to; `None` for a reply nobody waits for.
    pub(crate) fn remove(&mut self, link: u32, id: u64) -> Option<Forward> {
        let idx = usize::try_from(id.checked_sub(self.first_id)?).ok()?;
        let entry = self.window.get_mut(idx)?;
        if entry.as_ref().is_none_or(|(sent_over, _)| *sent_over != link) {
            return None;
        }
        let (_, forward) = entry.take()?;
        self.taken(&forward);
        Some(forward)
    }

    /// The forward with a number, if it is still under way.
    pub(crate) fn get(&self, id: u64) -> Option<&Forward> {
        let idx = usize::try_from(id.checked_sub(self.first_id)?).ok()?;
        self.window.get(idx)?.as_ref().map(|(_, forward)| forward)
    }

    /// Takes out the oldest one if its answer is overdue.
    pub(crate) fn remove_late(&mut self, now: Instant) -> Option<Forward> {
        let (link, forward) = self.window.front()?.as_ref()?;
        if forward.deadline > now {
            return None;
        }
        let link = *link;
        self.remove(link, self.first_id)
    }

    /// Takes out all that were sent over `link`, in order.
    pub(crate) fn remove_link(&mut self, link: u32) -> Vec<Forward> {
        self.remove_where(|(sent_over, _)| *sent_over == link)
    }

    /// Takes out all that belong to a route, in order.
    pub(crate) fn remove_route(&mut self, route: usize) -> Vec<Forward> {
        self.remove_where(|(_, forward)| forward.route == route)
    }

    fn remove_where(&mut self, is_wanted: impl Fn(&(u32, Forward)) -> bool) -> Vec<Forward> {
        let mut removed = Vec::new();
        for entry in &mut self.window {
            if entry.as_ref().is_some_and(&is_wanted) {
                removed.extend(entry.take().map(|(_, forward)| forward));
            }
        }
        removed.iter().for_each(|forward| self.taken(forward));
        removed
    }

    fn taken(&mut self, forward: &Forward) {
        self.count -= 1;
        self.bytes -= forward.args.bytes();
        while let Some(None) = self.window.front() {
            self.window.pop_front();
            self.first_id += 1;
        }
    }

    /// Whether there are so many that no more should be taken in for now.
    pub(crate) fn is_full(&self, limits: &Limits) -> bool {
        self.count >= limits.forwards_count_max || self.window.len() >= 4 * limits.forwards_count_max
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes of their arguments.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use resp::Args;

    use super::*;

    fn forward(seq: u64) -> Forward {
        let command = resp::lookup(b"get").unwrap();
        Forward {
            origin: Origin::Part { whole: seq },
            command,
            slot: Slot::default(),
            route: 0,
            args: ArgStore::of(Args::new(b"", &[])),
            deadline: Instant::ZERO,
            sent_as: 0,
        }
    }

    #[test]
    fn replies_find_their_forward_once_and_only_over_its_link() {
        let mut forwards = Forwards::new(0);
        let ids: Vec<u64> = (0..4).map(|seq| forwards.insert((seq % 2) as u32, forward(seq))).collect();
        assert!(forwards.remove(1, ids[0]).is_none(), "another link's number");
        assert!(forwards.remove(0, ids[0]).is_some());
        assert!(forwards.remove(0, ids[0]).is_none(), "answered twice");
        assert_eq!(forwards.remove_link(1).len(), 2);
        assert!(forwards.remove(1, ids[3]).is_none());
        assert!(forwards.remove(0, ids[2]).is_some());
        assert_eq!((forwards.count, forwards.bytes), (0, 0));
        assert!(forwards.remove(0, 1_000).is_none());
        let next = forwards.insert(0, forward(9));
        assert!(next > ids[3], "numbers are never used twice");
    }

    #[test]
    fn a_late_reply_from_before_a_restart_answers_nobody() {
        let mut before = Forwards::new(0x1234_5678_9abc_def0);
        let late = before.insert(0, forward(1));
        let mut after = Forwards::new(u64::MAX);
        let first = after.insert(0, forward(2));
        assert!(after.remove(0, late).is_none(), "the reply belongs to a command that is forgotten");
        assert!(after.remove(0, first).is_some());
    }
}
