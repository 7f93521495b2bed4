//! What `load --json` prints: how it was measured, and what came out.

use serde::Serialize;

use crate::cli::load::LoadArgs;
use crate::load::Spec;
use crate::load::conn::Protocol;
use crate::load::report::Report;
use crate::load::schedule::Arrivals;
use crate::load::timeline::Point;
use crate::slo;

/// Goes up when a field goes or changes its meaning.
const FORMAT: u32 = 1;

/// One run. Times have their units in their names.
#[derive(Serialize)]
pub(super) struct Document<'a> {
    format: u32,
    version: &'static str,
    settings: Settings<'a>,
    // Of a search: the run at the rate that was found; absent if there is none.
    #[serde(flatten)]
    report: Option<&'a Report>,
    timeline: &'a [Point],
    #[serde(skip_serializing_if = "Option::is_none")]
    slo: Option<slo::Document<'a>>,
}

/// What was sent, so that a run can be repeated.
#[derive(Serialize)]
struct Settings<'a> {
    addrs: &'a [String],
    cluster: bool,
    resp: u8,
    connections: usize,
    pipeline: usize,
    threads: usize,
    cpus: String,
    workload: String,
    keys: u32,
    key_order: String,
    value_bytes: String,
    rate: Option<f64>,
    arrivals: Arrivals,
    warmup_s: f64,
    duration_s: Option<f64>,
    requests: Option<u64>,
    seed: u64,
}

impl<'a> Document<'a> {
    pub(super) fn new(
        args: &'a LoadArgs,
        spec: &Spec,
        report: Option<&'a Report>,
        timeline: &'a [Point],
        slo: Option<slo::Document<'a>>,
    ) -> Document<'a> {
        let settings = Settings {
            addrs: &args.addr,
            cluster: spec.cluster,
            resp: if spec.protocol == Protocol::Resp3 { 3 } else { 2 },
            connections: spec.connections,
            pipeline: spec.pipeline,
            threads: spec.threads,
            cpus: spec.cpus.to_string(),
            workload: args.workload.to_string(),
            keys: spec.keys_count,
            key_order: spec.key_order.to_string(),
            value_bytes: args.value_bytes.to_string(),
            rate: spec.rate,
            arrivals: spec.arrivals,
            warmup_s: spec.warmup.as_secs_f64(),
            duration_s: spec.duration.map(|duration| duration.as_secs_f64()),
            requests: spec.requests,
            seed: spec.seed,
        };
        Document { format: FORMAT, version: env!("CARGO_PKG_VERSION"), settings, report, timeline, slo }
    }
}

impl Document<'_> {
    /// The text of it.
    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("numbers and texts are JSON")
    }
}
