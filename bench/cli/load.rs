//! `coracle-bench load`: its arguments, and what it prints.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::Args;

use crate::cli::document::Document;
use crate::cli::{print_line, within};
use crate::error::Error;
use crate::hgrm;
use crate::load::conn::Protocol;
use crate::load::cpus::Cpus;
use crate::load::keys::{KEYS_COUNT_MAX, KeyOrder};
use crate::load::mix::{Kind, Mix};
use crate::load::progress::Progress;
use crate::load::schedule::Arrivals;
use crate::load::sizes::ValueSizes;
use crate::load::timeline::Point;
use crate::load::workload::Workload;
use crate::load::{self, CONNECTIONS_MAX, Outcome, Spec};
use crate::plot::{self, Target};
use crate::slo::objective::Slo;
use crate::slo::{self, Answer};
use crate::text;

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
/// How long a window of a search is, and the warm-up of each rate, unless the user says otherwise.
const SLO_WINDOW: Duration = Duration::from_secs(2);
const SLO_WARMUP_S: f64 = 1.0;
const SLO_WINDOWS_MAX: usize = 100;

/// Behind the options of `load --help`.
const MORE_HELP: &str = "\
Workloads of YCSB (values instead of records; E is left out, since SCAN has no order):
  ycsb-a  50 % get, 50 % set, zipf        ycsb-d  95 % get, 5 % insert, latest
  ycsb-b  95 % get, 5 % set, zipf         ycsb-f  50 % get, 50 % rmw, zipf
  ycsb-c  100 % get, zipf

What the report says:
  sound replies  answers of the right form; a value read must be one that was written for its key
  latency        closed loop: since the command was sent; open loop: since it was due
  since sent     open loop: since it was sent, so without the time it waited for us or for room
  sent late      open loop: how late this generator sent what was due and had room: our fault

Examples:
  Closed loop, 16 commands at a time on each of 50 connections, after writing the keys
    coracle-bench load --addr 127.0.0.1:6379 --fill --workload mixed:0.9 -P 16
  YCSB B, each command to the core that owns its key, 2 s of warm-up
    coracle-bench load --addr 127.0.0.1:7001 --cluster --fill --workload ycsb-b --warmup 2
  Latencies at a fixed rate, drawn
    coracle-bench load --addr 127.0.0.1:6379 --rate 20000 -P 16 -d 60 --plot run.png
  The highest rate with a p99 of at most 2 ms, the generator kept on CPU 3
    coracle-bench load --addr 127.0.0.1:6379 --slo p99=2ms -P 16 --cpus 3 --plot slo.svg";

/// Below the options of `load -h`.
const LITTLE_HELP: &str = "\
Example: coracle-bench load --addr 127.0.0.1:6379 --fill --workload ycsb-b --plot run.png
More with --help.";

#[derive(Args, Debug)]
#[command(after_help = LITTLE_HELP, after_long_help = MORE_HELP)]
pub(super) struct LoadArgs {
    /// A server, as HOST:PORT; may be given several times
    #[arg(long, required = true, value_name = "HOST:PORT", help_heading = "Servers")]
    pub(super) addr: Vec<String>,
    /// Ask the servers who owns which slot, and send each command to the owner
    ///
    /// Each connection leads to one owner and chooses among the owner's keys in the order that --key-order names, so
    /// popular keys make no owner busier than the others. A topology that changes is followed.
    #[arg(long, help_heading = "Servers")]
    cluster: bool,
    /// The version of the protocol: 3 says HELLO 3 on every connection
    #[arg(long, value_name = "2|3", default_value_t = 2, value_parser = clap::value_parser!(u8).range(2..=3))]
    #[arg(help_heading = "Servers")]
    resp: u8,
    /// Give up when a reply or a connection takes longer than that many seconds
    #[arg(long, default_value_t = 10.0, value_name = "S", help_heading = "Servers")]
    timeout: f64,
    /// How many connections, in all
    #[arg(long, short = 'c', value_name = "N", default_value_t = 50, help_heading = "Load")]
    connections: usize,
    /// The most commands on their way on one connection
    #[arg(long, short = 'P', value_name = "N", default_value_t = 1, help_heading = "Load")]
    pipeline: usize,
    /// Commands a second, whatever the answers do (open loop)
    #[arg(long, value_name = "R", help_heading = "Load")]
    rate: Option<f64>,
    /// How the commands of --rate and --slo are spread over time
    #[arg(long, value_enum, default_value_t, help_heading = "Load")]
    arrivals: Arrivals,
    /// Find the highest rate that keeps bounds such as p99=2ms
    ///
    /// Bounds are p50=300us,p99.9=10ms,max=1s and the like, and hold together. A closed loop tells where to search; each
    /// rate below is an open loop of several windows of --duration seconds [default: 2], and keeps the bounds if most
    /// windows do. Rates whose windows disagree, and the two that bound the answer, are tried twice. Exit status 1 if
    /// no rate keeps them.
    #[arg(long, value_name = "BOUNDS", conflicts_with_all = ["rate", "requests"], help_heading = "Load")]
    slo: Option<Slo>,
    /// How many windows each rate of --slo gets
    #[arg(long, value_name = "N", default_value_t = 3, requires = "slo", help_heading = "Load")]
    slo_windows: usize,
    /// End after that many seconds [default: 10, unless --requests is there]
    #[arg(long, short = 'd', value_name = "S", help_heading = "Load")]
    duration: Option<f64>,
    /// End after that many commands
    #[arg(long, short = 'n', value_name = "N", help_heading = "Load")]
    requests: Option<u64>,
    /// Send commands for that many seconds before measuring [default: 0; for each rate of --slo 1]
    #[arg(long, value_name = "S", help_heading = "Load")]
    warmup: Option<f64>,
    /// What is sent: set, get, del, ping, insert, rmw, weights, mixed:RATIO or ycsb-a, -b, -c, -d, -f
    ///
    /// An insert writes a key that is not there yet; rmw reads a key and then writes it, counted as one. Weights are
    /// written set=1,get=9; the RATIO is the share of reads.
    #[arg(long, visible_alias = "mix", default_value = "set", help_heading = "Commands, keys and values")]
    pub(super) workload: Mix,
    /// How many keys there are at the start
    #[arg(long, value_name = "N", default_value_t = 100_000, help_heading = "Commands, keys and values")]
    keys: u32,
    /// Write every key once before the run
    #[arg(long, help_heading = "Commands, keys and values")]
    fill: bool,
    /// Which key comes next: uniform, zipf, latest, hotspot, sequential or shuffled [default: as the workload has it]
    ///
    /// uniform: each as likely as any other. zipf[:THETA]: few often, many seldom, with a skew of 0.99 unless THETA is
    /// there; popular keys are no neighbours. latest[:THETA]: the same, the keys inserted last most often.
    /// hotspot[:KEYS:COMMANDS]: a share of the keys gets a share of the commands, 0.2 and 0.8 unless they are there.
    /// sequential: each key once, and then the run ends; shuffled: the same in an order without a pattern.
    #[arg(long, value_name = "ORDER", help_heading = "Commands, keys and values")]
    key_order: Option<KeyOrder>,
    /// How long values are: 256, 4k, 16..4096, zipf:16..4096, or weights such as 64=9,1k=1
    #[arg(long, default_value = "256", value_name = "BYTES", help_heading = "Commands, keys and values")]
    pub(super) value_bytes: ValueSizes,
    /// Do not check that a value read is one that was written for its key
    #[arg(long, help_heading = "Commands, keys and values")]
    no_check: bool,
    /// Where chance starts
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Commands, keys and values")]
    seed: u64,
    /// How many threads share the connections [default: one for each of --cpus, or 1]
    #[arg(long, value_name = "N", help_heading = "Generator")]
    threads: Option<usize>,
    /// Keep the threads on these CPUs, in turn: 0,2-3
    #[arg(long, value_name = "LIST", help_heading = "Generator")]
    cpus: Option<Cpus>,
    /// Print the report as JSON, and nothing else
    #[arg(long, help_heading = "Results")]
    json: bool,
    /// Write the latencies as a percentile file, which HdrHistogram's plotter reads
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    hgrm: Option<PathBuf>,
    /// Draw latency by percentile, and throughput and p99 over time: FILE.svg or FILE.png
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    plot: Vec<Target>,
}

impl LoadArgs {
    /// How many errors there were, a promise that is never kept among them.
    pub(super) fn run(&self, stop: &AtomicBool) -> Result<u64, Error> {
        let spec = self.spec()?;
        self.check_files()?;
        let mut errors_count = 0;
        if self.fill {
            errors_count += self.fill_keys(&spec, stop)?;
        }
        errors_count += match &self.slo {
            None => self.run_once(&spec, stop)?,
            Some(slo) => self.run_search(&spec, slo, stop)?,
        };
        Ok(errors_count)
    }

    fn fill_keys(&self, spec: &Spec, stop: &AtomicBool) -> Result<u64, Error> {
        let mut progress = Progress::new("fill", None, self.json);
        let spec = fill_spec(spec, self.value_bytes.clone());
        let filled = load::run(&spec, &mut |view| progress.observe(view), stop)?.report();
        drop(progress);
        if filled.errors_count > 0 {
            eprintln!("writing the keys: {filled}");
        }
        Ok(filled.errors_count)
    }

    fn run_once(&self, spec: &Spec, stop: &AtomicBool) -> Result<u64, Error> {
        let mut progress = Progress::new(&self.workload.to_string(), spec.duration, self.json);
        let outcome = load::run(spec, &mut |view| progress.observe(view), stop)?;
        drop(progress);
        let report = outcome.report();
        if self.json {
            print_line(Document::new(self, spec, Some(&report), &outcome.timeline, None).to_json())?;
        } else {
            print_line(&report)?;
        }
        self.write_files(spec, Some(&outcome), None)?;
        Ok(report.errors_count)
    }

    fn run_search(&self, spec: &Spec, slo: &Slo, stop: &AtomicBool) -> Result<u64, Error> {
        let window = spec.duration.unwrap_or(SLO_WINDOW);
        let plan = slo::Plan { slo: slo.clone(), windows_count: self.slo_windows, window };
        let answer = slo::run(spec, plan, self.json, stop)?;
        let report = answer.outcome.as_ref().map(Outcome::report);
        if self.json {
            let timeline = answer.outcome.as_ref().map_or(&[] as &[Point], |outcome| &outcome.timeline);
            print_line(Document::new(self, spec, report.as_ref(), timeline, Some((&answer).into())).to_json())?;
        } else {
            print_line(&answer)?;
        }
        self.write_files(spec, answer.outcome.as_ref(), Some(&answer))?;
        // A promise that holds at no rate is one failure.
        Ok(report.map_or(1, |report| report.errors_count))
    }

    fn write_files(&self, spec: &Spec, outcome: Option<&Outcome>, answer: Option<&Answer>) -> Result<(), Error> {
        if let (Some(path), Some(outcome)) = (&self.hgrm, outcome) {
            write_hgrm(path, outcome).map_err(Error::os(format!("writing {}", path.display())))?;
        }
        if !self.plot.is_empty() {
            let svg = plot::draw(&self.plot_title(outcome, answer), &self.plot_subtitle(spec), outcome, answer);
            self.plot.iter().try_for_each(|target| target.write(&svg))?;
        }
        Ok(())
    }

    fn plot_title(&self, outcome: Option<&Outcome>, answer: Option<&Answer>) -> String {
        match (answer, outcome) {
            (Some(answer), _) => match answer.found.rate {
                Some(rate) => {
                    format!("{}: {} up to {} commands/s", self.workload, answer.plan.slo, text::whole(rate))
                }
                None => format!("{}: {} at no rate", self.workload, answer.plan.slo),
            },
            (None, Some(outcome)) => {
                format!("{} at {} commands/s", self.workload, text::whole(outcome.report().ops_per_s))
            }
            (None, None) => self.workload.to_string(),
        }
    }

    fn plot_subtitle(&self, spec: &Spec) -> String {
        let Spec { connections, pipeline, keys_count, key_order, .. } = spec;
        let mut text = format!(
            "{}{} · {connections} connections, P={pipeline} · {} keys, {key_order} · values of {} bytes",
            self.addr.join(", "),
            if spec.cluster { " (cluster)" } else { "" },
            text::whole(f64::from(*keys_count)),
            self.value_bytes
        );
        match (&self.slo, spec.rate) {
            (Some(_), _) => {}
            (None, Some(rate)) => {
                text.push_str(&format!(" · open loop, {}/s, {}", text::whole(rate), arrivals_name(spec.arrivals)))
            }
            (None, None) => text.push_str(" · closed loop"),
        }
        text
    }

    /// Makes sure that files of results can be written, before a long run.
    fn check_files(&self) -> Result<(), Error> {
        let paths = self.plot.iter().map(Target::path).chain(self.hgrm.as_deref());
        for path in paths {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
                let (file, parent) = (path.display(), parent.display());
                return Err(Error::Usage(format!("{file} cannot be written: there is no directory {parent}")));
            }
        }
        Ok(())
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
        let warmup = self.warmup.unwrap_or(if self.slo.is_some() { SLO_WARMUP_S } else { 0.0 });
        within("--warmup", warmup, 0.0, SECONDS_MAX)?;
        within("--slo-windows", self.slo_windows as f64, 1.0, SLO_WINDOWS_MAX as f64)?;
        within("--rate", self.rate.unwrap_or(1.0), 0.001, RATE_MAX)?;
        let key_order = self.key_order.unwrap_or_else(|| self.workload.key_order());
        let is_finite = matches!(key_order, KeyOrder::Sequential | KeyOrder::Shuffled);
        if is_finite && (self.rate.is_some() || self.slo.is_some() || self.workload.has(Kind::Insert)) {
            return Err(Error::Usage(format!(
                "--key-order {key_order} ends behind the last key, so it goes with none of --rate, --slo and inserts"
            )));
        }
        let is_endless = requests.is_none() && !is_finite && self.slo.is_none();
        let duration = self.duration.or(is_endless.then_some(10.0));
        let duration = duration.map(Duration::from_secs_f64);
        Ok(Spec {
            addrs: self.addr.iter().map(|text| resolve(text)).collect::<Result<_, _>>()?,
            cluster: self.cluster,
            protocol: if self.resp == 3 { Protocol::Resp3 } else { Protocol::Resp2 },
            connections,
            pipeline,
            requests,
            warmup: Duration::from_secs_f64(warmup),
            duration,
            window: if duration.is_some_and(|duration| duration < LONG_RUN) { WINDOW_SHORT } else { WINDOW_LONG },
            rate: self.rate,
            arrivals: self.arrivals,
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

fn arrivals_name(arrivals: Arrivals) -> &'static str {
    match arrivals {
        Arrivals::Even => "even",
        Arrivals::Poisson => "Poisson",
    }
}

fn write_hgrm(path: &Path, outcome: &Outcome) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    hgrm::write(&outcome.stats.all_latencies(), &mut out)?;
    out.flush()
}

fn resolve(text: &str) -> Result<SocketAddr, Error> {
    let example = "write HOST:PORT, such as 127.0.0.1:6379";
    let mut addrs = text.to_socket_addrs().map_err(Error::os(format!("resolving `{text}` ({example})")))?;
    addrs.next().ok_or_else(|| Error::Usage(format!("`{text}` has no address; {example}")))
}
