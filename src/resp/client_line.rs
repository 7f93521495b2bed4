//! One line of `CLIENT LIST`, and all of `CLIENT INFO`.

use std::io::Write;
use std::net::SocketAddr;

use crate::reply::Protocol;

/// What a server knows of a connection, as `CLIENT LIST` shows it: the fields of Redis 7.2 and their order, then the
/// traffic that Redis 8 adds. What does not exist here (databases, subscriptions, transactions, users, redirections)
/// has the value that Redis gives to a connection that does without.
#[derive(Clone, Copy, Debug)]
pub struct ClientLine<'a> {
    /// Its number, as `CLIENT ID` tells it.
    pub id: u64,
    /// Where it comes from.
    pub addr: SocketAddr,
    /// Where it came in.
    pub local_addr: SocketAddr,
    /// The number that the host knows it by.
    pub fd: u64,
    /// The name that it has given itself, or nothing. Invariant: [`is_client_name`](crate::hello::is_client_name).
    pub name: &'a [u8],
    /// Since when it exists, in seconds.
    pub age_s: u64,
    /// Since when it has sent nothing, in seconds.
    pub idle_s: u64,
    /// Bytes of input that are held for it.
    pub input_bytes: usize,
    /// Bytes that fit behind them without new memory.
    pub input_free_bytes: usize,
    /// Bytes of the arguments of its commands under way.
    pub arguments_bytes: usize,
    /// Bytes of replies that it has not been sent yet.
    pub output_bytes: usize,
    /// All memory that it takes, in bytes.
    pub total_bytes: usize,
    /// The full name of the command that it sent last, `None` if it has sent none.
    pub command: Option<&'static str>,
    /// Whether it is shown the commands of others.
    pub is_monitor: bool,
    /// What it speaks.
    pub protocol: Protocol,
    /// The library that it says it uses, or nothing. Invariant: as that of `name`.
    pub library_name: &'a [u8],
    /// That library's version, or nothing. Invariant: as that of `name`.
    pub library_version: &'a [u8],
    /// Bytes that have come from it.
    pub received_bytes: u64,
    /// Bytes that have gone to it.
    pub sent_bytes: u64,
    /// Commands that it has sent.
    pub commands_count: u64,
}

impl ClientLine<'_> {
    /// Appends the line, its end included.
    pub fn write(&self, out: &mut Vec<u8>) {
        let events = if self.output_bytes > 0 { "rw" } else { "r" };
        put(out, format_args!("id={} addr={} laddr={} fd={} name=", self.id, self.addr, self.local_addr, self.fd));
        out.extend_from_slice(self.name);
        let flags = if self.is_monitor { 'O' } else { 'N' };
        put(out, format_args!(" age={} idle={} flags={flags}", self.age_s, self.idle_s));
        put(out, format_args!(" db=0 sub=0 psub=0 ssub=0 multi=-1"));
        put(out, format_args!(" qbuf={} qbuf-free={}", self.input_bytes, self.input_free_bytes));
        put(out, format_args!(" argv-mem={}", self.arguments_bytes));
        // There is no buffer of a fixed size before the list of replies, and the list has one element.
        let list_len = usize::from(self.output_bytes > 0);
        put(out, format_args!(" multi-mem=0 rbs=0 rbp=0 obl=0 oll={list_len} omem={}", self.output_bytes));
        put(out, format_args!(" tot-mem={} events={events}", self.total_bytes));
        let (command, protocol) = (self.command.unwrap_or("NULL"), self.protocol.number());
        put(out, format_args!(" cmd={command} user=default redir=-1 resp={protocol} lib-name="));
        out.extend_from_slice(self.library_name);
        out.extend_from_slice(b" lib-ver=");
        out.extend_from_slice(self.library_version);
        put(out, format_args!(" tot-net-in={} tot-net-out={}", self.received_bytes, self.sent_bytes));
        put(out, format_args!(" tot-cmds={}\n", self.commands_count));
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a vector takes whatever is written to it");
}
