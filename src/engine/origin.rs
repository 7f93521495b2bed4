//! Where a command came from, and so where its reply goes.

use host::ConnId;
use resp::Protocol;

/// A way to another core: its number among this core's links. The number of a link to a node that was removed is not used again, so it can index an
/// array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct LinkId(pub(crate) u32);

impl LinkId {
    /// As an index.
    pub(crate) fn idx(self) -> usize {
        self.0 as usize
    }
}

/// Which of a core's ports a client came in through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    /// Any client may ask for any key here: what is not ours is forwarded.
    Gateway,
    /// For cluster clients: what is not ours answers MOVED.
    Core,
}

/// Where the reply of a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client of this core: the reply has its place in the order of that connection.
    Client { conn: ConnId, seq: u64, protocol: Protocol },
    /// Another core, which forwarded it.
    Peer { link: LinkId, id: u64, protocol: Protocol },
    /// A command of the client `conn` that fans out over all groups: this is one group's part.
    SubRequest { fan_out: u64, conn: ConnId },
}

/// Whose commands must not overtake each other: those of a connection, or all that another core forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Source {
    /// A client of this core.
    Client(ConnId),
    /// Another core.
    Peer(LinkId),
}

impl Origin {
    /// Nobody, for a command that is only looked at.
    pub(crate) const NONE: Origin = Origin::SubRequest { fan_out: 0, conn: ConnId { idx: 0, generation: 0 } };

    /// The protocol in which the reply is written.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Origin::Client { protocol, .. } | Origin::Peer { protocol, .. } => protocol,
            Origin::SubRequest { .. } => Protocol::Resp2,
        }
    }

    /// Where it comes from, as far as order is concerned.
    pub(crate) fn source(self) -> Source {
        match self {
            Origin::Client { conn, .. } | Origin::SubRequest { conn, .. } => Source::Client(conn),
            Origin::Peer { link, .. } => Source::Peer(link),
        }
    }
}
