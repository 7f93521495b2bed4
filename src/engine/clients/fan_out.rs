//! Commands that fan out over all groups: each group does its part, and their replies are merged into one.

use std::collections::HashMap;

use crate::origin::Origin;

/// How the parts make a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The sum of integers (DBSIZE).
    Sum,
    /// OK if all are (FLUSHALL).
    AllOk,
}

impl Merge {
    /// The whole of no parts.
    pub(crate) fn write_empty(self, reply: &mut resp::Reply<'_>) {
        match self {
            Merge::Sum => reply.integer(0),
            Merge::AllOk => reply.ok(),
        }
    }
}

struct FanOut {
    origin: Origin,
    merge: Merge,
    missing_count: usize,
    sum: i64,
    /// The first error of a part, as it stands in RESP, without `-` and the line's end.
    error: Option<String>,
}

/// The finished reply of a command that concerns every group.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MergedReply {
    Ok,
    Integer(i64),
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
    pub(super) fn begin(&mut self, origin: Origin, merge: Merge, count: usize) -> u64 {
        assert!(count > 0, "a command on no group has no part that could finish it");
        self.next += 1;
        self.open.insert(self.next, FanOut { origin, merge, missing_count: count, sum: 0, error: None });
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
            _ => {
                entry.error.get_or_insert_with(|| "ERR a group gave an answer of the wrong kind".to_owned());
            }
        }
        entry.missing_count -= 1;
        if entry.missing_count > 0 {
            return None;
        }
        let FanOut { origin, merge, sum, error, .. } = self.open.remove(&fan_out)?;
        let reply = match (error, merge) {
            (Some(error), _) => MergedReply::Error(error),
            (None, Merge::Sum) => MergedReply::Integer(sum),
            (None, Merge::AllOk) => MergedReply::Ok,
        };
        Some((origin, reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin::SubRequest { fan_out: 0, conn: host::ConnId { idx: 0, generation: 0 } };

    #[test]
    fn parts_add_up_and_one_error_spoils_the_whole() {
        let mut fan_outs = FanOuts::default();
        let sum = fan_outs.begin(ORIGIN, Merge::Sum, 3);
        let flush = fan_outs.begin(ORIGIN, Merge::AllOk, 2);
        assert_eq!(fan_outs.part(sum, b":2\r\n"), None);
        assert_eq!(fan_outs.part(flush, b"-CLUSTERDOWN no\r\n"), None);
        assert_eq!(fan_outs.part(sum, b":40\r\n"), None);
        let failed = MergedReply::Error("CLUSTERDOWN no".to_owned());
        assert_eq!(fan_outs.part(flush, b"+OK\r\n"), Some((ORIGIN, failed)));
        assert_eq!(fan_outs.part(sum, b":0\r\n"), Some((ORIGIN, MergedReply::Integer(42))));
        assert_eq!(fan_outs.part(sum, b":1\r\n"), None, "a late part of a finished whole");
    }
}
