//! What the files of a log hold, for whoever looks at it without opening it. The code is that of recovery, and nothing is
//! written: what a start would drop, confirm or remove stays as it is.

use std::collections::BTreeMap;
use std::path::Path;

use host::{ALIGNMENT, Disk, IoClass};
use types::{GroupId, Index, ReplicaId};

use crate::error::Error;
use crate::format::BlockHeader;
use crate::group::GroupLog;
use crate::record::LogPosition;
use crate::recover::{list_files, walk};
use crate::recovered::{Condition, Damage, RecoveredGroup, SetAside};
use crate::scan::Image;
use crate::segments::{Segment, SegmentTable};

/// What the files of a log hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Id of the log, as most of its segments tell it; `None` if no block can be read.
    pub log_id: Option<u64>,
    /// The segments, the oldest first.
    pub segments: Vec<SegmentSurvey>,
    /// The groups of which the log holds a replica.
    pub groups: BTreeMap<GroupId, GroupSurvey>,
    /// The groups of which no replica lives here any more, each with the greatest id of those that were destroyed.
    pub destroyed: BTreeMap<GroupId, ReplicaId>,
    /// All places at which acknowledged blocks are missing or changed, in the order in which the walk met them.
    pub damages: Vec<Damage>,
    /// Whether groups may have lived here that the log does not name any more. Which, only the configuration knows.
    pub may_lack_groups: bool,
    /// Sound blocks.
    pub blocks_count: u64,
    /// Records in them.
    pub records_count: u64,
    /// Sequence of the last sound block; 0 if there is none.
    pub last_seq: u64,
    /// Where the next block belongs.
    pub end: LogPosition,
    /// Whether the last block is a mark: then all before it had been acknowledged, or may have been.
    pub last_is_mark: bool,
    /// Where a block stands torn that was being written when the process ended, and never acknowledged.
    pub torn_at: Option<LogPosition>,
    /// Files beside the segments that the log does not need.
    pub set_aside: Vec<SetAside>,
    /// Names of files that a crash left unfinished, which the next start removes.
    pub unfinished: Vec<String>,
}

/// What is known of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentSurvey {
    /// Its id.
    pub id: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Bytes up to the end of its last sound block; 0 if it has none, as those that are prepared.
    pub used_bytes: u64,
    /// Sound blocks in it.
    pub blocks_count: u64,
    /// How many records in it hold entries that still count.
    pub live_records_count: u64,
    /// Whether the disk cannot read a part of it.
    pub is_unreadable: bool,
    /// Whether it holds damage, or entries of quarantined groups.
    pub is_evidence: bool,
}

/// What is known of one group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSurvey {
    /// What a start would report.
    pub group: RecoveredGroup,
    /// Where its entries lie, one piece a segment, the oldest first.
    pub pieces: Vec<Piece>,
}

/// Entries of a group that lie in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The segment.
    pub segment: u64,
    /// The first of them.
    pub first: Index,
    /// The last of them.
    pub last: Index,
    /// Bytes of the records that hold them.
    pub bytes: u64,
}

impl Survey {
    /// Surveys the log in a directory. `seen` is shown each sound block, with its records ([`crate::record::decode`] reads
    /// them), in order. `None` if there are no segments.
    ///
    /// Which groups live here only the configuration knows: of one that the log does not name nothing is said.
    ///
    /// # Errors
    /// [`Error::Io`] if the disk refuses more than to read a place, [`Error::Version`] and [`Error::Foreign`] if it is not a
    /// log of this version.
    pub async fn take<D: Disk>(
        disk: &D,
        dir: &Path,
        mut seen: impl FnMut(&BlockHeader, &[u8]),
    ) -> Result<Option<Survey>, Error> {
        let mut listing = list_files(disk, dir).await?;
        if listing.segments.len() == 0 {
            return Ok(None);
        }
        let log_id = find_log_id(disk, dir, &listing.segments).await?;
        let mut used: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let segments = &mut listing.segments;
        let count = |header: &BlockHeader, records: &[u8]| {
            let (end, blocks) = used.entry(header.segment).or_default();
            *end = u64::from(header.offset) + header.block_bytes() as u64;
            *blocks += 1;
            seen(header, records);
        };
        let mut walk = walk(disk, (dir, log_id.unwrap_or_default()), segments, count).await?;
        // Where entries lie is told by what there was before quarantine lets go of it.
        let pieces: BTreeMap<_, _> = walk.replay.groups.iter().map(|(group, log)| (*group, pieces_of(log))).collect();
        walk.replay.finish(&[], segments);
        let group_of = |(group, log): (GroupId, &GroupLog)| {
            (group, GroupSurvey { group: log.report(), pieces: pieces.get(&group).cloned().unwrap_or_default() })
        };
        let segment_of = |segment: &Segment<_>| {
            let (used_bytes, blocks_count) = used.get(&segment.id).copied().unwrap_or_default();
            SegmentSurvey {
                id: segment.id,
                bytes: segment.bytes,
                used_bytes,
                blocks_count,
                live_records_count: segment.runs_live,
                is_unreadable: segment.is_unreadable,
                is_evidence: segment.is_evidence,
            }
        };
        Ok(Some(Survey {
            log_id,
            segments: segments.iter().map(segment_of).collect(),
            groups: walk.replay.living().map(group_of).collect(),
            destroyed: walk.replay.destroyed(),
            may_lack_groups: walk.replay.may_lack_groups(),
            blocks_count: walk.blocks_count,
            records_count: walk.replay.records_count,
            last_seq: walk.last_seq,
            end: walk.end,
            last_is_mark: walk.last_is_mark,
            torn_at: walk.torn_at(),
            damages: walk.damages,
            set_aside: listing.set_aside,
            unfinished: listing.unfinished,
        }))
    }

    /// The groups whose entries keep the oldest segment from being used again, with the index up to which each must be
    /// compacted to let it go. Empty if nothing does, or only one segment is in use. A quarantined group keeps none.
    pub fn pins(&self) -> Vec<(GroupId, Index)> {
        let mut in_use = self.segments.iter().filter(|segment| segment.used_bytes > 0);
        let (Some(oldest), Some(_)) = (in_use.next(), in_use.next()) else { return Vec::new() };
        let last_in_oldest = |group: &GroupSurvey| {
            group.pieces.iter().filter(|piece| piece.segment <= oldest.id).map(|piece| piece.last).max()
        };
        let sound = self.groups.iter().filter(|(_, group)| group.group.condition == Condition::Sound);
        sound.filter_map(|(id, group)| Some((*id, last_in_oldest(group)?))).collect()
    }
}

/// Where the entries of a group lie. A rewritten entry counts where it was written last.
fn pieces_of(log: &GroupLog) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for (run, last) in log.runs(log.start_index() + 1, log.last_index()) {
        let first = run.first.max(log.start_index() + 1);
        match pieces.last_mut() {
            Some(piece) if piece.segment == run.segment => {
                piece.last = last;
                piece.bytes += u64::from(run.len);
            }
            _ => pieces.push(Piece { segment: run.segment, first, last, bytes: u64::from(run.len) }),
        }
    }
    pieces
}

/// The id that the first blocks of most segments tell.
async fn find_log_id<D: Disk>(disk: &D, dir: &Path, segments: &SegmentTable<D::File>) -> Result<Option<u64>, Error> {
    let mut votes: BTreeMap<u64, usize> = BTreeMap::new();
    for segment in segments.iter() {
        let Some(file) = segment.file.as_ref().filter(|_| segment.bytes > 0) else { continue };
        // What cannot be read here the walk will tell of.
        let Ok(buf) = disk.read(&file.file, 0, ALIGNMENT, IoClass::Log).await else { continue };
        if let Some((header, _)) = BlockHeader::decode(&buf) {
            *votes.entry(header.log).or_default() += 1;
        }
    }
    if let Some((log, _)) = votes.into_iter().max_by_key(|(_, count)| *count) {
        return Ok(Some(log));
    }
    for segment in segments.iter() {
        let Some(file) = segment.file.as_ref() else { continue };
        let image = Image::load(disk, dir, segment.id, &file.file, segment.bytes).await?;
        let mut units = image.bytes.chunks(ALIGNMENT);
        if let Some((header, _)) = units.find_map(BlockHeader::decode) {
            return Ok(Some(header.log));
        }
    }
    Ok(None)
}
