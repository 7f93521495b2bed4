//! The rounds in which a snapshot is received.
//!
//! A large state takes minutes to come, and the log behind it would have to be kept as long: more than a core keeps. So when a
//! snapshot has come whole and there is a newer one by then, what is new in that is received, and so on, as long as each round
//! brings much less than the one before. Only the log behind the last one is needed, which took the shortest time.

use std::collections::VecDeque;
use std::rc::Rc;

use lsm::snapshot::{ReceivedParts, SnapshotHead, StreamRange};
use lsm::version::{Change, NamedFile};
use types::Instant;

/// So many rounds are made at most.
const ROUNDS_COUNT_MAX: u32 = 16;

/// The snapshot that is being received: what of it is still to come.
pub(super) struct Round {
    head: SnapshotHead,
    /// Invariant: none is empty.
    missing: VecDeque<StreamRange>,
    /// How much of what was missing is here, in bytes: where the next goes in the round's file.
    written: u64,
    /// How much was missing, in bytes.
    bytes: u64,
}

impl Round {
    fn new(head: SnapshotHead, parts: &ReceivedParts) -> Round {
        let missing: VecDeque<StreamRange> = parts.missing(&head).into();
        let bytes = missing.iter().map(|range| range.len).sum();
        Round { head, missing, written: 0, bytes }
    }

    /// Where in the stream the next bytes that are missing begin; `None` if there are none.
    pub(super) fn next_offset(&self) -> Option<u64> {
        self.missing.front().map(|range| range.offset)
    }

    /// Length of the round's file in bytes: all that was missing.
    pub(super) fn file_bytes(&self) -> u64 {
        self.bytes
    }

    /// Bytes have come that begin at an offset of the stream. Returns which of them are wanted, and where in the round's file they
    /// go; `None` if none of them are.
    pub(super) fn take(&mut self, offset: u64, len: usize) -> Option<(std::ops::Range<usize>, u64)> {
        let range = self.missing.front_mut()?;
        let skipped = range.offset.checked_sub(offset)?;
        let left = (len as u64).checked_sub(skipped).filter(|left| *left > 0)?;
        let taken = left.min(range.len);
        let at = self.written;
        range.offset += taken;
        range.len -= taken;
        self.written += taken;
        if range.len == 0 {
            self.missing.pop_front();
        }
        let (from, count) = (usize::try_from(skipped).ok()?, usize::try_from(taken).ok()?);
        Some((from..from + count, at))
    }
}

/// What the rounds until now have brought.
pub(super) struct Rounds {
    parts: ReceivedParts,
    /// The files that the parts lie in. They are deleted if they are dropped before a version names them.
    files: Vec<Rc<NamedFile>>,
    /// The newest snapshot that is here whole.
    complete: Option<SnapshotHead>,
    begun_count: u32,
    begun_at: Instant,
    /// What the last round that was begun had to bring, in bytes.
    bytes: u64,
}

impl Rounds {
    /// Nothing has come yet.
    pub(super) fn new(now: Instant) -> Rounds {
        Rounds {
            parts: ReceivedParts::default(),
            files: Vec::new(),
            complete: None,
            begun_count: 0,
            begun_at: now,
            bytes: u64::MAX,
        }
    }

    /// Begins a round with a snapshot. `None` if it would bring too little that is new: the one that is here is to be taken.
    pub(super) fn begin(&mut self, head: SnapshotHead, now: Instant) -> Option<Round> {
        if self.complete.as_ref().is_some_and(|complete| head.seal().index <= complete.seal().index) {
            return None;
        }
        let round = Round::new(head, &self.parts);
        if self.complete.is_some() && round.bytes > self.bytes / 2 {
            return None;
        }
        self.bytes = round.bytes;
        self.begun_at = now;
        self.begun_count += 1;
        Some(round)
    }

    /// All of a round is here, in this file; there is none if nothing was missing.
    pub(super) fn end(&mut self, round: Round, file: Option<Rc<NamedFile>>) {
        assert!(round.missing.is_empty(), "a round ends when nothing is missing");
        if let Some(file) = file {
            self.parts.received(&round.head, file.number());
            self.files.push(file);
        }
        self.complete = Some(round.head);
    }

    /// When the round began that was begun last.
    pub(super) fn begun_at(&self) -> Instant {
        self.begun_at
    }

    /// Whether another round may be made.
    pub(super) fn may_go_on(&self) -> bool {
        self.begun_count < ROUNDS_COUNT_MAX
    }

    /// Whether a snapshot is here whole.
    pub(super) fn has_complete(&self) -> bool {
        self.complete.is_some()
    }

    /// The newest snapshot that is here whole, what makes its version of none, and the files that it lies in, with others that are not
    /// needed.
    pub(super) fn into_complete(self) -> Option<(SnapshotHead, Change, Vec<Rc<NamedFile>>)> {
        let head = self.complete?;
        let change = self.parts.change(&head).expect("all parts of a whole snapshot are here");
        Some((head, change, self.files))
    }
}
