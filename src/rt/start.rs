//! Starting the cores of a node, and learning how they end.

use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};
use types::CoreId;

use crate::clock;
use crate::config::{Config, CoreConfig};
use crate::core::Core;
use crate::error::Error;
use crate::host_limits;
use crate::mesh::{Injected, MeshEnd, mesh};
use crate::preflight;
use crate::reactor::Reactor;
use crate::runtime::Runtime;
use crate::wake::CoreShared;

/// Memory that glommio registers for its own I/O, in bytes. All I/O goes through the core's ring, so it is the
/// least that glommio takes; it counts three times against the limit of locked memory.
const EXECUTOR_IO_BYTES: usize = 64 << 10;
/// Entries of glommio's own rings, which see only its own timers.
const EXECUTOR_RING_DEPTH: usize = 32;
/// How long glommio lets one queue run before it looks at the others: for ever. Each of our tasks hands over by
/// itself wherever it waits or yields. And glommio parks in its own rings, where nothing wakes it, if that timer
/// ends just before it would run a queue that is due (0.9, `run_task_queues`), as happens on a crowded machine.
const EXECUTOR_PREEMPT_TIMER: Duration = Duration::from_secs(365 * 24 * 3_600);
/// How long a core that ends waits for the kernel to let go of its memory.
const SHUT_DOWN_WAIT_MAX: Duration = Duration::from_secs(10);

/// The running cores of a node. Dropping it leaves them running.
pub struct Running<M, R> {
    ends: Receiver<(CoreId, Result<R, Error>)>,
    threads: Vec<JoinHandle<()>>,
    remote: Remote<M>,
    ended_count: usize,
}

/// Reaches the cores from threads that are none.
pub struct Remote<M> {
    cores: Arc<Vec<RemoteCore<M>>>,
}

type RemoteCore<M> = (Arc<CoreShared>, Arc<Injected<M>>);

impl<M> Clone for Remote<M> {
    fn clone(&self) -> Remote<M> {
        Remote { cores: Arc::clone(&self.cores) }
    }
}

impl<M> Remote<M> {
    /// Sends a message to a core, which receives it from its mesh as if it came from itself. Hands it back if
    /// the queue is full or the core is gone.
    pub fn send(&self, to: CoreId, message: M) -> Result<(), M> {
        let Some((shared, injected)) = self.cores.get(usize::from(to.0)) else { return Err(message) };
        if shared.is_gone() {
            return Err(message);
        }
        injected.push(message)?;
        shared.wake();
        Ok(())
    }

    /// Makes the waits of all cores end.
    pub fn notify_all(&self) {
        for (shared, _) in self.cores.iter() {
            shared.notify();
        }
    }
}

impl<M, R> Running<M, R> {
    /// Waits for the next core to end, and says how. `None` once all have ended.
    pub fn next_end(&mut self) -> Option<(CoreId, Result<R, Error>)> {
        if self.ended_count == self.threads.len() {
            return None;
        }
        self.ended_count += 1;
        Some(self.ends.recv().expect("each core reports its end once"))
    }

    /// Waits for all cores and returns what they returned, in their order. Returns at once if one fails; the
    /// others are running then.
    pub fn join(mut self) -> Result<Vec<R>, Error> {
        let mut results: Vec<Option<R>> = self.threads.iter().map(|_| None).collect();
        while let Some((core, result)) = self.next_end() {
            results[usize::from(core.0)] = Some(result?);
        }
        for thread in self.threads {
            // Its panics were caught and reported.
            let _ = thread.join();
        }
        Ok(results.into_iter().flatten().collect())
    }

    /// How many cores were started.
    pub fn cores_count(&self) -> usize {
        self.threads.len()
    }

    /// A handle to reach the cores from any thread.
    pub fn remote(&self) -> Remote<M> {
        self.remote.clone()
    }
}

/// Starts one thread per core and runs `main` on each. Returns when all cores are set up, or the first error
/// of one that is not; then none has run `main`.
pub fn start<M, F, Fut>(config: Config, main: F) -> Result<Running<M, Fut::Output>, Error>
where
    M: Send + 'static,
    F: Fn(CoreId, Runtime<M>) -> Fut + Send + Sync + 'static,
    Fut: Future + 'static,
    Fut::Output: Send + 'static,
{
    config.check()?;
    host_limits::check_switch()?;
    host_limits::check_memlock()?;
    preflight::check_ring()?;
    let shareds = (0..config.cores.len())
        .map(|core| CoreShared::new(CoreId(core as u16)).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()?;
    let ends: Vec<MeshEnd<M>> = mesh(&shareds, config.mesh_messages_count_max);
    let injected = ends.iter().map(MeshEnd::injected);
    let remote = Remote { cores: Arc::new(shareds.iter().cloned().zip(injected).collect()) };

    let (main, config) = (Arc::new(main), Arc::new(config));
    let (ready_sender, ready) = channel();
    let (end_sender, end_receiver) = channel();
    let (mut threads, mut go_senders) = (Vec::new(), Vec::new());
    for (shared, mesh_end) in shareds.into_iter().zip(ends) {
        let (go_sender, go) = channel();
        go_senders.push(go_sender);
        let (main, ended) = (Arc::clone(&main), end_sender.clone());
        let setup = Setup { shared, mesh_end, config: Arc::clone(&config), ready: ready_sender.clone(), go };
        let name = format!("coracle-core-{}", setup.shared.core);
        let thread = thread::Builder::new().name(name).spawn(move || run_core(setup, &*main, &ended));
        threads.push(thread.map_err(Error::os("starting a thread"))?);
    }
    drop(ready_sender);
    for _ in &threads {
        // Dropping `go_senders` on the way out ends the cores that are set up.
        ready.recv().expect("each core reports once whether it is set up")?;
    }
    for go in go_senders {
        // A core that ended meanwhile reports that as its end.
        let _ = go.send(());
    }
    Ok(Running { ends: end_receiver, threads, remote, ended_count: 0 })
}

/// What a core's thread begins with.
struct Setup<M> {
    shared: Arc<CoreShared>,
    mesh_end: MeshEnd<M>,
    config: Arc<Config>,
    ready: Sender<Result<(), Error>>,
    go: Receiver<()>,
}

/// The life of a core's thread. Nothing escapes it: how it ended is reported in one of the two channels.
fn run_core<M, F, Fut>(setup: Setup<M>, main: &F, ended: &Sender<(CoreId, Result<Fut::Output, Error>)>)
where
    M: Send + 'static,
    F: Fn(CoreId, Runtime<M>) -> Fut,
    Fut: Future + 'static,
    Fut::Output: 'static,
{
    let (shared, ready) = (Arc::clone(&setup.shared), setup.ready.clone());
    let core = shared.core;
    let result = catch_unwind(AssertUnwindSafe(|| run_executor(setup, main)));
    shared.set_gone();
    let result = match result {
        Ok(Ok(None)) => return,
        Ok(Ok(Some(result))) => Ok(result),
        Ok(Err(error)) => {
            // Nobody listens if another core has failed before.
            let _ = ready.send(Err(error));
            return;
        }
        Err(panic) => {
            let error = || Error::CorePanicked { core, message: panic_message(&*panic) };
            // Whichever of the two is still listened to.
            let _ = ready.send(Err(error()));
            Err(error())
        }
    };
    let _ = ended.send((core, result));
}

/// `Ok(None)` if another core could not be set up; an error if this one could not.
fn run_executor<M, F, Fut>(setup: Setup<M>, main: &F) -> Result<Option<Fut::Output>, Error>
where
    M: Send + 'static,
    F: Fn(CoreId, Runtime<M>) -> Fut,
    Fut: Future + 'static,
    Fut::Output: 'static,
{
    let core_id = setup.shared.core;
    let CoreConfig { cpu } = setup.config.cores[usize::from(core_id.0)];
    let placement = cpu.map_or(Placement::Unbound, Placement::Fixed);
    let executor = LocalExecutorBuilder::new(placement)
        .name("coracle")
        .io_memory(EXECUTOR_IO_BYTES)
        .ring_depth(EXECUTOR_RING_DEPTH)
        .preempt_timer(EXECUTOR_PREEMPT_TIMER)
        .make()
        .map_err(|error| Error::Executor { core: core_id, reason: error.to_string() })?;
    executor.run(async move {
        let Setup { shared, mesh_end, config, ready, go } = setup;
        shared.adopt_thread();
        let reactor = Reactor::new(&config, shared.eventfd())?;
        let seed = clock::seed().map_err(Error::os("asking the kernel for random numbers"))?;
        let mesh_end = Rc::new(mesh_end);
        let core = Core::new(shared, Rc::<MeshEnd<M>>::clone(&mesh_end), reactor, config.spin, seed);
        // A panic leaves the kernel with operations that use the core's memory, so only a clean end frees it.
        let core = ManuallyDrop::new(Rc::new(core));
        // Nobody listens if another core has failed before; then `go` says so.
        let _ = ready.send(Ok(()));
        if go.recv().is_err() {
            return Ok(None);
        }
        let result = Rc::new(RefCell::new(None));
        let runtime = Runtime::new(Rc::clone(&core), mesh_end);
        let (task, place) = (main(core_id, runtime), Rc::clone(&result));
        core.spawn_turn(async move {
            let output = task.await;
            place.replace(Some(output));
        });
        core.drive(|| result.borrow().is_some()).await;
        core.drop_tasks().await;
        if core.shut_down(SHUT_DOWN_WAIT_MAX) {
            drop(ManuallyDrop::into_inner(core));
        } else {
            tracing::warn!(core = core_id.0, "the kernel did not end all operations; their memory is left to it");
        }
        Ok(result.take())
    })
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}
