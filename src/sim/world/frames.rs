//! Frames between nodes: what the checkers see of them, and what faults do to them.

use bytes::Bytes;
use host::SendBuf;
use resp::CommandId;
use types::Instant;
use wire::{Body, Frame, Message, RequestHead};

use super::World;
use crate::net::corruption::{KEPT_BACK_COUNT_MAX, corrupt, decode};
use crate::net::{Owner, StreamId};
use crate::observation::{Observation, ObservationKind};
use crate::queue::Event;

impl World {
    /// Sends a whole frame to a peer, as far as the way leaves it whole, and with it what was kept back long enough.
    pub(super) fn send_frame(&mut self, id: StreamId, bytes: Bytes, buf: SendBuf) -> Option<SendBuf> {
        let now = self.queue.now();
        let Some(stream) = self.net.stream(id) else { return Some(buf) };
        let (from, to) = (stream.sides[0].host, stream.sides[1].host);
        if let Owner::Core { core, .. } = stream.sides[0].owner
            && let Some(frame) = decode(&bytes)
        {
            self.reset_behind_flush(id, &frame);
            self.note_promises(core, frame);
        }
        while let Some(stream) = self.net.stream(id)
            && stream.sides[0].kept_back.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, late)) = stream.sides[0].kept_back.pop_front()
        {
            self.net.push_bytes(id, 0, late, &mut self.queue);
        }
        let way = *self.net.way(from, to);
        let Some(done) = corrupt(&bytes, &way, &mut self.net.prng, now) else {
            return self.net.send(id, 0, bytes, buf, &mut self.queue);
        };
        for (name, count) in [
            ("a message was lost", done.lost),
            ("a message was repeated", done.repeated),
            ("a message was overtaken", done.reordered),
            ("a message was forged", done.altered),
        ] {
            *self.counts.entry(name).or_default() += count;
        }
        if let Some(stream) = self.net.stream(id) {
            let kept_back = &mut stream.sides[0].kept_back;
            kept_back.extend(done.later);
            kept_back.make_contiguous().sort_by_key(|(at, _)| *at);
            kept_back.truncate(KEPT_BACK_COUNT_MAX);
        }
        match done.now {
            Some(bytes) => self.net.send(id, 0, bytes, buf, &mut self.queue),
            None => Some(buf),
        }
    }

    /// Resets the stream soon if that is ordered and the frame forwards a `FLUSHALL`.
    fn reset_behind_flush(&mut self, id: StreamId, frame: &Frame) {
        let now = self.queue.now();
        let Some(resets) = self.flush_resets.filter(|resets| resets.until > now) else { return };
        let is_flush = |head: &RequestHead| CommandId::from_u16(head.command) == Some(CommandId::FlushAll);
        if !frame.requests.heads.iter().any(is_flush) {
            return;
        }
        let at = now + self.net.prng.range(1, resets.within);
        for side in [0, 1] {
            self.queue.push(at, Event::Reset { stream: id.idx, generation: id.generation, side });
        }
        self.count("a connection was reset behind a FLUSHALL");
    }

    /// Notes what a frame says of its sender's disk.
    fn note_promises(&mut self, core: usize, frame: Frame) {
        let (at, place) = (Instant::from_nanos(self.queue.now()), self.cores[core].place);
        for message in frame.messages {
            let Message { group, from: replica, to, term, body } = message;
            let kind = match body {
                Body::AppendAccepted { match_index } => ObservationKind::Accepted { term, index: match_index },
                Body::VoteReply { pre: false, granted: true } => ObservationKind::Voted { term, candidate: to },
                _ => continue,
            };
            self.promises.push(Observation { at, place, group, replica, kind });
        }
    }
}
