//! Processes that begin and end, and what a death leaves of what was under way.

use super::tasks::TaskFuture;
use super::{Death, NodeState, World};
use crate::trace::Kind;

impl World {
    /// A node's process begins. Returns its number; `None` if one runs.
    pub(crate) fn begin_process(&mut self, node: usize) -> Option<u32> {
        let now = self.now();
        let state = &mut self.nodes[node];
        if state.state == NodeState::Up {
            return None;
        }
        state.state = NodeState::Up;
        state.epoch += 1;
        state.cores_ended = 0;
        state.has_quarantined = false;
        state.has_disk_failed = false;
        let (epoch, cores) = (state.epoch, state.cores());
        for core in cores.clone() {
            self.cores[core].reset(epoch, cores.len());
        }
        self.trace.add(now, Kind::Process, [node as u64, u64::from(epoch)]);
        self.trace.tell(now, format_args!("node {} starts", node + 1));
        Some(epoch)
    }

    /// A node's process ends at once, alone or with its machine. Returns its tasks, `None` if none runs. Whoever calls drops them,
    /// when nobody holds the world: they may touch it once more.
    pub(crate) fn end_process(&mut self, node: usize, death: Death) -> Option<Vec<TaskFuture>> {
        if self.nodes[node].state != NodeState::Up {
            if death == Death::Machine {
                self.nodes[node].state = NodeState::Dark;
                self.lose_power(node);
            }
            return None;
        }
        let now = self.now();
        self.trace.add(now, Kind::Process, [node as u64, 0]);
        self.trace.tell(now, format_args!("node {} dies: {death:?}", node + 1));
        if self.is_starting(node) {
            self.count("a process died while it was starting");
        }
        let state = &mut self.nodes[node];
        state.state = if death == Death::Machine { NodeState::Dark } else { NodeState::Down };
        state.is_paused = false;
        state.owed_tasks.clear();
        let cores = state.cores();
        let tasks = self.tasks.remove_of(cores.clone());
        self.tear_operations(&cores, death);
        if death == Death::Machine {
            self.lose_power(node);
        }
        self.nodes[node].disk.crash(&mut self.disk_prng);
        for listeners in self.net.listeners.values_mut() {
            listeners.retain(|(core, _)| !cores.contains(core));
        }
        for core in cores {
            self.forget_core(core, death);
        }
        Some(tasks)
    }

    /// The process of a core is gone: its connections die, and nothing of it stays.
    fn forget_core(&mut self, core: usize, death: Death) {
        for (stream, side) in self.cores[core].conns.streams() {
            self.net.die(stream, side, death == Death::Machine, &mut self.queue);
            self.drop_if_deserted(stream);
        }
        let node = &self.nodes[self.cores[core].node];
        self.cores[core].reset(node.epoch, node.cores_count);
    }

    /// One of the cores of a process has ended well. Whether it was the last.
    pub(crate) fn core_ended(&mut self, node: usize) -> bool {
        let now = self.now();
        let state = &mut self.nodes[node];
        state.cores_ended += 1;
        if state.cores_ended < state.cores_count {
            return false;
        }
        self.trace.tell(now, format_args!("node {} has stopped", node + 1));
        self.count("a node stopped in order");
        true
    }
}
