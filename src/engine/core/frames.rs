//! Frames of other cores, and frames to them.
//!
//! A frame may bring very many commands and replies: these wait for their turn, and a turn takes in so many of them. Messages
//! of Raft, notes and chunks are few and taken in at once; no group loses its leader because commands are many.

use lsm::PREFETCH_KEYS_COUNT;
use resp::{Args, CommandId, Protocol};
use types::Slot;
use wire::{Frame, RequestHead};

use super::share::Share;
use super::sink::out;
use super::{Core, CoreHost, MeshMessage};
use crate::groups::Arrival;
use crate::origin::{LinkId, Origin};
use crate::peers::{PeerEvent, Received, ReceivedReplies, ReceivedRequests};
use crate::refusal::Refusal;
use crate::replies::refuse;
use crate::request::Request;
use crate::shares::Kind;

impl<H: CoreHost> Core<H> {
    /// A frame of another core: Raft messages, which are taken in, and commands for groups led here and replies, which wait.
    pub(super) fn on_frame(&mut self, link: LinkId, frame: Frame) {
        let from = self.peers.addr_of(link);
        for message in frame.messages {
            match self.router.local_of(message.group) {
                Some(group) => self.groups.step(&mut self.ctx, group, from, message),
                None => self.ctx.counters.messages_misdirected += 1,
            }
        }
        for note in frame.leaders {
            self.router.learn_leader(&mut self.ctx, note);
        }
        for request in frame.chunk_requests {
            let effects = &mut self.storage_effects;
            self.storage.on_chunk_request(&mut self.ctx, link, request, effects);
        }
        for reply in frame.chunks {
            self.storage.on_chunk(&mut self.ctx, link, reply);
        }
        for note in frame.comparisons {
            if let Some(group) = self.router.local_of(note.group) {
                self.groups.keep_comparison_note(group, from, note);
            }
        }
        for note in frame.replica_notes {
            self.on_replica_note(link, note);
        }
        if let Some(report) = frame.report {
            self.on_report_of(link, report);
        }
        if let Some(healths) = frame.healths {
            self.take_healths(healths);
        }
        self.on_map_note(link, frame.map);
        if !frame.changes.is_empty() {
            let _ = self.propose_changes(&frame.changes);
        }
        self.peers.keep_input(link, frame.replies, frame.requests);
    }

    /// Takes in commands and replies that came in frames, as many as a turn may. Links take turns, so that none holds up
    /// another.
    pub(super) fn take_in_frames(&mut self) {
        if !self.peers.has_input() {
            return;
        }
        // A lease is judged by a clock read after the request was received.
        self.ctx.now = self.host.now();
        let limits = self.ctx.config.limits;
        let commands = self.ctx.shares.left(Kind::OfFrames);
        let mut share = Share::of_turn(commands);
        while !share.is_spent() || self.peers.has_too_much_input() {
            let Some(link) = self.peers.next_input() else { break };
            let is_beyond = share.is_spent();
            let mut slice = if is_beyond { Share::of_slice(&limits) } else { share.lend(Share::of_slice(&limits)) };
            self.take_in_link(link, &mut slice);
            self.peers.end_input(link);
            if !is_beyond {
                share.return_rest(slice);
            }
        }
        self.ctx.shares.spend(Kind::OfFrames, commands - share.commands());
    }

    fn take_in_link(&mut self, link: LinkId, slice: &mut Share) {
        while !slice.is_spent()
            && let Some(mut received) = self.peers.pop_input(link)
        {
            match &mut received {
                Received::Replies(replies) => self.take_replies(link, replies, slice),
                Received::Requests(requests) => self.take_requests(link, requests, slice),
            }
            if !received.is_done() {
                self.peers.restore_input(link, received);
            } else if self.peers.is_input_done(link) {
                self.fail_link(link);
            }
        }
    }

    fn take_replies(&mut self, link: LinkId, replies: &mut ReceivedReplies, slice: &mut Share) {
        while !slice.is_spent()
            && let Some((head, bytes)) = replies.next()
        {
            slice.spend(1, bytes.len());
            self.router.on_reply(&mut self.ctx, out!(self), link, head.id, head.status, bytes);
        }
    }

    fn take_requests(&mut self, link: LinkId, requests: &mut ReceivedRequests, slice: &mut Share) {
        let mut ranges = std::mem::take(&mut self.ranges);
        let mut looked_at = 0;
        while !slice.is_spent() {
            if looked_at == 0 {
                self.look_ahead_in_frame(requests);
                looked_at = PREFETCH_KEYS_COUNT;
            }
            looked_at -= 1;
            let Some((head, args)) = requests.next(&mut ranges) else { break };
            slice.spend(1, args.iter_from(1).map(<[u8]>::len).sum());
            self.on_request(link, &head, args);
        }
        self.ranges = ranges;
    }

    /// A link has failed, or the way back. The replies that have come still count: what was sent is given up behind them.
    /// Whoever has sent the commands that have come gives up on them, or has done so.
    pub(super) fn end_link(&mut self, link: LinkId) {
        if self.peers.end_connection_input(link) {
            self.router.link_fails(link);
        } else {
            self.fail_link(link);
        }
    }

    fn fail_link(&mut self, link: LinkId) {
        self.router.link_failed(link);
        // It may be up again.
        self.router.set_takes_commands(link, self.peers.takes_commands(link));
    }

    /// A command that another core has forwarded.
    pub(super) fn on_request(&mut self, link: LinkId, head: &RequestHead, args: Args<'_>) {
        let protocol = if head.resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let origin = Origin::Peer { link, id: head.id, protocol };
        let command = CommandId::from_u16(head.command).map(resp::table::by_id);
        let (Some(command), Some(slot)) = (command, Slot::new(head.slot)) else {
            return refuse(&mut self.ctx, out!(self), origin, Refusal::UnknownCommand, None);
        };
        let Some(group) = self.router.local_of(head.group()) else { return self.peers.send_back(link, head.id) };
        let must_wait = command.is_write() && self.storage.writers_wait(group);
        if must_wait {
            self.note_slowed(group);
        }
        let request = Request { origin, command, slot, args };
        let arrival = Arrival { group, resumes: head.resumes, must_wait };
        let effects = &mut self.group_effects;
        self.groups.take_forwarded(&mut self.ctx, out!(self), effects, arrival, request);
        if !self.group_effects.is_empty() {
            self.carry_routing_effects();
        }
    }

    /// Carries what has happened to the links.
    pub(super) fn carry_peer_events(&mut self) {
        if !self.peers.has_events() {
            return;
        }
        for event in self.peers.take_events() {
            match event {
                PeerEvent::Up(link) => {
                    let led: Vec<_> = self.groups.led(self.ctx.addr()).collect();
                    self.peers.send_leaders(link, led.into_iter());
                    self.storage.link_state(link, self.peers.addr_of(link), true);
                    self.groups.peer_found(&self.ctx, self.peers.addr_of(link));
                }
                PeerEvent::HeardAgain(link) => self.groups.peer_found(&self.ctx, self.peers.addr_of(link)),
                PeerEvent::Down { link, was_up } => {
                    self.end_link(link);
                    self.storage.link_state(link, self.peers.addr_of(link), false);
                    if was_up {
                        self.groups.peer_lost(&self.ctx, self.peers.addr_of(link));
                    }
                    self.groups.forget_forwarded(link);
                }
                PeerEvent::AnswersLost(link) => self.end_link(link),
                PeerEvent::Changed(link) => {
                    self.router.set_takes_commands(link, self.peers.takes_commands(link));
                }
            }
        }
    }

    /// Sends what the turn has produced: one frame per link, one send per client.
    pub(super) fn flush(&mut self) {
        let (host, router) = (&self.host, &mut self.router);
        let requests = |link| router.take_requests(link);
        self.peers.flush(&mut self.ctx, host, requests, |to, frame| {
            host.mesh_send(to.core, MeshMessage::Frame(frame)).map_err(|refused| match refused {
                MeshMessage::Frame(frame) => frame,
                _ => panic!("the mesh handed back another message than it was given"),
            })
        });
        self.clients.flush(&mut self.ctx, host);
    }
}
