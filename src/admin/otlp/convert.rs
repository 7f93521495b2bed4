//! Figures and slow commands as messages.

use std::time::Duration;

use prost::Message;

use super::messages::{
    AnyValue, Data, ExportMetrics, ExportTraces, Gauge, Histogram, HistogramDataPoint, InstrumentationScope,
    KeyValue, Metric, NumberDataPoint, Resource, ResourceMetrics, ResourceSpans, ScopeMetrics, ScopeSpans, Span,
    SpanKind, Sum, Summary, SummaryDataPoint, Temporality, Value, ValueAtQuantile,
};
use super::queue::{Payload, Signal};
use crate::exposition::{Exposition, Family, Kind, Sample, SampleValue};
use crate::slow_command::{SlowCommand, SlowStage};

/// Who sends.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// What is known of the node, by the names of OpenTelemetry's conventions.
    pub(crate) attributes: Vec<(String, String)>,
    pub(crate) version: String,
    /// When counters began, since 1970.
    pub(crate) started: Duration,
}

impl Origin {
    fn resource(&self) -> Resource {
        let attributes = self.attributes.iter().map(|(key, value)| text(key, value));
        Resource { attributes: attributes.collect() }
    }

    fn scope(&self) -> InstrumentationScope {
        InstrumentationScope { name: "coracle".to_owned(), version: self.version.clone() }
    }
}

/// Figures as of `now`, since 1970.
pub(crate) fn metrics(origin: &Origin, figures: &Exposition, now: Duration) -> Payload {
    let times = (nanos(origin.started), nanos(now));
    let metrics: Vec<Metric> = figures.families().iter().map(|family| metric(family, times)).collect();
    let count = figures.families().iter().map(|family| family.samples.len()).sum();
    let scope_metrics = vec![ScopeMetrics { scope: Some(origin.scope()), metrics }];
    let resource_metrics = vec![ResourceMetrics { resource: Some(origin.resource()), scope_metrics }];
    Payload { signal: Signal::Metrics, count, body: ExportMetrics { resource_metrics }.encode_to_vec() }
}

/// Commands, each as a span with one more below it for each of its stages.
pub(crate) fn spans(origin: &Origin, commands: &[SlowCommand]) -> Payload {
    let spans: Vec<Span> = commands.iter().flat_map(command_spans).collect();
    let count = spans.len();
    let scope_spans = vec![ScopeSpans { scope: Some(origin.scope()), spans }];
    let resource_spans = vec![ResourceSpans { resource: Some(origin.resource()), scope_spans }];
    Payload { signal: Signal::Traces, count, body: ExportTraces { resource_spans }.encode_to_vec() }
}

fn metric(family: &Family, times: (u64, u64)) -> Metric {
    let samples = &family.samples;
    let data = match family.kind {
        Kind::Gauge => Data::Gauge(Gauge { data_points: numbers(samples, times) }),
        Kind::Counter => Data::Sum(Sum {
            data_points: numbers(samples, times),
            aggregation_temporality: Temporality::Cumulative.into(),
            is_monotonic: true,
        }),
        Kind::Histogram => Data::Histogram(Histogram {
            data_points: samples.iter().filter_map(|sample| histogram(sample, times)).collect(),
            aggregation_temporality: Temporality::Cumulative.into(),
        }),
        Kind::Summary => Data::Summary(Summary {
            data_points: samples.iter().filter_map(|sample| summary(sample, times)).collect(),
        }),
    };
    Metric {
        name: family.name.clone(),
        description: family.help.clone(),
        unit: unit(&family.name).to_owned(),
        data: Some(data),
    }
}

/// The unit that a name says, in the letters of UCUM, as OpenTelemetry has them.
fn unit(name: &str) -> &'static str {
    match name.strip_suffix("_total").unwrap_or(name) {
        stem if stem.ends_with("_seconds") => "s",
        stem if stem.ends_with("_bytes") => "By",
        stem if stem.ends_with("_usec") => "us",
        _ => "",
    }
}

fn numbers(samples: &[Sample], (start, now): (u64, u64)) -> Vec<NumberDataPoint> {
    let number = |sample: &Sample| {
        let SampleValue::Number(value) = sample.value else { return None };
        Some(NumberDataPoint {
            start_time_unix_nano: start,
            time_unix_nano: now,
            as_double: Some(value),
            attributes: attributes(sample),
        })
    };
    samples.iter().filter_map(number).collect()
}

fn histogram(sample: &Sample, (start, now): (u64, u64)) -> Option<HistogramDataPoint> {
    let SampleValue::Histogram { buckets, count, sum } = &sample.value else { return None };
    let mut bucket_counts = Vec::with_capacity(buckets.len() + 1);
    let mut below = 0;
    for count_up_to in buckets.iter().map(|(_, count_up_to)| *count_up_to).chain([*count]) {
        bucket_counts.push(count_up_to.saturating_sub(below));
        below = below.max(count_up_to);
    }
    Some(HistogramDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: now,
        // What is not the sum of its buckets is refused.
        count: bucket_counts.iter().sum(),
        sum: Some(*sum),
        bucket_counts,
        explicit_bounds: buckets.iter().map(|(bound, _)| *bound).collect(),
        attributes: attributes(sample),
    })
}

fn summary(sample: &Sample, (start, now): (u64, u64)) -> Option<SummaryDataPoint> {
    let SampleValue::Summary { quantiles, count, sum } = &sample.value else { return None };
    let value = |(quantile, value): &(String, f64)| {
        let written = quantile.parse::<f64>().ok()?;
        // redis_exporter has percents there.
        let quantile = if written > 1.0 { written / 100.0 } else { written };
        Some(ValueAtQuantile { quantile, value: *value })
    };
    Some(SummaryDataPoint {
        start_time_unix_nano: start,
        time_unix_nano: now,
        count: *count,
        sum: *sum,
        quantile_values: quantiles.iter().filter_map(value).collect(),
        attributes: attributes(sample),
    })
}

fn attributes(sample: &Sample) -> Vec<KeyValue> {
    sample.labels.iter().map(|(label, value)| text(label, value)).collect()
}

fn command_spans(command: &SlowCommand) -> Vec<Span> {
    let trace = &command.trace;
    let mut attributes = vec![
        text("db.system.name", "coracle"),
        text("db.operation.name", &command.name),
        text("coracle.core", &command.core),
        text("coracle.way", &command.way),
        KeyValue {
            key: "coracle.slowlog.id".to_owned(),
            value: Some(AnyValue { value: Some(Value::Int(command.number as i64)) }),
        },
    ];
    attributes.extend(command.client.iter().map(|client| text("client.address", client)));
    attributes.extend(command.forwarded_by.iter().map(|core| text("coracle.forwarded_by", core)));
    let whole = Span {
        trace_id: trace.trace_id.to_vec(),
        span_id: trace.span_id.to_vec(),
        parent_span_id: trace.parent_id.map_or_else(Vec::new, |id| id.to_vec()),
        name: command.name.clone(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: nanos(command.begun),
        end_time_unix_nano: nanos(command.begun + command.took),
        attributes,
    };
    let stages = command.stages.iter().enumerate().map(|(idx, stage)| stage_span(command, idx, stage));
    std::iter::once(whole).chain(stages).collect()
}

fn stage_span(command: &SlowCommand, idx: usize, stage: &SlowStage) -> Span {
    let begun = command.begun + stage.offset;
    Span {
        trace_id: command.trace.trace_id.to_vec(),
        span_id: stage_id(command.trace.span_id, idx).to_vec(),
        parent_span_id: command.trace.span_id.to_vec(),
        name: stage.name.to_owned(),
        kind: SpanKind::Internal.into(),
        start_time_unix_nano: nanos(begun),
        end_time_unix_nano: nanos(begun + stage.took),
        attributes: Vec::new(),
    }
}

/// Ids of spans of one trace must differ, and not be zero.
fn stage_id(parent: [u8; 8], idx: usize) -> [u8; 8] {
    (u64::from_be_bytes(parent).wrapping_add(idx as u64 + 1).max(1)).to_be_bytes()
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(Value::Text(value.to_owned())) }) }
}

fn nanos(time: Duration) -> u64 {
    // That ends in the year 2554.
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
