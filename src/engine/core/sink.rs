//! The way of replies out of a core.

use host::ConnId;
use resp::Reply;
use types::CoreAddr;

use crate::clients::Clients;
use crate::origin::{LinkId, Origin};
use crate::peers::Peers;
use crate::replies::{Asker, ReplySink};

/// Where the replies of a core's groups and of other cores go.
pub(super) struct Replies<'a> {
    pub(super) clients: &'a mut Clients,
    pub(super) peers: &'a mut Peers,
}

impl ReplySink for Replies<'_> {
    fn reply(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>)) {
        match origin {
            Origin::Client { .. } | Origin::SubRequest { .. } => self.clients.reply(origin, write),
            Origin::Peer { .. } => self.peers.reply(origin, write),
        }
    }

    fn has_room(&mut self, origin: Origin, bytes: usize) -> bool {
        match origin {
            Origin::Client { .. } | Origin::SubRequest { .. } => self.clients.has_room(origin, bytes),
            Origin::Peer { link, .. } => self.peers.has_room(link, bytes),
        }
    }

    fn last_early_by(&self, conn: ConnId, route: usize) -> Option<u64> {
        self.clients.last_early_by(conn, route)
    }

    fn asker(&self, origin: Origin) -> Option<Asker> {
        self.clients.asker(origin)
    }

    fn peer(&self, link: LinkId) -> Option<CoreAddr> {
        Some(self.peers.addr_of(link))
    }

    fn takes_replies(&self, link: LinkId) -> bool {
        self.peers.takes_replies(link)
    }

    fn send_back(&mut self, link: LinkId, id: u64) {
        self.peers.send_back(link, id);
    }
}

/// The replies' way out of a core: a borrow of two of its parts, so that the others stay free.
macro_rules! out {
    ($core:ident) => {
        &mut $crate::core::sink::Replies { clients: &mut $core.clients, peers: &mut $core.peers }
    };
}

pub(super) use out;
