//! Reading parts of a file from front to back, some of them ahead: at the speed of the disk.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use host::{ALIGNMENT, Disk, IoClass};

use crate::error::Error;
use crate::files::{Files, ReadBytes};

/// Longest read: what a background class has in flight as one.
pub(super) const READ_BYTES_MAX: u64 = 256 << 10;
/// Most reads of a file that are in flight, or done and not asked for yet.
pub(super) const READS_COUNT_MAX: usize = 5;
/// Bytes of these reads.
pub(super) const READ_AHEAD_BYTES_MAX: usize = READS_COUNT_MAX * READ_BYTES_MAX as usize;

const _: () = assert!(READ_BYTES_MAX.is_multiple_of(ALIGNMENT as u64) && READS_COUNT_MAX > 1);

/// Parts of a file that are read in order. Dropping it takes back what is in flight.
pub(super) struct ReadAhead<D: Disk> {
    files: Rc<Files<D>>,
    number: u64,
    class: IoClass,
    reads_count: usize,
    /// What has not been begun. Invariant: no range is empty.
    planned: VecDeque<Range<u64>>,
    /// Invariant: in the order in which they are asked for, before all that is planned.
    begun: VecDeque<(Range<u64>, Read)>,
}

enum Read {
    Busy(Pin<Box<dyn Future<Output = Result<ReadBytes, Error>>>>),
    Done(Result<ReadBytes, Error>),
}

impl Read {
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Read::Busy(future) = self
            && let Poll::Ready(result) = future.as_mut().poll(cx)
        {
            *self = Read::Done(result);
        }
    }
}

impl<D: Disk> ReadAhead<D> {
    /// Ranges of the file with a number, in this order, so many of them at the same time. Long ones are cut at multiples of
    /// [`READ_BYTES_MAX`] in the file.
    pub(super) fn new(
        files: Rc<Files<D>>,
        number: u64,
        (class, reads_count): (IoClass, usize),
        ranges: impl Iterator<Item = Range<u64>>,
    ) -> ReadAhead<D> {
        let planned = ranges.flat_map(cut).collect();
        ReadAhead { files, number, class, reads_count, planned, begun: VecDeque::new() }
    }

    /// Passes over all before the range that an offset lies in. If it lies in none that is left, does nothing and says
    /// so.
    pub(super) fn skip_to(&mut self, offset: u64) -> bool {
        let mut ranges = self.begun.iter().map(|(range, _)| range).chain(&self.planned);
        let Some(count) = ranges.position(|range| range.contains(&offset)) else { return false };
        let of_begun = count.min(self.begun.len());
        self.begun.drain(..of_begun);
        self.planned.drain(..count - of_begun);
        true
    }

    /// The bytes of the next range, and where it begins. `None` behind the last.
    pub(super) async fn next(&mut self) -> Option<Result<(u64, ReadBytes), Error>> {
        while self.begun.len() < self.reads_count {
            let Some(range) = self.planned.pop_front() else { break };
            self.begun.push_back((range.clone(), self.read(range)));
        }
        // Those behind are polled too: that is what begins them.
        poll_fn(|cx| {
            self.begun.iter_mut().for_each(|(_, read)| read.poll(cx));
            match self.begun.pop_front() {
                None => Poll::Ready(None),
                Some((range, Read::Done(result))) => Poll::Ready(Some(result.map(|bytes| (range.start, bytes)))),
                Some(busy) => {
                    self.begun.push_front(busy);
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn read(&self, range: Range<u64>) -> Read {
        let (files, number, class) = (Rc::clone(&self.files), self.number, self.class);
        // It is no longer than the longest read.
        let len = (range.end - range.start) as usize;
        Read::Busy(Box::pin(async move { files.read(number, range.start, len, class).await }))
    }
}

fn cut(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let Range { mut start, end } = range;
    std::iter::from_fn(move || {
        let boundary = start - start % READ_BYTES_MAX + READ_BYTES_MAX;
        let piece = start..end.min(boundary);
        start = piece.end;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_at_boundaries_of_the_file() {
        const K: u64 = 1 << 10;
        let cut = |range| cut(range).map(|piece| (piece.start, piece.end)).collect::<Vec<_>>();
        assert_eq!(cut(0..0), []);
        assert_eq!(cut(5..5), []);
        assert_eq!(cut(0..256 * K), [(0, 256 * K)]);
        assert_eq!(cut(100..513 * K), [(100, 256 * K), (256 * K, 512 * K), (512 * K, 513 * K)]);
    }
}
