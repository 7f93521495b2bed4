//! The steady load.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::disturb::Context;
use crate::error::Error;
use crate::load::conn::Protocol;
use crate::load::cpus::Cpus;
use crate::load::keys::KeyOrder;
use crate::load::mix::Mix;
use crate::load::report::{Latency, Report};
use crate::load::schedule::Arrivals;
use crate::load::sizes::ValueSizes;
use crate::load::workload::Workload;
use crate::load::{self, Spec};

/// Half reads, half writes.
const MIX: &str = "get=50,set=50";
/// Room on each connection of an open loop.
const PIPELINE: usize = 16;
/// How the keys are written before.
const FILL: (usize, usize) = (16, 64);
/// How long the load runs before a window.
const WARMUP: Duration = Duration::from_secs(1);
/// How long the closed loop runs that tells what the cluster can do.
const CLOSED_LOOP: Duration = Duration::from_secs(4);
const WINDOW: Duration = Duration::from_millis(250);
/// How long a reply may take before the measurement is given up.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// A window of the steady load.
#[derive(Clone, Debug, Serialize)]
pub struct Window {
    /// Commands a second that were due.
    pub rate: f64,
    /// How long it was, in seconds.
    pub seconds: f64,
    /// From the time a command was due.
    pub latency: Latency,
    /// How late the generator itself sent what was due and had room: 99 % no later, in µs.
    pub sent_late_p99_us: f64,
    /// Commands that fell due and were never sent.
    pub unsent: u64,
    /// Commands that failed.
    pub errors_count: u64,
    /// The text of one of them.
    pub error_text: Option<String>,
}

impl Window {
    fn of(rate: f64, report: &Report) -> Window {
        Window {
            rate,
            seconds: report.elapsed_s,
            latency: report.latency.clone(),
            sent_late_p99_us: report.sent_late.as_ref().map_or(0.0, |late| late.p99_us),
            unsent: report.unsent,
            errors_count: report.errors_count,
            error_text: report.errors.keys().next().cloned(),
        }
    }
}

/// Writes so many keys, each once, with values of this length.
///
/// # Errors
/// Those of [`load::run`], and [`Error::Usage`] if a write fails.
pub fn fill(context: &Context<'_>, cores: &[SocketAddr], keys_count: u32, value_bytes: usize) -> Result<(), Error> {
    let (connections, pipeline) = FILL;
    let spec = Spec {
        connections,
        pipeline,
        keys_count,
        key_order: KeyOrder::Shuffled,
        warmup: Duration::ZERO,
        duration: None,
        rate: None,
        ..spec(context, cores, "set", value_bytes)?
    };
    written(&load::run(&spec, &mut |_| {}, context.stop)?.report())
}

/// Overwrites keys of the steady load as fast as that goes, about so many bytes of values in all. Leaders may move meanwhile, so some
/// writes may fail.
///
/// # Errors
/// Those of [`load::run`], and [`Error::Usage`] if most writes fail.
pub fn overwrite(context: &Context<'_>, cores: &[SocketAddr], bytes: u64, value_bytes: usize) -> Result<(), Error> {
    let (connections, pipeline) = FILL;
    let spec = Spec {
        connections,
        pipeline,
        requests: Some(bytes / value_bytes.max(1) as u64),
        warmup: Duration::ZERO,
        duration: None,
        rate: None,
        ..spec(context, cores, "set", value_bytes)?
    };
    let report = load::run(&spec, &mut |_| {}, context.stop)?.report();
    if report.errors_count > report.replies_ok { written(&report) } else { Ok(()) }
}

fn written(report: &Report) -> Result<(), Error> {
    match report.errors.keys().next() {
        None => Ok(()),
        Some(error) => Err(Error::Usage(format!("{} keys could not be written: {error}", report.errors_count))),
    }
}

/// The rate of the steady load: a share of what the cluster does in a closed loop.
///
/// # Errors
/// Those of [`load::run`].
pub fn rate(context: &Context<'_>, cores: &[SocketAddr]) -> Result<f64, Error> {
    let options = context.options;
    let spec = Spec {
        pipeline: 1,
        rate: None,
        duration: Some(CLOSED_LOOP),
        ..spec(context, cores, MIX, options.value_bytes)?
    };
    let report = load::run(&spec, &mut |_| {}, context.stop)?.report();
    Ok((report.ops_per_s * options.load_share).max(1.0))
}

/// Runs the steady load for a while.
///
/// # Errors
/// Those of [`load::run`].
pub fn window(context: &Context<'_>, cores: &[SocketAddr], rate: f64, seconds: f64) -> Result<Window, Error> {
    let spec = Spec {
        rate: Some(rate),
        duration: Some(Duration::from_secs_f64(seconds)),
        ..spec(context, cores, MIX, context.options.value_bytes)?
    };
    Ok(Window::of(rate, &load::run(&spec, &mut |_| {}, context.stop)?.report()))
}

fn spec(context: &Context<'_>, cores: &[SocketAddr], mix: &str, value_bytes: usize) -> Result<Spec, Error> {
    let options = context.options;
    let mix: Mix = mix.parse().map_err(Error::Usage)?;
    let cpus = match options.client_cpu {
        Some(cpu) => cpu.to_string().parse().map_err(Error::Usage)?,
        None => Cpus::default(),
    };
    Ok(Spec {
        addrs: cores.to_vec(),
        cluster: true,
        protocol: Protocol::Resp2,
        connections: options.connections,
        pipeline: PIPELINE,
        warmup: WARMUP,
        requests: None,
        duration: None,
        window: WINDOW,
        rate: None,
        arrivals: Arrivals::Even,
        workload: Workload::new(mix, ValueSizes::Fixed(value_bytes), true),
        keys_count: options.keys_count,
        key_order: KeyOrder::Uniform,
        threads: 1,
        cpus,
        timeout: REPLY_TIMEOUT,
        seed: 1,
    })
}
