//! Payloads of `RESTORE`: sound ones of every encoding, and others.

use crc_fast::{CrcAlgorithm, Digest};

use crate::random::Random;

/// Of the string `a`, as Redis 7.0 dumps it.
pub(crate) const OF_A: &[u8] = b"\x00\x01a\x0a\x00\xbf\xfe\xef\x9b\x8f\x36\x7d\xb4";
/// The same, as Redis 8.0 dumps it.
pub(crate) const OF_A_BY_REDIS_8: &[u8] = b"\x00\x01a\x0c\x00\x74\x88\xdb\x5b\x75\x1c\xe3\xfd";
/// Of a set with the member `a`.
pub(crate) const OF_A_SET: &[u8] = b"\x02\x01\x01a\x0a\x00\x62\x96\xe9\x7e\x44\xd2\x1a\x6d";

/// Of this body: with version and checksum.
fn sealed(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &[10, 0]].concat();
    let mut digest = Digest::new(CrcAlgorithm::Crc64Redis);
    digest.update(&payload);
    payload.extend_from_slice(&digest.finalize().to_le_bytes());
    payload
}

impl Random {
    /// A payload, and whether it is one.
    pub(crate) fn payload(&mut self) -> (Vec<u8>, bool) {
        let mut payload = self.sound_payload();
        match self.below(10) {
            0 => {
                let at = self.below(payload.len());
                payload[at] ^= 1 << self.below(8);
                (payload, false)
            }
            1 => {
                payload.truncate(self.below(payload.len()));
                (payload, false)
            }
            2 => (sealed(self.broken_body()), false),
            _ => (payload, true),
        }
    }

    fn sound_payload(&mut self) -> Vec<u8> {
        let value = self.value();
        let [.., high, low] = (value.len() as u32).to_be_bytes();
        let number = self.next().to_le_bytes();
        let head: Vec<u8> = match self.below(8) {
            0 => return sealed(&[0, 0xc0, number[0]]),
            1 => return sealed(&[&[0, 0xc1], &number[..2]].concat()),
            2 => return sealed(&[&[0, 0xc2], &number[..4]].concat()),
            3 => return sealed(&self.compressed_body()),
            4 => vec![0, 0x80, 0, 0, high, low],
            5 => vec![0, 0x81, 0, 0, 0, 0, 0, 0, high, low],
            6 if value.len() < 64 => vec![0, low],
            _ => vec![0, 0x40 | high, low],
        };
        sealed(&[head, value].concat())
    }

    /// Two bytes, and what they are repeated to.
    fn compressed_body(&mut self) -> Vec<u8> {
        let again = self.below(256);
        let [.., high, low] = (2 + 9 + again as u32).to_be_bytes();
        vec![0, 0xc3, 6, 0x40 | high, low, 1, b'a', self.below(256) as u8, 0xe0, again as u8, self.below(2) as u8]
    }

    /// No string, whatever its checksum.
    fn broken_body(&mut self) -> &'static [u8] {
        let bodies: [&[u8]; 12] = [
            b"",
            b"\x00",
            b"\x00\x3fa",
            b"\x00\x40",
            b"\x00\x80\x00\x00\xff\xffa",
            b"\x00\x81\x00\x00\x00\x00\x00\x00\xff\xffa",
            b"\x00\xc4a",
            b"\x00\xc3\x02\x03\x20\x00",
            b"\x00\xc3\x02\x02\x00a",
            b"\x00\xc3\x04\x03\x00a\x20\x00",
            b"\x08\x01a",
            b"\xff\x01a",
        ];
        bodies[self.below(bodies.len())]
    }
}
