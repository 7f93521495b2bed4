//! The clients of a core without a host: what they may make it hold, and what becomes of those that go.

mod closing;
mod connection;
mod held;
mod limits;
mod listing;
mod memory;
mod monitors;
mod order;

use std::collections::HashMap;

use host::SendBuf;
use resp::{Args, Parser};

use super::*;
use crate::budget::Pool;
use crate::config::Config;
use crate::testing::{self, FakeNet, NetCall};

/// What requests may hold in a core whose memory is three times that.
const REQUESTS_BYTES_MAX: usize = 1 << 20;

/// Clients, and a stand-in for the groups that their commands go to: it answers what the test tells it to.
struct World {
    ctx: Context,
    net: FakeNet,
    clients: Clients,
    /// Commands without an answer by their first argument, oldest first; the parts of a fan-out by `part`.
    open: Vec<(String, Origin)>,
    /// The first arguments of all commands that were taken in.
    taken: Vec<String>,
    /// Routes that take no commands, by the first argument of those concerned.
    full_routes: HashMap<&'static str, usize>,
}

/// The connection at a place that nobody has used before.
fn conn(idx: u32) -> ConnId {
    ConnId { idx, generation: 0 }
}

/// As long a run of letters.
fn long(len: usize) -> String {
    "x".repeat(len)
}

impl World {
    /// As many clients on the gateway, on the first places.
    fn new(clients_count: u32, change: impl FnOnce(&mut Config)) -> World {
        let ctx = testing::context(|config| {
            config.memory_bytes_max = 3 * REQUESTS_BYTES_MAX;
            change(config);
        });
        let clients = Clients::new(&ctx);
        let (open, taken, full_routes) = Default::default();
        let mut world = World { ctx, net: FakeNet::default(), clients, open, taken, full_routes };
        (0..clients_count).for_each(|idx| world.accept(conn(idx), Port::Gateway));
        world
    }

    fn accept(&mut self, conn: ConnId, port: Port) {
        let addr = SocketAddr::from(([10, 0, 0, 1], 5_000 + conn.idx as u16));
        self.clients.accept(&mut self.ctx, conn, port, addr);
    }

    /// Bytes of a client arrive, or what waits of it is looked at again.
    fn receive(&mut self, conn: ConnId, bytes: &str) {
        let is_waiting = self.clients.is_waiting(conn);
        let taken = self.clients.take_input(&mut self.ctx, &self.net, conn, bytes.as_bytes());
        let Some(mut input) = taken else { return };
        input.extend(bytes.as_bytes());
        if !is_waiting {
            let (parser, bytes) = input.parts();
            let done = self.run(conn, parser, bytes);
            input.consume(done, self.clients.input_bytes_kept());
        }
        self.clients.put_input(&mut self.ctx, &self.net, conn, input);
    }

    fn run(&mut self, conn: ConnId, parser: &mut Parser, buf: &[u8]) -> usize {
        let limits = self.ctx.config.limits.commands;
        let mut pos = 0;
        while pos < buf.len() {
            if self.clients.is_closing(conn) {
                return buf.len();
            }
            let blocker = match self.clients.own_blocker(&self.ctx, conn) {
                Some(blocker) => Some(blocker),
                None => match step(parser, buf, pos, &limits) {
                    Step::Command { args, next } => {
                        let blocker = self.take(conn, args).err();
                        pos = if blocker.is_none() { next } else { pos };
                        blocker
                    }
                    Step::Skip { next } => {
                        pos = next;
                        None
                    }
                    Step::Incomplete => return pos,
                    Step::Broken(error) => {
                        self.clients.protocol_error(&mut self.ctx, conn, &error);
                        return buf.len();
                    }
                },
            };
            if let Some(blocker) = blocker {
                self.clients.block(&mut self.ctx, conn, blocker);
                return pos;
            }
        }
        pos
    }

    /// Takes a command in as a core would. The error is what it must wait for.
    fn take(&mut self, conn: ConnId, args: Args<'_>) -> Result<(), Blocker> {
        match self.clients.classify(&mut self.ctx, conn, args) {
            Dispatch::Answered => {}
            Dispatch::Local(command) => {
                self.clients.note_command(&mut self.ctx, conn, command.full_name);
                let mut bytes = Vec::new();
                assert!(self.clients.execute_local(&mut self.ctx, conn, command, args, &mut bytes));
                self.clients.reply_local(&mut self.ctx, conn, command.id, &bytes);
            }
            Dispatch::Slot { command, .. } | Dispatch::Cursor { command, .. } => {
                let key = String::from_utf8(args.get(1).unwrap().to_vec()).unwrap();
                let bytes = args.iter_from(0).map(<[u8]>::len).sum();
                let origin = self.clients.open(&self.ctx, conn, command, bytes, None).unwrap();
                if let Some(route) = self.full_routes.get(key.as_str()) {
                    self.clients.cancel(conn);
                    return Err(Blocker::Route(*route));
                }
                self.clients.note_command(&mut self.ctx, conn, command.full_name);
                self.taken.push(key.clone());
                self.open.push((key, origin));
            }
            Dispatch::Group { .. } => panic!("not of these tests"),
            Dispatch::FanOut { command, merge, .. } => {
                self.clients.note_command(&mut self.ctx, conn, command.full_name);
                let origin = self.clients.open(&self.ctx, conn, command, 0, None).unwrap();
                let fan_out = self.clients.begin_fan_out(&self.ctx, origin, merge, 2);
                let part = Origin::SubRequest { fan_out, conn };
                self.open.extend([("part".to_owned(), part), ("part".to_owned(), part)]);
            }
        }
        Ok(())
    }

    /// Answers the oldest command with this first argument with a status.
    fn answer(&mut self, key: &str) {
        self.answer_with(key, |reply| reply.simple(key));
    }

    fn answer_with(&mut self, key: &str, write: impl FnOnce(&mut Reply<'_>)) {
        let at = self.open.iter().position(|(open, _)| open == key).unwrap();
        let (_, origin) = self.open.remove(at);
        self.clients.reply(origin, write);
    }

    /// Lets clients go on that need not wait any more, and tells which.
    fn resume(&mut self) -> Vec<ConnId> {
        self.clients.unblock_memory(&self.ctx);
        let mut resumed = Vec::new();
        for _ in 0..self.clients.runnable_count() {
            let conn = self.clients.next_runnable().unwrap();
            self.receive(conn, "");
            self.clients.end_if_done(conn);
            resumed.push(conn);
        }
        resumed
    }

    /// What ends a turn.
    fn flush(&mut self) {
        self.clients.go_on_listing(&mut self.ctx);
        self.clients.flush(&mut self.ctx, &self.net);
    }

    /// Sends what a client is owed, and returns it once it has left; all else stays on its way.
    fn output(&mut self, conn: ConnId) -> String {
        let mut output = String::new();
        self.flush();
        while let Some(buf) = self.net.take_send(conn) {
            let SendBuf::Plain(bytes) = &buf else { panic!("replies are one run of bytes") };
            output.push_str(std::str::from_utf8(bytes).unwrap());
            self.clients.sent(&self.ctx, conn, buf);
            self.flush();
        }
        output
    }

    fn used(&self, pool: Pool) -> usize {
        self.ctx.budget.used_by(pool)
    }
}
