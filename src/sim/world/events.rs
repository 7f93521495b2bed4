//! What happens next: each event of the queue, handed to the part of the world that it concerns.

use super::World;
use super::clients::ClientEvent;
use crate::net::StreamId;
use crate::queue::Event;

impl World {
    /// Lets one event happen.
    pub(crate) fn handle(&mut self, event: Event) {
        match event {
            Event::Turn { core, epoch } => {
                if self.is_current(core as usize, epoch) {
                    self.on_turn(core as usize);
                }
            }
            Event::ParkTimer { core, epoch } => {
                if self.is_current(core as usize, epoch) {
                    self.on_park_timer(core as usize);
                }
            }
            Event::Wake { task, generation } => {
                if self.tasks.is_there(task, generation) {
                    self.make_ready(task);
                }
            }
            Event::DiskEnd { op, generation } => self.on_disk_end(op, generation),
            Event::Syn { stream, generation } => self.on_syn(StreamId { idx: stream, generation }),
            Event::SynAck { stream, generation, is_refused } => {
                self.on_syn_ack(StreamId { idx: stream, generation }, is_refused);
            }
            Event::Deliver { stream, generation, from } => {
                self.on_deliver(StreamId { idx: stream, generation }, usize::from(from));
            }
            Event::Reset { stream, generation, side } => {
                self.on_reset(StreamId { idx: stream, generation }, usize::from(side));
            }
            Event::Mesh { core, epoch, from } => {
                if self.is_current(core as usize, epoch) {
                    self.on_mesh(core as usize, from);
                }
            }
            Event::ClientTimer { token } => self.clients.events.push_back(ClientEvent::Timer(token)),
            Event::Fault { idx } => self.faults_due.push(idx),
            Event::Resume { node, epoch } => {
                if self.nodes[node as usize].epoch == epoch {
                    self.resume(node as usize);
                }
            }
            Event::Kill { node, epoch } => self.kills_due.push((node as usize, epoch)),
            Event::Boot { node, epoch } => self.boots_due.push((node as usize, epoch)),
        }
    }
}
