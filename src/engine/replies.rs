//! The way of a reply back: what a part that answers commands needs to know of those who asked.

use std::net::SocketAddr;

use host::ConnId;
use resp::Reply;
use types::{CoreAddr, GroupId, Instant};

use crate::context::Context;
use crate::origin::{LinkId, Origin};
use crate::refusal::Refusal;

/// A client that has asked for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) addr: SocketAddr,
    pub(crate) name: Vec<u8>,
    /// When its command was taken in.
    pub(crate) since: Instant,
}

/// Takes replies. `core` implements it for the parts that hold connections and links, so that a part which answers
/// writes straight into the output of whoever asked, and knows neither.
pub(crate) trait ReplySink {
    /// Writes the reply of a command. Whoever asked may be gone by now; then nothing is written.
    fn reply(&mut self, origin: Origin, write: impl FnOnce(&mut Reply<'_>));

    /// Whether a reply of `bytes` may be written for whoever asked, beside what waits for them already. One that is short
    /// always may.
    fn has_room(&mut self, origin: Origin, bytes: usize) -> bool;

    /// Whether more replies may be queued for another core at the moment.
    fn takes_replies(&self, link: LinkId) -> bool;

    /// Sends a forwarded command back: it did not run, and this core does not lead its group.
    fn send_back(&mut self, link: LinkId, id: u64);

    /// The last request of a client by a route, the one of this number, that is answered while one before it is not.
    fn last_early_by(&self, conn: ConnId, route: usize) -> Option<u64>;

    /// Who has asked, if that is a client of this core whose command is not answered yet.
    fn asker(&self, _origin: Origin) -> Option<Asker> {
        None
    }

    /// The core at the other end of a link.
    fn peer(&self, _link: LinkId) -> Option<CoreAddr> {
        None
    }

    /// Answers with an error.
    fn fail(&mut self, origin: Origin, message: &str) {
        self.reply(origin, |reply| reply.error(message));
    }
}

/// Replies up to this length always have room: most are the outcomes of writes, and their number is bounded.
pub(crate) const SHORT_REPLY_BYTES_MAX: usize = 1 << 10;

/// Refuses a command: answers it with an error, and counts why, and for which group if that has to do with it.
pub(crate) fn refuse(
    ctx: &mut Context,
    out: &mut impl ReplySink,
    origin: Origin,
    refusal: Refusal,
    group: Option<GroupId>,
) {
    ctx.refused(refusal, group);
    ctx.count_error_to(origin, refusal.message().as_bytes());
    out.fail(origin, refusal.message());
}
