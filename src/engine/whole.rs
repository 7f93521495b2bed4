//! Commands that concern every group: each group does its part, and the parts make one reply.

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

struct Whole {
    origin: Origin,
    merge: Merge,
    parts_missing: usize,
    sum: i64,
    /// The first error of a part, as it stands in RESP, without `-` and the line's end.
    error: Option<String>,
}

/// The finished reply of a command that concerns every group.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WholeReply {
    Ok,
    Integer(i64),
    Error(String),
}

/// Commands under way that concern every group.
#[derive(Default)]
pub(crate) struct Wholes {
    next: u64,
    open: HashMap<u64, Whole>,
}

impl Wholes {
    /// Begins one of `parts_count` parts (at least one); the number identifies it in [`Origin::Part`].
    pub(crate) fn begin(&mut self, origin: Origin, merge: Merge, parts_count: usize) -> u64 {
        assert!(parts_count > 0, "a command on no group has no part that could finish it");
        self.next += 1;
        self.open.insert(self.next, Whole { origin, merge, parts_missing: parts_count, sum: 0, error: None });
        self.next
    }

    /// The client that waits for the whole.
    pub(crate) fn origin(&self, whole: u64) -> Option<Origin> {
        self.open.get(&whole).map(|entry| entry.origin)
    }

    /// Takes in the RESP2 reply of one part; returns the whole when it was the last.
    pub(crate) fn part(&mut self, whole: u64, reply: &[u8]) -> Option<(Origin, WholeReply)> {
        let entry = self.open.get_mut(&whole)?;
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
        entry.parts_missing -= 1;
        if entry.parts_missing > 0 {
            return None;
        }
        let Whole { origin, merge, sum, error, .. } = self.open.remove(&whole)?;
        let reply = match (error, merge) {
            (Some(error), _) => WholeReply::Error(error),
            (None, Merge::Sum) => WholeReply::Integer(sum),
            (None, Merge::AllOk) => WholeReply::Ok,
        };
        Some((origin, reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ORIGIN: Origin = Origin::Part { whole: 0 };

    #[test]
    fn parts_add_up_and_one_error_spoils_the_whole() {
        let mut wholes = Wholes::default();
        let sum = wholes.begin(ORIGIN, Merge::Sum, 3);
        let flush = wholes.begin(ORIGIN, Merge::AllOk, 2);
        assert_eq!(wholes.part(sum, b":2\r\n"), None);
        assert_eq!(wholes.part(flush, b"-CLUSTERDOWN no\r\n"), None);
        assert_eq!(wholes.part(sum, b":40\r\n"), None);
        let failed = WholeReply::Error("CLUSTERDOWN no".to_owned());
        assert_eq!(wholes.part(flush, b"+OK\r\n"), Some((ORIGIN, failed)));
        assert_eq!(wholes.part(sum, b":0\r\n"), Some((ORIGIN, WholeReply::Integer(42))));
        assert_eq!(wholes.part(sum, b":1\r\n"), None, "a late part of a finished whole");
    }
}
