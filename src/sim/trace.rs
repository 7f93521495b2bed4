//! The trace of a run: a hash over everything that happens, and for a reader the same in words.

use std::cell::Cell;
use std::fmt;

use xxhash_rust::xxh3::Xxh3;

thread_local! {
    // For log lines of the engine, which know no clock.
    static SHOWN_TIME: Cell<u64> = const { Cell::new(0) };
}

/// The true time of the run under way on this thread, in nanoseconds.
pub fn shown_time() -> u64 {
    SHOWN_TIME.get()
}

/// What is traced, so that equal numbers of different kinds do not look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Kind {
    /// A core's turn loop goes on.
    Turn = 1,
    /// Another task goes on.
    Task,
    /// Bytes arrive at a core.
    Delivered,
    /// Bytes arrive at a client.
    Reply,
    /// A connection is made or ends.
    Connection,
    /// A disk operation ends.
    Disk,
    /// A message between cores of one node.
    Mesh,
    /// A fault.
    Fault,
    /// A process starts or ends.
    Process,
    /// What a replica did.
    Replica,
    /// What a client does.
    Client,
}

/// Collects the trace.
pub struct Trace {
    hasher: Xxh3,
    is_told: bool,
    events_count: u64,
}

impl Trace {
    /// An empty trace; `is_told` prints every event in words to the standard error.
    pub fn new(is_told: bool) -> Trace {
        Trace { hasher: Xxh3::new(), is_told, events_count: 0 }
    }

    /// Takes in an event.
    pub fn add(&mut self, at: u64, kind: Kind, what: [u64; 2]) {
        self.events_count += 1;
        let mut bytes = [0; 32];
        for (part, word) in bytes.chunks_exact_mut(8).zip([at, kind as u64, what[0], what[1]]) {
            part.copy_from_slice(&word.to_le_bytes());
        }
        self.hasher.update(&bytes);
    }

    /// Takes in bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Tells a reader, if there is one.
    pub fn tell(&self, at: u64, what: fmt::Arguments<'_>) {
        if self.is_told {
            eprintln!("{} {what}", Shown(at));
        }
    }

    /// Makes the time known to log lines.
    pub fn show_time(&self, at: u64) {
        if self.is_told {
            SHOWN_TIME.set(at);
        }
    }

    /// How many events there were, and the hash over them.
    pub fn digest(&self) -> (u64, u64) {
        (self.events_count, self.hasher.digest())
    }
}

/// A time as a reader wants it: seconds and microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Shown(pub u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5}.{:06}", self.0 / 1_000_000_000, self.0 / 1_000 % 1_000_000)
    }
}
