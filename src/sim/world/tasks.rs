//! The tasks of all processes: a table with generations, and which of them are ready.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;

use crate::prng::Prng;

/// A task.
pub(crate) type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

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
    // In no order that means anything; each of them once.
    ready: Vec<u32>,
    /// The task that runs now: what it waits for wakes it.
    pub(crate) current: u32,
}

impl Tasks {
    /// Adds a task, which is not ready yet.
    pub(super) fn insert(&mut self, core: usize, future: TaskFuture) -> u32 {
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

    /// What tells it from the tasks that had its number before.
    pub(crate) fn generation(&self, task: u32) -> u32 {
        self.slots[task as usize].generation
    }

    /// Whether it has not ended.
    pub(crate) fn is_there(&self, task: u32, generation: u32) -> bool {
        let slot = &self.slots[task as usize];
        slot.is_used && slot.generation == generation
    }

    /// Removes a task. Whoever calls drops it, when nobody holds the world.
    pub(super) fn remove(&mut self, task: u32) -> Option<TaskFuture> {
        let slot = &mut self.slots[task as usize];
        slot.generation = slot.generation.wrapping_add(1);
        slot.is_used = false;
        slot.is_ready = false;
        self.free.push(task);
        slot.future.take()
    }

    /// Removes the tasks of some cores. Whoever calls drops them, when nobody holds the world.
    pub(crate) fn remove_of(&mut self, cores: Range<usize>) -> Vec<TaskFuture> {
        let belongs = |slot: &Slot| slot.is_used && cores.contains(&slot.core);
        let gone: Vec<u32> = (0..self.slots.len() as u32).filter(|idx| belongs(&self.slots[*idx as usize])).collect();
        self.ready.retain(|task| !gone.contains(task));
        gone.into_iter().filter_map(|task| self.remove(task)).collect()
    }

    /// Notes that a task is ready. Returns its core; `None` if it has ended, or was ready before.
    pub(super) fn mark_ready(&mut self, task: u32) -> Option<usize> {
        let slot = &mut self.slots[task as usize];
        if !slot.is_used || slot.is_ready {
            return None;
        }
        slot.is_ready = true;
        Some(slot.core)
    }

    /// Lets tasks run that were marked as ready.
    pub(super) fn let_run(&mut self, tasks: impl IntoIterator<Item = u32>) {
        self.ready.extend(tasks);
    }

    /// Takes back those that are to run on some cores: they stay ready and do not run.
    pub(super) fn hold_back(&mut self, cores: &Range<usize>) -> Vec<u32> {
        let ready = std::mem::take(&mut self.ready);
        let (held, ready) = ready.into_iter().partition(|task| cores.contains(&self.slots[*task as usize].core));
        self.ready = ready;
        held
    }

    /// Takes one of the tasks that are to run, if there is any; it is the current one then. With it comes its core.
    pub(super) fn take_one(&mut self, prng: &mut Prng) -> Option<(u32, usize, Option<TaskFuture>)> {
        let idx = match self.ready.len() {
            0 => return None,
            1 => 0,
            count => prng.below(count as u64) as usize,
        };
        let task = self.ready.swap_remove(idx);
        self.current = task;
        let slot = &mut self.slots[task as usize];
        slot.is_ready = false;
        Some((task, slot.core, slot.future.take()))
    }

    /// Keeps a task that has run and waits again.
    pub(super) fn suspend(&mut self, task: u32, future: TaskFuture) {
        self.slots[task as usize].future = Some(future);
    }
}
