//! The executor: one thread, virtual time, and among the tasks that could run at one moment a choice by prng.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use crate::trace::Kind;
use crate::world::{Shared, World};

/// A task.
pub type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

struct Slot {
    generation: u32,
    core: usize,
    // `None` while it runs, and once it has ended.
    future: Option<TaskFuture>,
    is_used: bool,
    is_ready: bool,
}

/// All tasks of all processes.
#[derive(Default)]
pub(crate) struct Tasks {
    slots: Vec<Slot>,
    free: Vec<u32>,
    ready: Vec<u32>,
    /// The task that runs now: what it waits for wakes it.
    pub(crate) current: u32,
}

impl Tasks {
    /// Adds a task; it runs as soon as it may.
    fn insert(&mut self, core: usize, future: TaskFuture) -> u32 {
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, core, future: None, is_used: false, is_ready: false });
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[idx as usize];
        slot.core = core;
        slot.future = Some(future);
        slot.is_used = true;
        slot.is_ready = false;
        idx
    }

    pub(crate) fn generation(&self, task: u32) -> u32 {
        self.slots[task as usize].generation
    }

    pub(crate) fn is_there(&self, task: u32, generation: u32) -> bool {
        let slot = &self.slots[task as usize];
        slot.is_used && slot.generation == generation
    }

    fn remove(&mut self, task: u32) -> Option<TaskFuture> {
        let slot = &mut self.slots[task as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.is_used = false;
        slot.is_ready = false;
        self.free.push(task);
        slot.future.take()
    }

    /// Removes the tasks of some cores. Whoever calls drops them, when nobody holds the world.
    pub(crate) fn remove_of(&mut self, cores: std::ops::Range<usize>) -> Vec<TaskFuture> {
        let belongs = |slot: &Slot| slot.is_used && cores.contains(&slot.core);
        let gone: Vec<u32> = (0..self.slots.len() as u32).filter(|idx| belongs(&self.slots[*idx as usize])).collect();
        self.ready.retain(|task| !gone.contains(task));
        gone.into_iter().filter_map(|task| self.remove(task)).collect()
    }

    pub(crate) fn core_of(&self, task: u32) -> usize {
        self.slots[task as usize].core
    }
}

impl World {
    /// Starts a task on a core.
    pub(crate) fn spawn(&mut self, core: usize, future: TaskFuture) -> u32 {
        let task = self.tasks.insert(core, future);
        self.make_ready(task);
        task
    }

    /// Lets a task run, or if its process stands still, once it goes on.
    pub(crate) fn make_ready(&mut self, task: u32) {
        let slot = &mut self.tasks.slots[task as usize];
        if !slot.is_used || slot.is_ready {
            return;
        }
        slot.is_ready = true;
        let node = self.cores[slot.core].node;
        if self.nodes[node].is_paused {
            self.nodes[node].owed_tasks.push(task);
        } else {
            self.tasks.ready.push(task);
        }
    }

    /// A node's process stands still: nothing of it runs, while time and the machine go on.
    pub(crate) fn pause(&mut self, node: usize) {
        self.nodes[node].is_paused = true;
        let cores = self.nodes[node].first_core..self.nodes[node].first_core + self.nodes[node].cores_count;
        let (owed, ready) = std::mem::take(&mut self.tasks.ready)
            .into_iter()
            .partition(|task| cores.contains(&self.tasks.core_of(*task)));
        self.tasks.ready = ready;
        let owed: Vec<u32> = owed;
        self.nodes[node].owed_tasks.extend(owed);
    }

    /// A node's process goes on.
    pub(crate) fn resume(&mut self, node: usize) {
        self.nodes[node].is_paused = false;
        let owed = std::mem::take(&mut self.nodes[node].owed_tasks);
        self.tasks.ready.extend(owed);
    }
}

/// Runs one of the tasks that are ready, if there is one.
pub(crate) fn run_one(world: &Shared) -> bool {
    let (task, future) = {
        let world = &mut *world.borrow_mut();
        let count = world.tasks.ready.len();
        if count == 0 {
            return false;
        }
        let idx = if count == 1 { 0 } else { world.prng.below(count as u64) as usize };
        let task = world.tasks.ready.swap_remove(idx);
        let slot = &mut world.tasks.slots[task as usize];
        slot.is_ready = false;
        let core = slot.core;
        let future = slot.future.take();
        world.tasks.current = task;
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
        world.borrow_mut().tasks.slots[task as usize].future = Some(future);
    }
    true
}
