//! Clients that want the settings of the node changed, and settings that have changed.

use host::ConnId;
use resp::Command;

use super::{Blocker, Clients};
use crate::context::Context;
use crate::origin::Origin;

impl Clients {
    /// A client wants settings changed: it executes no more commands until [`Clients::end_settings`].
    pub(crate) fn await_settings(&mut self, ctx: &Context, conn: ConnId, command: &Command) -> Option<Origin> {
        let origin = self.open(ctx, conn, command, 0, None)?;
        if let Some(client) = self.table.get_mut(conn) {
            client.awaits_settings = true;
        }
        Some(origin)
    }

    /// Answers a client that wanted settings changed. It may be gone by now.
    pub(crate) fn end_settings(&mut self, ctx: &mut Context, origin: Origin, result: Result<(), &str>) {
        let Origin::Client { conn, .. } = origin else { return };
        let Some(client) = self.table.get_mut(conn) else { return };
        client.awaits_settings = false;
        match result {
            Ok(()) => self.reply(origin, |reply| reply.ok()),
            Err(message) => {
                ctx.count_error(message.as_bytes());
                self.reply(origin, |reply| reply.error(message));
            }
        }
        self.unblock(conn, Blocker::Settings);
    }

    /// Other settings are in force: clients that have room by them go on.
    pub(crate) fn settings_changed(&mut self, ctx: &Context) {
        self.limits.output_bytes_max = ctx.settings.client_output_bytes_max;
        let waits_for_room = |client: &super::Client| client.blocker == Some(Blocker::Own);
        let waiting: Vec<ConnId> =
            self.table.iter().filter(|(_, client)| waits_for_room(client)).map(|(conn, _)| conn).collect();
        waiting.into_iter().for_each(|conn| self.touch(conn));
    }
}
