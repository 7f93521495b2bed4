//! One connection: what is on its way, and what stands in its buffers.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use crate::load::mix::Kind;
use crate::load::workload::Verb;
use crate::reply::{Reply, decode};

/// A command whose answer is still to come.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// From when its latency counts, in ns since the start.
    pub due_ns: u64,
    /// When it was handed to the socket, in ns since the start.
    pub sent_ns: u64,
    /// The number of its key.
    pub key: u32,
    /// What it is counted as.
    pub kind: Kind,
    /// What was sent.
    pub verb: Verb,
}

/// The protocol that replies come in. Commands look the same in both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// What every server speaks.
    #[default]
    Resp2,
    /// Asked for with `HELLO 3` on every connection.
    Resp3,
}

const HELLO_3: &[u8] = b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n";

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for the handshake of TCP since this time, in ns after the start.
    Connecting(u64),
    /// Waits for the answer to `HELLO` since this time, in ns after the start.
    Greeting(u64),
    /// Carries commands.
    Open,
    /// Lost since this time, in ns after the start.
    Down(u64),
}

/// Why a connection carries no more.
#[derive(Debug)]
pub enum Lost {
    /// The socket failed or was closed.
    Closed(io::Error),
    /// The server sent what is not RESP, or an answer to no question.
    Malformed(String),
    /// The server does not speak the protocol: the text of its answer to `HELLO`.
    Refused(String),
}

/// One connection to one owner of slots.
pub struct Conn {
    stream: TcpStream,
    token: Token,
    protocol: Protocol,
    /// Where it leads.
    pub addr: SocketAddr,
    /// How it stands.
    pub state: State,
    /// Commands whose answers are still to come, oldest first.
    pub in_flight: VecDeque<Pending>,
    /// Bytes to send; those before `sent` are sent already.
    pub out: Vec<u8>,
    sent: usize,
    /// The start of a reply whose end is still to come.
    partial: Vec<u8>,
}

impl Conn {
    /// Starts to connect.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect(
        addr: SocketAddr,
        protocol: Protocol,
        token: Token,
        registry: &Registry,
        now_ns: u64,
    ) -> io::Result<Conn> {
        let mut conn = Conn {
            stream: TcpStream::connect(addr)?,
            token,
            protocol,
            addr,
            state: State::Connecting(now_ns),
            in_flight: VecDeque::new(),
            out: Vec::new(),
            sent: 0,
            partial: Vec::new(),
        };
        registry.register(&mut conn.stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(conn)
    }

    /// Connects anew, to `addr`. What was on its way is forgotten.
    ///
    /// # Errors
    /// Those of the system.
    pub fn reconnect(&mut self, addr: SocketAddr, registry: &Registry, now_ns: u64) -> io::Result<()> {
        // A dropped socket leaves the selector by itself.
        *self = Conn::connect(addr, self.protocol, self.token, registry, now_ns)?;
        Ok(())
    }

    /// Goes on with connecting and greeting, as far as the socket lets it.
    ///
    /// # Errors
    /// If the connection failed or the server does not speak the protocol.
    pub fn establish(&mut self, scratch: &mut [u8]) -> Result<(), Lost> {
        if let State::Connecting(since_ns) = self.state {
            if let Some(error) = self.stream.take_error().map_err(Lost::Closed)? {
                return Err(Lost::Closed(error));
            }
            match self.stream.peer_addr() {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(Lost::Closed(error)),
            }
            self.stream.set_nodelay(true).map_err(Lost::Closed)?;
            self.state = match self.protocol {
                Protocol::Resp2 => State::Open,
                Protocol::Resp3 => {
                    self.out.extend_from_slice(HELLO_3);
                    State::Greeting(since_ns)
                }
            };
        }
        self.flush()?;
        if let State::Greeting(_) = self.state { self.read_greeting(scratch) } else { Ok(()) }
    }

    fn read_greeting(&mut self, scratch: &mut [u8]) -> Result<(), Lost> {
        loop {
            match self.stream.read(scratch) {
                Ok(0) => return Err(Lost::Closed(io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => self.partial.extend_from_slice(scratch.get(..len).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Lost::Closed(error)),
            }
            let Some((reply, used)) = decode(&self.partial).map_err(Lost::Malformed)? else { continue };
            match &reply {
                // Whoever answers in a map speaks RESP3.
                Reply::Map(_) => {}
                Reply::Error(text) => return Err(Lost::Refused(String::from_utf8_lossy(text).into_owned())),
                other => return Err(Lost::Malformed(format!("HELLO 3 was answered with {other:?}"))),
            }
            self.partial.drain(..used);
            self.state = State::Open;
            return Ok(());
        }
    }

    /// Sends as much as the socket takes.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn flush(&mut self) -> Result<(), Lost> {
        while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(len) => self.sent += len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Lost::Closed(error)),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    /// Reads what has arrived, through `scratch`, and hands each answer with its command to `on_reply`.
    ///
    /// # Errors
    /// If the connection failed or its bytes make no sense.
    pub fn read(&mut self, scratch: &mut [u8], mut on_reply: impl FnMut(Pending, &Reply<'_>)) -> Result<(), Lost> {
        loop {
            let len = match self.stream.read(scratch) {
                Ok(0) => return Err(Lost::Closed(io::ErrorKind::UnexpectedEof.into())),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Lost::Closed(error)),
            };
            let fresh = scratch.get(..len).unwrap_or_default();
            if self.partial.is_empty() {
                let used = take_replies(fresh, &mut self.in_flight, &mut on_reply)?;
                self.partial.extend_from_slice(fresh.get(used..).unwrap_or_default());
            } else {
                self.partial.extend_from_slice(fresh);
                let used = take_replies(&self.partial, &mut self.in_flight, &mut on_reply)?;
                self.partial.drain(..used);
            }
            // A short read has emptied the socket, so the next byte is a new event.
            if len < scratch.len() {
                return Ok(());
            }
        }
    }
}

/// How many bytes were used.
fn take_replies(
    bytes: &[u8],
    in_flight: &mut VecDeque<Pending>,
    on_reply: &mut impl FnMut(Pending, &Reply<'_>),
) -> Result<usize, Lost> {
    let mut used = 0;
    while let Some((reply, len)) = decode(bytes.get(used..).unwrap_or_default()).map_err(Lost::Malformed)? {
        used += len;
        if matches!(reply, Reply::Push(_)) {
            continue;
        }
        let unasked = || Lost::Malformed("a reply to no command".to_owned());
        on_reply(in_flight.pop_front().ok_or_else(unasked)?, &reply);
    }
    Ok(used)
}
