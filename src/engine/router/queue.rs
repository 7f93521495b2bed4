//! The commands of one group that wait until they can leave this core, in the order in which they were taken in.

use std::collections::BTreeMap;
use std::time::Duration;

use types::Instant;

use crate::origin::LinkId;
use crate::request::OwnedRequest;

/// A command that waits.
pub(super) struct Queued {
    pub(super) request: OwnedRequest,
    /// When to give up.
    pub(super) deadline: Instant,
}

/// How the commands for one group leave this core.
///
/// Invariant: what is in flight went over one link. When the leader moves, newer commands wait here until the older ones
/// are answered, so that the commands of a connection never overtake each other.
#[derive(Default)]
pub(super) struct RouteQueue {
    /// Over which link the commands in flight went.
    pub(super) link: Option<LinkId>,
    pub(super) in_flight_count: usize,
    /// Bytes of the arguments in flight.
    pub(super) in_flight_bytes: usize,
    /// When a command of the route was last answered or executed, or the first came.
    progressed_at: Instant,
    /// Whether nothing of it goes on: it has a share of the room with all others of which that is true. See `room`.
    is_stalled: bool,
    /// Since when what is in flight is with a core that another one has followed as leader.
    pub(super) deposed_at: Option<Instant>,
    /// Whether what is in flight is being given up: nobody will answer it.
    pub(super) is_failing: bool,
    /// By the order in which this core took them in, wherever they have been since.
    waiting: BTreeMap<i64, Queued>,
    waiting_bytes: usize,
    /// Invariant: no command that waits has an earlier deadline, unless a look for late ones is on its way to it.
    earliest_deadline: Option<Instant>,
    has_late_look: bool,
    /// The order of the next command, and of the last one that was put before all.
    next_order: i64,
    first_order: i64,
    /// Whether a command was refused by a core that does not lead any more, or lost with its link, since the queue was
    /// last free of such: what comes behind it is refused as well, so all go again together, in order.
    has_refused: bool,
    /// The last write that was a part of a command on all groups and is answered, by its link and its number there. A read before it that
    /// is not answered must not be sent again.
    answered_part: Option<(LinkId, u64)>,
    /// Since when clients wait until there is room for its commands, as a place among all routes of which that is true.
    pub(super) blocked_at: Option<u64>,
    /// Whether it stands in a list of the router: of those with commands, of those to be drained.
    pub(super) is_active: bool,
    pub(super) is_draining: bool,
}

impl RouteQueue {
    /// Whether a command may be executed here without overtaking an older one.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight_count == 0 && self.waiting.is_empty()
    }

    /// A command that went over a link with this number was a part of a write on all groups and is answered.
    pub(super) fn part_answered(&mut self, link: LinkId, id: u64) {
        let last = self.answered_part.filter(|(other, _)| *other == link).map_or(id, |(_, last)| last.max(id));
        self.answered_part = Some((link, last));
    }

    /// Whether a part of a write on all groups that went over a link behind this number is answered.
    pub(super) fn is_overtaken_by_part(&self, link: LinkId, id: u64) -> bool {
        self.answered_part.is_some_and(|(other, last)| other == link && id < last)
    }

    /// Commands that wait or are in flight.
    pub(super) fn count(&self) -> usize {
        self.in_flight_count + self.waiting.len()
    }

    /// A command was answered or executed, or the first came.
    pub(super) fn progressed(&mut self, now: Instant) {
        self.progressed_at = now;
    }

    /// Whether nothing of it went on when that was last looked at.
    pub(super) fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// Sets whether something of it goes on.
    pub(super) fn set_stalled(&mut self, is_stalled: bool) {
        self.is_stalled = is_stalled;
    }

    /// Whether nothing was answered or executed for this long, of that which should have been.
    pub(super) fn is_silent(&self, now: Instant, after: Duration) -> bool {
        self.count() > 0 && now.since(self.progressed_at) >= after
    }

    /// Bytes of the commands that wait, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.waiting.values().map(|queued| queued.request.bytes()).sum()
    }

    /// Commands that wait.
    pub(super) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Their bytes.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Whether commands wait that were sent before.
    pub(super) fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// The command that is to leave next.
    pub(super) fn first(&self) -> Option<&Queued> {
        self.waiting.first_key_value().map(|(_, queued)| queued)
    }

    /// The place of a command that leaves at once, without waiting here.
    pub(super) fn take_order(&mut self) -> i64 {
        self.next_order += 1;
        self.next_order
    }

    /// Puts a command behind all that waits.
    pub(super) fn push_back(&mut self, queued: Queued) {
        let order = self.take_order();
        self.insert(order, queued);
    }

    /// Puts commands that were taken in here and executed by nobody before all that waits.
    pub(super) fn push_front(&mut self, older: impl DoubleEndedIterator<Item = Queued>) {
        for queued in older.rev() {
            self.first_order -= 1;
            self.insert(self.first_order, queued);
        }
    }

    /// Puts a command back to its place that was sent and did not run.
    pub(super) fn requeue_refused(&mut self, order: i64, queued: Queued) {
        self.insert(order, queued);
        self.has_refused = true;
    }

    fn insert(&mut self, order: i64, queued: Queued) {
        self.waiting_bytes += queued.request.bytes();
        self.expect_deadline(queued.deadline);
        let former = self.waiting.insert(order, queued);
        assert!(former.is_none(), "two commands of a queue have the same place");
    }

    /// Takes out the oldest command that waits, with its place, to be sent or executed.
    pub(super) fn pop_front(&mut self) -> Option<(i64, Queued)> {
        let (order, queued) = self.waiting.pop_first()?;
        self.has_refused = false;
        self.waiting_bytes -= queued.request.bytes();
        Some((order, queued))
    }

    fn expect_deadline(&mut self, deadline: Instant) {
        self.earliest_deadline = Some(self.earliest_deadline.map_or(deadline, |known| known.min(deadline)));
    }

    /// Whether a command that waits may have waited for too long, and nobody looks for it yet.
    pub(super) fn may_have_late(&self, now: Instant) -> bool {
        !self.has_late_look && self.earliest_deadline.is_some_and(|deadline| deadline <= now)
    }

    /// Begins a look at all that waits: [`RouteQueue::take_late`] from the returned place on.
    pub(super) fn begin_late(&mut self) -> i64 {
        (self.earliest_deadline, self.has_late_look) = (None, true);
        i64::MIN
    }

    /// Looks at up to `count` commands that wait, from a place on, and takes out those that have waited for too long. Returns
    /// how many it has looked at, and where to go on if there are more.
    pub(super) fn take_late(
        &mut self,
        now: Instant,
        from: i64,
        count: usize,
        late: &mut Vec<Queued>,
    ) -> (usize, Option<i64>) {
        let mut orders = Vec::new();
        let (mut earliest, mut seen_count, mut next) = (Instant::NEVER, 0, None);
        for (order, queued) in self.waiting.range(from..) {
            if seen_count == count {
                next = Some(*order);
                break;
            }
            seen_count += 1;
            if queued.deadline <= now {
                orders.push(*order);
            } else {
                earliest = earliest.min(queued.deadline);
            }
        }
        if earliest < Instant::NEVER {
            self.expect_deadline(earliest);
        }
        for queued in orders.iter().filter_map(|order| self.waiting.remove(order)) {
            self.waiting_bytes -= queued.request.bytes();
            late.push(queued);
        }
        self.has_refused &= !self.waiting.is_empty();
        self.has_late_look = next.is_some();
        (seen_count, next)
    }
}

#[cfg(test)]
mod tests {
    use resp::Args;
    use types::Slot;

    use super::*;
    use crate::origin::Origin;
    use crate::request::OwnedArgs;

    fn queued(number: u64) -> Queued {
        let request = OwnedRequest {
            origin: Origin::Peer { link: LinkId(0), id: number, protocol: resp::Protocol::Resp2 },
            command: resp::lookup(b"get").unwrap(),
            slot: Slot::default(),
            args: OwnedArgs::of(Args::new(b"", &[])),
        };
        Queued { request, deadline: Instant::ZERO + Duration::from_secs(number) }
    }

    fn number(queued: &Queued) -> u64 {
        match queued.request.origin {
            Origin::Peer { id, .. } => id,
            _ => panic!("not of this test"),
        }
    }

    /// Found by a campaign (seed 6017938): a core that had taken in a write refused those behind it, for want of room, and
    /// then lost the leadership and gave the write back.
    #[test]
    fn commands_refused_late_stand_before_those_sent_behind_them() {
        let mut queue = RouteQueue::default();
        let sent: Vec<i64> = (2..8).map(|_| queue.take_order()).collect();
        queue.push_back(queued(9));
        for number in [3, 4, 2, 6, 5] {
            queue.requeue_refused(sent[number as usize - 2], queued(number));
        }
        queue.push_front(vec![queued(0), queued(1)].into_iter());
        queue.requeue_refused(sent[5], queued(7));
        assert!(queue.has_refused());
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_front()).map(|(_, queued)| number(&queued)).collect();
        assert_eq!(order, [0, 1, 2, 3, 4, 5, 6, 7, 9]);
        assert_eq!((queue.waiting_count(), queue.waiting_bytes(), queue.has_refused()), (0, 0, false));
    }

    /// The first of several requeued commands is sent and refused while the others wait.
    #[test]
    fn a_requeued_command_that_is_refused_again_stands_first_again() {
        let mut queue = RouteQueue::default();
        queue.push_back(queued(5));
        queue.push_front(vec![queued(1), queued(2)].into_iter());
        let (order, first) = queue.pop_front().unwrap();
        queue.requeue_refused(order, first);
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_front()).map(|(_, queued)| number(&queued)).collect();
        assert_eq!(order, [1, 2, 5]);
    }

    #[test]
    fn late_commands_leave_and_the_others_keep_their_order() {
        let mut queue = RouteQueue::default();
        for number in [3, 1, 4, 2] {
            queue.push_back(queued(number));
        }
        let after = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert!(!queue.may_have_late(after(0)) && queue.may_have_late(after(1)));
        let (mut late, mut next) = (Vec::new(), Some(queue.begin_late()));
        for seen in [2, 2] {
            let (seen_count, behind) = queue.take_late(after(2), next.unwrap(), 2, &mut late);
            assert_eq!(seen_count, seen);
            next = behind;
        }
        assert_eq!((late.iter().map(number).collect::<Vec<_>>(), next), (vec![1, 2], None));
        assert!(!queue.may_have_late(after(2)) && queue.may_have_late(after(3)), "the third is the next one");
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_front()).map(|(_, queued)| number(&queued)).collect();
        assert_eq!((order, queue.waiting_bytes()), (vec![3, 4], 0));
    }

    #[test]
    fn refused_commands_are_remembered_until_the_last_that_waits_is_late() {
        let mut queue = RouteQueue::default();
        let sent = [queue.take_order(), queue.take_order()];
        queue.requeue_refused(sent[0], queued(1));
        queue.requeue_refused(sent[1], queued(2));
        let look = |queue: &mut RouteQueue, seconds| {
            let (mut late, from) = (Vec::new(), queue.begin_late());
            queue.take_late(Instant::ZERO + Duration::from_secs(seconds), from, usize::MAX, &mut late);
            (late.len(), queue.has_refused())
        };
        assert_eq!(look(&mut queue, 1), (1, true));
        assert_eq!(look(&mut queue, 2), (1, false));
        queue.push_back(queued(3));
        assert_eq!(look(&mut queue, 2), (0, false), "nobody has refused this one");
    }

    /// A failover sends back whatever was in flight, in any order: the cost of each must not grow with their number.
    #[test]
    fn sixty_thousand_refused_commands_go_back_in_order() {
        const COUNT: u64 = 60_000;
        let mut queue = RouteQueue::default();
        let sent: Vec<i64> = (0..COUNT).map(|_| queue.take_order()).collect();
        for number in (0..COUNT).rev() {
            queue.requeue_refused(sent[number as usize], queued(number));
        }
        let order: Vec<u64> = std::iter::from_fn(|| queue.pop_front()).map(|(_, queued)| number(&queued)).collect();
        assert!(order.iter().copied().eq(0..COUNT));
    }
}
