//! Messages between the cores of a node, on their way.

use engine::MeshMessage;
use types::CoreId;

use super::World;
use crate::queue::Event;
use crate::trace::Kind;

/// How long a message takes to another core of the same node, at least and what is added on average, in nanoseconds.
const MESH_MIN: u64 = 2_000;
const MESH_MEAN: u64 = 8_000;

impl World {
    /// Sends a message to another core of the same node.
    ///
    /// # Errors
    /// The message, if the core is not there or has no room for it.
    pub(crate) fn mesh_send(&mut self, core: usize, to: CoreId, message: MeshMessage) -> Result<(), MeshMessage> {
        let state = &self.cores[core];
        let (node, from) = (&self.nodes[state.node], state.place.core);
        if usize::from(to.0) >= node.cores_count {
            return Err(message);
        }
        let target = node.first_core + usize::from(to.0);
        if self.cores[target].turn_task.is_none() {
            return Err(message);
        }
        if let Err(message) = self.cores[target].mesh.push(from, message) {
            self.count("a mesh was full");
            return Err(message);
        }
        let at = self.now() + self.prng.latency(MESH_MIN, MESH_MEAN);
        let epoch = self.cores[target].epoch;
        self.queue.push(at, Event::Mesh { core: target as u32, epoch, from: from.0 });
        Ok(())
    }

    /// The next message of another core arrives.
    pub(super) fn on_mesh(&mut self, core: usize, from: u16) {
        self.trace.add(self.queue.now(), Kind::Mesh, [core as u64, u64::from(from)]);
        self.cores[core].mesh.arrive(CoreId(from));
        self.wake_core(core);
    }
}
