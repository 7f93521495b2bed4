//! What a core has of the world: what has come for it, and how its turn loop stands.

use std::collections::VecDeque;

use bytes::Bytes;
use host::{IoSchedule, NetEvent, WriteDone};
use types::{CoreAddr, Instant};

use super::conn_table::ConnTable;
use super::stopped_turn::StoppedTurn;
use crate::mesh::MeshInbox;
use crate::prng::Prng;

/// What a core has of the world.
pub struct CoreState {
    /// Where it is.
    pub place: CoreAddr,
    /// Index of its node.
    pub node: usize,
    /// The process it belongs to.
    pub(crate) epoch: u32,
    /// Its turn loop, as long as there is one.
    pub(crate) turn_task: Option<u32>,
    pub(crate) inbox: VecDeque<NetEvent<Bytes>>,
    /// How many at the end of the inbox end no wait: sends begun in the turn that has just ended.
    pub(crate) quiet_count: usize,
    /// What the current turn has brought about, and whether it ends a wait. Seen by the next turn.
    pub(crate) staged: Vec<(NetEvent<Bytes>, bool)>,
    pub(crate) writes_done: VecDeque<WriteDone>,
    /// Its disk operations that wait for their turn.
    pub(super) schedule: IoSchedule<u32>,
    pub(crate) mesh: MeshInbox,
    /// Whether its turn is stopped, or goes on and has not come to where it was.
    pub(crate) stopped: Option<StoppedTurn>,
    pub(crate) is_notified: bool,
    pub(crate) is_parked: bool,
    pub(crate) is_scheduled: bool,
    pub(crate) deadline: Instant,
    /// The earliest of its timers, if one is set; in true time, as the next.
    pub(super) park_timer_at: Option<u64>,
    /// Until when the last turn keeps it busy.
    pub(super) busy_until: u64,
    pub(crate) conns: ConnTable,
    pub(crate) prng: Prng,
}

impl CoreState {
    /// A core before its process starts.
    /// `mesh_count_max` is how many messages of another core of the node may wait for it.
    pub fn new(place: CoreAddr, node: usize, cores_count: usize, mesh_count_max: usize, prng: Prng) -> CoreState {
        CoreState {
            place,
            node,
            epoch: 0,
            turn_task: None,
            inbox: VecDeque::new(),
            quiet_count: 0,
            staged: Vec::new(),
            writes_done: VecDeque::new(),
            schedule: IoSchedule::default(),
            mesh: MeshInbox::new(cores_count, mesh_count_max),
            stopped: None,
            is_notified: false,
            is_parked: false,
            is_scheduled: false,
            deadline: Instant::ZERO,
            park_timer_at: None,
            busy_until: 0,
            conns: ConnTable::default(),
            prng,
        }
    }

    /// Forgets everything of a process that has ended, and begins another.
    pub(crate) fn reset(&mut self, epoch: u32, cores_count: usize) {
        let prng = self.prng.clone();
        let fresh = CoreState::new(self.place, self.node, cores_count, self.mesh.count_max(), prng);
        *self = CoreState { epoch, ..fresh };
    }

    /// Whether something has come for which its turn loop waits.
    pub(super) fn is_due(&self) -> bool {
        self.is_notified
            || self.inbox.len() > self.quiet_count
            || !self.writes_done.is_empty()
            || self.mesh.has_messages()
    }
}
