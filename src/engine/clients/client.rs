//! One client connection.

use std::net::SocketAddr;

use resp::{Args, Limits, Parsed, Parser, Protocol, ProtocolError};
use types::Instant;

use crate::budget::{Budget, Permit, Pool};
use crate::clients::reply_queue::ReplyQueue;
use crate::origin::Port;

/// What keeps a client's next command waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocker {
    /// The client's own limits: too many requests without a reply, or replies that it does not take.
    Own,
    /// Requests hold all the memory of the core that they may, and the client holds some of it.
    Memory,
    /// Requests hold all of it, and the client is in the middle of a long command.
    Incomplete,
    /// The group of the command takes no more for now; the number of its route.
    Route(usize),
    /// A CLIENT LIST of its own is on its way.
    Listing,
    /// A change of the node's settings that it wants is under way.
    Settings,
}

/// The least by which the room for a client's input grows, in bytes.
const INPUT_STEP_BYTES_MIN: usize = 4 << 10;
/// The most by which it grows for what stands behind a whole command, in bytes.
const INPUT_STEP_BYTES_MAX: usize = 64 << 10;

/// Limits of one client. Sizes are in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientLimits {
    /// Requests without a reply.
    pub(super) requests_count_max: usize,
    /// Arguments of requests without a reply; a single request may exceed it.
    pub(super) requests_bytes_max: usize,
    /// Replies that wait, beyond which no more commands are taken.
    pub(super) output_bytes_max: usize,
    /// Replies that wait, whatever happens: one that would exceed it is replaced by an error.
    pub(super) replies_bytes_max: usize,
    /// Input behind a command that waits.
    pub(super) input_bytes_max: usize,
}

/// A connected client.
pub(super) struct Client {
    /// Number for CLIENT ID: unique on this core, growing.
    pub(super) id: u64,
    pub(super) port: Port,
    pub(super) addr: SocketAddr,
    pub(super) connected_at: Instant,
    pub(super) protocol: Protocol,
    pub(super) name: Vec<u8>,
    pub(super) library_name: Vec<u8>,
    pub(super) library_version: Vec<u8>,
    /// The full name of the command that it sent last.
    pub(super) last_command: Option<&'static str>,
    pub(super) commands_count: u64,
    pub(super) input_bytes_total: u64,
    pub(super) output_bytes_total: u64,
    pub(super) replies: ReplyQueue,
    /// Bytes of replies that wait or are on their way.
    pub(super) output_permit: Permit,
    /// `None` while its commands are being executed.
    pub(super) input: Option<Box<Input>>,
    /// A reply is on its way to the network; the next ones collect until it has left.
    pub(super) is_sending: bool,
    /// How much of what is on its way, in bytes.
    pub(super) sending_bytes: usize,
    /// Until when its replies wait for the one behind them, if they do; see [`Clients::flush`](super::Clients::flush).
    pub(super) held_until: Option<Instant>,
    /// Emptied output, to be used again.
    pub(super) spare_output: Vec<u8>,
    /// Receiving is paused.
    pub(super) is_paused: bool,
    /// What keeps its next command waiting, if something does.
    pub(super) blocker: Option<Blocker>,
    /// Since when something has kept its next command waiting, or did until now.
    pub(super) throttled_since: Option<Instant>,
    /// It is shown the commands of others: MONITOR.
    pub(super) is_monitor: bool,
    /// Its CLIENT LIST that is on its way: there is one at a time.
    pub(super) listing: Option<u64>,
    /// Whether a change of the node's settings that it wants is under way.
    pub(super) awaits_settings: bool,
    /// Its blocker is gone, and its input was not looked at again since.
    /// Invariant: it has no blocker then, and stands in the queue of clients that may go on.
    pub(super) is_runnable: bool,
    /// Its place in the queue of those who wait for memory or for its route, or may go on. Of no meaning if it is in none.
    pub(super) place: u64,
    /// The client sends no more.
    pub(super) is_receive_ended: bool,
    /// Close once everything queued is sent: QUIT, a protocol error, or the client has stopped sending.
    pub(super) closes_when_sent: bool,
    /// Bytes that came behind the last command to be executed and were dropped.
    pub(super) discarded_bytes: usize,
    /// On the list of clients with something to send.
    pub(super) is_dirty: bool,
    /// When a send last finished, or there was nothing to send.
    pub(super) progress_at: Instant,
    /// What the other side had confirmed when a stall was last suspected.
    pub(super) acked_bytes: u64,
    /// When it last sent something.
    pub(super) active_at: Instant,
}

/// What a client has sent and this core has not executed.
pub(crate) struct Input {
    parser: Parser,
    bytes: Vec<u8>,
    /// Where what was not executed begins.
    start: usize,
    permit: Permit,
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

impl Input {
    /// Nothing yet.
    pub(super) fn new(budget: &Budget) -> Input {
        Input { parser: Parser::default(), bytes: Vec::new(), start: 0, permit: budget.permit(Pool::ClientInput) }
    }

    /// The parser, and what was not executed.
    pub(crate) fn parts(&mut self) -> (&mut Parser, &[u8]) {
        (&mut self.parser, &self.bytes[self.start..])
    }

    /// Bytes that were not executed.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether everything was executed.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of memory.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds bytes that came behind what is there. Room for the command that is arriving is made in steps of half of what has
    /// come, up to what it claims: so what is reserved, and counted, is bounded by what has come and not by what is claimed.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.drop_executed();
        }
        let len = self.bytes.len();
        if len + bytes.len() > self.bytes.capacity() {
            let is_arriving = self.parser.needed_bytes() > len + bytes.len();
            let claimed = if is_arriving { self.parser.needed_bytes() - len } else { INPUT_STEP_BYTES_MAX };
            // Not `reserve`, which doubles whatever it is asked for: half as much again as an 8 MiB value needs.
            self.bytes.reserve_exact((len / 2).max(INPUT_STEP_BYTES_MIN).min(claimed).max(bytes.len()));
        }
        self.bytes.extend_from_slice(bytes);
        self.permit.set(self.bytes.capacity());
    }

    /// Forgets so many bytes, which were executed. Their memory is used again once they are half of what is there, so that input
    /// which is executed bit by bit is not moved as often.
    pub(crate) fn consume(&mut self, count: usize, keep_bytes_max: usize) {
        self.start += count;
        if self.is_empty() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(keep_bytes_max);
        } else if self.start >= self.len() {
            self.drop_executed();
        }
        self.permit.set(self.bytes.capacity());
    }

    /// Gives back the memory that nothing is in.
    fn release_spare(&mut self) {
        self.drop_executed();
        self.bytes.shrink_to_fit();
        self.permit.set(self.bytes.capacity());
    }

    fn drop_executed(&mut self) {
        self.bytes.drain(..self.start);
        self.start = 0;
    }
}

impl Client {
    pub(super) fn new(id: u64, port: Port, addr: SocketAddr, budget: &Budget, now: Instant) -> Client {
        Client {
            id,
            port,
            addr,
            connected_at: now,
            protocol: Protocol::Resp2,
            name: Vec::new(),
            library_name: Vec::new(),
            library_version: Vec::new(),
            last_command: None,
            commands_count: 0,
            input_bytes_total: 0,
            output_bytes_total: 0,
            replies: ReplyQueue::default(),
            output_permit: budget.permit(Pool::ClientOutput),
            input: Some(Box::new(Input::new(budget))),
            is_sending: false,
            sending_bytes: 0,
            held_until: None,
            spare_output: Vec::new(),
            is_paused: false,
            blocker: None,
            throttled_since: None,
            is_monitor: false,
            listing: None,
            awaits_settings: false,
            is_runnable: false,
            place: 0,
            is_receive_ended: false,
            closes_when_sent: false,
            discarded_bytes: 0,
            is_dirty: false,
            progress_at: now,
            acked_bytes: 0,
            active_at: now,
        }
    }

    /// Whether this client's own limits allow another command.
    pub(super) fn has_room(&self, limits: &ClientLimits) -> bool {
        self.replies.open_count() < limits.requests_count_max
            && self.replies.open_bytes() < limits.requests_bytes_max
            && self.output_bytes() < limits.output_bytes_max
    }

    /// Whether they allow many more: what was held up by them goes on then.
    pub(super) fn has_plenty_of_room(&self, limits: &ClientLimits) -> bool {
        self.replies.open_count() <= limits.requests_count_max / 2 && self.has_room(limits)
    }

    /// Whether its next command waits for something, or for its turn behind that.
    pub(super) fn is_waiting(&self) -> bool {
        self.blocker.is_some() || self.is_runnable
    }

    /// Bytes of replies that wait or are on their way.
    pub(super) fn output_bytes(&self) -> usize {
        self.replies.bytes() + self.sending_bytes
    }

    /// Bytes of input that was not executed.
    pub(super) fn input_bytes(&self) -> usize {
        self.input.as_ref().map_or(0, |input| input.len())
    }

    /// Whether anything is held for it but what it has sent.
    pub(super) fn holds_replies(&self) -> bool {
        self.replies.open_count() > 0 || self.output_bytes() > 0
    }

    /// Gives back the memory of buffers that hold nothing.
    pub(super) fn release_spare(&mut self) {
        if let Some(input) = &mut self.input {
            input.release_spare();
        }
        self.spare_output = Vec::new();
        self.settle();
    }

    /// Bytes of memory held for it.
    pub(super) fn held_bytes(&self) -> usize {
        self.output_bytes() + self.input.as_ref().map_or(0, |input| input.held_bytes())
    }

    /// Bytes of memory held for its replies.
    pub(super) fn output_held_bytes(&self) -> usize {
        self.replies.held_bytes() + self.sending_bytes + self.spare_output.capacity()
    }

    /// Makes the permit say what is held.
    pub(super) fn settle(&mut self) {
        self.output_permit.set(self.output_held_bytes());
    }
}
