//! Where replies go: the connections of clients, the links to other cores, and the commands that are put
//! together from parts.

use host::{ConnId, Net, SendBuf};
use resp::Reply;
use types::Instant;
use wire::ReplyStatus;

use crate::client::Client;
use crate::links::{FrameAssembler, Links};
use crate::origin::{Origin, Pending, Source};
use crate::whole::{WholeReply, Wholes};

/// What a read is answered when too much waits for its receiver.
const CHOKED: &str = "TRYAGAIN Too many bytes of replies are waiting to be sent: read them first";
/// Replies up to this length are passed on in any case: most are the outcomes of writes.
pub(crate) const SHORT_REPLY_BYTES_MAX: usize = 1 << 10;

/// What a connection is used for.
pub(crate) enum Conn {
    /// A client.
    Client(Box<Client>),
    /// Our own connection to another core, over which we send.
    Link(u32),
    /// A connection that another core has made, over which it sends.
    Peer(Box<PeerConn>),
}

/// A connection on the peer port.
pub(crate) struct PeerConn {
    pub(crate) addr: std::net::SocketAddr,
    /// Link to the core on the other side; `None` until it has introduced itself.
    pub(crate) link: Option<u32>,
    pub(crate) hello: Vec<u8>,
    pub(crate) assembler: FrameAssembler,
    pub(crate) deadline: Instant,
}

/// The connections of a core by id.
#[derive(Default)]
pub(crate) struct Conns {
    slots: Vec<(u32, Option<Conn>)>,
    pub(crate) clients_count: usize,
}

impl Conns {
    pub(crate) fn insert(&mut self, id: ConnId, conn: Conn) {
        let idx = id.idx as usize;
        if self.slots.len() <= idx {
            self.slots.resize_with(idx + 1, || (0, None));
        }
        self.clients_count += usize::from(matches!(conn, Conn::Client(_)));
        self.slots[idx] = (id.generation, Some(conn));
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let (generation, conn) = self.slots.get_mut(id.idx as usize)?;
        if *generation == id.generation { conn.as_mut() } else { None }
    }

    pub(crate) fn remove(&mut self, id: ConnId) -> Option<Conn> {
        let (generation, conn) = self.slots.get_mut(id.idx as usize)?;
        let removed = if *generation == id.generation { conn.take() } else { None };
        self.clients_count -= usize::from(matches!(removed, Some(Conn::Client(_))));
        removed
    }

    pub(crate) fn client(&mut self, id: ConnId) -> Option<&mut Client> {
        match self.get_mut(id) {
            Some(Conn::Client(client)) => Some(client),
            _ => None,
        }
    }

    /// All connections.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.slots.iter().enumerate().filter_map(|(idx, (generation, conn))| {
            Some((ConnId { idx: idx as u32, generation: *generation }, conn.as_ref()?))
        })
    }

    /// All clients.
    pub(crate) fn clients(&self) -> impl Iterator<Item = &Client> {
        self.slots.iter().filter_map(|(_, conn)| match conn {
            Some(Conn::Client(client)) => Some(&**client),
            _ => None,
        })
    }
}

/// Everything a reply can go out through.
pub(crate) struct Outlets {
    pub(crate) conns: Conns,
    pub(crate) links: Links,
    pub(crate) wholes: Wholes,
    pub(crate) error_replies: u64,
    /// See [`crate::limits::CLIENT_REPLIES_BYTES_MAX`].
    replies_bytes_max: usize,
    dirty_clients: Vec<ConnId>,
}

impl Outlets {
    pub(crate) fn new(links: Links, replies_bytes_max: usize) -> Outlets {
        Outlets {
            conns: Conns::default(),
            links,
            wholes: Wholes::default(),
            error_replies: 0,
            replies_bytes_max,
            dirty_clients: Vec::new(),
        }
    }

    /// Writes the reply of a command. The client may be gone by now; then nothing is written.
    pub(crate) fn reply(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>)) {
        match origin {
            Origin::Client { conn, seq, protocol } => {
                let Some(client) = self.conns.client(conn) else { return };
                client.replies.fulfil(seq, |out| write(&mut Reply::new(out, protocol)));
                mark_dirty(client, &mut self.dirty_clients);
            }
            Origin::Core { link, id, protocol } => {
                self.links.reply(link, id, ReplyStatus::Done, |out| write(&mut Reply::new(out, protocol)));
            }
            Origin::Part { whole } => {
                let mut part = Vec::new();
                write(&mut Reply::new(&mut part, origin.protocol()));
                let Some((origin, whole)) = self.wholes.part(whole, &part) else { return };
                self.reply_whole(origin, whole);
            }
        }
    }

    fn reply_whole(&mut self, origin: Origin, whole: WholeReply) {
        assert!(!matches!(origin, Origin::Part { .. }), "a part is not put together from parts");
        let Origin::Client { conn, seq, protocol } = origin else { return };
        let Some(client) = self.conns.client(conn) else { return };
        client.replies.fulfil(seq, |out| {
            let mut reply = Reply::new(out, protocol);
            match whole {
                WholeReply::Ok => reply.ok(),
                WholeReply::Integer(sum) => reply.integer(sum),
                WholeReply::Error(message) => reply.error(&message),
            }
        });
        mark_dirty(client, &mut self.dirty_clients);
    }

    /// Passes on the finished reply of a forwarded command.
    pub(crate) fn reply_raw(&mut self, origin: Origin, bytes: &[u8]) {
        if bytes.len() > SHORT_REPLY_BYTES_MAX {
            self.reply_read(origin, |reply| reply.raw(bytes));
        } else {
            self.reply(origin, |reply| reply.raw(bytes));
        }
    }

    /// Writes the reply of a read, which may be long, unless too much waits for the same receiver already.
    pub(crate) fn reply_read(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>)) {
        let is_choked = match origin {
            Origin::Client { conn, .. } => self
                .conns
                .client(conn)
                .is_some_and(|client| client.replies.bytes() + client.sending_bytes >= self.replies_bytes_max),
            Origin::Core { link, .. } => self.links.is_congested(link),
            Origin::Part { .. } => false,
        };
        if is_choked {
            self.fail(origin, CHOKED);
        } else {
            self.reply(origin, write);
        }
    }

    /// Answers with an error.
    pub(crate) fn fail(&mut self, origin: Origin, message: &str) {
        self.error_replies += 1;
        self.reply(origin, |reply| reply.error(message));
    }

    /// Where a command comes from, as far as order is concerned; `None` if that is gone.
    pub(crate) fn source(&self, origin: Origin) -> Option<Source> {
        match origin {
            Origin::Client { conn, .. } => Some(Source::Client(conn)),
            Origin::Core { link, .. } => Some(Source::Core(link)),
            Origin::Part { whole } => self.wholes.origin(whole).and_then(|origin| self.source(origin)),
        }
    }

    /// What is under way here of the commands from the same source.
    pub(crate) fn pending(&mut self, origin: Origin) -> Option<&mut Pending> {
        match self.source(origin)? {
            Source::Client(conn) => self.conns.client(conn).map(|client| &mut client.pending),
            Source::Core(link) => Some(&mut self.links.get_mut(link).pending),
        }
    }

    /// Notes that a write was taken in.
    pub(crate) fn write_begun(&mut self, origin: Origin) {
        self.pending(origin).into_iter().for_each(|pending| pending.writes += 1);
    }

    /// Notes that a write taken in is answered, or about to go another way.
    pub(crate) fn write_ended(&mut self, origin: Origin) {
        self.pending(origin).into_iter().for_each(|pending| pending.writes -= 1);
    }

    /// Whether writes from the same source are under way here, behind which a read has to wait.
    pub(crate) fn has_writes_pending(&mut self, origin: Origin) -> bool {
        self.pending(origin).is_some_and(|pending| pending.writes > 0)
    }

    /// Notes that a read has to wait.
    pub(crate) fn read_begun(&mut self, origin: Origin) {
        self.pending(origin).into_iter().for_each(|pending| pending.reads += 1);
    }

    /// Notes that a read waits no more.
    pub(crate) fn read_ended(&mut self, origin: Origin) {
        self.pending(origin).into_iter().for_each(|pending| pending.reads -= 1);
    }

    /// Whether reads from the same source wait here, which a write must not overtake.
    pub(crate) fn has_reads_pending(&mut self, origin: Origin) -> bool {
        self.pending(origin).is_some_and(|pending| pending.reads > 0)
    }

    /// Notes that a client has something to send or to be closed for.
    pub(crate) fn touch(&mut self, conn: ConnId) {
        if let Some(client) = self.conns.client(conn) {
            mark_dirty(client, &mut self.dirty_clients);
        }
    }

    /// Sends what clients are owed: one send per connection.
    pub(crate) fn flush_clients<N: Net>(&mut self, net: &N, now: Instant) {
        for conn in self.dirty_clients.drain(..) {
            let Some(Conn::Client(client)) = self.conns.get_mut(conn) else { continue };
            client.is_dirty = false;
            if client.is_sending {
                continue;
            }
            if client.replies.has_output() {
                let output = client.replies.take_output(std::mem::take(&mut client.spare_output));
                client.is_sending = true;
                client.sending_bytes = output.len();
                client.progress_at = now;
                net.send(conn, SendBuf::Plain(output));
            } else if client.closes_when_sent && client.replies.open_count() == 0 {
                net.close(conn);
            }
        }
    }
}

fn mark_dirty(client: &mut Client, dirty: &mut Vec<ConnId>) {
    if !client.is_dirty {
        client.is_dirty = true;
        dirty.push(client.conn);
    }
}
