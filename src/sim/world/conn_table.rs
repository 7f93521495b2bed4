//! The connections of a core: a table with generations.

use host::{ConnId, ListenerId};

use crate::net::StreamId;

#[derive(Default)]
struct Slot {
    generation: u32,
    is_used: bool,
    stream: Option<(StreamId, usize)>,
}

/// The connections of a core, and how many listeners it has had.
#[derive(Default)]
pub(crate) struct ConnTable {
    slots: Vec<Slot>,
    free: Vec<u32>,
    listeners_count: u32,
}

impl ConnTable {
    /// The number of another listener.
    pub(super) fn add_listener(&mut self) -> ListenerId {
        self.listeners_count += 1;
        ListenerId(self.listeners_count - 1)
    }

    /// Whether the core has listened anywhere yet.
    pub(super) fn has_listened(&self) -> bool {
        self.listeners_count > 0
    }

    /// Adds a connection: this side of a stream.
    pub(super) fn insert(&mut self, stream: StreamId, side: usize) -> ConnId {
        let idx = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let slot = &mut self.slots[idx as usize];
        slot.is_used = true;
        slot.stream = Some((stream, side));
        ConnId { idx, generation: slot.generation }
    }

    fn get(&mut self, id: ConnId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(id.idx as usize)?;
        (slot.is_used && slot.generation == id.generation).then_some(slot)
    }

    /// The stream of a connection, and which side of it is the core's; `None` once either has gone.
    pub(super) fn stream(&mut self, id: ConnId) -> Option<(StreamId, usize)> {
        self.get(id)?.stream
    }

    /// The same, and the connection is without a stream from now on.
    pub(super) fn take_stream(&mut self, id: ConnId) -> Option<(StreamId, usize)> {
        self.get(id)?.stream.take()
    }

    /// Frees a place once its end was seen.
    pub(super) fn remove(&mut self, id: ConnId) {
        if let Some(slot) = self.get(id) {
            slot.is_used = false;
            slot.stream = None;
            slot.generation = slot.generation.wrapping_add(1);
            self.free.push(id.idx);
        }
    }

    /// The streams of all connections, and which side of them is the core's.
    pub(crate) fn streams(&self) -> Vec<(StreamId, usize)> {
        self.slots.iter().filter_map(|slot| slot.stream).collect()
    }
}
