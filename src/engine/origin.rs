//! Where a command came from, and so where its reply goes.

use host::ConnId;
use resp::Protocol;

/// Where the reply of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this core: the reply has its place in the order of that connection.
    Client { conn: ConnId, seq: u64, protocol: Protocol },
    /// Another core, which forwarded it.
    Core { link: u32, id: u64, protocol: Protocol },
    /// A command of a client that concerns every group: this is one group's part.
    Part { whole: u64 },
}

/// Whose commands must not overtake each other: those of a connection, or all that another core forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A client of this core.
    Client(ConnId),
    /// Another core, by its link.
    Core(u32),
}

/// What a core has taken in from one source and not answered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending {
    /// Writes that are in a batch or proposed.
    pub(crate) writes: usize,
    /// Reads that wait outside of batches.
    pub(crate) reads: usize,
}

impl Origin {
    /// The protocol in which the reply is written.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Origin::Client { protocol, .. } | Origin::Core { protocol, .. } => protocol,
            Origin::Part { .. } => Protocol::Resp2,
        }
    }
}
