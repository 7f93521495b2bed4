//! Walking over the rows of sources of different ages as if they were one, both ways.

use crate::table::{KeyRange, StoredRow, Unit};
use crate::version::Version;

use super::need::{Need, Source, Target};
use super::run_cursor::RunCursor;

/// Rows that are passed over in one go without a unit being needed.
const HIDDEN_COUNT_MAX: usize = 256;

/// How far a cursor has come.
pub enum Progress {
    /// It is on a row, or beside the rows.
    Arrived,
    /// It needs a unit.
    Need(Need),
    /// It is to be polled again, later: it has passed over many rows that do not count.
    Busy,
}

/// What was asked for last.
enum Asked {
    Nothing,
    /// To go on.
    Row(usize),
    /// To know a range.
    Covering(usize),
}

/// A place among rows of different ages.
///
/// For each key it shows what the newest source says of it, tombstones too, unless a newer one deletes the range that
/// the key is in. Whoever moves it calls [`VersionCursor::poll`] until it has arrived.
pub struct VersionCursor {
    /// Invariant: the newest first.
    sources: Vec<Box<dyn Source>>,
    back: bool,
    /// The source whose row it is on.
    at: Option<usize>,
    /// Whether it is on its way.
    moves: bool,
    asked: Asked,
}

impl VersionCursor {
    /// Beside the rows of some sources, the newest of them first.
    pub fn new(sources: Vec<Box<dyn Source>>) -> VersionCursor {
        VersionCursor { sources, back: false, at: None, moves: false, asked: Asked::Nothing }
    }

    /// Beside the rows of a version.
    pub fn of_version(version: &Version) -> VersionCursor {
        let source = |run| -> Box<dyn Source> { Box::new(RunCursor::new(std::rc::Rc::clone(run))) };
        VersionCursor::new(version.runs().iter().map(source).collect())
    }

    /// Sets out.
    pub fn seek(&mut self, target: Target<'_>) {
        self.back = target.is_back();
        self.sources.iter_mut().for_each(|source| source.seek(target));
        (self.at, self.moves) = (None, true);
    }

    /// Sets out for the next row. Beside the rows it stays there.
    pub fn next(&mut self) {
        self.step(false);
    }

    /// Sets out for the row before. Beside the rows it stays there.
    pub fn prev(&mut self) {
        self.step(true);
    }

    fn step(&mut self, back: bool) {
        let Some(row) = self.row() else { return };
        let key = row.key.to_vec();
        if back == self.back {
            self.step_from(&key);
        } else if back {
            self.seek(Target::Before(&key));
        } else {
            // No key is less than this one and greater than `key`.
            self.seek(Target::From(&[key.as_slice(), &[0]].concat()));
        }
        (self.at, self.moves) = (None, true);
    }

    /// Moves all sources that are at a key.
    fn step_from(&mut self, key: &[u8]) {
        for source in self.sources.iter_mut().filter(|source| source.row().is_some_and(|row| row.key == key)) {
            source.step(self.back);
        }
    }

    /// The row it is on; `None` beside the rows and on the way.
    pub fn row(&self) -> Option<StoredRow<'_>> {
        self.sources[self.at?].row()
    }

    /// Goes on.
    pub fn poll(&mut self) -> Progress {
        for _ in 0..HIDDEN_COUNT_MAX {
            if !self.moves {
                return Progress::Arrived;
            }
            for (idx, source) in self.sources.iter_mut().enumerate() {
                if let Some(need) = source.poll() {
                    self.asked = Asked::Row(idx);
                    return Progress::Need(need);
                }
            }
            let Some(idx) = self.foremost() else {
                self.moves = false;
                return Progress::Arrived;
            };
            match self.covering(idx) {
                Err(need) => return Progress::Need(need),
                Ok(None) => (self.at, self.moves) = (Some(idx), false),
                Ok(Some((by, range))) => self.pass_over(by, &range),
            }
        }
        Progress::Busy
    }

    /// The newest of the sources that are at the first key in the direction.
    fn foremost(&self) -> Option<usize> {
        let mut first: Option<(usize, &[u8])> = None;
        for (idx, source) in self.sources.iter().enumerate() {
            let Some(row) = source.row() else { continue };
            let is_before = first.is_none_or(|(_, key)| if self.back { row.key > key } else { row.key < key });
            if is_before {
                first = Some((idx, row.key));
            }
        }
        first.map(|(idx, _)| idx)
    }

    /// The range that hides the row of a source, and which source it is of.
    fn covering(&mut self, idx: usize) -> Result<Option<(usize, KeyRange)>, Need> {
        let (newer, older) = self.sources.split_at_mut(idx);
        let Some(row) = older.first().and_then(|source| source.row()) else { return Ok(None) };
        for (by, source) in newer.iter_mut().enumerate() {
            match source.covering(row.key) {
                Ok(None) => {}
                Ok(Some(range)) => return Ok(Some((by, range))),
                Err(need) => {
                    self.asked = Asked::Covering(by);
                    return Err(need);
                }
            }
        }
        Ok(None)
    }

    /// Sends all sources that are older than one beyond a range that it deletes.
    fn pass_over(&mut self, by: usize, range: &KeyRange) {
        for source in &mut self.sources[by + 1..] {
            if source.row().is_some_and(|row| range.contains(row.key)) {
                source.seek(if self.back { Target::Before(&range.from) } else { Target::From(&range.to) });
            }
        }
    }

    /// The source, by its number, that cannot go on without what [`VersionCursor::poll`] asked for. `None` if it was asked
    /// for to know what a source deletes.
    pub(super) fn asked_for_row(&self) -> Option<usize> {
        match self.asked {
            Asked::Row(idx) => Some(idx),
            Asked::Covering(_) | Asked::Nothing => None,
        }
    }

    /// Hands over what [`VersionCursor::poll`] asked for.
    ///
    /// # Panics
    /// If it asked for nothing.
    pub fn supply(&mut self, unit: Unit) {
        match std::mem::replace(&mut self.asked, Asked::Nothing) {
            Asked::Nothing => panic!("nothing was asked for"),
            Asked::Row(idx) => self.sources[idx].supply(unit),
            Asked::Covering(idx) => self.sources[idx].supply_covering(unit),
        }
    }
}
