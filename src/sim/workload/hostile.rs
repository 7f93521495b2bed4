//! Hostile clients: they never read, flood behind a command that ends the connection, or ask for giant replies. What
//! happens to them does not matter; others must be served all the same, and no queue may pass its limit.
//!
//! They use keys of their own and write nothing into the history.

use std::net::SocketAddr;
use std::time::Duration;

use super::calls::write_parts;
use super::port::ClientPort;
use super::session;
use crate::client::ClientConn;
use crate::prng::Prng;

/// How long they wait between two bursts, and those whose bursts bring megabytes of replies.
const PAUSE_MS: (u64, u64) = (2, 60);
const GIANT_PAUSE_MS: (u64, u64) = (50, 500);
/// Bytes on their way to a server beyond which the system would not take more.
const IN_FLIGHT_BYTES_MAX: usize = 256 << 10;
/// What one connection is sent at most, before it is closed and another one made.
const SENT_BYTES_MAX: usize = 2 << 20;
/// How likely a connection is closed between two bursts, in millionths.
const HANGS_UP_PPM: u32 = 10_000;
/// Length of a burst of a flood, in bytes.
const FLOOD_BYTES: usize = 32 << 10;
/// Length of the large value that giant replies are made of, in bytes.
const VALUE_BYTES: usize = 32 << 10;

/// How a hostile client behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// Asks, and never reads what is answered.
    NeverReads,
    /// Goes on sending behind `QUIT`.
    FloodBehindQuit,
    /// Goes on sending behind what is no command.
    FloodBehindError,
    /// Names one large key a thousand times in one command, and asks for all keys of a slot.
    GiantReplies,
    /// Asks for the large value that each of many `SET` in one pipeline would replace.
    SwapsLarge,
    /// Sends a write and hundreds of reads behind it at once.
    GiantPipelines,
    /// Sends one command that never ends.
    EndlessCommand,
}

/// Attacks that cores bear.
const BORNE: [Attack; 4] = [Attack::NeverReads, Attack::GiantReplies, Attack::SwapsLarge, Attack::GiantPipelines];
/// Attacks that they do not bear yet: they go on taking in what comes behind the end of a conversation.
const NOT_BORNE: [Attack; 3] = [Attack::FloodBehindQuit, Attack::FloodBehindError, Attack::EndlessCommand];

struct Hostile {
    attack: Attack,
    key: Vec<u8>,
    conn: Option<ClientConn>,
    is_open: bool,
    sent_bytes: usize,
}

/// All hostile clients of a run.
pub(super) struct Hostiles {
    /// Their number among the clients; a timer's token tells which of them it is for.
    client: u64,
    prng: Prng,
    addrs: Vec<SocketAddr>,
    members: Vec<Hostile>,
}

impl Hostiles {
    /// Nobody.
    pub(super) fn none(client: u64) -> Hostiles {
        Hostiles { client, prng: Prng::stream(0, "hostiles"), addrs: Vec::new(), members: Vec::new() }
    }

    /// Those of a seed, who connect to these addresses. `is_worst` lets them do what cores do not bear yet, too.
    pub(super) fn of_seed(seed: u64, client: u64, addrs: Vec<SocketAddr>, is_worst: bool) -> Hostiles {
        let mut prng = Prng::stream(seed, "hostiles");
        let mut attacks = BORNE.to_vec();
        attacks.extend(NOT_BORNE.iter().filter(|_| is_worst));
        let member = |number: u64, prng: &mut Prng| Hostile {
            attack: prng.pick(&attacks),
            key: format!("hostile{number}").into_bytes(),
            conn: None,
            is_open: false,
            sent_bytes: 0,
        };
        let members = (0..prng.range(1, 6)).map(|number| member(number, &mut prng)).collect();
        Hostiles { client, prng, addrs, members }
    }

    /// The run begins.
    pub(super) fn begin(&mut self, port: &dyn ClientPort) {
        (0..self.members.len()).for_each(|idx| self.sleep(port, idx));
    }

    fn sleep(&mut self, port: &dyn ClientPort, idx: usize) {
        let (least, most) = match self.members.get(idx).map(|member| member.attack) {
            Some(Attack::GiantReplies) => GIANT_PAUSE_MS,
            _ => PAUSE_MS,
        };
        let pause = Duration::from_millis(self.prng.range(least, most));
        port.timer(port.now() + pause, session::timer_token(self.client, idx as u64));
    }

    /// Whether a timer or a client of this number is theirs.
    pub(super) fn is_client(&self, client: u64) -> bool {
        self.client == client
    }

    /// Whether a connection is one of theirs.
    pub(super) fn owns(&self, conn: ClientConn) -> bool {
        self.members.iter().any(|member| member.conn == Some(conn))
    }

    /// A connection stands.
    pub(super) fn connected(&mut self, port: &dyn ClientPort, conn: ClientConn) {
        let Some(member) = self.members.iter_mut().find(|member| member.conn == Some(conn)) else { return };
        member.is_open = true;
        if member.attack == Attack::NeverReads {
            port.pause_reading(conn);
        }
        port.send(conn, &member.opening());
    }

    /// A connection has ended.
    pub(super) fn closed(&mut self, conn: ClientConn) {
        for member in self.members.iter_mut().filter(|member| member.conn == Some(conn)) {
            member.conn = None;
            member.is_open = false;
        }
    }

    /// It is time for the next burst of one of them.
    pub(super) fn timer(&mut self, port: &dyn ClientPort, idx: u64) {
        let Some(member) = self.members.get_mut(idx as usize) else { return };
        match member.conn {
            None => {
                member.sent_bytes = 0;
                member.conn = Some(port.connect(self.prng.pick(&self.addrs)));
            }
            Some(conn) if member.sent_bytes > SENT_BYTES_MAX || self.prng.bernoulli(HANGS_UP_PPM) => {
                port.close(conn);
                member.conn = None;
                member.is_open = false;
            }
            Some(conn) if member.is_open && port.in_flight_bytes(conn) < IN_FLIGHT_BYTES_MAX => {
                let burst = member.burst();
                member.sent_bytes += burst.len();
                port.send(conn, &burst);
            }
            Some(_) => {}
        }
        self.sleep(port, idx as usize);
    }

    /// They come no more.
    pub(super) fn retire(&mut self, port: &dyn ClientPort) {
        self.members.iter().filter_map(|member| member.conn).for_each(|conn| port.close(conn));
        self.members.clear();
    }
}

impl Hostile {
    /// What is sent first on a connection.
    fn opening(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.attack {
            Attack::FloodBehindQuit => write_parts(&mut bytes, &[b"QUIT"]),
            Attack::FloodBehindError => bytes.extend_from_slice(b"*1\r\n!1\r\n"),
            Attack::EndlessCommand => bytes.extend_from_slice(b"*1000000\r\n$4\r\nMGET\r\n"),
            _ => write_parts(&mut bytes, &[b"SET", &self.key, &[b'h'; VALUE_BYTES]]),
        }
        bytes
    }

    /// What is sent again and again.
    fn burst(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.attack {
            Attack::FloodBehindQuit | Attack::FloodBehindError => bytes.resize(FLOOD_BYTES, b'x'),
            Attack::EndlessCommand => write_bulk(&mut bytes, &[b'x'; FLOOD_BYTES]),
            Attack::NeverReads => repeat(&mut bytes, 50, &[b"GET", &self.key]),
            Attack::GiantReplies => {
                let names = [&b"MGET"[..]].into_iter().chain(std::iter::repeat_n(&self.key[..], 300));
                write_parts(&mut bytes, &names.collect::<Vec<_>>());
                let slot = types::Slot::of_key(&self.key).number().to_string();
                write_parts(&mut bytes, &[b"CLUSTER", b"GETKEYSINSLOT", slot.as_bytes(), b"1000000"]);
            }
            Attack::SwapsLarge => repeat(&mut bytes, 64, &[b"SET", &self.key, b"x", b"NX", b"GET"]),
            Attack::GiantPipelines => {
                write_parts(&mut bytes, &[b"SET", &self.key, &[b'h'; VALUE_BYTES]]);
                repeat(&mut bytes, 100, &[b"GET", &self.key]);
                repeat(&mut bytes, 300, &[b"EXISTS", &self.key]);
            }
        }
        bytes
    }
}

fn repeat(bytes: &mut Vec<u8>, count: usize, parts: &[&[u8]]) {
    (0..count).for_each(|_| write_parts(bytes, parts));
}

fn write_bulk(bytes: &mut Vec<u8>, bulk: &[u8]) {
    bytes.extend_from_slice(format!("${}\r\n", bulk.len()).as_bytes());
    bytes.extend_from_slice(bulk);
    bytes.extend_from_slice(b"\r\n");
}
