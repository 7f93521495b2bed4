//! Profiles of the running process, in the format of pprof: where its threads spend CPU time, and what has allocated its memory.
//!
//! While a CPU profile is taken, each thread has a timer of its own that counts the CPU time of that thread alone. When the timer
//! expires, the kernel interrupts the thread with SIGPROF, and the handler copies the registers and the top of the stack into a
//! slot. That is all that happens on the thread. Another thread empties the slots, unwinds the copies by the unwind tables of
//! the program, and in the end finds the names of functions.
//!
//! For heap profiles the program's allocator is a [`Sampled`] one, which keeps one allocation in so many bytes all the time, and notices
//! when it is freed. The thread that allocates unwinds its own stack for that, by the unwinder of the C library.
//!
//! Invariants:
//! - The handler takes no lock, allocates nothing, makes one system call that cannot wait for another thread of ours, and reads
//!   foreign memory only through the kernel, so a wrong stack pointer gives a short copy and no fault.
//! - A thread that waits is not interrupted: its timer stands still.
//! - CPU profiles cost nothing while none is taken. The handler stays installed behind the first one, since SIGPROF
//!   without a handler ends the process.
//! - One profile of each kind is taken at a time, slots and stacks are bounded, and what finds no room is counted and told in the profile.
//! - What keeps samples of allocations never asks for one of its own: a thread that is at that allocates past the sampler.
//!
//! What is not seen: the kernel looks at such timers when its own clock ticks (every 1 to 10 ms), so each thread lacks about one tick
//! of CPU time in each profile. Threads that use no more than that in all are found by chance, or not at all. A heap profile shows neither
//! what was mapped past the allocator (stacks of threads, rings of the kernel, the allocator's own room between blocks) nor what
//! libraries in C allocate.
//!
//! Deliberately absent: unwinding in the handler (the unwinder of the C library takes locks and allocates), frame pointers (they
//! would cost each function two instructions and a register, all the time), and time in which threads wait.
//!
//! Reading order: [`error`], `registers`, `samples` (the handler), `timers`, `modules`, `unwind`, `symbols`, `proto` and `pprof` (the
//! format), [`mod@cpu`], [`mod@heap`].

pub mod cpu;
pub mod error;
pub mod heap;
mod modules;
mod pprof;
mod proto;
mod registers;
mod samples;
mod symbols;
mod timers;
mod unwind;

pub use cpu::{SAMPLE_PERIOD, cpu};
pub use error::Error;
pub use heap::{Sampled, heap, trim};
