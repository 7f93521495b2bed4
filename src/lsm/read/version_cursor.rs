//! Walking over the rows of runs of different ages as if they were one, both ways.

use std::rc::Rc;

use crate::table::{KeyRange, StoredRow, Unit};
use crate::version::{Run, Version};

use super::need::{Need, Target};
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
/// For each key it shows what the newest run says of it, tombstones too, unless a newer one deletes the range that
/// the key is in. Whoever moves it calls [`VersionCursor::poll`] until it has arrived.
pub struct VersionCursor {
    /// Invariant: the newest first.
    runs: Vec<RunCursor>,
    /// Runs, by their numbers, that are on a row: by their keys in the direction, of one key the newest first. So it is the
    /// first of them that this cursor is on, unless it is on its way.
    order: Vec<usize>,
    /// Runs that are on their way. Those that are neither here nor in `order` are beside their rows.
    moving: Vec<usize>,
    back: bool,
    /// Whether it is on its way.
    moves: bool,
    asked: Asked,
}

impl VersionCursor {
    /// Beside the rows of some runs, the newest of them first.
    pub fn new(runs: &[Rc<Run>]) -> VersionCursor {
        let runs: Vec<RunCursor> = runs.iter().map(|run| RunCursor::new(Rc::clone(run))).collect();
        let (order, moving) = (Vec::with_capacity(runs.len()), Vec::with_capacity(runs.len()));
        VersionCursor { runs, order, moving, back: false, moves: false, asked: Asked::Nothing }
    }

    /// Beside the rows of a version.
    pub fn of_version(version: &Version) -> VersionCursor {
        VersionCursor::new(version.runs())
    }

    /// Sets out.
    pub fn seek(&mut self, target: Target<'_>) {
        self.back = target.is_back();
        self.runs.iter_mut().for_each(|run| run.seek(target));
        self.order.clear();
        self.moving.clear();
        self.moving.extend((0..self.runs.len()).rev());
        self.moves = true;
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
        let Some(key) = self.key() else { return };
        if back != self.back {
            let key = key.to_vec();
            return if back {
                self.seek(Target::Before(&key));
            } else {
                // No key is less than this one and greater than `key`.
                self.seek(Target::From(&[key.as_slice(), &[0]].concat()));
            };
        }
        let beside = self.order.iter().skip(1).take_while(|idx| self.runs[**idx].key() == Some(key));
        let count = 1 + beside.count();
        for idx in self.order.drain(..count) {
            self.runs[idx].step(back);
            self.moving.push(idx);
        }
        self.moves = true;
    }

    fn key(&self) -> Option<&[u8]> {
        self.at().and_then(|idx| self.runs[idx].key())
    }

    /// The run whose row it is on.
    fn at(&self) -> Option<usize> {
        self.order.first().copied().filter(|_| !self.moves)
    }

    /// The row it is on; `None` beside the rows and on the way.
    #[inline]
    pub fn row(&self) -> Option<StoredRow<'_>> {
        self.runs[self.at()?].row()
    }

    /// Goes on.
    pub fn poll(&mut self) -> Progress {
        for _ in 0..HIDDEN_COUNT_MAX {
            if !self.moves {
                return Progress::Arrived;
            }
            while let Some(idx) = self.moving.last().copied() {
                if let Some(need) = self.runs[idx].poll() {
                    self.asked = Asked::Row(idx);
                    return Progress::Need(need);
                }
                self.moving.pop();
                self.line_up(idx);
            }
            let Some(idx) = self.order.first().copied() else {
                self.moves = false;
                return Progress::Arrived;
            };
            match self.covering(idx) {
                Err(need) => return Progress::Need(need),
                Ok(None) => self.moves = false,
                Ok(Some((by, range))) => self.pass_over(by, &range),
            }
        }
        Progress::Busy
    }

    /// Puts a run that has arrived where it belongs among the others.
    fn line_up(&mut self, idx: usize) {
        let key = self.runs[idx].key();
        if key.is_none() {
            return;
        }
        let is_before = |other: &usize| {
            let ordering = key.cmp(&self.runs[*other].key());
            let ordering = if self.back { ordering.reverse() } else { ordering };
            ordering.then(idx.cmp(other)).is_lt()
        };
        // Most rows are the oldest run's, so that its next one mostly is the next of all: few are asked.
        let at = self.order.iter().position(is_before).unwrap_or(self.order.len());
        self.order.insert(at, idx);
    }

    /// The range that hides the row of a run, and which run it is of.
    fn covering(&mut self, idx: usize) -> Result<Option<(usize, KeyRange)>, Need> {
        let (newer, older) = self.runs.split_at_mut(idx);
        let Some(key) = older.first().and_then(RunCursor::key) else { return Ok(None) };
        for (by, run) in newer.iter_mut().enumerate() {
            match run.covering(key) {
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

    /// Sends all runs that are older than one beyond a range that it deletes.
    fn pass_over(&mut self, by: usize, range: &KeyRange) {
        let target = if self.back { Target::Before(&range.from) } else { Target::From(&range.to) };
        self.order.retain(|idx| {
            let run = &mut self.runs[*idx];
            let is_hidden = *idx > by && run.key().is_some_and(|key| range.contains(key));
            if is_hidden {
                run.seek(target);
                self.moving.push(*idx);
            }
            !is_hidden
        });
    }

    /// The run, by its number, that cannot go on without what [`VersionCursor::poll`] asked for. `None` if it was asked
    /// for to know what a run deletes.
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
            Asked::Row(idx) => self.runs[idx].supply(unit),
            Asked::Covering(idx) => self.runs[idx].supply_covering(unit),
        }
    }
}
