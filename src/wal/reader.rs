//! Reading entries back from disk, checked, in few large reads.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use host::{ALIGNMENT, IoClass, ReadBuf};
use types::{GroupId, Index, Term};
use wire::{Entry, EntryKind};

use crate::LogHost;
use crate::error::Error;
use crate::format::segment_name;
use crate::group::Run;
use crate::record::{self, Body, LogPosition};
use crate::segments::SegmentFile;

/// Longest read that takes in more than one record.
const READ_BYTES_MAX: u64 = 1 << 20;
/// Records further apart than this are read one by one.
const GAP_BYTES_MAX: u64 = 128 << 10;

/// Which records to read, and what must stand in them.
pub(crate) struct ReadPlan<F> {
    dir: PathBuf,
    group: GroupId,
    first: Index,
    last: Index,
    bytes_max: usize,
    bytes_planned: usize,
    pieces: Vec<Piece<F>>,
}

struct Piece<F> {
    file: Rc<SegmentFile<F>>,
    segment_bytes: u64,
    run: Run,
    /// Last index that still counts of this record.
    end: Index,
    term: Term,
}

impl<F> ReadPlan<F> {
    pub(crate) fn new(dir: &Path, group: GroupId, first: Index, last: Index, bytes_max: usize) -> ReadPlan<F> {
        ReadPlan { dir: dir.to_owned(), group, first, last, bytes_max, bytes_planned: 0, pieces: Vec::new() }
    }

    pub(crate) fn out_of_range(&self) -> Error {
        Error::OutOfRange { group: self.group, first: self.first, last: self.last }
    }

    pub(crate) fn is_full(&self) -> bool {
        // The first record may begin before the first entry asked for, so it alone does not fill the plan.
        self.pieces.len() > 1 && self.bytes_planned >= self.bytes_max
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    pub(crate) fn push(&mut self, run: Run, end: Index, term: Term, segment_bytes: u64, file: &Rc<SegmentFile<F>>) {
        if !self.pieces.is_empty() {
            self.bytes_planned += run.len as usize;
        }
        self.pieces.push(Piece { file: Rc::clone(file), segment_bytes, run, end, term });
    }
}

/// Carries a plan out.
pub(crate) async fn read<D: LogHost>(host: &D, plan: ReadPlan<D::File>) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    let mut budget = Budget { bytes_left: plan.bytes_max, exhausted: false };
    let mut rest = &plan.pieces[..];
    let mut count_max = usize::MAX;
    while !rest.is_empty() && !budget.exhausted {
        let (together, behind) = rest.split_at(together(rest).min(count_max));
        let (start, buf) = match read_span(host, &plan.dir, together).await {
            // What cannot be read may lie between the records and belong to others.
            Err(_) if together.len() > 1 => {
                count_max = 1;
                continue;
            }
            result => result?,
        };
        rest = behind;
        for piece in together {
            let offset = u64::from(piece.run.offset);
            let bytes = usize::try_from(offset - start).ok().and_then(|skip| buf.get(skip..)).unwrap_or_default();
            take_entries(bytes, piece, &plan, &mut budget, &mut entries)?;
            if budget.exhausted {
                break;
            }
        }
    }
    Ok(entries)
}

struct Budget {
    bytes_left: usize,
    exhausted: bool,
}

/// How many of the pieces, at least one, are worth one read.
fn together<F>(pieces: &[Piece<F>]) -> usize {
    let Some(first) = pieces.first() else { return 0 };
    let start = u64::from(first.run.offset);
    let mut end = start + u64::from(first.run.len);
    let mut count = 1;
    for piece in &pieces[1..] {
        let (from, to) = (u64::from(piece.run.offset), u64::from(piece.run.offset) + u64::from(piece.run.len));
        let near = from >= end && from - end <= GAP_BYTES_MAX && to - start <= READ_BYTES_MAX;
        if piece.run.segment != first.run.segment || !near {
            break;
        }
        end = to;
        count += 1;
    }
    count
}

/// Reads all of these pieces, which lie in one segment in ascending order. Returns where the bytes begin.
async fn read_span<D: LogHost>(host: &D, dir: &Path, pieces: &[Piece<D::File>]) -> Result<(u64, ReadBuf), Error> {
    let (first, last) = (pieces.first().expect("at least one piece"), pieces.last().expect("at least one piece"));
    let alignment = ALIGNMENT as u64;
    let start = u64::from(first.run.offset) / alignment * alignment;
    let end = (u64::from(last.run.offset) + u64::from(last.run.len)).next_multiple_of(alignment);
    let len = usize::try_from(end.min(first.segment_bytes) - start).expect("a span within a segment");
    let result = host.read(&first.file.file, start, len, IoClass::Log).await;
    let buf = result.map_err(|source| Error::Io {
        what: "read back the log from",
        path: dir.join(segment_name(first.run.segment)),
        source,
    })?;
    Ok((start, buf))
}

/// Checks that the bytes are the record they must be, and takes the entries wanted out of it.
fn take_entries<F>(
    bytes: &[u8],
    piece: &Piece<F>,
    plan: &ReadPlan<F>,
    budget: &mut Budget,
    out: &mut Vec<Entry>,
) -> Result<(), Error> {
    let place = LogPosition { segment: piece.run.segment, offset: u64::from(piece.run.offset) };
    let corrupt = |what| Error::Corrupt { segment: place.segment, offset: place.offset, what };
    let bytes = bytes.get(..piece.run.len as usize).ok_or(corrupt("the record is cut off"))?;
    let record = record::decode(bytes, place).map_err(corrupt)?;
    let Body::Entries(entries) = record.body else { return Err(corrupt("not a record of entries")) };
    let same = record.group == plan.group && entries.first == piece.run.first && entries.term == piece.term;
    if !same || record.len != bytes.len() || entries.last() < piece.end {
        return Err(corrupt("not the record that was written here"));
    }
    let from = plan.first.max(entries.first);
    let wanted = (from - entries.first) as usize..=(piece.end - entries.first) as usize;
    // One allocation for the part of the record that is wanted; the entries share it.
    let mut selected = Vec::with_capacity(wanted.end() + 1 - wanted.start());
    for (kind, range) in entries.iter().skip(*wanted.start()).take(wanted.end() + 1 - wanted.start()) {
        let over = range.len() > budget.bytes_left && !(out.is_empty() && selected.is_empty());
        if over {
            budget.exhausted = true;
            break;
        }
        budget.bytes_left = budget.bytes_left.saturating_sub(range.len());
        selected.push((kind, range));
    }
    let (Some((_, head)), Some((_, tail))) = (selected.first(), selected.last()) else { return Ok(()) };
    let base = head.start;
    let payloads = entries.payloads().get(base..tail.end).ok_or(corrupt("payloads are cut off"))?;
    let payloads = Bytes::copy_from_slice(payloads);
    for (position, (kind, range)) in selected.into_iter().enumerate() {
        out.push(Entry {
            term: entries.term,
            index: from + position as u64,
            kind: EntryKind::from_u8(kind).ok_or(corrupt("an entry's kind is unknown"))?,
            payload: payloads.slice(range.start - base..range.end - base).into(),
        });
    }
    Ok(())
}
