//! What nodes send to a collector and write to their logs of their own accord.

#![allow(clippy::unwrap_used, reason = "the helpers here are parts of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use coracle_tests::client::ok;
use coracle_tests::collector::{Posted, collect, listener};
use coracle_tests::{Cluster, Node, Options, alone, http, wait_until};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;

const LIMIT: Duration = Duration::from_secs(180);
const WITHIN: Duration = Duration::from_secs(60);

/// A span of a command, of the node that has told it.
#[derive(Clone, Debug)]
struct CommandSpan {
    node: String,
    name: String,
    trace: String,
    span: String,
    parent: String,
    attributes: BTreeMap<String, String>,
    stages: Vec<String>,
}

fn text(attribute: &KeyValue) -> (String, String) {
    let value = match attribute.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => panic!("no attribute is of this kind: {other:?}"),
    };
    (attribute.key.clone(), value)
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    attributes.iter().map(text).collect()
}

fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The commands of a message; the stages of each are told with it.
fn commands(body: &[u8]) -> Vec<CommandSpan> {
    let mut all = Vec::new();
    for resource in ExportTraceServiceRequest::decode(body).unwrap().resource_spans {
        let node = texts(&resource.resource.unwrap().attributes)["service.instance.id"].clone();
        let spans: Vec<_> = resource.scope_spans.into_iter().flat_map(|scope| scope.spans).collect();
        for span in spans.iter().filter(|span| !span.attributes.is_empty()) {
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{span:?}");
            let below =
                spans.iter().filter(|other| other.parent_span_id == span.span_id && other.attributes.is_empty());
            all.push(CommandSpan {
                node: node.clone(),
                name: span.name.clone(),
                trace: hex(&span.trace_id),
                span: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                attributes: texts(&span.attributes),
                stages: below.map(|stage| stage.name.clone()).collect(),
            });
        }
    }
    all
}

/// The names of the figures of each node that has sent some.
fn figures(posted: &Posted) -> BTreeMap<String, BTreeSet<String>> {
    let mut of_nodes = BTreeMap::new();
    for resource in ExportMetricsServiceRequest::decode(&*posted.body).unwrap().resource_metrics {
        let node = texts(&resource.resource.unwrap().attributes)["service.instance.id"].clone();
        let metrics = resource.scope_metrics.into_iter().flat_map(|scope| scope.metrics);
        of_nodes.insert(node, metrics.map(|metric| metric.name).collect());
    }
    of_nodes
}

/// The names of the figures that a node shows.
fn shown(node: &Node) -> BTreeSet<String> {
    let (status, text) = http::get(&node.host, node.admin, "/metrics").unwrap();
    assert_eq!(status, 200);
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

/// Collects until each node has sent figures and the forwarded commands of all traces are there from both sides.
fn collected(
    posted: &Receiver<Posted>,
    is_enough: impl Fn(&[CommandSpan]) -> bool,
) -> (Vec<CommandSpan>, BTreeMap<String, BTreeSet<String>>) {
    let deadline = Instant::now() + WITHIN;
    let (mut spans, mut of_nodes) = (Vec::new(), BTreeMap::new());
    while of_nodes.len() < 2 || !is_enough(&spans) {
        let posted = posted.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
        match posted.path.as_str() {
            "/v1/metrics" => of_nodes.append(&mut figures(&posted)),
            "/v1/traces" => spans.append(&mut commands(&posted.body)),
            other => panic!("nothing is sent to {other}"),
        }
    }
    (spans, of_nodes)
}

/// The spans of the gateway's node for commands that node 2 has executed, and node 2's spans for the same commands.
fn joined(spans: &[CommandSpan]) -> Vec<(&CommandSpan, &CommandSpan)> {
    let forwarded = spans.iter().filter(|span| {
        span.node == "1" && span.name == "SET" && span.attributes["coracle.way"] == "forwarded to 2/0"
    });
    let pair =
        |asked: &'_ CommandSpan| spans.iter().position(|other| other.node == "2" && other.trace == asked.trace);
    forwarded.filter_map(|asked| Some((asked, &spans[pair(asked)?]))).collect()
}

#[test]
fn a_command_that_is_forwarded_is_one_trace_of_both_nodes_and_one_id_in_both_logs() {
    let _alone = alone(LIMIT);
    let (listener, endpoint) = listener();
    let posted = collect(listener, |_| Some(("200 OK", Vec::new())));
    let set = [
        format!("otlp_endpoint={endpoint}"),
        "telemetry_interval_s=1".to_owned(),
        "slowlog_log_slower_than=0".to_owned(),
        "log_slow_commands=true".to_owned(),
        "log_format=json".to_owned(),
    ];
    let cluster = Cluster::start(Options { nodes: 2, set: set.to_vec(), ..Options::default() });
    let mut client = cluster.gateway(1);
    // Slots of names that differ in one digit alone would all belong to one of the nodes.
    for key in (0..200).step_by(5) {
        assert_eq!(client.command(&format!("SET key-{key} value")), ok());
    }
    let (spans, of_nodes) = collected(&posted, |spans| joined(spans).len() >= 5);
    for (asked, executed) in joined(&spans) {
        assert_eq!(executed.parent, asked.span, "{asked:?} {executed:?}");
        assert!(asked.parent.is_empty() && asked.attributes.contains_key("client.address"), "{asked:?}");
        assert_eq!(executed.attributes["coracle.forwarded_by"], "1/0");
        assert_eq!((executed.name.as_str(), executed.attributes["coracle.way"].as_str()), ("SET", "batch"));
        for stage in ["batch", "commit", "apply"] {
            assert!(executed.stages.iter().any(|known| known == stage), "{executed:?}");
        }
    }
    let text = format!("{spans:?}");
    assert!(!text.contains("key-") && !text.contains("value\""), "arguments are sent to nobody: {text}");
    let traces: BTreeSet<&str> = joined(&spans).iter().map(|(asked, _)| asked.trace.as_str()).collect();
    assert_eq!(traces.len(), joined(&spans).len(), "each command is a trace of its own");
    for node in cluster.nodes() {
        let (sent, shown) = (&of_nodes[&node.id.to_string()], shown(&node));
        let missing: Vec<_> = sent.symmetric_difference(&shown).collect();
        // Both are there from the first command on.
        assert!(
            missing.iter().all(|name| name.contains("latency_percentiles")
                || name.contains("errors_total")
                || name.contains("redis_commands_")),
            "{missing:?}"
        );
        assert!(shown.contains("coracle_otlp_sent_total"), "{shown:?}");
    }
    let trace = joined(&spans)[0].0.trace.clone();
    for id in 1..=2 {
        let log = cluster.dir().join(format!("node-{id}.log"));
        wait_until("the line is there", WITHIN, || std::fs::read_to_string(&log).unwrap().contains(&trace));
        let lines = std::fs::read_to_string(&log).unwrap();
        let line = lines.lines().find(|line| line.contains(&trace)).unwrap();
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!((&line["trace"], &line["command"]), (&trace.as_str().into(), &"SET".into()), "{line}");
        assert!(line["took_us"].as_u64().is_some(), "{line}");
    }
}

#[test]
fn nodes_serve_as_ever_while_their_collector_is_away_and_say_so() {
    let _alone = alone(LIMIT);
    let (listener, endpoint) = listener();
    drop(listener);
    let set = vec![format!("otlp_endpoint={endpoint}"), "telemetry_interval_s=1".to_owned()];
    let cluster = Cluster::start(Options { nodes: 1, groups: 1, set, ..Options::default() });
    let node = cluster.node(1);
    let failures = || {
        let (_, text) = http::get(&node.host, node.admin, "/metrics").unwrap();
        let count = text.lines().find_map(|line| line.strip_prefix("coracle_otlp_failures_total{node=\"1\"} "));
        // Figures are there once all cores have answered.
        count.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    wait_until("attempts fail", WITHIN, || failures() >= 2);
    assert_eq!(cluster.gateway(1).command("SET k v"), ok());
    let log = std::fs::read_to_string(cluster.dir().join("node-1.log")).unwrap();
    assert_eq!(log.matches("the collector takes nothing").count(), 1, "{log}");
}
