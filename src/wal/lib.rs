//! One log per core, shared by the groups that live there.
//!
//! Purpose: make what Raft must not forget (entries, term and vote) durable with one write per block,
//! however many groups share the core, and say after a crash what is there and whether it can be trusted.
//!
//! Invariants:
//! - At most one block is being written at any time; block `n + 1` is begun only once block `n` is durable.
//!   So whoever finds block `n + 2` on disk knows that block `n` and `n + 1` had been acknowledged.
//! - A position (segment id, offset) is never used for two different acknowledged blocks.
//! - What is reported durable ([`Wal::poll`]) is found again by [`Wal::open`], or `open` says of each group that may have
//!   lost some of it that it is quarantined ([`Condition::Quarantined`]), and so does every later `open` until another
//!   replica of the group begins or one is destroyed. The one exception: damage to the very last block while no mark stands behind it looks like a torn write.
//! - What a record tells is told of one replica: the first record of a replica is its beginning ([`Wal::begin`]), and no replica
//!   begins that lived here or was destroyed here ([`Wal::destroy`]), nor one with a smaller id. That outlasts all segments.
//! - A failed write poisons the log for good; nothing is ever written twice in the hope of better luck.
//! - Every segment opens with the state of every group, those of destroyed replicas included, so an older segment is free as soon as no live
//!   entry lies in it.
//!
//! Deliberately absent: a cache of payloads (Raft keeps recent entries), repair of quarantined groups (peers
//! have the data), knowledge of what a payload means, latency measurement (the engine's).
//!
//! Reading order: [`mod@format`] (bytes on disk), [`record`], `config` and `error`, `group` (what is known of one group),
//! `writer` (forming blocks), `segments` (files and their preparation); then from bytes to what can be trusted:
//! `recovered` (the report), `scan` (one segment), `walk` (along the blocks), `replay` (their records), `recover`, `survey`
//! (the same for whoever only looks); then `reader` (reading back), `verify` (a sealed segment), `stats`, and `wal`, which joins them.

mod config;
mod error;
pub mod format;
mod group;
mod reader;
pub mod record;
mod recover;
mod recovered;
mod replay;
mod scan;
mod segments;
mod stats;
mod survey;
mod verify;
mod wal;
mod walk;
mod writer;

pub use config::Config;
pub use error::Error;
pub use recovered::{Condition, Damage, DamageKind, Fault, Recovered, RecoveredGroup, SetAside};
pub use stats::Stats;
pub use survey::{GroupSurvey, Piece, SegmentSurvey, Survey};
pub use verify::{SealedSegment, Verified};
pub use wal::Wal;
pub use wal::append::{Append, BlockSeq};

use host::{Clock, Disk, Spawn};

/// What a log needs from its core.
pub trait LogHost: Clock + Disk + Spawn + Clone + 'static {}

impl<T: Clock + Disk + Spawn + Clone + 'static> LogHost for T {}
