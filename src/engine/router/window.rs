//! What is in flight to one core.
//!
//! Commands are numbered in the order in which they are sent and answered roughly in that order, so the number of most says where
//! they stand. One that stays unanswered while those behind it are answered is moved aside, so that the places of answered
//! commands do not pile up behind it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use resp::{ArgRange, Args, Command};
use types::{Instant, Slot};
use wire::{RequestHead, Requests, RequestsBuilder};

use crate::origin::Origin;
use crate::request::{OwnedArgs, OwnedRequest};

/// Places that answered commands may have, beside one for each command that is not answered.
const ANSWERED_COUNT_MAX: usize = 64;

/// A command in flight.
pub(super) struct Sent {
    pub(super) origin: Origin,
    pub(super) command: &'static Command,
    /// Its order among the commands of the route.
    pub(super) order: i64,
    /// When to give up waiting for the answer.
    pub(super) deadline: Instant,
    /// Bytes of its arguments, with what it costs itself.
    pub(super) bytes: usize,
    route: u32,
    /// The frame that holds its arguments, and which they are.
    frame: u32,
    first_argument: u32,
    arguments_count: u32,
    slot: Slot,
}

impl Sent {
    /// Index of the group's route.
    pub(super) fn route(&self) -> usize {
        self.route as usize
    }
}

/// What a command is known by that is about to be sent.
pub(super) struct Outgoing {
    pub(super) origin: Origin,
    pub(super) command: &'static Command,
    pub(super) slot: Slot,
    pub(super) route: usize,
    pub(super) order: i64,
    pub(super) deadline: Instant,
    pub(super) bytes: usize,
}

/// The arguments of a frame's commands.
#[derive(Default)]
struct SentFrame {
    bytes: Bytes,
    ends: Vec<u32>,
    open_count: usize,
}

/// What a frame costs beside the arguments, in bytes.
pub(super) const FRAME_BYTES: usize = size_of::<SentFrame>();

impl SentFrame {
    /// Bytes that it holds.
    fn len(&self) -> usize {
        self.bytes.len() + size_of::<u32>() * self.ends.len() + FRAME_BYTES
    }
}

/// The commands in flight to one core, and the frames that hold their arguments.
pub(super) struct Window {
    /// Number of the first of `recent`.
    first_id: u64,
    /// The first is not answered. Invariant: at most [`ANSWERED_COUNT_MAX`] longer than twice `open_count`.
    recent: VecDeque<Option<Sent>>,
    /// Commands with smaller numbers that are not answered.
    stragglers: BTreeMap<u64, Sent>,
    /// Commands that are not answered, of either kind.
    open_count: usize,
    /// The latest deadline of those commands, and maybe of some that are answered.
    latest_deadline: Instant,
    /// Commands with an earlier deadline than one that was sent before: they were sent elsewhere first.
    resent: BTreeSet<(Instant, u64)>,
    /// The frame that commands are added to stands there, empty, and all that were sent and hold arguments of commands that are
    /// not answered. The others are free.
    frames: Vec<SentFrame>,
    free_frames: Vec<u32>,
    next_frame: u32,
    next: RequestsBuilder,
    /// Bytes of the frames that were sent.
    frames_bytes: usize,
}

impl Window {
    /// Nothing yet. Numbers begin at `first_id`.
    pub(super) fn new(first_id: u64) -> Window {
        Window {
            first_id,
            recent: VecDeque::new(),
            stragglers: BTreeMap::new(),
            open_count: 0,
            latest_deadline: Instant::ZERO,
            resent: BTreeSet::new(),
            frames: vec![SentFrame::default()],
            free_frames: Vec::new(),
            next_frame: 0,
            next: RequestsBuilder::default(),
            frames_bytes: 0,
        }
    }

    /// Adds a command to the next frame. The head's number is filled in.
    pub(super) fn push<'a>(
        &mut self,
        mut head: RequestHead,
        arguments: impl Iterator<Item = &'a [u8]>,
        outgoing: Outgoing,
    ) {
        let Outgoing { origin, command, slot, route, order, deadline, bytes } = outgoing;
        let first_argument = self.next.ends().len() as u32;
        head.id = self.end_id();
        self.next.push(head, arguments);
        let arguments_count = self.next.ends().len() as u32 - first_argument;
        let frame = self.next_frame;
        self.frames[frame as usize].open_count += 1;
        if deadline < self.latest_deadline {
            self.resent.insert((deadline, head.id));
        } else {
            self.latest_deadline = deadline;
        }
        self.recent.push_back(Some(Sent {
            origin,
            command,
            order,
            deadline,
            bytes,
            route: route as u32,
            frame,
            first_argument,
            arguments_count,
            slot,
        }));
        self.open_count += 1;
    }

    /// The number of the next command.
    fn end_id(&self) -> u64 {
        self.first_id + self.recent.len() as u64
    }

    /// Takes the commands that are to be sent now, if there are any.
    pub(super) fn take_requests(&mut self) -> Option<Requests> {
        if self.next.is_empty() {
            return None;
        }
        let requests = self.next.finish();
        let frame = &mut self.frames[self.next_frame as usize];
        // All of its commands may have been given up already.
        if frame.open_count > 0 {
            (frame.bytes, frame.ends) = (requests.bytes.clone(), requests.ends.clone());
            self.frames_bytes += frame.len();
            self.next_frame = self.free_frames.pop().unwrap_or(self.frames.len() as u32);
            if self.next_frame as usize == self.frames.len() {
                self.frames.push(SentFrame::default());
            }
        }
        Some(requests)
    }

    /// Forgets what was to be sent. All its commands must have been taken out before.
    pub(super) fn drop_unsent(&mut self) {
        let open_count = self.frames[self.next_frame as usize].open_count;
        assert!(open_count == 0, "commands for a link that is gone are still waited for");
        self.next = RequestsBuilder::default();
    }

    /// Bytes that wait to be sent.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.next.bytes_len()
    }

    fn idx(&self, id: u64) -> Option<usize> {
        usize::try_from(id.checked_sub(self.first_id)?).ok()
    }

    /// The command of a number, if it is not answered, and whether it has left this core.
    pub(super) fn get(&self, id: u64) -> Option<(&Sent, bool)> {
        let sent = match self.idx(id) {
            Some(idx) => self.recent.get(idx)?.as_ref()?,
            None => self.stragglers.get(&id)?,
        };
        Some((sent, sent.frame != self.next_frame))
    }

    /// Takes out the command of a number, if it is not answered.
    pub(super) fn take(&mut self, id: u64) -> Option<Sent> {
        let sent = match self.idx(id) {
            Some(idx) => self.recent.get_mut(idx)?.take()?,
            None => self.stragglers.remove(&id)?,
        };
        self.open_count -= 1;
        if !self.resent.is_empty() {
            self.resent.remove(&(sent.deadline, id));
        }
        self.close(sent.frame);
        self.trim();
        Some(sent)
    }

    /// Takes out the command of a number, if it is not answered, to be sent again.
    pub(super) fn take_back(&mut self, id: u64) -> Option<(Sent, OwnedRequest)> {
        let request = self.request_of(self.get(id)?.0);
        Some((self.take(id)?, request))
    }

    /// A command as it could be sent again.
    pub(super) fn request_of(&self, sent: &Sent) -> OwnedRequest {
        let frame = &self.frames[sent.frame as usize];
        let is_unsent = sent.frame == self.next_frame;
        let (bytes, ends) =
            if is_unsent { (self.next.bytes(), self.next.ends()) } else { (&frame.bytes[..], &frame.ends[..]) };
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

    /// A command of a frame is answered. The frame is let go with the last one.
    fn close(&mut self, frame: u32) {
        let closed = &mut self.frames[frame as usize];
        closed.open_count -= 1;
        if closed.open_count == 0 && frame != self.next_frame {
            self.frames_bytes -= closed.len();
            *closed = SentFrame::default();
            self.free_frames.push(frame);
        }
    }

    /// Lets the places of answered commands go at the front, and moves what stands before too many of them aside.
    fn trim(&mut self) {
        while let Some(first) = self.recent.front() {
            if first.is_some() && self.recent.len() <= 2 * self.open_count + ANSWERED_COUNT_MAX {
                return;
            }
            if let Some(Some(sent)) = self.recent.pop_front() {
                self.stragglers.insert(self.first_id, sent);
            }
            self.first_id += 1;
        }
    }

    /// The number next to `id` among the smaller ones, whose command may be answered. `u64::MAX` asks for the last one.
    pub(super) fn id_before(&self, id: u64) -> Option<u64> {
        let end = id.min(self.end_id());
        if end > self.first_id { Some(end - 1) } else { self.stragglers.range(..end).next_back().map(|(id, _)| *id) }
    }

    /// The number of a command that is overdue, if one is.
    pub(super) fn late_id(&self, now: Instant) -> Option<u64> {
        let first = self.recent.front().and_then(Option::as_ref).map(|sent| (sent.deadline, self.first_id));
        let straggler = self.stragglers.first_key_value().map(|(id, sent)| (sent.deadline, *id));
        // Of those that were not sent elsewhere first, the oldest is overdue first.
        let (deadline, id) = straggler.or(first)?;
        if deadline <= now {
            return Some(id);
        }
        self.resent.first().filter(|(deadline, _)| *deadline <= now).map(|(_, id)| *id)
    }

    /// Bytes that are held.
    pub(super) fn bytes(&self) -> usize {
        let places_bytes = size_of::<Option<Sent>>() * self.recent.len();
        let stragglers_bytes = size_of::<(u64, Sent)>() * self.stragglers.len();
        let resent_bytes = size_of::<(Instant, u64)>() * self.resent.len();
        self.frames_bytes + self.next.bytes_len() + places_bytes + stragglers_bytes + resent_bytes
    }

    /// Gives memory back that many commands have needed and these few do not. Called once per tick.
    pub(super) fn shrink(&mut self) {
        let needed = self.recent.len().max(ANSWERED_COUNT_MAX);
        if self.recent.capacity() > 4 * needed {
            self.recent.shrink_to(2 * needed);
        }
        if self.open_count == 0 && self.frames.len() > 1 {
            (self.frames, self.free_frames, self.next_frame) = (vec![SentFrame::default()], Vec::new(), 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::testing::{client, with_request};

    /// Of the commands, one in ten was sent elsewhere before. No two have the same deadline.
    fn deadline_of(number: u64) -> Instant {
        let before = if number % 10 == 3 { 106 } else { 0 };
        Instant::ZERO + Duration::from_millis(10 * (number + 200 - before) - number % 7)
    }

    /// Sends the command `GET number`; returns its number in the window.
    fn push(window: &mut Window, number: u64) -> u64 {
        let id = window.end_id();
        with_request(client(number), &format!("GET {number}"), |request| {
            let (origin, command, slot) = (request.origin, request.command, request.slot);
            let deadline = deadline_of(number);
            let outgoing = Outgoing { origin, command, slot, route: 0, order: number as i64, deadline, bytes: 0 };
            let head = RequestHead {
                id: 0,
                group: 0,
                arguments_count: 0,
                command: command.id.as_u16(),
                slot: 0,
                resp3: false,
                resumes: false,
            };
            window.push(head, request.args.iter_from(1), outgoing);
        });
        id
    }

    fn check(window: &Window, open: &BTreeMap<u64, u64>) {
        assert_eq!(window.open_count, open.len());
        assert!(window.recent.len() <= 2 * open.len() + ANSWERED_COUNT_MAX);
        let (mut ids, mut id) = (Vec::new(), u64::MAX);
        while let Some(before) = window.id_before(id) {
            id = before;
            ids.extend(window.get(id).map(|(sent, _)| (id, sent.order as u64)));
        }
        assert!(ids.into_iter().rev().eq(open.iter().map(|(id, number)| (*id, *number))));
        let oldest = open.first_key_value();
        let last = Instant::ZERO + Duration::from_secs(1 << 20);
        assert_eq!(window.late_id(last).is_some(), oldest.is_some());
        let due = open.iter().map(|(id, number)| (deadline_of(*number), *id)).min();
        assert_eq!(window.late_id(due.map_or(last, |(due, _)| due)), due.map(|(_, id)| id));
        assert!(due.is_none_or(|(due, _)| window.late_id(Instant::from_nanos(due.as_nanos() - 1)).is_none()));
        let sent = window.frames.iter().enumerate().filter(|(idx, _)| *idx != window.next_frame as usize);
        let held: usize = sent.filter(|(_, frame)| frame.open_count > 0).map(|(_, frame)| frame.len()).sum();
        assert_eq!(window.frames_bytes, held);
        let places =
            window.recent.len() * size_of::<Option<Sent>>() + window.stragglers.len() * size_of::<(u64, Sent)>();
        let resent = window.resent.len() * size_of::<(Instant, u64)>();
        assert_eq!(window.bytes(), held + window.next.bytes_len() + places + resent);
    }

    /// Commands are answered, or refused, in any order, some of them very late.
    #[test]
    fn every_command_is_found_by_its_number_until_it_is_answered() {
        let (mut window, mut open, mut random) = (Window::new(1_000), BTreeMap::new(), 7_u64);
        let mut draw = |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) % below.max(1)
        };
        for number in 1..8_000 {
            let id = push(&mut window, number);
            open.insert(id, number);
            if draw(3) == 0 {
                window.take_requests();
            }
            let answered_count = if number % 1_000 == 999 { open.len() as u64 } else { draw(3) };
            for _ in 0..answered_count {
                // One in eight is of any age, the others are rather new.
                let at = if draw(8) == 0 {
                    draw(open.len() as u64)
                } else {
                    (open.len() as u64).saturating_sub(1 + draw(9))
                };
                let Some((id, number)) = open.iter().nth(at as usize).map(|(id, number)| (*id, *number)) else {
                    break;
                };
                open.remove(&id);
                if draw(2) == 0 {
                    assert_eq!(window.take(id).unwrap().order as u64, number);
                } else {
                    let (sent, request) = window.take_back(id).unwrap();
                    assert_eq!((sent.order as u64, request.origin), (number, client(number)));
                    assert_eq!(request.args.get().get(1), Some(number.to_string().as_bytes()));
                }
                assert!(window.take(id).is_none() && window.take_back(id).is_none(), "it is answered once");
            }
            check(&window, &open);
            if draw(50) == 0 {
                window.shrink();
                check(&window, &open);
            }
        }
        assert!(window.take(999).is_none() && window.take(window.end_id()).is_none(), "nobody was given those");
    }

    #[test]
    fn memory_that_a_burst_has_needed_is_given_back() {
        let mut window = Window::new(0);
        let ids: Vec<u64> = (0..10_000)
            .map(|number| {
                let id = push(&mut window, number);
                window.take_requests();
                id
            })
            .collect();
        window.shrink();
        assert!(window.recent.capacity() >= ids.len() && window.frames.len() == ids.len() + 1);
        for id in &ids[1..] {
            window.take(*id);
        }
        window.shrink();
        assert!(window.recent.capacity() <= 4 * ANSWERED_COUNT_MAX, "{}", window.recent.capacity());
        window.take(ids[0]);
        window.shrink();
        assert_eq!((window.frames.len(), window.free_frames.capacity(), window.bytes()), (1, 0, 0));
        let id = push(&mut window, 1);
        assert_eq!(window.take_requests().map(|requests| requests.heads.len()), Some(1));
        assert!(window.take(id).is_some());
    }

    #[test]
    fn a_frame_whose_commands_were_given_up_before_it_left_is_not_kept() {
        let mut window = Window::new(0);
        let id = push(&mut window, 1);
        assert!(window.take(id).is_some());
        assert_eq!(window.take_requests().map(|requests| requests.heads.len()), Some(1));
        assert_eq!((window.bytes(), window.frames.len()), (0, 1));
    }
}
