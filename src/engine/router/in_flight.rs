//! Commands that this core has taken in and another one executes.
//!
//! The arguments of a command go straight into the frame for the core concerned, and stay there until the answer: one that
//! did not run is sent again. A frame's bytes are shared with whoever sends it and let go once all of its commands are
//! answered, so a forwarded command costs neither a copy nor an allocation of its own.

use resp::Protocol;
use types::{GroupId, Instant};
use wire::{RequestHead, Requests};

use crate::origin::LinkId;
use crate::request::{OwnedRequest, Request};
use crate::router::window::{Outgoing, Sent, Window};

/// The commands in flight of a core, by link.
pub(super) struct InFlight {
    windows: Vec<Window>,
    count: usize,
}

impl InFlight {
    /// None yet. Numbers begin at a random place: a core may still answer a command from before this node was restarted,
    /// and its number must not be that of a command from after it.
    pub(super) fn new(links_count: usize, random: u64) -> InFlight {
        // Half of all numbers lie behind any beginning: they never run out.
        let window = || Window::new(random >> 1);
        InFlight { windows: std::iter::repeat_with(window).take(links_count).collect(), count: 0 }
    }

    /// There is another link. Its numbers begin at a random place, too.
    pub(super) fn add_link(&mut self, random: u64) {
        self.windows.push(Window::new(random >> 1));
    }

    /// Adds a command to the next frame over `link`. `resumes` and `group` as in [`RequestHead`].
    #[expect(clippy::too_many_arguments, reason = "all that a command in flight is known by")]
    pub(super) fn push(
        &mut self,
        link: LinkId,
        request: Request<'_>,
        route: usize,
        group: GroupId,
        order: i64,
        resumes: bool,
        deadline: Instant,
    ) -> usize {
        let Request { origin, command, slot, args } = request;
        let bytes = request.bytes();
        let head = RequestHead {
            id: 0,
            group: group.0,
            arguments_count: 0,
            command: command.id.as_u16(),
            slot: slot.number(),
            resp3: origin.protocol() == Protocol::Resp3,
            resumes,
        };
        let outgoing = Outgoing { origin, command, slot, route, order, deadline, bytes };
        self.windows[link.idx()].push(head, args.iter_from(1), outgoing);
        self.count += 1;
        bytes
    }

    /// Takes the commands that are to be sent over `link` now, if there are any.
    pub(super) fn take_requests(&mut self, link: LinkId) -> Option<Requests> {
        self.windows[link.idx()].take_requests()
    }

    /// Bytes that wait to be sent over `link`.
    pub(super) fn unsent_bytes(&self, link: LinkId) -> usize {
        self.windows[link.idx()].unsent_bytes()
    }

    /// Takes out the command that a reply over `link` belongs to; `None` for a reply nobody waits for.
    pub(super) fn take(&mut self, link: LinkId, id: u64) -> Option<Sent> {
        let sent = self.windows[link.idx()].take(id)?;
        self.count -= 1;
        Some(sent)
    }

    /// Takes out the command that a refusal over `link` belongs to, to be sent again.
    pub(super) fn take_back(&mut self, link: LinkId, id: u64) -> Option<(Sent, OwnedRequest)> {
        let taken = self.windows[link.idx()].take_back(id)?;
        self.count -= 1;
        Some(taken)
    }

    /// The command over `link` that is overdue for longest, if there is one.
    pub(super) fn late_id(&self, link: LinkId, now: Instant) -> Option<u64> {
        self.windows[link.idx()].late_id(now)
    }

    /// The number next to `id` among the smaller ones over `link`. See [`Window::id_before`].
    pub(super) fn id_before(&self, link: LinkId, id: u64) -> Option<u64> {
        self.windows[link.idx()].id_before(id)
    }

    /// The command of a number that went over `link`, if it is not answered, and whether it has left this core.
    pub(super) fn get(&self, link: LinkId, id: u64) -> Option<(&Sent, bool)> {
        self.windows[link.idx()].get(id)
    }

    /// A command over `link` that is not answered, with its arguments.
    pub(super) fn request_of(&self, link: LinkId, sent: &Sent) -> OwnedRequest {
        self.windows[link.idx()].request_of(sent)
    }

    /// Forgets what was to be sent over a link that is gone. All its commands must have been taken out before.
    pub(super) fn drop_unsent(&mut self, link: LinkId) {
        self.windows[link.idx()].drop_unsent();
    }

    /// How many commands are in flight.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Bytes that are kept for them.
    pub(super) fn bytes(&self) -> usize {
        self.windows.iter().map(Window::bytes).sum()
    }

    /// How many links there are.
    pub(super) fn links_count(&self) -> usize {
        self.windows.len()
    }

    /// Gives memory back that is not needed any more. Called once per tick.
    pub(super) fn shrink(&mut self) {
        self.windows.iter_mut().for_each(Window::shrink);
    }
}
