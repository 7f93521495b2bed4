//! What recovery reports.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use types::{GroupId, Index, ReplicaId, Term};
use wire::HardState;

/// What [`crate::Wal::open`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// The groups of which the log holds a replica, and those of [`crate::Config::groups`] of which it may have lost everything.
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    /// The groups of which no replica lives here any more, each with the greatest id of those that were destroyed: neither it
    /// nor one before it ever begins here. One of which another replica may have begun since, in blocks that are lost, stands
    /// in `groups` instead, quarantined.
    pub destroyed: BTreeMap<GroupId, ReplicaId>,
    /// Acknowledged blocks are missing or changed: what the first of them is, and where. Which groups that concerns, their
    /// [`Condition`] says; the others are complete. Told at each start as long as the log holds the place.
    pub damage: Option<Damage>,
    /// A block that was being written when the process ended, never acknowledged, was dropped.
    pub torn_tail: bool,
    /// Sound blocks read.
    pub blocks_count: u64,
    /// Records in them.
    pub records_count: u64,
    /// Segments found, prepared ones included.
    pub segments_count: u64,
    /// Files beside them that the log does not need, by name.
    pub set_aside: Vec<SetAside>,
}

/// A file that the log has set aside, since the disk could not read it everywhere or because it may help to find out what
/// was damaged. The log never reads it again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Its name, in the folder of the log.
    pub name: String,
    /// Its length.
    pub bytes: u64,
}

/// What the log holds of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The replica of the group that lives here.
    ///
    /// Of a sound group it is that. Of a quarantined one it is the greatest id that the log still tells of, and a lower bound:
    /// the record of a later beginning may be in the blocks that are lost, as may that of its destruction. It is 0 if no record
    /// is left that tells of any. Where the log names the group again behind what is lost, as each segment does that it opens,
    /// and no fault was found before that, the id is right again.
    pub replica: ReplicaId,
    /// Term, vote, and the hint of what is committed.
    pub hard_state: HardState,
    /// The log starts behind this index: it and all before it were compacted away. 0: nothing was.
    pub start_index: Index,
    /// Term of the entry at `start_index`; 0 if that is 0.
    pub start_term: Term,
    /// The last entry; equals `start_index` if there are none.
    pub last_index: Index,
    /// Where terms begin: (first index, term), ascending, for the entries behind `start_index`.
    pub terms: Vec<(Index, Term)>,
    /// The entries behind `start_index` that change the membership: index and payload, ascending.
    pub memberships: Vec<(Index, Bytes)>,
    /// Whether all that can be trusted.
    pub condition: Condition,
}

impl RecoveredGroup {
    /// Index of the first entry in the log; 0 if there are none.
    pub fn first_index(&self) -> Index {
        if self.last_index > self.start_index { self.start_index + 1 } else { 0 }
    }
}

/// Whether a group can go on with what its log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Everything acknowledged is there.
    Sound,
    /// The group must not vote, acknowledge or lead with this log.
    Quarantined(Fault),
}

/// Why one group is quarantined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Blocks are lost here, and nothing proves that the group had no records in them.
    BlocksLost {
        /// Segment of the first of them.
        segment: u64,
        /// Its offset in bytes.
        offset: u64,
    },
    /// The commit index lies beyond the last entry: entries that were there are gone.
    CommitBeyondLog {
        /// The commit index.
        commit: Index,
        /// The last entry.
        last_index: Index,
    },
    /// Entries lay in a segment that is gone.
    EntriesMissing {
        /// The first of them.
        first: Index,
        /// The last of them.
        last: Index,
    },
    /// A record contradicts those before it.
    Contradiction {
        /// Segment of the record.
        segment: u64,
        /// Its offset in bytes.
        offset: u64,
        /// How.
        what: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::BlocksLost { segment, offset } => {
                write!(
                    f,
                    "blocks of the log that may have held some of it are lost at segment {segment}, offset {offset}"
                )
            }
            Fault::CommitBeyondLog { commit, last_index } => {
                write!(f, "commit index {commit} lies beyond the last entry {last_index}")
            }
            Fault::EntriesMissing { first, last } => write!(f, "entries {first}..={last} are missing"),
            Fault::Contradiction { segment, offset, what } => {
                write!(f, "segment {segment}, offset {offset}: {what}")
            }
        }
    }
}

/// Where and how a log is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Segment of the first place that is not as it must be.
    pub segment: u64,
    /// Its offset in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub kind: DamageKind,
}

/// How a log can be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// The block expected here is missing or unreadable, yet a later one exists, so it had been acknowledged.
    LaterBlock {
        /// Sequence of the missing block.
        expected_seq: u64,
        /// Sequence of the later block.
        found_seq: u64,
        /// Segment of the later block.
        found_segment: u64,
        /// Offset of the later block in bytes.
        found_offset: u64,
    },
    /// The block here does not follow the one before it: that one is not what had been written.
    BrokenChain {
        /// Sequence of the block here.
        seq: u64,
    },
    /// The first block of the oldest segment is missing or unreadable. It held the state of all groups.
    FirstBlock,
    /// A segment between others is missing.
    SegmentMissing,
    /// The disk cannot read this place, which may have held acknowledged blocks.
    Unreadable,
    /// A block with sound checksums holds records that make no sense.
    Malformed {
        /// What is wrong with them.
        what: &'static str,
    },
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segment {}, offset {}: ", self.segment, self.offset)?;
        match &self.kind {
            DamageKind::LaterBlock { expected_seq, found_seq, found_segment, found_offset } => write!(
                f,
                "block {expected_seq} is missing, yet block {found_seq} exists in segment {found_segment} \
                 at offset {found_offset}"
            ),
            DamageKind::BrokenChain { seq } => write!(f, "block {seq} does not follow the block before it"),
            DamageKind::FirstBlock => f.write_str("the first block of the oldest segment is missing"),
            DamageKind::SegmentMissing => f.write_str("the segment is missing"),
            DamageKind::Unreadable => f.write_str("the disk cannot read this place"),
            DamageKind::Malformed { what } => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_and_damage_say_what_and_where() {
        let faults = [
            (Fault::BlocksLost { segment: 3, offset: 4_096 }, "segment 3, offset 4096"),
            (Fault::CommitBeyondLog { commit: 9, last_index: 7 }, "commit index 9 lies beyond the last entry 7"),
            (Fault::EntriesMissing { first: 2, last: 5 }, "entries 2..=5 are missing"),
            (Fault::Contradiction { segment: 1, offset: 64, what: "a gap" }, "segment 1, offset 64: a gap"),
        ];
        faults.iter().for_each(|(fault, text)| assert!(fault.to_string().contains(text), "{fault}"));
        let later = DamageKind::LaterBlock { expected_seq: 5, found_seq: 8, found_segment: 2, found_offset: 12_288 };
        let kinds = [
            (later, ["5", "8", "2", "12288"]),
            (DamageKind::BrokenChain { seq: 6 }, ["6"; 4]),
            (DamageKind::Malformed { what: "a gap" }, ["a gap"; 4]),
        ];
        for (kind, texts) in kinds {
            let text = Damage { segment: 1, offset: 4_096, kind }.to_string();
            let what = text.strip_prefix("segment 1, offset 4096: ").expect("it begins with the place");
            assert!(texts.iter().all(|text| what.contains(text)), "{what}");
        }
    }
}
