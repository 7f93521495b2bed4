//! Commands of clients: from their bytes to the part where they belong.

use host::ConnId;
use resp::{Args, Command, CommandId, Parser, Protocol, Reply};
use types::Slot;

use super::diagnostics::tells_of_core;
use super::share::Share;
use super::sink::out;
use super::{Core, CoreHost, MeshMessage};
use crate::clients::{Blocker, Dispatch, Merge, Step, step};
use crate::error::Error;
use crate::local_replica::LocalReplica;
use crate::observe::{CoreReport, server_commands};
use crate::origin::{Origin, Port};
use crate::refusal::Refusal;
use crate::replies::{ReplySink, refuse};
use crate::request::Request;
use crate::router::{Decision, Forwarded};
use crate::shares::Kind;

/// To tell so many bytes of the core, the node or the cluster takes about as long as another command.
const TOLD_BYTES_PER_COMMAND: usize = 64;
/// To look at so many groups for that does, too.
const LOOKS_PER_COMMAND: usize = 8;
/// What a report of a core takes to make without its groups, as so many looks: it copies what was measured, about 100 KiB, and INFO asks
/// the kernel about the process, which takes 20 and 100 µs.
const REPORT_LOOKS_COUNT: usize = 1_024;

/// Whether a command of a client was taken in, or what it waits for.
enum Taken {
    Yes,
    /// It is answered with an error, and was not looked at any further.
    Refused,
    Later(Blocker),
}

impl<H: CoreHost> Core<H> {
    /// Executes what a client has sent. Whole commands are used where they arrived; the beginning of one that is not
    /// complete is kept, and so is everything behind one that has to wait.
    pub(super) fn run_client(&mut self, conn: ConnId, bytes: &[u8]) {
        let is_waiting = self.clients.is_waiting(conn);
        let Some(mut input) = self.clients.take_input(&mut self.ctx, &self.host, conn, bytes) else { return };
        if input.is_empty() && !is_waiting {
            let done = self.run_commands(conn, input.parts().0, bytes);
            let rest = bytes.get(done..).unwrap_or_default();
            if !rest.is_empty() {
                input.extend(rest);
            }
        } else {
            input.extend(bytes);
            if !is_waiting {
                let (parser, bytes) = input.parts();
                let done = self.run_commands(conn, parser, bytes);
                input.consume(done, self.clients.input_bytes_kept());
            }
        }
        self.clients.put_input(&mut self.ctx, &self.host, conn, input);
    }

    /// Executes the whole commands at the front of `buf`, as far as the client may; returns how many bytes they took.
    fn run_commands(&mut self, conn: ConnId, parser: &mut Parser, buf: &[u8]) -> usize {
        let limits = self.ctx.config.limits.commands;
        let mut pos = 0;
        self.lookahead.begin();
        while pos < buf.len() {
            if self.clients.is_closing(conn) {
                return buf.len();
            }
            if self.share.is_spent() {
                self.clients.go_on_later(conn);
                return pos;
            }
            if let Some(blocker) = self.clients.own_blocker(&self.ctx, conn) {
                self.clients.block(&mut self.ctx, conn, blocker);
                return pos;
            }
            if self.lookahead.is_due() {
                self.look_ahead(&buf[pos..]);
            }
            match step(parser, buf, pos, &limits) {
                Step::Command { args, next } => match self.execute_counted(conn, args, next - pos) {
                    Taken::Yes | Taken::Refused => {
                        self.lookahead.executed();
                        pos = next;
                    }
                    Taken::Later(blocker) => {
                        self.clients.block(&mut self.ctx, conn, blocker);
                        return pos;
                    }
                },
                Step::Skip { next } => pos = next,
                Step::Incomplete => return pos,
                Step::Broken(error) => {
                    self.clients.protocol_error(&mut self.ctx, conn, &error);
                    return buf.len();
                }
            }
        }
        pos
    }

    /// Takes in one command of a client, of this length in bytes, and counts what it takes against the client's share.
    fn execute_counted(&mut self, conn: ConnId, args: Args<'_>, bytes: usize) -> Taken {
        let written = self.clients.written_bytes();
        let taken = self.execute(conn, args);
        let reply_bytes = (self.clients.written_bytes() - written) as usize;
        self.share.spend(1, bytes + reply_bytes);
        if self.is_worth_a_look(bytes, reply_bytes) && !matches!(taken, Taken::Later(_)) {
            self.look_at_command(conn, args, bytes, reply_bytes, matches!(taken, Taken::Refused));
        }
        taken
    }

    /// Takes in one command of a client.
    fn execute(&mut self, conn: ConnId, args: Args<'_>) -> Taken {
        match self.clients.classify(&mut self.ctx, conn, args) {
            Dispatch::Answered => Taken::Refused,
            Dispatch::Local(command) => {
                self.clients.note_command(&mut self.ctx, conn, command.full_name);
                self.execute_local(conn, command, args);
                Taken::Yes
            }
            Dispatch::Slot { port, command, slot } => {
                let route = self.router.of_slot(slot);
                self.execute_on_route(conn, port, command, slot, route, args)
            }
            Dispatch::Group { command, group } => {
                let Some(route) = self.router.of_group(group) else {
                    let Some(origin) = self.clients.open(&self.ctx, conn, command, 0, None) else {
                        return Taken::Yes;
                    };
                    return self.refuse(conn, command, origin, None, Refusal::NoGroup);
                };
                // Also on a core port: it is about the cluster, and not about keys.
                self.execute_on_route(conn, Port::Gateway, command, Slot::default(), route, args)
            }
            Dispatch::Cursor { port, command, slot } => {
                let Some(slot) = self.next_scanned(port, slot) else {
                    let Some(origin) = self.clients.open(&self.ctx, conn, command, 0, None) else {
                        return Taken::Yes;
                    };
                    self.clients.note_command(&mut self.ctx, conn, command.full_name);
                    self.ctx.commands.count(command.id);
                    out!(self).reply(origin, |reply| {
                        reply.array(2);
                        reply.bulk(b"0");
                        reply.array(0);
                    });
                    return Taken::Yes;
                };
                let route = self.router.of_slot(slot);
                self.execute_on_route(conn, port, command, slot, route, args)
            }
            Dispatch::FanOut { port, command, merge } => self.fan_out(conn, port, command, merge, args),
        }
    }

    /// Takes a command to the group of its keys: here, over a link, or back to the client.
    fn execute_on_route(
        &mut self,
        conn: ConnId,
        port: Port,
        command: &'static Command,
        slot: Slot,
        route: usize,
        args: Args<'_>,
    ) -> Taken {
        let local = self.local(route);
        let decision = self.router.decide(self.ctx.addr(), port, route, local);
        if let (Decision::Local(group), Some(replica)) = (decision, local)
            && !replica.has_room_for(command)
        {
            self.groups.note_full(group);
            return Taken::Later(Blocker::Route(route));
        }
        let bytes = Request { origin: Origin::NONE, command, slot, args }.bytes();
        let Some(origin) = self.clients.open(&self.ctx, conn, command, bytes, Some(route)) else { return Taken::Yes };
        let request = Request { origin, command, slot, args };
        match decision {
            Decision::Local(group) => {
                self.clients.note_command(&mut self.ctx, conn, command.full_name);
                self.lookahead.note(command);
                let sample = self.ctx.commands.begin_sample(command.id).map(|sample| (sample, self.host.now()));
                self.groups.execute(&mut self.ctx, out!(self), group, request);
                if let Some((sample, begun_at)) = sample {
                    self.ctx.commands.end_sample(sample, self.host.now().since(begun_at));
                }
            }
            Decision::Forward => match self.router.forward(&mut self.ctx, route, local, request) {
                Forwarded::Taken => {
                    if !command.is_write() {
                        self.clients.note_read_elsewhere(conn);
                    }
                    self.clients.note_command(&mut self.ctx, conn, command.full_name);
                    self.ctx.commands.count(command.id);
                    self.mark_requests(route);
                }
                Forwarded::Blocked => {
                    self.clients.cancel(conn);
                    return Taken::Later(Blocker::Route(route));
                }
                Forwarded::Refused(refusal) => return self.refuse(conn, command, origin, Some(route), refusal),
            },
            Decision::Moved(addr) => {
                self.clients.note_command(&mut self.ctx, conn, command.full_name);
                self.clients.leave_untimed(conn);
                self.ctx.counters.commands_redirected += 1;
                self.ctx.commands.reject(command.id);
                self.cluster.write_moved(slot, addr, origin, out!(self));
                return Taken::Refused;
            }
            Decision::ClusterDown(refusal) => match (port, command.id) {
                // A core port knows its own keys only, as a Redis node does.
                (Port::Core, CommandId::ClusterGetKeysInSlot) => out!(self).reply(origin, |reply| reply.array(0)),
                (Port::Core, CommandId::ClusterCountKeysInSlot) => out!(self).reply(origin, |reply| reply.integer(0)),
                _ => return self.refuse(conn, command, origin, Some(route), refusal),
            },
        }
        Taken::Yes
    }

    fn refuse(
        &mut self,
        conn: ConnId,
        command: &'static Command,
        origin: Origin,
        route: Option<usize>,
        refusal: Refusal,
    ) -> Taken {
        self.clients.note_command(&mut self.ctx, conn, command.full_name);
        self.clients.leave_untimed(conn);
        self.ctx.commands.reject(command.id);
        let group = route.map(|route| self.router.route(route).id);
        refuse(&mut self.ctx, out!(self), origin, refusal, group);
        Taken::Refused
    }

    /// Takes a command to every group: on the gateway to those of the whole cluster, on a core port to those led here. It is
    /// refused as a whole if one of them has no room for its part, before any has done it.
    fn fan_out(
        &mut self,
        conn: ConnId,
        port: Port,
        command: &'static Command,
        merge: Merge,
        args: Args<'_>,
    ) -> Taken {
        let Some(origin) = self.clients.open(&self.ctx, conn, command, 0, None) else { return Taken::Refused };
        let parts = self.parts(port);
        if parts.is_empty() {
            self.clients.note_command(&mut self.ctx, conn, command.full_name);
            self.ctx.commands.count(command.id);
            out!(self).reply(origin, |reply| merge.write_empty(reply));
            return Taken::Yes;
        }
        let bytes = Request { origin: Origin::NONE, command, slot: Slot::default(), args }.bytes();
        if let Some(full) = self.part_without_room(&parts, bytes) {
            return self.refuse(conn, command, origin, Some(full), Refusal::QueueFull);
        }
        self.clients.note_command(&mut self.ctx, conn, command.full_name);
        self.ctx.commands.count(command.id);
        let fan_out = self.clients.begin_fan_out(&self.ctx, origin, merge, parts.len());
        self.share.spend(parts.len(), parts.len() * bytes);
        for (route, decision) in parts {
            let origin = Origin::SubRequest { fan_out, conn };
            let request = Request { origin, command, slot: Slot::default(), args };
            match decision {
                Decision::Local(group) => self.groups.execute(&mut self.ctx, out!(self), group, request),
                _ => self.forward_part(route, request),
            }
        }
        Taken::Yes
    }

    fn forward_part(&mut self, route: usize, request: Request<'_>) {
        let local = self.local(route);
        match self.router.forward(&mut self.ctx, route, local, request) {
            Forwarded::Taken => self.mark_requests(route),
            Forwarded::Blocked | Forwarded::Refused(_) => {
                let group = self.router.route(route).id;
                refuse(&mut self.ctx, out!(self), request.origin, Refusal::QueueFull, Some(group));
            }
        }
    }

    /// The slot where a scan goes on that has come to this one: on the gateway there, on a core port at the next one that is led here,
    /// if there is one.
    fn next_scanned(&self, port: Port, from: Slot) -> Option<Slot> {
        if port == Port::Gateway {
            return Some(from);
        }
        let mut not_led = None;
        (from.number()..=Slot::MAX.number()).filter_map(Slot::new).find(|slot| {
            let route = self.router.of_slot(*slot);
            let is_led = not_led != Some(route) && self.local(route).is_some_and(|local| local.leads);
            not_led = (!is_led).then_some(route);
            is_led
        })
    }

    /// The routes that a command on all groups concerns, and which way its part goes on each.
    fn parts(&self, port: Port) -> Vec<(usize, Decision)> {
        let part = |route| {
            let local = self.local(route);
            let is_concerned = port == Port::Gateway || local.is_some_and(|local| local.leads);
            (self.router.route(route).owns_slots && is_concerned)
                .then(|| (route, self.router.decide(self.ctx.addr(), Port::Gateway, route, local)))
        };
        (0..self.router.count()).filter_map(part).collect()
    }

    /// The first of these routes that has no room for its part, if there is one.
    fn part_without_room(&self, parts: &[(usize, Decision)], bytes: usize) -> Option<usize> {
        let is_forwarded = |decision: &Decision| !matches!(decision, Decision::Local(_));
        let forwarded_count = parts.iter().filter(|(_, decision)| is_forwarded(decision)).count();
        let has_room = |route, decision: &Decision| match decision {
            Decision::Local(_) => self.local(route).is_some_and(|local| !local.is_full),
            _ => self.router.has_room(&self.ctx, route, bytes, forwarded_count),
        };
        parts.iter().find(|(route, decision)| !has_room(*route, decision)).map(|(route, _)| *route)
    }

    /// Answers a command that needs no group.
    fn execute_local(&mut self, conn: ConnId, command: &'static Command, args: Args<'_>) {
        let sample = self.ctx.commands.begin_sample(command.id).map(|sample| (sample, self.host.now()));
        let mut bytes = std::mem::take(&mut self.local_reply);
        bytes.clear();
        let protocol = self.clients.protocol(conn);
        if !self.clients.execute_local(&mut self.ctx, conn, command, args, &mut bytes) {
            self.answer(conn, command, args, protocol, &mut bytes);
            // Whatever is told of the core or the node is made from a report of all of it.
            let looks_count = if tells_of_core(command.id) { REPORT_LOOKS_COUNT + self.groups.count() } else { 0 };
            self.share.spend(bytes.len() / TOLD_BYTES_PER_COMMAND + looks_count / LOOKS_PER_COMMAND, 0);
        }
        if command.id == CommandId::Monitor {
            self.look_at_all();
        }
        self.clients.reply_local(&mut self.ctx, conn, command.id, &bytes);
        bytes.shrink_to(64 << 10);
        self.local_reply = bytes;
        if let Some((sample, begun_at)) = sample {
            self.ctx.commands.end_sample(sample, self.host.now().since(begun_at));
        }
    }

    /// Answers what concerns the core, the node or the cluster.
    fn answer(
        &mut self,
        conn: ConnId,
        command: &'static Command,
        args: Args<'_>,
        protocol: Protocol,
        bytes: &mut Vec<u8>,
    ) {
        let mut reply = Reply::new(bytes, protocol);
        match command.id {
            CommandId::Command => self.command_table.write(protocol, bytes),
            CommandId::Time => server_commands::time(self.host.unix_time_ms(), &mut reply),
            CommandId::ConfigGet => {
                server_commands::config_get(&self.ctx.config, &self.ctx.settings, args, &mut reply)
            }
            CommandId::ConfigSet | CommandId::ConfigRewrite => self.ask_settings(conn, command, args, &mut reply),
            CommandId::ConfigResetStat => {
                reply.ok();
                self.reset_stats();
                if self.clients.port(conn) == Some(Port::Gateway) {
                    self.tell_node(|| MeshMessage::ResetStats);
                    self.reports.iter_mut().for_each(CoreReport::reset_stats);
                }
            }
            CommandId::Info => {
                let text = self.info(self.clients.port(conn), args);
                reply.verbatim(&text);
            }
            id if self.answer_diagnostics(conn, id, args, &mut reply) => {}
            _ => {
                let (router, peers) = (&self.router, &self.peers);
                self.cluster.answer(command, args, router, peers, &self.ctx.counters, &mut reply);
            }
        }
    }

    /// Lets clients go on that had to wait and need not any more, in turn, until the turn has done its share.
    pub(super) fn resume_clients(&mut self) {
        for route in self.router.take_unblocked(&self.ctx) {
            self.clients.unblock_route(route);
        }
        self.clients.unblock_memory(&self.ctx);
        self.clients.go_on_listing(&mut self.ctx);
        let limits = self.ctx.config.limits;
        let commands = self.ctx.shares.left(Kind::OfClients);
        let mut share = Share::of_turn(commands);
        while !share.is_spent()
            && let Some(conn) = self.clients.next_runnable()
        {
            self.share = share.lend(Share::of_slice(&limits));
            self.run_client(conn, &[]);
            self.clients.end_if_done(conn);
            // To look at a client takes something, too.
            self.share.spend(1, 0);
            share.return_rest(self.share);
        }
        self.ctx.shares.spend(Kind::OfClients, commands - share.commands());
    }

    /// Commands for the leader of a route's group stand in the next frame to it.
    pub(super) fn mark_requests(&mut self, route: usize) {
        if let Some(link) = self.router.fresh_link(route) {
            self.peers.mark(link);
        }
    }

    /// Sends or executes commands that waited for a leader, where there is one now.
    pub(super) fn drain_routes(&mut self) -> Result<(), Error> {
        while let Some(route) = self.router.next_to_drain(&self.ctx) {
            loop {
                let local = self.local(route);
                let Some(request) = self.router.drain(&mut self.ctx, route, local) else {
                    if let Some(local) =
                        local.filter(|local| local.leads && (local.is_full || local.must_writers_wait))
                    {
                        self.groups.note_full(local.group);
                        self.note_slowed(local.group);
                    }
                    break;
                };
                if let Some(local) = local {
                    self.groups.execute(&mut self.ctx, out!(self), local.group, request.as_request());
                }
            }
            self.mark_requests(route);
        }
        Ok(())
    }

    /// A write of a group has to wait, maybe since its writers are slowed down.
    pub(super) fn note_slowed(&mut self, group: usize) {
        if let Some(reason) = self.storage.slows(group) {
            self.groups.stall(&mut self.ctx, group, reason);
        }
    }

    /// What the way of a command depends on, of the group's replica here.
    pub(super) fn local(&self, route: usize) -> Option<LocalReplica> {
        let group = self.router.route(route).local?;
        let local = self.groups.local(&self.ctx, group);
        Some(LocalReplica { must_writers_wait: self.storage.writers_wait(group), ..local })
    }
}
