//! Queues that go on: what waits for a group is sent, or executed here, in order.

use crate::context::Context;
use crate::local_replica::LocalReplica;
use crate::origin::LinkId;
use crate::request::OwnedRequest;
use crate::router::Router;
use crate::router::queue::Queued;
use crate::shares::Kind;

impl Router {
    /// A route whose queue may go on, if there is one and the turn is not too long already: for [`Router::drain`].
    pub(crate) fn next_to_drain(&mut self, ctx: &Context) -> Option<usize> {
        if ctx.shares.is_spent(Kind::Routed) {
            self.is_drain_cut_short |= !self.to_drain.is_empty();
            return None;
        }
        let route = self.to_drain.pop()?;
        self.queues[route].is_draining = false;
        Some(route)
    }

    /// Sends what waits for a group, in order, as far as its leader is known and reachable. Returns the next command if it
    /// is to be executed by the replica here; call again behind that.
    pub(crate) fn drain(
        &mut self,
        ctx: &mut Context,
        route: usize,
        local: Option<LocalReplica>,
    ) -> Option<OwnedRequest> {
        while let Some(Queued { request, deadline }) = self.queues[route].first() {
            let (bytes, command, deadline) = (request.bytes(), request.command, *deadline);
            if ctx.shares.is_spent(Kind::Routed) {
                self.want_drain(route);
                return None;
            }
            if deadline <= ctx.now {
                // The next look for late ones ends it: its answer would come too late, and nobody would know whether it ran.
                return None;
            }
            if let Some(local) = local
                && local.leads
            {
                if self.queues[route].in_flight_count > 0 || !local.has_room_for(command) {
                    return None;
                }
                self.queues[route].progressed(ctx.now);
                return self.pop(ctx, route).map(|(_, queued)| queued.request);
            }
            let link = self.open_link(ctx, route, local, bytes)?;
            let (order, queued) = self.pop(ctx, route)?;
            self.send(ctx, route, link, order, queued.deadline, queued.request.as_request());
        }
        None
    }

    fn pop(&mut self, ctx: &mut Context, route: usize) -> Option<(i64, Queued)> {
        let (order, queued) = self.queues[route].pop_front()?;
        ctx.shares.spend(Kind::Routed, 1);
        self.left(ctx, route, &queued);
        Some((order, queued))
    }

    /// A command that waited does no longer.
    pub(super) fn left(&mut self, ctx: &Context, route: usize, queued: &Queued) {
        self.room.sub(&self.queues[route]);
        self.waiting_count -= 1;
        self.waiting_bytes -= queued.request.bytes();
        self.unblock(ctx, route);
    }

    /// Notes that a route's queue may go on.
    pub(crate) fn want_drain(&mut self, route: usize) {
        let queue = &mut self.queues[route];
        if queue.waiting_count() > 0 && !std::mem::replace(&mut queue.is_draining, true) {
            self.to_drain.push(route);
        }
    }

    /// Notes that what waits to be sent over a link may go on.
    pub(super) fn want_drain_of_link(&mut self, link: LinkId) {
        if self.waiting_count == 0 {
            return;
        }
        for idx in 0..self.active.len() {
            let route = self.active[idx];
            if self.routes.get(route).link == Some(link) && self.queues[route].waiting_count() > 0 {
                self.want_drain(route);
            }
        }
    }
}
