//! What a collector is sent, read with the messages that OpenTelemetry generates.

#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use admin::{Exposition, NoProfile, OtlpCounts, SlowCommand, SlowStage, Source, Telemetry, Trace, Unavailable, tell};
use collector::{Posted, collect, listener};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, metric::Data, number_data_point};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

#[allow(unreachable_pub, reason = "the end-to-end tests have it from their library")]
#[path = "../../../tests/support/collector.rs"]
mod collector;

const INTERVAL: Duration = Duration::from_millis(50);
const WITHIN: Duration = Duration::from_secs(20);

/// A node with a counter that grows with each look, and slow commands that a test adds.
#[derive(Default)]
struct Node {
    looks: AtomicU64,
    slow: Mutex<Vec<SlowCommand>>,
}

impl Source for Node {
    fn metrics(&self, _per_group: bool) -> Result<Exposition, Unavailable> {
        let mut figures = Exposition::default();
        let looks = self.looks.fetch_add(1, Ordering::SeqCst) + 1;
        figures.counter("coracle_looks_total", "Looks.", &[("core", "0")], looks as f64);
        figures.gauge("coracle_log_bytes", "Bytes.", &[("core", "0")], 0.0);
        figures.gauge("coracle_log_bytes", "Bytes.", &[("core", "1")], 7.5);
        figures.histogram("coracle_turn_seconds", "Turns.", &[], [(0.001, 2), (0.1, 3)], (4, 1.5));
        figures.summary("redis_latency_percentiles_usec", "Latencies.", &[], [("50", 7.0), ("0.75", 9.0)], (2, 14.0));
        Ok(figures)
    }

    fn slow_commands(&self) -> Result<Vec<SlowCommand>, Unavailable> {
        Ok(self.slow.lock().unwrap().clone())
    }

    fn state(&self) -> Result<String, Unavailable> {
        Ok(String::new())
    }

    fn live(&self) -> Result<String, Unavailable> {
        Ok(String::new())
    }

    fn ready(&self) -> Result<String, Unavailable> {
        Ok(String::new())
    }

    fn cpu_profile(&self, _time: Duration, _is_wanted: &dyn Fn() -> bool) -> Result<Vec<u8>, NoProfile> {
        Err(NoProfile::Off(String::new()))
    }

    fn heap_profile(&self) -> Result<Vec<u8>, NoProfile> {
        Err(NoProfile::Off(String::new()))
    }
}

fn slow(sequence: u64) -> SlowCommand {
    let stage = |name, offset, took| SlowStage {
        name,
        offset: Duration::from_micros(offset),
        took: Duration::from_micros(took),
    };
    SlowCommand {
        core: "2/1".to_owned(),
        number: 3 * sequence,
        sequence,
        name: "SET".to_owned(),
        begun: Duration::from_micros(1_700_000_000_000_000 + sequence),
        took: Duration::from_micros(900),
        way: "batch".to_owned(),
        client: Some("127.0.0.1:9".to_owned()),
        forwarded_by: None,
        stages: vec![stage("batch", 0, 100), stage("commit", 100, 800)],
        trace: Trace {
            trace_id: [sequence as u8 + 1; 16],
            span_id: [7; 8],
            parent_id: (sequence > 0).then_some([9; 8]),
        },
    }
}

fn start(endpoint: String) -> (Arc<Node>, Arc<OtlpCounts>) {
    let (node, counts) = (Arc::new(Node::default()), Arc::new(OtlpCounts::default()));
    let telemetry = Telemetry {
        otlp_endpoint: Some(endpoint),
        interval: INTERVAL,
        logs_slow_commands: true,
        attributes: vec![("service.name".to_owned(), "coracle".to_owned())],
        version: "9.9".to_owned(),
    };
    tell(telemetry, Arc::clone(&node) as Arc<dyn Source>, Arc::clone(&counts)).unwrap();
    (node, counts)
}

fn next(posted: &Receiver<Posted>, path: &str) -> Vec<u8> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let Posted { path: found, body } =
            posted.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
        if found == path {
            return body;
        }
    }
}

fn metrics(posted: &Receiver<Posted>) -> Vec<Metric> {
    let request = ExportMetricsServiceRequest::decode(&*next(posted, "/v1/metrics")).unwrap();
    let [resource] = &request.resource_metrics[..] else { panic!("one node: {request:?}") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(texts(attributes), [("service.name", "coracle".to_owned())]);
    let [scope] = &resource.scope_metrics[..] else { panic!("one scope: {request:?}") };
    assert_eq!(scope.scope.as_ref().unwrap().version, "9.9");
    scope.metrics.clone()
}

fn spans(body: &[u8]) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn texts(attributes: &[KeyValue]) -> Vec<(&str, String)> {
    let text = |attribute: &KeyValue| match attribute.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    };
    attributes.iter().map(|attribute| (attribute.key.as_str(), text(attribute).unwrap())).collect()
}

/// The value of a counter of the export itself.
fn count(counts: &OtlpCounts, line: &str) -> u64 {
    let mut out = Exposition::default();
    counts.write(&[], &mut out);
    let text = out.to_text();
    let found = text.lines().find_map(|known| known.strip_prefix(line)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {line} in {text}")).parse().unwrap()
}

fn wait_for(what: &str, is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < WITHIN, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn figures_arrive_with_types_units_and_labels_again_and_again() {
    let (listener, endpoint) = listener();
    let posted = collect(listener, |_| Some(("200 OK", Vec::new())));
    let (_node, counts) = start(endpoint);
    let first = metrics(&posted);
    let names: Vec<(&str, &str)> = first.iter().map(|metric| (metric.name.as_str(), metric.unit.as_str())).collect();
    let expected = [
        ("coracle_looks_total", ""),
        ("coracle_log_bytes", "By"),
        ("coracle_turn_seconds", "s"),
        ("redis_latency_percentiles_usec", "us"),
    ];
    assert_eq!(names, expected);
    let Some(Data::Sum(sum)) = &first[0].data else { panic!("{first:?}") };
    assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "cumulative: {sum:?}");
    let point = &sum.data_points[0];
    assert_eq!(
        (point.value, texts(&point.attributes)),
        (Some(number_data_point::Value::AsDouble(1.0)), vec![("core", "0".into())])
    );
    assert!(point.start_time_unix_nano > 0 && point.start_time_unix_nano <= point.time_unix_nano, "{point:?}");
    let Some(Data::Gauge(gauge)) = &first[1].data else { panic!("{first:?}") };
    let values: Vec<_> = gauge.data_points.iter().map(|point| point.value).collect();
    assert_eq!(values, [0.0, 7.5].map(|value| Some(number_data_point::Value::AsDouble(value))));
    let Some(Data::Histogram(histogram)) = &first[2].data else { panic!("{first:?}") };
    let point = &histogram.data_points[0];
    assert_eq!((point.count, point.sum), (4, Some(1.5)));
    assert_eq!((&point.bucket_counts[..], &point.explicit_bounds[..]), (&[2, 1, 1][..], &[0.001, 0.1][..]));
    let Some(Data::Summary(summary)) = &first[3].data else { panic!("{first:?}") };
    let quantiles: Vec<_> = summary.data_points[0].quantile_values.iter().map(|it| (it.quantile, it.value)).collect();
    assert_eq!(quantiles, [(0.5, 7.0), (0.75, 9.0)]);
    let Some(Data::Sum(sum)) = &metrics(&posted)[0].data else { panic!("another look") };
    assert_eq!(sum.data_points[0].value, Some(number_data_point::Value::AsDouble(2.0)));
    wait_for("what was taken is counted", || count(&counts, "coracle_otlp_sent_total{signal=\"metrics\"}") >= 10);
}

#[test]
fn each_slow_command_is_a_span_once_with_its_stages_below_it() {
    let (listener, endpoint) = listener();
    let posted = collect(listener, |_| Some(("200 OK", Vec::new())));
    let (node, counts) = start(endpoint);
    *node.slow.lock().unwrap() = vec![slow(1), slow(0)];
    let all = spans(&next(&posted, "/v1/traces"));
    let names: Vec<&str> = all.iter().map(|span| span.name.as_str()).collect();
    assert_eq!(names, ["SET", "batch", "commit", "SET", "batch", "commit"]);
    let (whole, commit) = (&all[0], &all[2]);
    assert_eq!(
        (&whole.trace_id[..], &whole.span_id[..], &whole.parent_span_id[..]),
        (&[1; 16][..], &[7; 8][..], &[][..])
    );
    assert_eq!(whole.start_time_unix_nano, 1_700_000_000_000_000_000);
    assert_eq!(whole.end_time_unix_nano - whole.start_time_unix_nano, 900_000);
    assert_eq!(
        texts(&whole.attributes)[1..3],
        [("db.operation.name", "SET".to_owned()), ("coracle.core", "2/1".to_owned())]
    );
    assert_eq!((&commit.trace_id, &commit.parent_span_id), (&whole.trace_id, &whole.span_id));
    let times = (commit.start_time_unix_nano - whole.start_time_unix_nano, commit.end_time_unix_nano);
    assert_eq!(times, (100_000, whole.end_time_unix_nano));
    assert_eq!(all[3].parent_span_id, [9; 8]);
    let ids: std::collections::BTreeSet<_> = all[..3].iter().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), 3, "each span has an id of its own");
    // The next ones: five have come, and the log holds two of them.
    *node.slow.lock().unwrap() = vec![slow(5), slow(6)];
    let next = spans(&next(&posted, "/v1/traces"));
    assert_eq!(next.iter().filter(|span| span.name == "SET").count(), 2);
    let overwritten = "coracle_otlp_dropped_total{signal=\"traces\",reason=\"overwritten\"}";
    assert_eq!(count(&counts, overwritten), 3);
    wait_for("what was taken is counted", || count(&counts, "coracle_otlp_sent_total{signal=\"traces\"}") == 12);
}

#[test]
fn a_collector_that_comes_late_is_sent_what_waited_and_the_rest_is_counted() {
    let (listener, endpoint) = listener();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let (node, counts) = start(endpoint);
    let dropped = "coracle_otlp_dropped_total{signal=\"metrics\",reason=\"queue_full\"}";
    wait_for("the queue has an end", || count(&counts, dropped) > 0);
    assert_eq!(count(&counts, "coracle_otlp_queued"), 32);
    assert!(count(&counts, "coracle_otlp_failures_total") > 0);
    let posted = collect(TcpListener::bind(addr).unwrap(), |_| Some(("200 OK", Vec::new())));
    let Some(Data::Sum(sum)) = &metrics(&posted)[0].data else { panic!("figures") };
    let Some(number_data_point::Value::AsDouble(oldest)) = sum.data_points[0].value else { panic!("a number") };
    assert!(oldest > 1.0 && oldest as u64 + 31 <= node.looks.load(Ordering::SeqCst), "{oldest}");
    wait_for("nothing waits any more", || count(&counts, "coracle_otlp_queued") == 0);
}

#[test]
fn a_message_that_is_refused_is_dropped_and_one_that_is_to_come_later_is_not() {
    static ASKED: AtomicU64 = AtomicU64::new(0);
    let (listener, endpoint) = listener();
    let posted = collect(listener, |posted| {
        if posted.path == "/v1/metrics" {
            return Some(("400 Bad Request", Vec::new()));
        }
        if ASKED.fetch_add(1, Ordering::SeqCst) == 0 {
            return Some(("503 Service Unavailable", Vec::new()));
        }
        let partial_success = Some(ExportTracePartialSuccess { rejected_spans: 1, error_message: "too old".into() });
        Some(("200 OK", ExportTraceServiceResponse { partial_success }.encode_to_vec()))
    });
    let (node, counts) = start(endpoint);
    *node.slow.lock().unwrap() = vec![slow(0)];
    let first = next(&posted, "/v1/traces");
    assert_eq!(first, next(&posted, "/v1/traces"), "it is sent again");
    wait_for("two of three spans were taken", || count(&counts, "coracle_otlp_sent_total{signal=\"traces\"}") == 2);
    assert_eq!(count(&counts, "coracle_otlp_dropped_total{signal=\"traces\",reason=\"refused\"}"), 1);
    let refused = "coracle_otlp_dropped_total{signal=\"metrics\",reason=\"refused\"}";
    wait_for("figures are refused", || count(&counts, refused) >= 10);
    assert_eq!(count(&counts, "coracle_otlp_sent_total{signal=\"metrics\"}"), 0);
}

#[test]
fn a_collector_that_never_answers_is_given_up_on_each_time() {
    let (listener, endpoint) = listener();
    let _posted = collect(listener, |_| None);
    let (node, counts) = start(endpoint);
    wait_for("an answer is not waited for without end", || {
        count(&counts, "coracle_otlp_failures_total") >= 2 && node.looks.load(Ordering::SeqCst) >= 3
    });
    assert_eq!(count(&counts, "coracle_otlp_sent_total{signal=\"metrics\"}"), 0);
}
