//! The core: everything one thread of a node owns, and the turn that moves it.
//!
//! A [`Core`] has the replicas of some Raft groups, one log for all of them, the connections of its clients
//! and its links to the other cores of the cluster. It is driven by a host (the traits of `host`): each turn takes
//! in what has arrived, decides, and begins every write and send that follows, without ever waiting.
//!
//! It consists of six parts with walls. A part's fields are its own, no part imports another, and what one wants of
//! another it returns as an effect, which [`core`](mod@core) carries; replies alone are written where they go, through
//! [`replies`]. Whoever holds a queue enforces its limit, and holds a permit for its bytes ([`budget`]).
//!
//! ```text
//!     bytes of clients                    frames of other cores
//!            |                                      |
//!       [ clients ]                             [ peers ]
//!            |  commands                            |  messages, forwarded commands, replies,
//!       [ router ]   ------- [ core ] -------       |  chunks of snapshots
//!            |  commands of groups led here         |
//!       [ groups ]   <------------------------------+
//!            |  entries to persist, to read back
//!       [ storage ]                             [ cluster ]  the map, what CLUSTER tells
//! ```
//!
//! Invariants:
//! - A reply to a write leaves only after the write was committed and applied here.
//! - A read is answered only by a leader whose lease holds at a time behind the read's arrival, or whose
//!   leadership a majority has confirmed since, or at its place in a batch proposed after it.
//! - Replies leave in the order of the requests of their connection.
//! - Every queue is bounded by [`limits`], the configuration or the [`budget`]; reaching a limit holds up whom it concerns, and
//!   nobody else.
//! - The log of a group shrinks only behind tables that the manifest names durably, and it is told of them only once
//!   the entries that it holds are durable here too.
//! - A write is never carried out twice: one whose fate is not known is answered so and not sent again.
//!
//! Deliberately absent: threads, locks, sockets and files (the host has them), expiry.
//!
//! Reading order: the leaves [`config`], [`settings`], [`limits`], [`budget`], [`origin`], [`request`], [`row_read`], [`replies`], [`refusal`],
//! [`local_replica`], [`replicas`], [`comparison`], [`scrub_report`], [`topology_view`], [`conn_table`], [`load_error`], [`shares`], [`slow`], [`error`];
//! [`observe`] (what others see); [`context`] (what all parts use); [`core`](mod@core) (the turn); then the parts:
//! [`clients`], [`router`], [`groups`], [`storage`], [`peers`], [`cluster`].

mod budget;
mod clients;
mod cluster;
mod comparison;
mod config;
mod conn_table;
mod context;
mod core;
mod error;
mod groups;
pub mod limits;
pub mod load_error;
mod local_replica;
pub mod observe;
mod origin;
mod peers;
mod refusal;
mod replicas;
mod replies;
mod request;
mod router;
mod row_read;
mod scrub_report;
mod settings;
mod shares;
mod slow;
mod storage;
#[cfg(test)]
mod testing;
mod topology_view;

pub use config::{Config, KeepMap, ProcessProbe, ProcessStats, RememberPeer, StoreSettings, defaults, store_dir};
pub use core::{Core, CoreHost, MeshMessage};
pub use error::Error;
pub use limits::peer_conns_count_max;
pub use observe::{
    BudgetUse, CoreReport, Event, Figure, Observer, QueueLen, ReportReceiver, STAGE_BOUNDS_US, SlowCommand,
    StageFigures, TURN_BOUNDS_US, TraceIds, TurnFigures, node_info,
};
pub use settings::{AskSettings, NodeSettings, SettingsAnswer, SettingsChange, SettingsRequest, SettingsWish};
pub use storage::{Loaded, load};
