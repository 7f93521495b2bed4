//! One measurement: a load on a server, and what the server spent on it.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::compare::Context;
use crate::compare::process::{Cpu, device_flushes};
use crate::error::Error;
use crate::load::conn::Protocol;
use crate::load::cpus::Cpus;
use crate::load::keys::KeyOrder;
use crate::load::mix::{Kind, Mix};
use crate::load::schedule::Arrivals;
use crate::load::sizes::ValueSizes;
use crate::load::workload::Workload;
use crate::load::{self, Spec};

/// How long a reply may take before the comparison gives up.
const REPLY_TIMEOUT: Duration = Duration::from_secs(20);

/// One measurement of one system.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    /// What was measured.
    pub system: String,
    /// How it was measured.
    pub test: String,
    /// Sound replies a second. For writes: committed writes a second.
    pub ops_per_s: f64,
    /// The median latency, in µs.
    pub p50_us: f64,
    /// The latency of the slowest of a hundred, in µs.
    pub p99_us: f64,
    /// CPU time of all server processes in user space, in µs per operation.
    pub user_us_per_op: Option<f64>,
    /// CPU time of all server processes in the kernel, in µs per operation.
    pub system_us_per_op: Option<f64>,
    /// Operations per log write and sync of one node, as the server counts them. Every replica logs every write.
    pub ops_per_sync: Option<f64>,
    /// Operations per cache flush of the disk. Other programs that use the disk lower it.
    pub ops_per_flush: Option<f64>,
    /// Commands of an open loop that found no room before the end: the server did not keep up.
    pub unsent: u64,
    /// Commands that failed, and reads that found nothing.
    pub errors_count: u64,
    /// The text of one of them.
    pub error_text: Option<String>,
}

/// The load of a measurement of a server that speaks the Redis protocol.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is sent.
    pub kind: Kind,
    /// How many connections.
    pub connections: usize,
    /// The most commands on their way on each.
    pub pipeline: usize,
    /// Commands a second, for an open loop.
    pub rate: Option<f64>,
}

impl Test {
    /// A closed loop.
    pub const fn closed(kind: Kind, connections: usize, pipeline: usize) -> Test {
        Test { kind, connections, pipeline, rate: None }
    }

    /// `SET` by `clients` that share a hundred connections, as etcd's clients share theirs at its best.
    pub fn shared(clients: usize) -> Test {
        let connections = clients.min(100);
        Test::closed(Kind::Set, connections, clients.div_ceil(connections.max(1)))
    }

    /// What it is called in the results.
    pub fn name(&self) -> String {
        let Test { connections, pipeline, .. } = self;
        let kind = self.kind.name().to_ascii_uppercase();
        match self.rate {
            None => format!("{kind} c={connections} P={pipeline}"),
            Some(_) => format!("{kind} c={connections}, 70 % of P=1"),
        }
    }
}

/// A server to measure.
pub struct Subject<'a> {
    /// Its name in the results.
    pub system: &'a str,
    /// Where to send commands, or where to ask for owners.
    pub addrs: &'a [SocketAddr],
    /// Whether to ask who owns what.
    pub cluster: bool,
    /// Its processes.
    pub pids: &'a [u32],
    /// How many log writes with sync one of its nodes has done, on average.
    pub syncs: &'a dyn Fn() -> Option<u64>,
}

/// Writes every key once.
///
/// # Errors
/// Those of [`load::run`].
pub fn fill(context: &Context<'_>, subject: &Subject<'_>) -> Result<(), Error> {
    context.say(&format!("{}: writing {} keys", subject.system, context.options.keys_count));
    let test = Test::closed(Kind::Set, 16, 16);
    let spec = Spec { key_order: KeyOrder::Sequential, duration: None, ..spec(context, subject, &test) };
    load::run(&spec, &mut |_| {}, context.stop).map(|_| ())
}

/// Measures one load.
///
/// # Errors
/// Those of [`load::run`].
pub fn measure(context: &Context<'_>, subject: &Subject<'_>, test: &Test) -> Result<Sample, Error> {
    context.say(&format!("{}: {}", subject.system, test.name()));
    let spec = spec(context, subject, test);
    let (cpu, syncs, flushes) = (Cpu::of(subject.pids), (subject.syncs)(), device_flushes(context.dir));
    let report = load::run(&spec, &mut |_| {}, context.stop)?.report();
    let flushes = delta(flushes, device_flushes(context.dir));
    let spent = Spent { before: cpu, after: Cpu::of(subject.pids), syncs: delta(syncs, (subject.syncs)()), flushes };
    let mut sample = Sample {
        system: subject.system.to_owned(),
        test: test.name(),
        ops_per_s: report.ops_per_s,
        p50_us: report.latency.p50_us,
        p99_us: report.latency.p99_us,
        // Every key was written, so a read that finds nothing has lost something.
        errors_count: report.errors_count + report.replies_missing,
        error_text: report.errors.keys().next().cloned(),
        unsent: report.unsent,
        ..Sample::default()
    };
    if report.replies_missing > 0 {
        sample.error_text = Some("a read found nothing, though every key was written".to_owned());
    }
    spent.divide(report.replies_ok + report.errors_count, test.kind, &mut sample);
    Ok(sample)
}

/// What a system spent on a measurement.
pub struct Spent {
    /// CPU time before it.
    pub before: Cpu,
    /// CPU time after it.
    pub after: Cpu,
    /// Log writes during it.
    pub syncs: Option<u64>,
    /// Flushes of the disk during it.
    pub flushes: Option<u64>,
}

impl Spent {
    /// Divides it by the operations.
    pub fn divide(&self, ops: u64, kind: Kind, sample: &mut Sample) {
        if ops == 0 {
            return;
        }
        sample.user_us_per_op = Some((self.after.user_us - self.before.user_us) / ops as f64);
        sample.system_us_per_op = Some((self.after.system_us - self.before.system_us) / ops as f64);
        // Reads sync nothing.
        if kind == Kind::Set {
            let per = |count: Option<u64>| count.filter(|count| *count > 0).map(|count| ops as f64 / count as f64);
            sample.ops_per_sync = per(self.syncs);
            sample.ops_per_flush = per(self.flushes);
        }
    }
}

/// How much a counter has grown, if it is known.
pub fn delta(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    after?.checked_sub(before?)
}

fn spec(context: &Context<'_>, subject: &Subject<'_>, test: &Test) -> Spec {
    let options = context.options;
    Spec {
        addrs: subject.addrs.to_vec(),
        cluster: subject.cluster,
        protocol: Protocol::Resp2,
        connections: test.connections,
        pipeline: test.pipeline,
        warmup: Duration::ZERO,
        requests: None,
        duration: Some(options.measure_for),
        window: options.measure_for,
        rate: test.rate,
        arrivals: Arrivals::Even,
        workload: Workload::new(Mix::only(test.kind), ValueSizes::Fixed(options.value_bytes), true),
        keys_count: options.keys_count,
        key_order: KeyOrder::Uniform,
        threads: 1,
        cpus: Cpus::default(),
        timeout: REPLY_TIMEOUT,
        seed: 1,
    }
}
