//! An exact judgement of objects of one key that is only set, swapped and read, however many operations overlap.
//!
//! Every write gives a value of its own there, so an answer tells which write it saw. A write with the reads of its value
//! must stand together in any order that explains everything, and a swap stands right behind the write whose value it
//! answers. Such a *run* has to come before another one if any of its operations ends before any of the other's begins;
//! there is an order if, and only if, no two runs have to come before each other, and none contradicts itself (Gibbons and
//! Korach, "Testing Shared Memories", theorem 4.3 for reads whose writes are known).

use std::collections::{HashMap, HashSet};

use types::Instant;

use super::objects::{Object, Op};
use super::value::{Answer, Step, Value};

/// What is known of such an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Registers {
    /// There is an order.
    Explained,
    /// There is none, and this operation is among those that contradict each other.
    Contradiction { op: usize },
    /// The object is of another kind.
    Other,
}

/// A time in nanoseconds, from 1 on, so that there is one before all others.
type Moment = u64;
const BEFORE_ALL: Moment = 0;

fn moment(time: Instant) -> Moment {
    time.as_nanos().saturating_add(1)
}

/// A write with the reads of its value: the earliest end and the latest begin of all of them, and whose begin that is.
#[derive(Clone, Copy, Debug)]
struct Cluster {
    /// The write; `None` for the absent value, which was there before everything.
    write: Option<usize>,
    first_end: Moment,
    last_begin: Moment,
    last: Option<usize>,
    /// The cluster right behind this one: that of the swap which has seen its value.
    next: Option<usize>,
    has_before: bool,
}

impl Cluster {
    fn new(first_end: Moment) -> Cluster {
        Cluster { write: None, first_end, last_begin: BEFORE_ALL, last: None, next: None, has_before: false }
    }

    fn add(&mut self, idx: usize, op: &Op) {
        self.first_end = self.first_end.min(moment(op.end));
        if moment(op.begin) >= self.last_begin {
            self.last_begin = moment(op.begin);
            self.last = Some(idx);
        }
    }
}

/// Judges an object.
pub(super) fn judge(object: &Object) -> Registers {
    let is_kept = |op: &Op| matches!(op.step, Step::Get(_) | Step::Set(..) | Step::GetSet(..));
    if object.keys.len() != 1 || !object.ops.iter().all(is_kept) {
        return Registers::Other;
    }
    let Some(writes) = Writes::of(object) else { return Registers::Other };
    match writes.clusters(object).and_then(join) {
        Ok(runs) => judge_runs(runs),
        Err(op) => Registers::Contradiction { op },
    }
}

/// Which cluster belongs to what.
struct Writes {
    /// The cluster of each value that was seen; that of the absent one is 0.
    of_value: HashMap<Value, usize>,
    /// The cluster of each write.
    of_op: Vec<Option<usize>>,
    count: usize,
}

impl Writes {
    /// `None` if a value that was seen has more than one writer.
    fn of(object: &Object) -> Option<Writes> {
        let seen: HashSet<Value> = object.ops.iter().filter_map(seen_by).collect();
        let mut writes = Writes { of_value: HashMap::from([(Value::Absent, 0)]), of_op: Vec::new(), count: 1 };
        for op in &object.ops {
            let (Step::Set(_, value) | Step::GetSet(_, value)) = &op.step else {
                writes.of_op.push(None);
                continue;
            };
            if seen.contains(value) && writes.of_value.insert(*value, writes.count).is_some() {
                return None;
            }
            writes.of_op.push(Some(writes.count));
            writes.count += 1;
        }
        Some(writes)
    }

    /// The clusters, or an operation that answers what it cannot.
    fn clusters(&self, object: &Object) -> Result<Vec<Cluster>, usize> {
        let mut clusters = vec![Cluster::new(u64::MAX); self.count];
        clusters[0].first_end = BEFORE_ALL;
        for (idx, op) in object.ops.iter().enumerate() {
            if let Some(number) = self.of_op[idx] {
                clusters[number].write = Some(idx);
                clusters[number].add(idx, op);
            }
        }
        for (idx, op) in object.ops.iter().enumerate() {
            let Some(value) = seen_by(op) else { continue };
            let number = *self.of_value.get(&value).ok_or(idx)?;
            if clusters[number].write.is_some_and(|write| op.end < object.ops[write].begin) {
                return Err(idx);
            }
            match self.of_op[idx] {
                None => clusters[number].add(idx, op),
                Some(behind) => {
                    if clusters[number].next.replace(behind).is_some() {
                        // Two swaps have seen one value.
                        return Err(idx);
                    }
                    clusters[behind].has_before = true;
                }
            }
        }
        Ok(clusters)
    }
}

/// The value that an operation has answered.
fn seen_by(op: &Op) -> Option<Value> {
    match op.answer {
        Some(Answer::Value(value)) => Some(value),
        _ => None,
    }
}

/// Makes one of all clusters that have to stand behind each other.
fn join(clusters: Vec<Cluster>) -> Result<Vec<Cluster>, usize> {
    let mut runs = Vec::with_capacity(clusters.len());
    let mut joined_count = 0;
    for first in clusters.iter().filter(|cluster| !cluster.has_before) {
        let mut run = *first;
        let mut next = first.next;
        joined_count += 1;
        while let Some(number) = next {
            let cluster = &clusters[number];
            // Nothing of what comes later in a run may end before something earlier begins.
            if cluster.first_end < run.last_begin {
                return Err(cluster.write.unwrap_or(0));
            }
            run.first_end = run.first_end.min(cluster.first_end);
            if cluster.last_begin >= run.last_begin {
                run.last_begin = cluster.last_begin;
                run.last = cluster.last;
            }
            next = cluster.next;
            joined_count += 1;
        }
        runs.push(run);
    }
    if joined_count < clusters.len() {
        // Swaps that have seen each other's values in a circle.
        let circle = clusters.iter().find(|cluster| cluster.has_before && cluster.write.is_some());
        return Err(circle.and_then(|cluster| cluster.write).unwrap_or(0));
    }
    Ok(runs)
}

/// Looks for two runs of which each has to come before the other.
fn judge_runs(mut runs: Vec<Cluster>) -> Registers {
    runs.sort_by_key(|run| run.first_end);
    // The latest begin among the runs up to each.
    let mut latest: Vec<(Moment, Option<usize>)> = Vec::with_capacity(runs.len());
    for (number, run) in runs.iter().enumerate() {
        // Those earlier ones that have to come before this one: their first end is before its last begin.
        let count = runs[..number].partition_point(|other| other.first_end < run.last_begin);
        if let Some((begin, op)) = count.checked_sub(1).map(|last| latest[last])
            && run.first_end < begin
        {
            return Registers::Contradiction { op: op.or(run.last).unwrap_or(0) };
        }
        let before = latest.last().copied().unwrap_or((BEFORE_ALL, None));
        latest.push(if run.last_begin > before.0 { (run.last_begin, run.last) } else { before });
    }
    Registers::Explained
}
