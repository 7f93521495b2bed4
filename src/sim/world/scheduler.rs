//! The scheduler: one thread, virtual time, and among the tasks that could run at one moment a choice by prng.

use std::task::{Context, Waker};

use super::tasks::TaskFuture;
use super::{Shared, World};
use crate::trace::Kind;

impl World {
    /// Starts a task on a core.
    pub(crate) fn spawn(&mut self, core: usize, future: TaskFuture) -> u32 {
        let task = self.tasks.insert(core, future);
        self.make_ready(task);
        task
    }

    /// Lets a task run, or if its process stands still, once it goes on.
    pub(crate) fn make_ready(&mut self, task: u32) {
        let Some(core) = self.tasks.mark_ready(task) else { return };
        let node = &mut self.nodes[self.cores[core].node];
        if node.is_paused {
            node.owed_tasks.push(task);
        } else {
            self.tasks.let_run([task]);
        }
    }

    /// A node's process stands still: nothing of it runs, while time and the machine go on.
    pub(crate) fn pause(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.is_paused = true;
        node.owed_tasks.extend(self.tasks.hold_back(&node.cores()));
    }

    /// A node's process goes on.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].is_paused = false;
        let owed = std::mem::take(&mut self.nodes[node].owed_tasks);
        self.tasks.let_run(owed);
    }
}

/// Runs one of the tasks that are ready, if there is one.
pub(crate) fn run_one(world: &Shared) -> bool {
    let (task, future) = {
        let world = &mut *world.borrow_mut();
        let Some((task, core, future)) = world.tasks.take_one(&mut world.prng) else { return false };
        world.trace.add(world.queue.now(), Kind::Task, [u64::from(task), core as u64]);
        (task, future)
    };
    let Some(mut future) = future else { return true };
    let is_done = future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    if is_done {
        world.borrow_mut().tasks.remove(task);
        // Its end may touch the world.
        drop(future);
    } else {
        world.borrow_mut().tasks.suspend(task, future);
    }
    true
}
