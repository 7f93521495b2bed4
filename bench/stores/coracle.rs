//! Coracle: a server of one node and one core, used over loopback sockets.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::client;
use crate::dev::{Dev, Settings};
use crate::error::Error;
use crate::load::conn::Protocol;
use crate::load::cpus::Cpus;
use crate::load::mix::Kind;
use crate::load::schedule::Arrivals;
use crate::load::sizes::ValueSizes;
use crate::load::workload::Workload;
use crate::load::{self, Spec};
use crate::stores::measure::{self, Counted, StoreReport, Subject, resident_max};
use crate::stores::plan::{Phase, Plan, Store};

/// How long a reply may take before the measurement is given up: writes wait while memory is full.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
const WINDOW: Duration = Duration::from_millis(500);

/// Starts a server with its data below `dir`, measures it, and stops it.
///
/// # Errors
/// If it does not start, and those of the load.
pub fn measure(plan: &Plan, dir: &Path, stop: &AtomicBool) -> Result<StoreReport, Error> {
    let settings = Settings {
        set: vec![format!("memory_bytes_max={}", plan.memory_bytes)],
        cpu: plan.cpu,
        ..Settings::new(&plan.coracle, 1)
    };
    let dev = Dev::start(&settings, dir, stop)?;
    let cores = dev.cores();
    let Some(addr) = cores.first().copied() else {
        return Err(Error::Usage("the server has no core".to_owned()));
    };
    let version = client::info(addr, Some("server"))?;
    let version = version.lines().find_map(|line| line.strip_prefix("coracle_version:")).unwrap_or("").trim();
    let mut subject = Server { plan, addr, pids: dev.pids(), stop, phases_run: 0 };
    let phases = measure::measure(plan, Store::Coracle, &mut subject, &dir.join("data"), stop)?;
    let mib = plan.memory_bytes >> 20;
    let notes = vec![
        format!("memory_bytes_max {mib} MiB for rows, caches, buffers and clients together, direct I/O; 8 groups"),
        "a server over loopback sockets: protocol, network and Raft's log are part of its figures, the load's CPU is not"
            .to_owned(),
        "its log is preallocated and counts as space; tables are compressed where that pays, and here it does not".to_owned(),
    ];
    let resident_bytes_max = resident_max(&subject);
    Ok(StoreReport {
        store: Store::Coracle,
        version: format!("Coracle {version}"),
        notes,
        resident_bytes_max,
        phases,
    })
}

struct Server<'a> {
    plan: &'a Plan,
    addr: SocketAddr,
    pids: Vec<u32>,
    stop: &'a AtomicBool,
    phases_run: u64,
}

impl Subject for Server<'_> {
    fn run(&mut self, phase: Phase, on_progress: &mut dyn FnMut(u64)) -> Result<Counted, Error> {
        self.phases_run += 1;
        let spec = self.spec(phase)?;
        let mut done = 0;
        let outcome = load::run(
            &spec,
            &mut |view| {
                done += view.point.replies_ok;
                on_progress(done);
            },
            self.stop,
        )?;
        let stats = &outcome.stats;
        let mut counted = Counted::new();
        for (kind, latencies) in stats.latencies() {
            let of_kind = if kind == Kind::Get { &mut counted.reads } else { &mut counted.writes };
            of_kind.add(latencies).expect("all have the same bounds");
        }
        counted.took = Duration::from_nanos(stats.last_reply_ns.saturating_sub(stats.measured_from_ns));
        counted.errors_count = stats.errors_count() + stats.missing;
        counted.error_text = stats.errors().keys().next().cloned();
        if stats.missing > 0 {
            counted.error_text = Some("a read found nothing, though every key was written".to_owned());
        }
        Ok(counted)
    }

    fn pids(&self) -> Vec<u32> {
        self.pids.clone()
    }

    fn reads_from_disk(&self) -> Option<u64> {
        client::info_field(&client::info(self.addr, None).ok()?, "reads_from_disk")
    }
}

impl Server<'_> {
    fn spec(&self, phase: Phase) -> Result<Spec, Error> {
        let plan = self.plan;
        let cpus = match plan.client_cpu {
            Some(cpu) => cpu.to_string().parse().map_err(Error::Usage)?,
            None => Cpus::default(),
        };
        let workload = Workload::new(phase.mix(), ValueSizes::Fixed(plan.value_bytes), true);
        Ok(Spec {
            addrs: vec![self.addr],
            cluster: false,
            protocol: Protocol::Resp2,
            connections: plan.clients,
            pipeline: 1,
            warmup: Duration::ZERO,
            requests: None,
            duration: (phase != Phase::Load).then(|| Duration::from_secs_f64(plan.seconds)),
            window: WINDOW,
            rate: None,
            arrivals: Arrivals::Even,
            workload: workload.with_values(plan.values()),
            keys_count: plan.keys_count,
            key_order: phase.key_order(),
            threads: 1,
            cpus,
            timeout: REPLY_TIMEOUT,
            seed: self.phases_run,
        })
    }
}
