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

/// How a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for the handshake of TCP since this time, in ns after the start.
    Connecting(u64),
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
}

/// One connection to one owner of slots.
pub struct Conn {
    stream: TcpStream,
    token: Token,
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
    pub fn connect(addr: SocketAddr, token: Token, registry: &Registry, now_ns: u64) -> io::Result<Conn> {
        let mut conn = Conn {
            stream: TcpStream::connect(addr)?,
            token,
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
        *self = Conn::connect(addr, self.token, registry, now_ns)?;
        Ok(())
    }

    /// Takes notice that the socket became writable: finishes connecting or goes on sending.
    ///
    /// # Errors
    /// If the connection failed.
    pub fn on_writable(&mut self) -> Result<(), Lost> {
        if let State::Connecting(_) = self.state {
            if let Some(error) = self.stream.take_error().map_err(Lost::Closed)? {
                return Err(Lost::Closed(error));
            }
            match self.stream.peer_addr() {
                Ok(_) => self.state = State::Open,
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(Lost::Closed(error)),
            }
            self.stream.set_nodelay(true).map_err(Lost::Closed)?;
        }
        self.flush()
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
        let unasked = || Lost::Malformed("a reply to no command".to_owned());
        on_reply(in_flight.pop_front().ok_or_else(unasked)?, &reply);
        used += len;
    }
    Ok(used)
}
