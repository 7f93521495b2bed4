//! Blocks of memory in a few sizes, out of pages that one owner has.
//!
//! A general allocator rounds sizes up to the next of four per doubling, an eighth of the memory on average. Rows are what a
//! node's memory is for, so they get steps of 16 bytes, and a count of every byte.
//!
//! Blocks up to [`SMALL_BYTES_MAX`] lie in pages of 64 KiB, one size per page; pages are cut out of chunks of 4 MiB (the first ones
//! of a slab are shorter), which go back to the system's allocator when all their pages are empty. Longer blocks are its own, in steps of an eighth.
//!
//! A slab whose blocks nobody needs any more is given back a chunk or a long block at a time ([`Slab::release_some`]), without a
//! look at what was in them.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::collections::BTreeSet;
use std::ptr::{self, NonNull};

/// Bytes of a page, and its alignment: the page of a block is found by its address.
const PAGE_BYTES: usize = 64 << 10;
/// Pages of a chunk: one bit each. A slab with little in it has short chunks.
const CHUNK_PAGES_COUNTS: [u32; 3] = [4, 16, 64];
/// What the system gives at a time: memory nobody has written to costs nothing.
const SYSTEM_PAGE_BYTES: usize = 4_096;
/// Where the first block of a page lies, behind its header.
const PAGE_HEAD_BYTES: usize = 64;
/// Sizes of small blocks are multiples of this, and addresses of all blocks.
const STEP_BYTES: usize = 16;
/// The longest block that lies in a page: fifteen fit.
pub(crate) const SMALL_BYTES_MAX: usize = 4_352;
const CLASSES_COUNT: usize = SMALL_BYTES_MAX / STEP_BYTES + 1;

/// The beginning of a page.
#[repr(C)]
struct Page {
    /// Blocks that were given back, each naming the next.
    free: *mut FreeBlock,
    /// The neighbours on the list of pages of this size with room, if it is on it.
    next: *mut Page,
    previous: *mut Page,
    /// Where the part begins that was never a block.
    unused_from: u32,
    /// Where the part begins that was never written to, since the page's chunk was allocated.
    untouched_from: u32,
    /// Blocks in use.
    used_count: u32,
    /// Which size its blocks have, in steps.
    class: u32,
    /// The chunk that it was cut out of, and which of its pages it is.
    chunk: u32,
    place: u32,
    has_room: bool,
}

const _: () = assert!(size_of::<Page>() <= PAGE_HEAD_BYTES);

struct FreeBlock {
    next: *mut FreeBlock,
}

struct Chunk {
    start: NonNull<u8>,
    pages_count: u32,
    /// A bit for every page that is in use.
    used: u64,
    /// A bit for every page that was ever in use.
    touched: u64,
}

impl Chunk {
    fn layout(&self) -> Layout {
        chunk_layout(self.pages_count)
    }

    fn is_full(&self) -> bool {
        self.used.count_ones() == self.pages_count
    }

    fn page(&self, place: u32) -> *mut Page {
        debug_assert!(place < self.pages_count);
        // SAFETY: the chunk has so many pages.
        unsafe { self.start.as_ptr().add(place as usize * PAGE_BYTES) }.cast()
    }

    /// Bytes that were ever written to, rounded to what the system gives.
    fn touched_bytes(&self) -> usize {
        let touched = (0..self.pages_count).filter(|place| self.touched >> place & 1 == 1);
        // SAFETY: a page that was ever in use begins with its header, also when it is not in use any more.
        touched.map(|place| unsafe { (*self.page(place)).untouched_from } as usize).sum()
    }
}

/// What stands before a long block: its neighbours among the long blocks, and how long it is.
#[repr(C)]
struct LongHead {
    next: *mut LongHead,
    previous: *mut LongHead,
    /// Bytes of the whole, with this head.
    bytes: usize,
    reserved: usize,
}

const LONG_HEAD_BYTES: usize = size_of::<LongHead>();
const _: () = assert!(LONG_HEAD_BYTES.is_multiple_of(STEP_BYTES));

/// Memory in blocks. All blocks are gone with it: whoever holds one must not use it any more.
pub(crate) struct Slab {
    /// The first page with room of each size.
    with_room: [*mut Page; CLASSES_COUNT],
    /// `None`: given back; the place is taken by the next one.
    chunks: Vec<Option<Chunk>>,
    /// Chunks with a page that is not in use. The first is taken, so that the last become empty.
    chunks_with_room: BTreeSet<u32>,
    /// Bytes of all blocks in use, as long as they are with their rounding.
    used_bytes: usize,
    /// Bytes of pages that were ever written to, and of all long blocks.
    held_bytes: usize,
    /// The first of the long blocks.
    long: *mut LongHead,
}

impl Default for Slab {
    fn default() -> Slab {
        Slab {
            with_room: [ptr::null_mut(); CLASSES_COUNT],
            chunks: Vec::new(),
            chunks_with_room: BTreeSet::new(),
            used_bytes: 0,
            held_bytes: 0,
            long: ptr::null_mut(),
        }
    }
}

/// How much memory a block takes that was asked for with `len` bytes.
#[inline]
pub(crate) fn block_bytes(len: usize) -> usize {
    if len <= SMALL_BYTES_MAX {
        return len.max(1).next_multiple_of(STEP_BYTES);
    }
    // Eight steps per doubling.
    let len = len + LONG_HEAD_BYTES;
    len.next_multiple_of((len.next_power_of_two() / 16).max(STEP_BYTES))
}

fn long_layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, STEP_BYTES).expect("no row is as long as half the address space")
}

impl Slab {
    /// Bytes of the blocks in use.
    pub(crate) fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes that the system has given for blocks, those that are free now included. Memory that was never written to is not
    /// counted, since the system has none behind it.
    pub(crate) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// A block of at least `len` bytes, which are whatever they were before. It goes back with [`Slab::free`].
    #[inline]
    pub(crate) fn alloc(&mut self, len: usize) -> NonNull<u8> {
        let bytes = block_bytes(len);
        self.used_bytes += bytes;
        if bytes > SMALL_BYTES_MAX {
            return self.alloc_long(bytes);
        }
        let class = bytes / STEP_BYTES;
        let mut page = self.with_room[class];
        if page.is_null() {
            page = self.add_page(class);
        }
        // SAFETY: a page on a list with room is a page of this slab, which nobody else can reach.
        let header = unsafe { &mut *page };
        header.used_count += 1;
        let block = if header.free.is_null() {
            let at = header.unused_from as usize;
            header.unused_from += bytes as u32;
            if header.unused_from > header.untouched_from {
                let untouched_from = header.unused_from.next_multiple_of(SYSTEM_PAGE_BYTES as u32);
                self.held_bytes += (untouched_from - header.untouched_from) as usize;
                header.untouched_from = untouched_from;
            }
            // SAFETY: the page has room, and no block was given back: so there is one behind those in use.
            unsafe { page.cast::<u8>().add(at) }
        } else {
            let block = header.free;
            // SAFETY: a block that was given back begins with the address of the next one.
            header.free = unsafe { (*block).next };
            block.cast::<u8>()
        };
        if header.free.is_null() && header.unused_from as usize + bytes > PAGE_BYTES {
            self.leave_list(page, class);
        }
        NonNull::new(block).expect("a block lies behind the beginning of its page")
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// It is one of this slab, was asked for with a `len` of the same [`block_bytes`], and nobody uses it any more.
    #[inline]
    pub(crate) unsafe fn free(&mut self, block: NonNull<u8>, len: usize) {
        let bytes = block_bytes(len);
        self.used_bytes -= bytes;
        if bytes > SMALL_BYTES_MAX {
            // SAFETY: the caller says that it is a block of this slab as long as that, so a head stands before it.
            return unsafe { self.free_long(block.sub(LONG_HEAD_BYTES).cast()) };
        }
        let page = block.as_ptr().map_addr(|addr| addr & !(PAGE_BYTES - 1)).cast::<Page>();
        let free = block.as_ptr().cast::<FreeBlock>();
        // SAFETY: a short block lies in a page, which begins at the multiple of its size before it, and is at least as long
        // and as aligned as a `FreeBlock`.
        let header = unsafe { &mut *page };
        // SAFETY: as above; nobody uses the block any more.
        unsafe { free.write(FreeBlock { next: header.free }) };
        header.free = free;
        header.used_count -= 1;
        if header.used_count == 0 {
            self.remove_page(page);
        } else if !header.has_room {
            self.join_list(page, bytes / STEP_BYTES);
        }
    }

    #[cold]
    fn alloc_long(&mut self, bytes: usize) -> NonNull<u8> {
        let layout = long_layout(bytes);
        self.held_bytes += bytes;
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        let head = start.cast::<LongHead>();
        // SAFETY: the head lies at the beginning of what was just allocated, and the first long block is one of this slab.
        unsafe {
            head.write(LongHead { next: self.long, previous: ptr::null_mut(), bytes, reserved: 0 });
            if !self.long.is_null() {
                (*self.long).previous = head.as_ptr();
            }
            self.long = head.as_ptr();
            start.add(LONG_HEAD_BYTES)
        }
    }

    /// # Safety
    /// It is the head of a long block of this slab, which nobody uses any more.
    unsafe fn free_long(&mut self, head: NonNull<LongHead>) {
        // SAFETY: as the caller says; its neighbours are long blocks of this slab, and it was allocated with this layout.
        unsafe {
            let LongHead { next, previous, bytes, .. } = head.read();
            if previous.is_null() {
                self.long = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            self.held_bytes -= bytes;
            dealloc(head.cast().as_ptr(), long_layout(bytes));
        }
    }

    /// Gives one chunk or one long block back to the system, of a slab whose blocks nobody uses any more. Returns whether nothing is
    /// left. Nothing is to be asked of it before that.
    pub(crate) fn release_some(&mut self) -> bool {
        self.used_bytes = 0;
        if let Some(head) = NonNull::new(self.long) {
            // SAFETY: the caller says that nobody uses its blocks.
            unsafe { self.free_long(head) };
        } else if let Some(chunk) = self.chunks.pop().flatten() {
            self.free_chunk(chunk);
        }
        self.long.is_null() && self.chunks.is_empty()
    }

    fn free_chunk(&mut self, chunk: Chunk) {
        self.held_bytes -= chunk.touched_bytes();
        // SAFETY: it was allocated with this layout, and nobody uses its blocks.
        unsafe { dealloc(chunk.start.as_ptr(), chunk.layout()) };
    }

    fn join_list(&mut self, page: *mut Page, class: usize) {
        let next = self.with_room[class];
        // SAFETY: `page` and the head of the list are pages of this slab.
        unsafe {
            (*page).has_room = true;
            (*page).previous = ptr::null_mut();
            (*page).next = next;
            if !next.is_null() {
                (*next).previous = page;
            }
        }
        self.with_room[class] = page;
    }

    fn leave_list(&mut self, page: *mut Page, class: usize) {
        // SAFETY: the page is on the list, and so are its neighbours.
        unsafe {
            let (previous, next) = ((*page).previous, (*page).next);
            if previous.is_null() {
                self.with_room[class] = next;
            } else {
                (*previous).next = next;
            }
            if !next.is_null() {
                (*next).previous = previous;
            }
            (*page).has_room = false;
        }
    }

    #[cold]
    fn add_page(&mut self, class: usize) -> *mut Page {
        let chunk = self.chunks_with_room.first().copied().unwrap_or_else(|| self.add_chunk());
        let cut = self.chunks[chunk as usize].as_mut().expect("a chunk with room is there");
        let place = cut.used.trailing_ones();
        cut.used |= 1 << place;
        if cut.is_full() {
            self.chunks_with_room.remove(&chunk);
        }
        let page = cut.page(place);
        let untouched_from = if cut.touched & 1 << place == 0 {
            cut.touched |= 1 << place;
            self.held_bytes += SYSTEM_PAGE_BYTES;
            SYSTEM_PAGE_BYTES as u32
        } else {
            // SAFETY: it was in use before, and nobody has used its header since.
            unsafe { (*page).untouched_from }
        };
        let header = Page {
            free: ptr::null_mut(),
            next: ptr::null_mut(),
            previous: ptr::null_mut(),
            unused_from: PAGE_HEAD_BYTES as u32,
            untouched_from,
            used_count: 0,
            class: class as u32,
            chunk,
            place,
            has_room: false,
        };
        // SAFETY: the page is not in use, and long and aligned enough for its header.
        unsafe { page.write(header) };
        self.join_list(page, class);
        page
    }

    #[cold]
    fn remove_page(&mut self, page: *mut Page) {
        // SAFETY: the page is one of this slab, and no block of it is in use.
        let (class, chunk_idx, place, has_room) =
            unsafe { ((*page).class as usize, (*page).chunk, (*page).place, (*page).has_room) };
        // The last page of a size is kept: its next block would bring it back.
        // SAFETY: as above.
        let is_last = has_room && unsafe { (*page).next.is_null() && (*page).previous.is_null() };
        if is_last {
            // SAFETY: as above. Its blocks are free, so it begins anew.
            unsafe {
                (*page).free = ptr::null_mut();
                (*page).unused_from = PAGE_HEAD_BYTES as u32;
            }
            return;
        }
        if has_room {
            self.leave_list(page, class);
        }
        let chunk = self.chunks[chunk_idx as usize].as_mut().expect("the chunk of a page in use");
        chunk.used &= !(1 << place);
        if chunk.used != 0 {
            self.chunks_with_room.insert(chunk_idx);
            return;
        }
        self.chunks_with_room.remove(&chunk_idx);
        let chunk = self.chunks[chunk_idx as usize].take().expect("as before");
        self.free_chunk(chunk);
    }

    #[cold]
    fn add_chunk(&mut self) -> u32 {
        let pages_count = CHUNK_PAGES_COUNTS[self.chunks.len().min(CHUNK_PAGES_COUNTS.len() - 1)];
        let layout = chunk_layout(pages_count);
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc(layout) }).unwrap_or_else(|| handle_alloc_error(layout));
        let chunk = Some(Chunk { start, pages_count, used: 0, touched: 0 });
        let idx = match self.chunks.iter().position(Option::is_none) {
            Some(idx) => {
                self.chunks[idx] = chunk;
                idx
            }
            None => {
                self.chunks.push(chunk);
                self.chunks.len() - 1
            }
        } as u32;
        self.chunks_with_room.insert(idx);
        idx
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        while !self.release_some() {}
    }
}

fn chunk_layout(pages_count: u32) -> Layout {
    Layout::from_size_align(pages_count as usize * PAGE_BYTES, PAGE_BYTES).expect("a multiple of a power of two")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Blocks in use: where, how long, and what they are filled with.
    struct Model {
        slab: Slab,
        blocks: Vec<(NonNull<u8>, usize, u8)>,
    }

    /// How many bytes of a block are its owner's.
    fn usable_bytes(len: usize) -> usize {
        let bytes = block_bytes(len);
        if bytes > SMALL_BYTES_MAX { bytes - LONG_HEAD_BYTES } else { bytes }
    }

    impl Model {
        fn alloc(&mut self, len: usize, fill: u8) {
            let block = self.slab.alloc(len);
            assert_eq!(block.as_ptr() as usize % STEP_BYTES, 0);
            // SAFETY: the block has that many bytes.
            unsafe { block.as_ptr().write_bytes(fill, usable_bytes(len)) };
            self.blocks.push((block, len, fill));
        }

        fn free(&mut self, at: usize) {
            let (block, len, fill) = self.blocks.swap_remove(at);
            // SAFETY: the block is in use and has that many bytes.
            let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), usable_bytes(len)) };
            assert!(bytes.iter().all(|byte| *byte == fill), "two blocks overlap");
            // SAFETY: it is in use and was asked for with this length.
            unsafe { self.slab.free(block, len) };
        }

        fn check(&self) {
            let used: usize = self.blocks.iter().map(|(_, len, _)| block_bytes(*len)).sum();
            assert_eq!(self.slab.used_bytes(), used);
            assert!(self.slab.held_bytes() >= used);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn blocks_never_overlap_and_every_byte_is_counted(
            steps in proptest::collection::vec((0usize..12_000, any::<u8>(), any::<bool>()), 1..400)
        ) {
            let mut model = Model { slab: Slab::default(), blocks: Vec::new() };
            for (number, fill, frees) in steps {
                if frees && !model.blocks.is_empty() {
                    model.free(number % model.blocks.len());
                } else {
                    model.alloc(if number % 3 == 0 { number } else { number % 300 }, fill);
                }
                model.check();
            }
            let held_bytes = model.slab.held_bytes();
            while model.blocks.len() > held_bytes % 50 {
                model.free(model.blocks.len() / 2);
            }
            model.check();
            while !model.slab.release_some() {}
            prop_assert_eq!((model.slab.used_bytes(), model.slab.held_bytes()), (0, 0));
        }
    }

    #[test]
    fn what_is_given_back_goes_back_to_the_system() {
        let mut slab = Slab::default();
        let blocks: Vec<_> = (0..100_000).map(|_| slab.alloc(300)).collect();
        assert!(slab.chunks.iter().flatten().count() >= 9);
        assert!(slab.held_bytes() < 100_000 * 304 * 101 / 100, "a hundredth is lost at most");
        for block in blocks {
            // SAFETY: all of them are in use, with this length.
            unsafe { slab.free(block, 300) };
        }
        // The last page of a size is kept, and so is its chunk.
        assert_eq!(slab.chunks.iter().flatten().count(), 1);
        assert!(slab.used_bytes() == 0 && slab.held_bytes() <= CHUNK_PAGES_COUNTS[2] as usize * PAGE_BYTES);
    }

    #[test]
    fn few_blocks_of_many_sizes_cost_what_the_system_gives_for_them() {
        let mut slab = Slab::default();
        for len in (16..=SMALL_BYTES_MAX).step_by(STEP_BYTES) {
            slab.alloc(len);
        }
        let pages_bytes = SMALL_BYTES_MAX / STEP_BYTES * 2 * SYSTEM_PAGE_BYTES;
        assert!(slab.held_bytes() <= pages_bytes, "{} bytes", slab.held_bytes());
    }

    #[test]
    fn a_block_is_at_most_an_eighth_longer_than_asked() {
        for len in 1..100_000 {
            let bytes = block_bytes(len);
            assert!(bytes >= len && bytes <= (len + 15).max((len + LONG_HEAD_BYTES) * 9 / 8 + 16), "{len}: {bytes}");
        }
    }
}
