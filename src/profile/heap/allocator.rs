//! The allocator of the process, with a sampler before it.

use std::alloc::{GlobalAlloc, Layout};
use std::ptr;

use super::blocks::{self, BLOCK_ALIGN};
use super::countdown::{self, Busy};
use super::stacks::{self, FRAMES_COUNT_MAX, Share};

/// Samples what an allocator is asked for, once [`start`](super::start) was called.
///
/// A sampled block begins at a multiple of 4,096, and with its neighbours takes up to that many bytes more than it would have.
#[derive(Debug)]
pub struct Sampled<A>(pub A);

// SAFETY: every call goes to the inner allocator, which keeps the contract; a block goes back with the layout that it was
// allocated with, which is another one for sampled blocks only, and those are known by their addresses.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Sampled<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if countdown::has_run_out(layout.size()) {
            // SAFETY: as for this call.
            return unsafe { self.alloc_slowly(layout, false) };
        }
        // SAFETY: as for this call.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if countdown::has_run_out(layout.size()) {
            // SAFETY: as for this call.
            return unsafe { self.alloc_slowly(layout, true) };
        }
        // SAFETY: as for this call.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if may_be_sampled(block) {
            // SAFETY: as for this call.
            return unsafe { self.dealloc_slowly(block, layout) };
        }
        // SAFETY: as for this call.
        unsafe { self.0.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // It is as if a block of the new size was allocated and the old one freed.
        let has_run_out = countdown::has_run_out(bytes);
        if has_run_out || may_be_sampled(block) {
            // SAFETY: as for this call.
            return unsafe { self.realloc_slowly(block, layout, bytes, has_run_out) };
        }
        // SAFETY: as for this call.
        unsafe { self.0.realloc(block, layout, bytes) }
    }
}

impl<A: GlobalAlloc> Sampled<A> {
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    #[cold]
    unsafe fn alloc_slowly(&self, layout: Layout, is_zeroed: bool) -> *mut u8 {
        let due = countdown::due(layout.size());
        // SAFETY: as the caller says.
        unsafe { self.alloc_due(layout, is_zeroed, due) }
    }

    /// Allocates a block, and keeps a sample of it if one is due.
    ///
    /// # Safety
    /// As for [`GlobalAlloc::alloc`].
    unsafe fn alloc_due(&self, layout: Layout, is_zeroed: bool, due: Option<(u64, Busy)>) -> *mut u8 {
        let sampled = due.and_then(|due| Some((due, sampled_layout(layout)?)));
        let used = sampled.as_ref().map_or(layout, |(_, sampled)| *sampled);
        // SAFETY: the size is the one that the caller vouches for.
        let block = unsafe { if is_zeroed { self.0.alloc_zeroed(used) } else { self.0.alloc(used) } };
        let Some(((mean_bytes, busy), used)) = sampled else { return block };
        if block.is_null() || keep(block, layout.size(), mean_bytes, &busy) {
            return block;
        }
        // It goes back as any other, so it must be one.
        // SAFETY: it was allocated just above with this layout, and nobody has seen it.
        unsafe { self.0.dealloc(block, used) };
        // SAFETY: as above.
        unsafe { if is_zeroed { self.0.alloc_zeroed(layout) } else { self.0.alloc(layout) } }
    }

    /// # Safety
    /// As for [`GlobalAlloc::dealloc`].
    #[cold]
    unsafe fn dealloc_slowly(&self, block: *mut u8, layout: Layout) {
        // What a thread frees while it keeps a sample was allocated so, too.
        let was_sampled = Busy::begin().is_some_and(|busy| blocks::remove(block.addr(), &busy));
        let sampled = if was_sampled { sampled_layout(layout) } else { None };
        // SAFETY: the layout is the one that it was allocated with.
        unsafe { self.0.dealloc(block, sampled.unwrap_or(layout)) };
    }

    /// # Safety
    /// As for [`GlobalAlloc::realloc`].
    #[cold]
    unsafe fn realloc_slowly(&self, block: *mut u8, layout: Layout, bytes: usize, has_run_out: bool) -> *mut u8 {
        let due = if has_run_out { countdown::due(bytes) } else { None };
        let was_sampled = due.is_none()
            && may_be_sampled(block)
            && Busy::begin().is_some_and(|busy| blocks::contains(block.addr(), &busy));
        if due.is_none() && !was_sampled {
            // SAFETY: the block has the layout that it was allocated with.
            return unsafe { self.0.realloc(block, layout, bytes) };
        }
        // SAFETY: the caller vouches for this size at this alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(bytes, layout.align()) };
        // SAFETY: the caller vouches for the size; the two blocks are as long as what is copied, and different.
        unsafe {
            let new = self.alloc_due(new_layout, false, due);
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
            new
        }
    }
}

#[inline(always)]
fn may_be_sampled(block: *mut u8) -> bool {
    block.addr().is_multiple_of(BLOCK_ALIGN)
}

/// How a block is allocated that is sampled. `None` if it is too long for that.
fn sampled_layout(layout: Layout) -> Option<Layout> {
    layout.align_to(BLOCK_ALIGN).ok()
}

/// Keeps a sample. Returns whether there was room for it.
#[cold]
#[inline(never)]
fn keep(block: *mut u8, bytes: usize, mean_bytes: u64, busy: &Busy) -> bool {
    let (mut stack, mut len) = ([0; FRAMES_COUNT_MAX], 0);
    // SAFETY: it asks for no lock of the program, and nobody resolves names here.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            stack[len] = frame.ip().addr();
            len += 1;
            len < FRAMES_COUNT_MAX
        });
    }
    let share = Share::new(bytes, countdown::weight(bytes, mean_bytes));
    let sums = stacks::allocated(&stack[..len], share, busy);
    sums.map(|sums| blocks::add(block.addr(), share, sums, busy)).is_some()
}
