//! The arguments of `coracle-bench disturb`.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use clap::Args;

use super::within;
use crate::disturb::scenes::Scene;
use crate::disturb::{self, Options};
use crate::error::Error;
use crate::load::CONNECTIONS_MAX;
use crate::load::keys::KEYS_COUNT_MAX;
use crate::load::sizes::VALUE_BYTES_MAX;

#[derive(Args, Debug)]
pub(super) struct DisturbArgs {
    /// The binary of Coracle [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    coracle: Option<PathBuf>,
    /// Where the data goes
    #[arg(long, default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// Only these scenes
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Scene::ALL)]
    only: Vec<Scene>,
    /// How long each window is, in seconds
    #[arg(long, default_value_t = 20.0, value_name = "S")]
    seconds: f64,
    /// The steady load, as a share of what a closed loop reaches
    #[arg(long, default_value_t = 0.5, value_name = "SHARE")]
    load: f64,
    /// Connections of the steady load
    #[arg(long, short = 'c', default_value_t = 50, value_name = "N")]
    connections: usize,
    /// Keys of the steady load
    #[arg(long, default_value_t = 200_000, value_name = "N")]
    keys: u32,
    /// The length of its values, in bytes
    #[arg(long, default_value_t = 512, value_name = "BYTES")]
    value_bytes: usize,
    /// How many keys FLUSHALL removes
    #[arg(long, default_value_t = 10_000_000, value_name = "N")]
    flushed_keys: u32,
    /// How many keys one tag grows to
    #[arg(long, default_value_t = 10_000_000, value_name = "N")]
    tag_keys: u32,
    /// How many of those are written a second
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    tag_rate: u32,
    /// How much is written while a node is away, in MiB
    #[arg(long, default_value_t = 1_024, value_name = "MIB")]
    away_mib: u32,
    /// Keep the load on this CPU
    #[arg(long, value_name = "CPU")]
    client_cpu: Option<usize>,
    /// Write all figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl DisturbArgs {
    pub(super) fn run(self, stop: &AtomicBool) -> Result<u64, Error> {
        within("--seconds", self.seconds, 0.5, 3_600.0)?;
        within("--load", self.load, 0.01, 1.0)?;
        within("--connections", self.connections as f64, 1.0, CONNECTIONS_MAX as f64)?;
        within("--keys", f64::from(self.keys), 1.0, f64::from(KEYS_COUNT_MAX))?;
        within("--value-bytes", self.value_bytes as f64, 1.0, VALUE_BYTES_MAX as f64)?;
        within("--flushed-keys", f64::from(self.flushed_keys), 1.0, f64::from(KEYS_COUNT_MAX))?;
        within("--tag-rate", f64::from(self.tag_rate), 1.0, 1e7)?;
        let beside = || std::env::current_exe().map(|program| program.with_file_name("coracle"));
        let options = Options {
            coracle: self.coracle.map_or_else(beside, Ok).map_err(Error::os("finding this program"))?,
            dir: self.dir,
            scenes: self.only,
            seconds: self.seconds,
            load_share: self.load,
            connections: self.connections,
            keys_count: self.keys,
            value_bytes: self.value_bytes,
            flushed_keys_count: self.flushed_keys,
            tag_keys_count: self.tag_keys,
            tag_keys_per_s: self.tag_rate,
            away_bytes: u64::from(self.away_mib) << 20,
            client_cpu: self.client_cpu,
        };
        disturb::run(&options, self.json.as_deref(), stop)
    }
}
