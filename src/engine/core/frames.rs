//! Frames of other cores, and frames to them.

use resp::{ArgRange, Args, CommandId, Protocol};
use types::Slot;
use wire::{Frame, RequestHead};

use super::sink::out;
use super::{Core, CoreHost, MeshMessage};
use crate::groups::Arrival;
use crate::origin::{LinkId, Origin};
use crate::peers::PeerEvent;
use crate::refusal::Refusal;
use crate::replies::refuse;
use crate::request::Request;

impl<H: CoreHost> Core<H> {
    /// A frame of another core: Raft messages, commands for groups led here, and replies.
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
        let mut rest = &frame.replies.bytes[..];
        for head in &frame.replies.heads {
            let (bytes, behind) = rest.split_at(head.len as usize);
            rest = behind;
            self.router.on_reply(&mut self.ctx, out!(self), link, head.id, head.status, bytes);
        }
        for request in frame.chunk_requests {
            let effects = &mut self.storage_effects;
            self.storage.on_chunk_request(&mut self.ctx, link, request, effects);
        }
        for reply in frame.chunks {
            self.storage.on_chunk(&mut self.ctx, link, reply);
        }
        let mut ends = frame.requests.ends.iter();
        let mut start = 0;
        let mut ranges = std::mem::take(&mut self.ranges);
        for head in &frame.requests.heads {
            ranges.clear();
            ranges.push(ArgRange { start: 0, end: 0 });
            for end in ends.by_ref().take(head.arguments_count as usize) {
                ranges.push(ArgRange { start, end: *end });
                start = *end;
            }
            self.on_request(link, head, Args::new(&frame.requests.bytes, &ranges));
        }
        self.ranges = ranges;
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
        let must_wait = command.is_write() && self.storage.log_is_full_for(group);
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
                    self.storage.link_state(link, self.peers.addr_of(link), false);
                    if was_up {
                        self.groups.peer_lost(&self.ctx, self.peers.addr_of(link));
                    }
                    self.groups.forget_forwarded(link);
                    self.router.link_failed(link);
                }
                PeerEvent::AnswersLost(link) => {
                    self.router.link_failed(link);
                    self.router.set_takes_commands(link, self.peers.takes_commands(link));
                }
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
