//! What becomes of a row in a merge.

use crate::table::{Content, StoredRow};

/// What becomes of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep,
    /// It stays, though its time has come: it is the head of a collection, whose elements somebody else must delete.
    KeepExpired,
    /// It is gone, and a tombstone hides what may lie below.
    Delete,
    /// It goes, and nothing is in its place.
    Drop,
}

/// How a merge decides.
#[derive(Clone, Copy, Debug)]
pub struct RowPolicy {
    /// Replicated time of the durable flushed state, Unix time in ms. Never that of what is applied: a PERSIST behind
    /// the flushed index is replayed after a crash, and needs the row.
    pub time_ms: u64,
    /// Whether nothing older lies below.
    pub is_oldest: bool,
    /// Whether a head of this type has no elements.
    pub is_single_row: fn(u8) -> bool,
}

impl RowPolicy {
    /// What becomes of the newest of the rows of a key that are merged.
    pub fn fate(&self, row: &StoredRow<'_>) -> Fate {
        let put = match row.content {
            Content::Tombstone if self.is_oldest => return Fate::Drop,
            Content::Tombstone => return Fate::Keep,
            Content::Put(put) => put,
        };
        match (row.is_due(self.time_ms), (self.is_single_row)(put.value_type)) {
            (false, _) => Fate::Keep,
            (true, false) => Fate::KeepExpired,
            (true, true) if self.is_oldest => Fate::Drop,
            (true, true) => Fate::Delete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::{Put, Value};

    const COLLECTION: u8 = 1;

    fn fate(is_oldest: bool, key: &[u8], content: Content<'_>) -> Fate {
        let is_single_row = |value_type| value_type != COLLECTION;
        RowPolicy { time_ms: 100, is_oldest, is_single_row }.fate(&StoredRow { key, content })
    }

    #[test]
    fn tombstones_go_where_nothing_lies_below() {
        assert_eq!(fate(true, b"\0\0hk", Content::Tombstone), Fate::Drop);
        assert_eq!(fate(false, b"\0\0hk", Content::Tombstone), Fate::Keep);
    }

    #[test]
    fn single_rows_go_when_their_time_has_come_and_collections_are_told() {
        let put = |value_type, expiry_ms| Content::Put(Put { value_type, expiry_ms, value: Value::Inline(b"v") });
        for (key, value_type, expiry, is_oldest, expected) in [
            (b"\0\0hk", 0, None, true, Fate::Keep),
            (b"\0\0hk", 0, Some(101), true, Fate::Keep),
            (b"\0\0hk", 0, Some(100), true, Fate::Drop),
            (b"\0\0hk", 0, Some(100), false, Fate::Delete),
            (b"\0\0hk", COLLECTION, Some(99), true, Fate::KeepExpired),
            (b"\0\0ek", 0, Some(99), true, Fate::Keep),
        ] {
            assert_eq!(fate(is_oldest, key, put(value_type, expiry)), expected, "{key:?} {value_type} {expiry:?}");
        }
    }
}
