//! Sends messages to a collector, and waits longer and longer while it does not take them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prost::Message;
use ureq::Agent;

use super::counts::{Loss, OtlpCounts};
use super::messages::ExportResponse;
use super::queue::{Payload, Queue};

/// How long the collector may take to answer.
pub(crate) const ANSWER_WAIT_MAX: Duration = Duration::from_secs(5);
/// First pause behind a failure; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Most bytes of an answer that are read.
const ANSWER_BYTES_MAX: u64 = 64 << 10;
/// Answers that ask to send again later, by the specification of OTLP.
const RETRYABLE: [u16; 4] = [429, 502, 503, 504];

/// How an attempt ended.
enum Outcome {
    /// All was taken but so many, and why.
    Taken(usize, String),
    /// It will not be taken, and why.
    Refused(String),
    /// It is to be sent again, after so long if the collector says so.
    Later(String, Option<Duration>),
}

/// The way to a collector.
pub(crate) struct Sender {
    agent: Agent,
    /// Without a slash at its end.
    endpoint: String,
    queue: Queue,
    pause: Duration,
    not_before: Option<Instant>,
    counts: Arc<OtlpCounts>,
}

impl Sender {
    pub(crate) fn new(endpoint: &str, counts: Arc<OtlpCounts>) -> Sender {
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_WAIT_MAX))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .user_agent(concat!("coracle/", env!("CARGO_PKG_VERSION")))
            .build();
        Sender {
            agent: config.into(),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            queue: Queue::default(),
            pause: PAUSE_MIN,
            not_before: None,
            counts,
        }
    }

    /// Adds a message. The oldest ones leave if there are too many.
    pub(crate) fn push(&mut self, payload: Payload) {
        for left in self.queue.push(payload) {
            self.counts.dropped(left.signal, Loss::QueueFull, left.count);
        }
        self.counts.queued(self.queue.len());
    }

    /// Sends what waits, until nothing does or the collector does not take it.
    pub(crate) fn send_waiting(&mut self) {
        while self.not_before.is_none_or(|at| Instant::now() >= at) {
            let Some(payload) = self.queue.first() else { break };
            let outcome = self.attempt(payload);
            self.settle(outcome);
        }
        self.counts.queued(self.queue.len());
    }

    /// When something is to be sent again; `None` if nothing waits.
    pub(crate) fn next_attempt(&self) -> Option<Instant> {
        self.queue.first().and(self.not_before)
    }

    fn attempt(&self, payload: &Payload) -> Outcome {
        let url = format!("{}/v1/{}", self.endpoint, payload.signal.name());
        let request = self.agent.post(&url).header("Content-Type", "application/x-protobuf");
        let mut response = match request.send(&payload.body) {
            Ok(response) => response,
            Err(error) => return Outcome::Later(error.to_string(), None),
        };
        let status = response.status().as_u16();
        if RETRYABLE.contains(&status) {
            let after = response.headers().get("retry-after").and_then(|after| after.to_str().ok()?.parse().ok());
            return Outcome::Later(format!("status {status}"), after.map(Duration::from_secs));
        }
        let body = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec().unwrap_or_default();
        if !(200..300).contains(&status) {
            return Outcome::Refused(format!("status {status}"));
        }
        // An answer that cannot be read is one that says nothing more.
        match ExportResponse::decode(&*body).unwrap_or_default().partial_success {
            Some(partial) => {
                let rejected = usize::try_from(partial.rejected).unwrap_or(0).min(payload.count);
                Outcome::Taken(rejected, partial.error_message)
            }
            None => Outcome::Taken(0, String::new()),
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        let endpoint = &self.endpoint;
        match outcome {
            Outcome::Later(reason, after) => {
                self.counts.failed();
                if self.not_before.is_none() {
                    tracing::warn!(endpoint, reason, "the collector takes nothing: it is tried again");
                }
                let pause = after.map_or(self.pause, |after| after.max(self.pause)).min(PAUSE_MAX);
                self.not_before = Some(Instant::now() + pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
            }
            Outcome::Refused(reason) => {
                self.counts.failed();
                self.went_well();
                let Some(payload) = self.queue.pop() else { return };
                self.counts.dropped(payload.signal, Loss::Refused, payload.count);
                let signal = payload.signal.name();
                tracing::warn!(endpoint = self.endpoint, signal, reason, "the collector refuses a message");
            }
            Outcome::Taken(rejected, reason) => {
                self.went_well();
                let Some(payload) = self.queue.pop() else { return };
                self.counts.sent(payload.signal, payload.count - rejected);
                self.counts.dropped(payload.signal, Loss::Refused, rejected);
                if rejected > 0 {
                    let signal = payload.signal.name();
                    tracing::warn!(
                        endpoint = self.endpoint,
                        signal,
                        rejected,
                        reason,
                        "the collector refuses a part"
                    );
                }
            }
        }
    }

    /// The collector answers.
    fn went_well(&mut self) {
        if self.not_before.take().is_some() {
            tracing::info!(endpoint = self.endpoint, "the collector answers again");
        }
        self.pause = PAUSE_MIN;
    }
}
