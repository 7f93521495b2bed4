//! Metrics and health of a node over HTTP, for Prometheus, for orchestrators and for people; and, to a collector of OpenTelemetry that
//! somebody names, without being asked.
//!
//! A thread accepts connections, and each request has a short-lived one: a client that is slow holds up nobody. None of them
//! is a core's, none is pinned, and none touches what a core owns: a [`Source`] tells what there is.
//!
//! Invariants:
//! - There are at most [`CLIENTS_COUNT_MAX`] connections; another one is told 503, or closed.
//! - A request has at most [`REQUEST_BYTES_MAX`] bytes and [`REQUEST_TIME_MAX`], its response [`RESPONSE_TIME_MAX`] to be taken. A
//!   profile takes a minute at most, and ends when its client leaves.
//! - All is read and nothing is changed: `GET` and `HEAD` are the only methods.
//! - Bytes of a client give a response or a close, never a panic.
//! - What Redis has, too, bears the name that redis_exporter gives it.
//! - What a collector is sent waits in a bounded queue, by one thread: one that is slow or away costs others nothing but what is counted as
//!   dropped.
//!
//! Deliberately absent: TLS and authentication (bind to trusted networks), connections that stay open, bodies of requests,
//! and anything about how a node comes by its figures.
//!
//! Reading order: [`source`], [`slow_command`], [`request`], [`response`], [`routes`], [`server`]; then what metrics are written with:
//! [`exposition`], [`units`], [`redis_names`]; then what is sent without being asked for: `otlp`, [`telemetry`].

#![forbid(unsafe_code)]

pub mod exposition;
mod otlp;
pub mod redis_names;
pub mod request;
pub mod response;
pub mod routes;
pub mod server;
pub mod slow_command;
pub mod source;
pub mod telemetry;
pub mod units;

pub use exposition::{Exposition, Family, Kind, Labels, Sample, SampleValue};
pub use otlp::OtlpCounts;
pub use server::{CLIENTS_COUNT_MAX, Error, REQUEST_BYTES_MAX, REQUEST_TIME_MAX, RESPONSE_TIME_MAX, bind, serve};
pub use slow_command::{SlowCommand, SlowStage, Trace};
pub use source::{NoProfile, Source, Unavailable};
pub use telemetry::{Telemetry, TelemetryChange, TelemetryHandle, tell};
