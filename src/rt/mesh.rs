//! Queues between cores: one ring per ordered pair, one writer, one reader, no locks.

use std::cell::{Cell, UnsafeCell};
use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use types::CoreId;

use crate::core::Peers;
use crate::wake::CoreShared;

/// Keeps what two cores write apart, so that they do not fight for one cache line.
#[repr(align(128))]
struct Padded<T>(T);

/// A bounded queue of one writer and one reader. Positions count up for ever and wrap with the integer.
struct Queue<M> {
    slots: Box<[UnsafeCell<MaybeUninit<M>>]>,
    // The next position to read. Written by the reader.
    head: Padded<AtomicUsize>,
    // The next position to write. Written by the writer.
    tail: Padded<AtomicUsize>,
}

// SAFETY: the slots between head and tail belong to the reader, all others to the writer; release stores and
// acquire loads of the two positions hand them over.
unsafe impl<M: Send> Sync for Queue<M> {}

impl<M> Queue<M> {
    fn new(capacity: usize) -> Queue<M> {
        let slots = (0..capacity.next_power_of_two()).map(|_| UnsafeCell::new(MaybeUninit::uninit()));
        Queue { slots: slots.collect(), head: Padded(AtomicUsize::new(0)), tail: Padded(AtomicUsize::new(0)) }
    }

    fn slot(&self, position: usize) -> *mut MaybeUninit<M> {
        self.slots[position & (self.slots.len() - 1)].get()
    }

    fn is_empty(&self) -> bool {
        self.head.0.load(Ordering::Relaxed) == self.tail.0.load(Ordering::Acquire)
    }
}

impl<M> Drop for Queue<M> {
    fn drop(&mut self) {
        let (mut head, tail) = (*self.head.0.get_mut(), *self.tail.0.get_mut());
        while head != tail {
            // SAFETY: slots between head and tail are filled, and `&mut self` means nobody else looks.
            unsafe { (*self.slot(head)).assume_init_drop() };
            head = head.wrapping_add(1);
        }
    }
}

/// The writing end. There is one per queue.
struct Sender<M> {
    queue: Arc<Queue<M>>,
    // Where the reader was when last looked; it can only be further.
    head_seen: Cell<usize>,
    target: Arc<CoreShared>,
    // Whether something was queued since the target was last woken.
    dirty: Cell<bool>,
}

/// A core's ends of its queues, and those to it from other threads.
pub(crate) struct MeshEnd<M> {
    own: CoreId,
    // By core; `None` at its own place.
    senders: Vec<Option<Sender<M>>>,
    receivers: Vec<Option<Arc<Queue<M>>>>,
    // Where the next look for messages begins, so that no core starves another.
    next: Cell<usize>,
    injected: Arc<Injected<M>>,
    // Whether any sender is dirty.
    dirty: Cell<bool>,
}

/// Messages from threads that are no cores. Rare, so a lock will do.
pub(crate) struct Injected<M> {
    queue: Mutex<VecDeque<M>>,
    any: AtomicBool,
    messages_count_max: usize,
}

impl<M> Injected<M> {
    pub(crate) fn push(&self, message: M) -> Result<(), M> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() >= self.messages_count_max {
            return Err(message);
        }
        queue.push_back(message);
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    fn pop(&self) -> Option<M> {
        if !self.any.load(Ordering::Acquire) {
            return None;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let message = queue.pop_front();
        self.any.store(!queue.is_empty(), Ordering::Relaxed);
        message
    }
}

/// Makes the ends of all cores, in their order.
pub(crate) fn mesh<M>(cores: &[Arc<CoreShared>], messages_count_max: usize) -> Vec<MeshEnd<M>> {
    let count = cores.len();
    let queues: Vec<Vec<Option<Arc<Queue<M>>>>> = (0..count)
        .map(|from| (0..count).map(|to| (from != to).then(|| Arc::new(Queue::new(messages_count_max)))).collect())
        .collect();
    let end = |own: usize| MeshEnd {
        own: cores[own].core,
        senders: (0..count)
            .map(|to| {
                queues[own][to].as_ref().map(|queue| Sender {
                    queue: Arc::clone(queue),
                    head_seen: Cell::new(0),
                    target: Arc::clone(&cores[to]),
                    dirty: Cell::new(false),
                })
            })
            .collect(),
        receivers: (0..count).map(|from| queues[from][own].clone()).collect(),
        next: Cell::new(0),
        injected: Arc::new(Injected {
            queue: Mutex::new(VecDeque::new()),
            any: AtomicBool::new(false),
            messages_count_max,
        }),
        dirty: Cell::new(false),
    };
    (0..count).map(end).collect()
}

impl<M> MeshEnd<M> {
    pub(crate) fn cores_count(&self) -> usize {
        self.receivers.len()
    }

    pub(crate) fn injected(&self) -> Arc<Injected<M>> {
        Arc::clone(&self.injected)
    }

    pub(crate) fn send(&self, to: CoreId, message: M) -> Result<(), M> {
        let Some(Some(sender)) = self.senders.get(usize::from(to.0)) else { return Err(message) };
        if sender.target.is_gone() {
            return Err(message);
        }
        let queue = &sender.queue;
        let tail = queue.tail.0.load(Ordering::Relaxed);
        if tail.wrapping_sub(sender.head_seen.get()) >= queue.slots.len() {
            sender.head_seen.set(queue.head.0.load(Ordering::Acquire));
            if tail.wrapping_sub(sender.head_seen.get()) >= queue.slots.len() {
                return Err(message);
            }
        }
        // SAFETY: the slot at the tail lies outside of what the reader owns, and this is the only writer.
        unsafe { (*queue.slot(tail)).write(message) };
        queue.tail.0.store(tail.wrapping_add(1), Ordering::Release);
        sender.dirty.set(true);
        self.dirty.set(true);
        Ok(())
    }

    pub(crate) fn receive(&self) -> Option<(CoreId, M)> {
        let count = self.receivers.len();
        for step in 0..count {
            let from = (self.next.get() + step) % count;
            let Some(queue) = &self.receivers[from] else { continue };
            if queue.is_empty() {
                continue;
            }
            let head = queue.head.0.load(Ordering::Relaxed);
            // SAFETY: the queue is not empty, so the slot at the head is filled and belongs to the reader,
            // which is this end alone. It is handed back by the store below.
            let message = unsafe { (*queue.slot(head)).assume_init_read() };
            queue.head.0.store(head.wrapping_add(1), Ordering::Release);
            // Stay with this core: its next message is likely in the cache. The next turn moves on.
            self.next.set(from);
            return Some((CoreId(from as u16), message));
        }
        self.injected.pop().map(|message| (self.own, message))
    }
}

impl<M> Peers for MeshEnd<M> {
    fn flush(&self) {
        // A new turn begins its look at another core.
        self.next.set((self.next.get() + 1) % self.receivers.len());
        if !self.dirty.replace(false) {
            return;
        }
        for sender in self.senders.iter().flatten() {
            if sender.dirty.replace(false) {
                sender.target.wake();
            }
        }
    }

    fn has_messages(&self) -> bool {
        self.receivers.iter().flatten().any(|queue| !queue.is_empty()) || self.injected.any.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(capacity: usize) -> Vec<MeshEnd<Box<u64>>> {
        let shared = |core| Arc::new(CoreShared::new(CoreId(core)).expect("an eventfd"));
        mesh(&[shared(0), shared(1)], capacity)
    }

    #[test]
    fn a_full_queue_hands_the_message_back_and_order_is_kept() {
        let ends = pair(4);
        for round in 0..10 {
            for i in 0..4 {
                assert!(ends[0].send(CoreId(1), Box::new(round * 4 + i)).is_ok());
            }
            assert_eq!(ends[0].send(CoreId(1), Box::new(99)), Err(Box::new(99)));
            for i in 0..4 {
                assert_eq!(ends[1].receive(), Some((CoreId(0), Box::new(round * 4 + i))));
            }
            assert_eq!(ends[1].receive(), None);
        }
        // What nobody reads is dropped with the queue.
        assert!(ends[1].send(CoreId(0), Box::new(1)).is_ok());
    }

    #[test]
    fn unknown_own_and_gone_cores_take_nothing() {
        let ends = pair(4);
        assert!(ends[0].send(CoreId(0), Box::new(1)).is_err());
        assert!(ends[0].send(CoreId(7), Box::new(1)).is_err());
        if let Some(sender) = &ends[0].senders[1] {
            sender.target.set_gone();
        }
        assert!(ends[0].send(CoreId(1), Box::new(1)).is_err());
    }

    #[test]
    fn a_queue_carries_messages_between_threads() {
        const COUNT: u64 = 200_000;
        let mut ends = pair(64);
        let (receiver, sender) = (ends.pop(), ends.pop());
        let (receiver, sender) = (receiver.expect("two"), sender.expect("two"));
        let writer = std::thread::spawn(move || {
            for i in 0..COUNT {
                let mut message = Box::new(i);
                while let Err(back) = sender.send(CoreId(1), message) {
                    message = back;
                    std::thread::yield_now();
                }
            }
        });
        for i in 0..COUNT {
            loop {
                if let Some((_, message)) = receiver.receive() {
                    assert_eq!(*message, i);
                    break;
                }
                std::thread::yield_now();
            }
        }
        writer.join().expect("the writer");
    }
}
