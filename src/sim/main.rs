//! `coracle-sim`: replays a seed, or runs a campaign over many.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use sim::broken::Broken;
use sim::campaign::{Campaign, Summary, coverage, worker};
use sim::faults::Schedule;
use sim::run::run;
use sim::spec::Spec;

// A run allocates for every message and block.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs whole Coracle clusters on a virtual clock, disk and network, breaks things, and checks every promise.
///
/// One seed decides everything: the same seed gives the same run. Exit status: 0 if no promise was broken, 1 if one
/// was, 2 if the runs could not be carried out.
#[derive(Parser, Debug)]
#[command(name = "coracle-sim", version, about, max_term_width = 110)]
struct Options {
    /// Replay this seed and tell what happens.
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Run a campaign of that many seeds.
    #[arg(long, value_name = "N", default_value_t = 100)]
    seeds: u64,
    /// First seed of the campaign.
    #[arg(long, value_name = "N", default_value_t = 1)]
    first: u64,
    /// Worker processes of the campaign [default: one per CPU].
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,
    /// For how long a run is busy, in simulated seconds.
    #[arg(long, value_name = "S", default_value_t = 20)]
    busy: u64,
    /// Begin no new seed after that many seconds of real time.
    #[arg(long, value_name = "S", default_value_t = 24 * 3600)]
    limit: u64,
    /// Break a promise of the world, to see that the checkers see: at least one seed must fail.
    #[arg(long, value_name = "MODE", value_enum)]
    broken: Option<Broken>,
    /// Faults for --seed, one per line as a campaign writes them, in place of the seed's own.
    #[arg(long, value_name = "FILE", requires = "seed")]
    schedule: Option<PathBuf>,
    /// With --seed: print nothing but the hash over the run and its verdict.
    #[arg(long, requires = "seed")]
    hash: bool,
    /// Fail if a rare path that is required was never reached, or a kind of fault never took effect.
    #[arg(long)]
    require_rare: bool,
    /// With --seed: let hostile clients do what cores do not bear yet, too.
    #[arg(long, requires = "seed")]
    all_attacks: bool,
    /// Where the shrunken schedules of failing seeds go.
    #[arg(long, value_name = "DIR", default_value = "sim-failures")]
    out: PathBuf,
    /// Be a worker of a campaign.
    #[arg(long, hide = true)]
    worker: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = match options.seed {
        _ if options.worker => {
            worker::serve(|spec| run(spec, false)).map(|()| true).map_err(|error| error.to_string())
        }
        Some(seed) => replay(seed, &options),
        None => campaign(&options),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("coracle-sim: {error}");
            ExitCode::from(2)
        }
    }
}

/// Whether the run kept every promise.
fn replay(seed: u64, options: &Options) -> Result<bool, String> {
    let mut spec = Spec::of_seed(seed, Duration::from_secs(options.busy), options.broken);
    spec.all_attacks = options.all_attacks;
    if let Some(path) = &options.schedule {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        spec.schedule = Schedule::from_lines(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    let report = run(&spec, !options.hash);
    println!("trace {:016x} of {} events", report.trace_hash, report.events);
    match &report.failure {
        None => println!("every promise kept"),
        Some(failure) => println!("{}: {}", failure.checker, failure.message),
    }
    Ok(report.failure.is_none())
}

/// Whether the campaign came out as it should.
fn campaign(options: &Options) -> Result<bool, String> {
    let cpus = || std::thread::available_parallelism().map_or(1, usize::from);
    let campaign = Campaign {
        first: options.first,
        count: options.seeds.max(1),
        jobs: options.jobs.unwrap_or_else(cpus).max(1),
        busy: Duration::from_secs(options.busy.max(1)),
        broken: options.broken,
        limit: Duration::from_secs(options.limit),
        out: options.out.clone(),
    };
    let summary = campaign.run().map_err(|error| error.to_string())?;
    print!("{}", campaign.describe(&summary).map_err(|error| error.to_string())?);
    if options.broken.is_some() {
        return Ok(!summary.failed.is_empty());
    }
    let has_reached = !options.require_rare || is_covered(&summary);
    Ok(summary.failed.is_empty() && summary.is_decided() && has_reached)
}

/// Whether every rare path was reached and every fault took effect.
fn is_covered(summary: &Summary) -> bool {
    coverage::missing(&summary.counters).is_empty() && coverage::missing_faults(&summary.faults).is_empty()
}
