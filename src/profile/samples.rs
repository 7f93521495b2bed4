//! Samples: the handler of SIGPROF writes them, one thread reads them.
//!
//! A slot is free, being written, or full. A handler takes a free one, and only the reader frees it. Handlers count themselves in
//! and out ([`HANDLERS_COUNT`]), so that whoever takes the slots away knows when the last handler that may use them is gone.

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use crate::error::Error;
use crate::registers::Registers;

/// Bytes of a stack that are copied. What lies deeper is missing at the root of a sample.
pub(crate) const STACK_BYTES_MAX: usize = 64 << 10;
/// Samples that wait to be read. Memory of those that are never used is never touched.
pub(crate) const SLOTS_COUNT: usize = 512;
/// The kernel copies whole pieces; none of them crosses a page of any machine.
const PIECE_BYTES: usize = 4_096;
/// Pieces of a copy: the first begins within a page.
const PIECES_COUNT: usize = STACK_BYTES_MAX / PIECE_BYTES;

const FREE: u8 = 0;
const WRITING: u8 = 1;
const FULL: u8 = 2;

/// Where handlers leave samples; null while no profile is taken.
static SLOTS: AtomicPtr<Slots> = AtomicPtr::new(ptr::null_mut());
/// Handlers that run.
static HANDLERS_COUNT: AtomicUsize = AtomicUsize::new(0);

/// A thread at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample<'a> {
    pub(crate) registers: Registers,
    /// The kernel's number of the thread.
    pub(crate) thread: i32,
    /// How many periods of the timer it stands for.
    pub(crate) count: u64,
    /// The stack from the stack pointer on.
    pub(crate) stack: &'a [u8],
}

struct Slot {
    state: AtomicU8,
    // What follows belongs to whoever has moved `state` to WRITING, or found it FULL and is the reader.
    registers: Registers,
    thread: i32,
    count: u64,
    stack_len: usize,
}

struct Slots {
    process: libc::pid_t,
    slots: *mut Slot,
    /// `STACK_BYTES_MAX` for each slot.
    stacks: *mut u8,
    lost_count: AtomicU64,
}

/// What the kernel tells a handler of a timer (`struct siginfo` of linux/siginfo.h, `_timer`).
#[repr(C)]
struct TimerInfo {
    signal: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    _pad: libc::c_int,
    timer: libc::c_int,
    overrun: libc::c_int,
    value: usize,
}

const _: () =
    assert!(mem::offset_of!(TimerInfo, value) == 24 && size_of::<TimerInfo>() <= size_of::<libc::siginfo_t>());

/// Collects samples while it lives. There is one at a time.
pub(crate) struct Collector {
    // Made by `Box::into_raw`, and in `SLOTS` while this lives.
    slots: *mut Slots,
}

impl Collector {
    /// Handles SIGPROF from now on.
    ///
    /// # Errors
    /// That there is another one, or that the operating system does not let it be.
    pub(crate) fn begin() -> Result<Collector, Error> {
        check_reading()?;
        install_handler()?;
        let slots = Box::into_raw(Box::new(Slots::new()));
        if SLOTS.compare_exchange(ptr::null_mut(), slots, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            // SAFETY: it was made just above, and nobody else has seen it.
            drop(unsafe { Box::from_raw(slots) });
            return Err(Error::Busy);
        }
        Ok(Collector { slots })
    }

    /// Reads what is there.
    pub(crate) fn drain(&mut self, mut take: impl FnMut(Sample<'_>)) {
        // SAFETY: it lives as long as this.
        let slots = unsafe { &*self.slots };
        for idx in 0..SLOTS_COUNT {
            // SAFETY: there are that many, and only `state` is looked at as long as it is not full.
            let state = unsafe { &(*slots.slots.add(idx)).state };
            if state.load(Ordering::Acquire) != FULL {
                continue;
            }
            // SAFETY: the slot is full, so no handler touches it, and this is the one reader.
            let (slot, stack) = unsafe { (&*slots.slots.add(idx), slots.stacks.add(idx * STACK_BYTES_MAX)) };
            // SAFETY: the kernel has copied that many bytes there.
            let stack = unsafe { std::slice::from_raw_parts(stack, slot.stack_len) };
            take(Sample { registers: slot.registers, thread: slot.thread, count: slot.count, stack });
            state.store(FREE, Ordering::Release);
        }
    }

    /// Periods that found no slot.
    pub(crate) fn lost_count(&self) -> u64 {
        // SAFETY: it lives as long as this.
        unsafe { &*self.slots }.lost_count.load(Ordering::Relaxed)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        SLOTS.store(ptr::null_mut(), Ordering::SeqCst);
        // A handler that has seen the slots is counted, since it counts itself in before it looks.
        while HANDLERS_COUNT.load(Ordering::SeqCst) > 0 {
            thread::yield_now();
        }
        // SAFETY: it was made by `Box::into_raw`, and no handler can reach it any more.
        drop(unsafe { Box::from_raw(self.slots) });
    }
}

impl Slots {
    fn new() -> Slots {
        let slot = |_| Slot {
            state: AtomicU8::new(FREE),
            registers: Registers::default(),
            thread: 0,
            count: 0,
            stack_len: 0,
        };
        let slots: Box<[Slot]> = (0..SLOTS_COUNT).map(slot).collect();
        // The allocator hands out such memory untouched.
        let stacks = vec![0_u8; SLOTS_COUNT * STACK_BYTES_MAX].into_boxed_slice();
        Slots {
            process: std::process::id() as libc::pid_t,
            slots: Box::into_raw(slots).cast(),
            stacks: Box::into_raw(stacks).cast(),
            lost_count: AtomicU64::new(0),
        }
    }

    /// Keeps a sample, if there is room. Called by handlers: it must not wait, allocate or panic.
    fn keep(&self, registers: Registers, thread: i32, count: u64) {
        for idx in 0..SLOTS_COUNT {
            // SAFETY: there are that many, and only `state` is looked at until the slot is ours.
            let state = unsafe { &(*self.slots.add(idx)).state };
            // The lowest that is free, so that few of them touch memory.
            if state.compare_exchange(FREE, WRITING, Ordering::Acquire, Ordering::Relaxed).is_err() {
                continue;
            }
            // SAFETY: the slot is being written, by this handler alone; each field is written by itself, as the reader may
            // look at `state`.
            unsafe {
                let slot = self.slots.add(idx);
                let stack = self.stacks.add(idx * STACK_BYTES_MAX);
                (&raw mut (*slot).registers).write(registers);
                (&raw mut (*slot).thread).write(thread);
                (&raw mut (*slot).count).write(count);
                (&raw mut (*slot).stack_len).write(copy_stack(self.process, registers.sp, stack));
            }
            state.store(FULL, Ordering::Release);
            return;
        }
        self.lost_count.fetch_add(count, Ordering::Relaxed);
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        // SAFETY: both were made from boxes of these lengths.
        unsafe {
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(self.slots, SLOTS_COUNT)));
            drop(Box::from_raw(ptr::slice_from_raw_parts_mut(self.stacks, SLOTS_COUNT * STACK_BYTES_MAX)));
        }
    }
}

/// Copies what lies at `from` and above to `to`, up to the end of the mapping. Returns how many bytes there are.
///
/// # Safety
/// There are [`STACK_BYTES_MAX`] bytes at `to`.
unsafe fn copy_stack(process: libc::pid_t, from: u64, to: *mut u8) -> usize {
    let mut pieces = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; PIECES_COUNT];
    let mut at = from as usize;
    for piece in &mut pieces {
        let len = PIECE_BYTES - at % PIECE_BYTES;
        *piece = libc::iovec { iov_base: at as *mut libc::c_void, iov_len: len };
        at = at.wrapping_add(len);
    }
    let local = libc::iovec { iov_base: to.cast(), iov_len: STACK_BYTES_MAX };
    // SAFETY: the kernel writes to the local memory alone, which the caller vouches for; it checks the other addresses itself.
    let copied = unsafe {
        libc::process_vm_readv(process, &raw const local, 1, pieces.as_ptr(), pieces.len() as libc::c_ulong, 0)
    };
    usize::try_from(copied).unwrap_or(0)
}

/// Whether the kernel lets the process read its own memory: a sandbox may not.
fn check_reading() -> Result<(), Error> {
    let (mut to, from) = (vec![0_u8; STACK_BYTES_MAX], 7_u64);
    // SAFETY: the memory is as long as it needs to be.
    match unsafe { copy_stack(std::process::id() as libc::pid_t, (&raw const from) as u64, to.as_mut_ptr()) } {
        0 => Err(Error::last_os("copying a stack with process_vm_readv, which a sandbox can forbid")),
        _ => Ok(()),
    }
}

type Handler = extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);

fn install_handler() -> Result<(), Error> {
    let handler = on_signal as Handler as libc::sighandler_t;
    // SAFETY: all zeros is a valid value of this plain C struct.
    let (mut new, mut old): (libc::sigaction, libc::sigaction) = unsafe { (mem::zeroed(), mem::zeroed()) };
    // SAFETY: a null pointer asks what is there without changing it.
    if unsafe { libc::sigaction(libc::SIGPROF, ptr::null(), &raw mut old) } != 0 {
        return Err(Error::last_os("looking at SIGPROF"));
    }
    if ![libc::SIG_DFL, libc::SIG_IGN, handler].contains(&old.sa_sigaction) {
        return Err(Error::SignalTaken);
    }
    new.sa_sigaction = handler;
    // Calls that can be begun again are, so few of them end early.
    new.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: the handler does only what a handler may do.
    if unsafe { libc::sigaction(libc::SIGPROF, &raw const new, ptr::null_mut()) } != 0 {
        return Err(Error::last_os("handling SIGPROF"));
    }
    Ok(())
}

/// Runs on the thread that is interrupted, wherever that is: it may hold any lock and be within the allocator.
extern "C" fn on_signal(_signal: libc::c_int, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: each thread has its own, and this puts back what the interrupted code may be about to look at.
    let errno = unsafe { libc::__errno_location() };
    // SAFETY: as above.
    let errno_before = unsafe { *errno };
    HANDLERS_COUNT.fetch_add(1, Ordering::SeqCst);
    let slots = SLOTS.load(Ordering::SeqCst);
    if !slots.is_null() {
        // SAFETY: the slots stay as long as a handler that has seen them is counted; the kernel hands a handler with SA_SIGINFO
        // pointers to both structs.
        let (slots, info, context) =
            unsafe { (&*slots, &*info.cast::<TimerInfo>(), &*context.cast::<libc::ucontext_t>()) };
        if info.code == libc::SI_TIMER {
            let count = 1 + u64::try_from(info.overrun).unwrap_or(0);
            slots.keep(Registers::of_context(context), info.value as i32, count);
        }
    }
    HANDLERS_COUNT.fetch_sub(1, Ordering::SeqCst);
    // SAFETY: as above.
    unsafe { *errno = errno_before };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_ends_where_nothing_is_mapped_and_does_no_harm() {
        let mut to = vec![1_u8; STACK_BYTES_MAX];
        let mut copied = |from: u64| {
            // SAFETY: the memory is as long as it needs to be.
            unsafe { copy_stack(std::process::id() as libc::pid_t, from, to.as_mut_ptr()) }
        };
        assert_eq!((copied(0), copied(8), copied(u64::MAX - 7), copied(1 << 63)), (0, 0, 0, 0));
        let page = PIECE_BYTES;
        // SAFETY: the mapping is new; its second page is given back at once.
        let mapped = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let mapped = libc::mmap(ptr::null_mut(), 2 * page, protection, flags, -1, 0);
            assert_ne!(mapped, libc::MAP_FAILED);
            assert_eq!(libc::mprotect(mapped.byte_add(page), page, libc::PROT_NONE), 0);
            mapped as u64
        };
        assert_eq!(copied(mapped + 96), page - 96);
        assert_eq!(copied(mapped + page as u64), 0);
        let words: Vec<u64> = (0..1_000).collect();
        assert!(copied(words.as_ptr() as u64) >= 8_000);
        assert_eq!(to[8..16], 1_u64.to_ne_bytes());
        // SAFETY: nobody uses the mapping any more.
        unsafe { libc::munmap(mapped as *mut libc::c_void, 2 * page) };
    }
}
