//! What is asked about keys that live for moments.

use bytes::Bytes;
use types::Instant;

use crate::clock::UNIX_START_MS;
use crate::history::{ExpiringCall, Life, Text};
use crate::prng::Prng;

/// Most names among which reads choose: older ones are hardly used any more.
const NAMES_COUNT_MAX: usize = 48;
/// Lives, in milliseconds: most end while somebody looks, some between two ticks, and some only after a leader's.
const LIVES_MS: [(u64, u64); 3] = [(1, 60), (20, 400), (300, 3_000)];
/// How far from now the times may be that are stated in full, in milliseconds. Some have passed.
const UNTIL_MS: (i64, i64) = (-200, 2_500);

/// Draws names, values and commands.
pub(super) struct Calls {
    pub(super) prng: Prng,
    /// Names of keys that are read, the latest last.
    names: Vec<Text>,
    number: u64,
}

impl Calls {
    pub(super) fn new(prng: Prng) -> Calls {
        Calls { prng, names: Vec::new(), number: 0 }
    }

    /// The name of a new key, which others read.
    pub(super) fn shown_name(&mut self) -> Text {
        let name = self.hidden_name();
        if self.names.len() >= NAMES_COUNT_MAX {
            self.names.remove(0);
        }
        self.names.push(name.clone());
        name
    }

    /// The name of a new key, which nobody reads.
    pub(super) fn hidden_name(&mut self) -> Text {
        self.number += 1;
        Bytes::from(format!("expiring{}", self.number))
    }

    /// A read of any key; `None` if there is none yet.
    pub(super) fn read(&mut self) -> Option<(Text, ExpiringCall)> {
        if self.names.is_empty() {
            return None;
        }
        let name = self.names[self.prng.below(self.names.len() as u64) as usize].clone();
        let call = match self.prng.below(10) {
            0 | 1 => ExpiringCall::PTtl,
            2 => ExpiringCall::Ttl,
            3 => ExpiringCall::Exists,
            4 => ExpiringCall::PExpireTime,
            _ => ExpiringCall::Get,
        };
        Some((name, call))
    }

    /// The only command on a key that is hidden.
    pub(super) fn hidden_write(&mut self) -> ExpiringCall {
        let ms = self.life_ms();
        ExpiringCall::Set(self.value(), Life::Millis(ms))
    }

    /// A write.
    pub(super) fn write(&mut self, now: Instant) -> ExpiringCall {
        match self.prng.below(20) {
            0..=8 => {
                let life = self.life(now);
                ExpiringCall::Set(self.value(), life)
            }
            9 => ExpiringCall::Set(self.value(), Life::Kept),
            10..=12 => {
                let life = self.life(now);
                ExpiringCall::GetEx(life)
            }
            13 => ExpiringCall::GetEx(Life::Kept),
            14 | 15 => ExpiringCall::Expire(self.life_ms()),
            16 => ExpiringCall::ExpireAt(self.until_ms(now)),
            17 | 18 => ExpiringCall::Persist,
            _ => ExpiringCall::Del,
        }
    }

    fn life(&mut self, now: Instant) -> Life {
        match self.prng.below(8) {
            0 => Life::Forever,
            1 => Life::Until(self.until_ms(now)),
            _ => Life::Millis(self.life_ms()),
        }
    }

    fn life_ms(&mut self) -> u64 {
        let (least, most) = self.prng.pick(&LIVES_MS);
        let ms = self.prng.range(least, most);
        // Whole seconds are asked for in seconds.
        if self.prng.below(10) == 0 { ms.next_multiple_of(1_000) } else { ms }
    }

    fn until_ms(&mut self, now: Instant) -> u64 {
        let off = self.prng.below((UNTIL_MS.1 - UNTIL_MS.0) as u64) as i64 + UNTIL_MS.0;
        (UNIX_START_MS + now.as_nanos() / 1_000_000).saturating_add_signed(off)
    }

    fn value(&mut self) -> Text {
        self.number += 1;
        Bytes::from(format!("e{}", self.number))
    }
}
