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

/// The commands of other cores that wait in one group.
#[derive(Debug, Default)]
pub(super) struct ForwardedQueue {
    /// One per core of which commands wait. The first is the next to go on.
    links: VecDeque<LinkQueue>,
    /// Invariant: the bytes of all commands.
    bytes: usize,
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

    /// Bytes of the commands that wait, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.links.iter().flat_map(|queue| &queue.commands).map(|(_, request)| request.bytes()).sum()
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

    /// Takes out the oldest command of the next link for which `goes_on` holds. That link has the last turn then.
    pub(super) fn pop(&mut self, goes_on: impl Fn(LinkId, &OwnedRequest) -> bool) -> Option<OwnedRequest> {
        let goes_on = |queue: &LinkQueue| queue.commands.front().is_some_and(|(_, first)| goes_on(queue.link, first));
        let at = self.links.iter().position(goes_on)?;
        let mut queue = self.links.remove(at)?;
        let (_, request) = queue.commands.pop_front()?;
        queue.bytes -= request.bytes();
        self.bytes -= request.bytes();
        if !queue.commands.is_empty() {
            self.links.push_back(queue);
        }
        Some(request)
    }

    /// Takes out all commands of a link. Returns their numbers, in the order of arrival.
    pub(super) fn remove(&mut self, link: LinkId) -> impl Iterator<Item = u64> + use<> {
        let at = self.links.iter().position(|queue| queue.link == link);
        let removed = at.and_then(|at| self.links.remove(at));
        self.bytes -= removed.as_ref().map_or(0, |queue| queue.bytes);
        removed.into_iter().flat_map(|queue| queue.commands).map(|(id, _)| id)
    }
}
