//! The command line.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::compare::{self, Options, Part};
use crate::error::Error;
use crate::load::keys::KeyOrder;
use crate::load::stats::Report;
use crate::load::workload::{KEYS_COUNT_MAX, Mix, VALUE_BYTES_MAX, Workload};
use crate::load::{self, CONNECTIONS_MAX, Shared, Spec};
use crate::micro;

const PIPELINE_MAX: usize = 4_096;
const THREADS_MAX: usize = 64;
const SECONDS_MAX: f64 = 86_400.0;
const RATE_MAX: f64 = 1e8;

/// Load for servers that speak the Redis protocol, and comparisons side by side.
#[derive(Debug, Parser)]
#[command(name = "coracle-bench", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends commands and reports throughput, latencies and errors.
    ///
    /// Without --rate, every connection sends --pipeline commands, waits for all answers and goes on (closed
    /// loop). With --rate, commands are due at fixed times and latencies count from then (open loop).
    /// Exit status: 0 if every reply was sound, 1 if there were errors, 2 if the run could not be finished.
    Load(LoadArgs),
    /// Measures the disk, Redis, etcd and Coracle in turn, and prints them side by side.
    ///
    /// Starts every server itself, on ports of its own and with its data under --dir, and stops it. Rounds
    /// alternate between the systems; the medians are reported.
    /// Exit status: 0 if all was measured without an error reply, 1 if there were errors, 2 if it failed.
    Compare(CompareArgs),
    /// Measures what commands cost where the keys lie, without network, log and replicas.
    ///
    /// In this process and on one core. Every round measures everything; the medians are reported.
    /// Exit status: 0 if all was measured, 2 if it failed.
    Micro(MicroArgs),
}

#[derive(Args, Debug)]
struct LoadArgs {
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
    /// The length of the values written, in bytes
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// How many different keys
    #[arg(long, default_value_t = 100_000)]
    keys: u32,
    /// The order in which keys are chosen; sequential writes each key once and then ends
    #[arg(long, value_enum, default_value_t)]
    key_order: KeyOrder,
    /// The skew of the zipf order, above 0 and below 1
    #[arg(long, default_value_t = 0.99)]
    zipf_theta: f64,
    /// The commands: set, get, del, ping, mixed:RATIO (the share of reads), or weights such as set=1,get=9
    #[arg(long, visible_alias = "mix", default_value = "set")]
    workload: Mix,
    /// Commands a second, at fixed times (open loop)
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// How many threads share the connections
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Compare every value read with what was written under its key
    #[arg(long)]
    check: bool,
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

#[derive(Args, Debug)]
struct CompareArgs {
    /// The binary of Coracle [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    coracle: Option<PathBuf>,
    /// Where the data of all systems goes; the disk that is compared
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    seconds: f64,
    /// One round of short measurements, to see that all works; its figures mean little
    #[arg(long, conflicts_with_all = ["rounds", "seconds"])]
    quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Part::ALL)]
    only: Vec<Part>,
    /// The length of the values, in bytes
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// How many different keys
    #[arg(long, default_value_t = 10_000)]
    keys: u32,
    /// The number of connections of the large runs
    #[arg(long, default_value_t = 1_000)]
    many: usize,
    /// Write all figures of all rounds there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct MicroArgs {
    /// How many keys the tables hold
    #[arg(long, default_value_t = 1_000_000)]
    keys: u32,
    /// The length of the values, in bytes
    #[arg(long, default_value_t = 256)]
    value_bytes: usize,
    /// How many commands of each kind a round executes
    #[arg(long, short = 'n', default_value_t = 1_000_000)]
    requests: u32,
    /// How often everything is measured
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
    /// Measure one round of this table only, and print its figures as JSON; each round is such a process
    #[arg(long, value_name = "TABLE", hide = true)]
    round_of: Option<String>,
}

impl Cli {
    /// Does what was asked for and says how it went.
    pub fn run(self) -> ExitCode {
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            if let Err(error) = signal_hook::flag::register(signal, Arc::clone(&stop)) {
                eprintln!("coracle-bench: handling signals: {error}");
                return ExitCode::from(2);
            }
        }
        let result = match self.command {
            Command::Load(args) => args.run(&stop),
            Command::Compare(args) => args.run(&stop),
            Command::Micro(args) => args.run(&stop),
        };
        match result {
            Ok(0) => ExitCode::SUCCESS,
            Ok(_) => ExitCode::from(1),
            Err(error) => {
                eprintln!("coracle-bench: {error}");
                ExitCode::from(2)
            }
        }
    }
}

impl LoadArgs {
    /// How many errors there were.
    fn run(self, stop: &AtomicBool) -> Result<u64, Error> {
        let spec = self.spec()?;
        let report = with_progress(&spec, self.json, stop)?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&report).expect("numbers and texts are JSON"));
        } else {
            println!("{report}");
        }
        Ok(report.errors_count)
    }

    fn spec(&self) -> Result<Spec, Error> {
        let LoadArgs { connections, pipeline, requests, keys, zipf_theta, threads, .. } = *self;
        within("--connections", connections as f64, 1.0, CONNECTIONS_MAX as f64)?;
        within("--pipeline", pipeline as f64, 1.0, PIPELINE_MAX as f64)?;
        within("--threads", threads as f64, 1.0, THREADS_MAX.min(connections) as f64)?;
        within("--keys", f64::from(keys), 1.0, f64::from(KEYS_COUNT_MAX))?;
        within("--value-bytes", self.value_bytes as f64, 1.0, VALUE_BYTES_MAX as f64)?;
        within("--zipf-theta", zipf_theta, 0.01, 0.9999)?;
        within("--timeout", self.timeout, 0.001, SECONDS_MAX)?;
        within("--duration", self.duration.unwrap_or(1.0), 0.001, SECONDS_MAX)?;
        within("--rate", self.rate.unwrap_or(1.0), 0.001, RATE_MAX)?;
        if self.rate.is_some() && self.key_order == KeyOrder::Sequential {
            return Err(Error::Usage("--rate and --key-order sequential contradict each other".to_owned()));
        }
        let ends = requests.is_some() || self.key_order == KeyOrder::Sequential;
        let duration = self.duration.or((!ends).then_some(10.0));
        Ok(Spec {
            addrs: self.addr.iter().map(|text| resolve(text)).collect::<Result<_, _>>()?,
            cluster: self.cluster,
            connections,
            pipeline,
            requests,
            duration: duration.map(Duration::from_secs_f64),
            rate: self.rate,
            workload: Workload::new(self.workload.clone(), self.value_bytes, self.check),
            keys_count: keys,
            key_order: self.key_order,
            zipf_theta,
            threads,
            timeout: Duration::from_secs_f64(self.timeout),
            seed: self.seed,
        })
    }
}

impl CompareArgs {
    fn run(self, stop: &AtomicBool) -> Result<u64, Error> {
        within("--rounds", self.rounds as f64, 1.0, 100.0)?;
        within("--seconds", self.seconds, 0.1, 3_600.0)?;
        within("--keys", f64::from(self.keys), 1.0, f64::from(KEYS_COUNT_MAX))?;
        within("--value-bytes", self.value_bytes as f64, 1.0, VALUE_BYTES_MAX as f64)?;
        within("--many", self.many as f64, 1.0, CONNECTIONS_MAX as f64)?;
        let beside = || std::env::current_exe().map(|program| program.with_file_name("coracle"));
        let coracle = self.coracle.map_or_else(beside, Ok).map_err(Error::os("finding this program"))?;
        let options = Options {
            coracle,
            dir: self.dir,
            rounds: if self.quick { 1 } else { self.rounds },
            measure_for: Duration::from_secs_f64(if self.quick { 0.3 } else { self.seconds }),
            parts: self.only,
            value_bytes: self.value_bytes,
            keys_count: self.keys,
            connections_many: self.many,
        };
        compare::run(&options, self.json.as_deref(), stop)
    }
}

impl MicroArgs {
    fn run(self, stop: &AtomicBool) -> Result<u64, Error> {
        let MicroArgs { keys, value_bytes, requests, rounds, json, round_of } = self;
        within("--keys", f64::from(keys), 1.0, f64::from(KEYS_COUNT_MAX))?;
        within("--value-bytes", value_bytes as f64, 1.0, VALUE_BYTES_MAX as f64)?;
        // Each counter is made by the first INCR of it.
        within("--requests", f64::from(requests), f64::from(keys / 10).max(1.0), f64::from(u32::MAX))?;
        within("--rounds", rounds as f64, 1.0, 100.0)?;
        let options = micro::Options { keys_count: keys, value_bytes, commands_count: requests, rounds };
        match round_of {
            Some(table) => micro::run_round(&options, &table, stop)?,
            None => micro::run(&options, json, stop)?,
        }
        Ok(0)
    }
}

/// Runs a load and shows on a terminal how far it is.
fn with_progress(spec: &Spec, quiet: bool, stop: &AtomicBool) -> Result<Report, Error> {
    let shared = Shared::default();
    if quiet || !std::io::stderr().is_terminal() {
        return load::run(spec, &shared, stop);
    }
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {msg}") {
        bar.set_style(style);
    }
    let done = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut last, mut last_at) = (0, Instant::now());
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(100));
                let (replies, elapsed) = (shared.replies.load(Ordering::Relaxed), last_at.elapsed());
                if elapsed > Duration::from_millis(500) {
                    bar.set_message(format!("{:.0} replies/s", (replies - last) as f64 / elapsed.as_secs_f64()));
                    (last, last_at) = (replies, Instant::now());
                }
                bar.tick();
            }
        });
        let result = load::run(spec, &shared, stop);
        done.store(true, Ordering::Relaxed);
        result
    });
    bar.finish_and_clear();
    result
}

fn resolve(text: &str) -> Result<SocketAddr, Error> {
    let mut addrs = text.to_socket_addrs().map_err(Error::os(format!("resolving {text}")))?;
    addrs.next().ok_or_else(|| Error::Usage(format!("{text} has no address")))
}

fn within(name: &str, value: f64, min: f64, max: f64) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::Usage(format!("{name} is {value}, not within {min} and {max}")))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
