//! Forms blocks: where each one stands, when one is full, and the chain that binds them.
//!
//! A block's place is fixed when its first record comes, long before it is written: blocks are laid out one behind
//! another, so each one's place follows from the length of those before it.

use std::collections::{BTreeMap, VecDeque};

use host::AlignedBuf;
use types::GroupId;
use wire::{Crc, Entry};

use crate::config::Config;
use crate::format::{BlockHeader, HEADER_BYTES, padded};
use crate::group::GroupLog;
use crate::record::{self, Address, Body, Link, LogPosition, Summed};

/// Most buffers kept for later use: one in flight, one forming, one between.
const SPARE_BUFFERS_MAX: usize = 3;

/// A block that is ready to be written.
pub(crate) struct SealedBlock {
    pub(crate) seq: u64,
    pub(crate) place: LogPosition,
    pub(crate) mark: bool,
    pub(crate) buf: AlignedBuf,
}

/// The end of the log in memory.
pub(crate) struct Writer {
    /// Where the forming block begins.
    place: LogPosition,
    /// Length of the segment it stands in.
    segment_bytes: u64,
    block_bytes_max: usize,
    /// Sequence of the forming block.
    seq: u64,
    /// Checksum of the header before it.
    chain: u32,
    /// The forming block: empty, or its header's room and records. Invariant: fits the segment from `place` on.
    buf: AlignedBuf,
    /// The payloads in it whose checksums are known, in their order.
    summed: Vec<Summed>,
    /// Whether the forming block holds nothing but group states.
    mark: bool,
    /// Whether the last closed block was a mark, or there is none.
    last_is_mark: bool,
    /// Bytes of closed blocks since all groups were named last.
    unnamed_bytes: u64,
    log_id: u64,
    queue: VecDeque<SealedBlock>,
    queued_bytes: usize,
    spare: Vec<AlignedBuf>,
}

impl Writer {
    /// Goes on behind the block with sequence `seq - 1` and header checksum `chain`.
    pub(crate) fn new(
        config: &Config,
        place: LogPosition,
        segment_bytes: u64,
        seq: u64,
        chain: u32,
        last_is_mark: bool,
    ) -> Writer {
        Writer {
            place,
            segment_bytes,
            block_bytes_max: config.block_bytes_max,
            seq,
            chain,
            buf: AlignedBuf::default(),
            summed: Vec::new(),
            mark: true,
            last_is_mark,
            unnamed_bytes: 0,
            log_id: config.log_id,
            queue: VecDeque::new(),
            queued_bytes: 0,
            spare: Vec::new(),
        }
    }

    /// Segment of the forming block.
    pub(crate) fn segment(&self) -> u64 {
        self.place.segment
    }

    /// Where the forming block begins.
    pub(crate) fn place(&self) -> LogPosition {
        self.place
    }

    /// Sequence of the last block that holds or will hold a record; a lower bound for what comes.
    pub(crate) fn pending_seq(&self) -> u64 {
        if self.buf.is_empty() { self.seq - 1 } else { self.seq }
    }

    /// Bytes in closed blocks and the forming one.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.queued_bytes + self.buf.len()
    }

    pub(crate) fn last_is_mark(&self) -> bool {
        self.last_is_mark
    }

    /// Whether a record of this length may join the forming block.
    pub(crate) fn joins(&self, len: usize) -> bool {
        if self.buf.is_empty() {
            return self.fits_empty(len);
        }
        self.buf.len() + len <= self.block_bytes_max && self.fits_segment(self.buf.len() + len)
    }

    /// Whether a record of this length fits a new block at the present place.
    pub(crate) fn fits_empty(&self, len: usize) -> bool {
        self.fits_segment(HEADER_BYTES + len)
    }

    fn fits_segment(&self, block_len: usize) -> bool {
        padded(block_len) as u64 <= self.segment_bytes - self.place.offset
    }

    /// Bytes of the segment behind all that was put into blocks.
    pub(crate) fn segment_left(&self) -> u64 {
        (self.segment_bytes - self.place.offset).saturating_sub(padded(self.buf.len()) as u64)
    }

    /// Moves on to the beginning of the next segment. The forming block must be closed.
    pub(crate) fn roll(&mut self, segment_bytes: u64) {
        assert!(self.buf.is_empty(), "a block must not change its place");
        self.place = LogPosition { segment: self.place.segment + 1, offset: 0 };
        self.segment_bytes = segment_bytes;
    }

    /// Sequence of the block that is forming or forms next.
    pub(crate) fn forming_seq(&self) -> u64 {
        self.seq
    }

    /// Whether a block is forming.
    pub(crate) fn is_forming(&self) -> bool {
        !self.buf.is_empty()
    }

    /// Bytes of blocks since all groups were named last.
    pub(crate) fn unnamed_bytes(&self) -> u64 {
        self.unnamed_bytes
    }

    /// Appends a record to the forming block, which it must fit; `put` writes it, given its place. `tells` says whether
    /// the record tells anything that the segments before do not.
    pub(crate) fn put<T>(
        &mut self,
        tells: bool,
        put: impl FnOnce(&mut AlignedBuf, LogPosition) -> T,
    ) -> (LogPosition, T) {
        self.begin();
        let place = LogPosition { segment: self.place.segment, offset: self.place.offset + self.buf.len() as u64 };
        let value = put(&mut self.buf, place);
        assert!(self.fits_segment(self.buf.len()), "a record was put where it does not fit");
        self.mark &= !tells;
        (place, value)
    }

    /// Appends a record of consecutive entries of one term, which the forming block must fit. Returns its place and its checksum.
    pub(crate) fn put_entries(&mut self, group: GroupId, link: Link, entries: &[Entry]) -> (LogPosition, u32) {
        let mut summed = std::mem::take(&mut self.summed);
        let put = self
            .put(true, |buf, place| record::put_entries(buf, &mut summed, &Address { place, group, link }, entries));
        self.summed = summed;
        put
    }

    /// Appends what a segment opens with: the state of each group, or that it is quarantined or its replica destroyed.
    pub(crate) fn put_opening(&mut self, groups: &mut BTreeMap<GroupId, GroupLog>) {
        let count = u32::try_from(groups.len()).expect("a core has fewer groups");
        let opening = Body::Opening { groups: count };
        self.put(false, |buf, place| {
            record::put_small(buf, &Address { place, group: GroupId(0), link: Link::NONE }, &opening)
        });
        let seq = self.seq;
        for (group, log) in groups {
            let (group, link, body) = (*group, log.link, log.opening());
            let (_, crc) = self.put(log.fault.is_some(), |buf, place| {
                record::put_small(buf, &Address { place, group, link }, &body)
            });
            log.record(Link { seq, crc });
        }
        self.unnamed_bytes = 0;
    }

    /// Appends a roll call of all groups.
    pub(crate) fn put_roll_call(&mut self, groups: &BTreeMap<GroupId, GroupLog>) {
        let links = groups.iter().map(|(group, log)| (*group, log.link));
        self.put(false, |buf, place| record::put_roll_call(buf, place, links));
        self.unnamed_bytes = 0;
    }

    /// Closes a block that tells nothing new. Where that takes no more room than the block has anyway, it calls the roll.
    pub(crate) fn put_mark(&mut self, groups: &BTreeMap<GroupId, GroupLog>) {
        self.begin();
        let len = record::roll_call_bytes(groups.len());
        if self.joins(len) && padded(self.buf.len() + len) == padded(self.buf.len()) {
            self.put_roll_call(groups);
        }
        self.close();
    }

    /// Opens a block at the present place if none is forming.
    pub(crate) fn begin(&mut self) {
        if !self.buf.is_empty() {
            return;
        }
        if self.buf.capacity() == 0 {
            self.buf = self.spare.pop().unwrap_or_default();
        }
        self.buf.extend_from_slice(&[0; HEADER_BYTES]);
        self.mark = true;
    }

    /// Seals the forming block, if there is one, and queues it.
    pub(crate) fn close(&mut self) {
        if self.buf.is_empty() {
            return;
        }
        let mut buf = std::mem::take(&mut self.buf);
        let records_len = buf.len() - HEADER_BYTES;
        let records_crc = record::crc_of(Crc::default(), &buf, HEADER_BYTES, &self.summed);
        self.summed.clear();
        let header = BlockHeader {
            log: self.log_id,
            segment: self.place.segment,
            seq: self.seq,
            offset: u32::try_from(self.place.offset).expect("segments are at most 2 GiB long"),
            records_len: u32::try_from(records_len).expect("a block fits a segment, whose length fits 32 bits"),
            records_crc,
            chain: self.chain,
        };
        let (bytes, crc) = header.encode();
        buf[..HEADER_BYTES].copy_from_slice(&bytes);
        buf.pad_to_alignment();
        let len = buf.len();
        self.queue.push_back(SealedBlock { seq: self.seq, place: self.place, mark: self.mark, buf });
        self.queued_bytes += len;
        self.unnamed_bytes += len as u64;
        self.last_is_mark = self.mark;
        self.chain = crc;
        self.seq += 1;
        self.place.offset += len as u64;
    }

    /// The next block to be written.
    pub(crate) fn front(&self) -> Option<&SealedBlock> {
        self.queue.front()
    }

    /// Takes the next block to be written.
    pub(crate) fn take(&mut self) -> Option<SealedBlock> {
        let block = self.queue.pop_front()?;
        self.queued_bytes -= block.buf.len();
        Some(block)
    }

    /// Gives a buffer back.
    pub(crate) fn recycle(&mut self, mut buf: AlignedBuf) {
        let capacity_max = 2 * padded(self.block_bytes_max);
        if self.spare.len() < SPARE_BUFFERS_MAX && buf.capacity() <= capacity_max {
            buf.clear();
            self.spare.push(buf);
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::EntryKind;

    use super::*;

    #[test]
    fn the_checksum_of_a_block_is_that_of_its_bytes_whatever_was_summed_before() {
        let place = LogPosition { segment: 1, offset: 0 };
        let mut writer = Writer::new(&Config::new("/nowhere"), place, 1 << 20, 1, 0, true);
        for lens in [&[1_500, 9][..], &[9], &[]] {
            for (len, index) in lens.iter().zip(1..) {
                let payload = vec![index as u8; *len].into();
                let entry = Entry { term: 1, index, kind: EntryKind::Batch, payload };
                let _ = writer.put_entries(GroupId(1), Link::NONE, &[entry]);
            }
            writer.begin();
            writer.close();
            let block = writer.take().expect("it was closed");
            let (header, _) = BlockHeader::decode(&block.buf).expect("a sound header");
            let records = &block.buf[HEADER_BYTES..][..header.records_len as usize];
            assert_eq!(header.records_crc, crc32fast::hash(records), "{lens:?}");
        }
    }

    #[test]
    fn a_bounded_number_of_buffers_is_used_again_and_no_long_one() {
        let config = Config { block_bytes_max: 8_192, ..Config::new("/nowhere") };
        let place = LogPosition { segment: 1, offset: 0 };
        let mut writer = Writer::new(&config, place, 1 << 20, 1, 0, true);
        let buffer = |capacity| AlignedBuf::with_capacity(capacity);
        writer.recycle(buffer(16_384 + 4_096));
        assert!(writer.spare.is_empty(), "one long block must not hold memory for ever");
        (0..5).for_each(|_| writer.recycle(buffer(16_384)));
        assert_eq!(writer.spare.len(), SPARE_BUFFERS_MAX);
        let before = writer.spare.last().map(|buf| buf.as_ptr());
        writer.begin();
        assert_eq!((Some(writer.buf.as_ptr()), writer.spare.len()), (before, SPARE_BUFFERS_MAX - 1));
        assert!(writer.is_forming() && writer.pending_seq() == 1);
        writer.close();
        assert!(!writer.is_forming());
        assert_eq!(writer.unnamed_bytes(), 4_096);
    }
}
