//! The `coracle-bench` binary: arguments, signals, exit status.

use std::process::ExitCode;

use clap::Parser;
use coracle_bench::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
