//! Commands that concern one connection alone: HELLO, CLIENT, QUIT, RESET.

use host::ConnId;
use resp::hello::CLIENT_NAME_BYTES_MAX;
use resp::{Args, ClientFilter, ClientLine, Command, CommandId, Greeting, HelloRequest, Protocol, Reply, errors};

use crate::clients::Clients;
use crate::clients::client::{Blocker, Client};
use crate::clients::listing::Listing;
use crate::clients::reply_queue::Timing;
use crate::context::Context;
use crate::limits::CLIENTS_LISTED_PER_TURN_MAX;
use crate::origin::{Origin, Port};
use crate::refusal::Refusal;

impl Clients {
    /// Answers a command that concerns the connection alone, or nothing but the table of commands. Returns `false` for one
    /// that does not.
    pub(crate) fn execute_local(
        &mut self,
        ctx: &mut Context,
        conn: ConnId,
        command: &'static Command,
        args: Args<'_>,
        bytes: &mut Vec<u8>,
    ) -> bool {
        let Some(client) = self.table.get_mut(conn) else { return true };
        let protocol = client.protocol;
        match command.id {
            CommandId::Hello => client.protocol = hello(client, args, bytes),
            CommandId::Quit => {
                Reply::new(bytes, protocol).ok();
                self.close_when_sent(conn);
            }
            CommandId::Reset => {
                client.protocol = Protocol::Resp2;
                client.name.clear();
                Reply::new(bytes, Protocol::Resp2).simple("RESET");
                self.end_monitoring(conn);
            }
            CommandId::Monitor => match self.begin_monitoring(conn) {
                Ok(true) => Reply::new(bytes, protocol).ok(),
                Ok(false) => {}
                Err(message) => Reply::new(bytes, protocol).error(message),
            },
            CommandId::Auth => resp::hello::auth_without_password(args, &mut Reply::new(bytes, protocol)),
            CommandId::Asking => Reply::new(bytes, protocol).ok(),
            CommandId::ClientList => match ClientFilter::parse(args) {
                Ok(filter) => self.begin_listing(ctx, conn, command, filter),
                Err(message) => Reply::new(bytes, protocol).error_bytes(&message),
            },
            _ => {
                let mut reply = Reply::new(bytes, protocol);
                return resp::answer(command, args, &mut reply)
                    || client_command(ctx, conn, client, command.id, args, &mut reply);
            }
        }
        true
    }

    /// The protocol that a client speaks.
    pub(crate) fn protocol(&self, conn: ConnId) -> Protocol {
        self.table.get(conn).map_or(Protocol::Resp2, |client| client.protocol)
    }

    /// Which port a client came in through.
    pub(crate) fn port(&self, conn: ConnId) -> Option<Port> {
        self.table.get(conn).map(|client| client.port)
    }

    /// Gives a client the finished reply of a command that needs no group; nothing if it comes later.
    pub(crate) fn reply_local(&mut self, ctx: &mut Context, conn: ConnId, id: CommandId, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.answered.push(Timing { command: Some(id), since: ctx.now });
        if let Some((b'-', message)) = bytes.split_first() {
            ctx.count_error(message);
        }
        if let Some(client) = self.table.get_mut(conn) {
            client.replies.write_next(|out| out.extend_from_slice(bytes));
            self.written_bytes += bytes.len() as u64;
        }
        self.touch(conn);
    }

    fn begin_listing(&mut self, ctx: &Context, conn: ConnId, command: &Command, filter: ClientFilter) {
        let Some(origin) = self.open(ctx, conn, command, 0, None) else { return };
        if let Some(client) = self.table.get_mut(conn) {
            client.listing = Some(self.next_listing);
        }
        self.listings.insert(self.next_listing, Listing::new(origin, filter, &self.budget));
        self.next_listing += 1;
    }

    /// Whether a CLIENT LIST is on its way.
    pub(crate) fn has_listing(&self) -> bool {
        !self.listings.is_empty()
    }

    /// Adds some clients to the CLIENT LIST that is on its way, and replies with it if these were the last. Once per turn.
    pub(crate) fn go_on_listing(&mut self, ctx: &mut Context) {
        let Some((number, mut listing)) = self.listings.pop_first() else { return };
        let places_count = self.table.places_count();
        let end = places_count.min(listing.next_place + CLIENTS_LISTED_PER_TURN_MAX);
        for (conn, client) in (listing.next_place..end).filter_map(|place| self.table.at(place)) {
            if listing.filter.shows(client.id) {
                write_line(ctx, conn, client, &mut listing.text);
            }
        }
        listing.permit.set(listing.text.capacity());
        listing.next_place = end;
        if end < places_count {
            self.listings.insert(number, listing);
        } else {
            self.end_listing(ctx, listing);
        }
    }

    fn end_listing(&mut self, ctx: &mut Context, listing: Listing) {
        let Listing { origin, text, permit, .. } = listing;
        let Origin::Client { conn, .. } = origin else { return };
        let Some(client) = self.table.get_mut(conn) else { return };
        client.listing = None;
        drop(permit);
        if self.has_room(origin, text.len()) {
            self.reply(origin, |reply| reply.verbatim(&String::from_utf8_lossy(&text)));
        } else {
            let message = Refusal::RepliesFull.message();
            ctx.refused(Refusal::RepliesFull, None);
            ctx.count_error(message.as_bytes());
            self.reply(origin, |reply| reply.error(message));
        }
        self.unblock(conn, Blocker::Listing);
    }
}

/// Appends what CLIENT LIST shows of a client.
fn write_line(ctx: &Context, conn: ConnId, client: &Client, text: &mut Vec<u8>) {
    let node = ctx.config.node();
    let local_addr = match client.port {
        Port::Gateway => node.gateway_addr(),
        Port::Core => node.core_addr(ctx.addr().core),
    };
    let input = client.input.as_ref().map_or((0, 0), |input| (input.len(), input.held_bytes()));
    let line = ClientLine {
        id: client.id,
        addr: client.addr,
        local_addr,
        fd: u64::from(conn.idx),
        name: &client.name,
        age_s: ctx.now.since(client.connected_at).as_secs(),
        idle_s: ctx.now.since(client.active_at).as_secs(),
        input_bytes: input.0,
        input_free_bytes: input.1 - input.0,
        arguments_bytes: client.replies.open_bytes(),
        output_bytes: client.output_bytes(),
        total_bytes: client.held_bytes() + size_of::<Client>(),
        command: client.last_command,
        is_monitor: client.is_monitor,
        protocol: client.protocol,
        library_name: &client.library_name,
        library_version: &client.library_version,
        received_bytes: client.input_bytes_total,
        sent_bytes: client.output_bytes_total,
        commands_count: client.commands_count,
    };
    line.write(text);
}

/// HELLO. Returns the protocol that the connection speaks from now on.
fn hello(client: &mut Client, args: Args<'_>, bytes: &mut Vec<u8>) -> Protocol {
    let request = match HelloRequest::parse(args) {
        Ok(request) => request,
        Err(message) => {
            Reply::new(bytes, client.protocol).error_bytes(&message);
            return client.protocol;
        }
    };
    if request.auth.is_some_and(|(user, _)| user != b"default") {
        Reply::new(bytes, client.protocol).error(errors::WRONGPASS);
        return client.protocol;
    }
    let protocol = request.protocol.unwrap_or(client.protocol);
    if let Some(name) = request.client_name {
        client.name = name.to_vec();
    }
    // Clients look at the version to know what the server can do: tell them the Redis we are like.
    let greeting = Greeting { server: "redis", version: resp::REDIS_VERSION_COMPATIBLE, id: client.id as i64 };
    greeting.write(&mut Reply::new(bytes, protocol));
    protocol
}

/// CLIENT and what it contains, as far as it concerns one connection. Returns whether it was that.
fn client_command(
    ctx: &Context,
    conn: ConnId,
    client: &mut Client,
    id: CommandId,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> bool {
    match id {
        CommandId::ClientId => reply.integer(client.id as i64),
        CommandId::ClientGetName if client.name.is_empty() => reply.null(),
        CommandId::ClientGetName => reply.bulk(&client.name),
        CommandId::ClientSetName => {
            let name = args.get(2).unwrap_or_default();
            if !resp::hello::is_client_name(name) {
                reply.error(errors::CLIENT_NAME);
            } else {
                client.name = name.to_vec();
                reply.ok();
            }
        }
        CommandId::ClientSetInfo => set_info(client, args, reply),
        CommandId::ClientInfo => {
            let mut line = Vec::new();
            write_line(ctx, conn, client, &mut line);
            reply.verbatim(&String::from_utf8_lossy(&line));
        }
        CommandId::ClientNoEvict | CommandId::ClientNoTouch => {
            let value = args.get(2).unwrap_or_default();
            if value.eq_ignore_ascii_case(b"on") || value.eq_ignore_ascii_case(b"off") {
                reply.ok();
            } else {
                reply.error(errors::SYNTAX);
            }
        }
        _ => return false,
    }
    true
}

fn set_info(client: &mut Client, args: Args<'_>, reply: &mut Reply<'_>) {
    let attribute = args.get(2).unwrap_or_default();
    let value = args.get(3).unwrap_or_default();
    let target = if attribute.eq_ignore_ascii_case(b"lib-name") {
        &mut client.library_name
    } else if attribute.eq_ignore_ascii_case(b"lib-ver") {
        &mut client.library_version
    } else {
        let shown: String = attribute.escape_ascii().take(64).map(char::from).collect();
        return reply.error(&format!("ERR Unrecognized option '{shown}'"));
    };
    if value.len() > CLIENT_NAME_BYTES_MAX || value.iter().any(|byte| !(b'!'..=b'~').contains(byte)) {
        let shown = String::from_utf8_lossy(attribute).to_ascii_lowercase();
        return reply.error(&format!("ERR {shown} cannot contain spaces, newlines or special characters."));
    }
    *target = value.to_vec();
    reply.ok();
}
