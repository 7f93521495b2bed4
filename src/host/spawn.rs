//! Tasks beside the turn loop, and the loop's own waiting.

use std::future::Future;
use std::io;

use types::Instant;

/// How urgent a task is against the turn loop of its core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskClass {
    /// Something a request waits for, for example reading old log back for a follower.
    Foreground,
    /// Something that only has to be done eventually, for example preparing the next segment.
    Background,
}

/// Runs tasks on the core that calls it.
pub trait Spawn {
    /// Starts a task on this core. It runs between turns, when the loop waits or yields.
    fn spawn(&self, class: TaskClass, task: impl Future<Output = ()> + 'static);

    /// Ends a wait of the turn loop in [`Spawn::park`], now or the next one to come. For tasks that have
    /// left something for the loop to pick up.
    fn notify(&self);

    /// Begins every queued operation of this core with one system call at most, then waits until a
    /// completion, a message of another core or a [`Spawn::notify`] arrives, or until `deadline`. The ends of sends that were
    /// begun in the turn before may not count: see [`crate::Net::wake_when_sent`].
    fn park(&self, deadline: Instant) -> impl Future<Output = ()>;

    /// Begins every queued operation of this core with one system call at most, and lets other tasks of
    /// this core run if they are due.
    fn yield_now(&self) -> impl Future<Output = ()>;

    /// Waits at least until `deadline`. For tasks, not for the turn loop.
    fn sleep_until(&self, deadline: Instant) -> impl Future<Output = ()>;

    /// Runs work that only computes and takes longer than a turn may, off this core where the host has threads, and else where it is
    /// waited for. For tasks, not for the turn loop. A caller has one such work under way at a time, so they are as few as callers.
    ///
    /// # Errors
    /// No thread could be had for it, or it panicked.
    fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = io::Result<T>> {
        async move { Ok(work()) }
    }
}
