//! Commands that fan out over all groups: each group does its part, and their replies are merged into one.

use std::collections::HashMap;

use resp::reply::array_header_bytes;
use types::limits::REPLY_BYTES_MAX;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::budget::Permit;
use crate::origin::Origin;

/// How the parts make a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The sum of integers (DBSIZE).
    Sum,
    /// OK if all are (FLUSHALL).
    AllOk,
    /// All elements of arrays (KEYS).
    Concat,
    /// Of pairs of a number of keys and one of them, the key of one, the likelier the more keys it has (RANDOMKEY). The number seeds
    /// the choice.
    Pick(u64),
}

impl Merge {
    /// The whole of no parts.
    pub(crate) fn write_empty(self, reply: &mut resp::Reply<'_>) {
        match self {
            Merge::Sum => reply.integer(0),
            Merge::AllOk => reply.ok(),
            Merge::Concat => reply.array(0),
            Merge::Pick(_) => reply.null(),
        }
    }
}

struct FanOut {
    origin: Origin,
    merge: Merge,
    missing_count: usize,
    /// The sum of integers, the number of elements, or of keys.
    sum: i64,
    /// Elements of arrays or the key that was picked, as they stand in RESP.
    elements: Vec<u8>,
    /// For `elements`.
    permit: Permit,
    /// The first error of a part, as it stands in RESP, without `-` and the line's end.
    error: Option<String>,
}

/// The finished reply of a command that concerns every group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MergedReply {
    Ok,
    Integer(i64),
    /// So many elements, as they stand in RESP.
    Array(usize, Vec<u8>),
    /// A bulk string, as it stands in RESP, or nothing.
    Bulk(Option<Vec<u8>>),
    Error(String),
}

/// Commands under way that concern every group.
#[derive(Default)]
pub(super) struct FanOuts {
    next: u64,
    open: HashMap<u64, FanOut>,
}

impl FanOuts {
    /// Begins one of `count` parts (at least one); the number identifies it in [`Origin::SubRequest`].
    pub(super) fn begin(&mut self, origin: Origin, merge: Merge, count: usize, permit: Permit) -> u64 {
        assert!(count > 0, "a command on no group has no part that could finish it");
        self.next += 1;
        let elements = Vec::new();
        let begun = FanOut { origin, merge, missing_count: count, sum: 0, elements, permit, error: None };
        self.open.insert(self.next, begun);
        self.next
    }

    /// Takes in the RESP2 reply of one part; returns the whole when it was the last.
    pub(super) fn part(&mut self, fan_out: u64, reply: &[u8]) -> Option<(Origin, MergedReply)> {
        let entry = self.open.get_mut(&fan_out)?;
        let line = reply.strip_suffix(b"\r\n").unwrap_or(reply);
        match (entry.merge, line.split_first()) {
            (Merge::Sum, Some((b':', digits))) => {
                entry.sum = entry.sum.saturating_add(resp::number::parse_i64(digits).unwrap_or(0));
            }
            (Merge::AllOk, Some((b'+', _))) => {}
            (_, Some((b'-', text))) => {
                entry.error.get_or_insert_with(|| String::from_utf8_lossy(text).into_owned());
            }
            (Merge::Concat, Some((b'*', _))) => entry.concat(reply),
            (Merge::Pick(seed), Some((b'*', _))) => entry.pick(seed, reply),
            _ => entry.is_malformed(),
        }
        entry.missing_count -= 1;
        if entry.missing_count > 0 {
            return None;
        }
        let FanOut { origin, merge, sum, error, elements, .. } = self.open.remove(&fan_out)?;
        let reply = match (error, merge) {
            (Some(error), _) => MergedReply::Error(error),
            (None, Merge::Sum) => MergedReply::Integer(sum),
            (None, Merge::AllOk) => MergedReply::Ok,
            (None, Merge::Concat) => MergedReply::Array(sum as usize, elements),
            (None, Merge::Pick(_)) => MergedReply::Bulk((sum > 0).then_some(elements)),
        };
        Some((origin, reply))
    }
}

impl FanOut {
    /// Adds the elements of an array.
    fn concat(&mut self, reply: &[u8]) {
        let Some((count, elements)) = split_line(reply, b'*') else { return self.is_malformed() };
        if self.error.is_some() {
            return;
        }
        if self.elements.len() + elements.len() + array_header_bytes(usize::MAX) > REPLY_BYTES_MAX {
            self.error = Some(data::Error::ReplyTooLong.message().to_owned());
            self.elements = Vec::new();
        } else {
            self.sum += count;
            self.elements.extend_from_slice(elements);
        }
        self.permit.set(self.elements.capacity());
    }

    /// Takes a key with the probability that its part has of all keys seen so far, so that in the end each is as likely as another.
    fn pick(&mut self, seed: u64, reply: &[u8]) {
        let parts = split_line(reply, b'*').and_then(|(_, rest)| split_line(rest, b':'));
        let Some((count, key)) = parts.filter(|(count, _)| *count >= 0) else { return self.is_malformed() };
        self.sum = self.sum.saturating_add(count);
        if count > 0 && (xxh3_64_with_seed(key, seed) % self.sum as u64) < count as u64 {
            self.elements = key.to_vec();
            self.permit.set(self.elements.capacity());
        }
    }

    fn is_malformed(&mut self) {
        self.error.get_or_insert_with(|| "ERR a group gave an answer of the wrong kind".to_owned());
    }
}

/// The number in the first line of RESP behind this mark, and what follows.
fn split_line(resp: &[u8], mark: u8) -> Option<(i64, &[u8])> {
    let end = resp.windows(2).position(|pair| pair == b"\r\n")?;
    let digits = resp[..end].strip_prefix(&[mark])?;
    Some((resp::number::parse_i64(digits)?, &resp[end + 2..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::{Budget, Pool};

    const ORIGIN: Origin = Origin::SubRequest { fan_out: 0, conn: host::ConnId { idx: 0, generation: 0 } };

    #[test]
    fn parts_add_up_and_one_error_spoils_the_whole() {
        let mut fan_outs = FanOuts::default();
        let budget = Budget::new(1 << 30);
        let sum = fan_outs.begin(ORIGIN, Merge::Sum, 3, budget.permit(Pool::ClientOutput));
        let flush = fan_outs.begin(ORIGIN, Merge::AllOk, 2, budget.permit(Pool::ClientOutput));
        assert_eq!(fan_outs.part(sum, b":2\r\n"), None);
        assert_eq!(fan_outs.part(flush, b"-CLUSTERDOWN no\r\n"), None);
        assert_eq!(fan_outs.part(sum, b":40\r\n"), None);
        let failed = MergedReply::Error("CLUSTERDOWN no".to_owned());
        assert_eq!(fan_outs.part(flush, b"+OK\r\n"), Some((ORIGIN, failed)));
        assert_eq!(fan_outs.part(sum, b":0\r\n"), Some((ORIGIN, MergedReply::Integer(42))));
        assert_eq!(fan_outs.part(sum, b":1\r\n"), None, "a late part of a finished whole");
    }

    #[test]
    fn arrays_are_put_together_and_counted_until_they_are() {
        let mut fan_outs = FanOuts::default();
        let budget = Budget::new(1 << 30);
        let keys = fan_outs.begin(ORIGIN, Merge::Concat, 3, budget.permit(Pool::ClientOutput));
        assert_eq!(fan_outs.part(keys, b"*2\r\n$1\r\na\r\n$1\r\nb\r\n"), None);
        assert!(budget.used_by(Pool::ClientOutput) >= 14);
        assert_eq!(fan_outs.part(keys, b"*0\r\n"), None);
        let merged = MergedReply::Array(3, b"$1\r\na\r\n$1\r\nb\r\n$0\r\n\r\n".to_vec());
        assert_eq!(fan_outs.part(keys, b"*1\r\n$0\r\n\r\n"), Some((ORIGIN, merged)));
        assert_eq!(budget.used_by(Pool::ClientOutput), 0);
    }

    #[test]
    fn arrays_that_are_too_long_together_are_an_error() {
        let mut fan_outs = FanOuts::default();
        let budget = Budget::new(1 << 30);
        let keys = fan_outs.begin(ORIGIN, Merge::Concat, 3, budget.permit(Pool::ClientOutput));
        let half = [&b"*1\r\n"[..], &vec![b'x'; REPLY_BYTES_MAX / 2]].concat();
        assert_eq!(fan_outs.part(keys, &half), None);
        assert_eq!(fan_outs.part(keys, &half), None);
        assert_eq!(budget.used_by(Pool::ClientOutput), 0);
        let failed = MergedReply::Error(data::Error::ReplyTooLong.message().to_owned());
        assert_eq!(fan_outs.part(keys, b"*0\r\n"), Some((ORIGIN, failed)));
    }

    #[test]
    fn each_key_is_picked_about_as_often_as_another() {
        let mut fan_outs = FanOuts::default();
        let budget = Budget::new(1 << 30);
        let mut picked = [0; 3];
        for seed in 0..3_000 {
            let pick = fan_outs.begin(ORIGIN, Merge::Pick(seed), 4, budget.permit(Pool::ClientOutput));
            assert_eq!(fan_outs.part(pick, b"*2\r\n:1\r\n$1\r\n0\r\n"), None);
            assert_eq!(fan_outs.part(pick, b"*2\r\n:0\r\n$-1\r\n"), None);
            assert_eq!(fan_outs.part(pick, b"*2\r\n:4\r\n$1\r\n1\r\n"), None);
            let Some((_, MergedReply::Bulk(Some(key)))) = fan_outs.part(pick, b"*2\r\n:5\r\n$1\r\n2\r\n") else {
                panic!("there are keys");
            };
            picked[usize::from(key[4] - b'0')] += 1;
        }
        let expected = [300, 1_200, 1_500];
        assert!(picked.iter().zip(expected).all(|(count, expected)| i32::abs(count - expected) < 150), "{picked:?}");
        let none = fan_outs.begin(ORIGIN, Merge::Pick(7), 1, budget.permit(Pool::ClientOutput));
        assert_eq!(fan_outs.part(none, b"*2\r\n:0\r\n$-1\r\n"), Some((ORIGIN, MergedReply::Bulk(None))));
    }
}
