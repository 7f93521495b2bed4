//! MONITOR: which commands are looked at for it, and the lines' way from core to core of a node.

use super::{Core, CoreHost, MeshMessage};
use crate::clients::Monitored;

impl<H: CoreHost> Core<H> {
    /// The lines of this turn go to the monitors here and to the other cores that want them.
    pub(super) fn feed_monitors(&mut self) {
        for (to, monitored) in self.clients.end_monitored_turn(&mut self.ctx) {
            if self.host.mesh_send(to, MeshMessage::Monitored(monitored.clone())).is_err() {
                self.clients.monitored_not_handed(to, &monitored);
            }
        }
        if self.clients.wants_monitored(self.ctx.now) {
            self.tell_node(|| MeshMessage::MonitorWanted);
        }
    }

    /// Another core has handed its lines over.
    pub(super) fn on_monitored(&mut self, monitored: &Monitored) {
        self.clients.on_monitored(&mut self.ctx, monitored);
    }
}
