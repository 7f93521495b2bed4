//! Profiles of the running process, in the format of pprof: where its threads spend CPU time.
//!
//! While a profile is taken, each thread has a timer of its own that counts the CPU time of that thread alone. When the timer
//! expires, the kernel interrupts the thread with SIGPROF, and the handler copies the registers and the top of the stack into a
//! slot. That is all that happens on the thread. Another thread empties the slots, unwinds the copies by the unwind tables of
//! the program, and in the end finds the names of functions.
//!
//! Invariants:
//! - The handler takes no lock, allocates nothing, makes one system call that cannot wait for another thread of ours, and reads
//!   foreign memory only through the kernel, so a wrong stack pointer gives a short copy and no fault.
//! - A thread that waits is not interrupted: its timer stands still.
//! - Nothing of this costs anything while no profile is taken. The handler stays installed behind the first one, since SIGPROF
//!   without a handler ends the process.
//! - One CPU profile is taken at a time, slots and stacks are bounded, and what finds no room is counted and told in the profile.
//!
//! What is not seen: the kernel looks at such timers when its own clock ticks (every 1 to 10 ms), so each thread lacks about one tick
//! of CPU time in each profile. Threads that use no more than that in all are found by chance, or not at all.
//!
//! Deliberately absent: unwinding in the handler (the unwinder of the C library takes locks and allocates), frame pointers (they
//! would cost each function two instructions and a register, all the time), and time in which threads wait.
//!
//! Reading order: [`error`], `registers`, `samples` (the handler), `timers`, `modules`, `unwind`, `symbols`, `proto` and `pprof` (the
//! format), [`cpu`].

pub mod cpu;
pub mod error;
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
