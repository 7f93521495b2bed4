//! Loss, repetition and reordering of messages between peers.
//!
//! A stream itself never does that, but Raft's messages must bear it: connections end and begin anew, and what is lost with
//! one may have been sent again over the next. So frames are taken apart here, and their Raft messages are lost,
//! repeated or kept back. Forwarded commands, their answers and news of leaders stay as they are: they rest on the order
//! and the end of the stream.

use bytes::Bytes;
use wire::{Body, FRAME_HEADER_BYTES, Frame, FrameHeader};

use super::way::Way;
use crate::prng::{Ppm, Prng};

/// How long a message may be kept back, in nanoseconds: most, and some, which others than its receiver may be leading by then, or
/// it again.
const KEPT_BACK_MAX: u64 = 400_000_000;
const KEPT_BACK_LONG_MAX: u64 = 3_000_000_000;
/// How likely one is kept back for long.
const KEPT_BACK_LONG_PPM: Ppm = 200_000;
/// Most frames kept back per stream.
pub(crate) const KEPT_BACK_COUNT_MAX: usize = 64;

/// What became of a frame.
#[derive(Default)]
pub(crate) struct Corrupted {
    /// What is sent in its place; nothing if it has nothing left to say.
    pub(crate) now: Option<Bytes>,
    /// What is sent later, and when.
    pub(crate) later: Vec<(u64, Bytes)>,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) reordered: u64,
    pub(crate) altered: u64,
}

/// Does to a frame what the way does to frames. `None`: it passes as it is.
pub(crate) fn corrupt(bytes: &Bytes, way: &Way, prng: &mut Prng, now: u64) -> Option<Corrupted> {
    if way.drop == 0 && way.repeat == 0 && way.reorder == 0 && way.alter == 0 {
        return None;
    }
    let mut frame = decode(bytes)?;
    let mut done = Corrupted::default();
    let (mut kept, mut delayed) = (Vec::new(), Vec::new());
    for mut message in frame.messages.drain(..) {
        if prng.bernoulli(way.drop) {
            done.lost += 1;
            continue;
        }
        if prng.bernoulli(way.alter) && alter(&mut message.body) {
            done.altered += 1;
        }
        if prng.bernoulli(way.repeat) {
            done.repeated += 1;
            delayed.push(message.clone());
        }
        if prng.bernoulli(way.reorder) {
            done.reordered += 1;
            delayed.push(message);
        } else {
            kept.push(message);
        }
    }
    if done.lost + done.repeated + done.reordered + done.altered == 0 {
        return None;
    }
    frame.messages = kept;
    if !frame.is_empty() {
        done.now = Some(encode(frame));
    }
    for message in delayed {
        let most = if prng.bernoulli(KEPT_BACK_LONG_PPM) { KEPT_BACK_LONG_MAX } else { KEPT_BACK_MAX };
        let at = now + prng.below(most);
        done.later.push((at, encode(Frame { messages: vec![message], ..Frame::default() })));
    }
    Some(done)
}

/// Reads a frame, if these bytes are a whole one.
pub(crate) fn decode(bytes: &Bytes) -> Option<Frame> {
    let header = FrameHeader::decode(bytes.first_chunk::<FRAME_HEADER_BYTES>()?).ok()?;
    if bytes.len() != FRAME_HEADER_BYTES + header.body_len() {
        return None;
    }
    header.decode_body(bytes.slice(FRAME_HEADER_BYTES..)).ok()
}

fn encode(mut frame: Frame) -> Bytes {
    let mut parts = Vec::new();
    frame.encode(&mut parts);
    parts.concat().into()
}

/// Makes a message say what its sender has not said. `false` if it says nothing worth changing.
fn alter(body: &mut Body) -> bool {
    match body {
        Body::Append { entries, .. } => {
            let Some(entry) = entries.iter_mut().find(|entry| entry.payload.len() > 8) else { return false };
            // The beginning of a batch holds its commands' arguments.
            let mut payload = entry.payload.to_vec();
            payload[0] ^= 1;
            entry.payload = payload.into();
            true
        }
        Body::AppendAccepted { match_index } => {
            *match_index += 1;
            true
        }
        _ => false,
    }
}
