//! Reads that wait, against a list of them that is searched from end to end.

use host::ConnId;
use resp::Args;
use types::Slot;

use super::*;
use crate::origin::Origin;
use crate::request::OwnedArgs;

fn source(idx: u32) -> Source {
    Source::Client(ConnId { idx, generation: 0 })
}

fn read(idx: u32, seq: u64, index: Index) -> WaitingRead {
    let origin = Origin::Client { conn: ConnId { idx, generation: 0 }, seq, protocol: resp::Protocol::Resp2 };
    let command = resp::lookup(b"get").unwrap();
    let args = OwnedArgs::of(Args::new(&vec![b'x'; seq as usize % 7], &[resp::ArgRange { start: 0, end: 0 }]));
    let request = OwnedRequest { origin, command, slot: Slot::default(), args };
    WaitingRead { request, index, is_confirmed: false, since: Instant::ZERO }
}

fn seq(read: &WaitingRead) -> u64 {
    match read.request.origin {
        Origin::Client { seq, .. } => seq,
        _ => panic!("not of these tests"),
    }
}

/// The numbers of these reads, source by source, those of each as they come.
fn in_order(reads: &[WaitingRead]) -> Vec<u64> {
    let mut reads: Vec<&WaitingRead> = reads.iter().collect();
    reads.sort_by_key(|read| read.request.origin.source());
    reads.into_iter().map(seq).collect()
}

/// A read of the model: its source, number, what it waits for, and whether it is confirmed.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Known {
    source: u32,
    seq: u64,
    index: Index,
    check: Option<u64>,
    is_confirmed: bool,
}

#[derive(Default)]
struct Model {
    /// In the order in which they came.
    list: Vec<Known>,
    /// The next check, and those that are under way.
    next: u64,
    under_way: Vec<u64>,
}

impl Model {
    fn take(&mut self, is_wanted: impl Fn(&Known) -> bool) -> Vec<Known> {
        self.list.extract_if(.., |known| is_wanted(known)).collect()
    }

    fn last_of(&self, source: u32) -> Option<Known> {
        self.list.iter().rfind(|known| known.source == source).copied()
    }

    fn recheck(&mut self, source: u32) {
        let next = self.next;
        let rests = |known: &&mut Known| known.source == source && known.check.is_none() && !known.is_confirmed;
        self.list.iter_mut().filter(rests).for_each(|known| known.check = Some(next));
    }
}

/// Adds a read as the groups do: on a lease, or behind a check.
fn add(reads: &mut WaitingReads, model: &mut Model, (of, seq): (u32, u64), index: Index, has_lease: bool) {
    let last = model.last_of(of);
    let expected = last.map(|last| last.check.map_or(WaitsFor::Index(last.index), WaitsFor::Check));
    assert_eq!(reads.last_of(source(of)), expected);
    if has_lease && !matches!(expected, Some(WaitsFor::Check(_))) {
        reads.push_by_index(read(of, seq, index));
        let index = index.max(last.map_or(0, |last| last.index));
        return model.list.push(Known { source: of, seq, index, check: None, is_confirmed: false });
    }
    reads.recheck(source(of));
    model.recheck(of);
    reads.push_by_check(read(of, seq, index));
    model.list.push(Known { source: of, seq, index, check: Some(model.next), is_confirmed: false });
}

fn confirm(model: &mut Model, check: u64, index: Index) {
    for at in 0..model.list.len() {
        let known = model.list[at];
        if known.check == Some(check) {
            let before = model.list[..at].iter().rfind(|before| before.source == known.source);
            let index = known.index.max(index).max(before.map_or(0, |before| before.index));
            model.list[at] = Known { index, check: None, is_confirmed: true, ..known };
        }
    }
}

#[test]
fn reads_wait_where_a_list_of_all_says() {
    let mut state = 1_u64;
    let mut draw = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let (mut reads, mut model) = (WaitingReads::default(), Model::default());
    let mut applied = 10;
    for at in 0..20_000 {
        let of = draw(5) as u32;
        match draw(12) {
            0..=4 => add(&mut reads, &mut model, (of, at), applied + draw(4), draw(2) == 0),
            5 => {
                let taken: Vec<u64> =
                    std::iter::from_fn(|| reads.take_first_of(source(of))).map(|read| seq(&read)).collect();
                let expected = model.take(|known| known.source == of);
                assert_eq!(taken, expected.iter().map(|known| known.seq).collect::<Vec<_>>());
            }
            6 | 7 => {
                let begun = reads.next_check();
                assert_eq!(begun.is_some(), model.list.iter().any(|known| known.check == Some(model.next)));
                if let Some(check) = begun {
                    assert_eq!(check, model.next);
                    reads.begin_next_check();
                    model.next += 1;
                    model.under_way.push(check);
                }
            }
            8..=10 if !model.under_way.is_empty() => {
                let check = model.under_way.remove(0);
                reads.confirm(check, applied + 1);
                let known = model.list.iter().filter(|known| known.check == Some(check)).count();
                assert_eq!(std::iter::from_fn(|| reads.go_on_confirming().then_some(())).count(), known);
                confirm(&mut model, check, applied + 1);
            }
            _ => {
                applied += 1;
                while let Some((of, is_confirmed)) = reads.first_applied(applied) {
                    let taken = reads.take_first_by_index().unwrap();
                    let known = model.take(|known| known.seq == seq(&taken));
                    let [known] = known[..] else { panic!("it does not wait") };
                    assert!(known.check.is_none() && known.index <= applied);
                    assert_eq!((source(known.source), known.is_confirmed), (of, is_confirmed));
                    let is_older = |other: &Known| other.source == known.source && other.seq < known.seq;
                    assert!(!model.list.iter().any(is_older), "it overtakes a read of its source");
                }
                assert!(!model.list.iter().any(|known| known.check.is_none() && known.index <= applied));
            }
        }
        assert_eq!((reads.bytes(), reads.len()), (reads.held_bytes(), model.list.len()));
    }
    (20_000..20_050)
        .for_each(|at| add(&mut reads, &mut model, (at as u32 % 5, at), applied + 1 + at % 3, at % 7 < 3));
    let mut left = model.take(|_| true);
    left.sort_by_key(|known| (source(known.source), known.seq));
    assert!(!left.is_empty());
    let mut detached = reads.detach();
    let mut taken: Vec<_> = std::iter::from_fn(|| detached.pop_last()).collect();
    taken.reverse();
    assert_eq!(in_order(&taken), left.iter().map(|known| known.seq).collect::<Vec<_>>());
    assert!(reads.is_empty() && reads.bytes() == 0);
    assert!(detached.is_empty() && detached.bytes() == 0);
}

#[test]
fn memory_of_many_reads_is_given_back() {
    let mut reads = WaitingReads::default();
    for at in 0..10_000 {
        reads.push_by_check(read(at as u32, at, 0));
    }
    assert!(reads.nodes.list.capacity() >= 10_000);
    while reads.pop_last().is_some() {}
    let kept = [reads.nodes.list.capacity(), reads.nodes.free.capacity(), reads.by_source.capacity() / 2];
    assert!(kept.iter().all(|count| *count <= SPARE_COUNT_MAX), "{kept:?}");
}
