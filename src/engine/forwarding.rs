//! Commands on their way to the core that leads their group.

use std::collections::HashSet;
use std::time::Duration;

use resp::{Args, Command, Protocol};
use types::Slot;
use wire::{Body, EntryKind, Frame, ReplyStatus, RequestHead};

use crate::core::{Core, CoreHost};
use crate::execute::OVERLOADED;
use crate::forwards::Forward;
use crate::give_back::READ_LOST;
use crate::held::ArgStore;
use crate::origin::Origin;
use crate::writes::{OUTCOME_UNKNOWN, command_of};

/// How long a former leader that can still be heard may take to answer what was sent to it, once it is known who leads now.
/// It knows as well unless it is cut off from the others, and the commands that wait behind those answers must not wait
/// for that.
const FORMER_LEADER_WAIT: Duration = Duration::from_millis(250);

impl<H: CoreHost> Core<H> {
    /// Sends a client's command to the leader of its group, or keeps it until there is one.
    pub(crate) fn forward(
        &mut self,
        route: usize,
        origin: Origin,
        command: &'static Command,
        slot: Slot,
        args: Args<'_>,
    ) {
        let deadline = self.now + self.config.leader_wait;
        let args = ArgStore::of(args);
        self.lanes.park(Forward { origin, command, slot, route, args, deadline, sent_as: 0 });
        self.drain_lane(route);
    }

    /// Whether commands for a group must wait for older ones: for those taken in while it was led here, until they have
    /// been given back, or until it is known what has become of them.
    pub(crate) fn is_held_up(&self, idx: usize) -> bool {
        let group = &self.groups[idx];
        !group.leads() && group.has_commands()
    }

    /// Sends what waits for a group, in order, as far as its leader is known and reachable.
    pub(crate) fn drain_lane(&mut self, route: usize) {
        while self.lanes[route].has_parked() {
            let target = self.routes.get(route);
            if let Some(group) = target.local
                && self.groups[group].leads()
            {
                if self.lanes[route].under_way_count > 0 || self.is_full(group) {
                    return;
                }
                let Some(forward) = self.lanes.take_first(route) else { return };
                self.execute_here(group, forward.origin, forward.command, forward.slot, forward.args.only());
                continue;
            }
            if !target.is_known || target.local.is_some_and(|group| self.is_held_up(group)) {
                return;
            }
            let Some(link) = self.out.links.to(target.leader) else { return };
            let lane = &self.lanes[route];
            // What comes behind a refused command is refused as well: it goes again with the others, in order.
            let must_end = lane.link != Some(link) || lane.has_refused();
            if lane.under_way_count > 0 && must_end
                || !self.out.links.get(link).takes_commands()
                || self.out.links.is_congested(link)
            {
                return;
            }
            let Some(forward) = self.lanes.take_first(route) else { return };
            let lane = &mut self.lanes[route];
            let resumes = lane.under_way_count == 0;
            lane.link = Some(link);
            lane.under_way_count += 1;
            self.send_forward(link, forward, resumes);
        }
    }

    fn send_forward(&mut self, link: u32, mut forward: Forward, resumes: bool) {
        self.stats.commands_forwarded += 1;
        forward.deadline = self.now + self.config.leader_wait;
        let mut head = RequestHead {
            id: 0,
            group: self.routes.get(forward.route).id.0,
            arguments_count: 0,
            command: forward.command.id.as_u16(),
            slot: forward.slot.number(),
            resp3: forward.origin.protocol() == Protocol::Resp3,
            resumes,
        };
        // The number is known once the forward is filed, and its arguments are needed for the request: file first.
        head.id = self.forwards.insert(link, forward);
        if let Some(forward) = self.forwards.get(head.id) {
            self.out.links.request(link, head, forward.args.only().iter_from(1));
        }
    }

    /// A frame of another core: Raft messages, commands for groups led here, and replies.
    pub(crate) fn on_frame(&mut self, link: u32, frame: Frame) {
        self.stats.frames_received += 1;
        self.out.links.heard(link, self.now);
        for message in frame.messages {
            self.on_message(link, message);
        }
        for note in frame.leaders {
            if let Some(route) = self.routes.note(note) {
                self.drain_lane(route);
            }
        }
        let mut rest = &frame.replies.bytes[..];
        for head in &frame.replies.heads {
            let (bytes, behind) = rest.split_at(head.len as usize);
            rest = behind;
            self.on_forward_reply(link, head.id, head.status, bytes);
        }
        for request in frame.chunk_requests {
            self.on_chunk_request(link, request);
        }
        for reply in frame.chunks {
            self.on_chunk(link, reply);
        }
        if !frame.requests.is_empty() {
            self.on_requests(link, &frame.requests);
        }
    }

    fn on_message(&mut self, link: u32, message: wire::Message) {
        match self.routes.local_of(message.group) {
            // The leader sends it again, for as long as it takes; what is left of the log is for votes.
            Some(_) if !self.wal.has_room() && brings_commands(&message) => self.stats.appends_refused += 1,
            Some(idx) => {
                let (group, place) = (&mut self.groups[idx], self.out.links.get(link).place);
                // Whoever takes part by a configuration that has not come here yet must be answered too.
                group.places.entry(message.from).or_insert(place);
                group.raft.step(message, self.now);
                self.mark_dirty(idx);
            }
            None => self.stats.messages_misdirected += 1,
        }
    }

    fn on_requests(&mut self, link: u32, requests: &wire::Requests) {
        let mut ends = requests.ends.iter();
        let mut start = 0;
        let mut ranges = Vec::new();
        for head in &requests.heads {
            ranges.clear();
            ranges.push(resp::ArgRange { start: 0, end: 0 });
            for end in ends.by_ref().take(head.arguments_count as usize) {
                ranges.push(resp::ArgRange { start, end: *end });
                start = *end;
            }
            let args = Args::new(&requests.bytes, &ranges);
            let is_behind = !self.out.links.get(link).held_requests.is_empty();
            if !is_behind && !self.must_wait(link, head) {
                self.on_request(link, head, args);
            } else if self.out.links.get(link).held_bytes < self.config.limits.held_bytes_max {
                self.out.links.get_mut(link).hold(*head, ArgStore::of(args));
            } else {
                // The other side gives up on commands, and sends others, while this one is stalled. All go back, in order.
                while let Some((older, _)) = self.out.links.get_mut(link).take_held() {
                    self.refuse(link, &older);
                }
                self.refuse(link, head);
            }
        }
    }

    /// Whether a forwarded command, and so all behind it, has to wait: replies that the link cannot take now would only
    /// pile up, and so would commands of a group that cannot propose them yet.
    fn must_wait(&self, link: u32, head: &RequestHead) -> bool {
        self.out.links.is_congested(link) || self.routes.local_of(head.group()).is_some_and(|idx| self.is_full(idx))
    }

    /// Goes on with forwarded commands that waited, as far as they need not any more.
    pub(crate) fn resume_requests(&mut self) {
        for link in 0..self.out.links.count() {
            while let Some((head, _)) = self.out.links.get(link).held_requests.front()
                && !self.must_wait(link, head)
            {
                let Some((head, args)) = self.out.links.get_mut(link).take_held() else { break };
                self.on_request(link, &head, args.only());
            }
        }
    }

    fn on_request(&mut self, link: u32, head: &RequestHead, args: Args<'_>) {
        let protocol = if head.resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let origin = Origin::Core { link, id: head.id, protocol };
        let (Some(command), Some(slot)) = (command_of(head.command), Slot::new(head.slot)) else {
            return self.out.fail(origin, "ERR the leader runs a release that does not know this command");
        };
        if let Some(idx) = self.routes.local_of(head.group()) {
            let group = &mut self.groups[idx];
            if head.resumes {
                group.accept_again(link);
            }
            if group.leads() && !group.refuses(link) {
                return self.execute_here(idx, origin, command, slot, args);
            }
            // The older ones first.
            self.give_back(idx);
        }
        self.refuse(link, head);
    }

    /// Sends a forwarded command back, and whatever follows it for the same group.
    fn refuse(&mut self, link: u32, head: &RequestHead) {
        if let Some(idx) = self.routes.local_of(head.group()) {
            self.groups[idx].refuse(link);
        }
        self.out.links.reply(link, head.id, ReplyStatus::NotLeader, |_| {});
    }

    fn on_forward_reply(&mut self, link: u32, id: u64, status: ReplyStatus, bytes: &[u8]) {
        let Some(forward) = self.forwards.remove(link, id) else { return };
        let route = forward.route;
        self.lanes[route].under_way_count -= 1;
        match status {
            ReplyStatus::Done => {
                self.out.reply_raw(forward.origin, bytes);
            }
            ReplyStatus::NotLeader => {
                // It stands before all that came later. The old leader may have been asked in vain: wait for
                // news of the group, or for the next tick.
                self.stats.commands_parked += 1;
                self.lanes.put_back(forward);
            }
        }
        if self.lanes[route].under_way_count == 0 && status == ReplyStatus::Done {
            self.drain_lane(route);
        }
    }

    /// A link is gone, or the way back. What was sent over it may or may not have run.
    pub(crate) fn fail_forwards(&mut self, link: u32) {
        let failed = self.forwards.remove_link(link);
        self.fail_all(failed);
    }

    /// Nobody will answer these, which are all that were under way in their lanes, in order. Writes are not sent again.
    /// Reads are, but for those that a write of the same connection may have run behind.
    fn fail_all(&mut self, failed: Vec<Forward>) {
        let mut writers = HashSet::new();
        let mut lost = vec![false; failed.len()];
        for (forward, is_lost) in failed.iter().zip(&mut lost).rev() {
            let source = self.out.source(forward.origin).map(|source| (forward.route, source));
            if forward.command.is_write() {
                writers.extend(source);
            } else {
                *is_lost = source.is_some_and(|source| writers.contains(&source));
            }
        }
        for (forward, is_lost) in failed.into_iter().zip(lost) {
            self.lanes[forward.route].under_way_count -= 1;
            if forward.command.is_write() {
                self.stats.outcomes_unknown += 1;
                self.out.fail(forward.origin, OUTCOME_UNKNOWN);
            } else if is_lost {
                self.out.fail(forward.origin, READ_LOST);
            } else {
                self.lanes.put_back(forward);
            }
        }
    }

    /// Does the same with what a former leader has not answered in time, or will not answer as it is not heard any more. If
    /// it answers later, nobody listens.
    fn fail_deposed(&mut self, route: usize) {
        let silence_max = self.silence_max();
        let target = self.routes.get(route);
        let lane = &mut self.lanes[route];
        let is_deposed = lane.under_way_count > 0 && target.is_known && self.out.links.to(target.leader) != lane.link;
        if !is_deposed {
            lane.deposed_at = None;
            return;
        }
        let since = *lane.deposed_at.get_or_insert(self.now);
        let is_silent = lane.link.is_some_and(|link| self.out.links.get(link).is_silent(self.now, silence_max));
        if !is_silent && self.now.since(since) < FORMER_LEADER_WAIT {
            return;
        }
        let failed = self.forwards.remove_route(route);
        self.fail_all(failed);
    }

    /// Looks again for leaders, and gives up on commands that have waited too long.
    pub(crate) fn tick_forwards(&mut self) {
        for route in 0..self.lanes.len() {
            self.fail_deposed(route);
            if !self.lanes[route].has_parked() {
                continue;
            }
            self.drain_lane(route);
            for forward in self.lanes.take_late(route, self.now) {
                self.out.fail(forward.origin, resp::errors::CLUSTERDOWN);
            }
        }
        while let Some(forward) = self.forwards.remove_late(self.now) {
            self.lanes[forward.route].under_way_count -= 1;
            let message = if forward.command.is_write() { OUTCOME_UNKNOWN } else { OVERLOADED };
            self.stats.outcomes_unknown += u64::from(forward.command.is_write());
            self.out.fail(forward.origin, message);
        }
    }
}

/// Whether a message has entries with commands, which take room in the log and can wait.
fn brings_commands(message: &wire::Message) -> bool {
    match &message.body {
        Body::Append { entries, .. } => entries.iter().any(|entry| entry.kind == EntryKind::Batch),
        _ => false,
    }
}
