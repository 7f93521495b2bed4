//! Where a command came from, and so where its reply goes.

use io::ConnId;
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

impl Origin {
    /// The protocol in which the reply is written.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Origin::Client { protocol, .. } | Origin::Core { protocol, .. } => protocol,
            Origin::Part { .. } => Protocol::Resp2,
        }
    }
}
