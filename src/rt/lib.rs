//! The runtime: the I/O traits of `host` on glommio and io_uring. No other crate names either.
//!
//! [`start()`] runs one thread per core, each with a glommio executor and one io_uring of its own, and hands each a
//! [`Runtime`], which implements all traits of `host`.
//!
//! How a core works:
//! - **One ring, one place to wait.** Sockets, files, timers, other cores and other threads all end a wait in the
//!   core's ring. A turn of a busy core makes one system call; see `core`.
//! - **glommio schedules.** Tasks run in queues with shares, the turn loop before foreground before background
//!   work. Its reactor has nothing to do, and the core blocks in its own ring whenever no task is due.
//! - **Receiving** is one multishot operation per connection into a pool of buffers lent to the kernel; `pool`.
//!   A connection that found the pool empty is fed in turn once buffers come back.
//! - **Memory belongs to the kernel while it works on it.** Buffers, addresses and descriptors are kept in the
//!   tables of connections and operations until the last completion, whatever the engine closes or drops.
//!
//! Invariants: every operation in the ring is counted, and ends exactly once; a place in a table is used anew only
//! when nothing of it is in flight; nothing of a core is touched by another thread, except its `CoreShared` and
//! the queues of the mesh.
//!
//! Deliberately absent: TLS, file descriptors registered with the ring, zero-copy sends (they cost more than they
//! save at the sizes of replies), retries of failed writes.
//!
//! Reading order: `ring`, `core` and `reactor` (what is in the ring, and how a core waits), `give_way`; `net` with `listener`, `conn`,
//! `pool` and `sys`; `log_write`,
//! `transfer` and `disk` with `ops`, `waiting` and `offload`; `mesh` and `wake` (other cores and threads), `timers`, `clock`; `runtime` (all of it as one handle),
//! `start`, `preflight` and `host_limits`, `config`, `error`.

mod clock;
mod config;
mod conn;
mod core;
mod disk;
mod error;
mod give_way;
mod host_limits;
mod listener;
mod log_write;
mod mesh;
mod net;
mod offload;
mod ops;
mod pool;
mod preflight;
mod reactor;
mod ring;
mod runtime;
mod start;
mod sys;
mod timers;
mod transfer;
mod waiting;
mod wake;

pub use config::{Config, CoreConfig, RECV_BUFFER_BYTES_MAX, RECV_BUFFERS_COUNT_MAX};
pub use error::Error;
pub use host_limits::MEMLOCK_BYTES_NEEDED;
pub use ops::File;
pub use pool::RecvBuf;
pub use preflight::{DirLock, check_direct_io, check_host, connections_that_fit, files_needed, raise_files_limit};
pub use reactor::Stats;
pub use runtime::Runtime;
pub use start::{Remote, Running, start};
pub use sys::KEEP_ALIVE_IDLE;
pub use wake::Notifier;
