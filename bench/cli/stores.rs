//! The arguments of `coracle-bench stores`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::within;
use crate::error::Error;
use crate::load::CONNECTIONS_MAX;
use crate::load::keys::{KEY_BYTES, KEYS_COUNT_MAX};
use crate::load::sizes::VALUE_BYTES_MAX;
use crate::stores::plan::{Distribution, Plan, Shares, Store, bytes};
use crate::stores::{self, child};

/// The least memory that Coracle can be given.
const MEMORY_BYTES_MIN: u64 = 64 << 20;
const SECONDS_MAX: f64 = 86_400.0;

#[derive(Args, Debug)]
pub(super) struct StoresArgs {
    /// How much data is loaded, keys and values, in bytes: 5g, 512m
    #[arg(long, default_value = "20g", value_name = "BYTES", value_parser = bytes)]
    bytes: u64,
    /// The length of a value, in bytes
    #[arg(long, default_value = "4k", value_name = "BYTES", value_parser = bytes)]
    value_bytes: u64,
    /// The memory that a store may use for data: Coracle's memory_bytes_max; block cache and memtables of the others
    #[arg(long, default_value = "1g", value_name = "BYTES", value_parser = bytes)]
    memory_bytes: u64,
    /// Which shares of reads and writes are measured behind the load, in percent
    #[arg(long, value_name = "READS/WRITES", value_delimiter = ',', default_values_t = [Shares { reads: 95 }, Shares { reads: 50 }])]
    mix: Vec<Shares>,
    /// How keys are chosen; each mix is measured with each of these
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Distribution::Zipfian, Distribution::Uniform])]
    distribution: Vec<Distribution>,
    /// How long each mix is measured, in seconds
    #[arg(long, default_value_t = 60.0, value_name = "S")]
    seconds: f64,
    /// Wait at most that many seconds for what the load has left to do in the background
    #[arg(long, default_value_t = 120.0, value_name = "S")]
    settle: f64,
    /// The stores, in this order
    #[arg(long, visible_alias = "stores", value_enum, value_delimiter = ',', default_values_t = Store::ALL)]
    engines: Vec<Store>,
    /// How many operations are under way at a time: threads within a process, connections to the server
    #[arg(long, short = 'c', default_value_t = 32, value_name = "N")]
    clients: usize,
    /// Keep each store on this CPU, with its background work; within a process that holds for its clients, too
    #[arg(long, value_name = "CPU")]
    cpu: Option<usize>,
    /// Keep the clients of the server on this CPU
    #[arg(long, value_name = "CPU")]
    client_cpu: Option<usize>,
    /// The binary of Coracle [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    coracle: Option<PathBuf>,
    /// Where the data goes; the disk that is measured
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Write all figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure one store in this process; what this program tells the processes that it starts
    #[arg(long, value_name = "JSON", hide = true)]
    task: Option<String>,
}

impl StoresArgs {
    pub(super) fn run(self, stop: &AtomicBool) -> Result<u64, Error> {
        if let Some(task) = &self.task {
            child::serve(task, stop)?;
            return Ok(0);
        }
        let json = self.json.clone();
        stores::run(&self.plan()?, json.as_deref(), stop)
    }

    fn plan(self) -> Result<Plan, Error> {
        within("--value-bytes", self.value_bytes as f64, 1.0, VALUE_BYTES_MAX as f64)?;
        within("--memory-bytes", self.memory_bytes as f64, MEMORY_BYTES_MIN as f64, u64::MAX as f64)?;
        within("--clients", self.clients as f64, 1.0, CONNECTIONS_MAX as f64)?;
        within("--seconds", self.seconds, 0.1, SECONDS_MAX)?;
        within("--settle", self.settle, 0.0, SECONDS_MAX)?;
        let keys_count = self.bytes / (self.value_bytes + KEY_BYTES as u64);
        within("--bytes over the length of a key with its value", keys_count as f64, 1.0, f64::from(KEYS_COUNT_MAX))?;
        let beside = || std::env::current_exe().map(|program| program.with_file_name("coracle"));
        Ok(Plan {
            stores: self.engines,
            coracle: self.coracle.map_or_else(beside, Ok).map_err(Error::os("finding this program"))?,
            dir: self.dir,
            keys_count: keys_count as u32,
            value_bytes: self.value_bytes as usize,
            memory_bytes: self.memory_bytes,
            clients: self.clients,
            mixes: self.mix,
            distributions: self.distribution,
            seconds: self.seconds,
            settle_seconds: self.settle,
            cpu: self.cpu,
            client_cpu: self.client_cpu,
        })
    }
}
