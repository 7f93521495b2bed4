//! Files that tables and blobs lie in, as long as somebody names them.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::{Rc, Weak};

#[derive(Default)]
struct Inner {
    /// Invariant: a file that somebody names is here and not in `unnamed`.
    named: BTreeMap<u64, Weak<NamedFile>>,
    unnamed: VecDeque<u64>,
    /// The number of the next file that is made.
    next: u64,
    /// Invariant: numbers below it were reserved durably.
    limit: u64,
}

/// The files of a store, by their numbers. Clones are one and the same set.
#[derive(Clone, Default)]
pub struct FileSet(Rc<RefCell<Inner>>);

/// A file that somebody names. When the last clone of its `Rc` is dropped it waits to be deleted.
pub struct NamedFile {
    number: u64,
    set: FileSet,
}

impl NamedFile {
    /// Its number in this store.
    pub fn number(&self) -> u64 {
        self.number
    }
}

impl FileSet {
    /// The file with a number, which is named from now on.
    pub fn name(&self, number: u64) -> Rc<NamedFile> {
        let mut inner = self.0.borrow_mut();
        if let Some(file) = inner.named.get(&number).and_then(Weak::upgrade) {
            return file;
        }
        inner.unnamed.retain(|unnamed| *unnamed != number);
        let file = Rc::new(NamedFile { number, set: self.clone() });
        inner.named.insert(number, Rc::downgrade(&file));
        file
    }

    /// A file that is still to be made, with a number that no file has had. `None` until more numbers are reserved.
    pub fn give(&self) -> Option<Rc<NamedFile>> {
        let number = {
            let mut inner = self.0.borrow_mut();
            let number = inner.next;
            inner.next += u64::from(number < inner.limit);
            (number < inner.limit).then_some(number)?
        };
        Some(self.name(number))
    }

    /// Gives numbers below the limit from now on, beginning with `next` unless smaller ones were given.
    pub(crate) fn reserve(&self, next: u64, limit: u64) {
        let mut inner = self.0.borrow_mut();
        inner.next = inner.next.max(next);
        inner.limit = limit;
    }

    /// Whether [`FileSet::give`] has no number left, since none could be reserved: a start on a full disk does without.
    pub fn is_exhausted(&self) -> bool {
        self.numbers_left() == 0
    }

    /// How many numbers are left to give.
    pub(crate) fn numbers_left(&self) -> u64 {
        let inner = self.0.borrow();
        inner.limit - inner.next
    }

    /// Whether somebody names the file.
    pub fn is_named(&self, number: u64) -> bool {
        self.0.borrow().named.contains_key(&number)
    }

    /// The oldest of the files that nobody names any more, to be deleted. The caller paces.
    pub fn take_unnamed(&self) -> Option<u64> {
        self.0.borrow_mut().unnamed.pop_front()
    }

    /// A file that is there and that nobody names, or that could not be deleted.
    pub fn add_unnamed(&self, number: u64) {
        let mut inner = self.0.borrow_mut();
        if !inner.named.contains_key(&number) && !inner.unnamed.contains(&number) {
            inner.unnamed.push_back(number);
        }
    }

    /// How many files wait to be deleted.
    pub fn unnamed_count(&self) -> usize {
        self.0.borrow().unnamed.len()
    }
}

impl Drop for NamedFile {
    fn drop(&mut self) {
        let mut inner = self.set.0.borrow_mut();
        inner.named.remove(&self.number);
        inner.unnamed.push_back(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_handed_out_once_nobody_names_it() {
        let files = FileSet::default();
        let (one, two) = (files.name(1), files.name(2));
        let again = files.name(1);
        drop(one);
        assert!(files.is_named(1) && files.take_unnamed().is_none());
        drop(again);
        drop(two);
        assert!(!files.is_named(1));
        assert_eq!([files.take_unnamed(), files.take_unnamed(), files.take_unnamed()], [Some(1), Some(2), None]);
    }

    #[test]
    fn a_file_that_is_named_again_is_not_handed_out() {
        let files = FileSet::default();
        drop(files.name(1));
        files.add_unnamed(1);
        assert_eq!(files.unnamed_count(), 1);
        let file = files.name(1);
        files.add_unnamed(1);
        assert_eq!(files.take_unnamed(), None);
        drop(file);
        assert_eq!(files.take_unnamed(), Some(1));
    }
}
