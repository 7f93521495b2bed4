//! The I/O traits through which time, chance, disk, network, tasks and other cores come in.
//!
//! Everything above the runtime is written against these traits and is deterministic given what comes
//! through them. `rt` implements them on glommio and io_uring, the simulator on a virtual world. One handle
//! per core implements all of them; see [`Host`].
//!
//! The hot path is shaped for completions: an operation is begun by a call that never waits
//! ([`Net::send`], [`Disk::write_begin`]), and its end is picked up later from a queue
//! ([`Net::next_event`], [`Disk::write_end`]). Work that may wait (opening files, reading back old log,
//! preparing segments) is `async` and runs in tasks of its own ([`Spawn`]).
//!
//! All of it belongs to one core: no handle here crosses threads, except what [`Mesh`] carries.
//!
//! Reading order: [`net`] and [`disk`], with [`buffer`] and [`read_buf`] for the aligned memory that direct I/O wants and [`io_schedule`]
//! for who may use the disk when; [`spawn`] (tasks beside the turn), [`mesh`] (other cores of the node), [`clock`], [`rng`].

pub mod buffer;
pub mod clock;
pub mod disk;
pub mod io_schedule;
pub mod mesh;
pub mod net;
pub mod read_buf;
pub mod rng;
pub mod spawn;

pub use buffer::{ALIGNMENT, AlignedBuf};
pub use clock::Clock;
pub use disk::{Disk, WriteDone, WriteToken, is_full};
pub use io_schedule::{IoClass, IoKind, IoPermit, IoSchedule, IoTicket};
pub use mesh::Mesh;
pub use net::{ConnId, ListenerId, Net, NetEvent, SendBuf};
pub use read_buf::{ReadBuf, ReadPool};
pub use rng::Rng;
pub use spawn::{Spawn, TaskClass};

/// All I/O traits of one core behind one cheap handle.
pub trait Host: Clock + Disk + Net + Mesh + Rng + Spawn + Clone + 'static {}

impl<T: Clock + Disk + Net + Mesh + Rng + Spawn + Clone + 'static> Host for T {}
