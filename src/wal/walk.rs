//! Along the blocks of all segments, over places where some were lost, to the end of the log.
//!
//! Block `n + 1` is begun only when block `n` is durable. So where the next block is not found, the question is whether
//! one that had been acknowledged stood there:
//!
//! - Nothing later anywhere: at most the block being written when the process ended is lost, and that was
//!   not acknowledged. It is dropped.
//! - Any header with a sequence beyond the next one: the next one had been durable and is gone.
//! - The next block itself, but elsewhere or with another chain: it was misdirected, or the block before it is not
//!   the one that had been written.
//! - A place where the next block may stand, and that the disk cannot read: it may have held it. What lies behind it was
//!   never used.
//!
//! All but the first are damage. The walk goes on with the first sound block behind it; [`Replay`] says whom it concerns. That
//! a payload passes for a block is prevented by the id of the log, which no client knows.

use crate::format::{BlockHeader, SEGMENT_FIRST, SEQ_FIRST};
use crate::record::LogPosition;
use crate::recovered::{Damage, DamageKind};
use crate::replay::{BlockAt, Replay};
use crate::scan::{Image, Look};
use crate::segments::SegmentTable;

/// The walk along the chain.
pub(crate) struct Walk {
    log_id: u64,
    oldest: u64,
    pub(crate) replay: Replay,
    /// Sequence and header checksum of the last sound block; 0 before the first.
    pub(crate) last_seq: u64,
    pub(crate) chain: u32,
    pub(crate) last_is_mark: bool,
    pub(crate) last_block: Option<(LogPosition, Vec<u8>)>,
    /// Where the next block belongs.
    pub(crate) end: LogPosition,
    pub(crate) blocks_count: u64,
    /// All damage found, in the order in which it was.
    pub(crate) damages: Vec<Damage>,
    /// Blocks were lost behind the end: how many is not known.
    pub(crate) is_end_lost: bool,
    /// A header that is the next of the chain, without its records: its sequence, where it stands, where it ends.
    torn: Option<(u64, LogPosition, u64)>,
    /// The highest sequence of a header that is not where it should be, or has not its records; and where.
    rumour: Option<(u64, LogPosition)>,
    unreadable: Vec<LogPosition>,
    /// A segment with blocks of another log, and its id.
    pub(crate) foreign: Option<(u64, u64)>,
}

impl Walk {
    pub(crate) fn new(log_id: u64, oldest: u64) -> Walk {
        Walk {
            log_id,
            oldest,
            replay: Replay::new(),
            last_seq: SEQ_FIRST - 1,
            chain: 0,
            // Before the first block there is nothing to confirm.
            last_is_mark: true,
            last_block: None,
            end: LogPosition { segment: oldest, offset: 0 },
            blocks_count: 0,
            damages: Vec::new(),
            is_end_lost: false,
            torn: None,
            rumour: None,
            unreadable: Vec::new(),
            foreign: None,
        }
    }

    /// A block that was being written, never acknowledged, stands torn at the end.
    pub(crate) fn is_torn(&self) -> bool {
        self.torn.is_some_and(|(seq, ..)| seq == self.last_seq + 1)
    }

    /// Where that block stands, if there is one.
    pub(crate) fn torn_at(&self) -> Option<LogPosition> {
        self.torn.filter(|_| self.is_torn()).map(|(_, place, _)| place)
    }

    /// The highest sequence that is known to have been used.
    pub(crate) fn seq_max(&self) -> u64 {
        self.rumour.map_or(self.last_seq, |(seq, _)| seq.max(self.last_seq))
    }

    /// Takes in a segment. They come from the oldest to the newest. `seen` is shown each block that counts, with its records.
    pub(crate) fn take<F>(
        &mut self,
        image: &Image,
        segments: &mut SegmentTable<F>,
        mut seen: impl FnMut(&BlockHeader, &[u8]),
    ) {
        let place_of = |offset| LogPosition { segment: image.segment, offset };
        self.unreadable.extend(image.unreadable.iter().map(|offset| place_of(*offset)));
        let mut last = None;
        let mut offset = 0;
        while offset < image.len() {
            let place = place_of(offset);
            offset += host::ALIGNMENT as u64;
            match image.look(place.offset, self.log_id) {
                Look::Nothing => {}
                Look::Foreign(log) => self.foreign = self.foreign.or(Some((image.segment, log))),
                Look::Torn(header) if self.is_next(&header) => {
                    self.torn = Some((header.seq, place, place.offset + header.block_bytes() as u64));
                }
                Look::Torn(header) | Look::Misplaced(header) => {
                    if self.rumour.is_none_or(|(seq, _)| seq < header.seq) {
                        self.rumour = Some((header.seq, place));
                    }
                }
                Look::Whole(header, crc) => {
                    if self.accept(image, place, &header, crc, segments) {
                        seen(&header, image.records(place.offset, &header).unwrap_or_default());
                        offset = self.end.offset;
                        last = Some((place, header));
                    }
                }
            }
        }
        if let Some((place, header)) = last {
            self.last_block = image.block(place.offset, &header).map(|block| (place, block.to_vec()));
        }
    }

    fn is_next(&self, header: &BlockHeader) -> bool {
        header.seq == self.last_seq + 1 && header.chain == self.chain
    }

    /// Takes a sound block in if it comes behind the last one.
    fn accept<F>(
        &mut self,
        image: &Image,
        place: LogPosition,
        header: &BlockHeader,
        crc: u32,
        segments: &mut SegmentTable<F>,
    ) -> bool {
        let is_first =
            self.blocks_count == 0 && place == self.end && self.oldest > SEGMENT_FIRST && !self.is_next(header);
        if header.seq <= self.last_seq {
            return false;
        }
        if !is_first && !self.is_next(header) {
            self.bridge(place, header, segments);
        }
        let block = BlockAt { seq: header.seq, place, is_first };
        let records = image.records(place.offset, header).unwrap_or_default();
        match self.replay.block(records, block, segments) {
            Ok(_) if is_first && self.replay.named_seq() != header.seq => {
                self.lose(header.seq, place, DamageKind::FirstBlock, segments);
            }
            Ok(is_mark) => self.last_is_mark = is_mark,
            Err(what) => self.lose(header.seq, place, DamageKind::Malformed { what }, segments),
        }
        self.blocks_count += 1;
        self.last_seq = header.seq;
        self.chain = crc;
        self.end = LogPosition { offset: place.offset + header.block_bytes() as u64, ..place };
        true
    }

    /// Goes on with a block although not all before it are there.
    fn bridge<F>(&mut self, place: LogPosition, header: &BlockHeader, segments: &mut SegmentTable<F>) {
        if self.blocks_count == 0 {
            let first = LogPosition { segment: self.oldest, offset: 0 };
            self.lose(header.seq - 1, first, DamageKind::FirstBlock, segments);
        } else if header.seq == self.last_seq + 1 {
            // The block before it is sound, but not the one that stood there last.
            self.lose(self.last_seq, place, DamageKind::BrokenChain { seq: header.seq }, segments);
        } else if let Some(missing) = (self.end.segment + 1..place.segment).find(|id| segments.get(*id).is_none()) {
            let place = LogPosition { segment: missing, offset: 0 };
            self.lose(header.seq - 1, place, DamageKind::SegmentMissing, segments);
        } else {
            let kind = DamageKind::LaterBlock {
                expected_seq: self.last_seq + 1,
                found_seq: header.seq,
                found_segment: place.segment,
                found_offset: place.offset,
            };
            self.lose(header.seq - 1, self.end, kind, segments);
        }
    }

    fn lose<F>(&mut self, through: u64, place: LogPosition, kind: DamageKind, segments: &mut SegmentTable<F>) {
        self.replay.lose(through, place);
        segments.keep_as_evidence(place.segment);
        self.damages.push(Damage { segment: place.segment, offset: place.offset, kind });
    }

    /// Judges the end of the log, once all segments are taken in.
    pub(crate) fn finish<F>(&mut self, segments: &mut SegmentTable<F>) {
        let Some((place, kind)) = self.lost_end(segments) else { return };
        self.is_end_lost = true;
        self.lose(u64::MAX, place, kind, segments);
        if let Some((_, place)) = self.rumour {
            segments.keep_as_evidence(place.segment);
        }
    }

    /// What says that acknowledged blocks stood behind the end, if anything does.
    fn lost_end<F>(&self, segments: &SegmentTable<F>) -> Option<(LogPosition, DamageKind)> {
        let next_seq = self.last_seq + 1;
        if self.blocks_count == 0 && self.oldest > SEGMENT_FIRST {
            return Some((self.end, DamageKind::FirstBlock));
        }
        if let Some((found_seq, found)) = self.rumour.filter(|(seq, _)| *seq >= next_seq) {
            let (found_segment, found_offset) = (found.segment, found.offset);
            let kind = DamageKind::LaterBlock { expected_seq: next_seq, found_seq, found_segment, found_offset };
            return Some((self.end, kind));
        }
        if let Some(place) = self.unreadable.iter().find(|place| self.may_hold_next(**place)) {
            return Some((*place, DamageKind::Unreadable));
        }
        let next_id = segments.next_behind(self.end.segment)?;
        let missing = LogPosition { segment: self.end.segment + 1, offset: 0 };
        (next_id != missing.segment).then_some((missing, DamageKind::SegmentMissing))
    }

    /// Whether a place is one where the block behind the end may stand: there, or at the beginning of the next segment.
    fn may_hold_next(&self, place: LogPosition) -> bool {
        let is_torn = |(seq, start, end): (u64, LogPosition, u64)| {
            seq == self.last_seq + 1 && start <= place && place.segment == start.segment && place.offset < end
        };
        place == self.end
            || place == LogPosition { segment: self.end.segment + 1, offset: 0 }
            || self.torn.is_some_and(is_torn)
    }
}
