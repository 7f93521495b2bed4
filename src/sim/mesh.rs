//! Queues between the cores of one node.

use std::collections::VecDeque;

use engine::MeshMessage;
use types::CoreId;

/// Messages of one core that another has not taken, beyond which they are handed back, unless a run has fewer.
pub const MESH_COUNT_MAX: usize = 1_024;

/// What other cores of its node have sent a core.
#[derive(Default)]
pub struct MeshInbox {
    /// On their way, by sending core, in order.
    on_the_way: Vec<VecDeque<MeshMessage>>,
    arrived: VecDeque<(CoreId, MeshMessage)>,
    count_max: usize,
}

impl MeshInbox {
    /// The inbox of a core of a node with `cores_count` cores. `count_max` is how many messages of one core may wait.
    pub fn new(cores_count: usize, count_max: usize) -> MeshInbox {
        let on_the_way = (0..cores_count).map(|_| VecDeque::new()).collect();
        MeshInbox { on_the_way, arrived: VecDeque::new(), count_max }
    }

    /// Takes a message on its way, or hands it back if there is no room.
    ///
    /// # Errors
    /// The message.
    pub fn push(&mut self, from: CoreId, message: MeshMessage) -> Result<(), MeshMessage> {
        let waiting = self.arrived.iter().filter(|(sender, _)| *sender == from).count();
        match self.on_the_way.get_mut(usize::from(from.0)) {
            Some(queue) if queue.len() + waiting < self.count_max => {
                queue.push_back(message);
                Ok(())
            }
            _ => Err(message),
        }
    }

    /// The next message of a core arrives.
    pub fn arrive(&mut self, from: CoreId) {
        if let Some(message) = self.on_the_way.get_mut(usize::from(from.0)).and_then(VecDeque::pop_front) {
            self.arrived.push_back((from, message));
        }
    }

    /// How many messages of one core may wait.
    pub fn count_max(&self) -> usize {
        self.count_max
    }

    /// The next message that has arrived.
    pub fn pop(&mut self) -> Option<(CoreId, MeshMessage)> {
        self.arrived.pop_front()
    }

    /// Whether a message has arrived.
    pub fn has_messages(&self) -> bool {
        !self.arrived.is_empty()
    }
}
