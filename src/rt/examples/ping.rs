//! Answers PING on one core, to compare with `redis-server`: `ping [PORT [SPIN_US]]`.
//!
//! It looks only at how many requests have come in, so it measures the runtime alone.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use host::{Clock, ConnId, Net, NetEvent, SendBuf, Spawn};
use rt::{Config, Runtime};

/// What redis-benchmark sends for `-t ping_mbulk`.
const REQUEST: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const INLINE_REQUEST: &[u8] = b"PING\r\n";
const REPLY: &[u8] = b"+PONG\r\n";

/// A connection: what came of a request not yet whole, and the replies that wait.
#[derive(Default)]
struct Client {
    rest_len: usize,
    request_len: usize,
    replies: Vec<u8>,
    spare: Vec<u8>,
    sending: bool,
}

impl Client {
    fn receive(&mut self, bytes: &[u8]) {
        if self.request_len == 0 {
            self.request_len = if bytes[0] == b'*' { REQUEST.len() } else { INLINE_REQUEST.len() };
        }
        let len = self.rest_len + bytes.len();
        if bytes.starts_with(b"*3") || bytes.starts_with(b"*2") {
            // `CONFIG GET`, which the tool asks for first; it takes an error for an answer.
            self.replies.extend_from_slice(b"-ERR unknown command\r\n");
            self.request_len = 0;
            return;
        }
        for _ in 0..len / self.request_len {
            self.replies.extend_from_slice(REPLY);
        }
        self.rest_len = len % self.request_len;
    }

    fn next_send(&mut self) -> Option<SendBuf> {
        if self.sending || self.replies.is_empty() {
            return None;
        }
        self.sending = true;
        let spare = std::mem::take(&mut self.spare);
        Some(SendBuf::Plain(std::mem::replace(&mut self.replies, spare)))
    }
}

async fn serve(runtime: Runtime<()>, addr: SocketAddr) -> std::io::Result<()> {
    runtime.listen(addr, false, 10_000, b"-ERR max number of clients reached\r\n")?;
    let mut clients: HashMap<ConnId, Client> = HashMap::new();
    let mut touched = Vec::new();
    loop {
        while let Some(event) = runtime.next_event() {
            match event {
                NetEvent::Accepted { conn, .. } | NetEvent::Connected { conn } => {
                    clients.insert(conn, Client::default());
                }
                NetEvent::Received { conn, buf } => {
                    if let Some(client) = clients.get_mut(&conn) {
                        client.receive(&buf);
                        touched.push(conn);
                    }
                }
                NetEvent::Sent { conn, buf } => {
                    if let (Some(client), SendBuf::Plain(mut bytes)) = (clients.get_mut(&conn), buf) {
                        bytes.clear();
                        (client.spare, client.sending) = (bytes, false);
                        touched.push(conn);
                    }
                }
                NetEvent::ReceiveEnded { conn } => runtime.close(conn),
                NetEvent::Closed { conn, .. } => {
                    clients.remove(&conn);
                }
            }
        }
        for conn in touched.drain(..) {
            if let Some(buf) = clients.get_mut(&conn).and_then(Client::next_send) {
                runtime.send(conn, buf);
            }
        }
        runtime.park(runtime.now() + Duration::from_millis(100)).await;
    }
}

fn main() {
    let mut args = std::env::args().skip(1).filter_map(|arg| arg.parse::<u16>().ok());
    let addr = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), args.next().unwrap_or(7_777));
    let spin = Duration::from_micros(args.next().unwrap_or(0).into());
    let running = rt::start(Config { spin, ..Config::default() }, move |_, runtime| serve(runtime, addr));
    match running.and_then(rt::Running::join) {
        Ok(results) => println!("ended: {results:?}"),
        Err(error) => eprintln!("{error}"),
    }
}
