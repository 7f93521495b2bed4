//! Who may append and who may read back: limits on bytes that wait, enforced before anything is taken in.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use types::GroupId;

/// Room for bytes that are going to be appended. Dropped once they are, or never will be.
#[derive(Debug)]
#[must_use = "the room is given back when this is dropped"]
pub struct Reservation {
    bytes: usize,
    reserved: Rc<Cell<usize>>,
}

impl Reservation {
    pub(crate) fn new(bytes: usize, reserved: &Rc<Cell<usize>>) -> Reservation {
        reserved.set(reserved.get() + bytes);
        Reservation { bytes, reserved: Rc::clone(reserved) }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.reserved.set(self.reserved.get() - self.bytes);
    }
}

/// Reads of the log that are under way or wait. Groups take turns, and each one's reads come in their order.
#[derive(Clone)]
pub(crate) struct ReadQueue(Rc<RefCell<Reads>>);

struct Reads {
    count_max: usize,
    bytes_max: usize,
    // Invariant: count <= count_max; bytes <= bytes_max, or count is 1.
    count: usize,
    bytes: usize,
    /// Invariant: no queue is empty, and `turns` names each group with one once.
    waiting: BTreeMap<GroupId, VecDeque<Rc<Ticket>>>,
    turns: VecDeque<GroupId>,
}

struct Ticket {
    bytes: usize,
    state: Cell<State>,
    waker: RefCell<Option<Waker>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting,
    Granted,
    /// Nobody waits any more.
    Dropped,
}

/// A place in the queue, and later the right to hold so many bytes. Given back when dropped.
pub(crate) struct ReadPermit {
    queue: ReadQueue,
    ticket: Rc<Ticket>,
}

impl ReadQueue {
    pub(crate) fn new(count_max: usize, bytes_max: usize) -> ReadQueue {
        let (waiting, turns) = (BTreeMap::new(), VecDeque::new());
        ReadQueue(Rc::new(RefCell::new(Reads { count_max, bytes_max, count: 0, bytes: 0, waiting, turns })))
    }

    /// Takes a place in the queue for a read of so many bytes.
    pub(crate) fn enter(&self, group: GroupId, bytes: usize) -> ReadPermit {
        let ticket = Rc::new(Ticket { bytes, state: Cell::new(State::Waiting), waker: RefCell::new(None) });
        let mut reads = self.0.borrow_mut();
        let queue = reads.waiting.entry(group).or_default();
        queue.push_back(Rc::clone(&ticket));
        if queue.len() == 1 {
            reads.turns.push_back(group);
        }
        reads.grant();
        drop(reads);
        ReadPermit { queue: self.clone(), ticket }
    }

    /// How many reads are under way, their bytes, and how many wait.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let reads = self.0.borrow();
        (reads.count, reads.bytes, reads.waiting.values().map(VecDeque::len).sum())
    }
}

impl Reads {
    /// Lets reads begin as long as there is room for the next one.
    fn grant(&mut self) {
        while let Some(group) = self.turns.pop_front() {
            let Some(queue) = self.waiting.get_mut(&group) else { continue };
            let Some(ticket) = queue.front() else {
                self.waiting.remove(&group);
                continue;
            };
            let is_dropped = ticket.state.get() == State::Dropped;
            let fits =
                self.count == 0 || (self.count < self.count_max && self.bytes + ticket.bytes <= self.bytes_max);
            if !is_dropped && !fits {
                self.turns.push_front(group);
                return;
            }
            if !is_dropped {
                self.count += 1;
                self.bytes += ticket.bytes;
                ticket.state.set(State::Granted);
                if let Some(waker) = ticket.waker.take() {
                    waker.wake();
                }
            }
            queue.pop_front();
            if queue.is_empty() {
                self.waiting.remove(&group);
            } else if is_dropped {
                // That was not the group's turn.
                self.turns.push_front(group);
            } else {
                self.turns.push_back(group);
            }
        }
    }
}

impl ReadPermit {
    /// Waits until the read may begin.
    pub(crate) async fn granted(&self) {
        poll_fn(|context| {
            if self.ticket.state.get() == State::Granted {
                return Poll::Ready(());
            }
            *self.ticket.waker.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Drop for ReadPermit {
    fn drop(&mut self) {
        let mut reads = self.queue.0.borrow_mut();
        if self.ticket.state.replace(State::Dropped) == State::Granted {
            reads.count -= 1;
            reads.bytes -= self.ticket.bytes;
        }
        reads.grant();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_granted(permit: &ReadPermit) -> bool {
        permit.ticket.state.get() == State::Granted
    }

    #[test]
    fn reads_are_bounded_in_number_and_bytes() {
        let queue = ReadQueue::new(2, 100);
        let first = queue.enter(GroupId(1), 60);
        let second = queue.enter(GroupId(1), 60);
        assert!(is_granted(&first) && !is_granted(&second), "120 bytes are too many");
        assert_eq!(queue.counts(), (1, 60, 1));
        drop(first);
        assert!(is_granted(&second));
        let small: Vec<_> = (0..3).map(|_| queue.enter(GroupId(2), 1)).collect();
        assert_eq!(small.iter().map(is_granted).collect::<Vec<_>>(), [true, false, false], "two at once");
        let (long, _) = (queue.enter(GroupId(3), 1_000), drop(second));
        drop(small);
        assert!(is_granted(&long), "one alone may be longer");
        assert_eq!(queue.counts(), (1, 1_000, 0));
        drop(long);
        assert_eq!(queue.counts(), (0, 0, 0));
    }

    #[test]
    fn groups_take_turns_and_each_keeps_its_order() {
        let queue = ReadQueue::new(1, 100);
        let busy = queue.enter(GroupId(9), 1);
        let mut waiting: Vec<_> =
            [1, 1, 1, 2, 3, 2].iter().map(|group| Some((*group, queue.enter(GroupId(*group), 1)))).collect();
        drop(busy);
        let mut order = Vec::new();
        for _ in 0..6 {
            let at = waiting.iter().position(|entry| entry.as_ref().is_some_and(|(_, permit)| is_granted(permit)));
            let at = at.expect("one is granted at a time");
            assert_eq!(queue.counts().0, 1);
            order.push((waiting[at].take().expect("just seen").0, at));
        }
        assert_eq!(order, [(1, 0), (2, 3), (3, 4), (1, 1), (2, 5), (1, 2)]);
    }

    #[test]
    fn who_gives_up_hinders_nobody() {
        let queue = ReadQueue::new(1, 100);
        let busy = queue.enter(GroupId(1), 1);
        let given_up = queue.enter(GroupId(1), 1);
        let next = queue.enter(GroupId(1), 1);
        let other = queue.enter(GroupId(2), 1);
        drop(given_up);
        drop(busy);
        assert!(is_granted(&next) && !is_granted(&other), "a read that was given up is nobody's turn");
        drop(next);
        assert!(is_granted(&other));
        drop(other);
        assert_eq!(queue.counts(), (0, 0, 0));
    }

    #[test]
    fn who_waits_is_woken() {
        let queue = ReadQueue::new(1, 100);
        let busy = queue.enter(GroupId(1), 1);
        let next = queue.enter(GroupId(2), 1);
        let order = RefCell::new(Vec::new());
        futures_lite::future::block_on(futures_lite::future::zip(
            async {
                next.granted().await;
                order.borrow_mut().push("granted");
            },
            async {
                order.borrow_mut().push("given back");
                drop(busy);
            },
        ));
        assert_eq!(order.take(), ["given back", "granted"]);
    }
}
