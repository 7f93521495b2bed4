//! OTLP over HTTP: what a collector of OpenTelemetry is sent.
//!
//! Messages are bodies of `POST /v1/metrics` and `POST /v1/traces` in Protocol Buffers. What could not be sent waits in a queue that
//! is short, as figures soon say nothing new; what finds no room there, or is refused, is dropped and counted.

mod convert;
mod counts;
mod messages;
mod queue;
mod sender;

pub use counts::OtlpCounts;

pub(crate) use convert::{Origin, metrics, spans};
pub(crate) use counts::Loss;
pub(crate) use queue::Signal;
pub(crate) use sender::Sender;
