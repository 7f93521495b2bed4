//! What was written to a file and not synced: of each write, the medium has nothing, all or a part.

use std::collections::BTreeMap;
use std::ops::Range;

use host::ALIGNMENT;

use super::page::Page;
use crate::prng::Prng;

/// A file whose writes last only once it is synced, as the medium has it. What is read is the inode's.
#[derive(Debug, Default)]
pub(super) struct Unsynced {
    // What the medium holds of pages, where that may differ from what is read.
    medium: BTreeMap<usize, Option<Page>>,
    medium_len: u64,
    // Those that the medium may have or not, the oldest first.
    writes: Vec<Write>,
    // How many there were before them.
    settled_count: u64,
}

#[derive(Debug)]
struct Write {
    offset: u64,
    bytes: Vec<u8>,
}

impl Unsynced {
    /// The pages of a write or a cut are about to change: remembers what the medium holds.
    pub(super) fn note_pages(&mut self, range: Range<usize>, pages: &[Option<Page>]) {
        for page in range {
            self.medium.entry(page).or_insert_with(|| pages.get(page).cloned().flatten());
        }
    }

    /// A write has ended, after [`Unsynced::note_pages`].
    pub(super) fn note_write(&mut self, offset: u64, bytes: &[u8]) {
        self.writes.push(Write { offset, bytes: bytes.to_vec() });
    }

    /// How many writes have ended so far: those that a sync that begins now makes last.
    pub(super) fn mark(&self) -> u64 {
        self.settled_count + self.writes.len() as u64
    }

    /// A sync has ended well that had begun at a mark. `pages` and `len` are what is read.
    pub(super) fn sync(&mut self, mark: u64, pages: &[Option<Page>], len: u64) {
        let count = mark.saturating_sub(self.settled_count).min(self.writes.len() as u64);
        for Write { offset, bytes } in self.writes.drain(..count as usize) {
            put_into(&mut self.medium, offset, &bytes);
        }
        self.settled_count += count;
        self.medium_len = len;
        self.medium.retain(|page, held| pages.get(*page).is_some_and(|read| read != held));
    }

    /// A sync has failed: what the medium has of each write is decided now, and no later sync changes it. It shows only once
    /// power fails.
    pub(super) fn fail_sync(&mut self, len: u64, sector_bytes: usize, prng: &mut Prng) {
        for (offset, bytes) in self.kept(sector_bytes, prng) {
            put_into(&mut self.medium, offset, &bytes);
        }
        if prng.bernoulli(500_000) {
            self.medium_len = len;
        }
    }

    /// Power fails: `pages` and `len`, which is what is read, become what the medium has.
    pub(super) fn lose_power(
        &mut self,
        pages: &mut Vec<Option<Page>>,
        len: &mut u64,
        sector_bytes: usize,
        prng: &mut Prng,
    ) {
        if self.writes.is_empty() && self.medium.is_empty() && self.medium_len == *len {
            return;
        }
        self.fail_sync(*len, sector_bytes, prng);
        *len = self.medium_len;
        pages.resize_with(pages_count(*len), || None);
        for (page, held) in std::mem::take(&mut self.medium) {
            if let Some(place) = pages.get_mut(page) {
                *place = held;
            }
        }
    }

    /// Draws what the medium takes of each write, in any order.
    fn kept(&mut self, sector_bytes: usize, prng: &mut Prng) -> Vec<(u64, Vec<u8>)> {
        self.settled_count += self.writes.len() as u64;
        let mut writes = std::mem::take(&mut self.writes);
        let mut kept = Vec::new();
        while !writes.is_empty() {
            let Write { offset, bytes } = writes.swap_remove(prng.below(writes.len() as u64) as usize);
            for part in torn(bytes.len(), sector_bytes, prng) {
                kept.push((offset + part.start as u64, bytes[part].to_vec()));
            }
        }
        kept
    }
}

/// Which parts of a write of `len` bytes a crash leaves: none, all of it, a run of sectors as a disk leaves that works through
/// them in order, or any of them.
pub(super) fn torn(len: usize, sector_bytes: usize, prng: &mut Prng) -> Vec<Range<usize>> {
    match prng.below(4) {
        0 => Vec::new(),
        1 => std::iter::once(0..len).collect(),
        _ => {
            let sectors = len.div_ceil(sector_bytes) as u64;
            let upto = if prng.bernoulli(500_000) { Some(prng.below(sectors + 1)) } else { None };
            let kept =
                (0..sectors).filter(|sector| upto.map_or_else(|| prng.bernoulli(500_000), |upto| *sector < upto));
            kept.map(|sector| sector as usize * sector_bytes)
                .map(|start| start..len.min(start + sector_bytes))
                .collect()
        }
    }
}

fn put_into(medium: &mut BTreeMap<usize, Option<Page>>, offset: u64, bytes: &[u8]) {
    let (mut at, mut rest) = (offset as usize, bytes);
    while !rest.is_empty() {
        let within = at % ALIGNMENT;
        let (chunk, behind) = rest.split_at(rest.len().min(ALIGNMENT - within));
        let page = medium.entry(at / ALIGNMENT).or_default().get_or_insert_with(|| Box::new([0; ALIGNMENT]));
        page[within..within + chunk.len()].copy_from_slice(chunk);
        at += chunk.len();
        rest = behind;
    }
}

fn pages_count(len: u64) -> usize {
    len.div_ceil(ALIGNMENT as u64) as usize
}
