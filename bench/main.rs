//! The `coracle-bench` binary: arguments, signals, exit status.

use std::process::ExitCode;

use clap::Parser;
use coracle_bench::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
