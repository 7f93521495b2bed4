//! The queue of the commands of other cores that wait in one group.

use std::collections::VecDeque;

use crate::origin::LinkId;
use crate::request::OwnedRequest;

/// The commands of one other core that wait, in the order of arrival. Never empty.
#[derive(Debug)]
struct LinkQueue {
    link: LinkId,
    commands: VecDeque<(u64, OwnedRequest)>,
    bytes: usize,
}

impl LinkQueue {
    fn goes_on(&self, goes_on: impl Fn(LinkId, &OwnedRequest) -> bool) -> bool {
        self.commands.front().is_some_and(|(_, first)| goes_on(self.link, first))
    }
}

/// The commands of other cores that wait in one group.
#[derive(Debug, Default)]
pub(super) struct ForwardedQueue {
    /// One per core of which commands wait. The first is the next to go on.
    links: VecDeque<LinkQueue>,
    /// Invariant: the bytes of those commands.
    bytes: usize,
    /// Commands that do not wait any more: they go back. There may be very many, so they do in slices.
    refused: VecDeque<Refused>,
    /// Invariant: the bytes of those.
    refused_bytes: usize,
}

/// Commands of a core that do not wait any more.
#[derive(Debug)]
struct Refused {
    queue: LinkQueue,
    /// Whether that core is told.
    is_awaited: bool,
}

impl ForwardedQueue {
    /// Whether no command waits.
    pub(super) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// Bytes of the commands that wait.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of the commands that do not wait any more and have not gone back.
    pub(super) fn refused_bytes(&self) -> usize {
        self.refused_bytes
    }

    /// Bytes of all commands, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        let refused = self.refused.iter().map(|refused| &refused.queue);
        let commands = self.links.iter().chain(refused).flat_map(|queue| &queue.commands);
        commands.map(|(_, request)| request.bytes()).sum()
    }

    /// Whether commands wait that came over a link for which this holds.
    pub(super) fn has(&self, is_meant: impl Fn(LinkId) -> bool) -> bool {
        self.links.iter().any(|queue| is_meant(queue.link))
    }

    pub(super) fn bytes_of(&self, link: LinkId) -> usize {
        self.links.iter().find(|queue| queue.link == link).map_or(0, |queue| queue.bytes)
    }

    /// The link over which most bytes came that wait.
    pub(super) fn longest(&self) -> Option<LinkId> {
        self.links.iter().max_by_key(|queue| queue.bytes).map(|queue| queue.link)
    }

    /// Puts a command behind all others of its link.
    pub(super) fn push(&mut self, link: LinkId, id: u64, request: OwnedRequest) {
        let bytes = request.bytes();
        self.bytes += bytes;
        match self.links.iter_mut().find(|queue| queue.link == link) {
            Some(queue) => {
                queue.bytes += bytes;
                queue.commands.push_back((id, request));
            }
            None => self.links.push_back(LinkQueue { link, commands: VecDeque::from([(id, request)]), bytes }),
        }
    }

    /// Whether there is a command for which `goes_on` holds, and none before it of the same link.
    pub(super) fn has_next(&self, goes_on: impl Fn(LinkId, &OwnedRequest) -> bool) -> bool {
        self.links.iter().any(|queue| queue.goes_on(&goes_on))
    }

    /// Takes out the oldest command of the next link for which `goes_on` holds. That link has the last turn then.
    pub(super) fn pop(&mut self, goes_on: impl Fn(LinkId, &OwnedRequest) -> bool) -> Option<OwnedRequest> {
        let at = self.links.iter().position(|queue| queue.goes_on(&goes_on))?;
        let mut queue = self.links.remove(at)?;
        let (_, request) = queue.commands.pop_front()?;
        queue.bytes -= request.bytes();
        self.bytes -= request.bytes();
        if !queue.commands.is_empty() {
            self.links.push_back(queue);
        }
        Some(request)
    }

    /// The commands of a link do not wait any more. With `is_awaited` they go back, in the order of arrival.
    pub(super) fn refuse(&mut self, link: LinkId, is_awaited: bool) {
        let at = self.links.iter().position(|queue| queue.link == link);
        let Some(queue) = at.and_then(|at| self.links.remove(at)) else { return };
        self.bytes -= queue.bytes;
        self.refused_bytes += queue.bytes;
        self.refused.push_back(Refused { queue, is_awaited });
    }

    /// Whether commands do not wait any more and have not gone back.
    pub(super) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Takes out the first command that does not wait any more: its link and number, and whether it is to go back.
    pub(super) fn pop_refused(&mut self) -> Option<(LinkId, u64, bool)> {
        let Refused { queue, is_awaited } = self.refused.front_mut()?;
        let (link, is_awaited) = (queue.link, *is_awaited);
        let (id, request) = queue.commands.pop_front()?;
        self.refused_bytes -= request.bytes();
        if queue.commands.is_empty() {
            self.refused.pop_front();
        }
        Some((link, id, is_awaited))
    }
}
