//! Raft without I/O: step, tick, propose, ready.
//!
//! [`Raft`] is one replica of one group as a pure state machine. It reads no clock, draws chance from a seed, sends
//! nothing and writes nothing: messages, times and completions are handed in, and [`Ready`] says what is to be done.
//! Given the same inputs it does the same things.
//!
//! # Driving a replica
//!
//! ```text
//! let mut raft = Raft::new(config, recovered, now)?;
//! let mut ready = Ready::new();                      // kept: its buffers are reused
//! loop, once per turn:
//!     for each message received:      raft.step(message, now)
//!     for each write completed:       raft.persisted(seq, now)
//!     for each log read completed:    raft.log_read(purpose, entries, now)
//!     once raft.next_wake() is there: raft.tick(now)
//!     for each batch of commands:     raft.propose(payload, now)
//!     while raft.has_ready():
//!         raft.ready(&mut ready)
//!         send ready.messages                        // before the write, not behind it
//!         add ready.persist to the next log block    // its completion is reported later
//!         apply ready.committed, raft.applied(index)
//!         start ready.log_reads
//!         serve ready.reads once their index is applied, fail ready.reads_failed
//!         note ready.soft_state and ready.membership, receive the snapshot of ready.snapshot_request if there is one
//! ```
//!
//! - **Time.** The `now` of a call must have been read after that call's input was received, so read the clock
//!   once a turn's input is in. Time never goes backwards here: an earlier `now` counts as the latest one.
//! - **Timers.** [`Raft::next_wake`] says when [`Raft::tick`] has something to do; it may change with every call. Between
//!   those times ticks change nothing, so a driver may keep a heap of timers, or tick everything at a fixed interval.
//! - **Writes** become durable in the order of their `seq`; several may be handed out before the first completes.
//!   An entry whose index is not behind the last one logged replaces the log from there on.
//!   A failed write is not reported: the replica must stop and start again from what its disk holds.
//! - **Messages** may be lost, repeated and reordered.
//! - **Applying** may run ahead of this replica's own disk: an entry is handed out once a majority holds it. A
//!   store that keeps its own durable applied index must not let it overtake [`Raft::durable_index`].
//! - **Log reads** are answered exactly once each; at most one per [`Purpose`] is under way.
//! - **Buffers.** A received payload may be a slice of a longer buffer and then keeps all of it alive. A follower copies
//!   short ones out of it, and lets go of long ones once they are durable and applied.
//!
//! # What holds
//!
//! - A message that tells of a term, vote or entry leaves only when a restart would remember it. Messages for which
//!   that is not so yet are held back inside and appear in a `Ready` after [`Raft::persisted`]. A candidate's
//!   requests are such messages, and its own vote counts from then on.
//! - A leader's Appends do not wait for its own disk, which counts as one vote when it is done and may be last.
//! - A leader commits by counting only in its own term, and serves no read before it has done so once.
//! - **Lease.** Heartbeats carry a round. A majority (ourselves included) that answered round *r* or later was
//!   with us after *r* was sent, and each of them denies votes for `election_timeout_min` from then on; so until
//!   `sent + election_timeout_min × (1 − clock_drift_max)` nobody else leads. A restarted voter has forgotten whom
//!   it heard and neither votes nor campaigns for `election_timeout_min`. The exception is one that starts in term
//!   0: an answer to a leader leaves only after its term is durable, so such a replica has never given one.
//!   A group's only voter needs no lease and does not wait at all.
//! - A transfer of leadership overrides leader stickiness, so the lease ends before the order to campaign is given and does
//!   not come back in that term, since the order may arrive late. Reads by ReadIndex go on.
//! - The commit index alone never forces a write. A follower learns it from the next Append or heartbeat.
//! - Broken invariants of our own panic; contradictory messages are dropped and counted in [`Counters`].
//!
//! - **Membership** takes effect when its entry is appended and is undone when that is cut off. Voters change only
//!   through the joint state, in which nothing is elected, committed, confirmed or read without a majority of both
//!   sets. One change is under way at a time, and none before the leader has committed in its own term.
//! - **Snapshots.** Only what a snapshot covers leaves the log's beginning. A state that is taken over replaces the log
//!   unless the log goes on from it.
//! - **Quiescence.** The timers of a quiescent group stand still. No safety rests on it, and liveness rests on the driver,
//!   who calls [`Raft::wake`] when the link to a leader's node is lost.
//! - **Priority** decides who leads, never whether somebody does.
//! - **Timing** follows measurements between the bounds of [`Config`]; `election_timeout_min`, on which leases rest,
//!   does not.
//!
//! # What is not here
//!
//! The bytes of snapshots: Raft says who needs one and from whom, and its driver receives it. The contents of entries,
//! membership aside. Connections: who cannot be reached is not known here, unless the driver says so.
//!
//! # Reading order
//!
//! The parts, which do not know the replica: `config`, `ready` (what goes out), `log` and `durability` (what is on disk),
//! `inflights` and `progress` (a follower as its leader sees it), `membership` (configurations and majorities), `reads`
//! (heartbeat rounds and ReadIndex), `timing`, `far_terms`, `rng`, `counters`, and `role`, what a replica knows in its role
//! alone. `raft` puts them together: the replica, its start, and what one may ask it. Everything else is what it does, and
//! imports the parts and `raft` only: `step` lets messages in; `election`, `follower`, `replication` and `leader` are the
//! protocol of the Raft paper, with the leader's reads and all timers; `transfer`, `members` (changes of membership) and
//! `snapshot` come from the thesis; `priority` and `quiescence` are about comfort; `output` is the way out.

#![no_std]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod config;
mod counters;
mod durability;
mod far_terms;
mod inflights;
mod log;
mod membership;
mod progress;
mod reads;
mod ready;
mod rng;
mod role;
mod timing;

mod raft;
mod step;

mod election;
mod follower;
mod leader;
mod members;
mod output;
mod priority;
mod quiescence;
mod replication;
mod snapshot;
mod transfer;

#[cfg(test)]
mod explore;

pub use config::{Config, ConfigError, PRIORITY_MAX, defaults};
pub use counters::Counters;
pub use leader::{ProposeError, ReadError};
pub use log::TermRun;
pub use membership::{Change, ChangeError, PROMOTION_LAG_MAX};
pub use output::COMMITTED_BYTES_MAX;
pub use progress::{PeerStatus, ProgressState};
pub use raft::{Raft, Recovered, StartError};
pub use reads::{READS_COUNT_MAX, ReadState};
pub use ready::{LogRead, Persist, Purpose, Ready, Role, SnapshotRequest, SoftState};
pub use snapshot::RestoreError;
pub use transfer::TransferError;
