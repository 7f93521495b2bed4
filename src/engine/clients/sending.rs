//! Sending what clients are owed, and closing those that do not take it.

use std::time::Duration;

use host::{ConnId, Net, SendBuf};
use types::Instant;

use crate::clients::Clients;
use crate::clients::client::Client;
use crate::context::Context;

/// Emptied output buffers up to this length are kept, in bytes.
const SPARE_BYTES_MAX: usize = 64 << 10;
/// Replies wait no longer than this for the one behind them.
const HOLD_MAX: Duration = Duration::from_millis(1);
/// Nor if they are as long as this together, in bytes.
const HOLD_BYTES_MAX: usize = 16 << 10;
/// Clients looked at for stalls in one tick.
const STALL_LOOKS_MAX: usize = 512;
/// Requests may hold all the memory that they may for this long before the client that holds most is closed.
const MEMORY_FULL_MAX: Duration = Duration::from_secs(1);
/// And so much longer if that was not enough: several who hold much cost the others one such wait together, not one each.
const STILL_FULL_MAX: Duration = Duration::from_millis(100);

impl Clients {
    /// Sends what clients are owed: one send per connection.
    ///
    /// Replies with a read behind them that another core is answering wait for its reply, which takes one round trip between
    /// the two and at most [`HOLD_MAX`]: so the replies of a pipeline whose keys lie on all nodes leave in one send and not in
    /// one per node. A third of the kernel's time per forwarded read went into those sends.
    pub(crate) fn flush<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        // Some client waits, for room in its own output or for memory that replies hold.
        let is_awaited = self.blocked_count > 0;
        let mut dirty = std::mem::take(&mut self.dirty);
        for conn in dirty.drain(..) {
            let Some(client) = self.table.get_mut(conn) else { continue };
            client.is_dirty = false;
            if !client.is_sending {
                if !client.replies.has_output() {
                    if client.closes_when_sent && client.replies.open_count() == 0 {
                        net.close(conn);
                    }
                } else if !may_hold(client) {
                    send(client, ctx, net, conn, is_awaited);
                } else if client.held_until.is_none() {
                    let until = ctx.now + HOLD_MAX;
                    client.held_until = Some(until);
                    self.held.push_back((until, conn));
                }
            }
            client.settle();
        }
        self.dirty = dirty;
        self.release_held(ctx, net);
    }

    /// Sends the replies that have waited as long as they may.
    fn release_held<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        while let Some((until, conn)) = self.held.front().copied() {
            let client = self.table.get_mut(conn).filter(|client| client.held_until == Some(until));
            match client {
                Some(_) if until > ctx.now => return,
                Some(client) => {
                    send(client, ctx, net, conn, self.blocked_count > 0);
                    client.settle();
                }
                None => {}
            }
            self.held.pop_front();
        }
    }

    /// When the first of the replies that wait for others is due.
    pub(crate) fn next_timer(&self) -> Instant {
        self.held.front().map_or(Instant::NEVER, |(until, _)| *until)
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
        if client.is_monitor {
            self.tell_lost(ctx.unix_ms, conn);
        }
        self.touch(conn);
    }

    /// Whether clients wait for ticks, since they wait for room. Those that take nothing are given so much time that any
    /// tick does.
    pub(crate) fn wants_ticks(&self) -> bool {
        self.blocked_count > 0 || self.budget.requests_are_full()
    }

    /// Closes clients that take nothing for too long, and the one that holds most if requests fill the memory for long. Looks
    /// at some clients in each tick, and at all of them again and again.
    pub(crate) fn tick<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        self.close_stalled(ctx, net);
        if !self.budget.requests_are_full() {
            self.evict_at = None;
            return;
        }
        let due = *self.evict_at.get_or_insert(ctx.now + MEMORY_FULL_MAX);
        if ctx.now >= due {
            let wait = if self.evict(ctx, net) { STILL_FULL_MAX } else { MEMORY_FULL_MAX };
            self.evict_at = Some(ctx.now + wait);
        }
    }

    fn close_stalled<N: Net>(&mut self, ctx: &mut Context, net: &N) {
        let places_count = self.table.places_count();
        for _ in 0..places_count.min(STALL_LOOKS_MAX) {
            self.stall_cursor = (self.stall_cursor + 1) % places_count.max(1);
            let Some((conn, client)) = self.table.at(self.stall_cursor) else { continue };
            let silence = ctx.now.since(client.progress_at);
            if !client.is_sending || silence < ctx.settings.client_stall_timeout / 2 {
                continue;
            }
            // A client that takes a long send slowly is no stall: what its machine has confirmed tells.
            let acked_bytes = net.acked_bytes(conn);
            if acked_bytes > client.acked_bytes {
                if let Some(client) = self.table.get_mut(conn) {
                    (client.acked_bytes, client.progress_at) = (acked_bytes, ctx.now);
                }
            } else if silence >= ctx.settings.client_stall_timeout {
                tracing::info!(addr = %client.addr, "closing a client that does not take its replies");
                ctx.counters.clients_stalled += 1;
                net.close(conn);
            }
        }
    }

    /// Closes the client that holds most, if clients hold much at all, and what they do not use is not enough. Returns
    /// whether it did.
    fn evict<N: Net>(&mut self, ctx: &mut Context, net: &N) -> bool {
        self.table.values_mut().for_each(|client| client.release_spare());
        if !self.budget.requests_are_full() {
            return false;
        }
        let Some((conn, client)) = self.table.iter().max_by_key(|(_, client)| client.held_bytes()) else {
            return false;
        };
        let held_bytes = client.held_bytes();
        // More than that is read of no command that is not complete while memory is full.
        if held_bytes < self.limits.input_bytes_max.min(self.partial_bytes_max()) {
            return false;
        }
        tracing::warn!(
            addr = %client.addr, held_bytes, limit = self.budget.bytes_max(),
            "requests fill the memory that they may hold: closing the client that holds most of it"
        );
        ctx.counters.clients_evicted += 1;
        net.close(conn);
        true
    }

    /// Whether nothing is under way for any client.
    pub(crate) fn are_served(&self) -> bool {
        self.table
            .iter()
            .all(|(_, client)| client.replies.open_count() == 0 && !client.replies.has_output() && !client.is_sending)
    }
}

/// Whether a client's replies may wait for the one behind them.
fn may_hold(client: &Client) -> bool {
    client.replies.awaits_read_elsewhere() && client.replies.output_bytes() < HOLD_BYTES_MAX
}

/// Sends what a client is owed. Nothing of it is under way. The end of the send ends a park if some client waits for it, or this
/// one is to be closed behind it.
fn send<N: Net>(client: &mut Client, ctx: &mut Context, net: &N, conn: ConnId, is_awaited: bool) {
    let output = client.replies.take_output(std::mem::take(&mut client.spare_output));
    client.held_until = None;
    client.is_sending = true;
    client.sending_bytes = output.len();
    client.output_bytes_total += output.len() as u64;
    ctx.counters.client_bytes_sent += output.len() as u64;
    client.progress_at = ctx.now;
    net.send(conn, SendBuf::Plain(output));
    if is_awaited || client.closes_when_sent {
        net.wake_when_sent(conn);
    }
}
