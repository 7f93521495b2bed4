//! One client connection.

use host::ConnId;
use resp::{Args, Limits, Parsed, Parser, Protocol, ProtocolError};
use types::Instant;

use crate::origin::Pending;
use crate::reply_queue::ReplyQueue;

/// Which of a core's ports a client came in through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// Any client may ask for any key here: what is not ours is forwarded.
    Gateway,
    /// For cluster clients: what is not ours answers MOVED.
    Core,
}

/// A connected client.
pub(crate) struct Client {
    pub(crate) conn: ConnId,
    /// Number for CLIENT ID: unique on this core, growing.
    pub(crate) id: u64,
    pub(crate) port: Port,
    pub(crate) addr: std::net::SocketAddr,
    pub(crate) connected_at: Instant,
    pub(crate) protocol: Protocol,
    pub(crate) name: Vec<u8>,
    pub(crate) library_name: Vec<u8>,
    pub(crate) library_version: Vec<u8>,
    pub(crate) last_command: &'static str,
    pub(crate) commands_count: u64,
    pub(crate) replies: ReplyQueue,
    /// What this core has under way for it.
    pub(crate) pending: Pending,
    /// `None` while its commands are being carried out.
    pub(crate) input: Option<Box<Input>>,
    /// A reply is on its way to the network; the next ones collect until it has left.
    pub(crate) is_sending: bool,
    /// How much of what is on its way, in bytes.
    pub(crate) sending_bytes: usize,
    /// Emptied output, to be used again.
    pub(crate) spare_output: Vec<u8>,
    /// Receiving is paused.
    pub(crate) is_paused: bool,
    /// There is input that was not carried out because of a limit.
    pub(crate) is_held_back: bool,
    /// The client sends no more.
    pub(crate) is_receive_ended: bool,
    /// Close once everything queued is sent: QUIT, a protocol error, or the client has stopped sending.
    pub(crate) closes_when_sent: bool,
    /// On the list of clients with something to send.
    pub(crate) is_dirty: bool,
    /// When a send last finished, or there was nothing to send.
    pub(crate) progress_at: Instant,
    /// When it last sent a command.
    pub(crate) active_at: Instant,
}

/// What a client has sent and this core has not carried out.
#[derive(Default)]
pub(crate) struct Input {
    pub(crate) parser: Parser,
    pub(crate) rest: Vec<u8>,
}

/// What the parser found.
pub(crate) enum Step<'a> {
    /// A command, and where the next one begins.
    Command { args: Args<'a>, next: usize },
    /// Nothing to do up to there.
    Skip { next: usize },
    /// The rest is not a whole command.
    Incomplete,
    /// The rest makes no sense.
    Broken(ProtocolError),
}

impl Input {
    /// Looks at the command at `pos`.
    pub(crate) fn step<'a>(parser: &'a mut Parser, buf: &'a [u8], pos: usize, limits: &Limits) -> Step<'a> {
        let rest = buf.get(pos..).unwrap_or_default();
        if rest.is_empty() {
            return Step::Incomplete;
        }
        match parser.parse(rest, limits) {
            Ok(Parsed::Complete { consumed }) => Step::Command { args: parser.args(rest), next: pos + consumed },
            Ok(Parsed::Empty { consumed }) => Step::Skip { next: pos + consumed },
            Ok(Parsed::Incomplete) => Step::Incomplete,
            Err(error) => Step::Broken(error),
        }
    }
}

impl Client {
    pub(crate) fn new(conn: ConnId, id: u64, port: Port, addr: std::net::SocketAddr, now: Instant) -> Client {
        Client {
            conn,
            id,
            port,
            addr,
            connected_at: now,
            protocol: Protocol::Resp2,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            last_command: "NULL",
            commands_count: 0,
            replies: ReplyQueue::default(),
            pending: Pending::default(),
            input: Some(Box::default()),
            is_sending: false,
            sending_bytes: 0,
            spare_output: Vec::new(),
            is_paused: false,
            is_held_back: false,
            is_receive_ended: false,
            closes_when_sent: false,
            is_dirty: false,
            progress_at: now,
            active_at: now,
        }
    }

    /// Whether this client's own limits allow another command.
    pub(crate) fn has_room(&self, requests_count_max: usize, output_bytes_max: usize) -> bool {
        self.replies.open_count() < requests_count_max
            && self.replies.bytes() + self.sending_bytes < output_bytes_max
            && !self.closes_when_sent
    }
}
