//! Commands that this core has taken in and another one executes.
//!
//! The arguments of a command go straight into the frame for the core concerned, and stay there until the answer: one that
//! did not run is sent again. A frame's bytes are shared with whoever sends it and let go once all of its commands are
//! answered, so a forwarded command costs neither a copy nor an allocation of its own.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use resp::{ArgRange, Args, Command, Protocol};
use types::{GroupId, Instant, Slot};
use wire::{RequestHead, Requests, RequestsBuilder};

use crate::origin::{LinkId, Origin};
use crate::request::{OwnedArgs, OwnedRequest, Request};

/// A command in flight.
pub(super) struct Sent {
    pub(super) origin: Origin,
    pub(super) command: &'static Command,
    slot: Slot,
    /// Index of the group's route.
    pub(super) route: usize,
    /// Its place among the commands of the route.
    pub(super) order: i64,
    /// When to give up waiting for the answer.
    pub(super) deadline: Instant,
    /// Bytes of its arguments, with what it costs itself.
    pub(super) bytes: usize,
    /// The frame that holds its arguments, and which they are.
    frame: u64,
    first_argument: u32,
    arguments_count: u32,
}

/// The arguments of a frame's commands.
struct SentFrame {
    bytes: Bytes,
    ends: Vec<u32>,
    open_count: usize,
}

impl SentFrame {
    /// Bytes that it holds.
    fn len(&self) -> usize {
        self.bytes.len() + size_of::<u32>() * self.ends.len()
    }
}

/// What is in flight to one core. Numbers are given in order and answered roughly in order, so they index a window.
struct Window {
    first_id: u64,
    sent: VecDeque<Option<Sent>>,
    /// Number of the first of `frames`.
    first_frame: u64,
    frames: VecDeque<SentFrame>,
    /// The frame that commands are added to. Its number is that behind the last of `frames`.
    next: RequestsBuilder,
    next_open_count: usize,
    /// Bytes of `frames`.
    frames_bytes: usize,
}

impl Window {
    fn next_frame(&self) -> u64 {
        self.first_frame + self.frames.len() as u64
    }

    /// A command as it could be sent again.
    fn request_of(&self, sent: &Sent) -> OwnedRequest {
        let (bytes, ends) = match self.frames.get((sent.frame - self.first_frame) as usize) {
            Some(frame) => (&frame.bytes[..], &frame.ends[..]),
            None => (self.next.bytes(), self.next.ends()),
        };
        let first = sent.first_argument as usize;
        let mut start = if first == 0 { 0 } else { ends[first - 1] };
        // The name is not among them; nobody looks at it.
        let mut ranges = vec![ArgRange { start: 0, end: 0 }];
        for end in &ends[first..first + sent.arguments_count as usize] {
            ranges.push(ArgRange { start, end: *end });
            start = *end;
        }
        let args = OwnedArgs::of(Args::new(bytes, &ranges));
        OwnedRequest { origin: sent.origin, command: sent.command, slot: sent.slot, args }
    }

    fn close(&mut self, sent: &Sent) {
        match self.frames.get_mut((sent.frame - self.first_frame) as usize) {
            Some(frame) => {
                frame.open_count -= 1;
                if frame.open_count == 0 {
                    // It keeps its place, and nothing else, until the older ones are answered as well.
                    self.frames_bytes -= frame.len();
                    (frame.bytes, frame.ends) = (Bytes::new(), Vec::new());
                }
            }
            None => self.next_open_count -= 1,
        }
        while self.frames.front().is_some_and(|frame| frame.open_count == 0) {
            self.frames.pop_front();
            self.first_frame += 1;
        }
        while let Some(None) = self.sent.front() {
            self.sent.pop_front();
            self.first_id += 1;
        }
    }

    /// Bytes of arguments that are kept.
    fn bytes(&self) -> usize {
        self.frames_bytes + self.next.bytes_len() + size_of::<Option<Sent>>() * self.sent.len()
    }
}

/// The commands in flight of a core, by link.
pub(super) struct InFlight {
    windows: Vec<Window>,
    count: usize,
}

impl InFlight {
    /// None yet. Numbers begin at a random place: a core may still answer a command from before this node was restarted,
    /// and its number must not be that of a command from after it.
    pub(super) fn new(links_count: usize, random: u64) -> InFlight {
        let window = || Window {
            // Half of all numbers lie behind any beginning: they never run out.
            first_id: random >> 1,
            sent: VecDeque::new(),
            first_frame: 0,
            frames: VecDeque::new(),
            next: RequestsBuilder::default(),
            next_open_count: 0,
            frames_bytes: 0,
        };
        InFlight { windows: std::iter::repeat_with(window).take(links_count).collect(), count: 0 }
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
        let window = &mut self.windows[link.idx()];
        let Request { origin, command, slot, args } = request;
        let bytes = request.bytes();
        let first_argument = window.next.ends().len() as u32;
        let head = RequestHead {
            id: window.first_id + window.sent.len() as u64,
            group: group.0,
            arguments_count: 0,
            command: command.id.as_u16(),
            slot: slot.number(),
            resp3: origin.protocol() == Protocol::Resp3,
            resumes,
        };
        window.next.push(head, args.iter_from(1));
        window.next_open_count += 1;
        let arguments_count = window.next.ends().len() as u32 - first_argument;
        let frame = window.next_frame();
        window.sent.push_back(Some(Sent {
            origin,
            command,
            slot,
            route,
            order,
            deadline,
            bytes,
            frame,
            first_argument,
            arguments_count,
        }));
        self.count += 1;
        bytes
    }

    /// Takes the commands that are to be sent over `link` now, if there are any.
    pub(super) fn take_requests(&mut self, link: LinkId) -> Option<Requests> {
        let window = &mut self.windows[link.idx()];
        if window.next.is_empty() {
            return None;
        }
        let requests = window.next.finish();
        let open_count = std::mem::take(&mut window.next_open_count);
        let frame = SentFrame { bytes: requests.bytes.clone(), ends: requests.ends.clone(), open_count };
        window.frames_bytes += frame.len();
        window.frames.push_back(frame);
        Some(requests)
    }

    /// Bytes that wait to be sent over `link`.
    pub(super) fn unsent_bytes(&self, link: LinkId) -> usize {
        self.windows[link.idx()].next.bytes_len()
    }

    /// Takes out the command that a reply over `link` belongs to; `None` for a reply nobody waits for.
    pub(super) fn take(&mut self, link: LinkId, id: u64) -> Option<Sent> {
        let window = self.windows.get_mut(link.idx())?;
        let idx = usize::try_from(id.checked_sub(window.first_id)?).ok()?;
        let sent = window.sent.get_mut(idx)?.take()?;
        window.close(&sent);
        self.count -= 1;
        Some(sent)
    }

    /// Takes out the command that a refusal over `link` belongs to, to be sent again.
    pub(super) fn take_back(&mut self, link: LinkId, id: u64) -> Option<(Sent, OwnedRequest)> {
        let window = self.windows.get(link.idx())?;
        let idx = usize::try_from(id.checked_sub(window.first_id)?).ok()?;
        let request = window.request_of(window.sent.get(idx)?.as_ref()?);
        Some((self.take(link, id)?, request))
    }

    /// Whether the oldest command over `link` is overdue.
    pub(super) fn is_late(&self, link: LinkId, now: Instant) -> bool {
        self.windows[link.idx()].sent.front().and_then(Option::as_ref).is_some_and(|first| first.deadline <= now)
    }

    /// The numbers of the commands that went over `link`; some of them may be answered.
    pub(super) fn ids(&self, link: LinkId) -> Range<u64> {
        let window = &self.windows[link.idx()];
        window.first_id..window.first_id + window.sent.len() as u64
    }

    /// The command of a number that went over `link`, if it is not answered, and whether it has left this core.
    pub(super) fn get(&self, link: LinkId, id: u64) -> Option<(&Sent, bool)> {
        let window = self.windows.get(link.idx())?;
        let idx = usize::try_from(id.checked_sub(window.first_id)?).ok()?;
        let sent = window.sent.get(idx)?.as_ref()?;
        Some((sent, sent.frame != window.next_frame()))
    }

    /// Forgets what was to be sent over a link that is gone. All its commands must have been taken out before.
    pub(super) fn drop_unsent(&mut self, link: LinkId) {
        let window = &mut self.windows[link.idx()];
        assert!(window.next_open_count == 0, "commands for a link that is gone are still waited for");
        window.next = RequestsBuilder::default();
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
}
