//! What clients ask about keys that expire.

use types::Instant;

use super::{Outcome, Text};

/// How the names of keys that expire begin; no other key's does.
pub const EXPIRING_PREFIX: &[u8] = b"expiring";

/// For how long a key is to live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// For ever.
    Forever,
    /// This many milliseconds from now.
    Millis(u64),
    /// Until this time, in milliseconds since 1970 UTC.
    Until(u64),
    /// As long as it would have lived anyway.
    Kept,
}

/// A command on a key that may expire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ExpiringCall {
    /// `SET key value [EX s | PX ms | PXAT time | KEEPTTL]`.
    Set(Text, Life),
    /// `GETEX key [EX s | PX ms | PXAT time | PERSIST]`.
    GetEx(Life),
    /// `EXPIRE key s` if these are whole seconds, else `PEXPIRE key ms`.
    Expire(u64),
    /// `PEXPIREAT key time`.
    ExpireAt(u64),
    /// `PERSIST key`.
    Persist,
    /// `DEL key`.
    Del,
    /// `GETDEL key`.
    GetDel,
    /// `GET key`.
    Get,
    /// `EXISTS key`.
    Exists,
    /// `TTL key`.
    Ttl,
    /// `PTTL key`.
    PTtl,
    /// `PEXPIRETIME key`.
    PExpireTime,
}

impl ExpiringCall {
    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        !matches!(
            self,
            ExpiringCall::Get
                | ExpiringCall::Exists
                | ExpiringCall::Ttl
                | ExpiringCall::PTtl
                | ExpiringCall::PExpireTime
        )
    }

    /// Its name, and what follows the key.
    pub fn words(&self) -> (&'static str, Vec<Text>) {
        match self {
            ExpiringCall::Set(value, life) => {
                let mut rest = vec![value.clone()];
                rest.extend(options(*life, "KEEPTTL"));
                ("SET", rest)
            }
            ExpiringCall::GetEx(Life::Forever) => ("GETEX", vec![Text::from_static(b"PERSIST")]),
            ExpiringCall::GetEx(Life::Kept) => ("GETEX", Vec::new()),
            ExpiringCall::GetEx(life) => ("GETEX", options(*life, "")),
            ExpiringCall::Expire(ms) if ms.is_multiple_of(1_000) => ("EXPIRE", vec![number(ms / 1_000)]),
            ExpiringCall::Expire(ms) => ("PEXPIRE", vec![number(*ms)]),
            ExpiringCall::ExpireAt(ms) => ("PEXPIREAT", vec![number(*ms)]),
            ExpiringCall::Persist => ("PERSIST", Vec::new()),
            ExpiringCall::Del => ("DEL", Vec::new()),
            ExpiringCall::GetDel => ("GETDEL", Vec::new()),
            ExpiringCall::Get => ("GET", Vec::new()),
            ExpiringCall::Exists => ("EXISTS", Vec::new()),
            ExpiringCall::Ttl => ("TTL", Vec::new()),
            ExpiringCall::PTtl => ("PTTL", Vec::new()),
            ExpiringCall::PExpireTime => ("PEXPIRETIME", Vec::new()),
        }
    }
}

fn number(number: u64) -> Text {
    Text::from(number.to_string())
}

fn options(life: Life, kept: &'static str) -> Vec<Text> {
    let option = |name: &'static str, value| vec![Text::from_static(name.as_bytes()), number(value)];
    match life {
        Life::Forever => Vec::new(),
        Life::Millis(ms) if ms.is_multiple_of(1_000) => option("EX", ms / 1_000),
        Life::Millis(ms) => option("PX", ms),
        Life::Until(ms) => option("PXAT", ms),
        Life::Kept => vec![Text::from_static(kept.as_bytes())],
    }
}

/// A command on a key that may expire, with what is known of it.
#[derive(Clone, Debug)]
pub struct ExpiringOperation {
    /// Number of the client.
    pub client: u32,
    /// When it was sent, in true time.
    pub begin: Instant,
    /// When its reply was complete, or it was given up.
    pub end: Instant,
    /// The key.
    pub key: Text,
    /// The command.
    pub call: ExpiringCall,
    /// What it came to.
    pub outcome: Outcome,
}

/// Identifies an operation in [`ExpiringOperations`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpiringId(usize);

/// All operations on keys that may expire, in the order in which they began.
///
/// Invariant: a client writes a key only when it knows what has become of its earlier writes to it, with a single exception: the
/// last write of all is `GETDEL`, and no other is. No other client writes that key.
#[derive(Clone, Debug, Default)]
pub struct ExpiringOperations(Vec<ExpiringOperation>);

impl ExpiringOperations {
    /// A command begins. Calls come in the order of time.
    pub fn begin(&mut self, client: u32, at: Instant, key: Text, call: ExpiringCall) -> ExpiringId {
        let (end, outcome) = (Instant::NEVER, Outcome::Unknown);
        self.0.push(ExpiringOperation { client, begin: at, end, key, call, outcome });
        ExpiringId(self.0.len() - 1)
    }

    /// A command has ended.
    pub fn end(&mut self, id: ExpiringId, at: Instant, outcome: Outcome) {
        let operation = &mut self.0[id.0];
        assert!(operation.end == Instant::NEVER, "an operation ends once");
        (operation.end, operation.outcome) = (at, outcome);
    }

    /// All of them.
    pub fn list(&self) -> &[ExpiringOperation] {
        &self.0
    }
}
