//! The reads of a group that wait outside of batches: for an index to be applied, or for a check of the leadership.
//!
//! Each stands in two lists: of those that wait for the same, and of those of its source. So whatever is done to a read costs
//! the same however many others wait, and what is done to the reads of a source costs as much as it has of them.
//!
//! Invariants, for the reads of a source in the order in which they came:
//! - Those that wait for an index come before those that wait for a check.
//! - Among the former, indexes do not decrease, and those whose leadership is confirmed come before those that rest on a lease.

use std::collections::{BTreeMap, HashMap, VecDeque};

use types::{Index, Instant};

use crate::origin::Source;
use crate::request::OwnedRequest;

/// A read that waits.
pub(super) struct WaitingRead {
    pub(super) request: OwnedRequest,
    /// It can be served once this is applied ...
    pub(super) index: Index,
    /// ... and, unless ReadIndex has confirmed the leadership since it arrived, while there is a lease.
    pub(super) is_confirmed: bool,
    /// When it came.
    pub(super) since: Instant,
}

/// What a read that waits takes beside its request, in bytes.
pub(super) const OVERHEAD: usize = size_of::<Node>() - size_of::<OwnedRequest>();

/// What a read waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitsFor {
    /// For its index.
    Index(Index),
    /// For the leadership check of this number.
    Check(u64),
}

/// The memory of this many reads is kept when none waits.
const SPARE_COUNT_MAX: usize = 1_024;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// The place of a read in a list: the numbers of its neighbours.
#[derive(Clone, Copy)]
struct Links {
    before: u32,
    behind: u32,
}

/// A list of reads: the numbers of the first and the last one.
#[derive(Clone, Copy)]
struct List {
    first: u32,
    last: u32,
}

/// The lists in which each read stands.
#[derive(Clone, Copy)]
enum Kind {
    /// Of those that wait for the same.
    SameWait = 0,
    /// Of those of its source.
    SameSource = 1,
}

struct Node {
    read: WaitingRead,
    waits_for: WaitsFor,
    links: [Links; 2],
}

/// The reads, by number. Numbers are used again.
#[derive(Default)]
struct Nodes {
    list: Vec<Option<Node>>,
    free: Vec<u32>,
    /// How often one was looked at.
    #[cfg(test)]
    looks: std::cell::Cell<usize>,
}

impl Nodes {
    fn get(&self, number: u32) -> &Node {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        self.list[number as usize].as_ref().expect("lists hold reads that wait")
    }

    fn get_mut(&mut self, number: u32) -> &mut Node {
        #[cfg(test)]
        self.looks.set(self.looks.get() + 1);
        self.list[number as usize].as_mut().expect("lists hold reads that wait")
    }

    fn insert(&mut self, node: Node) -> u32 {
        if let Some(number) = self.free.pop() {
            self.list[number as usize] = Some(node);
            return number;
        }
        self.list.push(Some(node));
        self.list.len() as u32 - 1
    }

    /// Takes out a read that stands in no list any more.
    fn remove(&mut self, number: u32) -> WaitingRead {
        let node = self.list[number as usize].take().expect("lists hold reads that wait");
        self.free.push(number);
        if self.free.len() == self.list.len() {
            self.list.clear();
            self.free.clear();
            self.list.shrink_to(SPARE_COUNT_MAX);
            self.free.shrink_to(SPARE_COUNT_MAX);
        }
        node.read
    }

    /// Puts a read at the end of a list.
    fn append(&mut self, list: Option<List>, kind: Kind, number: u32) -> List {
        let before = list.map_or(NONE, |list| list.last);
        if before != NONE {
            self.get_mut(before).links[kind as usize].behind = number;
        }
        self.get_mut(number).links[kind as usize] = Links { before, behind: NONE };
        List { first: list.map_or(number, |list| list.first), last: number }
    }

    /// Takes a read out of a list. Returns what is left of it.
    fn unlink(&mut self, list: List, kind: Kind, number: u32) -> Option<List> {
        let Links { before, behind } = self.get(number).links[kind as usize];
        let mut left = list;
        match before {
            NONE => left.first = behind,
            before => self.get_mut(before).links[kind as usize].behind = behind,
        }
        match behind {
            NONE => left.last = before,
            behind => self.get_mut(behind).links[kind as usize].before = before,
        }
        (left.first != NONE).then_some(left)
    }
}

/// The reads of a group that wait outside of batches.
#[derive(Default)]
pub(super) struct WaitingReads {
    nodes: Nodes,
    by_index: BTreeMap<Index, List>,
    by_check: BTreeMap<u64, List>,
    by_source: HashMap<Source, List>,
    /// How many checks were asked for. The next has this number; reads of one turn share one.
    checks_count: u64,
    /// Checks that have confirmed the leadership, with the index that their reads wait for now, as far as not all of those were
    /// told so. Earlier ones come first.
    confirmed: VecDeque<(u64, Index)>,
    bytes: usize,
}

impl WaitingReads {
    pub(super) fn is_empty(&self) -> bool {
        self.by_source.is_empty()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.list.len() - self.nodes.free.len()
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes of all, added up anew.
    pub(super) fn held_bytes(&self) -> usize {
        self.nodes.list.iter().flatten().map(|node| node.read.request.bytes() + OVERHEAD).sum()
    }

    /// What the last read of a source waits for, if one waits.
    pub(super) fn last_of(&self, source: Source) -> Option<WaitsFor> {
        self.by_source.get(&source).map(|list| self.nodes.get(list.last).waits_for)
    }

    /// Adds a read that waits for its index, or for that of the read before it from the same source if that is later.
    pub(super) fn push_by_index(&mut self, mut read: WaitingRead) {
        if let Some(WaitsFor::Index(before)) = self.last_of(read.request.origin.source()) {
            read.index = read.index.max(before);
        }
        let waits_for = WaitsFor::Index(read.index);
        self.push(read, waits_for);
    }

    /// Adds a read that waits for the next leadership check.
    pub(super) fn push_by_check(&mut self, read: WaitingRead) {
        self.push(read, WaitsFor::Check(self.checks_count));
    }

    fn push(&mut self, read: WaitingRead, waits_for: WaitsFor) {
        self.bytes += read.request.bytes() + OVERHEAD;
        let source = read.request.origin.source();
        let nowhere = Links { before: NONE, behind: NONE };
        let number = self.nodes.insert(Node { read, waits_for, links: [nowhere; 2] });
        let of_source = self.by_source.get(&source).copied();
        self.by_source.insert(source, self.nodes.append(of_source, Kind::SameSource, number));
        self.begin_wait(number);
    }

    /// Puts a read behind those that wait for the same.
    fn begin_wait(&mut self, number: u32) {
        match self.nodes.get(number).waits_for {
            WaitsFor::Index(index) => {
                let list = self.by_index.get(&index).copied();
                self.by_index.insert(index, self.nodes.append(list, Kind::SameWait, number));
            }
            WaitsFor::Check(check) => {
                let list = self.by_check.get(&check).copied();
                self.by_check.insert(check, self.nodes.append(list, Kind::SameWait, number));
            }
        }
    }

    fn end_wait(&mut self, number: u32) {
        match self.nodes.get(number).waits_for {
            WaitsFor::Index(index) => {
                let list = self.by_index.remove(&index).expect("a read stands among those that wait for the same");
                if let Some(left) = self.nodes.unlink(list, Kind::SameWait, number) {
                    self.by_index.insert(index, left);
                }
            }
            WaitsFor::Check(check) => {
                let list = self.by_check.remove(&check).expect("a read stands among those that wait for the same");
                if let Some(left) = self.nodes.unlink(list, Kind::SameWait, number) {
                    self.by_check.insert(check, left);
                }
            }
        }
    }

    fn take(&mut self, number: u32) -> WaitingRead {
        self.end_wait(number);
        let source = self.nodes.get(number).read.request.origin.source();
        let list = self.by_source.remove(&source).expect("a read stands among those of its source");
        if let Some(left) = self.nodes.unlink(list, Kind::SameSource, number) {
            self.by_source.insert(source, left);
        } else if self.by_source.is_empty() {
            self.by_source.shrink_to(SPARE_COUNT_MAX);
        }
        let read = self.nodes.remove(number);
        self.bytes -= read.request.bytes() + OVERHEAD;
        read
    }

    /// Takes out the first read of a source.
    pub(super) fn take_first_of(&mut self, source: Source) -> Option<WaitingRead> {
        let first = self.by_source.get(&source)?.first;
        Some(self.take(first))
    }

    /// The first read whose index is applied: its source, and whether its leadership is confirmed.
    pub(super) fn first_applied(&self, applied: Index) -> Option<(Source, bool)> {
        let (index, list) = self.by_index.first_key_value()?;
        let read = &self.nodes.get(list.first).read;
        (*index <= applied).then(|| (read.request.origin.source(), read.is_confirmed))
    }

    /// Takes out the read that waits for the lowest index, and among those the first.
    pub(super) fn take_first_by_index(&mut self) -> Option<WaitingRead> {
        let first = self.by_index.first_key_value()?.1.first;
        Some(self.take(first))
    }

    /// Takes out all reads at once: what they wait for will not come.
    pub(super) fn detach(&mut self) -> WaitingReads {
        let emptied = WaitingReads { checks_count: self.checks_count, ..WaitingReads::default() };
        std::mem::replace(self, emptied)
    }

    /// Takes out a read behind which no other of its source waits.
    pub(super) fn pop_last(&mut self) -> Option<WaitingRead> {
        let by_check = self.by_check.last_key_value().map(|(_, list)| list.last);
        let last = by_check.or_else(|| self.by_index.last_key_value().map(|(_, list)| list.last))?;
        Some(self.take(last))
    }

    /// Reads of a source that rest on a lease wait for the next leadership check instead, so that none that comes behind them
    /// is checked before them. A read is moved once at most.
    pub(super) fn recheck(&mut self, source: Source) {
        let Some(list) = self.by_source.get(&source) else { return };
        let (mut first, mut before) = (NONE, list.last);
        while before != NONE {
            let node = self.nodes.get(before);
            if node.read.is_confirmed || matches!(node.waits_for, WaitsFor::Check(_)) {
                break;
            }
            (first, before) = (before, node.links[Kind::SameSource as usize].before);
        }
        while first != NONE {
            self.end_wait(first);
            let node = self.nodes.get_mut(first);
            node.waits_for = WaitsFor::Check(self.checks_count);
            let behind = node.links[Kind::SameSource as usize].behind;
            self.begin_wait(first);
            first = behind;
        }
    }

    /// The number of the check that reads wait for which came since the last one, if there are any.
    pub(super) fn next_check(&self) -> Option<u64> {
        self.has_check(self.checks_count).then_some(self.checks_count)
    }

    /// The next check has begun. Later reads wait for another.
    pub(super) fn begin_next_check(&mut self) {
        self.checks_count += 1;
    }

    /// Whether reads wait for a check.
    pub(super) fn has_check(&self, check: u64) -> bool {
        self.by_check.contains_key(&check)
    }

    /// A check has confirmed the leadership: its reads wait for this index, or for a later one, once [`Self::go_on_confirming`]
    /// has come to them.
    pub(super) fn confirm(&mut self, check: u64, index: Index) {
        self.confirmed.push_back((check, index));
    }

    /// Lets one read of a check that has confirmed the leadership wait for its index. Returns whether there was one.
    pub(super) fn go_on_confirming(&mut self) -> bool {
        while let Some((check, index)) = self.confirmed.front().copied() {
            if let Some(list) = self.by_check.get(&check) {
                self.confirm_one(list.first, index);
                return true;
            }
            self.confirmed.pop_front();
        }
        false
    }

    fn confirm_one(&mut self, number: u32, index: Index) {
        self.end_wait(number);
        let before = self.nodes.get(number).links[Kind::SameSource as usize].before;
        let index_before = match before {
            NONE => 0,
            before => self.nodes.get(before).read.index,
        };
        let node = self.nodes.get_mut(number);
        let read = &mut node.read;
        (read.index, read.is_confirmed) = (read.index.max(index).max(index_before), true);
        node.waits_for = WaitsFor::Index(read.index);
        self.begin_wait(number);
    }

    /// Whether reads are to be confirmed, or wait for an index up to this one.
    pub(super) fn may_go_on(&self, applied: Index) -> bool {
        !self.confirmed.is_empty() || self.first_applied(applied).is_some()
    }
}

#[cfg(test)]
impl WaitingReads {
    /// How often a read was looked at.
    pub(super) fn looks_count(&self) -> usize {
        self.nodes.looks.get()
    }

    /// How many reads wait for each check.
    pub(super) fn counts_by_check(&self) -> Vec<usize> {
        let count = |check: &u64| {
            let waits = |node: &&Node| node.waits_for == WaitsFor::Check(*check);
            self.nodes.list.iter().flatten().filter(waits).count()
        };
        self.by_check.keys().map(count).collect()
    }
}

#[cfg(test)]
#[path = "waiting_reads_tests.rs"]
mod tests;
