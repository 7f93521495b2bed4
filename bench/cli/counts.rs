//! The arguments of `coracle-bench counts`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::within;
use crate::counts::{self, Options, TOLERANCE_PERCENT, callgrind};
use crate::error::Error;

#[derive(Args, Debug)]
pub(super) struct CountsArgs {
    /// The file of accepted figures
    #[arg(long, default_value = "bench/counts/accepted.json", value_name = "FILE")]
    accepted: PathBuf,
    /// Only workloads whose names contain this
    #[arg(long, value_name = "PART")]
    only: Option<String>,
    /// By how many percent a figure may exceed the accepted one
    #[arg(long, default_value_t = TOLERANCE_PERCENT, value_name = "PERCENT")]
    tolerance: f64,
    /// Write what was counted to the file of accepted figures
    #[arg(long)]
    accept: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Run this workload alone, as it is counted; what this program tells callgrind to start
    #[arg(long, value_name = "NAME", hide = true)]
    workload: Option<String>,
}

impl CountsArgs {
    pub(super) fn run(self, stop: &AtomicBool) -> Result<u64, Error> {
        let CountsArgs { accepted, only, tolerance, accept, json, workload } = self;
        if let Some(name) = workload {
            callgrind::serve(&name)?;
            return Ok(0);
        }
        within("--tolerance", tolerance, 0.0, 100.0)?;
        counts::run(&Options { accepted, only, tolerance_percent: tolerance, accept, as_json: json }, stop)
    }
}
