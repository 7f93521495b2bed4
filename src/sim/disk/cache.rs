//! The drive's volatile cache: what it has taken and not put on the medium.

use std::ops::Range;

use crate::prng::Prng;

/// How likely a write in the cache is lost when power fails, in millionths.
const LOST_PPM: u32 = 500_000;

/// Writes in the cache, the oldest first, each with what the medium holds in its place.
#[derive(Debug)]
pub(super) struct VolatileCache<Page> {
    writes: Vec<Cached<Page>>,
}

/// What the medium holds where the cache holds a write.
#[derive(Debug)]
pub(super) struct Cached<Page> {
    pub(super) file: u32,
    pub(super) first_page: usize,
    pub(super) medium: Vec<Option<Page>>,
}

impl<Page> VolatileCache<Page> {
    /// An empty cache.
    pub(super) fn new() -> VolatileCache<Page> {
        VolatileCache { writes: Vec::new() }
    }

    /// Takes a write.
    pub(super) fn push(&mut self, cached: Cached<Page>) {
        self.writes.push(cached);
    }

    /// A write to these pages has ended: it is on the medium, and with it what the cache holds of the same place.
    pub(super) fn flush(&mut self, file: u32, pages: Range<usize>) {
        self.writes.retain(|cached| {
            let end = cached.first_page + cached.medium.len();
            cached.file != file || end <= pages.start || pages.end <= cached.first_page
        });
    }

    /// Power fails: empties the cache, and returns the writes that are lost, the newest first.
    pub(super) fn lose(&mut self, prng: &mut Prng) -> Vec<Cached<Page>> {
        let writes = std::mem::take(&mut self.writes).into_iter().rev();
        writes.filter(|_| prng.bernoulli(LOST_PPM)).collect()
    }
}
