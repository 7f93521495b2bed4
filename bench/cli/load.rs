//! `coracle-bench load`: its arguments, and what it prints.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use crate::cli::within;
use crate::error::Error;
use crate::load::conn::Protocol;
use crate::load::cpus::Cpus;
use crate::load::keys::{KEYS_COUNT_MAX, KeyOrder};
use crate::load::mix::{Kind, Mix};
use crate::load::progress::Progress;
use crate::load::sizes::ValueSizes;
use crate::load::workload::Workload;
use crate::load::{self, CONNECTIONS_MAX, Spec};

const PIPELINE_MAX: usize = 4_096;
const THREADS_MAX: usize = 64;
const SECONDS_MAX: f64 = 86_400.0;
const RATE_MAX: f64 = 1e8;
/// The least number of commands on their way on a connection while the keys are written.
const FILL_PIPELINE_MIN: usize = 16;
/// Runs shorter than this are watched in short windows, longer ones in long ones.
const LONG_RUN: Duration = Duration::from_secs(30);
const WINDOW_SHORT: Duration = Duration::from_millis(250);
const WINDOW_LONG: Duration = Duration::from_secs(1);

#[derive(Args, Debug)]
pub(super) struct LoadArgs {
    /// A server, as HOST:PORT; may be given several times
    #[arg(long, required = true, value_name = "HOST:PORT")]
    addr: Vec<String>,
    /// Ask the servers who owns which slot, and send each command to the owner
    #[arg(long)]
    cluster: bool,
    /// How many connections, in all
    #[arg(long, short = 'c', default_value_t = 50)]
    connections: usize,
    /// The most commands on their way on one connection
    #[arg(long, short = 'P', default_value_t = 1)]
    pipeline: usize,
    /// End after that many commands
    #[arg(long, short = 'n', value_name = "N")]
    requests: Option<u64>,
    /// End after that many seconds (10 if --requests is absent too)
    #[arg(long, short = 'd', value_name = "S")]
    duration: Option<f64>,
    /// Send commands for that many seconds before measuring begins
    #[arg(long, default_value_t = 0.0, value_name = "S")]
    warmup: f64,
    /// The commands: set, get, del, ping, insert, rmw (a read and then a write of the same key), weights of them
    /// such as set=1,get=9, mixed:RATIO (the share of reads), or ycsb-a, -b, -c, -d, -f
    #[arg(long, visible_alias = "mix", default_value = "set")]
    workload: Mix,
    /// How many keys there are at the start
    #[arg(long, default_value_t = 100_000)]
    keys: u32,
    /// Write every key once before the run
    #[arg(long)]
    fill: bool,
    /// Which key comes next: uniform, zipf[:THETA], latest[:THETA], hotspot[:KEYS:COMMANDS], or sequential, which
    /// writes each key once and then ends [default: that of the workload, or uniform]
    #[arg(long, value_name = "ORDER")]
    key_order: Option<KeyOrder>,
    /// How long the values written are, in bytes: 256, 4k, 16..4096, zipf:16..4096, or weights such as 64=9,1k=1
    #[arg(long, default_value = "256", value_name = "BYTES")]
    value_bytes: ValueSizes,
    /// Do not look at the values read
    #[arg(long)]
    no_check: bool,
    /// Commands a second, at fixed times (open loop)
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// How many threads share the connections [default: one for each of --cpus, or 1]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Keep the threads on these CPUs, in turn: 0,2-3
    #[arg(long, value_name = "LIST")]
    cpus: Option<Cpus>,
    /// The version of the protocol: 3 says HELLO 3 on every connection
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    resp: u8,
    /// Give up when a reply or a connection takes longer than that many seconds
    #[arg(long, default_value_t = 10.0, value_name = "S")]
    timeout: f64,
    /// Where chance starts
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl LoadArgs {
    /// How many errors there were.
    pub(super) fn run(self, stop: &AtomicBool) -> Result<u64, Error> {
        let spec = self.spec()?;
        let mut errors_count = 0;
        if self.fill {
            let mut progress = Progress::new("fill", None, self.json);
            let fill_spec = fill_spec(&spec, self.value_bytes.clone());
            let filled = load::run(&fill_spec, &mut |point, latencies| progress.observe(point, latencies), stop)?;
            let filled = filled.report();
            if filled.errors_count > 0 {
                eprintln!("writing the keys: {filled}");
            }
            errors_count += filled.errors_count;
        }
        let mut progress = Progress::new(&self.workload.to_string(), spec.duration, self.json);
        let outcome = load::run(&spec, &mut |point, latencies| progress.observe(point, latencies), stop)?;
        drop(progress);
        let report = outcome.report();
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report).expect("numbers and texts are JSON"));
        } else {
            println!("{report}");
        }
        Ok(errors_count + report.errors_count)
    }

    fn spec(&self) -> Result<Spec, Error> {
        let LoadArgs { connections, pipeline, requests, keys, .. } = *self;
        let cpus = self.cpus.clone().unwrap_or_default();
        cpus.check()?;
        let threads = self.threads.unwrap_or(cpus.count().clamp(1, connections.max(1)));
        within("--connections", connections as f64, 1.0, CONNECTIONS_MAX as f64)?;
        within("--pipeline", pipeline as f64, 1.0, PIPELINE_MAX as f64)?;
        within("--threads", threads as f64, 1.0, THREADS_MAX.min(connections) as f64)?;
        within("--keys", f64::from(keys), 1.0, f64::from(KEYS_COUNT_MAX))?;
        within("--timeout", self.timeout, 0.001, SECONDS_MAX)?;
        within("--duration", self.duration.unwrap_or(1.0), 0.001, SECONDS_MAX)?;
        within("--warmup", self.warmup, 0.0, SECONDS_MAX)?;
        within("--rate", self.rate.unwrap_or(1.0), 0.001, RATE_MAX)?;
        let key_order = self.key_order.unwrap_or_else(|| self.workload.key_order());
        let is_sequential = key_order == KeyOrder::Sequential;
        if is_sequential && (self.rate.is_some() || self.workload.has(Kind::Insert)) {
            let what = "--key-order sequential ends behind the last key, so it goes with neither --rate nor inserts";
            return Err(Error::Usage(what.to_owned()));
        }
        let duration = self.duration.or((requests.is_none() && !is_sequential).then_some(10.0));
        let duration = duration.map(Duration::from_secs_f64);
        Ok(Spec {
            addrs: self.addr.iter().map(|text| resolve(text)).collect::<Result<_, _>>()?,
            cluster: self.cluster,
            protocol: if self.resp == 3 { Protocol::Resp3 } else { Protocol::Resp2 },
            connections,
            pipeline,
            requests,
            warmup: Duration::from_secs_f64(self.warmup),
            duration,
            window: if duration.is_some_and(|duration| duration < LONG_RUN) { WINDOW_SHORT } else { WINDOW_LONG },
            rate: self.rate,
            workload: Workload::new(self.workload.clone(), self.value_bytes.clone(), !self.no_check),
            keys_count: keys,
            key_order,
            threads,
            cpus,
            timeout: Duration::from_secs_f64(self.timeout),
            seed: self.seed,
        })
    }
}

/// A run that writes every key once.
fn fill_spec(spec: &Spec, sizes: ValueSizes) -> Spec {
    Spec {
        pipeline: spec.pipeline.max(FILL_PIPELINE_MIN),
        warmup: Duration::ZERO,
        requests: None,
        duration: None,
        rate: None,
        workload: Workload::new(Mix::only(Kind::Set), sizes, true),
        key_order: KeyOrder::Sequential,
        ..spec.clone()
    }
}

fn resolve(text: &str) -> Result<SocketAddr, Error> {
    let example = "write HOST:PORT, such as 127.0.0.1:6379";
    let mut addrs = text.to_socket_addrs().map_err(Error::os(format!("resolving `{text}` ({example})")))?;
    addrs.next().ok_or_else(|| Error::Usage(format!("`{text}` has no address; {example}")))
}
