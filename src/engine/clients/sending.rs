//! Sending what clients are owed, and closing those that do not take it.

use std::time::Duration;

use host::{ConnId, Net, SendBuf};

use crate::clients::Clients;
use crate::context::Context;

/// Emptied output buffers up to this length are kept, in bytes.
const SPARE_BYTES_MAX: usize = 64 << 10;
/// Clients looked at for stalls in one tick.
const STALL_LOOKS_MAX: usize = 512;
/// Requests may hold all the memory that they may for this long before the client that holds most is closed.
const MEMORY_FULL_MAX: Duration = Duration::from_secs(1);

impl Clients {
    /// Sends what clients are owed: one send per connection.
    pub(crate) fn flush<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        for conn in std::mem::take(&mut self.dirty) {
            let Some(client) = self.table.get_mut(conn) else { continue };
            client.is_dirty = false;
            if !client.is_sending {
                if client.replies.has_output() {
                    let output = client.replies.take_output(std::mem::take(&mut client.spare_output));
                    client.is_sending = true;
                    client.sending_bytes = output.len();
                    client.output_bytes_total += output.len() as u64;
                    ctx.counters.client_bytes_sent += output.len() as u64;
                    client.progress_at = ctx.now;
                    net.send(conn, SendBuf::Plain(output));
                } else if client.closes_when_sent && client.replies.open_count() == 0 {
                    net.close(conn);
                }
            }
            client.settle();
        }
    }

    /// A whole buffer was handed to the network.
    pub(crate) fn sent(&mut self, ctx: &Context, conn: ConnId, buf: SendBuf) {
        let Some(client) = self.table.get_mut(conn) else { return };
        client.is_sending = false;
        client.sending_bytes = 0;
        client.progress_at = ctx.now;
        if let SendBuf::Plain(mut spare) = buf
            && spare.capacity() <= SPARE_BYTES_MAX
        {
            spare.clear();
            client.spare_output = spare;
        }
        self.touch(conn);
    }

    /// Closes clients that take nothing for too long, and the one that holds most if requests fill the memory for long. Looks
    /// at some clients in each tick, and at all of them again and again.
    pub(crate) fn tick<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        self.close_stalled(ctx, net);
        if !self.budget.requests_are_full() {
            self.memory_full_since = None;
            return;
        }
        let since = *self.memory_full_since.get_or_insert(ctx.now);
        if ctx.now.since(since) >= MEMORY_FULL_MAX {
            self.memory_full_since = None;
            self.evict(ctx, net);
        }
    }

    fn close_stalled<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        let places_count = self.table.places_count();
        for _ in 0..places_count.min(STALL_LOOKS_MAX) {
            self.stall_cursor = (self.stall_cursor + 1) % places_count.max(1);
            let Some((conn, client)) = self.table.at(self.stall_cursor) else { continue };
            let silence = ctx.now.since(client.progress_at);
            if !client.is_sending || silence < ctx.config.client_stall_timeout / 2 {
                continue;
            }
            // A client that takes a long send slowly is no stall: what its machine has confirmed tells.
            let acked_bytes = net.acked_bytes(conn);
            if acked_bytes > client.acked_bytes {
                if let Some(client) = self.table.get_mut(conn) {
                    (client.acked_bytes, client.progress_at) = (acked_bytes, ctx.now);
                }
            } else if silence >= ctx.config.client_stall_timeout {
                tracing::info!(addr = %client.addr, "closing a client that does not take its replies");
                ctx.counters.clients_stalled += 1;
                net.close(conn);
            }
        }
    }

    /// Closes the client that holds most, if clients hold much at all.
    fn evict<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        let Some((conn, client)) = self.table.iter().max_by_key(|(_, client)| client.held_bytes()) else { return };
        let held_bytes = client.held_bytes();
        if held_bytes <= self.limits.input_bytes_max {
            return;
        }
        tracing::warn!(
            addr = %client.addr, held_bytes, limit = self.budget.bytes_max(),
            "requests fill the memory that they may hold: closing the client that holds most of it"
        );
        ctx.counters.clients_evicted += 1;
        net.close(conn);
    }

    /// Whether nothing is under way for any client.
    pub(crate) fn are_served(&self) -> bool {
        self.table
            .iter()
            .all(|(_, client)| client.replies.open_count() == 0 && !client.replies.has_output() && !client.is_sending)
    }
}
