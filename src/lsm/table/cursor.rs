//! Walking over the rows of a table, both ways. Does no I/O: it says which unit it needs, and is handed it.

use std::rc::Rc;

use super::block::BlockCursor;
use super::decoded::Unit;
use super::info::TableInfo;
use super::leaf::Leaf;
use super::stored_row::StoredRow;
use super::top::Top;
use super::unit::{UnitKind, UnitRef};

/// Stands for the number of the last leaf while that is not known.
const LAST_LEAF: usize = usize::MAX;

/// Where a cursor is on its way to.
enum Goal {
    /// It is there: on a row, or beside the rows.
    Reached,
    /// The first row at or behind the key; with `before` the last row before it.
    Key { key: Vec<u8>, before: bool },
    /// A leaf, and a data unit of it: the first row, the last one if it goes `back`. Without a number the data unit is
    /// the first or the last of the leaf.
    Data { leaf: usize, data: Option<usize>, back: bool },
}

/// A place in a table: on a row, beside the rows, or on the way.
///
/// Whoever moves it calls [`TableCursor::poll`] until that returns `None`, handing over what it asks for. At most three
/// units are asked for in a move, and one of them is data.
pub struct TableCursor {
    table: Rc<TableInfo>,
    top: Option<Rc<Top>>,
    /// The leaf that was last used, and its number.
    leaf: Option<(usize, Rc<Leaf>)>,
    /// The data unit that was last used, and the numbers of its leaf and itself.
    data: Option<((usize, usize), BlockCursor)>,
    goal: Goal,
    /// Numbers of the leaf and the data unit asked for last.
    wanted: (usize, usize),
}

impl TableCursor {
    /// Beside the rows of a table.
    pub fn new(table: Rc<TableInfo>) -> TableCursor {
        TableCursor { table, top: None, leaf: None, data: None, goal: Goal::Reached, wanted: (0, 0) }
    }

    /// The table.
    pub fn table(&self) -> &Rc<TableInfo> {
        &self.table
    }

    /// The row it is on. `None` beside the rows and on the way.
    #[inline]
    pub fn row(&self) -> Option<StoredRow<'_>> {
        match (&self.goal, &self.data) {
            (Goal::Reached, Some((_, data))) => data.row(),
            _ => None,
        }
    }

    /// The key of the row it is on.
    pub fn key(&self) -> Option<&[u8]> {
        match (&self.goal, &self.data) {
            (Goal::Reached, Some((_, data))) => data.key(),
            _ => None,
        }
    }

    /// Sets out for the first row.
    pub fn first(&mut self) {
        self.goal = Goal::Data { leaf: 0, data: None, back: false };
    }

    /// Sets out for the last row.
    pub fn last(&mut self) {
        self.goal = Goal::Data { leaf: LAST_LEAF, data: None, back: true };
    }

    /// Sets out for the first row whose key is at least `key`.
    pub fn seek(&mut self, key: &[u8]) {
        self.goal = Goal::Key { key: key.to_vec(), before: false };
    }

    /// Sets out for the last row whose key is less than `key`.
    pub fn seek_before(&mut self, key: &[u8]) {
        self.goal = Goal::Key { key: key.to_vec(), before: true };
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
        assert!(matches!(self.goal, Goal::Reached), "a cursor on its way is not moved by a step");
        let Some(((leaf, idx), data)) = &mut self.data else { return };
        if data.key().is_none() {
            return;
        }
        if back {
            data.prev()
        } else {
            data.next()
        }
        if data.key().is_none() {
            self.goal = beside(*leaf, *idx, back);
        }
    }

    /// Goes on. Returns the unit without which it cannot; `None` once it has arrived.
    pub fn poll(&mut self) -> Option<UnitRef> {
        loop {
            if matches!(self.goal, Goal::Reached) {
                return None;
            }
            let Some(top) = &self.top else { return Some(self.table.top) };
            let leaf_idx = match &self.goal {
                Goal::Key { key, .. } => top.index.find(key),
                Goal::Data { leaf: LAST_LEAF, .. } => top.index.count().checked_sub(1),
                Goal::Data { leaf, .. } => Some(*leaf).filter(|leaf| *leaf < top.index.count()),
                Goal::Reached => None,
            };
            let Some(leaf_idx) = leaf_idx else {
                self.data = None;
                self.goal = Goal::Reached;
                return None;
            };
            let leaf = match &self.leaf {
                Some((idx, leaf)) if *idx == leaf_idx => Rc::clone(leaf),
                _ => {
                    self.wanted = (leaf_idx, 0);
                    return top.index.unit(leaf_idx, UnitKind::Leaf);
                }
            };
            if let Some(unit) = self.poll_leaf(leaf_idx, &leaf) {
                return Some(unit);
            }
        }
    }

    /// Goes on in a leaf: enters the data unit, or sets out for the one beside it, or for another leaf.
    fn poll_leaf(&mut self, leaf_idx: usize, leaf: &Leaf) -> Option<UnitRef> {
        let last = leaf.index.count() - 1;
        let idx = match &self.goal {
            Goal::Key { key, .. } => leaf.index.find(key)?,
            Goal::Data { data, back, .. } => data.unwrap_or(if *back { last } else { 0 }),
            Goal::Reached => return None,
        };
        if idx > last {
            self.goal = Goal::Data { leaf: leaf_idx + 1, data: None, back: false };
            return None;
        }
        let data = match &mut self.data {
            Some((at, data)) if *at == (leaf_idx, idx) => data,
            _ => {
                self.wanted = (leaf_idx, idx);
                return leaf.index.unit(idx, UnitKind::Data);
            }
        };
        let back = match &self.goal {
            Goal::Key { key, before: false } => {
                data.seek(key);
                false
            }
            Goal::Key { key, before: true } => {
                data.seek_before(key);
                true
            }
            Goal::Data { back, .. } => {
                if *back {
                    data.last()
                } else {
                    data.first()
                }
                *back
            }
            Goal::Reached => return None,
        };
        self.goal = if data.key().is_some() { Goal::Reached } else { beside(leaf_idx, idx, back) };
        None
    }

    /// Hands over what [`TableCursor::poll`] asked for.
    ///
    /// # Panics
    /// If it asked for something else.
    pub fn supply(&mut self, unit: Unit) {
        let (leaf_idx, idx) = self.wanted;
        match unit {
            Unit::Top(top) => self.top = Some(top),
            Unit::Leaf(leaf) => self.leaf = Some((leaf_idx, leaf)),
            Unit::Data(block) => self.data = Some(((leaf_idx, idx), BlockCursor::new(block))),
            Unit::Properties(_) => panic!("no cursor asks for properties"),
        }
    }
}

/// The way to the data unit beside one, or beside the rows if it was the first; if it was the last shows on the way.
fn beside(leaf: usize, idx: usize, back: bool) -> Goal {
    match (back, idx, leaf) {
        (false, ..) => Goal::Data { leaf, data: Some(idx + 1), back },
        (true, 0, 0) => Goal::Reached,
        (true, 0, _) => Goal::Data { leaf: leaf - 1, data: None, back },
        (true, ..) => Goal::Data { leaf, data: Some(idx - 1), back },
    }
}
