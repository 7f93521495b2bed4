//! One core: its ring, its timers, and how it waits.
//!
//! There is one place to wait: the core's ring. Files, sockets, timers, other cores and other threads all end a
//! wait there. glommio schedules the tasks by their shares, and the core may block whenever none of them is due,
//! which [`CoreShared::runnable_count`] knows. So a wait of the turn loop is one system call that submits and
//! waits at once, made right inside [`Core::park`]; glommio's own reactor, which would need several, is not
//! involved. When the turn loop itself waits for something else (a file, a timer), the *driver* task does the
//! blocking in its stead.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::hint;
use std::mem;
use std::rc::{Rc, Weak};
use std::sync::{self, Arc};
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use glommio::{Latency, Shares, TaskQueueHandle};
use host::TaskClass;
use types::Instant;

use crate::clock;
use crate::give_way::GiveWay;
use crate::reactor::Reactor;
use crate::timers::Timers;
use crate::wake::{CoreShared, TaskFuture, TaskSlot, TaskWaker, Tracked};

/// How many times a core that spins looks for work before it looks at the clock again.
const SPINS_PER_CLOCK: u32 = 64;

/// How much time blocked may be taken for time used.
const SLEPT_MAX: Duration = Duration::from_micros(500);

const TURN_SHARES: usize = 1_000;
const FOREGROUND_SHARES: usize = 400;
const BACKGROUND_SHARES: usize = 100;

/// What a core must know of the others, whatever they send each other.
pub(crate) trait Peers {
    /// Wakes those that were sent something.
    fn flush(&self);

    /// Whether any has sent something.
    fn has_messages(&self) -> bool;
}

pub(crate) struct Core {
    pub(crate) shared: Arc<CoreShared>,
    pub(crate) reactor: RefCell<Reactor>,
    pub(crate) timers: Timers,
    peers: Rc<dyn Peers>,
    queues: Queues,
    spin: Duration,
    notified: Cell<bool>,
    // Time spent blocked since glommio last settled the account of the task that blocks.
    slept: Cell<Duration>,
    // Those that have not ended, and some that have.
    tasks: RefCell<Vec<KnownTask>>,
    // Wakes the driver; set while it has nothing to do.
    driver: RefCell<Option<Waker>>,
    random: Cell<u64>,
    give_way: RefCell<GiveWay>,
}

/// The future of a task and what wakes it, as long as there are any.
type KnownTask = (Weak<RefCell<TaskFuture>>, sync::Weak<TaskWaker>);

struct Queues {
    turn: TaskQueueHandle,
    foreground: TaskQueueHandle,
    background: TaskQueueHandle,
}

impl Core {
    /// Must run inside the core's glommio executor.
    pub(crate) fn new(
        shared: Arc<CoreShared>,
        peers: Rc<dyn Peers>,
        reactor: Reactor,
        spin: Duration,
        seed: u64,
    ) -> Core {
        let executor = glommio::executor();
        // See `start` for why no queue names a latency.
        let queue = |shares, name| executor.create_task_queue(Shares::Static(shares), Latency::NotImportant, name);
        let queues = Queues {
            turn: queue(TURN_SHARES, "turn"),
            foreground: queue(FOREGROUND_SHARES, "foreground"),
            background: queue(BACKGROUND_SHARES, "background"),
        };
        Core {
            shared,
            reactor: RefCell::new(reactor),
            timers: Timers::default(),
            peers,
            queues,
            spin,
            notified: Cell::new(false),
            slept: Cell::new(Duration::ZERO),
            tasks: RefCell::new(Vec::new()),
            driver: RefCell::new(None),
            random: Cell::new(seed),
            give_way: RefCell::default(),
        }
    }

    pub(crate) fn random_u64(&self) -> u64 {
        let (state, number) = clock::split_mix(self.random.get());
        self.random.set(state);
        number
    }

    pub(crate) fn notify(&self) {
        self.notified.set(true);
    }

    pub(crate) fn spawn(self: &Rc<Core>, class: TaskClass, task: impl Future<Output = ()> + 'static) {
        let queue = match class {
            TaskClass::Foreground => self.queues.foreground,
            TaskClass::Background => self.queues.background,
        };
        self.spawn_into(queue, task);
    }

    pub(crate) fn spawn_turn(self: &Rc<Core>, task: impl Future<Output = ()> + 'static) {
        self.spawn_into(self.queues.turn, task);
    }

    fn spawn_into(self: &Rc<Core>, queue: TaskQueueHandle, task: impl Future<Output = ()> + 'static) {
        let task: TaskSlot = Rc::new(RefCell::new(Some(Box::pin(task))));
        let core = Rc::downgrade(self);
        let wake_driver = move || {
            if let Some(core) = core.upgrade() {
                core.wake_driver();
            }
        };
        let tracked = Tracked::new(&self.shared, Rc::clone(&task), wake_driver);
        self.remember_task((Rc::downgrade(&task), Arc::downgrade(tracked.waker())));
        glommio::spawn_local_into(tracked, queue).expect("the queues live as long as the executor").detach();
    }

    fn remember_task(&self, task: KnownTask) {
        let mut tasks = self.tasks.borrow_mut();
        if tasks.len() == tasks.capacity() {
            // Doubles only if most tasks are still running.
            tasks.retain(|(task, _)| task.strong_count() > 0);
        }
        tasks.push(task);
    }

    /// Waits as `Spawn::park` describes.
    pub(crate) async fn park(&self, deadline: Instant) {
        self.rest(deadline).await;
        self.reactor.borrow_mut().begin_turn();
    }

    async fn rest(&self, deadline: Instant) {
        if self.is_due() {
            // Busy: one system call submits and collects. Tasks get their share even if it never comes to rest.
            self.poll_ring();
            return self.let_others_run().await;
        }
        loop {
            if self.shared.runnable_count() > 0 {
                self.poll_ring();
                self.let_others_run().await;
            } else {
                self.wait(deadline, &|| self.shared.is_notified() || self.peers.has_messages()).await;
            }
            if self.is_due() || clock::now() >= deadline {
                return;
            }
        }
    }

    /// Whether the turn loop has something to do. Takes note of notifications.
    fn is_due(&self) -> bool {
        let notified = self.notified.replace(false) | self.shared.take_notified();
        notified || self.reactor.borrow().has_events() || self.peers.has_messages()
    }

    /// Submits, takes in what has completed, and lets due tasks run.
    pub(crate) async fn yield_now(&self) {
        self.poll_ring();
        self.let_others_run().await;
        self.reactor.borrow_mut().begin_turn();
    }

    async fn let_others_run(&self) {
        if self.shared.runnable_count() > 0 {
            glommio::executor().yield_task_queue_now().await;
        }
    }

    /// Submits and takes in what has completed, without waiting; no system call if there is nothing to do.
    pub(crate) fn poll_ring(&self) {
        self.peers.flush();
        let mut reactor = self.reactor.borrow_mut();
        reactor.feed_starved();
        if reactor.accept_retry_at != Instant::NEVER {
            reactor.retry_accepts(clock::now());
        }
        if reactor.ring.needs_enter() {
            reactor.ring.enter(0, None);
        }
        reactor.reap();
        drop(reactor);
        self.run_wakes();
    }

    /// Waits for anything at all: a completion, a woken task, a timer, the deadline, or what `is_due` finds.
    async fn wait(&self, deadline: Instant, is_due: &impl Fn() -> bool) {
        self.peers.flush();
        if !self.spin.is_zero() && self.spin_for_work(is_due) {
            return;
        }
        self.sleep(deadline, is_due);
        if self.slept.get() >= SLEPT_MAX {
            // glommio takes the time in which a task blocks for time it used, and would let others catch up when
            // they wake. So they wake only after it has settled its account.
            self.slept.set(Duration::ZERO);
            glommio::executor().yield_task_queue_now().await;
        }
        self.run_wakes();
    }

    /// Blocks in the ring, and takes in what has completed.
    fn sleep(&self, deadline: Instant, is_due: &impl Fn() -> bool) {
        let mut reactor = self.reactor.borrow_mut();
        reactor.feed_starved();
        let now = clock::now();
        reactor.retry_accepts(now);
        let until = deadline.min(self.timers.next()).min(reactor.accept_retry_at);
        self.shared.sleep_begin();
        // What came before the announcement is seen here, what comes later wakes us.
        let sleeps = !is_due() && !self.shared.has_remote_wakes() && until > now;
        if sleeps {
            reactor.stats.sleeps_count += 1;
            let timeout = (until != Instant::NEVER).then(|| until.since(now));
            reactor.ring.enter(1, timeout);
        } else {
            reactor.ring.enter(0, None);
        }
        self.shared.sleep_end();
        if sleeps {
            if self.give_way.borrow_mut().after_sleep(|| reactor.ring.needs_enter()) {
                reactor.ring.enter(0, None);
            }
            self.slept.set(self.slept.get() + clock::now().since(now));
        }
        reactor.reap();
    }

    /// Looks for work without a system call. True if there is some.
    fn spin_for_work(&self, is_due: &impl Fn() -> bool) -> bool {
        self.poll_ring();
        let until = (clock::now() + self.spin).min(self.timers.next());
        loop {
            if self.reactor.borrow().has_events() || self.shared.runnable_count() > 0 {
                return true;
            }
            for _ in 0..SPINS_PER_CLOCK {
                let completed = self.reactor.borrow_mut().ring.has_completions();
                if completed || is_due() || self.shared.has_remote_wakes() {
                    self.poll_ring();
                    return true;
                }
                hint::spin_loop();
            }
            if clock::now() >= until {
                return false;
            }
        }
    }

    /// Wakes the tasks whose operation, timer or other event has come.
    fn run_wakes(&self) {
        let mut woken = mem::take(&mut self.reactor.borrow_mut().woken);
        for waker in woken.drain(..) {
            waker.wake();
        }
        // Keeps the list's memory.
        self.reactor.borrow_mut().woken = woken;
        self.shared.run_remote_wakes();
        if self.timers.next() != Instant::NEVER {
            self.timers.fire(clock::now());
        }
    }

    fn wake_driver(&self) {
        if let Some(waker) = self.driver.take() {
            waker.wake();
        }
    }

    /// Blocks for the core whenever no task is due, until `done` says so.
    pub(crate) async fn drive(&self, done: impl Fn() -> bool) {
        while !done() {
            if self.shared.runnable_count() == 0 {
                self.wait(Instant::NEVER, &|| false).await;
            }
            if self.shared.runnable_count() > 0 {
                self.until_idle().await;
            }
        }
    }

    /// Waits until no task is due.
    async fn until_idle(&self) {
        poll_fn(|cx| {
            if self.shared.runnable_count() == 0 {
                return Poll::Ready(());
            }
            self.driver.replace(Some(cx.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    /// Drops all tasks wherever they are. glommio would keep those that nobody wakes, and what they hold.
    pub(crate) async fn drop_tasks(&self) {
        let tasks = self.tasks.take();
        for (task, _) in &tasks {
            let task = task.upgrade().and_then(|task| task.take());
            drop(task);
        }
        for (_, waker) in tasks {
            if let Some(waker) = waker.upgrade() {
                waker.wake();
            }
        }
        self.until_idle().await;
    }

    /// Ends everything in flight. False if the kernel still holds memory of ours when the time is over.
    pub(crate) fn shut_down(&self, wait_max: Duration) -> bool {
        // What was sent last still arrives.
        self.peers.flush();
        self.timers.clear();
        let mut reactor = self.reactor.borrow_mut();
        reactor.close_all();
        let deadline = clock::now() + wait_max;
        while !reactor.is_quiet() {
            let now = clock::now();
            if now >= deadline {
                return false;
            }
            reactor.ring.enter(1, Some(deadline.since(now)));
            reactor.reap();
            reactor.drop_events();
        }
        reactor.drop_events();
        true
    }
}
