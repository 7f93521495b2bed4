//! What others see of a core: counters, observations for checkers, INFO.
//!
//! Every part may use this folder; it uses none of them. Adding a counter is one line in [`counters`], a reason for
//! refusing commands one line in [`refusal`](crate::refusal).
//!
//! Read [`counters`], [`log_limit`], [`distribution`], [`command_stats`], [`error_stats`], [`turns`], [`stages`], [`stalls`], [`spikes`], [`trace`], [`command_log`], [`hot_keys`],
//! [`rates`], [`field`], then [`report`], which puts
//! them together with [`led_group`]; [`alarms`], [`sections`] and [`info`], which show it, [`figures`] and [`slow_commands`] (the same for others than clients), [`server_commands`] (CONFIG GET, TIME, COMMAND), [`latency`] and [`doctor`]
//! (LATENCY), [`logged_replies`] (SLOWLOG, CORACLE), [`comparison_replies`] (CORACLE COMPARISON), [`scrub_replies`] (CORACLE SCRUB), [`reset`], and [`observer`].

mod alarms;
mod command_log;
pub(crate) mod command_stats;
pub(crate) mod comparison_replies;
pub(crate) mod counters;
mod distribution;
pub(crate) mod doctor;
pub(crate) mod error_stats;
mod field;
mod figures;
pub(crate) mod hot_keys;
mod info;
pub(crate) mod latency;
mod led_group;
pub(crate) mod log_limit;
pub(crate) mod logged_replies;
mod observer;
pub(crate) mod rates;
pub(crate) mod report;
mod reset;
pub(crate) mod scrub_replies;
mod sections;
pub(crate) mod server_commands;
mod slow_commands;
pub(crate) mod spikes;
pub(crate) mod stages;
mod stalls;
mod trace;
pub(crate) mod turns;

pub(crate) use alarms::alarms;
pub use command_log::LogKind;
pub(crate) use command_log::{AskedBy, CommandLogs, LARGE_BYTES_MIN, LoggedCommand, Way, shown_args};
pub(crate) use command_stats::CommandStats;
pub(crate) use counters::Counters;
pub(crate) use error_stats::ErrorStats;
pub(crate) use field::Field;
pub use figures::{Figure, ReportReceiver, STAGE_BOUNDS_US, StageFigures, TURN_BOUNDS_US, TurnFigures, node_info};
pub(crate) use led_group::{LedGroup, MemberReport, MemberRole};
pub(crate) use log_limit::RefusalLog;
pub(crate) use observer::fullest;
pub use observer::{BudgetUse, Event, Observer, QueueLen};
pub(crate) use rates::Rates;
pub use report::CoreReport;
pub(crate) use report::{MemoryReport, REPORTED_GROUPS_COUNT_MAX, ReplicaReport};
pub use reset::Reset;
pub(crate) use sections::{Info, InfoScope};
pub use slow_commands::SlowCommand;
pub(crate) use spikes::{SpikeEvent, Spikes};
pub(crate) use stages::{Size, Stage, Stages};
pub(crate) use stalls::{StallReason, Stalls};
pub use trace::TraceIds;
pub(crate) use turns::{Phase, Turns};
