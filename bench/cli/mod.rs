//! The command line. Of its commands, `load` and `counts` have files of their own.

mod counts;
mod disturb;
mod document;
mod load;
#[cfg(feature = "stores")]
mod stores;

use std::fmt::Display;
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::compare::{self, Options, Part};
use crate::error::Error;
use crate::load::CONNECTIONS_MAX;
use crate::load::keys::KEYS_COUNT_MAX;
use crate::load::sizes::VALUE_BYTES_MAX;
use crate::micro;
use counts::CountsArgs;
use load::LoadArgs;

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
    /// loop). With --rate, commands are due at fixed times and latencies count from then (open loop), so that a server
    /// that pauses pays for all that fell due meanwhile. With --slo, the highest rate is found that keeps a bound.
    ///
    /// Exit status: 0 if every reply was sound, 1 if there were errors, 2 if the run could not be finished.
    Load(Box<LoadArgs>),
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
    /// Counts the instructions that small pieces of the engine's work take, against accepted figures.
    ///
    /// Under valgrind's callgrind, so the figures of a build repeat exactly and mean the same on a busy machine.
    /// Exit status: 0 if none is worse than accepted, 1 if one is, 2 if it failed.
    Counts(CountsArgs),
    /// Measures what background work costs clients: latencies of a steady load beside it, against those without.
    ///
    /// Starts its clusters itself: while tables are made and merged, while a node that was away is sent a snapshot, while FLUSHALL
    /// removes many keys, and while one tag grows to very many. Tells the longest turn of each.
    /// Exit status: 0 if all was measured, whatever came out, 1 if commands failed, 2 if something could not be measured.
    Disturb(disturb::DisturbArgs),
    /// Measures data larger than memory: Coracle beside RocksDB and fjall, which run within a process.
    ///
    /// Every store gets the same operations, memory, CPU and durability, in turn, and a process of its own. Loads --bytes of
    /// keys and values in an order without a pattern, and then measures every mix; each answer is checked.
    /// Exit status: 0 if every answer was right, 1 if one was not, 2 if it failed.
    #[cfg(feature = "stores")]
    Stores(stores::StoresArgs),
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
            Command::Counts(args) => args.run(&stop),
            Command::Disturb(args) => args.run(&stop),
            #[cfg(feature = "stores")]
            Command::Stores(args) => args.run(&stop),
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

/// Prints on stdout. Whoever reads may have seen enough.
fn print_line(text: impl Display) -> Result<(), Error> {
    match writeln!(std::io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::os("printing the results")(error)),
        _ => Ok(()),
    }
}

fn within(name: &str, value: f64, min: f64, max: f64) -> Result<(), Error> {
    if (min..=max).contains(&value) {
        return Ok(());
    }
    Err(Error::Usage(format!("{name} is {value}, not within {min} and {max}")))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn examples_of_the_help_are_commands_that_are_understood() {
        let help = super::Cli::command().find_subcommand_mut("load").unwrap().render_long_help().to_string();
        let examples = help.lines().filter_map(|line| line.trim().strip_prefix("coracle-bench "));
        let examples: Vec<&str> = examples.collect();
        assert!(examples.len() >= 4, "{help}");
        for example in examples {
            let words = std::iter::once("coracle-bench").chain(example.split_ascii_whitespace());
            super::Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{example}: {error}"));
        }
    }
}
