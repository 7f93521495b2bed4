//! Frames out of the runs of bytes that a connection delivers.

use bytes::Bytes;
use types::limits::FRAME_BYTES_MAX;
use wire::{FRAME_HEADER_BYTES, Frame, FrameError, FrameHeader};

/// Puts frames together from the runs of bytes that a connection delivers.
#[derive(Default)]
pub(super) struct FrameAssembler {
    header_bytes: Vec<u8>,
    header: Option<FrameHeader>,
    body: Vec<u8>,
}

impl FrameAssembler {
    /// Takes bytes from the front of `bytes` and returns a frame once one is complete. Call it again until
    /// it returns `None`. The body is allocated once, as long as its checked header says.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
        if self.header_bytes.is_empty()
            && let Some(frame) = take_whole(bytes)?
        {
            return Ok(Some(frame));
        }
        let header = match self.header {
            Some(header) => header,
            None => {
                let missing = FRAME_HEADER_BYTES - self.header_bytes.len();
                take(bytes, missing, &mut self.header_bytes);
                let Some(header_bytes) = self.header_bytes.first_chunk() else { return Ok(None) };
                let header = FrameHeader::decode(header_bytes)?;
                assert!(header.body_len() <= FRAME_BYTES_MAX, "a decoded header is within the limit");
                self.body = Vec::with_capacity(header.body_len());
                *self.header.insert(header)
            }
        };
        take(bytes, header.body_len() - self.body.len(), &mut self.body);
        if self.body.len() < header.body_len() {
            return Ok(None);
        }
        self.header = None;
        self.header_bytes.clear();
        header.decode_body(Bytes::from(std::mem::take(&mut self.body))).map(Some)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.body.capacity()
    }
}

/// Takes a frame that has come as a whole from the front of `bytes`.
fn take_whole(bytes: &mut &[u8]) -> Result<Option<Frame>, FrameError> {
    let Some((header, rest)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else { return Ok(None) };
    let header = FrameHeader::decode(header)?;
    let Some((body, rest)) = rest.split_at_checked(header.body_len()) else { return Ok(None) };
    *bytes = rest;
    header.decode_copied(body).map(Some)
}

fn take(from: &mut &[u8], count: usize, to: &mut Vec<u8>) {
    let (taken, rest) = from.split_at(count.min(from.len()));
    to.extend_from_slice(taken);
    *from = rest;
}

#[cfg(test)]
mod tests {
    use wire::{LeaderNote, Verdict};

    use super::*;

    fn frame(group: u32) -> Vec<u8> {
        let note = LeaderNote { group: types::GroupId(group), term: 3, place: types::CoreAddr::default() };
        let mut frame = Frame { leaders: vec![note], ..Frame::default() };
        let mut parts = Vec::new();
        frame.encode(&mut parts);
        parts.concat()
    }

    #[test]
    fn frames_come_out_however_their_bytes_were_cut() {
        let bytes: Vec<u8> = (1..4).flat_map(frame).collect();
        for step in [1, 7, 23, 24, 25, bytes.len()] {
            let (mut assembler, mut groups) = (FrameAssembler::default(), Vec::new());
            for mut run in bytes.chunks(step) {
                while let Some(frame) = assembler.next(&mut run).unwrap() {
                    groups.extend(frame.leaders.iter().map(|note| note.group.0));
                }
            }
            assert_eq!((groups, assembler.bytes()), (vec![1, 2, 3], 0), "in steps of {step}");
        }
    }

    #[test]
    fn other_bytes_are_an_error() {
        let verdict = [Verdict::Accepted.encode(), Verdict::Accepted.encode(), Verdict::Accepted.encode()].concat();
        assert!(FrameAssembler::default().next(&mut &verdict[..]).is_err());
        let mut damaged = frame(1);
        damaged[30] ^= 1;
        assert!(FrameAssembler::default().next(&mut &damaged[..]).is_err());
    }
}
