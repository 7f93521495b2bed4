//! Moments in a replica's life at which a crash shows more than at another: what was just begun is half done.

use serde::{Deserialize, Serialize};

/// A kind of moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Moment {
    /// Entries are handed to the log that take the place of others.
    Truncation,
    /// A state was taken over from a snapshot.
    Restore,
    /// The beginning of the log was dropped.
    Compaction,
    /// A term or a vote is handed to the log.
    Vote,
    /// Entries are handed to the log.
    Append,
    /// Several are, which may not all find room in one block.
    LongAppend,
    /// It was elected.
    Election,
    /// It has begun, with nothing.
    Beginning,
    /// It was destroyed, and its tables are still there.
    Destruction,
    /// An edit of the manifest is on its way to the disk: what a flush, a merge or an install has made is about to count.
    Manifest,
}

/// All of them.
pub(super) const MOMENTS: [Moment; 10] = [
    Moment::Truncation,
    Moment::Restore,
    Moment::Compaction,
    Moment::Vote,
    Moment::Append,
    Moment::LongAppend,
    Moment::Election,
    Moment::Beginning,
    Moment::Destruction,
    Moment::Manifest,
];
