//! What clients asked for and what they were answered: the outside view of a run.

use std::time::Duration;

use types::Instant;

mod call;
mod expiring;

pub use call::{Call, SetOptions, SetWhen, Text};
pub(crate) use call::{TOKEN_END, halves_text};
pub use expiring::{EXPIRING_PREFIX, ExpiringCall, ExpiringId, ExpiringOperation, ExpiringOperations, Life};

/// What a command came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// `OK`.
    Ok,
    /// A number.
    Integer(i64),
    /// A value, or none.
    Value(Option<Text>),
    /// Several of them.
    Values(Vec<Option<Text>>),
    /// It was refused: the reply says that it has not run and never will.
    NotApplied,
    /// It may have run, may run later, or never: no reply came, or one that says just that.
    Unknown,
}

/// A command with what is known of it.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Number of the session.
    pub client: u32,
    /// When its first byte was sent, in true time.
    pub begin: Instant,
    /// When its reply was complete, or it was given up.
    pub end: Instant,
    /// The command.
    pub call: Call,
    /// What it came to.
    pub outcome: Outcome,
    /// For what failed: the error's text, or how the connection ended.
    pub reason: Option<String>,
}

impl Operation {
    /// Whether the reply says what the command did.
    pub fn is_known(&self) -> bool {
        !matches!(self.outcome, Outcome::NotApplied | Outcome::Unknown)
    }

    /// Until when it can take effect: its end, if that is known.
    pub fn effect_end(&self) -> Instant {
        if self.outcome == Outcome::Unknown { Instant::NEVER } else { self.end }
    }
}

/// Identifies an operation in a [`History`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperationId(usize);

/// All operations of a run, in the order in which they began.
#[derive(Clone, Debug, Default)]
pub struct History {
    operations: Vec<Operation>,
    healed: Option<Instant>,
    latency_max: Option<Duration>,
    objection: Option<String>,
    /// What was asked about keys that expire: it is judged apart.
    pub expiring: ExpiringOperations,
}

impl History {
    /// An empty one.
    pub fn new() -> History {
        History::default()
    }

    /// A command begins. Calls come in the order of time.
    pub fn begin(&mut self, client: u32, at: Instant, call: Call) -> OperationId {
        assert!(self.operations.last().is_none_or(|last| last.begin <= at), "operations begin in the order of time");
        let end = Instant::NEVER;
        self.operations.push(Operation { client, begin: at, end, call, outcome: Outcome::Unknown, reason: None });
        OperationId(self.operations.len() - 1)
    }

    /// A command has ended.
    pub fn end(&mut self, id: OperationId, at: Instant, outcome: Outcome, reason: Option<String>) {
        let operation = &mut self.operations[id.0];
        assert!(operation.end == Instant::NEVER, "an operation ends once");
        operation.end = at;
        operation.outcome = outcome;
        operation.reason = reason;
    }

    /// From now on no fault happens. Operations that begin later must succeed.
    pub fn heal(&mut self, at: Instant) {
        self.healed = Some(at);
    }

    /// No fault happens at all, and every command must be answered within this time.
    pub fn expect_answers_within(&mut self, latency_max: Duration) {
        self.latency_max = Some(latency_max);
    }

    /// Within which every command must be answered, if that is so.
    pub fn latency_max(&self) -> Option<Duration> {
        self.latency_max
    }

    /// A session has met a reply that no server may send: malformed, of the wrong kind, or to nothing it asked. The first
    /// such message is kept.
    pub fn object(&mut self, message: String) {
        self.objection.get_or_insert(message);
    }

    /// What sessions objected to.
    pub fn objection(&self) -> Option<&str> {
        self.objection.as_deref()
    }

    /// Since when no fault has happened; `None` if faults went on to the end.
    pub fn healed_at(&self) -> Option<Instant> {
        self.healed
    }

    /// All operations, in the order in which they began. Those without a reply are [`Outcome::Unknown`].
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }
}
